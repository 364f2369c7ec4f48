//! A machine for compiled programs: rbpf with helpers that work on plain memory.

use std::cell::RefCell;
use std::collections::HashMap;

use rbpf::{EbpfVmRaw, ebpf};
use spile_bpf::compile::{Ledger, MapRef, Program};

/// Where a machine's kernel memory begins, as a program sees it.
pub const KERNEL: u64 = 0xffff_8880_0000_0000;
/// Where its user memory begins.
pub const USER: u64 = 0x7f00_0000_0000;
/// What the helpers answer.
pub const PID: u64 = 4711;
pub const TID: u64 = 4712;
pub const TIME: u64 = 0x0123_4567_89ab;
pub const CPU: u64 = 1;
pub const FUNCTION: u64 = 0xffff_ffff_8100_0000;
pub const COOKIE: u64 = 9;
/// Words of a table's part, more than any test's rows take.
const PART: usize = 1 << 13;
const EFAULT: u64 = -14_i64 as u64;

#[derive(Default)]
pub struct Machine {
    pub gate: Box<[u64; 1]>,
    /// What is left out for the budget: of how many events one is sent, and whether stacks are empty.
    pub budget: Box<[u32; 2]>,
    /// Where the parts of tables begin that are written to.
    pub generation: Box<[u64; 1]>,
    /// Parts, by aggregate and number.
    pub parts: HashMap<(u16, u32), Box<[u64]>>,
    pub ledger: Box<[u64; Ledger::ENTRIES as usize]>,
    /// What spans keep: values by key.
    pub open: HashMap<u64, Box<[u8]>>,
    /// How many of them there can be.
    pub max_open: usize,
    /// Bytes of each.
    pub kept_size: usize,
    pub scratch: Vec<u64>,
    pub cache: Vec<u64>,
    pub kernel: Vec<u8>,
    pub user: Vec<u8>,
    pub comm: [u8; 16],
    pub kernel_stack: Vec<u64>,
    pub user_stack: Vec<u64>,
    pub pids: Vec<u32>,
    /// Records still fit for so many times.
    pub room: usize,
    pub rings: HashMap<u64, Vec<Vec<u8>>>,
    reserved: Option<(u64, Box<[u64]>, usize)>,
    maps: Vec<MapRef>,
    ctx: (u64, u64),
}

thread_local! {
    static MACHINE: RefCell<Machine> = RefCell::default();
}

fn with<R>(act: impl FnOnce(&mut Machine) -> R) -> R {
    MACHINE.with_borrow_mut(act)
}

fn to_memory(address: u64, bytes: &[u8]) {
    // SAFETY: the interpreted program passes addresses of its stack, of a reservation or of a map's value here; the
    // kernel's verifier has vouched for such sizes in `compile_load`.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) }
}

fn from_memory(address: u64, size: usize) -> Vec<u8> {
    // SAFETY: as in `to_memory`.
    unsafe { std::slice::from_raw_parts(address as *const u8, size) }.to_vec()
}

impl Machine {
    pub fn new() -> Self {
        Self {
            gate: Box::new([1]),
            budget: Box::new([1, 0]),
            scratch: vec![0; 5 * 20_480 / 8],
            cache: vec![0; 1024],
            comm: *b"a-command\0......",
            room: usize::MAX,
            max_open: 2,
            ..Self::default()
        }
    }

    /// One whose spans keep so many bytes each.
    pub fn keeping(bytes: u32) -> Self {
        Self { kept_size: bytes as usize, ..Self::new() }
    }

    /// Runs a program once.
    pub fn run(self, program: &Program, ctx: &mut [u8]) -> Self {
        self.run_at(program, ctx, 0)
    }

