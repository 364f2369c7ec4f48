//! Compact records are the same events however the stretches are cut that they are read by.
#![expect(clippy::unwrap_used, reason = "a test")]

mod road_support;

use proptest::prelude::*;
use road_support::layout;
use spile_core::event::Layouts;
use spile_core::layout::{COMPACT_BASE, FieldType};
use spile_core::source::stretch::{Behind, Extent, Stretch};

/// Event 1 has nothing and takes 8 bytes, event 2 has a number and takes 24, event 3 has a string and no compact records.
fn layouts() -> Layouts {
    let number = FieldType::Int { size: 8, signed: false };
    let string = FieldType::String { limit: 8 };
    Layouts::new(vec![layout(1, 0, &[], &[]), layout(2, 0, &[number], &[]), layout(3, 0, &[string], &[])]).unwrap()
}

/// Ids and times, and their words: each time is told by the last whole one.
fn written(steps: &[(u16, i64)]) -> (Vec<(u16, u64)>, Vec<u64>) {
    let (mut last, mut events, mut words) = (0, Vec::new(), Vec::new());
    for (id, step) in steps {
        let time = (1 << 40) + (last % (1 << 40)) + step.unsigned_abs();
        let first = |id: u16| u64::from(time as u32) | u64::from(id) << 32;
        if time.abs_diff(last) >= 1 << 31 {
            words.extend([first(COMPACT_BASE), time]);
            last = time;
        }
        words.push(first(*id));
        words.extend(std::iter::repeat_n(u64::MAX, if *id == 2 { 2 } else { 0 }));
        events.push((*id, time));
    }
    (events, words)
}

proptest! {
    #[test]
    fn a_cut_changes_nothing(
        steps in prop::collection::vec((1_u16..3, 0_i64..3_000_000_000), 0..50),
        cuts in prop::collection::vec(1_usize..100, 1..10),
    ) {
        let layouts = layouts();
        let (events, words) = written(&steps);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (mut got, mut at, mut near) = (Vec::new(), 0, 0);
        for most in cuts.iter().cycle() {
            let there = bytes.len() - at;
            if there == 0 {
                break;
            }
            let extent = Extent::of(&layouts, near, there.min(*most), there, |offset| words[(at + offset) / 8]);
            prop_assert_eq!(extent.behind, Behind::Unasked);
            prop_assert!(extent.length > 0 && extent.length < most + 24);
            let stretch = Stretch { cpu: 3, near, events: extent.events, bytes: &bytes[at..][..extent.length] };
            prop_assert_eq!(Stretch::of(&layouts, 3, near, stretch.bytes), (stretch, Behind::Unasked));
            let before = got.len();
            got.extend(stretch.records(&layouts).map(|record| (record.layout.schema.id, record.time)));
            prop_assert_eq!(got.len() - before, extent.events as usize);
            (at, near) = (at + extent.length, extent.near);
        }
        prop_assert_eq!(got, events);
    }

    #[test]
    fn any_bytes_are_records_up_to_what_is_none(bytes in prop::collection::vec(prop_oneof![3 => Just(0), 1 => 0_u8..4, 1 => Just(255)], 0..200)) {
        let layouts = layouts();
        let (stretch, behind) = Stretch::of(&layouts, 0, 0, &bytes);
        prop_assert_eq!(stretch.records(&layouts).count(), stretch.events as usize);
        prop_assert_eq!(stretch.bytes, &bytes[..stretch.bytes.len()]);
        prop_assert!(behind != Behind::Unasked || stretch.bytes.len() == bytes.len());
    }
}

#[test]
fn what_is_behind_says_why() {
    let layouts = layouts();
    let behind = |words: &[u64]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (stretch, behind) = Stretch::of(&layouts, 0, 0, &bytes);
        (stretch.bytes.len(), behind)
    };
    let event = |id: u64| id << 32 | 5;
    assert_eq!(behind(&[event(1), event(2), 7, 7]), (32, Behind::Unasked));
    assert_eq!(behind(&[event(1), 0, event(1)]), (8, Behind::Uncommitted));
    assert_eq!(behind(&[event(1), event(9)]), (8, Behind::Unknown(9)));
    assert_eq!(behind(&[event(3), 7, 7]), (0, Behind::Unknown(3)), "it has no compact records");
    assert_eq!(behind(&[5]), (0, Behind::Unknown(0)));
    assert_eq!(behind(&[event(2), 7]), (0, Behind::Short(24)));
    assert_eq!(behind(&[event(1), event(0xffff)]), (8, Behind::Short(16)));
}
