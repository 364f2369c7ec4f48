//! A frame's check. In: a payload and its event's layout. Out: the sum that its writer printed behind it, and whether the
//! payload is exactly one record.
//!
//! The writer is a script that knows numbers and the lengths of strings, and can't look into memory: it adds up its
//! record's integers as printed, its strings' lengths, and its stacks' depths and frames, and prints the low 32 bits.

use crate::layout::{EventLayout, FieldType, PACKED_BYTES_PREFIX};

/// How an event's payload is added up.
pub(super) struct Sum {
    /// Integers at known places.
    head: Box<[Word]>,
    /// Bytes up to the first field whose place isn't known.
    size: usize,
    /// That field and those behind it.
    tail: Box<[FieldType]>,
}

/// Four bytes, of which an integer's are taken. What is above counts for nothing in the low 32 bits.
struct Word {
    at: usize,
    mask: u32,
}

impl Word {
    fn new(at: usize, size: u8) -> Self {
        Self { at, mask: if size >= 4 { u32::MAX } else { (1 << (8 * u32::from(size))) - 1 } }
    }

    #[inline]
    fn of(&self, record: &[u8]) -> u32 {
        let word = record.get(self.at..self.at + 4).and_then(|word| word.first_chunk());
        word.map_or(0, |word| u32::from_le_bytes(*word) & self.mask)
    }
}

/// Bytes that are no integer's of a known place.
fn width(ty: FieldType) -> Option<u8> {
    match ty {
        FieldType::Int { size, .. } => Some(size),
        FieldType::Name => Some(2),
        FieldType::FixedString { .. }
        | FieldType::String { .. }
        | FieldType::Bytes { .. }
        | FieldType::Stack { .. } => None,
    }
}

impl Sum {
    /// For payloads of a packed layout.
    pub(super) fn new(packed: &EventLayout) -> Self {
        let types = packed.schema.fields.iter().map(|field| field.ty);
        let mut head = vec![Word::new(0, 1)];
        let mut size = 1;
        for width in types.clone().map_while(width) {
            head.push(Word::new(size, width));
            size += usize::from(width);
        }
        let tail = types.skip(head.len() - 1).collect();
        Self { head: head.into(), size, tail }
    }

    /// The sum of a payload; none if it isn't one record. `record` is the payload and the check behind it.
    #[inline]
    pub(super) fn of(&self, record: &[u8]) -> Option<u32> {
        let end = record.len().checked_sub(super::CHECK).filter(|end| *end >= self.size)?;
        let sum = self.head.iter().map(|word| word.of(record)).fold(0, u32::wrapping_add);
        match *self.tail {
            [] => (end == self.size).then_some(sum),
            [FieldType::Stack { .. }] => {
                let (frames, length) = stack(record.get(self.size..end)?)?;
                (self.size + length == end).then_some(sum.wrapping_add(frames))
            }
            _ => self.rest(record.get(self.size..end)?, sum),
        }
    }

    #[inline(never)]
    fn rest(&self, mut rest: &[u8], mut sum: u32) -> Option<u32> {
        for &ty in &self.tail {
            let (value, length) = match ty {
                FieldType::Int { size, .. } => (integer(rest, size)?, usize::from(size)),
                FieldType::Name => (integer(rest, 2)?, 2),
                FieldType::FixedString { size } => string(rest, usize::from(size))?,
                FieldType::String { limit } => string(rest, limit as usize)?,
                FieldType::Bytes { limit } => {
                    let length = integer(rest, 2).filter(|length| *length <= limit)?;
                    (length, (PACKED_BYTES_PREFIX + length) as usize)
                }
                FieldType::Stack { .. } => stack(rest)?,
            };
            sum = sum.wrapping_add(value);
            rest = rest.get(length..)?;
        }
        rest.is_empty().then_some(sum)
    }
}

/// The low 32 bits.
fn integer(rest: &[u8], size: u8) -> Option<u32> {
    let bytes = rest.get(..usize::from(size))?;
    let mut word = [0; 4];
    let low = bytes.len().min(4);
    word[..low].copy_from_slice(&bytes[..low]);
    Some(u32::from_le_bytes(word))
}

/// Its length, and the bytes that it takes.
fn string(rest: &[u8], limit: usize) -> Option<(u32, usize)> {
    let length = rest.iter().take(limit + 1).position(|&byte| byte == 0)?;
    Some((length as u32, length + 1))
}

/// Its depth and frames added up, and the bytes that it takes.
#[inline]
fn stack(rest: &[u8]) -> Option<(u32, usize)> {
    let (&count, rest) = rest.split_first()?;
    let frames = rest.as_chunks::<8>().0.get(..usize::from(count))?;
    let low = |&[a, b, c, d, ..]: &[u8; 8]| u32::from_le_bytes([a, b, c, d]);
    let sum = frames.iter().map(low).fold(u32::from(count), u32::wrapping_add);
    Some((sum, 1 + 8 * frames.len()))
}
