//! Tables of every aggregate: the same come out of whole events, of rows of only the columns that matter, and of what
//! tables of limited size kept on several CPUs in several generations; and they hold what the values alone say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod packed_support;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use packed_support::{Datum, PROCESS, accumulating, data, encode, layouts, schema};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use spile_core::Error;
use spile_core::aggregate::bin::{hash, register};
use spile_core::aggregate::row::{Extra, Kept, RowLayout, ordered};
use spile_core::aggregate::{Accumulated, Heavy, Part, Table};
use spile_core::layout::{Encoding, EventSchema, FieldType, Role};
use spile_core::pump::{Outlets, Pump};
use spile_core::source::packed::PackedSource;
use spile_core::source::{Progress, Run, Source};
use spile_core::spec::{AggregateFunction, StackSpace};
use spile_core::stack::hash_frames;
use spile_core::words::words;

/// A source that is never told what is wanted, and makes whole records.
struct Whole<S>(S);

impl<S: Source> Source for Whole<S> {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        self.0.read(run)
    }
}

/// A table, the events in it, and those that are not.
type Outcome = (BTreeMap<Vec<Part>, Accumulated>, u64, u64);

/// What an aggregate is of: a function, a key's columns and a value's.
#[derive(Debug, Clone)]
struct Aggregate {
    function: AggregateFunction,
    key: Vec<u32>,
    value: u32,
}

impl Aggregate {
    fn value(&self) -> Option<u32> {
        self.function.takes_value().then_some(self.value)
    }
}

fn outcome(table: &Table) -> Outcome {
    (table.snapshot().into_iter().collect(), table.total(), table.faulted())
}

/// Through the pump, by a source that is told what matters or one that is not.
fn pumped(schema: &EventSchema, functions: &[AggregateFunction], bytes: &[u8], whole: bool) -> Vec<Outcome> {
    let schemas = std::slice::from_ref(schema);
    let spec = accumulating(schemas, functions);
    let outlets = Arc::new(Outlets::new(&spec, Arc::new(layouts(schemas, Encoding::Aligned))));
    let packed = layouts(schemas, Encoding::Packed);
    let source = PackedSource::recorded(bytes.to_vec(), packed, Arc::clone(&outlets.stacks)).unwrap();
    let source: Box<dyn Source> = if whole { Box::new(Whole(source)) } else { Box::new(source) };
    let mut pump = Pump::new(&spec, vec![source], Arc::clone(&outlets));
    while !pump.turn(false).unwrap().ended {}
    outlets.tables[0].iter().map(|table| outcome(table)).collect()
}

/// A column's value as a part of a key; none for a stack without frames.
fn part(ty: FieldType, datum: &Datum) -> Option<Part> {
    Some(match (ty, datum) {
        (_, Datum::Unsigned(value)) => Part::Unsigned(*value),
        (_, Datum::Signed(value @ 0..)) => Part::Unsigned(*value as u64),
        (_, Datum::Signed(value)) => Part::Negative(*value),
        (_, Datum::Text(text)) => Part::Text(text.clone().into()),
        (_, Datum::Name(id)) => Part::Name(*id),
        (_, Datum::Stack(frames)) if frames.is_empty() => return None,
        (FieldType::Stack { space: StackSpace::User }, Datum::Stack(frames)) => {
            Part::UserStack(hash_frames(PROCESS, frames.iter().copied()))
        }
        (_, Datum::Stack(frames)) => Part::KernelStack(hash_frames(0, frames.iter().copied())),
    })
}

/// As the words of a row.
fn words_of(ty: FieldType, datum: &Datum) -> Vec<u64> {
    let size = if let FieldType::Int { size, .. } = ty { u32::from(size) } else { 8 };
    vec![match datum {
        Datum::Unsigned(value) => *value,
        Datum::Signed(value) => *value as u64 & (u64::MAX >> (64 - 8 * size)),
        Datum::Name(id) => u64::from(*id),
        Datum::Stack(frames) if ty == FieldType::Stack { space: StackSpace::User } => {
            hash_frames(PROCESS, frames.iter().copied())
        }
        Datum::Stack(frames) => hash_frames(0, frames.iter().copied()),
        Datum::Text(text) => {
            let mut text = text.clone();
            text.resize(words(ty).unwrap() * 8, 0);
            return text.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        }
    }]
}

