//! The one funnel for system calls. In: a typed [`Syscall`]. Out: what the kernel answered.
//!
//! Whoever wants something of the kernel calls a function of this module's children, which fill in a [`Syscall`] and
//! give it to [`call`]; in tests [`fake`] may answer in the kernel's place. No other module of this crate makes a system
//! call other than by `std`.

pub mod bpf;
#[cfg(test)]
pub mod fake;
pub mod memory;
pub mod mount;
pub mod perf;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::{bpf_attr, bpf_cmd};

use super::descriptors;

/// A system call, with its arguments' types.
#[expect(missing_docs, reason = "each field is the manual page's argument")]
pub enum Syscall<'a> {
    /// bpf(2).
    Bpf { command: bpf_cmd, attr: &'a mut bpf_attr },
    /// perf_event_open(2), always with `PERF_FLAG_FD_CLOEXEC`.
    PerfEventOpen { attr: &'a perf::EventAttr, pid: i32, cpu: i32 },
    /// ioctl(2) on a perf event.
    PerfEventIoctl { fd: BorrowedFd<'a>, request: u32, argument: i32 },
    /// fsopen(2).
    FsOpen { kind: &'a CStr },
    /// fsconfig(2) with `FSCONFIG_CMD_CREATE`.
    FsConfigCreate { fd: BorrowedFd<'a> },
    /// fsmount(2).
    FsMount { fd: BorrowedFd<'a> },
    /// openat(2), read-only.
    OpenAt { directory: BorrowedFd<'a>, path: &'a CStr, flags: i32 },
    /// mmap(2), shared.
    Map { fd: BorrowedFd<'a>, length: usize, writable: bool, offset: i64 },
    /// munmap(2).
    Unmap { address: usize, length: usize },
    /// setrlimit(2) of `RLIMIT_MEMLOCK` to infinity.
    UnlimitLockedMemory,
    /// prlimit(2) of this process's `RLIMIT_NOFILE`.
    DescriptorLimit { new: Option<&'a libc::rlimit>, old: Option<&'a mut libc::rlimit> },
    /// fcntl(2) with `F_DUPFD_CLOEXEC`.
    Duplicate { fd: BorrowedFd<'a>, least: i32 },
}

/// Makes the call.
pub fn call(syscall: Syscall<'_>) -> io::Result<i64> {
    #[cfg(test)]
    let syscall = match fake::answer(syscall) {
        Ok(answer) => return answer,
        Err(syscall) => syscall,
    };
    match kernel(syscall) {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Makes a call whose answer is a new descriptor, of a number that the program won't miss.
pub fn call_for_fd(syscall: Syscall<'_>) -> io::Result<OwnedFd> {
    let fd = new_fd(syscall)?;
    let number = fd.as_raw_fd().into();
    Ok(descriptors::out_of_the_way(fd, number))
}

/// Makes a call whose answer is a new descriptor.
pub(super) fn new_fd(syscall: Syscall<'_>) -> io::Result<OwnedFd> {
    let fd = call(syscall)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::other(format!("{fd} is no descriptor")))?;
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn kernel(syscall: Syscall<'_>) -> i64 {
    use libc::{c_long, syscall as raw};
    const FSCONFIG_CMD_CREATE: c_long = 6;
    const FSMOUNT_CLOEXEC: c_long = 1;
    const FSOPEN_CLOEXEC: c_long = 1;
    const PERF_FLAG_FD_CLOEXEC: c_long = 8;
    let zero: c_long = 0;
    // SAFETY: each variant's references live until the call returns, their types are the ones that the kernel reads and
    // writes, and every pointer within a `bpf_attr` was made by `bpf` from a live slice with its own length.
    unsafe {
        match syscall {
            Syscall::Bpf { command, attr } => {
                raw(libc::SYS_bpf, command as c_long, &raw mut *attr, size_of::<bpf_attr>() as c_long)
            }
            Syscall::PerfEventOpen { attr, pid, cpu } => raw(
                libc::SYS_perf_event_open,
                &raw const *attr,
                c_long::from(pid),
                c_long::from(cpu),
                -1 as c_long,
                PERF_FLAG_FD_CLOEXEC,
            ),
            Syscall::PerfEventIoctl { fd, request, argument } => {
                raw(libc::SYS_ioctl, c_long::from(fd.as_raw_fd()), c_long::from(request), c_long::from(argument))
            }
            Syscall::FsOpen { kind } => raw(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC),
            Syscall::FsConfigCreate { fd } => {
                raw(libc::SYS_fsconfig, c_long::from(fd.as_raw_fd()), FSCONFIG_CMD_CREATE, zero, zero, zero)
            }
            Syscall::FsMount { fd } => raw(libc::SYS_fsmount, c_long::from(fd.as_raw_fd()), FSMOUNT_CLOEXEC, zero),
            Syscall::OpenAt { directory, path, flags } => raw(
                libc::SYS_openat,
                c_long::from(directory.as_raw_fd()),
                path.as_ptr(),
                c_long::from(flags | libc::O_CLOEXEC | libc::O_RDONLY),
                zero,
            ),
            Syscall::Map { fd, length, writable, offset } => {
                let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
                libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset) as i64
            }
            Syscall::Unmap { address, length } => i64::from(libc::munmap(address as *mut libc::c_void, length)),
            Syscall::UnlimitLockedMemory => {
                let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
                i64::from(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit))
            }
            Syscall::DescriptorLimit { new, old } => {
                let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
                let old = old.map_or(std::ptr::null_mut(), std::ptr::from_mut);
                i64::from(libc::prlimit(0, libc::RLIMIT_NOFILE, new, old))
            }
            Syscall::Duplicate { fd, least } => i64::from(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least)),
        }
    }
}
