//! Rows of tables that a generated script keeps in the kernel. In: a table, a key and its count. Out: a record that stands
//! for so many hits, under the id that [`Layouts::tallies`] has for its table.
//!
//! The key's parts are packed as the columns of the event that the aggregate belongs to.

use super::Known;
use super::account::State as Heard;
use super::control::TableId;
use crate::error::Error;
use crate::event::Layouts;
use crate::layout::{Encoding, EventLayout, EventSchema, FieldSchema, FieldType, Role};
use crate::source::Run;
use crate::source::packed::{Decoded, Recent};

/// The layouts of a session's events and of its tables' rows.
pub fn layouts(schemas: &[EventSchema]) -> Result<Layouts, Error> {
    Layouts::with_tallies(lay_out(schemas, Encoding::Aligned)?, lay_out(&rows(schemas), Encoding::Aligned)?)
}

/// The packed layouts of events.
pub(super) fn packed(schemas: &[EventSchema]) -> Result<Layouts, Error> {
    Layouts::new(lay_out(schemas, Encoding::Packed)?)
}

/// The packed layouts of tables' rows: the aggregate's index stands for the event id, then come the key and the count.
pub(super) fn packed_rows(schemas: &[EventSchema]) -> Result<Vec<EventLayout>, Error> {
    lay_out(&rows(schemas), Encoding::Packed)
}

fn lay_out(schemas: &[EventSchema], encoding: Encoding) -> Result<Vec<EventLayout>, Error> {
    schemas.iter().map(|schema| EventLayout::compute(schema.clone(), encoding)).collect()
}

/// A schema for each table: the key's columns, then the count. Its target is the aggregate's index.
fn rows(events: &[EventSchema]) -> Vec<EventSchema> {
    let mut rows: Vec<EventSchema> = Vec::new();
    let first = events.iter().map(|event| event.id).max().unwrap_or_default() + 1;
    for event in events {
        for (aggregate, columns) in (0..).zip(&event.keys) {
            if rows.iter().any(|row| (row.probe, row.target) == (event.probe, aggregate)) {
                continue;
            }
            let keys = columns.iter().filter_map(|&column| event.fields.get(column as usize));
            let mut fields: Vec<_> = keys.map(|field| FieldSchema { role: Role::Key, ..field.clone() }).collect();
            let key = (0..fields.len() as u32).collect();
            let ty = FieldType::Int { size: 8, signed: false };
            fields.push(FieldSchema { name: "count".into(), ty, role: Role::Key, names: Default::default() });
            let id = first.saturating_add(rows.len() as u16);
            rows.push(EventSchema {
                id,
                probe: event.probe,
                target: aggregate,
                fields,
                keys: vec![key],
                values: Vec::new(),
            });
        }
    }
    rows
}

/// How each table's rows are read.
pub(super) struct Tallies {
    tables: Vec<(TableId, u8, Known)>,
}

/// Bytes in front of a row's aggregate: the id, the kind, the probe.
const PREFIX: usize = 3;

impl Tallies {
    pub(super) fn new(packed: &[EventLayout]) -> Result<Self, Error> {
        let table = |layout: &EventLayout| {
            let too_many = || Error::spec("probes", "a script has at most 255 probes and kinds of event");
            let small = |index: u32| u8::try_from(index).map_err(|_| too_many());
            let id = TableId { probe: small(layout.schema.probe)?, aggregate: small(layout.schema.target)? };
            Ok((id, small(layout.schema.id.into())?, Known::new(layout)?))
        };
        Ok(Self { tables: packed.iter().map(table).collect::<Result<_, _>>()? })
    }

    /// Bytes of the longest payload.
    pub(super) fn longest(&self) -> usize {
        self.tables.iter().map(|(_, _, known)| PREFIX + known.plan.longest).max().unwrap_or_default()
    }

    fn find(&self, [probe, aggregate]: [u8; 2]) -> Option<&(TableId, u8, Known)> {
        self.tables.iter().find(|(table, ..)| *table == TableId { probe, aggregate })
    }

    /// The sum of a row; `row` begins with the probe and has the check behind it.
    pub(super) fn sum(&self, row: &[u8]) -> Option<u32> {
        let (table, _, known) = self.find(*row.first_chunk()?)?;
        Some(u32::from(table.probe).wrapping_add(known.sum.of(&row[1..])?))
    }

    /// Takes a row in. False if it can't be.
    pub(super) fn take(&self, row: &[u8], run: &mut Run, recent: &mut Recent, heard: &mut Heard) -> bool {
        let Some((table, id, known)) = row.first_chunk().and_then(|table| self.find(*table)) else { return false };
        let record = run.room(known.plan.room);
        let row = &row[1..];
        match known.plan.transcode(row, record, recent) {
            Ok(Decoded { packed, aligned, cpu, .. }) if packed == row.len() => {
                run.commit(aligned, cpu, u16::from(*id));
                let count = row.last_chunk().map_or(0, |count| u64::from_le_bytes(*count));
                heard.add(*table, count);
                true
            }
            _ => false,
        }
    }
}