fn number(datum: &Datum) -> i128 {
    match datum {
        Datum::Unsigned(value) => i128::from(*value),
        Datum::Signed(value) => i128::from(*value),
        other => panic!("{other:?} is no integer"),
    }
}

/// Of the values under one key.
fn accumulated(function: AggregateFunction, ty: FieldType, values: &[&Datum]) -> Accumulated {
    let hits = values.len() as u64;
    let numbers = || values.iter().map(|value| number(value));
    let (sum, least, greatest) = match ty {
        FieldType::Int { .. } => (numbers().sum(), numbers().min().unwrap(), numbers().max().unwrap()),
        _ => (0, 0, 0),
    };
    match function {
        AggregateFunction::Count => Accumulated::Count(hits),
        AggregateFunction::Sum => Accumulated::Sum(sum),
        AggregateFunction::Min => Accumulated::Least(least),
        AggregateFunction::Max => Accumulated::Greatest(greatest),
        AggregateFunction::Avg => Accumulated::Mean { hits, sum },
        AggregateFunction::Stats => Accumulated::Stats { hits, sum, least, greatest },
        AggregateFunction::Hist | AggregateFunction::Lhist { .. } | AggregateFunction::Quantiles => {
            let Some(Extra::Bin(bin)) = function.extra() else { panic!("no bins") };
            let mut bins = BTreeMap::new();
            numbers().for_each(|value| *bins.entry(bin.of(value)).or_insert(0) += 1);
            Accumulated::Bins(bins.into_iter().collect())
        }
        AggregateFunction::Top { size } => {
            let mut counts = BTreeMap::new();
            values.iter().for_each(|value| *counts.entry(part(ty, value).unwrap()).or_insert(0) += 1);
            let mut items: Vec<_> = counts.into_iter().map(|(item, hits)| Heavy { item, hits, error: 0 }).collect();
            items.sort_by_key(|heavy| std::cmp::Reverse(heavy.hits));
            items.truncate(size as usize);
            Accumulated::Top { hits, items }
        }
        AggregateFunction::Distinct => {
            let mut ranks = vec![0_u8; 4096];
            for value in values {
                let (register, rank) = register(hash(words_of(ty, value)));
                ranks[register as usize] = ranks[register as usize].max(rank as u8);
            }
            Accumulated::Registers(ranks.into())
        }
    }
}

/// A record that has a key and a value, if it has both.
fn whole_of<'a>(
    schema: &EventSchema,
    aggregate: &Aggregate,
    record: &'a [Datum],
) -> Option<(Vec<Part>, Option<&'a Datum>)> {
    let part = |column: u32| part(schema.fields[column as usize].ty, &record[column as usize]);
    let key = aggregate.key.iter().map(|column| part(*column)).collect::<Option<Vec<_>>>()?;
    let value = match aggregate.value() {
        Some(column) => Some(part(column).map(|_| &record[column as usize])?),
        None => None,
    };
    Some((key, value))
}

/// From the values alone.
fn expected(schema: &EventSchema, aggregate: &Aggregate, records: &[Vec<Datum>]) -> Outcome {
    let mut by_key: BTreeMap<_, Vec<&Datum>> = BTreeMap::new();
    let (mut total, nothing) = (0, Datum::Name(0));
    for (key, value) in records.iter().filter_map(|record| whole_of(schema, aggregate, record)) {
        by_key.entry(key).or_default().push(value.unwrap_or(&nothing));
        total += 1;
    }
    let ty = aggregate.value().map_or(FieldType::Name, |column| schema.fields[column as usize].ty);
    let row = |(key, values): (_, Vec<&Datum>)| (key, accumulated(aggregate.function, ty, &values));
    (by_key.into_iter().map(row).collect(), total, records.len() as u64 - total)
}

