//! Columns as arrays hold what the events hold.
#![expect(clippy::unwrap_used, reason = "a test")]

mod road_support;

use std::sync::Arc;

use proptest::prelude::*;
use road_support::{layout, record, usual};
use spile_core::batch::BatchBuilder;
use spile_core::event::{Column, Event, Layouts, Record, Value};
use spile_core::layout::FieldType;

proptest! {
    #[test]
    fn an_array_has_what_the_events_have(
        size in prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)],
        signed: bool,
        values in proptest::collection::vec((any::<u64>(), any::<bool>()), 1..50),
        skip in 1_usize..4,
    ) {
        let ty = FieldType::Int { size, signed };
        let layouts = Arc::new(Layouts::new(vec![layout(1, 0, &[ty], &[])]).unwrap());
        let mut builder = BatchBuilder::new(Arc::clone(&layouts), Arc::default());
        let place = layouts.get(1).unwrap().slots[0].offset.unwrap() as usize;
        for (number, (value, is_null)) in values.iter().enumerate() {
            let mut bytes = (number as u64).to_le_bytes().to_vec();
            bytes.extend([1, 0, u8::from(*is_null), 0]);
            bytes.resize(24, 0xee);
            bytes[place..place + 8.min(24 - place)].copy_from_slice(&value.to_le_bytes()[..8.min(24 - place)]);
            let Record::Event(event) = Record::parse(&layouts, 0, &bytes).unwrap() else { panic!("an event") };
            builder.push(&event);
        }
        let batch = builder.finish().unwrap();
        let places: Vec<u32> = (0..values.len() as u32).step_by(skip).collect();
        let array = batch.integers(&places, Column::new(layouts.get(1).unwrap(), 0).unwrap()).unwrap();
        prop_assert_eq!((array.size, array.signed), (size, signed));
        for (index, &place) in places.iter().enumerate() {
            let mut wide = [0; 8];
            wide[..usize::from(size)].copy_from_slice(&array.bytes[index * usize::from(size)..][..usize::from(size)]);
            let found = match batch.event(place as usize).map(|event: Event<'_>| event.value(0)).unwrap() {
                Value::Null => 0,
                Value::Unsigned(value) => value,
                Value::Signed(value) => value.cast_unsigned() & u64::MAX >> (64 - 8 * u32::from(size)),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(u64::from_le_bytes(wide), found);
            let is_null = values[place as usize].1;
            prop_assert_eq!(array.valid.as_ref().map_or(1, |valid| valid[index]), u8::from(!is_null));
        }
    }
}

#[test]
fn strings_and_stacks_are_no_arrays() {
    let layouts = usual();
    let mut builder = BatchBuilder::new(Arc::clone(&layouts), Arc::default());
    let bytes = record(1, 0, 5, "cc1", 7);
    let Record::Event(event) = Record::parse(&layouts, 0, &bytes).unwrap() else { panic!("an event") };
    builder.push(&event);
    let batch = builder.finish().unwrap();
    let column = |index| Column::new(layouts.get(1).unwrap(), index).unwrap();
    assert_eq!(batch.integers(&[0], column(0)).unwrap().bytes, 5_u64.to_le_bytes());
    assert!(batch.integers(&[0], column(1)).is_none() && batch.integers(&[0], column(2)).is_none());
    assert_eq!(batch.integers(&[9], column(0)).unwrap().bytes, [0; 8], "behind the end there is nothing");
}