    /// Runs a program once, while so many others are interrupted.
    pub fn run_at(self, program: &Program, ctx: &mut [u8], level: u64) -> Self {
        let mut machine = self;
        machine.maps.clear();
        let mut words: Vec<u64> = program.insns.iter().map(|insn| insn.0).collect();
        for (at, map) in &program.relocations {
            let value = if *map == MapRef::Gate {
                machine.gate.as_ptr() as u64
            } else if *map == MapRef::Budget {
                machine.budget.as_ptr() as u64
            } else if *map == MapRef::Generation {
                machine.generation.as_ptr() as u64
            } else {
                let known = machine.maps.iter().position(|other| other == map);
                known.unwrap_or_else(|| {
                    machine.maps.push(*map);
                    machine.maps.len() - 1
                }) as u64
            };
            words[*at] = program.insns[*at].with_imm(value as i32).0 & !0xf000;
            words[*at + 1] = value >> 32 << 32;
        }
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut vm = EbpfVmRaw::new(Some(&code)).unwrap();
        let helpers: [(u32, ebpf::Helper); 19] = [
            (1, map_lookup),
            (173, |_, _, _, _, _| FUNCTION),
            (174, |_, _, _, _, _| COOKIE),
            (2, map_update),
            (3, map_delete),
            (5, |_, _, _, _, _| TIME),
            (8, |_, _, _, _, _| CPU),
            (14, |_, _, _, _, _| PID << 32 | TID),
            (15, |_, _, _, _, _| 100 << 32 | 1000),
            (16, current_comm),
            (35, |_, _, _, _, _| KERNEL),
            (67, get_stack),
            (80, |_, _, _, _, _| 77),
            (113, |to, size, from, _, _| read(to, size, from, KERNEL)),
            (114, |to, size, from, _, _| read_str(to, size, from, USER)),
            (115, |to, size, from, _, _| read_str(to, size, from, KERNEL)),
            (130, ring_output),
            (131, ring_reserve),
            (132, ring_submit),
        ];
        for (number, helper) in helpers {
            vm.register_helper(number, helper).unwrap();
        }
        vm.register_allowed_memory(0x1000..u64::MAX);
        machine.ctx = (ctx.as_ptr() as u64, ctx.len() as u64);
        with(|slot| *slot = machine);
        vm.execute_program(ctx).unwrap();
        let machine = with(std::mem::take);
        assert!(machine.reserved.is_none(), "a reservation was not given back");
        assert_eq!(machine.scratch[0], level, "scratch was not given back");
        machine
    }

    pub fn record(&self) -> &[u8] {
        self.rings.values().flatten().last().expect("a record")
    }

    fn memory(&self, from: u64, space: u64) -> Option<Vec<u8>> {
        if (self.ctx.0..self.ctx.0 + self.ctx.1).contains(&from) {
            return Some(from_memory(from, (self.ctx.0 + self.ctx.1 - from) as usize));
        }
        let scratch = self.scratch.as_ptr() as u64;
        if space == KERNEL && (scratch..scratch + 8 * self.scratch.len() as u64).contains(&from) {
            return Some(from_memory(from, (scratch + 8 * self.scratch.len() as u64 - from) as usize));
        }
        let bytes = if space == KERNEL { &self.kernel } else { &self.user };
        let start = usize::try_from(from.checked_sub(space)?).ok()?;
        bytes.get(start..).filter(|rest| !rest.is_empty()).map(<[u8]>::to_vec)
    }
}

fn map_lookup(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    with(|machine| {
        if let MapRef::Open(_) = machine.maps[map as usize] {
            let key = u64::from_le_bytes(from_memory(key, 8).try_into().unwrap());
            return machine.open.get(&key).map_or(0, |value| value.as_ptr() as u64);
        }
        let key = u32::from_le_bytes(from_memory(key, 4).try_into().unwrap());
        match machine.maps[map as usize] {
            MapRef::Ledger => machine.ledger.as_ptr() as u64,
            MapRef::Scratch => machine.scratch.as_ptr() as u64 + 20_480 * u64::from(key),
            MapRef::StackCache => machine.cache.as_ptr() as u64 + 8 * u64::from(key),
            MapRef::Table(aggregate) => {
                let part = machine.parts.entry((aggregate, key)).or_insert_with(|| vec![0; PART].into());
                part.as_ptr() as u64
            }
            MapRef::Pids => u64::from(machine.pids.contains(&key)) * machine.pids.as_ptr() as u64,
            other => panic!("{other:?} is not looked into"),
        }
    })
}

