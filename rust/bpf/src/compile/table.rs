//! Tables that aggregates are kept in. In: an aggregate's columns. Out: a [`TableLayout`], or why it can't be kept here.
//!
//! A program has tables of its own, so that the kernel's guard against recursion makes every access to one exact without
//! atomics (`docs/adr/0019`). A table is two for each CPU, of which programs write to one while the other is emptied:
//!
//! ```text
//! part: header (used slots, faulted hits, …), slots: 2^n, and as many more as one key is looked for in
//! slot: a word that is 0 if it is empty, else odd; then the words of a row
//! ```
//!
//! A key is looked for from the slot that the first bits of its hash tell, in [`PROBES`] slots. The words of its row that
//! are not the key's begin as 0.

use spile_core::aggregate::row::RowLayout;
use spile_core::error::Error;
use spile_core::event::Spill;
use spile_core::layout::{Encoding, EventLayout, EventSchema, FieldSchema, FieldType};
use spile_core::spec::{Expr, ProbeSpec};

/// Bytes before the first slot.
pub const HEADER: u32 = 64;
/// Offset, in a part, of how many slots are used.
pub const USED: u32 = 0;
/// Offset, in a part, of how many hits had an unreadable key or value.
pub const FAULTED: u32 = 8;
/// Slots that one key may be in.
pub const PROBES: u32 = 8;
/// What a hash of words is mixed by: 2^64 divided by the golden ratio, made odd (Knuth's multiplicative hashing).
pub const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Words of a key: they are put together on the program's stack.
const MOST_WORDS: usize = 16;
/// Bytes of a string within a key.
const MOST_STRING: u8 = 32;

/// A table, but for its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLayout {
    /// Which aggregate of the probe's it keeps.
    pub aggregate: usize,
    /// What is in a row.
    pub row: RowLayout,
    /// What is sent of a hit that finds no room.
    pub spill: EventLayout,
    /// The expressions of the spill's columns: the key's parts, then the value.
    pub columns: Vec<Expr>,
}

impl TableLayout {
    /// Bytes of a slot.
    pub fn slot_size(&self) -> u32 {
        8 * (1 + self.row.width as u32)
    }

    /// Whether there is one row and no key.
    pub fn is_cell(&self) -> bool {
        self.row.kept_at == 0
    }

    /// Bytes of a part of 2^`bits` slots. A multiple of 64, so that no two CPUs share a cache line.
    pub fn part_size(&self, bits: u32) -> u64 {
        let slots = if self.is_cell() { 1 } else { (1_u64 << bits) + u64::from(PROBES) - 1 };
        (u64::from(HEADER) + slots * u64::from(self.slot_size())).next_multiple_of(64)
    }

    /// The key's columns, as the spill has them.
    pub(super) fn key(&self) -> impl Iterator<Item = (usize, &Expr)> {
        self.columns.iter().take(self.row.key.len()).enumerate()
    }

    /// The value.
    pub(super) fn value(&self) -> Option<&Expr> {
        self.row.value.and(self.columns.last())
    }

    /// As readers of the event with this id know it.
    pub fn spill_of(&self, event: u16) -> Spill {
        Spill { event, aggregate: self.aggregate, layout: self.spill.clone() }
    }
}

/// For each aggregate of a probe, its table, or why it is counted over the event stream. `columns` are [`super::schema`]'s
/// expressions; `id` gives each spill its own.
pub fn tables(
    probe: &ProbeSpec,
    schema: &EventSchema,
    columns: &[Expr],
    mut id: impl FnMut() -> Result<u16, Error>,
) -> Result<Vec<Result<TableLayout, String>>, Error> {
    let mut tables = Vec::with_capacity(probe.aggregates.len());
    for (aggregate, spec) in probe.aggregates.iter().enumerate() {
        let (key, value) = (&schema.keys[aggregate], schema.values.get(aggregate).copied().flatten());
        let ty = |column: &u32| schema.fields[*column as usize].ty;
        let key_types: Vec<FieldType> = key.iter().map(ty).collect();
        let place = format!("probes[{}].aggregates[{aggregate}]", schema.probe);
        let row = RowLayout::new(spec.function, value.as_ref().map(ty), &key_types, &place);
        let row = row.map_err(|error| error.to_string()).and_then(fits);
        tables.push(match row {
            Err(reason) => Err(reason),
            Ok(row) => {
                let wanted: Vec<u32> = key.iter().copied().chain(value).collect();
                let spill = spill(schema, &wanted, value.is_some(), id()?)?;
                let columns = wanted.iter().map(|column| columns[*column as usize].clone()).collect();
                Ok(TableLayout { aggregate, row, spill, columns })
            }
        });
    }
    Ok(tables)
}

/// Refuses keys that are too long to be put together on a program's stack.
fn fits(row: RowLayout) -> Result<RowLayout, String> {
    let is_long = |ty: FieldType| matches!(ty, FieldType::FixedString { size } if size > MOST_STRING);
    if row.key.iter().map(|words| words.ty).chain(row.value).any(is_long) {
        return Err(format!("a string of more than {MOST_STRING} bytes"));
    }
    if row.kept_at > MOST_WORDS {
        return Err(format!("a key of {} words, more than {MOST_WORDS}", row.kept_at));
    }
    Ok(row)
}

fn spill(schema: &EventSchema, wanted: &[u32], has_value: bool, id: u16) -> Result<EventLayout, Error> {
    let field = |(column, index): (usize, &u32)| FieldSchema {
        name: format!("column[{column}]"),
        ..schema.fields[*index as usize].clone()
    };
    let columns: Vec<u32> = (0..wanted.len() as u32).collect();
    let (key, value) = match (has_value, columns.split_last()) {
        (true, Some((value, key))) => (key.to_vec(), Some(*value)),
        _ => (columns, None),
    };
    let schema = EventSchema {
        id,
        probe: schema.probe,
        target: schema.target,
        fields: wanted.iter().enumerate().map(field).collect(),
        keys: vec![key],
        values: vec![value],
    };
    EventLayout::compute(schema, Encoding::Aligned)
}
