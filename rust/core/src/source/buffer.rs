//! Bytes of a stream that were read and are not decoded yet. In: a reader. Out: what it has, piece by piece, in one place.

use std::io::{self, ErrorKind, Read};

/// What was read: `from` the first byte that is not decoded, to the last.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    pub(super) from: usize,
    to: usize,
}

/// What one read brought.
pub(super) enum Filled {
    /// So many bytes, and whether there was room for more.
    Bytes { count: usize, had_room: bool },
    /// There is nothing for now.
    Nothing,
    /// There is nothing, and never will be.
    Ended,
}

impl Buffer {
    /// One that can hold so many bytes.
    pub(super) fn with_room(length: usize) -> Self {
        Self { bytes: vec![0; length], from: 0, to: 0 }
    }

    /// One that holds a whole stream.
    pub(super) fn full(bytes: Vec<u8>) -> Self {
        Self { from: 0, to: bytes.len(), bytes }
    }

    /// Everything up to the last byte read.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.to]
    }

    /// Reads once, behind what is not decoded yet.
    pub(super) fn fill(&mut self, reader: &mut impl Read) -> io::Result<Filled> {
        self.bytes.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        let room = &mut self.bytes[self.to..];
        loop {
            return match reader.read(room) {
                Ok(0) => Ok(Filled::Ended),
                Ok(count) => {
                    let length = room.len();
                    self.to += count.min(length);
                    Ok(Filled::Bytes { count, had_room: count < length })
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Filled::Nothing),
                Err(error) => Err(error),
            };
        }
    }
}