fn open_key(machine: &Machine, map: u64, key: u64) -> u64 {
    assert!(matches!(machine.maps[map as usize], MapRef::Open(_)), "only spans write to maps");
    u64::from_le_bytes(from_memory(key, 8).try_into().unwrap())
}

fn map_update(map: u64, key: u64, value: u64, flags: u64, _: u64) -> u64 {
    with(|machine| {
        let key = open_key(machine, map, key);
        match (flags, machine.open.contains_key(&key)) {
            (1, true) => return -17_i64 as u64,
            (2, false) => return -2_i64 as u64,
            (1, false) if machine.open.len() >= machine.max_open => return -7_i64 as u64,
            _ => {}
        }
        machine.open.insert(key, from_memory(value, machine.kept_size).into());
        0
    })
}

fn map_delete(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    with(|machine| {
        let key = open_key(machine, map, key);
        if machine.open.remove(&key).is_some() { 0 } else { -2_i64 as u64 }
    })
}

fn current_comm(to: u64, size: u64, _: u64, _: u64, _: u64) -> u64 {
    with(|machine| to_memory(to, &machine.comm[..size as usize]));
    0
}

fn get_stack(_: u64, to: u64, size: u64, flags: u64, _: u64) -> u64 {
    with(|machine| {
        let stack = if flags == 256 { &machine.user_stack } else { &machine.kernel_stack };
        if stack.is_empty() {
            return EFAULT;
        }
        let bytes: Vec<u8> = stack.iter().take(size as usize / 8).flat_map(|frame| frame.to_le_bytes()).collect();
        to_memory(to, &bytes);
        bytes.len() as u64
    })
}

fn read(to: u64, size: u64, from: u64, space: u64) -> u64 {
    let found = with(|machine| machine.memory(from, space)).filter(|bytes| bytes.len() >= size as usize);
    match found {
        Some(bytes) => {
            to_memory(to, &bytes[..size as usize]);
            0
        }
        None => {
            to_memory(to, &vec![0; size as usize]);
            EFAULT
        }
    }
}

fn read_str(to: u64, size: u64, from: u64, space: u64) -> u64 {
    let Some(bytes) = with(|machine| machine.memory(from, space)) else { return EFAULT };
    let text: Vec<u8> = bytes.into_iter().take(size as usize - 1).take_while(|byte| *byte != 0).chain([0]).collect();
    to_memory(to, &text);
    text.len() as u64
}

impl Machine {
    fn take_room(&mut self) -> bool {
        let fits = self.room > 0;
        self.room = self.room.saturating_sub(1);
        fits
    }
}

fn ring_output(ring: u64, from: u64, size: u64, _: u64, _: u64) -> u64 {
    with(|machine| {
        if !machine.take_room() {
            return -11_i64 as u64;
        }
        machine.rings.entry(ring).or_default().push(from_memory(from, size as usize));
        0
    })
}

fn ring_reserve(ring: u64, size: u64, _: u64, _: u64, _: u64) -> u64 {
    with(|machine| {
        if !machine.take_room() {
            return 0;
        }
        let place = vec![0xa5a5_a5a5_a5a5_a5a5; size as usize / 8].into_boxed_slice();
        let address = place.as_ptr() as u64;
        machine.reserved = Some((ring, place, size as usize));
        address
    })
}

fn ring_submit(record: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    with(|machine| {
        let (ring, _place, size) = machine.reserved.take().unwrap();
        machine.rings.entry(ring).or_default().push(from_memory(record, size));
    });
    0
}
