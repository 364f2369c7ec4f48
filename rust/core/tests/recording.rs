//! What is recorded is replayed; what is damaged is told, with its place.
#![expect(clippy::unwrap_used, reason = "a test")]

mod recording_support;
mod road_support;

use std::fs::OpenOptions;
use std::sync::Arc;

use proptest::prelude::*;
use recording_support::{Delivered, Mapped, drive, replay, run, spec};
use road_support::{Script, definition, record, usual};
use spile_core::Error;
use spile_core::layout::COMPACT_BASE;
use spile_core::loss::Row;
use spile_core::merge::Merge;
use spile_core::recording::{
    BLOCK_HEADER, BlockHeader, Codec, FILE_HEADER, Head, Kind, MAJOR, file_header, record as begin, resolve,
};
use spile_core::spec::SessionSpec;
use spile_core::stack::hash_frames;

/// Turns of some CPUs: times of records, and the watermark after them, which some events of later turns are behind.
type Turns = Vec<Vec<(Vec<u64>, u64)>>;

fn turns() -> impl Strategy<Value = Turns> {
    let read = (proptest::collection::vec(0_u64..50, 0..6), 0_u64..40);
    let cpu = proptest::collection::vec(read, 1..8);
    proptest::collection::vec(cpu, 1..4).prop_map(|mut cpus| {
        for cpu in &mut cpus {
            let mut base = 0;
            for (times, watermark) in cpu {
                times.iter_mut().for_each(|time| *time += base);
                *watermark += base;
                base += 30;
            }
        }
        cpus
    })
}

fn scripts(turns: &Turns) -> Vec<Script> {
    let script = |(cpu, reads): (usize, &Vec<(Vec<u64>, u64)>)| {
        let script = Script::new(cpu as u16);
        for (number, (times, watermark)) in reads.iter().enumerate() {
            let value = |index: usize| (number * 100 + index) as u64;
            let records = times.iter().enumerate().map(|(i, time)| record(*time, 0, value(i), "cc1", 0)).collect();
            script.step(records, *watermark);
        }
        script
    };
    turns.iter().enumerate().map(script).collect()
}

/// How records travel, and whether they are compressed in the end.
#[derive(Debug, Clone, Copy)]
struct Form {
    mapped: bool,
    compress: bool,
}

fn form() -> impl Strategy<Value = Form> {
    any::<[bool; 2]>().prop_map(|[mapped, compress]| Form { mapped, compress })
}

fn recorded(turns: &Turns, Form { mapped, compress }: Form) -> (Delivered, Vec<u64>, Vec<u8>) {
    let layouts = usual();
    let sources = scripts(turns).iter().map(Script::boxed).collect::<Vec<_>>();
    let sources = sources.into_iter().map(|source| if mapped { Mapped::boxed(source, &layouts) } else { source });
    run(sources.collect(), &layouts, compress, &[])
}

/// A recording of some blocks: as many records as need them.
fn long(compress: bool) -> (Delivered, Vec<u8>) {
    let (one, two) = (Script::new(0), Script::new(1));
    let frames = [0xffff_8000_0000_0010, 0xffff_8000_0000_0020];
    let hash = hash_frames(0, frames.into_iter());
    one.step(vec![definition(hash, 0, &frames)], 0);
    two.step(Vec::new(), 0);
    for turn in 0..60_u64 {
        let times = (turn * 1000..).take(1000);
        one.step(times.clone().map(|time| record(time, 0, time * 977, "cc1", hash)).collect(), turn * 1000 + 900);
        two.step(times.map(|time| record(time, 0, time * 353, "ld", hash)).collect(), turn * 1000 + 950);
    }
    let rows = [Row { hits: 120_000, delivered: 120_000, ..Row::default() }];
    let (delivered, _, bytes) = run(vec![one.boxed(), two.boxed()], &usual(), compress, &rows);
    (delivered, bytes)
}

/// What `data/recording-1.0.spile` was made of, by the release that wrote it. Ten of each CPU's later turns are late.
fn two_cpus() -> [Script; 2] {
    let (one, two) = (Script::new(0), Script::new(1));
    let frames = [0xffff_8000_0000_0010, 0xffff_8000_0000_0020];
    let hash = hash_frames(0, frames.into_iter());
    one.step(vec![definition(hash, 0, &frames)], 0);
    two.step(Vec::new(), 0);
    for turn in 0..3_u64 {
        let times = (turn * 100..).take(40);
        one.step(times.clone().map(|time| record(time, 0, time * 977, "cc1", hash)).collect(), turn * 100 + 120);
        two.step(times.map(|time| record(time, 1, time * 353, "ld", 0)).collect(), turn * 100 + 110);
    }
    [one, two]
}

