//! Bulk mode (`stap -b`). In: one CPU's file, in which each print stands behind a `u32` number, counted over all CPUs from
//! 1, and a `u32` length. Out: the prints, one after the other.
//!
//! Where no print's head stands, everything up to the next one that has a frame behind it is passed on as it is: frames
//! stand for themselves, and whoever reads them counts what is none.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use super::{Account, Input, MAGIC};

/// Bytes of a print's head.
const HEAD: usize = 8;
/// SystemTap prints from a buffer of 8 KiB; a script may make it larger.
const LONGEST: u32 = 64 << 10;
/// So far apart are the numbers of two prints of one CPU, at most.
const FARTHEST: u32 = 1 << 24;
const CHUNK: usize = 256 << 10;

/// A file of bulk mode, without its heads.
pub struct Bulk<R> {
    reader: R,
    account: Arc<Account>,
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    has_ended: bool,
    /// Bytes of the current print that are still to come.
    left: usize,
    /// The last print's number.
    number: u32,
    /// Prints that the account doesn't know of yet, and the highest number.
    prints: u64,
    highest: u32,
    /// The last place with a head was none.
    is_lost: bool,
}

impl<R: Input> Bulk<R> {
    /// Prints are counted in the account.
    pub fn new(reader: R, account: Arc<Account>) -> Self {
        let buffer = vec![0; CHUNK].into();
        Self {
            reader,
            account,
            buffer,
            from: 0,
            to: 0,
            has_ended: false,
            left: 0,
            number: 0,
            prints: 0,
            highest: 0,
            is_lost: false,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        if self.to < self.buffer.len() {
            let count = self.reader.read(&mut self.buffer[self.to..])?;
            self.has_ended |= count == 0;
            self.to += count;
        }
        Ok(())
    }

    /// Bytes of the print that begins here, its head included; 0 for none. None: too little to tell.
    fn head(&self, rest: &[u8]) -> Option<usize> {
        let (head, behind) = rest.split_first_chunk::<HEAD>()?;
        let [number, length] = [0, 4].map(|at| head.get(at..at + 4).and_then(|word| word.first_chunk()));
        let (number, length) = (u32::from_le_bytes(*number?), u32::from_le_bytes(*length?));
        if !(1..=LONGEST).contains(&length) || number.abs_diff(self.number) > FARTHEST || number == 0 {
            return Some(0);
        }
        if self.is_lost && !behind.starts_with(&MAGIC) {
            return if behind.len() < MAGIC.len() && !self.has_ended { None } else { Some(0) };
        }
        Some(HEAD + length as usize)
    }

    /// Takes in heads, and gives the bytes that may be passed on.
    fn next(&mut self) -> usize {
        while self.left == 0 {
            let rest = &self.buffer[self.from..self.to];
            match self.head(rest) {
                Some(0) => {
                    self.is_lost = true;
                    return self.stray();
                }
                Some(length) => {
                    let number = rest.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
                    self.prints += 1;
                    self.highest = self.highest.max(number);
                    (self.number, self.left, self.is_lost) = (number, length - HEAD, false);
                    self.from += HEAD;
                }
                None if self.has_ended => return rest.len(),
                None => return 0,
            }
        }
        self.left.min(self.to - self.from)
    }

    /// Bytes before the next place with a head.
    fn stray(&self) -> usize {
        let rest = &self.buffer[self.from..self.to];
        let is_none = |place: &usize| self.head(&rest[*place..]) == Some(0);
        (1..rest.len()).find(|place| !is_none(place)).unwrap_or(rest.len())
    }
}

impl<R: Input> Read for Bulk<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut given = 0;
        while given == 0 {
            loop {
                let count = self.next().min(room.len() - given);
                if count == 0 {
                    break;
                }
                room[given..given + count].copy_from_slice(&self.buffer[self.from..self.from + count]);
                self.from += count;
                self.left = self.left.saturating_sub(count);
                given += count;
            }
            self.account.lock().print(std::mem::take(&mut self.prints), self.highest);
            if given > 0 || self.has_ended || room.is_empty() {
                break;
            }
            self.fill()?;
        }
        Ok(given)
    }
}

impl<R: Input> Input for Bulk<R> {
    fn wait(&mut self, at_most: Duration) -> bool {
        self.reader.wait(at_most)
    }
}
