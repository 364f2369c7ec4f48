//! Layouts of random columns: nothing overlaps, everything is aligned, and what is written there is what is read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aligned_support;
mod packed_support;

use aligned_support::{compact, write};
use packed_support::{Datum, data, field_types, schema};
use proptest::collection::vec;
use proptest::prelude::*;
use spile_core::event::{Event, Layouts, Record, Value};
use spile_core::layout::*;
use spile_core::source::Run;
use spile_core::source::compact::Projection;
use spile_core::words::Words;

fn columns() -> impl Strategy<Value = Vec<(FieldType, Role)>> {
    vec(field_types().prop_map(|ty| (ty, Role::Capture)), 0..=16)
}

proptest! {
    #[test]
    fn aligned_columns_do_not_overlap(columns in columns(), id in 1..u16::MAX) {
        let layout = EventLayout::compute(schema(id, &columns), Encoding::Aligned).unwrap();
        let mut taken = vec![(0, ALIGNED_HEADER)];
        for (slot, (ty, _)) in layout.slots.iter().zip(&columns) {
            let offset = slot.offset.unwrap();
            let (size, alignment) = match ty {
                FieldType::Int { size, .. } => (u32::from(*size), u32::from(*size)),
                FieldType::FixedString { size } => (u32::from(*size), 8),
                FieldType::String { .. } | FieldType::Bytes { .. } => (4, 4),
                FieldType::Stack { .. } => (8, 8),
                FieldType::Name => (2, 2),
            };
            prop_assert_eq!(slot.size, size);
            prop_assert_eq!(offset.next_multiple_of(alignment), offset);
            taken.push((offset, size));
        }
        taken.sort_unstable();
        for pair in taken.windows(2) {
            prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{:?}", taken);
        }
        let end = taken.last().map(|(offset, size)| offset + size).unwrap();
        prop_assert!(layout.fixed_size.is_multiple_of(8) && end <= layout.fixed_size && layout.fixed_size < end + 8);
        prop_assert!(layout.fixed_size <= layout.max_size);
        prop_assert!(layout.max_size - layout.fixed_size <= MAX_STRING);
    }

    #[test]
    fn packed_columns_follow_each_other(columns in columns(), id in 1..=255u16) {
        let layout = EventLayout::compute(schema(id, &columns), Encoding::Packed).unwrap();
        let mut expected = Some(1);
        for (slot, (ty, _)) in layout.slots.iter().zip(&columns) {
            prop_assert_eq!(slot.offset, expected);
            let is_fixed = matches!(ty, FieldType::Int { .. } | FieldType::Name);
            expected = expected.filter(|_| is_fixed).map(|offset| offset + slot.size);
        }
        prop_assert_eq!(layout.fixed_size, 1 + layout.slots.iter().map(|slot| slot.size).sum::<u32>());
        prop_assert_eq!(layout.is_fixed(), expected.is_some());
    }

    #[test]
    fn aligned_records_give_what_was_written(
        (columns, values) in columns().prop_flat_map(|columns| {
            let values: Vec<_> = columns.iter().map(|(ty, _)| prop::option::of(data(*ty))).collect();
            (Just(columns), values)
        }),
    ) {
        let layout = EventLayout::compute(schema(9, &columns), Encoding::Aligned).unwrap();
        let bytes = write(&layout, &values);
        prop_assert!(bytes.len() <= layout.max_size as usize);
        let layouts = Layouts::new(vec![layout]).unwrap();
        let Record::Event(event) = Record::parse(&layouts, 0, &bytes).unwrap() else { panic!() };
        prop_assert_eq!((event.id(), event.time()), (9, 77));
        for (index, (value, (ty, _))) in values.iter().zip(&columns).enumerate() {
            match (event.value(index), value) {
                (Value::Null, None) => {}
                (Value::Null, Some(Datum::Stack(frames))) => prop_assert_eq!(frames.first().copied().unwrap_or(0), 0),
                (Value::Stack { hash, .. }, Some(Datum::Stack(frames))) => prop_assert_eq!(hash, frames[0]),
                (Value::Unsigned(found), Some(Datum::Unsigned(value))) => prop_assert_eq!(found, *value),
                (Value::Signed(found), Some(Datum::Signed(value))) => prop_assert_eq!(found, *value),
                (Value::Name(found), Some(Datum::Name(id))) => prop_assert_eq!(found, *id),
                (Value::String { bytes, .. }, Some(Datum::Text(text))) => prop_assert_eq!(bytes, text.as_slice()),
                (found, value) => panic!("{found:?} for {value:?} of {ty:?}"),
            }
        }
        for end in 0..bytes.len() {
            let _ = Record::parse(&layouts, 0, &bytes[..end]);
        }
    }

    /// What a mapped ring holds, by the documented form, comes back as the aligned record.
    #[test]
    fn compact_records_become_aligned_ones(
        (columns, values) in columns().prop_flat_map(|columns| {
            let values: Vec<_> = columns.iter().map(|(ty, _)| prop::option::of(data(*ty))).collect();
            (Just(columns), values)
        }),
        time in any::<u64>(),
    ) {
        let layout = EventLayout::compute(schema(9, &columns), Encoding::Aligned).unwrap();
        prop_assume!(layout.is_fixed());
        let mut aligned = write(&layout, &values);
        aligned[..8].copy_from_slice(&time.to_le_bytes());
        let end = layout.slots.iter().map(|slot| (slot.offset.unwrap() + slot.size) as usize).max().unwrap_or(0).max(12);
        aligned[end..].fill(0);
        let compact = compact(&layout, &aligned);
        prop_assert!(compact.len().is_multiple_of(8) && compact.len() < end + 4);
        let mut run = Run::default();
        run.push_compact(3, &layout, time, &compact);
        let entry = run.entries()[0];
        prop_assert_eq!((entry.cpu, entry.vouched), (3, 9));
        prop_assert_eq!(run.record(entry), aligned.as_slice());
        // A row of every other column is what the event has there, and zeros behind a string's room; none where one of them
        // could not be read. What comes twice is one row.
        let event = Event { layout: &layout, cpu: 3, bytes: &aligned };
        for first in 0..2 {
            let wanted: Vec<u32> = (first..columns.len() as u32).step_by(2).collect();
            let projection = Projection::new(&layout, &wanted).unwrap();
            run.clear();
            let are_read = wanted.iter().all(|column| values[*column as usize].is_some() || *column >= 16);
            prop_assert_eq!(run.push_row(&projection, &compact), are_read);
            prop_assert_eq!(run.push_row(&projection, &compact), are_read);
            let rows = &run.rows()[9];
            prop_assert_eq!((rows.len(), rows.iter().count()), if are_read { (2, 1) } else { (0, 0) });
            let Some((row, events)) = rows.iter().next() else { continue };
            prop_assert_eq!(events, 2);
            let mut at = 0;
            for column in wanted {
                let words = Words::new(columns[column as usize].0, at).unwrap();
                prop_assert_eq!(words.value(row), event.value(column as usize));
                if let FieldType::FixedString { size } = words.ty {
                    let bytes: Vec<u8> = words.of(row).iter().flat_map(|word| word.to_le_bytes()).collect();
                    prop_assert!(bytes[usize::from(size)..].iter().all(|byte| *byte == 0));
                }
                at = words.end();
            }
            prop_assert_eq!(at, row.len());
        }
    }

    #[test]
    fn bytes_of_any_kind_never_lead_outside_of_a_record(columns in columns(), bytes in vec(any::<u8>(), 0..300)) {
        let layout = EventLayout::compute(schema(9, &columns), Encoding::Aligned).unwrap();
        let fixed = layout.fixed_size as usize;
        let layouts = Layouts::new(vec![layout]).unwrap();
        let mut bytes = [bytes, vec![0; fixed]].concat();
        bytes[8..10].copy_from_slice(&9_u16.to_le_bytes());
        if let Ok(Record::Event(event)) = Record::parse(&layouts, 0, &bytes) {
            for index in 0..=columns.len() {
                let _ = event.value(index);
            }
        }
    }

    #[test]
    fn schemas_go_through_json(columns in columns(), id in 1..u16::MAX) {
        let schema = schema(id, &columns);
        let text = serde_json::to_string(&schema).unwrap();
        prop_assert_eq!(serde_json::from_str::<EventSchema>(&text).unwrap(), schema);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let one = |id, ty| schema(id, &[(ty, Role::Capture)]);
    let int = |size| FieldType::Int { size, signed: false };
    let words =
        |schema, encoding| EventLayout::compute(schema, encoding).map(|_| ()).map_err(|error| error.to_string());
    for encoding in [Encoding::Packed, Encoding::Aligned] {
        assert!(words(one(0, int(8)), encoding).unwrap_err().contains("event id 0"));
        assert!(words(one(1, int(3)), encoding).unwrap_err().contains("3 bytes"));
        assert!(words(one(1, FieldType::FixedString { size: 0 }), encoding).is_err());
        assert!(words(one(1, FieldType::String { limit: 0 }), encoding).is_err());
        assert!(words(one(1, FieldType::Bytes { limit: MAX_STRING + 1 }), encoding).is_err());
        assert_eq!(words(one(1, FieldType::Bytes { limit: MAX_STRING }), encoding), Ok(()));
    }
    assert!(words(one(256, int(8)), Encoding::Packed).is_err());
    assert_eq!(words(one(256, int(8)), Encoding::Aligned), Ok(()));
    let many = schema(1, &[(int(1), Role::Capture); 17]);
    assert!(words(many.clone(), Encoding::Aligned).unwrap_err().contains("at most 16"));
    assert_eq!(words(many, Encoding::Packed), Ok(()));
    let long = schema(1, &[(FieldType::String { limit: 9_000 }, Role::Capture); 2]);
    assert!(words(long, Encoding::Aligned).unwrap_err().contains("lower limit="));
}