/// Where each block begins, and its header.
fn blocks(bytes: &[u8]) -> Vec<(usize, BlockHeader)> {
    let mut at = FILE_HEADER;
    let mut found = Vec::new();
    while let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let header = BlockHeader::parse(header).unwrap();
        found.push((at, header));
        at += BLOCK_HEADER + header.stored as usize;
    }
    found
}

/// A block with sound checksums around any bytes.
fn block(kind: u16, number: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let checksum = crc32fast::hash(payload);
    let header = BlockHeader { kind, codec: Codec::Raw as u8, number, stored: length, length, events: 0, checksum };
    [&header.encode()[..], payload].concat()
}

/// Whether these come one after the other among those, with others between.
fn is_within(some: &Delivered, all: &Delivered) -> bool {
    let mut rest = all.iter();
    some.iter().all(|event| rest.any(|other| other == event))
}

#[test]
fn a_replay_is_what_was_delivered() {
    for compress in [false, true] {
        let (delivered, bytes) = long(compress);
        let found = replay(bytes.clone()).unwrap();
        assert_eq!((delivered.len(), found.error), (120_000, None));
        assert!(found.delivered == delivered, "other events, or in another order");
        let kinds: Vec<u16> = blocks(&bytes).iter().map(|(_, header)| header.kind).collect();
        let events = kinds.iter().filter(|kind| **kind == Kind::Events as u16).count();
        assert!(events > 3 && kinds[0] == Kind::Head as u16 && kinds.last() == Some(&(Kind::End as u16)), "{kinds:?}");
        let recording = &found.recording;
        assert_eq!((recording.events(), recording.length()), (120_000, bytes.len() as u64));
        assert_eq!((recording.rows()[0].hits, recording.warnings()), (120_000, vec![]));
        assert_eq!(found.stacks.len(), 1);
        assert_eq!(recording.head().spec, spec());
        let size = bytes.len() / 120_000;
        assert!(if compress { size < 30 } else { (48..54).contains(&size) }, "{size} bytes an event");
    }
}

#[test]
fn the_first_version_is_read_as_ever() {
    let found = replay(include_bytes!("data/recording-1.0.spile").to_vec()).unwrap();
    let (delivered, late, bytes) = run(two_cpus().iter().map(Script::boxed).collect(), &usual(), true, &[]);
    assert_eq!((found.error, found.recording.warnings()), (None, vec![]));
    assert!(found.delivered == delivered && delivered.len() == 240, "other events, or in another order");
    assert_eq!((found.late, late[1], found.stacks.len()), (late.clone(), 40, 1));
    assert_eq!((found.recording.rows()[0].hits, found.recording.head().machine.host.as_str()), (240, "elsewhere"));
    assert_eq!(bytes[8..10], MAJOR.to_le_bytes(), "and no longer written");
}

#[test]
fn what_is_behind_a_damaged_compact_record_is_told_as_lost() {
    let turns = vec![vec![(vec![5, 6, 8], 50)], vec![(vec![9], 50)]];
    let (delivered, _, bytes) = recorded(&turns, Form { mapped: true, compress: false });
    let (start, header) = blocks(&bytes)[1];
    let events = &bytes[start + BLOCK_HEADER..][..header.stored as usize];
    // One piece for each record; the one at 8 is of 15 bytes and 48.
    let piece = |at: usize| &events[63 * at..][..63];
    assert_eq!((events[0], piece(2)[15..19].to_vec()), (3, 8_u32.to_le_bytes().to_vec()));
    for (at, wrong) in [(19, 9), (19, 0), (11, 40), (11, 47)] {
        let mut third = piece(2).to_vec();
        third[at] = wrong;
        third.truncate(15 + usize::from(third[11]));
        let payload = [piece(0), &third, piece(1), &events[3 * 63..]].concat();
        let other = [&bytes[..start], &block(header.kind, header.number, &payload)].concat();
        let found = replay(other).unwrap();
        assert_eq!(found.delivered.len(), 3);
        assert!(is_within(&found.delivered, &delivered));
        let Some(Error::Recording { offset, message }) = found.error else { panic!("{:?}", found.error) };
        assert!(offset == start as u64 && message.contains("1 records can't be read"), "{message}");
    }
}

#[test]
fn where_a_cut_recording_ends_is_said() {
    let (delivered, bytes) = long(true);
    let places = blocks(&bytes);
    let (third, header) = places[3];
    let within = third + BLOCK_HEADER + header.stored as usize / 2;
    for (length, ends, word) in [(within, third, "within a block"), (third, third, "between two blocks")] {
        let found = replay(bytes[..length].to_vec()).unwrap();
        let events: u32 = places[..3].iter().map(|(_, header)| header.events).sum();
        assert_eq!((found.error, found.delivered.len() as u32), (None, events));
        assert!(is_within(&found.delivered, &delivered));
        let warning = found.recording.warnings().concat();
        assert!(warning.contains(&format!("ends at byte {ends}, {word}")), "{warning}");
    }
}

