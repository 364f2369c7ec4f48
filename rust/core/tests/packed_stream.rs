//! Packed streams: what they hold comes out whole, in pieces of any size, and what can't be is told by its place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod packed_support;

use std::io::{self, Read};
use std::sync::Arc;

use packed_support::{Datum, Seen, decode, encode, layouts, schema};
use spile_core::Error;
use spile_core::layout::{Encoding, EventSchema, FieldType, Role};
use spile_core::source::packed::PackedSource;
use spile_core::source::{Run, Source};
use spile_core::spec::StackSpace;
use spile_core::stack::{StackTable, hash_frames};

const U8: FieldType = FieldType::Int { size: 1, signed: false };
const U16: FieldType = FieldType::Int { size: 2, signed: false };
const U32: FieldType = FieldType::Int { size: 4, signed: false };
const U64: FieldType = FieldType::Int { size: 8, signed: false };
const I32: FieldType = FieldType::Int { size: 4, signed: true };
const COMM: FieldType = FieldType::FixedString { size: 16 };
const TEXT: FieldType = FieldType::String { limit: 40 };
const BYTES: FieldType = FieldType::Bytes { limit: 40 };
const KSTACK: FieldType = FieldType::Stack { space: StackSpace::Kernel };

/// A context switch: time, cpu, tid, comm; and a read with everything.
fn usual() -> Vec<EventSchema> {
    let c = Role::Capture;
    vec![
        schema(2, &[(U64, Role::Time), (U16, Role::Cpu), (I32, c), (COMM, c)]),
        schema(7, &[(U64, Role::Time), (TEXT, c), (BYTES, c), (KSTACK, c), (U8, c)]),
    ]
}

/// One record of each.
fn two() -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend(1_000_u64.to_le_bytes());
    bytes.extend(3_u16.to_le_bytes());
    bytes.extend((-5_i32).to_le_bytes());
    bytes.extend(b"swapper/3\0");
    bytes.push(7);
    bytes.extend(2_000_u64.to_le_bytes());
    bytes.extend(b"a path\0");
    bytes.extend([3, 0, b'x', 0, b'y']);
    bytes.push(2);
    bytes.extend([0x10_u64.to_le_bytes(), 0x20_u64.to_le_bytes()].concat());
    bytes.push(9);
    bytes
}

fn two_seen() -> Vec<Seen> {
    let text = |text: &[u8]| Datum::Text(text.to_vec());
    vec![
        Seen {
            id: 2,
            time: 1_000,
            cpu: 3,
            values: vec![Datum::Unsigned(1_000), Datum::Unsigned(3), Datum::Signed(-5), text(b"swapper/3")],
        },
        Seen {
            id: 7,
            time: 2_000,
            cpu: 0,
            values: vec![
                Datum::Unsigned(2_000),
                text(b"a path"),
                text(b"x\0y"),
                Datum::Stack(vec![0x10, 0x20]),
                Datum::Unsigned(9),
            ],
        },
    ]
}

#[test]
fn records_come_out_in_pieces_of_any_size() {
    let data = two().repeat(3);
    for size in 1..=data.len() {
        let (seen, error) = decode(&usual(), &data, &[size]);
        assert_eq!((seen, error), ([two_seen(), two_seen(), two_seen()].concat(), None), "pieces of {size}");
    }
}

#[test]
fn a_stream_that_ends_within_a_record_says_where_it_begins() {
    let data = [two(), two()].concat();
    let starts = [0, 25, two().len(), two().len() + 25, data.len()];
    for end in 0..=data.len() {
        let (seen, error) = decode(&usual(), &data[..end], &[5]);
        let whole = starts.iter().filter(|start| **start <= end).count() - 1;
        assert_eq!(seen, [two_seen(), two_seen()].concat()[..whole], "{end} bytes");
        match error {
            None => assert!(starts.contains(&end)),
            Some(Error::Stream { offset, message }) => {
                assert_eq!(offset as usize, starts[whole], "{message}");
                assert!(message.contains("ends") && message.contains("the field f"), "{message}");
            }
            Some(other) => panic!("{other}"),
        }
    }
}

