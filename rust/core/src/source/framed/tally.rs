//! Rows of tables that a generated script keeps in the kernel. In: a table, a key and what is kept under it. Out: a record
//! that stands for so many hits, under the id that [`Layouts::tallies`] has for its table.
//!
//! The key's parts are packed as the columns of the event that the aggregate belongs to; [`tallied`] says what comes behind
//! them.

use super::Known;
use super::account::State as Heard;
use super::control::TableId;
use crate::aggregate::row::Extra;
use crate::aggregate::tallied;
use crate::error::Error;
use crate::event::Layouts;
use crate::layout::{Encoding, EventLayout, EventSchema, FieldSchema, Role};
use crate::source::Run;
use crate::source::packed::{Decoded, Recent};
use crate::spec::{AggregateFunction, SessionSpec};

/// All that a session's frames hold: its events, and its tables' rows.
#[derive(Debug, Clone)]
pub struct Schemas {
    events: Vec<EventSchema>,
    rows: Vec<EventSchema>,
}

impl Schemas {
    /// Of events, and what the script keeps tables of, by probe and aggregate.
    pub fn new(events: Vec<EventSchema>, function: impl Fn(u32, u32) -> Option<AggregateFunction>) -> Self {
        let rows = rows(&events, function);
        Self { events, rows }
    }

    /// Of the events of a session: of those that it sends, the script keeps nothing.
    pub fn of(spec: &SessionSpec, events: Vec<EventSchema>) -> Self {
        Self::new(events, |probe, aggregate| {
            let probe = spec.probes.get(probe as usize).filter(|probe| !probe.deliver)?;
            Some(probe.aggregates.get(aggregate as usize)?.function)
        })
    }

    /// How records of them lie in memory.
    pub fn layouts(&self) -> Result<Layouts, Error> {
        let [events, rows] = [&self.events, &self.rows].map(|schemas| lay_out(schemas, Encoding::Aligned));
        Layouts::with_tallies(events?, rows?)
    }

    /// The packed layouts of events.
    pub(super) fn packed(&self) -> Result<Layouts, Error> {
        Layouts::new(lay_out(&self.events, Encoding::Packed)?)
    }

    /// The packed layouts of tables' rows: the aggregate's index stands for the event id, then come the columns.
    pub(super) fn packed_rows(&self) -> Result<Vec<EventLayout>, Error> {
        lay_out(&self.rows, Encoding::Packed)
    }
}

fn lay_out(schemas: &[EventSchema], encoding: Encoding) -> Result<Vec<EventLayout>, Error> {
    schemas.iter().map(|schema| EventLayout::compute(schema.clone(), encoding)).collect()
}

/// A schema for each table: the key's columns, then the numbers. Its target is the aggregate's index.
fn rows(events: &[EventSchema], function: impl Fn(u32, u32) -> Option<AggregateFunction>) -> Vec<EventSchema> {
    let mut rows: Vec<EventSchema> = Vec::new();
    let first = events.iter().map(|event| event.id).max().unwrap_or_default() + 1;
    for event in events {
        for (aggregate, columns) in (0..).zip(&event.keys) {
            let Some(function) = function(event.probe, aggregate) else { continue };
            if rows.iter().any(|row| (row.probe, row.target) == (event.probe, aggregate)) {
                continue;
            }
            let field = |column: u32| event.fields.get(column as usize);
            let keys = columns.iter().filter_map(|column| field(*column));
            let mut fields: Vec<_> = keys.map(|field| FieldSchema { role: Role::Key, ..field.clone() }).collect();
            let parts = fields.len() as u32;
            let value = event.values.get(aggregate as usize).copied().flatten().and_then(field);
            fields.extend(tallied::columns(function, value));
            let counts_values = matches!(function.extra(), Some(Extra::Item | Extra::Register)) && value.is_some();
            let id = first.saturating_add(rows.len() as u16);
            rows.push(EventSchema {
                id,
                probe: event.probe,
                target: aggregate,
                fields,
                keys: vec![(0..parts).collect()],
                values: vec![counts_values.then_some(parts)],
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
