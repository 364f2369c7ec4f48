//! Random schemas, values and damage: what comes out is what went in, in order, and exactly what is still whole.

mod framed_support;
mod packed_support;

use framed_support::{decode, event};
use packed_support::{Datum, data, field_types, schema};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use spile_core::layout::{EventSchema, FieldType, Role};

const U64: FieldType = FieldType::Int { size: 8, signed: false };
const U16: FieldType = FieldType::Int { size: 2, signed: false };

/// Some events' schemas, with a time and a CPU as scripts have them, and records of them with their times counted up.
fn streams() -> impl Strategy<Value = (Vec<EventSchema>, Vec<(usize, Vec<Datum>)>)> {
    let columns = vec(field_types().prop_map(|ty| (ty, Role::Capture)), 0..=8);
    vec(columns, 1..4).prop_flat_map(|events| {
        let head = [(U64, Role::Time), (U16, Role::Cpu)];
        let schemas: Vec<_> =
            (1..).zip(&events).map(|(id, columns)| schema(id, &[&head[..], columns.as_slice()].concat())).collect();
        let one = |index: usize, schema: &EventSchema| {
            let values: Vec<_> = schema.fields.iter().map(|field| data(field.ty)).collect();
            values.prop_map(move |values| (index, values)).boxed()
        };
        let any_record =
            proptest::strategy::Union::new(schemas.iter().enumerate().map(|(index, schema)| one(index, schema)));
        let timed = |mut records: Vec<(usize, Vec<Datum>)>| {
            (1_u64..).zip(&mut records).for_each(|(time, (_, values))| values[0] = Datum::Unsigned(time * 1000));
            records
        };
        (Just(schemas), vec(any_record, 0..20).prop_map(timed))
    })
}

#[derive(Debug, Clone)]
enum Damage {
    Cut(Index, usize),
    Put(Index, Vec<u8>),
    Overwrite(Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let noise = || vec(prop_oneof![any::<u8>(), Just(b'S'), Just(b'P'), 0..4u8], 1..60);
    prop_oneof![
        (any::<Index>(), 1..200usize).prop_map(|(place, length)| Damage::Cut(place, length)),
        (any::<Index>(), noise()).prop_map(|(place, noise)| Damage::Put(place, noise)),
        (any::<Index>(), noise()).prop_map(|(place, noise)| Damage::Overwrite(place, noise)),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    let (Damage::Cut(place, _) | Damage::Put(place, _) | Damage::Overwrite(place, _)) = damage;
    let start = place.index(bytes.len() + 1);
    match damage {
        Damage::Cut(_, length) => drop(bytes.drain(start..bytes.len().min(start + length))),
        Damage::Put(_, noise) => drop(bytes.splice(start..start, noise.iter().copied())),
        Damage::Overwrite(_, noise) => {
            bytes[start..].iter_mut().zip(noise).for_each(|(byte, noise)| *byte = *noise);
        }
    }
}

/// Whether the times are a part of those in order: each event has a time of its own.
fn is_part(found: &[u64], all: &[u64]) -> bool {
    let mut all = all.iter();
    found.iter().all(|time| all.any(|other| other == time))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_whole_comes_out_as_it_went_in(
        (schemas, records) in streams(), damages in vec(damage(), 0..5), sizes in vec(1..600usize, 1..8), pad in any::<u8>(),
    ) {
        let frames: Vec<_> = records.iter().map(|(index, values)| event(&schemas[*index], values, pad)).collect();
        let mut bytes = frames.concat();
        damages.iter().for_each(|damage| apply(damage, &mut bytes));
        let (seen, account) = decode(&schemas, &bytes, &sizes);
        let by_time = |time: u64| &records[(time / 1000 - 1) as usize];
        let times: Vec<_> = seen.iter().map(|event| event.time).collect();
        let all: Vec<_> = (1..=records.len() as u64).map(|index| index * 1000).collect();
        let is_changed = damages.iter().any(|damage| matches!(damage, Damage::Overwrite(..)));
        if is_changed {
            // A frame may hold although bytes of it were changed that its check leaves out.
            prop_assert!(seen.len() <= records.len());
        } else {
            prop_assert!(is_part(&times, &all), "{:?}", times);
            for event in &seen {
                let (index, values) = by_time(event.time);
                prop_assert_eq!((event.id, &event.values), (schemas[*index].id, values));
            }
        }
        // A frame that is still there in full is not passed over, unless it lies within another that holds.
        let whole = frames.iter().filter(|frame| {
            let length = 8 + usize::from(u16::from_le_bytes([frame[2], frame[3]]));
            bytes.windows(length).any(|window| *window == frame[..length])
        });
        prop_assert!(seen.len() >= whole.count());
        let numbers = account.numbers();
        prop_assert_eq!(numbers.frames, seen.len() as u64);
        prop_assert!(numbers.gaps <= numbers.skipped + damages.len() as u64);
        if damages.is_empty() {
            prop_assert_eq!((numbers.gaps, numbers.skipped, seen.len()), (0, 0, records.len()));
        }
        // In pieces of any other size it is the same.
        let (again, other) = decode(&schemas, &bytes, &[bytes.len() + 1]);
        prop_assert_eq!((seen, numbers.skipped, numbers.corrupt), (again, other.numbers().skipped, other.numbers().corrupt));
    }

    #[test]
    fn noise_never_panics((schemas, _) in streams(), noise in vec(damage(), 0..40), size in 1..500usize) {
        let mut bytes = Vec::new();
        noise.iter().for_each(|damage| apply(damage, &mut bytes));
        let (seen, account) = decode(&schemas, &bytes, &[size]);
        prop_assert!(seen.is_empty());
        prop_assert!(account.numbers().skipped <= bytes.len() as u64);
    }
}
