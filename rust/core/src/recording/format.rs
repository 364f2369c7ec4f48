//! The form of a recording's file: a header, then blocks. In and out: numbers and bytes; nothing is read or written here.
//!
//! `docs/recording-format.md` describes it for those who write another reader.

use crate::error::Error;

/// What a recording begins with. The line's end shows a transfer that took it for text.
pub const MAGIC: [u8; 8] = *b"\x89SPILE\r\n";
/// Readers refuse a greater one, and read all others. 2 brought stretches of compact records.
pub const MAJOR: u16 = 2;
/// What was added since that readers of this major version pass over.
pub const MINOR: u16 = 0;
/// Bytes of the file's header: magic, `u16` major, `u16` minor, `u32` checksum of these.
pub const FILE_HEADER: usize = 16;
/// What a block begins with.
pub const BLOCK_MAGIC: [u8; 4] = *b"SPBK";
/// Bytes of a block's header.
pub const BLOCK_HEADER: usize = 32;
/// The most bytes that a block holds, compressed or not.
pub const MAX_BLOCK: usize = 64 << 20;

/// What a block is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// What was asked for, and of which machine; the first block.
    Head = 1,
    /// Records, as the kernel wrote them.
    Events = 2,
    /// Names of addresses.
    Symbols = 3,
    /// The ledger at a moment, and what the clocks said then.
    Losses = 4,
    /// It was closed in order; the last block.
    End = 5,
    /// The files that processes had mapped, with their build ids.
    Mappings = 6,
}

/// How a block's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// In LZ4's block format.
    Lz4 = 1,
}

/// A block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// A [`Kind`], or one that is not known here.
    pub kind: u16,
    /// A [`Codec`], or one that is not known here.
    pub codec: u8,
    /// Blocks are numbered from 0, so that a missing one shows.
    pub number: u32,
    /// Bytes in the file.
    pub stored: u32,
    /// Bytes once decompressed.
    pub length: u32,
    /// Events in it.
    pub events: u32,
    /// CRC-32 of the stored bytes.
    pub checksum: u32,
}

impl BlockHeader {
    /// As it is written: magic, kind, codec, a 0, number, stored, length, events, checksum, checksum of all that.
    pub fn encode(&self) -> [u8; BLOCK_HEADER] {
        let mut bytes = [0; BLOCK_HEADER];
        bytes[..4].copy_from_slice(&BLOCK_MAGIC);
        bytes[4..6].copy_from_slice(&self.kind.to_le_bytes());
        bytes[6] = self.codec;
        for (place, value) in [self.number, self.stored, self.length, self.events, self.checksum].iter().enumerate() {
            bytes[8 + 4 * place..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..BLOCK_HEADER - 4]);
        bytes[BLOCK_HEADER - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None for bytes that are no header.
    pub fn parse(bytes: &[u8; BLOCK_HEADER]) -> Option<Self> {
        let word = |place: usize| bytes[place..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        if bytes[..4] != BLOCK_MAGIC || word(BLOCK_HEADER - 4) != crc32fast::hash(&bytes[..BLOCK_HEADER - 4]) {
            return None;
        }
        let header = Self {
            kind: u16::from_le_bytes([bytes[4], bytes[5]]),
            codec: bytes[6],
            number: word(8),
            stored: word(12),
            length: word(16),
            events: word(20),
            checksum: word(24),
        };
        let is_sane = header.stored as usize <= MAX_BLOCK && header.length as usize <= MAX_BLOCK;
        is_sane.then_some(header)
    }
}

/// A file's header.
pub fn file_header() -> [u8; FILE_HEADER] {
    let mut bytes = [0; FILE_HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&MAJOR.to_le_bytes());
    bytes[10..12].copy_from_slice(&MINOR.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Refuses what is no recording, and one of a later major version.
pub fn check_file_header(bytes: &[u8]) -> Result<(), Error> {
    let wrong = |offset, message: String| Err(Error::Recording { offset, message });
    if !bytes.starts_with(&MAGIC) {
        return wrong(0, "this is no recording of spile's".into());
    }
    let Some(header) = bytes.first_chunk::<FILE_HEADER>() else {
        return wrong(bytes.len() as u64, "the recording ends in its header: nothing was recorded".into());
    };
    if header[12..] != crc32fast::hash(&header[..12]).to_le_bytes() {
        return wrong(8, "the recording's header is damaged: nothing can be read".into());
    }
    let major = u16::from_le_bytes([header[8], header[9]]);
    let minor = u16::from_le_bytes([header[10], header[11]]);
    if major > MAJOR {
        let message = format!(
            "the recording has version {major}.{minor}, and this release of spile reads up to {MAJOR}.{MINOR}: \
             replay it by the release that wrote it, or a later one"
        );
        return wrong(8, message);
    }
    Ok(())
}
