//! The commands of bpf(2) that spile gives.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type, bpf_prog_info, bpf_prog_type};

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

/// `BPF_PROG_LOAD`. With a `log`, the verifier writes its account there, NUL-terminated.
pub fn load_program(kind: bpf_prog_type, name: &str, insns: &[u64], log: Option<&mut [u8]>) -> io::Result<OwnedFd> {
    let mut attr = empty();
    // SAFETY: writing a field of a union of integers.
    let part = unsafe { &mut attr.__bindgen_anon_3 };
    part.prog_type = kind as u32;
    part.insn_cnt = u32::try_from(insns.len()).map_err(io::Error::other)?;
    part.insns = insns.as_ptr() as u64;
    part.license = c"Dual MIT/GPL".as_ptr() as u64;
    part.prog_name = name_bytes(name);
    if let Some(log) = log {
        part.log_level = 1;
        part.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
        part.log_buf = log.as_mut_ptr() as u64;
    }
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_PROG_LOAD, attr: &mut attr })
}

/// `BPF_PROG_LOAD` of a program for a kernel function's entry; `function` is the function's number in the kernel's BTF.
pub fn load_fentry(name: &str, insns: &[u64], function: u32) -> io::Result<OwnedFd> {
    let mut attr = empty();
    // SAFETY: writing a field of a union of integers.
    let part = unsafe { &mut attr.__bindgen_anon_3 };
    part.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
    part.expected_attach_type = bpf_attach_type::BPF_TRACE_FENTRY as u32;
    part.attach_btf_id = function;
    part.insn_cnt = u32::try_from(insns.len()).map_err(io::Error::other)?;
    part.insns = insns.as_ptr() as u64;
    part.license = c"Dual MIT/GPL".as_ptr() as u64;
    part.prog_name = name_bytes(name);
    call_for_fd(Syscall::Bpf { command: bpf_cmd::BPF_PROG_LOAD, attr: &mut attr })
}

/// `BPF_RAW_TRACEPOINT_OPEN` of a program that names its place itself.
pub fn open_fentry(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
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

/// `BPF_OBJ_GET_INFO_BY_FD` of a program.
pub fn program_info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: the struct consists of integers and arrays of them, for which all zeroes is a value.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = empty();
    attr.info.bpf_fd = raw(program);
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    attr.info.info = &raw mut info as u64;
    call(Syscall::Bpf { command: bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, attr: &mut attr })?;
    Ok(info)
}

/// `BPF_PROG_GET_NEXT_ID`: the first program's number behind `id`, if there is one.
pub fn next_program(id: u32) -> io::Result<Option<u32>> {
    let mut attr = empty();
    attr.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
    match call(Syscall::Bpf { command: bpf_cmd::BPF_PROG_GET_NEXT_ID, attr: &mut attr }) {
        // SAFETY: all variants are integers, and the kernel has written this one.
        Ok(_) => Ok(Some(unsafe { attr.__bindgen_anon_6.next_id })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The descriptor as an instruction's immediate.
pub fn immediate(fd: BorrowedFd<'_>) -> RawFd {
    fd.as_raw_fd()
}
