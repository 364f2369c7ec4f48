//! The commands of bpf(2) that spile gives.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use aya_obj::generated::{
    BPF_F_KPROBE_MULTI_RETURN, bpf_attach_type, bpf_attr, bpf_btf_info, bpf_cmd, bpf_link_info, bpf_map_type,
    bpf_prog_info, bpf_prog_type, bpf_stats_type,
};

use super::{Syscall, call, call_for_fd};

/// What a map is to be.
#[derive(Debug, Clone, Copy)]
pub struct MapShape<'a> {
    /// At most 15 characters.
    pub name: &'a str,
    /// Its type.
    pub kind: bpf_map_type,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries, or bytes of a ring.
    pub max_entries: u32,
    /// `BPF_F_…`.
    pub flags: u32,
    /// For a map of maps, an example of the inner ones.
    pub inner: Option<BorrowedFd<'a>>,
}

fn empty() -> bpf_attr {
    // SAFETY: the union consists of integers and arrays of them, for which all zeroes is a value.
    unsafe { std::mem::zeroed() }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn name_bytes(name: &str) -> [std::ffi::c_char; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        let is_allowed = from.is_ascii_alphanumeric() || from == b'_' || from == b'.';
        *to = (if is_allowed { from } else { b'_' }) as std::ffi::c_char;
    }
    bytes
}

/// `BPF_MAP_CREATE`.
pub fn create_map(shape: &MapShape<'_>) -> io::Result<OwnedFd> {
    let mut attr = empty();
    // SAFETY: writing a field of a union of integers.
    let part = unsafe { &mut attr.__bindgen_anon_1 };
    part.map_type = shape.kind as u32;
    part.key_size = shape.key_size;
    part.value_size = shape.value_size;
    part.max_entries = shape.max_entries;
    part.map_flags = shape.flags;
    part.inner_map_fd = shape.inner.map_or(0, raw);
    part.map_name = name_bytes(shape.name);
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_MAP_CREATE, attr: &mut attr })
}

fn element(command: bpf_cmd, map: BorrowedFd<'_>, key: *const u8, value: *mut u8) -> io::Result<()> {
    let mut attr = empty();
    // SAFETY: writing a field of a union of integers.
    let part = unsafe { &mut attr.__bindgen_anon_2 };
    part.map_fd = raw(map);
    part.key = key as u64;
    part.__bindgen_anon_1.value = value as u64;
    call(Syscall::Bpf { command, attr: &mut attr }).map(drop)
}

/// `BPF_MAP_LOOKUP_ELEM`. `value` must have room for a value (for a per-CPU map, of every possible CPU).
pub fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    element(bpf_cmd::BPF_MAP_LOOKUP_ELEM, map, key.as_ptr(), value.as_mut_ptr())
}

/// `BPF_MAP_UPDATE_ELEM`.
pub fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    element(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, key.as_ptr(), value.as_ptr().cast_mut())
}

/// `BPF_MAP_DELETE_ELEM`.
pub fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    element(bpf_cmd::BPF_MAP_DELETE_ELEM, map, key.as_ptr(), std::ptr::null_mut())
}

/// `BPF_MAP_GET_NEXT_KEY`: writes the key behind `key`, or the first one; false at the end.
pub fn next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
    let key = key.map_or(std::ptr::null(), <[u8]>::as_ptr);
    match element(bpf_cmd::BPF_MAP_GET_NEXT_KEY, map, key, next.as_mut_ptr()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a program is to be.
#[derive(Debug, Clone, Copy)]
pub struct ProgramShape<'a> {
    /// Its type.
    pub kind: bpf_prog_type,
    /// How it will be attached, where the type alone doesn't say.
    pub expected: Option<bpf_attach_type>,
    /// The number of a function in the kernel's types, for whose trampoline it is.
    pub function: u32,
    /// The module's types, where the function is a module's.
    pub module: Option<BorrowedFd<'a>>,
    /// At most 15 characters.
    pub name: &'a str,
    /// Its code.
    pub insns: &'a [u64],
}

