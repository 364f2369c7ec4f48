//! Shared mappings that unmap themselves.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use super::{Syscall, call};

/// Memory shared with the kernel.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is plain memory of the whole process; who may touch it when is up to its owner's `&` and `&mut`.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `length` bytes of `fd`.
    pub fn new(fd: BorrowedFd<'_>, length: usize, writable: bool, offset: i64) -> io::Result<Self> {
        let address = call(Syscall::Map { fd, length, writable, offset })?;
        NonNull::new(address as *mut u8)
            .map(|address| Self { address, length })
            .ok_or_else(|| io::Error::other("the kernel mapped nothing"))
    }

    /// Where it begins; valid for [`Self::len`] bytes as long as `self` lives.
    pub fn address(&self) -> NonNull<u8> {
        self.address
    }

    /// It as words, which anybody may change at any time. It must have been made writable.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: a mapping begins at a page and is valid for its length as long as `self` lives; atomics may be changed by
        // others, and all bits are a value.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr().cast(), self.length / 8) }
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and none is possible for a mapping that was made.
        let _ = call(Syscall::Unmap { address: self.address.as_ptr() as usize, length: self.length });
    }
}

/// The size of a page.
pub fn page_size() -> usize {
    // SAFETY: sysconf reads nothing of ours.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
