//! Columns as words. In: rows of words of 64 bits, and the types of columns. Out: where in a row a column is, and its value.
//!
//! An integer's word has its bits, widened with zeros; a name's the event's id, a stack's the content hash, 0 for none. A string
//! of fixed size has its bytes in the order of memory, and zeros behind its room. Only whoever asked for the columns knows
//! which they are.

use crate::event::Value;
use crate::layout::FieldType;

/// Some words of a row, and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// The type of the column that they come from.
    pub ty: FieldType,
    /// Where they begin.
    pub at: usize,
    /// How many they are.
    pub count: usize,
}

impl Words {
    /// Those of a column of this type; none for one that has no fixed size.
    pub fn new(ty: FieldType, at: usize) -> Option<Self> {
        Some(Self { ty, at, count: words(ty)? })
    }

    /// Where those behind them begin.
    pub fn end(self) -> usize {
        self.at + self.count
    }

    /// The words themselves.
    #[inline]
    pub fn of(self, row: &[u64]) -> &[u64] {
        row.get(self.at..self.end()).unwrap_or_default()
    }

    /// What is there.
    #[inline]
    pub fn value(self, row: &[u64]) -> Value<'_> {
        match (self.ty, self.of(row)) {
            (FieldType::FixedString { size }, words) => Value::String { bytes: text(words, size), cut: false },
            (ty, [word]) => ty.value(*word),
            _ => Value::Null,
        }
    }
}

/// A string of at most so many bytes, without its NUL.
pub(crate) fn text(words: &[u64], size: u8) -> &[u8] {
    let bytes = bytemuck::cast_slice(words);
    let bytes = bytes.get(..usize::from(size)).unwrap_or_default();
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The words that a column takes in a row; none for one that has no fixed size.
pub fn words(ty: FieldType) -> Option<usize> {
    match ty {
        FieldType::Int { .. } | FieldType::Name | FieldType::Stack { .. } => Some(1),
        FieldType::FixedString { size } => Some(usize::from(size).div_ceil(size_of::<u64>())),
        FieldType::String { .. } | FieldType::Bytes { .. } => None,
    }
}