#[test]
fn a_damaged_block_is_passed_over_and_told() {
    let (delivered, mut bytes) = long(true);
    let (place, header) = blocks(&bytes)[2];
    bytes[place + BLOCK_HEADER + 10] ^= 4;
    let found = replay(bytes).unwrap();
    let Some(Error::Recording { offset, message }) = found.error else { panic!("{:?}", found.error) };
    assert_eq!((offset, found.delivered.len() as u32), (place as u64, 120_000 - header.events));
    let (read, lost) = (120_000 - header.events, header.events);
    let told = format!("{read} events were read all the same, and of {lost} it is known that they are lost");
    assert!(message.contains("in 1 places") && message.contains(&told), "{message}");
    assert!(is_within(&found.delivered, &delivered));
}

#[test]
fn a_block_that_is_missing_is_noticed() {
    let (_, bytes) = long(true);
    let places = blocks(&bytes);
    let without = [&bytes[..places[2].0], &bytes[places[3].0..]].concat();
    let found = replay(without).unwrap();
    let Some(Error::Recording { offset, message }) = found.error else { panic!("{:?}", found.error) };
    assert_eq!(offset, places[2].0 as u64);
    assert!(message.contains("1 blocks are missing"), "{message}");
}

#[test]
fn kinds_that_are_not_known_are_passed_over_and_later_versions_refused() {
    let (delivered, _, bytes) = recorded(&vec![vec![(vec![1, 2], 5)]], Form { mapped: false, compress: false });
    let (first, second) = (blocks(&bytes)[0].0, blocks(&bytes)[1].0);
    let head = &bytes[first..second];
    let rest: Vec<u8> = blocks(&bytes)[1..]
        .iter()
        .flat_map(|&(at, header)| {
            let number = BlockHeader { number: header.number + 1, ..header }.encode();
            [&number[..], &bytes[at + BLOCK_HEADER..][..header.stored as usize]].concat()
        })
        .collect();
    let other = [&file_header()[..], head, &block(999, 1, b"of a later release"), &rest].concat();
    let found = replay(other).unwrap();
    assert_eq!((found.error, found.delivered), (None, delivered));
    let mut later = bytes;
    later[8..10].copy_from_slice(&(MAJOR + 1).to_le_bytes());
    let sum = crc32fast::hash(&later[..12]);
    later[12..16].copy_from_slice(&sum.to_le_bytes());
    let Err(Error::Recording { offset: 8, message }) = replay(later) else { panic!("a later version was read") };
    assert!(message.contains(&format!("version {}.0", MAJOR + 1)) && message.contains("up to 2.0"), "{message}");
}

