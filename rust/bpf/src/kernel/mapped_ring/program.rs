//! A program's end of mapped rings in ordinary memory, for tests. In: times, and what events hold. Out: records, committed or not.

use std::sync::Arc;

use spile_core::event::Layouts;
use spile_core::layout::{COMPACT_BASE, Encoding, EventLayout, EventSchema, FieldSchema, FieldType, Role};

use super::super::map::Map;
use super::super::sys::{Syscall, fake};
use super::MappedRing;
use crate::compile::mapped::{BASE_INTERVAL, DATA, HEAD, MappedRings, TAIL};

/// Of data for each CPU.
pub const BYTES: u64 = 4096;

/// What programs do on one CPU.
pub struct Program {
    words: *mut u64,
    last_base: u64,
}

impl Program {
    fn get(&self, offset: u64) -> u64 {
        // SAFETY: the test's own memory.
        unsafe { *self.words.add(offset as usize / 8) }
    }

    /// Writes a word of the ring.
    pub fn set(&self, offset: u64, value: u64) {
        // SAFETY: the test's own memory.
        unsafe { *self.words.add(offset as usize / 8) = value }
    }

    /// The place of a record to be.
    pub fn reserve(&self, size: u64) -> Option<u64> {
        let (head, tail) = (self.get(HEAD.into()), self.get(TAIL.into()));
        if head - tail > BYTES - size {
            return None;
        }
        self.set(HEAD.into(), head + size);
        let place = u64::from(DATA) + head % BYTES;
        assert!((place..place + size).step_by(8).all(|offset| self.get(offset) == 0), "old bytes at {head}");
        Some(place)
    }

    /// Reserves an event's record, behind a whole time's where need be, and writes all but its first word, which it gives.
    pub fn begin(&mut self, id: u16, time: u64, rest: &[u64]) -> Option<(u64, u64)> {
        if self.last_base == 0 || time.wrapping_sub(self.last_base) > BASE_INTERVAL {
            let place = self.reserve(16)?;
            self.set(place + 8, time);
            self.set(place, u64::from(time as u32) | u64::from(COMPACT_BASE) << 32);
            self.last_base = time;
        }
        let place = self.reserve(8 + 8 * rest.len() as u64)?;
        rest.iter().zip(1..).for_each(|(word, index)| self.set(place + 8 * index, *word));
        Some((place, u64::from(time as u32) | u64::from(id) << 32))
    }

    /// Sends an event. False where there is no room.
    pub fn send(&mut self, id: u16, time: u64, rest: &[u64]) -> bool {
        let Some((place, first)) = self.begin(id, time, rest) else { return false };
        self.set(place, first);
        true
    }
}

/// Events 1, without a field, and 2, with one of eight bytes, whose records have a word that no field needs.
pub fn layouts() -> Arc<Layouts> {
    let field = FieldSchema {
        name: "x".into(),
        ty: FieldType::Int { size: 8, signed: false },
        role: Role::Capture,
        names: Default::default(),
    };
    let schema = |id, fields: Vec<_>| {
        let keys = vec![(0..fields.len() as u32).collect()];
        EventSchema { id, probe: u32::from(id) - 1, target: 0, fields, keys, values: Vec::new() }
    };
    let layout = |schema| EventLayout::compute(schema, Encoding::Aligned).unwrap();
    Arc::new(Layouts::new(vec![layout(schema(1, vec![])), layout(schema(2, vec![field]))]).unwrap())
}

/// The rings of so many CPUs.
pub fn with_rings(cpus: u16, test: impl FnOnce(Vec<MappedRing>, Vec<Program>)) {
    let rings = MappedRings::new(BYTES as u32, cpus.into()).unwrap();
    let mut memory = vec![0_u64; rings.size() as usize / 8];
    let start = memory.as_mut_ptr() as i64;
    let calls = move |syscall: Syscall<'_>| match syscall {
        Syscall::Bpf { .. } => Ok(std::os::fd::IntoRawFd::into_raw_fd(std::fs::File::open("/dev/null")?).into()),
        Syscall::Map { offset, .. } => Ok(start + offset),
        Syscall::Unmap { .. } => Ok(0),
        _ => panic!("a ring makes no other call"),
    };
    fake::with(calls, || {
        let map = Map::mapped("ring", rings.size()).unwrap();
        let stride = i64::from(rings.stride());
        let program = |cpu: u16| Program { words: (start + i64::from(cpu) * stride) as *mut u64, last_base: 0 };
        let ends = (0..cpus).map(|cpu| (MappedRing::open(&map, rings, cpu).unwrap(), program(cpu)));
        let (readers, programs) = ends.unzip();
        test(readers, programs);
    });
}
