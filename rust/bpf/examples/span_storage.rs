//! What keeping a span's start costs: in the hash that spile keeps it in, beside the kernel's task storage and beside nothing.
//!
//! In: a storm of system calls, each of which starts a span at its entry and ends it at its exit, by programs written out here.
//! Out: nanoseconds of this thread's own time for each call, the best of many rounds that take turns. It needs root:
//! `cargo run --release -p spile-bpf --example span_storage`. What came of it is in docs/adr/0009.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use spile_bpf::compile::ProgramKind;
use spile_bpf::kernel::link::Link;
use spile_bpf::kernel::map::Map;
use spile_bpf::kernel::program::LoadedProgram;
use spile_core::error::Error;

const CALLS: u32 = 100_000;
const ROUNDS: usize = 15;
/// Bytes of an entry: the start's time, and one value.
const ENTRY: u32 = 16;

// bpf(2)'s commands, the map's type and its flag.
const MAP_CREATE: i64 = 0;
const MAP_LOOKUP: i64 = 1;
const BTF_LOAD: i64 = 18;
const TASK_STORAGE: u32 = 29;
const NO_PREALLOC: u32 = 1;

// Helpers.
const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const DELETE: i32 = 3;
const TIME: i32 = 5;
const TASK: i32 = 35;
const STORAGE_GET: i32 = 156;
const TYPED_TASK: i32 = 158;

/// A program, instruction by instruction.
#[derive(Default)]
struct Code(Vec<u64>);

impl Code {
    fn put(&mut self, opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> &mut Self {
        let low = u64::from(opcode) | u64::from(dst | src << 4) << 8 | u64::from(offset.cast_unsigned()) << 16;
        self.0.push(low | u64::from(imm.cast_unsigned()) << 32);
        self
    }

    fn call(&mut self, helper: i32) -> &mut Self {
        self.put(0x85, 0, 0, 0, helper)
    }

    fn constant(&mut self, dst: u8, value: i32) -> &mut Self {
        self.put(0xb7, dst, 0, 0, value)
    }

    fn copy(&mut self, dst: u8, src: u8) -> &mut Self {
        self.put(0xbf, dst, src, 0, 0)
    }

    fn map(&mut self, map: i32) -> &mut Self {
        self.put(0x18, 1, 1, 0, map).put(0, 0, 0, 0, 0)
    }

    /// The address of a place on the stack.
    fn stack(&mut self, dst: u8, offset: i32) -> &mut Self {
        self.copy(dst, 10).put(0x07, dst, 0, 0, offset)
    }

    fn store(&mut self, base: u8, offset: i16, src: u8) -> &mut Self {
        self.put(0x7b, base, src, offset, 0)
    }

    fn load(&mut self, dst: u8, base: u8) -> &mut Self {
        self.put(0x79, dst, base, 0, 0)
    }

    fn exit_if_none(&mut self) -> &mut Self {
        self.put(0x55, 0, 0, 1, 0).put(0x95, 0, 0, 0, 0)
    }

    fn end(&mut self) -> Vec<u64> {
        self.constant(0, 0).put(0x95, 0, 0, 0, 0).0.clone()
    }
}

/// The time and nothing else: what either way needs.
fn nothing() -> Vec<u64> {
    Code::default().call(TIME).end()
}

fn hash_start(map: i32) -> Vec<u64> {
    let mut code = Code::default();
    code.call(TASK).store(10, -8, 0).call(TIME).store(10, -24, 0).store(10, -16, 0);
    code.map(map).stack(2, -8).stack(3, -24).constant(4, 1).call(UPDATE).end()
}

/// As `take` does it: look, copy, look again, remove.
fn hash_end(map: i32) -> Vec<u64> {
    let mut code = Code::default();
    code.call(TIME).copy(7, 0).call(TASK).store(10, -8, 0);
    code.map(map).stack(2, -8).call(LOOKUP).exit_if_none().load(6, 0);
    code.map(map).stack(2, -8).call(LOOKUP).exit_if_none().load(1, 0);
    code.put(0x1d, 1, 6, 2, 0).constant(0, 0).put(0x95, 0, 0, 0, 0);
    code.map(map).stack(2, -8).call(DELETE).end()
}

fn storage_start(map: i32) -> Vec<u64> {
    let mut code = Code::default();
    code.call(TIME).copy(6, 0).call(TYPED_TASK).copy(2, 0);
    code.map(map).constant(3, 0).constant(4, 1).call(STORAGE_GET).exit_if_none().store(0, 0, 6).end()
}

fn storage_end(map: i32) -> Vec<u64> {
    let mut code = Code::default();
    code.call(TIME).copy(6, 0).call(TYPED_TASK).copy(2, 0);
    code.map(map).constant(3, 0).constant(4, 0).call(STORAGE_GET).exit_if_none();
    code.load(7, 0).constant(1, 0).store(0, 0, 1).end()
}

fn bpf(command: i64, attr: &mut [u32; 36]) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads the array, whose pointers are to slices that live until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Types for a task's storage: an `int` for its key, and an array of bytes for its value.
fn types() -> io::Result<OwnedFd> {
    let int = |name: u32, size: u32| [name, 1 << 24, size, size * 8];
    let array = [0, 3 << 24, 0, 2, 1, ENTRY];
    let types: Vec<u32> = int(1, 4).into_iter().chain(int(5, 1)).chain(array).collect();
    let strings = *b"\0int\0byte\0\0\0";
    let size = 4 * types.len() as u32;
    let head = [0x1_eb9f, 24, 0, size, size, strings.len() as u32];
    let mut bytes: Vec<u8> = head.into_iter().chain(types).flat_map(u32::to_ne_bytes).collect();
    bytes.extend(strings);
    let (mut attr, address) = ([0; 36], bytes.as_ptr() as u64);
    (attr[0], attr[1], attr[4]) = (address as u32, (address >> 32) as u32, bytes.len() as u32);
    bpf(BTF_LOAD, &mut attr)
}

fn task_storage(types: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attr = [0; 36];
    (attr[0], attr[1], attr[2], attr[4]) = (TASK_STORAGE, 4, ENTRY, NO_PREALLOC);
    // btf_fd, btf_key_type_id, btf_value_type_id
    (attr[12], attr[13], attr[14]) = (types.as_raw_fd().cast_unsigned(), 1, 3);
    bpf(MAP_CREATE, &mut attr)
}

/// What this thread's storage has: the time of the last start.
fn kept(map: &OwnedFd) -> io::Result<u64> {
    // SAFETY: a number in, a new descriptor out.
    let task = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) } as i32;
    let (mut attr, mut value) = ([0_u32; 36], [0_u64; ENTRY as usize / 8]);
    let (key, to) = (&raw const task as u64, value.as_mut_ptr() as u64);
    (attr[0], attr[2], attr[3]) = (map.as_raw_fd().cast_unsigned(), key as u32, (key >> 32) as u32);
    (attr[4], attr[5]) = (to as u32, (to >> 32) as u32);
    // SAFETY: key and value live until the call returns, and have the map's sizes.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, MAP_LOOKUP, attr.as_mut_ptr(), size_of_val(&attr)) };
    // SAFETY: the kernel made it above.
    drop(unsafe { OwnedFd::from_raw_fd(task) });
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(value[0]) }
}

