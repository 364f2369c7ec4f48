//! Rows of a generated script's tables: records that stand for many hits. In: an aggregate, and such records. Out: what it
//! keeps of their values, as [`RowLayout`] has it.
//!
//! A record has the key's columns; then what the value adds to the key, a bin or the value itself; then what is kept of the
//! values, each number as it is; the hits last. A script can't hash and needn't order, so of different values it sends those
//! themselves, and of the least one no complement.

use super::row::{Extra, Kept, RowLayout, ordered};
use crate::event::{Column, Event, Value};
use crate::layout::{EventLayout, FieldSchema, FieldType, Role};
use crate::names::ValueNames;
use crate::spec::AggregateFunction;

/// A bin's number: a linear histogram has more than two bytes could tell.
const BIN: FieldType = FieldType::Int { size: 4, signed: true };
const HITS: FieldType = FieldType::Int { size: 8, signed: false };
/// Words of a row at most: a number of hits, and three of values.
const MOST: usize = 4;

/// The columns behind the key's, for a value in this column.
pub fn columns(function: AggregateFunction, value: Option<&FieldSchema>) -> Vec<FieldSchema> {
    let field = |name: &str, ty| FieldSchema { name: name.into(), ty, role: Role::Key, names: ValueNames::default() };
    let signed = matches!(value, Some(FieldSchema { ty: FieldType::Int { signed: true, .. }, .. }));
    let number = |name| field(name, FieldType::Int { size: 8, signed });
    let mut columns = Vec::new();
    match function.extra() {
        Some(Extra::Bin(_)) => columns.push(field("bin", BIN)),
        Some(Extra::Item | Extra::Register) => {
            columns.extend(value.map(|value| FieldSchema { role: Role::Key, ..value.clone() }));
        }
        None => {}
    }
    for kept in function.kept() {
        match kept {
            Kept::Sum => columns.push(number("sum")),
            Kept::Least => columns.push(number("least")),
            Kept::Greatest => columns.push(number("greatest")),
            // The hits come last, and registers are made of values here.
            Kept::Hits | Kept::Rank => {}
        }
    }
    columns.push(field("hits", HITS));
    columns
}

/// Where a record has what is kept of its values.
#[derive(Debug, Clone)]
pub struct Tallied {
    layout: RowLayout,
    /// For each word of the layout.
    columns: Box<[(Option<Kept>, Column)]>,
    signed: bool,
}

impl Tallied {
    /// Of records that are laid out so, with a key of so many columns. None where what a value adds is the value itself, or
    /// nothing: such rows are as good as events.
    pub fn new(function: AggregateFunction, layout: &EventLayout, parts: usize) -> Option<Self> {
        let has_bin = match function.extra() {
            Some(Extra::Bin(_)) => true,
            None if function != AggregateFunction::Count => false,
            Some(Extra::Item | Extra::Register) | None => return None,
        };
        let last = layout.schema.fields.len().saturating_sub(1);
        let first = parts + usize::from(has_bin);
        let mut others = first..last;
        let mut columns = Vec::new();
        if has_bin {
            columns.push((None, parts));
        }
        for &kept in function.kept() {
            let index = if kept == Kept::Hits { Some(last) } else { others.next() };
            columns.extend(index.map(|index| (Some(kept), index)));
        }
        let value = (first < last).then(|| layout.schema.fields[first].ty);
        let signed = matches!(value, Some(FieldType::Int { signed: true, .. }));
        let columns = columns.into_iter().filter_map(|(kept, index)| Some((kept, Column::new(layout, index)?)));
        let layout = RowLayout::new(function, value, &[], "row").ok()?;
        Some(Self { layout, columns: columns.collect(), signed })
    }

    /// The layout without a key of what [`Self::words`] gives.
    pub fn layout(&self) -> &RowLayout {
        &self.layout
    }

    /// The words of a record, behind its key.
    pub fn words(&self, record: &Event<'_>) -> [u64; MOST] {
        let mut words = [0; MOST];
        for (word, (kept, column)) in words.iter_mut().zip(&self.columns) {
            let bits = match record.at(*column) {
                Value::Unsigned(bits) => bits,
                Value::Signed(value) => value.cast_unsigned(),
                _ => 0,
            };
            *word = match kept {
                Some(Kept::Least) => !ordered(bits, self.signed),
                Some(Kept::Greatest) => ordered(bits, self.signed),
                _ => bits,
            };
        }
        words
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::aggregate::{Accumulated, Part, Table};
    use crate::layout::{Encoding, EventSchema};

    const CPU: FieldType = FieldType::Int { size: 4, signed: false };

    fn field(ty: FieldType) -> FieldSchema {
        FieldSchema { name: "x".into(), ty, role: Role::Key, names: ValueNames::default() }
    }

    /// The record's numbers, in the order of its columns.
    fn added(function: AggregateFunction, value: FieldType, numbers: &[&[u64]]) -> Option<Accumulated> {
        let mut fields = vec![field(CPU)];
        fields.extend(columns(function, Some(&field(value))));
        let schema = EventSchema { id: 1, probe: 0, target: 0, fields, keys: vec![vec![0]], values: Vec::new() };
        let layout = EventLayout::compute(schema, Encoding::Aligned).unwrap();
        let tallied = Tallied::new(function, &layout, 1).unwrap();
        let table = Table::new(function, 1);
        for numbers in numbers {
            let mut bytes = vec![0; layout.fixed_size as usize];
            for (slot, number) in layout.slots.iter().zip(*numbers) {
                let at = slot.offset.unwrap() as usize;
                let size = slot.size as usize;
                bytes[at..at + size].copy_from_slice(&number.to_le_bytes()[..size]);
            }
            let event = Event { layout: &layout, cpu: 0, bytes: &bytes };
            table.lock().add_tallied(&event, &[Column::new(&layout, 0)], &tallied);
        }
        table.get(&[Part::Unsigned(7)])
    }

    #[test]
    fn numbers_are_read_by_their_sign() {
        let minus = |value: i64| value.cast_unsigned();
        let rows: [&[u64]; 2] = [&[7, minus(-9), minus(-6), 4, 3], &[7, 5, minus(-1), 6, 2]];
        let stats = |value| added(AggregateFunction::Stats, value, &rows).unwrap();
        let signed = Accumulated::Stats { hits: 5, sum: -4, least: -6, greatest: 6 };
        assert_eq!(stats(FieldType::Int { size: 4, signed: true }), signed);
        let unsigned = Accumulated::Stats { hits: 5, sum: (1 << 64) - 4, least: (1 << 64) - 6, greatest: 6 };
        assert_eq!(stats(FieldType::Int { size: 8, signed: false }), unsigned);
    }

    #[test]
    fn bins_are_signed_and_rows_without_hits_are_none() {
        let rows: [&[u64]; 3] = [&[7, (-3_i64).cast_unsigned(), 5], &[7, 64, 1], &[7, 2, 0]];
        let bins = added(AggregateFunction::Hist, FieldType::Int { size: 8, signed: true }, &rows);
        assert_eq!(bins, Some(Accumulated::Bins(vec![(-3, 5), (64, 1)])));
    }
}
