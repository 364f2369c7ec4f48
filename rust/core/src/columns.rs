//! Columns of a batch, as arrays. In: a batch, which of its events, and a column. Out: the integers of that column, as they
//! lie in memory, and which of them could be read.

use crate::batch::Batch;
use crate::event::Column;
use crate::layout::FieldType;

/// An integer column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integers {
    /// Bytes of each: 1, 2, 4 or 8.
    pub size: u8,
    /// Two's complement.
    pub signed: bool,
    /// One behind the other, little-endian; what could not be read is 0.
    pub bytes: Vec<u8>,
    /// For each 1, or 0 where it could not be read; none where all could.
    pub valid: Option<Vec<u8>>,
}

impl Batch {
    /// The values of an integer column, of the events at these places, which are all of its kind; none for another column.
    pub fn integers(&self, places: &[u32], column: Column) -> Option<Integers> {
        let FieldType::Int { size, signed } = column.ty() else { return None };
        let records = places.iter().map(|&place| self.record(place as usize));
        let bytes = match size {
            1 => gather::<1>(records, column),
            2 => gather::<2>(records, column),
            4 => gather::<4>(records, column),
            _ => gather::<8>(records, column),
        };
        let mut integers = Integers { size, signed, bytes, valid: None };
        let valid: Vec<u8> =
            places.iter().map(|&place| u8::from(!column.is_null(self.record(place as usize)))).collect();
        if valid.contains(&0) {
            let values = integers.bytes.chunks_exact_mut(usize::from(size)).zip(&valid);
            values.filter(|(_, valid)| **valid == 0).for_each(|(value, _)| value.fill(0));
            integers.valid = Some(valid);
        }
        Some(integers)
    }
}

fn gather<'a, const N: usize>(records: impl ExactSizeIterator<Item = &'a [u8]>, column: Column) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(N * records.len());
    for record in records {
        bytes.extend_from_slice(&column.bytes_of::<N>(record));
    }
    bytes
}
