//! A descriptor that somebody else writes to. In: a pipe, a socket or a file. Out: its bytes, without ever blocking on a
//! writer that is slow, and without reading on for ever once nobody wants more.
//!
//! The descriptor's flags belong to whoever opened it and stay as they are: it is asked before each read whether it has
//! something, so nobody else may read from it meanwhile.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use rustix::pipe::fcntl_setpipe_size;

use super::framed::{Account, Input};

/// Reads that give as much find more soon.
const BUSY: usize = 16 << 10;
/// The most that a pipe can be made to hold without privilege.
const PIPE_SIZE: usize = 1 << 20;

/// A descriptor's bytes. They end where its writers end it, or with what was there when the account was closed.
pub struct Pipe {
    file: File,
    account: Arc<Account>,
    is_file: bool,
    is_busy: bool,
    /// Bytes that are still wanted, once nobody wants more.
    left: Option<usize>,
}

impl Pipe {
    /// Takes a descriptor over. A pipe is made as large as it may be.
    pub fn new(descriptor: OwnedFd, account: Arc<Account>) -> io::Result<Self> {
        let file = File::from(descriptor);
        let is_file = file.metadata()?.is_file();
        // Refused for what is no pipe, and beyond the limit of what a user's pipes may hold: then it stays as it is.
        let _ = fcntl_setpipe_size(&file, PIPE_SIZE);
        Ok(Self { file, account, is_file, is_busy: false, left: None })
    }

    /// Whether a read will not block.
    fn is_readable(&self, at_most: Duration) -> io::Result<bool> {
        let mut polled = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(at_most).map_err(|_| ErrorKind::InvalidInput)?;
        Ok(poll(&mut polled, Some(&timeout))? > 0)
    }

    /// What may be read of it at once.
    fn wanted(&mut self) -> usize {
        if self.is_file || !self.account.is_closing() {
            return usize::MAX;
        }
        let there = || ioctl_fionread(&self.file).map_or(PIPE_SIZE, |count| count as usize);
        *self.left.get_or_insert_with(there)
    }
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let wanted = self.wanted().min(room.len());
        if wanted == 0 {
            return Ok(0);
        }
        if !self.is_readable(Duration::ZERO)? {
            return if self.left.is_some() { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = self.file.read(&mut room[..wanted])?;
        self.left = self.left.map(|left| left - count);
        self.is_busy = count >= BUSY;
        Ok(count)
    }
}

impl Input for Pipe {
    fn wait(&mut self, at_most: Duration) -> bool {
        if !self.is_busy || self.account.is_closing() {
            return false;
        }
        self.is_busy = self.is_readable(at_most).unwrap_or(false);
        true
    }
}