#[track_caller]
fn refuses(bad: &[u8], at: usize, words: &str) {
    let good = two();
    for size in [1, 7, 1 << 20] {
        let (seen, error) = decode(&usual(), &[&good, bad, &good].concat(), &[size]);
        assert_eq!(seen, two_seen(), "what stands before is delivered");
        let Some(Error::Stream { offset, message }) = error else { panic!("{error:?}") };
        assert!(offset as usize == good.len() + at && message.contains(words), "{offset}: {message}");
    }
}

#[test]
fn what_can_not_be_is_told_by_its_place() {
    refuses(&[0], 0, "no event has the id 0");
    refuses(&[3], 0, "no event has the id 3");
    refuses(&[255], 0, "no event has the id 255");
    let head = [7, 1, 0, 0, 0, 0, 0, 0, 0];
    refuses(&[&head[..], &[b'x'; 60]].concat(), 9, "f1 does not end within 40 bytes");
    refuses(&[&head[..], b"ok\0", &[41, 0]].concat(), 12, "f2 claims 41 bytes, and has at most 40");
    refuses(&[&head[..], b"ok\0", &[0, 0], &[128]].concat(), 14, "f3 claims 128 frames, and has at most 127");
    let comm = [&[2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0][..], &[b'x'; 17]].concat();
    refuses(&comm, 15, "f3 does not end within 16 bytes");
    let wide = [schema(1, &[(U32, Role::Cpu)])];
    let (_, error) = decode(&wide, &[1, 0, 0, 1, 0], &[9]);
    assert!(matches!(error, Some(Error::Stream { offset: 1, .. })), "{error:?}");
}

#[test]
fn a_string_may_fill_its_limit() {
    let one = [schema(1, &[(FieldType::String { limit: 3 }, Role::Capture), (COMM, Role::Capture)])];
    let (seen, error) = decode(&one, b"\x01abc\0sixteen bytes ok\0\x01\0\0", &[1]);
    assert_eq!(error, None);
    let text = |text: &[u8]| Datum::Text(text.to_vec());
    assert_eq!(seen[0].values, [text(b"abc"), text(b"sixteen bytes ok")]);
    assert_eq!(seen[1].values, [text(b""), text(b"")]);
}

#[test]
fn without_a_time_events_keep_their_order() {
    let untimed = [schema(1, &[(U8, Role::Capture)]), schema(2, &[])];
    let (seen, _) = decode(&untimed, &[1, 5, 2, 1, 6], &[2]);
    assert_eq!(seen.iter().map(|event| event.time).collect::<Vec<_>>(), [0, 1, 2]);
    let mixed = [schema(1, &[(U16, Role::Time)]), schema(2, &[])];
    let (seen, _) = decode(&mixed, &[1, 100, 0, 2, 1, 90, 0, 2], &[3]);
    assert_eq!(seen.iter().map(|event| event.time).collect::<Vec<_>>(), [100, 100, 90, 100]);
}

#[test]
fn a_schema_that_can_not_be_is_refused() {
    let make = |schema: EventSchema| {
        let packed = layouts(&[schema], Encoding::Packed);
        PackedSource::new(io::empty(), packed, Arc::default()).err().map(|error| error.to_string())
    };
    let c = Role::Capture;
    assert!(make(schema(1, &[(U8, c); 17])).unwrap().contains("at most 16"));
    assert!(make(schema(1, &[(U64, Role::Time); 2])).unwrap().contains("one time"));
    assert!(make(schema(1, &[(TEXT, Role::Cpu)])).unwrap().contains("is an integer"));
    assert_eq!(make(schema(255, &[(U64, Role::Time), (U16, Role::Cpu), (TEXT, c)])), None);
    let aligned = layouts(&[schema(1, &[])], Encoding::Aligned);
    assert!(PackedSource::new(io::empty(), aligned, Arc::default()).is_err());
}

