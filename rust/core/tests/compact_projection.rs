//! Compact records that are only counted: the same tables come out whether their source gives rows of the columns that matter
//! or makes whole records, and counts are what the values alone say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aligned_support;
mod packed_support;

use std::collections::BTreeMap;
use std::sync::Arc;

use aligned_support::{compact, write};
use packed_support::{Datum, accumulating, data, layouts, schema};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::Index;
use spile_core::Error;
use spile_core::aggregate::{Accumulated, Part};
use spile_core::event::Layouts;
use spile_core::layout::{Encoding, EventSchema, FieldType, Role};
use spile_core::pump::{Outlets, Pump};
use spile_core::source::compact::Projection;
use spile_core::source::{Progress, Run, Source};
use spile_core::spec::{AggregateFunction, StackSpace};

/// A mapped ring's records of one event, so many at a time.
struct Ring {
    layouts: Arc<Layouts>,
    records: Vec<Vec<u8>>,
    at: usize,
    turn: usize,
    /// Whether it makes rows where it may.
    makes_rows: bool,
    projection: Option<Projection>,
}

impl Source for Ring {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        let layout = self.layouts.get(1).unwrap();
        let until = (self.at + self.turn).min(self.records.len());
        for record in &self.records[self.at..until] {
            if !self.projection.as_ref().is_some_and(|projection| run.push_row(projection, record)) {
                run.push_compact(0, layout, 1, record);
            }
        }
        self.at = until;
        Ok(Progress { drained: true, ended: until == self.records.len(), watermark: 0 })
    }

    fn project(&mut self, id: u16, columns: &[u32]) {
        let projection = self.layouts.get(id).and_then(|layout| Projection::new(layout, columns));
        assert!(projection.is_some(), "every record of fixed size has rows");
        self.projection = projection.filter(|_| self.makes_rows);
    }
}

/// A table, the events in it, and those that are not.
type Outcome = (BTreeMap<Vec<Part>, Accumulated>, u64, u64);

type Values = Vec<Option<Datum>>;

fn count(
    schema: &EventSchema,
    functions: &[AggregateFunction],
    records: &[Values],
    turn: usize,
    makes_rows: bool,
) -> Vec<Outcome> {
    let schemas = std::slice::from_ref(schema);
    let layouts = Arc::new(layouts(schemas, Encoding::Aligned));
    let layout = layouts.get(1).unwrap();
    let records = records.iter().map(|values| compact(layout, &write(layout, values))).collect();
    let spec = accumulating(schemas, functions);
    let ring = Ring { layouts: Arc::clone(&layouts), records, at: 0, turn, makes_rows, projection: None };
    let outlets = Arc::new(Outlets::new(&spec, layouts));
    let mut pump = Pump::new(&spec, vec![Box::new(ring)], Arc::clone(&outlets));
    while !pump.turn(false).unwrap().ended {}
    let outcome = |table: &Arc<spile_core::aggregate::Table>| {
        (table.snapshot().into_iter().collect(), table.total(), table.faulted())
    };
    outlets.tables[0].iter().map(outcome).collect()
}

/// A column's value as a part of a key; none for null.
fn part(ty: FieldType, datum: &Option<Datum>) -> Option<Part> {
    Some(match (ty, datum.as_ref()?) {
        (_, Datum::Unsigned(value)) => Part::Unsigned(*value),
        (_, Datum::Signed(value @ 0..)) => Part::Unsigned(*value as u64),
        (_, Datum::Signed(value)) => Part::Negative(*value),
        (_, Datum::Text(text)) => Part::Text(text.clone().into()),
        (_, Datum::Name(id)) => Part::Name(*id),
        // A stack's only frame stands for its hash.
        (_, Datum::Stack(frames)) if frames.first().is_none_or(|hash| *hash == 0) => return None,
        (FieldType::Stack { space: StackSpace::User }, Datum::Stack(frames)) => Part::UserStack(frames[0]),
        (_, Datum::Stack(frames)) => Part::KernelStack(frames[0]),
    })
}