/// What tables of limited size would keep: one of each CPU and generation.
fn kept(schema: &EventSchema, aggregate: &Aggregate, records: &[Vec<Datum>], places: &[u8]) -> Outcome {
    let ty = |column: &u32| schema.fields[*column as usize].ty;
    let key_types: Vec<_> = aggregate.key.iter().map(ty).collect();
    let layout = RowLayout::new(aggregate.function, aggregate.value().as_ref().map(ty), &key_types, "p").unwrap();
    let mut tables: HashMap<(u8, Vec<u64>), Vec<u64>> = HashMap::new();
    let mut faulted = 0;
    for (record, place) in records.iter().zip(places.iter().cycle()) {
        let Some((_, value)) = whole_of(schema, aggregate, record) else {
            faulted += 1;
            continue;
        };
        let words = |column: &u32| words_of(ty(column), &record[*column as usize]);
        let mut key: Vec<u64> = aggregate.key.iter().flat_map(words).collect();
        let value_words = aggregate.value().map(|column| words(&column)).unwrap_or_default();
        let hashed = register(hash(value_words.iter().copied()));
        match aggregate.function.extra() {
            Some(Extra::Bin(bin)) => key.push(bin.of(number(value.unwrap())) as u64),
            Some(Extra::Item) => key.extend(value_words),
            Some(Extra::Register) => key.push(hashed.0),
            None => {}
        }
        assert_eq!(key.len(), layout.kept_at);
        let what = aggregate.function.kept();
        let entry = tables.entry((*place, key)).or_insert_with(|| vec![0; what.len()]);
        let bits = || number(value.unwrap()) as u64;
        let signed = matches!(aggregate.value().as_ref().map(ty), Some(FieldType::Int { signed: true, .. }));
        for (word, what) in entry.iter_mut().zip(what) {
            match what {
                Kept::Hits => *word += 1,
                Kept::Sum => *word = word.wrapping_add(bits()),
                Kept::Least => *word = (*word).max(!ordered(bits(), signed)),
                Kept::Greatest => *word = (*word).max(ordered(bits(), signed)),
                Kept::Rank => *word = (*word).max(hashed.1),
            }
        }
    }
    // A map has its rows in no order; a row of zeros is one that nothing was added to.
    let mut rows: Vec<u64> = tables.into_iter().flat_map(|((_, key), kept)| [key, kept].concat()).collect();
    rows.resize(rows.len() + layout.width, 0);
    let table = Table::new(aggregate.function, aggregate.key.len());
    let mut guard = table.lock();
    rows.chunks(layout.width * 7).for_each(|rows| guard.merge(&layout, rows));
    guard.fault(faulted);
    drop(guard);
    outcome(&table)
}

fn functions() -> impl Strategy<Value = AggregateFunction> {
    use AggregateFunction::*;
    prop_oneof![
        prop::sample::select(vec![Count, Sum, Min, Max, Avg, Stats, Hist, Quantiles, Distinct]),
        (-100..100_i64, 1..100_i64, 1..30_u64).prop_map(|(low, steps, step)| Lhist {
            low,
            high: low + steps * step as i64,
            step
        }),
        (1..50_u32).prop_map(|size| Top { size }),
    ]
}

fn types() -> impl Strategy<Value = FieldType> {
    let int = (prop::sample::select(vec![1_u8, 2, 4, 8]), any::<bool>());
    prop_oneof![
        6 => int.prop_map(|(size, signed)| FieldType::Int { size, signed }),
        1 => (1..=40_u8).prop_map(|size| FieldType::FixedString { size }),
        1 => Just(FieldType::Name),
    ]
}

/// Values whose partial sums, of so few, have 64 bits.
fn datum(ty: FieldType) -> BoxedStrategy<Datum> {
    let narrowed = |datum| match datum {
        Datum::Unsigned(value) => Datum::Unsigned(value & (u64::MAX >> 12)),
        Datum::Signed(value) => Datum::Signed(value % (1 << 52)),
        other => other,
    };
    data(ty).prop_map(narrowed).boxed()
}

type Picks = (AggregateFunction, Vec<Index>, Index);

