//! Blocks into a file. In: what a block holds. Out: the block, compressed and with its checksums, in one write.
//!
//! A block that couldn't be written whole is taken back, so that the file ends behind the last whole one.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use super::format::{self, BLOCK_HEADER, BlockHeader, Codec, FILE_HEADER, Kind, MAX_BLOCK};
use crate::error::Error;

/// Writes one file.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    /// For messages.
    path: String,
    compresses: bool,
    /// Where the next block begins.
    position: u64,
    number: u32,
    /// Of all blocks.
    pub(super) events: u64,
    scratch: Vec<u8>,
    failure: Option<Error>,
}

impl Writer {
    /// Into an empty file.
    pub(super) fn new(file: File, path: &str, compresses: bool) -> Result<Self, Error> {
        let mut writer = Self {
            file,
            path: path.into(),
            compresses,
            position: 0,
            number: 0,
            events: 0,
            scratch: Vec::new(),
            failure: None,
        };
        writer.scratch.extend(format::file_header());
        writer.write()?;
        Ok(writer)
    }

    /// Appends a block. After an error nothing more is written, and the error stays.
    pub(super) fn block(&mut self, kind: Kind, events: u32, payload: &[u8]) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if payload.len() > MAX_BLOCK {
            return Err(Error::engine(format!("a block of {} bytes; this is a bug of spile's", payload.len())));
        }
        let codec = self.fill(payload);
        let stored = &self.scratch[BLOCK_HEADER..];
        let header = BlockHeader {
            kind: kind as u16,
            codec: codec as u8,
            number: self.number,
            stored: stored.len() as u32,
            length: payload.len() as u32,
            events,
            checksum: crc32fast::hash(stored),
        };
        self.scratch[..BLOCK_HEADER].copy_from_slice(&header.encode());
        self.write()?;
        self.number = self.number.wrapping_add(1);
        self.events += u64::from(events);
        Ok(())
    }

    /// Appends a block once more after the disk was full: what was taken back has left a little room. It need not work.
    pub(super) fn last_words(&mut self, kind: Kind, payload: &[u8]) {
        self.failure = None;
        let _ = self.block(kind, 0, payload);
    }

    /// Puts the bytes into the scratch memory, behind room for a header.
    fn fill(&mut self, payload: &[u8]) -> Codec {
        let scratch = &mut self.scratch;
        scratch.resize(BLOCK_HEADER, 0);
        if self.compresses {
            scratch.resize(BLOCK_HEADER + lz4_flex::block::get_maximum_output_size(payload.len()), 0);
            if let Ok(length) = lz4_flex::block::compress_into(payload, &mut scratch[BLOCK_HEADER..])
                && length < payload.len()
            {
                scratch.truncate(BLOCK_HEADER + length);
                return Codec::Lz4;
            }
            scratch.truncate(BLOCK_HEADER);
        }
        scratch.extend(payload);
        Codec::Raw
    }

    fn write(&mut self) -> Result<(), Error> {
        match self.file.write_all(&self.scratch) {
            Ok(()) => {
                self.position += self.scratch.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A pipe can't be taken back; its reader finds the torn block.
                let _ = self.file.set_len(self.position).and_then(|()| self.file.seek(SeekFrom::Start(self.position)));
                let (path, offset) = (&self.path, self.position);
                let kept =
                    if offset > FILE_HEADER as u64 { "what was written before can be replayed" } else { "nothing was" };
                let failure =
                    Error::Recording { offset, message: format!("writing the recording {path}: {error}; {kept}") };
                self.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }
}