/// `BPF_PROG_LOAD`. With a `log`, the verifier writes its account there, NUL-terminated.
pub fn load_program(shape: &ProgramShape<'_>, log: Option<&mut [u8]>) -> io::Result<OwnedFd> {
    let mut attr = empty();
    // SAFETY: writing a field of a union of integers.
    let part = unsafe { &mut attr.__bindgen_anon_3 };
    part.prog_type = shape.kind as u32;
    part.expected_attach_type = shape.expected.map_or(0, |expected| expected as u32);
    part.attach_btf_id = shape.function;
    part.__bindgen_anon_1.attach_btf_obj_fd = shape.module.map_or(0, raw);
    part.insn_cnt = u32::try_from(shape.insns.len()).map_err(io::Error::other)?;
    part.insns = shape.insns.as_ptr() as u64;
    part.license = c"Dual MIT/GPL".as_ptr() as u64;
    part.prog_name = name_bytes(shape.name);
    if let Some(log) = log {
        part.log_level = 1;
        part.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
        part.log_buf = log.as_mut_ptr() as u64;
    }
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_PROG_LOAD, attr: &mut attr })
}

/// `BPF_ENABLE_STATS` of run times (since d46edd671a14): programs' times are counted until the answer is closed.
pub fn enable_statistics() -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.enable_stats.type_ = bpf_stats_type::BPF_STATS_RUN_TIME as u32;
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_ENABLE_STATS, attr: &mut attr })
}

/// `BPF_RAW_TRACEPOINT_OPEN` of a program that names its place itself.
pub fn open_trampoline(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.raw_tracepoint.prog_fd = raw(program);
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, attr: &mut attr })
}

/// `BPF_RAW_TRACEPOINT_OPEN`. The answer is the link: closing it detaches.
pub fn open_raw_tracepoint(name: &CStr, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.raw_tracepoint.name = name.as_ptr() as u64;
    attr.raw_tracepoint.prog_fd = raw(program);
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, attr: &mut attr })
}

/// `BPF_LINK_CREATE` with `BPF_TRACE_KPROBE_MULTI`: functions by name, and a cookie for each.
pub fn link_kprobe_multi(
    program: BorrowedFd<'_>,
    names: &[*const std::ffi::c_char],
    cookies: &[u64],
    is_return: bool,
) -> io::Result<OwnedFd> {
    if names.len() != cookies.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut attr = empty();
    // SAFETY: writing fields of unions of integers.
    unsafe {
        attr.link_create.__bindgen_anon_1.prog_fd = raw(program);
        attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32;
        let multi = &mut attr.link_create.__bindgen_anon_3.kprobe_multi;
        multi.flags = if is_return { BPF_F_KPROBE_MULTI_RETURN } else { 0 };
        multi.cnt = u32::try_from(names.len()).map_err(io::Error::other)?;
        multi.syms = names.as_ptr() as u64;
        multi.cookies = cookies.as_ptr() as u64;
    }
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_LINK_CREATE, attr: &mut attr })
}

/// `BPF_LINK_CREATE` with `BPF_PERF_EVENT` (since b89fbfbb854c), and a cookie (since 82e6b1eee6a8, of the same release).
pub fn link_perf_event(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.link_create.__bindgen_anon_1.prog_fd = raw(program);
    attr.link_create.__bindgen_anon_2.target_fd = raw(event);
    attr.link_create.attach_type = bpf_attach_type::BPF_PERF_EVENT as u32;
    attr.link_create.__bindgen_anon_3.perf_event.bpf_cookie = cookie;
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_LINK_CREATE, attr: &mut attr })
}

