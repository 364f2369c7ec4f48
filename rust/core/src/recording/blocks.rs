//! Blocks in a file, sound or not. In: bytes at any place. Out: each block's header and place, and where there is none.
//!
//! What is damaged is passed over: the next bytes that are a header by their own checksum are the next block.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::format::{BLOCK_HEADER, BLOCK_MAGIC, BlockHeader, Codec, FILE_HEADER};
use crate::error::Error;

/// What a recording is read from.
pub trait Bytes: Send + Sync {
    /// Reads at a place; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Bytes for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl Bytes for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A block, whose bytes are all there.
    Block(Place),
    /// No block, up to where the next one begins or the file ends.
    Damage { from: u64, to: u64 },
    /// The file ends within a block that begins here.
    Cut(u64),
    /// The file ends.
    End,
}

/// A block and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub at: u64,
    pub header: BlockHeader,
}

/// The blocks of a file, in their order.
pub(super) struct Blocks {
    bytes: Arc<dyn Bytes>,
    pub(super) at: u64,
    stored: Vec<u8>,
}

/// Bytes looked at together in search of a header.
const SEARCH: usize = 64 << 10;

impl Blocks {
    pub(super) fn new(bytes: Arc<dyn Bytes>) -> Self {
        Self { bytes, at: FILE_HEADER as u64, stored: Vec::new() }
    }

    /// The next block, or what is in its place.
    pub(super) fn next(&mut self) -> Result<Found, Error> {
        let at = self.at;
        let mut header = [0; BLOCK_HEADER];
        match self.fill(&mut header, at)? {
            0 => return Ok(Found::End),
            BLOCK_HEADER => {}
            count if header[..count.min(4)] == BLOCK_MAGIC[..count.min(4)] => return Ok(self.cut(at + count as u64)),
            _ => return self.search(at),
        }
        let Some(header) = BlockHeader::parse(&header) else { return self.search(at) };
        let end = at + BLOCK_HEADER as u64 + u64::from(header.stored);
        if header.stored > 0 && self.fill(&mut [0], end - 1)? == 0 {
            return Ok(self.cut(u64::MAX));
        }
        self.at = end;
        Ok(Found::Block(Place { at, header }))
    }

    /// Nothing comes behind a block that isn't all there.
    fn cut(&mut self, end: u64) -> Found {
        Found::Cut(std::mem::replace(&mut self.at, end))
    }

    /// A block's bytes as they were before they were stored. What was found instead, if they are not.
    pub(super) fn payload(
        &mut self,
        Place { at, header }: Place,
        payload: &mut Vec<u8>,
    ) -> Result<Result<(), Found>, Error> {
        let mut stored = std::mem::take(&mut self.stored);
        stored.resize(header.stored as usize, 0);
        let count = self.fill(&mut stored, at + BLOCK_HEADER as u64)?;
        let is_sound = count == stored.len() && crc32fast::hash(&stored) == header.checksum;
        let is_read = is_sound && unpack(&header, &stored, payload);
        self.stored = stored;
        if is_read {
            return Ok(Ok(()));
        }
        // The length may lie too: the next block is searched for from here on.
        self.search(at).map(Err)
    }

    /// The damage from here to the next header.
    fn search(&mut self, from: u64) -> Result<Found, Error> {
        let (mut at, mut chunk) = (from + 1, vec![0; SEARCH + BLOCK_HEADER]);
        loop {
            let count = self.fill(&mut chunk, at)?;
            let is_header =
                |window: &[u8]| window.first_chunk().is_some_and(|bytes| BlockHeader::parse(bytes).is_some());
            if let Some(place) = chunk[..count].windows(BLOCK_HEADER).take(SEARCH).position(is_header) {
                self.at = at + place as u64;
                return Ok(Found::Damage { from, to: self.at });
            }
            if count < chunk.len() {
                self.at = at + count as u64;
                return Ok(Found::Damage { from, to: self.at });
            }
            at += SEARCH as u64;
        }
    }

    /// Reads as much as there is; gives the bytes read.
    fn fill(&self, buffer: &mut [u8], at: u64) -> Result<usize, Error> {
        let mut count = 0;
        while count < buffer.len() {
            match self.bytes.read_at(&mut buffer[count..], at + count as u64) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let offset = at + count as u64;
                    return Err(Error::Recording { offset, message: format!("the recording can't be read: {error}") });
                }
            }
        }
        Ok(count)
    }
}

fn unpack(header: &BlockHeader, stored: &[u8], payload: &mut Vec<u8>) -> bool {
    payload.clear();
    if header.codec == Codec::Raw as u8 {
        payload.extend(stored);
        return payload.len() == header.length as usize;
    }
    if header.codec != Codec::Lz4 as u8 {
        return false;
    }
    payload.resize(header.length as usize, 0);
    lz4_flex::block::decompress_into(stored, payload).is_ok_and(|length| length == payload.len())
}
