//! A file system of one's own, mounted nowhere: fsopen, fsconfig, fsmount; and files relative to it.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::{Syscall, call, call_for_fd};

/// Mounts a file system of `kind` that only the descriptor's holder sees and that ends with the descriptor.
pub fn detached(kind: &CStr) -> io::Result<OwnedFd> {
    let context = call_for_fd(Syscall::FsOpen { kind })?;
    call(Syscall::FsConfigCreate { fd: context.as_fd() })?;
    call_for_fd(Syscall::FsMount { fd: context.as_fd() })
}

/// Opens a file for reading.
pub fn open_at(directory: BorrowedFd<'_>, path: &CStr) -> io::Result<File> {
    call_for_fd(Syscall::OpenAt { directory, path, flags: 0 }).map(File::from)
}

/// Opens a directory.
pub fn open_directory_at(directory: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    call_for_fd(Syscall::OpenAt { directory, path, flags: libc::O_DIRECTORY })
}