/// A count, from the values alone.
fn expected(schema: &EventSchema, key: &[u32], records: &[Values]) -> Outcome {
    let mut counts = BTreeMap::new();
    for record in records {
        let part = |column: &u32| part(schema.fields[*column as usize].ty, &record[*column as usize]);
        if let Some(key) = key.iter().map(part).collect::<Option<Vec<_>>>() {
            *counts.entry(key).or_insert(0) += 1;
        }
    }
    let total = counts.values().sum();
    let counts = counts.into_iter().map(|(key, count)| (key, Accumulated::Count(count))).collect();
    (counts, total, records.len() as u64 - total)
}

/// Strings of as many words as one, two and more take, full ones among them.
fn types() -> impl Strategy<Value = FieldType> {
    let int = (prop::sample::select(vec![1_u8, 2, 4, 8]), any::<bool>());
    prop_oneof![
        3 => int.prop_map(|(size, signed)| FieldType::Int { size, signed }),
        3 => prop::sample::select(vec![1_u8, 7, 8, 9, 15, 16, 16, 17, 40]).prop_map(|size| FieldType::FixedString { size }),
        1 => Just(FieldType::Name),
        1 => Just(FieldType::Stack { space: StackSpace::Kernel }),
        1 => Just(FieldType::Stack { space: StackSpace::User }),
    ]
}

fn functions() -> impl Strategy<Value = AggregateFunction> {
    use AggregateFunction::*;
    prop::sample::select(vec![Count, Count, Count, Sum, Min, Stats, Hist, Top { size: 3 }, Distinct])
}

type Picks = (AggregateFunction, Vec<Index>, Index);

/// A schema with aggregates, and records of it: of a few values, some null, in runs of the same.
fn cases() -> impl Strategy<Value = (EventSchema, Vec<AggregateFunction>, Vec<Values>)> {
    let picks = vec((functions(), vec(any::<Index>(), 0..4), any::<Index>()), 1..4);
    (vec(types(), 0..7), picks).prop_flat_map(|(mut types, picks): (Vec<_>, Vec<Picks>)| {
        types.push(FieldType::Int { size: 8, signed: true });
        let columns: Vec<_> = types.iter().map(|ty| (*ty, Role::Capture)).collect();
        let integers: Vec<usize> =
            (0..types.len()).filter(|index| matches!(types[*index], FieldType::Int { .. })).collect();
        let value = |(function, _, value): &Picks| match function {
            function if !function.takes_value() => None,
            function if function.takes_anything() => Some(value.index(types.len()) as u32),
            _ => Some(*value.get(&integers) as u32),
        };
        let mut schema = schema(1, &columns);
        schema.values = picks.iter().map(value).collect();
        schema.keys =
            picks.iter().map(|(_, key, _)| key.iter().map(|it| it.index(types.len()) as u32).collect()).collect();
        let functions: Vec<_> = picks.iter().map(|(function, ..)| *function).collect();
        let few = types.iter().map(|ty| vec(weighted(0.95, data(*ty)), 1..4)).collect::<Vec<_>>();
        let runs = vec((vec(any::<Index>(), types.len()), 1..6_usize), 0..40);
        (Just(schema), Just(functions), few, runs).prop_map(|(schema, functions, few, runs)| {
            let record = |picks: &[Index]| few.iter().zip(picks).map(|(few, pick)| pick.get(few).clone()).collect();
            let records = runs.iter().flat_map(|(picks, count)| vec![record(picks); *count]).collect();
            (schema, functions, records)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn rows_count_what_whole_records_do((schema, functions, records) in cases(), turn in 1..100_usize) {
        let rows = count(&schema, &functions, &records, turn, true);
        prop_assert_eq!(&rows, &count(&schema, &functions, &records, turn, false));
        for ((function, key), found) in functions.iter().zip(&schema.keys).zip(rows) {
            if *function == AggregateFunction::Count {
                prop_assert_eq!(found, expected(&schema, key, &records));
            }
        }
    }
}
