//! Events that are only counted: of a packed stream the same tables come out whether their source reads only the
//! columns that the keys need or makes whole records, and they hold what went into the stream.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod packed_support;

use std::collections::BTreeMap;
use std::sync::Arc;

use packed_support::{Datum, PROCESS, Pieces, counting, data, encode, layouts, schema, streams};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use spile_core::Error;
use spile_core::aggregate::{Accumulated, Part};
use spile_core::layout::{Encoding, EventSchema, FieldType, Role};
use spile_core::pump::{Outlets, Pump};
use spile_core::source::packed::PackedSource;
use spile_core::source::{Progress, Run, Source};
use spile_core::spec::StackSpace;
use spile_core::stack::hash_frames;

/// A source that is never told what is wanted, and makes whole records.
struct Whole<S>(S);

impl<S: Source> Source for Whole<S> {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        self.0.read(run)
    }
}

/// A table, the events that it counted, and those that it didn't.
type Outcome = (BTreeMap<Vec<Part>, Accumulated>, u64, u64);

/// Each schema's tables, and the error that ended the stream.
fn count(schemas: &[EventSchema], source: impl Fn(&Outlets) -> Box<dyn Source>) -> (Vec<Vec<Outcome>>, Option<Error>) {
    let spec = counting(schemas);
    let outlets = Arc::new(Outlets::new(&spec, Arc::new(layouts(schemas, Encoding::Aligned))));
    let mut pump = Pump::new(&spec, vec![source(&outlets)], Arc::clone(&outlets));
    let error = loop {
        match pump.turn(false) {
            Ok(turn) if turn.ended => break None,
            Ok(_) => {}
            Err(error) => break Some(error),
        }
    };
    let mut tables = Vec::new();
    for of_probe in &outlets.tables {
        let outcome = |table: &Arc<spile_core::aggregate::Table>| {
            for (key, _) in table.snapshot() {
                for part in key {
                    if let Part::KernelStack(hash) | Part::UserStack(hash) = part {
                        assert!(outlets.stacks.get(hash).is_some(), "a stack that nobody knows");
                    }
                }
            }
            (table.snapshot().into_iter().collect(), table.total(), table.faulted())
        };
        tables.push(of_probe.iter().map(outcome).collect());
    }
    (tables, error)
}

fn projected(schemas: &[EventSchema], bytes: &[u8], sizes: &[usize]) -> (Vec<Vec<Outcome>>, Option<Error>) {
    let packed = || layouts(schemas, Encoding::Packed);
    let recorded = count(schemas, |outlets| {
        Box::new(PackedSource::recorded(bytes.to_vec(), packed(), Arc::clone(&outlets.stacks)).unwrap())
    });
    let pieces = count(schemas, |outlets| {
        let reader = Pieces { data: bytes.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0 };
        Box::new(PackedSource::new(reader, packed(), Arc::clone(&outlets.stacks)).unwrap())
    });
    assert_eq!(recorded, pieces, "in memory, and in pieces");
    recorded
}

fn whole(schemas: &[EventSchema], bytes: &[u8]) -> (Vec<Vec<Outcome>>, Option<Error>) {
    count(schemas, |outlets| {
        let packed = layouts(schemas, Encoding::Packed);
        Box::new(Whole(PackedSource::recorded(bytes.to_vec(), packed, Arc::clone(&outlets.stacks)).unwrap()))
    })
}

/// What the tables must hold, from the values alone.
fn expected(schemas: &[EventSchema], records: &[(usize, Vec<Datum>)]) -> Vec<Vec<Outcome>> {
    let part = |ty: FieldType, value: &Datum| match (ty, value) {
        (_, Datum::Unsigned(value)) => Some(Part::Unsigned(*value)),
        (_, Datum::Signed(value @ 0..)) => Some(Part::Unsigned(*value as u64)),
        (_, Datum::Signed(value)) => Some(Part::Negative(*value)),
        (_, Datum::Text(text)) => Some(Part::Text(text.clone().into())),
        (_, Datum::Name(id)) => Some(Part::Name(*id)),
        (_, Datum::Stack(frames)) if frames.is_empty() => None,
        (FieldType::Stack { space: StackSpace::User }, Datum::Stack(frames)) => {
            Some(Part::UserStack(hash_frames(PROCESS, frames.iter().copied())))
        }
        (_, Datum::Stack(frames)) => Some(Part::KernelStack(hash_frames(0, frames.iter().copied()))),
    };
    let table = |index: usize, key: &Vec<u32>| {
        let (mut counts, mut total, mut faulted) = (BTreeMap::new(), 0, 0);
        for (_, values) in records.iter().filter(|(of, _)| *of == index) {
            let field = |column: &u32| part(schemas[index].fields[*column as usize].ty, &values[*column as usize]);
            match key.iter().map(field).collect::<Option<Vec<_>>>() {
                Some(key) => {
                    *counts.entry(key).or_insert(0) += 1;
                    total += 1;
                }
                None => faulted += 1,
            }
        }
        let counts = counts.into_iter().map(|(key, count)| (key, Accumulated::Count(count))).collect();
        (counts, total, faulted)
    };
    schemas
        .iter()
        .enumerate()
        .map(|(index, schema)| schema.keys.iter().map(|key| table(index, key)).collect())
        .collect()
}