/// A schema with aggregates, and records of it; the last column may be a stack, as the short ways like it.
fn cases() -> impl Strategy<Value = (EventSchema, Vec<Aggregate>, Vec<Vec<Datum>>)> {
    let stack = prop::sample::select(vec![None, Some(StackSpace::Kernel), Some(StackSpace::User)]);
    let picks = vec((functions(), vec(any::<Index>(), 0..4), any::<Index>()), 1..5);
    (vec(types(), 1..6), stack, picks).prop_flat_map(|(mut types, stack, picks): (Vec<_>, _, Vec<Picks>)| {
        types.push(FieldType::Int { size: 8, signed: true });
        let integers: Vec<usize> =
            (0..types.len()).filter(|index| matches!(types[*index], FieldType::Int { .. })).collect();
        types.extend(stack.map(|space| FieldType::Stack { space }));
        let aggregate = |(function, key, value): Picks| {
            let value = if function.takes_anything() { value.index(types.len()) } else { *value.get(&integers) };
            let key = key.iter().map(|column| column.index(types.len()) as u32).collect();
            Aggregate { function, key, value: value as u32 }
        };
        let aggregates: Vec<_> = picks.into_iter().map(aggregate).collect();
        let columns: Vec<_> = types.iter().map(|ty| (*ty, Role::Capture)).collect();
        let mut schema = schema(1, &columns);
        schema.keys = aggregates.iter().map(|aggregate| aggregate.key.clone()).collect();
        schema.values = aggregates.iter().map(Aggregate::value).collect();
        let few = types.iter().map(|ty| vec(datum(*ty), 1..5)).collect::<Vec<_>>();
        let record = vec(any::<Index>(), types.len());
        (Just(schema), Just(aggregates), few, vec(record, 0..80)).prop_map(|(schema, aggregates, few, picks)| {
            let one = |picks: Vec<Index>| few.iter().zip(picks).map(|(few, pick)| pick.get(few).clone()).collect();
            (schema, aggregates, picks.into_iter().map(one).collect())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_way_gives_the_table_that_the_values_say(
        (schema, aggregates, records) in cases(), places in vec(0..6_u8, 1..20),
    ) {
        let functions: Vec<_> = aggregates.iter().map(|aggregate| aggregate.function).collect();
        let mut bytes = Vec::new();
        records.iter().for_each(|record| encode(1, &schema, record, &mut bytes));
        let said: Vec<_> = aggregates.iter().map(|aggregate| expected(&schema, aggregate, &records)).collect();
        prop_assert_eq!(&pumped(&schema, &functions, &bytes, true), &said, "whole events");
        prop_assert_eq!(&pumped(&schema, &functions, &bytes, false), &said, "columns");
        let limited = aggregates.iter().map(|aggregate| kept(&schema, aggregate, &records, &places));
        prop_assert_eq!(limited.collect::<Vec<_>>(), said, "rows of limited tables");
    }
}

#[test]
fn what_is_taken_is_gone_and_what_was_looked_at_stays() {
    let table = Table::new(AggregateFunction::Sum, 1);
    let int = FieldType::Int { size: 4, signed: true };
    let layout = RowLayout::new(AggregateFunction::Sum, Some(int), &[int], "p").unwrap();
    let row = |key: i32, hits: u64, sum: i64| [u64::from(key as u32), hits, sum as u64];
    table.lock().merge(&layout, &[row(-1, 2, -30), row(7, 1, 5)].concat());
    let seen = table.snapshot();
    table.lock().merge(&layout, &row(7, 1, 6));
    assert_eq!(table.top(1), [(vec![Part::Unsigned(7)], Accumulated::Sum(11))]);
    assert_eq!(table.get(&[Part::Negative(-1)]), Some(Accumulated::Sum(-30)));
    assert!(seen.contains(&(vec![Part::Unsigned(7)], Accumulated::Sum(5))));
    assert_eq!((table.take().len(), table.len(), table.total()), (2, 0, 4));
    assert_eq!((table.get(&[Part::Unsigned(7)]), table.is_empty()), (None, true));
}