/// `BPF_OBJ_GET_INFO_BY_FD`: fills what is known of the object.
fn info<T>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let mut attr = empty();
    attr.info.bpf_fd = raw(fd);
    attr.info.info_len = size_of::<T>() as u32;
    attr.info.info = &raw mut *info as u64;
    call(Syscall::Bpf { command: bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, attr: &mut attr }).map(drop)
}

/// What a kernel that doesn't count misses leaves in their place.
const UNTOLD: u64 = u64::MAX;

/// A link that counts what it misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Of kprobe.multi (since e2b2cd592adb).
    Many,
    /// Of a kprobe (since 3acf8ace6823).
    Kprobe,
}

/// `BPF_OBJ_GET_INFO_BY_FD` of a link: how often what it is attached to was not run. `None` where the kernel doesn't say: then
/// it leaves what the caller wrote there.
pub fn link_misses(link: BorrowedFd<'_>, kind: Counting) -> io::Result<Option<u64>> {
    // SAFETY: the struct consists of integers and arrays of them, for which all zeroes is a value.
    let mut found: bpf_link_info = unsafe { std::mem::zeroed() };
    // Only the one: in its place the other has the length of a name that the kernel would write.
    match kind {
        Counting::Many => found.__bindgen_anon_1.kprobe_multi.missed = UNTOLD,
        Counting::Kprobe => found.__bindgen_anon_1.perf_event.__bindgen_anon_1.kprobe.missed = UNTOLD,
    }
    info(link, &mut found)?;
    // SAFETY: all variants are integers; the one that is read was written, by the kernel or above.
    let missed = unsafe {
        match kind {
            Counting::Many => found.__bindgen_anon_1.kprobe_multi.missed,
            Counting::Kprobe => found.__bindgen_anon_1.perf_event.__bindgen_anon_1.kprobe.missed,
        }
    };
    Ok((missed != UNTOLD).then_some(missed))
}

/// `BPF_OBJ_GET_INFO_BY_FD` of a program.
pub fn program_info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: the struct consists of integers and arrays of them, for which all zeroes is a value.
    let mut found: bpf_prog_info = unsafe { std::mem::zeroed() };
    info(program, &mut found)?;
    Ok(found)
}

/// `BPF_PROG_GET_NEXT_ID`: the first program's number behind `id`, if there is one.
pub fn next_program(id: u32) -> io::Result<Option<u32>> {
    next(bpf_cmd::BPF_PROG_GET_NEXT_ID, id)
}

/// `BPF_BTF_GET_NEXT_ID`: the same of the sets of types.
pub fn next_types(id: u32) -> io::Result<Option<u32>> {
    next(bpf_cmd::BPF_BTF_GET_NEXT_ID, id)
}

fn next(command: bpf_cmd, id: u32) -> io::Result<Option<u32>> {
    let mut attr = empty();
    attr.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
    match call(Syscall::Bpf { command, attr: &mut attr }) {
        // SAFETY: all variants are integers, and the kernel has written this one.
        Ok(_) => Ok(Some(unsafe { attr.__bindgen_anon_6.next_id })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `BPF_BTF_GET_FD_BY_ID`.
pub fn open_types(id: u32) -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_BTF_GET_FD_BY_ID, attr: &mut attr })
}

/// `BPF_OBJ_GET_INFO_BY_FD` of a set of types: whose they are, where they are the kernel's or a module's (since
/// 5329722057d4).
pub fn name_of_types(types: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let mut name = [0_u8; 64];
    // SAFETY: the struct consists of integers, for which all zeroes is a value.
    let mut found: bpf_btf_info = unsafe { std::mem::zeroed() };
    (found.name, found.name_len) = (name.as_mut_ptr() as u64, name.len() as u32);
    info(types, &mut found)?;
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok((found.kernel_btf == 1).then(|| String::from_utf8_lossy(&name[..length]).into_owned()))
}

/// The descriptor as an instruction's immediate.
pub fn immediate(fd: BorrowedFd<'_>) -> RawFd {
    fd.as_raw_fd()
}
