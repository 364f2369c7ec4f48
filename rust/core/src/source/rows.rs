//! What is left of events that are only counted: of each a row of words, for the columns that their keys need.
//!
//! A word has an integer's bits without its sign's extension, or a stack's content hash, 0 for none. Only whoever asked
//! for the columns knows which they are.

use crate::event::Value;
use crate::layout::FieldType;

/// Rows of one kind of event.
#[derive(Debug, Default)]
pub struct Rows {
    words: Vec<u64>,
    count: usize,
}

/// A column of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowColumn {
    /// Its type in the event: an integer, a name or a stack.
    pub ty: FieldType,
    /// Its place in a row.
    pub index: usize,
}

impl Rows {
    /// Appends a word of the next row. Each row has as many.
    #[inline]
    pub(crate) fn word(&mut self, word: u64) {
        self.words.push(word);
    }

    /// Ends so many rows.
    #[inline]
    pub(crate) fn end(&mut self, count: usize) {
        self.count += count;
    }

    /// All rows that have words, in the order read.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &[u64]> {
        self.words.chunks_exact(self.words.len().checked_div(self.count).unwrap_or_default().max(1))
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes, at least one for each row.
    pub(crate) fn nbytes(&self) -> u64 {
        size_of_val(self.words.as_slice()).max(self.count) as u64
    }

    /// Forgets the rows and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.count = 0;
    }
}

impl RowColumn {
    /// A row's value in this column.
    #[inline]
    pub fn value(self, row: &[u64]) -> Value<'static> {
        self.ty.value(row.get(self.index).copied().unwrap_or_default())
    }
}
