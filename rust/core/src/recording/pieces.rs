//! What a block of events holds: pieces, each the records that one CPU's source gave in a row, and marks between turns.
//!
//! In: a [`Run`], or a [`Stretch`]. Out: bytes, and from bytes records again. The records are not looked at: they are as
//! their source had them, and in the order in which it gave them.
//!
//! * Records: `u8` 1, `u16` CPU, `u16` number of groups, `u32` bytes; for each group `u16` length and `u16` number of the
//!   records that have it in a row; the records, one behind the other.
//! * A mark: `u8` 2, `u64` time. Every event with an earlier time stands before it, but for late ones.
//! * Compact records: `u8` 3, `u16` CPU, `u64` last whole time before them, `u32` bytes; the records.

use crate::error::Error;
use crate::source::stretch::Stretch;
use crate::source::{Entry, Run};

const RECORDS: u8 = 1;
const MARK: u8 = 2;
const STRETCH: u8 = 3;
/// The most records in a piece, and about the most bytes.
const MOST_RECORDS: usize = 4096;
const MOST_BYTES: usize = 256 << 10;

/// Appends the next records of `entries`; gives how many there were.
pub(super) fn push_records(out: &mut Vec<u8>, run: &Run, entries: &[Entry]) -> Result<usize, Error> {
    let Some(first) = entries.first() else { return Ok(0) };
    let mut groups: Vec<(u16, u16)> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for entry in entries.iter().take(MOST_RECORDS) {
        if entry.cpu != first.cpu || bytes > MOST_BYTES {
            break;
        }
        let length = u16::try_from(entry.length)
            .map_err(|_| Error::engine("a record of more than 65,535 bytes; this is a bug of spile's"))?;
        match groups.last_mut() {
            Some((known, times)) if *known == length => *times += 1,
            _ => groups.push((length, 1)),
        }
        count += 1;
        bytes += usize::from(length);
    }
    out.push(RECORDS);
    out.extend(first.cpu.to_le_bytes());
    out.extend((groups.len() as u16).to_le_bytes());
    out.extend((bytes as u32).to_le_bytes());
    for (length, times) in groups {
        out.extend(length.to_le_bytes());
        out.extend(times.to_le_bytes());
    }
    match run.in_a_row(&entries[..count]) {
        Some(records) => out.extend(records),
        None => entries[..count].iter().for_each(|entry| out.extend(run.record(*entry))),
    }
    Ok(count)
}

/// Appends compact records as they are.
pub(super) fn push_stretch(out: &mut Vec<u8>, stretch: &Stretch<'_>) {
    out.push(STRETCH);
    out.extend(stretch.cpu.to_le_bytes());
    out.extend(stretch.near.to_le_bytes());
    out.extend((stretch.bytes.len() as u32).to_le_bytes());
    out.extend(stretch.bytes);
}

/// Appends a mark.
pub(super) fn push_mark(out: &mut Vec<u8>, time: u64) {
    out.push(MARK);
    out.extend(time.to_le_bytes());
}

/// A piece of a block.
pub(super) enum Piece<'a> {
    /// What a CPU's source gave.
    Records(Records<'a>),
    /// The end of a turn.
    Mark(u64),
    /// What a CPU's programs wrote.
    Compact {
        cpu: u16,
        /// The last whole time before it.
        near: u64,
        bytes: &'a [u8],
    },
}

/// Records of one CPU.
pub(super) struct Records<'a> {
    pub cpu: u16,
    groups: &'a [[u8; 4]],
    bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// The piece that `bytes` begin with, and its length; none where they hold none.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (&tag, rest) = bytes.split_first()?;
        match tag {
            MARK => Some((Self::Mark(u64::from_le_bytes(*rest.first_chunk()?)), 9)),
            RECORDS => {
                let (head, rest) = rest.split_first_chunk::<8>()?;
                let cpu = u16::from_le_bytes([head[0], head[1]]);
                let groups = usize::from(u16::from_le_bytes([head[2], head[3]]));
                let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
                let records = rest.get(4 * groups..4 * groups + length)?;
                let groups = rest[..4 * groups].as_chunks::<4>().0;
                let sum: usize = groups.iter().map(|group| usize::from(length_of(*group)) * times(*group)).sum();
                let piece = Self::Records(Records { cpu, groups, bytes: records });
                (sum == length).then_some((piece, 9 + size_of_val(groups) + length))
            }
            STRETCH => {
                let (head, rest) = rest.split_first_chunk::<14>()?;
                let (cpu, head) = head.split_first_chunk()?;
                let (near, head) = head.split_first_chunk()?;
                let length = u32::from_le_bytes(*head.first_chunk()?) as usize;
                let bytes = rest.get(..length)?;
                let piece = Self::Compact { cpu: u16::from_le_bytes(*cpu), near: u64::from_le_bytes(*near), bytes };
                Some((piece, 15 + length))
            }
            _ => None,
        }
    }
}

impl<'a> Records<'a> {
    /// One by one.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.bytes;
        let lengths = self.groups.iter().flat_map(|group| std::iter::repeat_n(length_of(*group), times(*group)));
        lengths.map_while(move |length| {
            let (record, behind) = rest.split_at_checked(usize::from(length))?;
            rest = behind;
            Some(record)
        })
    }
}

fn length_of([low, high, ..]: [u8; 4]) -> u16 {
    u16::from_le_bytes([low, high])
}

fn times([.., low, high]: [u8; 4]) -> usize {
    usize::from(u16::from_le_bytes([low, high]))
}
