//! The reader's end of one CPU's mapped ring. In: the shared memory. Out: each committed record, once, in order, with its time.
//!
//! The protocol is [`crate::compile::mapped`]'s, and its other end the bytecode that spile makes: no kernel code takes part.
//! Nobody is woken and nothing is waited for here: the reader polls.

use std::sync::atomic::{AtomicU64, Ordering};

use spile_core::error::Error;
use spile_core::event::Layouts;
use spile_core::layout::{COMPACT_BASE, COMPACT_BASE_SIZE, COMPACT_BASE_TIME, EventLayout};

use super::map::Map;
use super::ring::Pass;
use super::sys::memory::Mapping;
use crate::compile::mapped::{DATA, HEAD, MappedRings, TAIL};

/// The reader's end of one ring. There must be only one for a ring.
#[derive(Debug)]
pub struct MappedRing {
    memory: Mapping,
    mask: u64,
    position: u64,
    /// The time of the record read last, near which the next one's is.
    time: u64,
}

/// A committed record.
#[derive(Debug, Clone, Copy)]
pub struct Compact<'a> {
    /// Its layout.
    pub layout: &'a EventLayout,
    /// Its whole time.
    pub time: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What a first word says.
enum Head<'a> {
    WholeTime,
    Event(&'a EventLayout),
}

impl MappedRing {
    /// Maps the ring of a CPU.
    pub fn open(map: &Map, rings: MappedRings, cpu: u32) -> Result<Self, Error> {
        let stride = rings.stride();
        let failed = |error| Error::engine(format!("mapping a ring of {} bytes: {error}", rings.bytes));
        let memory =
            Mapping::new(map.fd(), stride as usize, true, i64::from(cpu) * i64::from(stride)).map_err(failed)?;
        Ok(Self { memory, mask: u64::from(rings.bytes) - 1, position: 0, time: 0 })
    }

    /// Gives `each` every record that was reserved when the pass began, up to one that isn't committed yet, or until `each`
    /// says false. `now` is a time from before the pass. What was read is free for programs to write to when the pass returns.
    pub fn pass(
        &mut self,
        layouts: &Layouts,
        now: u64,
        mut each: impl FnMut(Compact<'_>) -> bool,
    ) -> Result<Pass, Error> {
        let end = self.word(HEAD.into()).load(Ordering::Acquire);
        let outcome = loop {
            if self.position == end {
                break Ok(Pass::Drained);
            }
            let place = u64::from(DATA) + (self.position & self.mask);
            let first = self.word(place).load(Ordering::Acquire);
            if first == 0 {
                break Ok(Pass::Busy);
            }
            let head = match head(layouts, first) {
                Some(head) => head,
                None => break Err(self.fault(format!("a record of the unknown event {}", (first >> 32) as u16))),
            };
            let size = match &head {
                Head::WholeTime => u64::from(COMPACT_BASE_SIZE),
                Head::Event(layout) => u64::from(layout.compact_size()),
            };
            if size > end - self.position {
                break Err(self.fault(format!("a record of {size} bytes where the ring has fewer")));
            }
            let goes_on = match head {
                Head::WholeTime => {
                    self.time = self.word(place + u64::from(COMPACT_BASE_TIME)).load(Ordering::Relaxed);
                    true
                }
                Head::Event(layout) => {
                    let time = whole(self.time, first as u32, now);
                    self.time = time;
                    each(Compact { layout, time, bytes: self.bytes(place, size) })
                }
            };
            self.clear(place, size);
            self.position += size;
            if !goes_on {
                break Ok(Pass::Paused);
            }
        };
        self.word(TAIL.into()).store(self.position, Ordering::Release);
        outcome
    }

    fn fault(&self, message: String) -> Error {
        Error::Stream { offset: self.position, message }
    }

    /// The word at an offset, a multiple of 8 that lies within the ring's part of the map: all that is asked for are the words
    /// of the first page, and those of records, which end before the room behind the data does.
    fn word(&self, offset: u64) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset + 8 <= self.memory.len() as u64);
        // SAFETY: by the above it is aligned and within the mapping, which lives as long as `self`; programs store to it with
        // single instructions, and we with atomic ones.
        unsafe { self.memory.address().add(offset as usize).cast::<AtomicU64>().as_ref() }
    }

    /// The bytes of a committed record.
    fn bytes(&self, place: u64, size: u64) -> &[u8] {
        debug_assert!(place + size <= self.memory.len() as u64);
        // SAFETY: within the mapping, for a record's place is below the data's end and its size no more than the room behind
        // that. No program writes to it before the tail has gone by, which `pass` alone moves; the slice ends before that.
        unsafe { std::slice::from_raw_parts(self.memory.address().add(place as usize).as_ptr(), size as usize) }
    }

    fn clear(&self, place: u64, size: u64) {
        for offset in (place..place + size).step_by(8) {
            self.word(offset).store(0, Ordering::Relaxed);
        }
    }
}