fn own_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the time there.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

fn storm(start: &[u64], end: &[u64]) -> Result<f64, Error> {
    let load = |code| LoadedProgram::load(ProgramKind::RawTracepoint, "storm", code);
    let (start, end) = (load(start)?, load(end)?);
    let links = [Link::raw_tracepoint("sys_exit", &end)?, Link::raw_tracepoint("sys_enter", &start)?];
    let began = own_time();
    for _ in 0..CALLS {
        // SAFETY: getppid reads nothing of ours.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    let took = own_time() - began;
    drop(links);
    Ok(took.as_nanos() as f64 / f64::from(CALLS))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hash = Map::hash("storm", 8, ENTRY, 1 << 16)?;
    let hash = hash.fd().as_raw_fd();
    let types = types()?;
    let storage = task_storage(&types)?;
    let ways = [
        ("the time alone", nothing(), nothing()),
        ("a hash", hash_start(hash), hash_end(hash)),
        ("task storage", storage_start(storage.as_raw_fd()), storage_end(storage.as_raw_fd())),
    ];
    // That the storage does keep a start, and lose it at the end, is seen before it is timed.
    storm(&storage_start(storage.as_raw_fd()), &nothing())?;
    assert!(kept(&storage)? > 0, "a start was kept");
    storm(&nothing(), &storage_end(storage.as_raw_fd()))?;
    assert_eq!(kept(&storage)?, 0, "its end took it");
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        for ((_, start, end), best) in ways.iter().zip(&mut best) {
            *best = best.min(storm(start, end)?);
        }
    }
    for ((name, ..), time) in ways.iter().zip(best) {
        println!("{name:16} {time:6.0} ns a call, {:6.0} ns of them for keeping", time - best[0]);
    }
    Ok(())
}