#[test]
fn what_is_no_recording_says_so() {
    for (bytes, word) in [
        (&b"#!/bin/sh"[..], "no recording"),
        (b"", "no recording"),
        (&file_header()[..12], "ends in its header"),
        (&file_header()[..], "ends before its description"),
        (&[&file_header()[..], &block(Kind::Head as u16, 0, b"{}")].concat(), "can't be read: missing field"),
        (&[&file_header()[..], &block(Kind::Events as u16, 0, b"")].concat(), "description is damaged"),
    ] {
        let Err(Error::Recording { message, .. }) = replay(bytes.to_vec()) else { panic!("{bytes:?} was read") };
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn a_full_disk_ends_the_merge_and_names_the_file() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let layouts = usual();
    let head = Head::new(&spec(), &layouts, Vec::new());
    let error = begin(full, "/dev/full", true, &head, Arc::clone(&layouts), Box::new(|| None)).map(drop).unwrap_err();
    let Error::Recording { offset: 0, message } = error else { panic!("{error}") };
    assert!(message.starts_with("writing the recording /dev/full: No space left"), "{message}");
    // A pipe whose reader has gone is no better.
    let (reader, writer) = std::io::pipe().unwrap();
    let head = Head::new(&spec(), &layouts, Vec::new());
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
    let (recorder, mut handle) = begin(file, "pipe", true, &head, Arc::clone(&layouts), Box::new(|| None)).unwrap();
    drop(reader);
    let source = Script::new(0);
    (0..400_u64).for_each(|turn| {
        source.step((0..1000).map(|time| record(turn * 1000 + time, 0, time * turn, "x", 0)).collect(), turn * 1000)
    });
    let mut merge = Merge::new(vec![source.boxed()], layouts, Arc::default());
    merge.record(recorder);
    let (_, error) = drive(&mut merge).unwrap_err();
    assert!(error.to_string().contains("writing the recording pipe: Broken pipe"), "{error}");
    drop(merge);
    assert_eq!(handle.close(&[], 0), Ok(()), "it was told already");
}

#[test]
fn tables_are_counted_by_what_was_captured() {
    let layouts = usual();
    let head = Head::new(&spec(), &layouts, Vec::new());
    let wanted = |by: serde_json::Value| {
        let mut json = serde_json::to_value(spec()).unwrap();
        json["probes"][0]["aggregates"] = serde_json::json!([{"function": {"kind": "count"}, "by": by}]);
        SessionSpec::from_json(&json.to_string()).unwrap()
    };
    let comm = serde_json::json!({"op": "context", "name": "comm"});
    let utime = serde_json::json!({"op": "context", "name": "utime"});
    let found = resolve(&head, &wanted(serde_json::json!([utime, comm]))).unwrap();
    // utime is the first capture; comm was counted by, in column 1.
    assert_eq!(found.get(1).unwrap().schema.keys, [[0, 1]]);
    let missing = resolve(&head, &wanted(serde_json::json!([{"op": "context", "name": "pid"}]))).unwrap_err();
    assert!(matches!(&missing, Error::FieldNotFound { message } if message.contains("was not recorded")), "{missing}");
    let mut other = spec();
    other.probes[0].name = "q".into();
    assert!(matches!(resolve(&head, &other), Err(Error::Spec { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_and_lateness_are_as_they_were(turns in turns(), form in form()) {
        let (delivered, late, bytes) = recorded(&turns, form);
        let found = replay(bytes).unwrap();
        prop_assert_eq!(found.error, None);
        prop_assert_eq!((found.delivered, found.late), (delivered, late));
    }

    #[test]
    fn any_flipped_bit_is_noticed_and_what_is_left_is_of_the_original(
        turns in turns(), form in form(), place in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let (delivered, _, mut bytes) = recorded(&turns, form);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        match replay(bytes) {
            Err(error) => prop_assert!(matches!(error, Error::Recording { .. }), "{error}"),
            Ok(found) => {
                prop_assert!(is_within(&found.delivered, &delivered));
                let Some(Error::Recording { offset, .. }) = found.error else { panic!("byte {place}: not noticed") };
                prop_assert!(offset <= place as u64, "at {offset}, and byte {place} is wrong");
            }
        }
    }

    #[test]
    fn whatever_its_length_a_recording_s_beginning_is_read(
        turns in turns(), mapped in any::<bool>(), length in any::<prop::sample::Index>(),
    ) {
        let (delivered, _, mut bytes) = recorded(&turns, Form { mapped, compress: true });
        let places = blocks(&bytes);
        let length = length.index(bytes.len());
        bytes.truncate(length);
        let first = places[0].0 + BLOCK_HEADER + places[0].1.stored as usize;
        match replay(bytes) {
            Err(error) => prop_assert!(length < first, "{error}"),
            Ok(found) => {
                prop_assert_eq!(found.error, None);
                prop_assert!(is_within(&found.delivered, &delivered));
                let whole = places.iter().rev().find(|(at, _)| *at <= length).unwrap().0 as u64;
                prop_assert_eq!(found.recording.length(), whole);
                prop_assert_eq!(found.recording.warnings().len(), 1);
            }
        }
    }

    #[test]
    fn any_bytes_between_sound_checksums_give_events_or_an_error(
        payloads in proptest::collection::vec((0_u16..8, proptest::collection::vec(any::<u8>(), 0..200)), 0..4),
        prefix in prop_oneof![
            Just(vec![]),
            Just(vec![1, 0, 0, 1, 0, 48, 0, 0, 0, 48, 0, 1, 0]),
            (any::<[u8; 8]>(), 0_u8..200, any::<[u8; 4]>(), prop::sample::select(vec![0_u16, 1, 2, COMPACT_BASE]))
                .prop_map(|(near, length, time, id)| {
                    [&[3, 0, 0], &near[..], &[length, 0, 0, 0], &time, &id.to_le_bytes()].concat()
                }),
        ],
    ) {
        let (_, _, bytes) = recorded(&vec![vec![(vec![1], 5)]], Form { mapped: false, compress: false });
        let mut bytes = bytes[..blocks(&bytes)[1].0].to_vec();
        for (number, (kind, payload)) in (1..).zip(payloads) {
            bytes.extend(block(kind, number, &[&prefix[..], &payload].concat()));
        }
        if let Err(error) = replay(bytes) {
            prop_assert!(matches!(error, Error::Recording { .. }), "{error}");
        }
    }
}