fn head(layouts: &Layouts, first: u64) -> Option<Head<'_>> {
    match (first >> 32) as u16 {
        COMPACT_BASE => Some(Head::WholeTime),
        id => layouts.get(id).map(Head::Event),
    }
}

/// The time with these low bits that is nearest to another one, and not after `now` by more than what passes meanwhile.
fn whole(near: u64, low: u32, now: u64) -> u64 {
    let ahead = low.wrapping_sub(near as u32).cast_signed();
    let time = near.wrapping_add_signed(i64::from(ahead));
    // A reader is never half of what 32 bits hold behind the clock it has just read.
    if time > now + (1 << 31) { time.saturating_sub(1 << 32) } else { time }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;
    use spile_core::layout::{Encoding, EventSchema};

    use super::super::sys::{Syscall, fake};
    use super::*;

    const BYTES: u64 = 4096;

    /// A ring in ordinary memory, and a program's end of it.
    struct Program {
        words: *mut u64,
        last_base: u64,
    }

    impl Program {
        fn get(&self, offset: u64) -> u64 {
            // SAFETY: the test's own memory.
            unsafe { *self.words.add(offset as usize / 8) }
        }

        fn set(&self, offset: u64, value: u64) {
            // SAFETY: the test's own memory.
            unsafe { *self.words.add(offset as usize / 8) = value }
        }

        fn reserve(&self, size: u64) -> Option<u64> {
            let (head, tail) = (self.get(HEAD.into()), self.get(TAIL.into()));
            if head - tail > BYTES - size {
                return None;
            }
            self.set(HEAD.into(), head + size);
            let place = u64::from(DATA) + head % BYTES;
            assert!((place..place + size).step_by(8).all(|offset| self.get(offset) == 0), "old bytes at {head}");
            Some(place)
        }

        fn send(&mut self, id: u16, time: u64, rest: &[u64]) -> bool {
            if self.last_base == 0 || time.wrapping_sub(self.last_base) > crate::compile::mapped::BASE_INTERVAL {
                let Some(place) = self.reserve(16) else { return false };
                self.set(place + 8, time);
                self.set(place, u64::from(time as u32) | u64::from(COMPACT_BASE) << 32);
                self.last_base = time;
            }
            let Some(place) = self.reserve(8 + 8 * rest.len() as u64) else { return false };
            rest.iter().zip(1..).for_each(|(word, index)| self.set(place + 8 * index, *word));
            self.set(place, u64::from(time as u32) | u64::from(id) << 32);
            true
        }
    }

    /// Events 1, without a field, and 2, with one of eight bytes.
    fn layouts() -> Layouts {
        use spile_core::layout::{FieldSchema, FieldType, Role};
        let field = FieldSchema {
            name: "x".into(),
            ty: FieldType::Int { size: 8, signed: false },
            role: Role::Capture,
            names: Default::default(),
        };
        let schema = |id, fields| EventSchema { id, probe: 0, target: 0, fields, keys: Vec::new(), values: Vec::new() };
        let layout = |schema| EventLayout::compute(schema, Encoding::Aligned).unwrap();
        Layouts::new(vec![layout(schema(1, vec![])), layout(schema(2, vec![field]))]).unwrap()
    }

    fn with_ring(test: impl FnOnce(&mut MappedRing, &mut Program, &Layouts)) {
        let rings = MappedRings::new(BYTES as u32, 1).unwrap();
        let mut memory = vec![0_u64; rings.size() as usize / 8];
        let mut program = Program { words: memory.as_mut_ptr(), last_base: 0 };
        let address = program.words as i64;
        let calls = move |syscall: Syscall<'_>| match syscall {
            Syscall::Bpf { .. } => Ok(std::os::fd::IntoRawFd::into_raw_fd(std::fs::File::open("/dev/null")?).into()),
            Syscall::Map { .. } => Ok(address),
            Syscall::Unmap { .. } => Ok(0),
            _ => panic!("a ring makes no other call"),
        };
        fake::with(calls, || {
            let map = Map::mapped("ring", rings.size()).unwrap();
            test(&mut MappedRing::open(&map, rings, 0).unwrap(), &mut program, &layouts());
        });
    }

    fn read(ring: &mut MappedRing, layouts: &Layouts, now: u64) -> (Result<Pass, Error>, Vec<(u16, u64)>) {
        let mut records = Vec::new();
        let pass = ring.pass(layouts, now, |record| {
            records.push((record.layout.schema.id, record.time));
            true
        });
        (pass, records)
    }

    #[test]
    fn records_come_once_and_memory_is_zero_behind_them() {
        with_ring(|ring, program, layouts| {
            let mut time = 5_u64 << 40;
            for round in 0..2000_u64 {
                time += 100_000_000 * (round % 37);
                assert!(program.send(1, time, &[]) && program.send(2, time + 3, &[round, 0, 0][..2]));
                assert_eq!(read(ring, layouts, time + 10), (Ok(Pass::Drained), vec![(1, time), (2, time + 3)]));
            }
        });
    }

    #[test]
    fn a_full_ring_takes_nothing_more_and_then_again() {
        with_ring(|ring, program, layouts| {
            let time = 1 << 33;
            let sent = (0..).take_while(|_| program.send(1, time, &[])).count();
            assert_eq!(sent, (BYTES as usize - 16) / 8);
            let (pass, records) = read(ring, layouts, time);
            assert_eq!((pass, records.len()), (Ok(Pass::Drained), sent));
            assert!(program.send(1, time, &[]));
        });
    }

    #[test]
    fn a_record_that_is_not_committed_holds_up_those_behind_it() {
        with_ring(|ring, program, layouts| {
            assert!(program.send(1, 1 << 33, &[]));
            let place = program.reserve(8).unwrap();
            assert!(program.send(1, 1 << 33, &[]));
            assert_eq!(read(ring, layouts, 1 << 33), (Ok(Pass::Busy), vec![(1, 1 << 33)]));
            program.set(place, 1 << 32);
            assert_eq!(read(ring, layouts, 1 << 33).1.len(), 2);
        });
    }

    #[test]
    fn an_unknown_event_is_an_error_with_its_offset() {
        with_ring(|ring, program, layouts| {
            assert!(program.send(1, 1 << 33, &[]) && program.send(77, 1 << 33, &[]));
            let (pass, records) = read(ring, layouts, 1 << 33);
            assert_eq!(records.len(), 1);
            assert!(matches!(&pass, Err(Error::Stream { offset: 24, message }) if message.contains("77")), "{pass:?}");
        });
    }

    proptest! {
        /// Interrupts' times stand out of order, gaps may be long, and the reader may stall: each time is told.
        #[test]
        fn times_are_whole(steps in prop::collection::vec((-5_000_000_i64..20_000_000_000, any::<bool>()), 1..200)) {
            let mut outcome = Ok(());
            with_ring(|ring, program, layouts| {
                let (mut clock, mut sent, mut got) = (1_u64 << 36, Vec::new(), Vec::new());
                for (step, reads) in steps {
                    let time = clock.wrapping_add_signed(step);
                    clock = clock.max(time);
                    if program.send(1, time, &[]) {
                        sent.push((1, time));
                    }
                    if reads {
                        got.extend(read(ring, layouts, clock).1);
                    }
                }
                got.extend(read(ring, layouts, clock).1);
                outcome = if got == sent { Ok(()) } else { Err(format!("{got:?} instead of {sent:?}")) };
            });
            prop_assert_eq!(outcome, Ok(()));
        }
    }
}