/// Records as the short ways like them: integers, perhaps a time and a CPU, perhaps a stack; each of a few values, so that
/// keys come again. A CPU's integer of more than two bytes may hold what is no CPU.
fn usual(widest_cpu: u8) -> impl Strategy<Value = (Vec<EventSchema>, Vec<(usize, Vec<Datum>)>)> {
    let int = (prop::sample::select(vec![1u8, 2, 2, 4, 8]), any::<bool>());
    let int = int.prop_map(|(size, signed)| FieldType::Int { size, signed });
    let columns = (vec(prop_oneof![9 => int, 1 => Just(FieldType::Name)], 0..7), 0..9usize, 0..9usize, 0..4u8);
    let one = columns.prop_map(move |(types, time, cpu, stack)| {
        let role = |(index, ty): (usize, FieldType)| match ty {
            FieldType::Int { .. } if index == time => (ty, Role::Time),
            FieldType::Int { size, .. } if index == cpu && size <= widest_cpu => (ty, Role::Cpu),
            _ => (ty, Role::Capture),
        };
        let mut columns: Vec<_> = types.into_iter().enumerate().map(role).collect();
        let stack = [StackSpace::Kernel, StackSpace::Kernel, StackSpace::User].get(usize::from(stack));
        columns.extend(stack.map(|&space| (FieldType::Stack { space }, Role::Key)));
        columns
    });
    vec(one, 1..4).prop_flat_map(|events| {
        let schemas: Vec<_> = (1..).zip(&events).map(|(id, columns)| schema(id, columns)).collect();
        let values = |schema: &EventSchema| {
            let fields = schema.fields.iter().map(|field| vec(data(field.ty), 1..4)).collect::<Vec<_>>();
            let index = schema.id as usize - 1;
            (Just(index), fields, vec(vec(any::<Index>(), schema.fields.len()), 0..60)).prop_map(
                |(index, few, picks)| {
                    let record =
                        |picks: Vec<Index>| few.iter().zip(picks).map(|(few, pick)| pick.get(few).clone()).collect();
                    picks.into_iter().map(|picks| (index, record(picks))).collect::<Vec<_>>()
                },
            )
        };
        let records = schemas.iter().map(values).collect::<Vec<_>>();
        let records = records.prop_map(|records| records.concat());
        (Just(schemas), records.prop_flat_map(|records| (Just(records.clone()), 0..2u8, Just(records).prop_shuffle())))
            .prop_map(|(schemas, (inrow, which, mixed))| (schemas, if which == 0 { inrow } else { mixed }))
    })
}

/// Keys of any columns, none among them; for each schema as many.
fn with_keys(mut schemas: Vec<EventSchema>, keys: &[Vec<Index>]) -> Vec<EventSchema> {
    for (probe, schema) in (0..).zip(&mut schemas) {
        schema.probe = probe;
        let count = schema.fields.len();
        let column = |index: &Index| index.index(count) as u32;
        let key = |key: &Vec<Index>| if count == 0 { vec![] } else { key.iter().map(column).collect() };
        schema.keys = keys.iter().map(key).collect();
    }
    schemas
}

fn packed(schemas: &[EventSchema], records: &[(usize, Vec<Datum>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, values) in records {
        encode(schemas[*index].id as u8, &schemas[*index], values, &mut bytes);
    }
    bytes
}

fn keys() -> impl Strategy<Value = Vec<Vec<Index>>> {
    vec(vec(any::<Index>(), 0..4), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn tables_hold_what_went_into_the_stream(
        (schemas, records) in prop_oneof![3 => usual(2).boxed(), 1 => streams().boxed()],
        keys in keys(), sizes in vec(1..2000usize, 1..6),
    ) {
        let schemas = with_keys(schemas, &keys);
        let (tables, error) = projected(&schemas, &packed(&schemas, &records), &sizes);
        prop_assert_eq!(error, None);
        prop_assert_eq!(tables, expected(&schemas, &records));
    }

    #[test]
    fn whatever_the_bytes_tables_and_errors_are_those_of_whole_records(
        (schemas, records) in usual(8), keys in keys(), sizes in vec(1..2000usize, 1..6),
        noise in vec((any::<Index>(), any::<u8>()), 0..4), tail in vec(any::<u8>(), 0..80),
    ) {
        let schemas = with_keys(schemas, &keys);
        let mut bytes = packed(&schemas, &records);
        bytes.extend(tail);
        for (place, byte) in noise {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        prop_assert_eq!(projected(&schemas, &bytes, &sizes), whole(&schemas, &bytes));
    }
}