/// A pipe with nothing in it, one that is interrupted, and one that breaks.
struct Moods(Vec<io::Result<&'static [u8]>>);

impl Read for Moods {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.remove(0)?;
        room[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

#[test]
fn readers_pause_are_interrupted_and_break() {
    let moods = Moods(vec![
        Err(io::ErrorKind::WouldBlock.into()),
        Ok(&[1, 5, 1]),
        Err(io::ErrorKind::Interrupted.into()),
        Ok(&[6]),
        Err(io::Error::other("the pipe broke")),
    ]);
    let packed = layouts(&[schema(1, &[(U8, Role::Capture)])], Encoding::Packed);
    let mut source = PackedSource::new(moods, packed, Arc::default()).unwrap();
    let mut run = Run::default();
    let progress = source.read(&mut run).unwrap();
    assert!(progress.drained && !progress.ended && run.entries().is_empty());
    for expected in [1, 2] {
        assert!(!source.read(&mut run).unwrap().ended);
        assert_eq!(run.entries().len(), expected);
    }
    let error = source.read(&mut run).unwrap_err();
    assert_eq!(error.to_string(), "at byte 4: the stream can't be read: the pipe broke");
}

#[test]
fn a_run_that_is_full_loses_nothing() {
    // 18 bytes become 4 KiB, so one piece of the stream is more than a run takes.
    let wide = [schema(1, &[(FieldType::FixedString { size: 255 }, Role::Capture); 16])];
    let mut data = Vec::new();
    let count = 30_000;
    for _ in 0..count {
        encode(1, &wide[0], &vec![Datum::Text(vec![]); 16], &mut data);
    }
    let packed = layouts(&wide, Encoding::Packed);
    let mut source = PackedSource::new(data.as_slice(), packed, Arc::new(StackTable::default())).unwrap();
    let (mut run, mut seen, mut most) = (Run::default(), 0, 0);
    loop {
        let progress = source.read(&mut run).unwrap();
        seen += run.entries().len();
        most = most.max(run.entries().len());
        run.clear();
        if progress.ended {
            break;
        }
    }
    assert_eq!(seen, count);
    assert!(most * 4096 <= Run::ENOUGH + (1 << 20), "{most} in one run");
}

/// More stacks than are remembered, all alike but for a frame that the first guess at their place doesn't look at.
#[test]
fn stacks_that_look_alike_are_told_apart() {
    let int = |size| FieldType::Int { size, signed: false };
    let stack = FieldType::Stack { space: StackSpace::Kernel };
    let schemas = [schema(
        9,
        &[(int(8), Role::Time), (int(1), Role::Capture), (int(4), Role::Key), (int(2), Role::Cpu), (stack, Role::Key)],
    )];
    let (mut data, mut expected) = (Vec::new(), Vec::new());
    for index in 0..20_000_u64 {
        let frames = (0..8).map(|frame| if frame == 1 { index % 6_000 } else { frame }).collect();
        let values = vec![
            Datum::Unsigned(index),
            Datum::Unsigned(index & 0xff),
            Datum::Unsigned(u64::from(u32::MAX) - index),
            Datum::Unsigned(index % 64),
            Datum::Stack(frames),
        ];
        encode(9, &schemas[0], &values, &mut data);
        expected.push(Seen { id: 9, time: index, cpu: (index % 64) as u16, values });
    }
    let (seen, error) = decode(&schemas, &data, &[100_000]);
    assert_eq!(error, None);
    assert!(seen == expected);
}

/// The same addresses mean something else in each process, so the stack is another one.
#[test]
fn a_user_stack_has_its_process_in_front() {
    let user = FieldType::Stack { space: StackSpace::User };
    let schemas = [schema(3, &[(user, Role::Capture)])];
    let record = |words: &[u64]| {
        let mut record = vec![3, words.len() as u8];
        record.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        record
    };
    let data = [record(&[42, 7, 8]), record(&[43, 7, 8]), record(&[42]), record(&[])].concat();
    let stacks = Arc::new(StackTable::default());
    let packed = layouts(&schemas, Encoding::Packed);
    let mut source = PackedSource::recorded(data, packed, Arc::clone(&stacks)).unwrap();
    let mut run = Run::default();
    source.read(&mut run).unwrap();
    assert_eq!((run.entries().len(), stacks.len()), (4, 2));
    for process in [42, 43] {
        let frames = stacks.get(hash_frames(process, [7, 8].into_iter())).unwrap();
        assert_eq!((frames.pid, &*frames.addresses), (process, &[7, 8][..]));
    }
}
