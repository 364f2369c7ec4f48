//! Framed streams: what a script writes comes out, with what it says of itself, and what is damaged is passed over and
//! counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod framed_support;
mod packed_support;

use std::sync::Arc;

use framed_support::{control, counting, decode, event, frame, ledger, read};
use packed_support::{Datum, Seen, schema};
use spile_core::layout::{EventSchema, FieldType, Role};
use spile_core::loss::Row;
use spile_core::source::framed::{Account, Bulk, FramedSource, MAGIC, Numbers};
use spile_core::spec::StackSpace;
use spile_core::stack::StackTable;

const U16: FieldType = FieldType::Int { size: 2, signed: false };
const U64: FieldType = FieldType::Int { size: 8, signed: false };
const I64: FieldType = FieldType::Int { size: 8, signed: true };
const COMM: FieldType = FieldType::FixedString { size: 16 };
const KSTACK: FieldType = FieldType::Stack { space: StackSpace::Kernel };

/// A read: time, cpu, tid, stack, counted by tid and stack. And an open: time, cpu, comm.
fn usual() -> Vec<EventSchema> {
    let c = Role::Capture;
    let read = schema(1, &[(U64, Role::Time), (U16, Role::Cpu), (I64, c), (KSTACK, c)]);
    let open = schema(2, &[(U64, Role::Time), (U16, Role::Cpu), (COMM, c)]);
    vec![EventSchema { keys: vec![vec![2, 3], vec![]], ..read }, EventSchema { probe: 1, ..open }]
}

fn a_read(time: u64, tid: i64) -> Vec<u8> {
    let values = [Datum::Unsigned(time), Datum::Unsigned(3), Datum::Signed(tid), Datum::Stack(vec![u64::MAX, 16])];
    event(&usual()[0], &values, 0xEE)
}

fn an_open(time: u64, comm: &[u8]) -> Vec<u8> {
    event(&usual()[1], &[Datum::Unsigned(time), Datum::Unsigned(0), Datum::Text(comm.to_vec())], 0xEE)
}

fn times(seen: &[Seen]) -> Vec<u64> {
    seen.iter().map(|event| event.time).collect()
}

#[test]
fn records_come_out_in_pieces_of_any_size() {
    let data = [a_read(1, -7), control(&[1], &[]), an_open(2, b"cat"), an_open(3, b"")].concat();
    for size in 1..=data.len() {
        let (seen, account) = decode(&usual(), &data, &[size]);
        let text = |text: &[u8]| Datum::Text(text.to_vec());
        assert_eq!(
            seen[0].values,
            [Datum::Unsigned(1), Datum::Unsigned(3), Datum::Signed(-7), Datum::Stack(vec![u64::MAX, 16])]
        );
        assert_eq!(
            (seen[0].id, seen[0].cpu, &seen[1].values[2], &seen[2].values[2]),
            (1, 3, &text(b"cat"), &text(b""))
        );
        let bytes = account.numbers().bytes;
        assert_eq!(account.numbers(), Numbers { bytes, frames: 4, ..Numbers::default() }, "pieces of {size}");
        assert!(data.len() as u64 - bytes < 16 && account.is_ready() && !account.has_ended());
    }
}

/// What is damaged, with a good frame on each side: nothing of it comes out, and both good ones do.
#[track_caller]
fn passes_over(damage: &[u8], gaps: u64) -> Numbers {
    for size in [1, 7, 1 << 20] {
        let data = [&a_read(1, 1), damage, &a_read(9, 9)].concat();
        let (seen, account) = decode(&usual(), &data, &[size]);
        assert_eq!((times(&seen), account.numbers().gaps), (vec![1, 9], gaps), "pieces of {size}");
    }
    decode(&usual(), &[&a_read(1, 1), damage, &a_read(9, 9)].concat(), &[99]).1.numbers()
}

#[test]
fn what_is_no_frame_is_passed_over_and_counted() {
    assert_eq!(passes_over(&[], 0).skipped, 0);
    for stray in [&b"x"[..], b"S", b"SP", b"SPSPSPSPS", b"n=20000", &[0; 5000], &b"SP\xff\xff\x01".repeat(9)] {
        assert_eq!(passes_over(stray, 1).skipped, stray.len() as u64);
    }
    let good = a_read(5, 5);
    for cut in 1..good.len() - 15 {
        passes_over(&good[..cut], 1);
        passes_over(&good[cut..], 1);
    }
    for place in [0, 1, 2, 3, 4, 5, 13, 15, 23, 24, 32, 40, 43] {
        let mut damaged = good.clone();
        damaged[place] ^= 1;
        let numbers = passes_over(&damaged, 1);
        let is_begun = place >= MAGIC.len();
        assert!((numbers.corrupt > 0) == is_begun && numbers.skipped == good.len() as u64, "{place}: {numbers:?}");
    }
}

#[test]
fn a_frame_that_goes_on_without_its_padding_loses_nothing() {
    let unpadded = frame(b"\0\x01", 1, 0)[..10].to_vec();
    let (seen, account) = decode(&usual(), &[&unpadded[..], &a_read(1, 1), &a_read(2, 2)].concat(), &[9]);
    assert_eq!((times(&seen), account.numbers().gaps, account.numbers().skipped), (vec![1, 2], 1, 0));
}

#[test]
fn a_frame_within_garbage_is_found() {
    let torn = an_open(1, b"a long command");
    let data = [&torn[..20], &a_read(2, 2), &[7; 3], &a_read(3, 3), &torn[..20]].concat();
    let (seen, account) = decode(&usual(), &data, &[11]);
    assert_eq!((times(&seen), account.numbers().gaps), (vec![2, 3], 3));
}

#[test]
fn what_can_not_be_is_no_frame_though_its_check_holds() {
    let cpu = |cpu: u32| {
        let wide = [schema(1, &[(U64, Role::Time), (FieldType::Int { size: 4, signed: false }, Role::Cpu)])];
        let data = event(&wide[0], &[Datum::Unsigned(1), Datum::Unsigned(cpu.into())], 0);
        decode(&wide, &data, &[99])
    };
    assert_eq!(times(&cpu(65_535).0), [1]);
    let (seen, account) = cpu(65_536);
    assert!(seen.is_empty() && account.numbers().corrupt == 1);
    for payload in [&[0, 6][..], &[0, 1, 1], &[0, 2, 1], &[3], &[0, 3, 0, 2], &[0, 3, 9, 0]] {
        let sum = payload.iter().map(|&byte| u64::from(byte)).sum();
        assert_eq!(passes_over(&frame(payload, sum, 0), 1).frames, 2, "{payload:?}");
    }
}

fn rows(account: &Account) -> Vec<Row> {
    account.rows(&counting(&usual()).layouts().unwrap())
}

#[test]
fn what_is_missing_is_in_the_ledger_and_it_balances() {
    let data = [
        a_read(1, 1),
        ledger(1, [10, 5, 3, 1, 1]),
        a_read(2, 2),
        ledger(1, [20, 10, 6, 2, 2]),
        an_open(3, b"x"),
        control(&[5], &[]),
    ];
    let (_, account) = decode(&usual(), &data.concat(), &[50]);
    let rows = rows(&account);
    assert!(account.has_ended() && rows.iter().all(|row| row.balance() == 0));
    let known = Row { hits: 20, filtered: 10, delivered: 2, faulted: 2, re_entered: 2, ..Row::default() };
    assert_eq!(rows[0], Row { transport_lost: 4, ..known });
    // Of the other event the script has said nothing.
    assert_eq!(rows[1], Row { probe: 1, hits: 1, delivered: 1, ..Row::default() });
}

/// With `-t` SystemTap prints a report there.
#[test]
fn what_comes_behind_the_scripts_end_is_no_gap() {
    let report = b"----- probe hit report: \nkernel.function(\"vfs_read\"), hits: 3\n";
    for size in [1, 7, 1000] {
        let data = [&a_read(1, 1), &control(&[5], &[])[..], report, &a_read(2, 2)].concat();
        let (seen, account) = decode(&usual(), &data, &[size]);
        assert_eq!((times(&seen), account.numbers().gaps, account.numbers().skipped), (vec![1], 0, 0));
        assert!(account.has_ended());
    }
}

/// The ends of a span are events; its starts are none, and have a row all the same.
#[test]
fn a_spans_numbers_are_in_the_ledger_and_are_no_gaps() {
    let data = [
        control(&[7, 0, 0], &[4, 0, 0, 0, 0, 2, 1]),
        control(&[7, 0, 1], &[0, 7, 0, 3, 2, 5, 1]),
        a_read(1, 1),
        a_read(2, 2),
        ledger(1, [3, 1, 2, 0, 0]),
        control(&[7, 0, 0], &[5, 0, 0, 0, 0, 2, 1]),
    ];
    let (_, account) = decode(&usual(), &data.concat(), &[50]);
    let rows = rows(&account);
    let end = Row { hits: 11, filtered: 3, delivered: 2, unmatched: 5, faulted: 1, matched: 3, ..Row::default() };
    let start = Row { target: 1, hits: 16, filtered: 5, faulted: 1, opened: 7, open_full: 3, ..Row::default() };
    assert_eq!(rows[0], end);
    assert_eq!(rows[2], Row { overwritten: 2, left_open: 2, ..start });
    assert!(rows.iter().all(|row| row.balance() == 0));
    assert_eq!((account.numbers().gaps, account.numbers().corrupt, account.numbers().frames), (0, 0, 6));
}

/// A row of the reads' first table: by tid and stack.
fn a_row(tid: i64, count: u64) -> Vec<u8> {
    let mut payload = vec![0, 3, 0, 0];
    payload.extend(tid.to_le_bytes());
    payload.extend([1, 8, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend(count.to_le_bytes());
    frame(&payload, (3 + 1 + 8_u64).wrapping_add(tid.cast_unsigned()).wrapping_add(count), 1)
}

#[test]
fn a_tables_rows_are_records_that_stand_for_many_hits() {
    let cell = |count| control(&[3, 0, 1], &[count]);
    let data = [
        a_row(-5, 700),
        cell(1000),
        a_row(6, 300)[..20].to_vec(),
        control(&[4, 0, 0], &[2, 1000]),
        control(&[4, 0, 1], &[1, 1000]),
        ledger(1, [1010, 10, 0, 0, 0]),
    ];
    let (seen, account) = decode(&usual(), &data.concat(), &[50]);
    let values = |index: usize| &seen[index].values[..];
    assert_eq!((seen[0].id, values(0)), (3, &[Datum::Signed(-5), Datum::Stack(vec![8]), Datum::Unsigned(700)][..]));
    assert_eq!((seen[1].id, values(1), seen.len()), (4, &[Datum::Unsigned(1000)][..], 2));
    let rows = rows(&account);
    assert_eq!((rows[0].delivered, rows[0].transport_lost, rows[0].balance()), (700, 300, 0));
    assert_eq!(account.numbers().rows_missing, 1);
}

#[test]
fn what_a_script_held_when_its_stream_was_cut_is_lost() {
    let dump = [a_row(-5, 700), control(&[4, 0, 0], &[1, 700])].concat();
    for (data, lost) in [(dump, 300), (vec![], 1000)] {
        let data = [data, ledger(1, [1010, 10, 0, 0, 0])].concat();
        let (_, account) = decode(&usual(), &data, &[50]);
        let of = |row: &Row| (row.delivered, row.transport_lost, row.balance());
        assert_eq!(of(&rows(&account)[0]), (1000, 0, 0), "while it runs its tables hold them");
        account.close();
        assert_eq!(of(&rows(&account)[0]), (1000 - lost, lost, 0));
    }
    let ended = [ledger(1, [1010, 10, 0, 0, 0]), control(&[5], &[])].concat();
    let (_, account) = decode(&usual(), &ended, &[50]);
    account.close();
    assert_eq!(rows(&account)[0].transport_lost, 0);
}

#[test]
fn it_is_known_how_often_a_script_told_all_its_numbers() {
    let told = [ledger(1, [1, 1, 0, 0, 0]), ledger(2, [1, 1, 0, 0, 0])].concat();
    for (times, more) in [(0, vec![]), (1, told.clone()), (2, [&told[..], &told].concat())] {
        assert_eq!(decode(&usual(), &more, &[50]).1.tellings(), times);
    }
    assert_eq!(decode(&usual(), &[&told[..], &ledger(1, [2, 2, 0, 0, 0])].concat(), &[50]).1.tellings(), 1);
}

fn print(number: u32, bytes: &[u8]) -> Vec<u8> {
    [&number.to_le_bytes()[..], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

fn bulk(data: &[u8], size: usize) -> (Vec<u64>, Numbers) {
    let (account, stacks) = (Arc::<Account>::default(), Arc::<StackTable>::default());
    let pieces = packed_support::Pieces { data: data.to_vec(), at: 0, sizes: vec![size], turn: 0 };
    let prints = Bulk::new(pieces, Arc::clone(&account));
    let source = FramedSource::new(prints, &counting(&usual()), Arc::clone(&stacks), Arc::clone(&account)).unwrap();
    (times(&read(&usual(), source, &stacks)), account.numbers())
}

#[test]
fn bulk_modes_heads_are_taken_off_and_its_numbers_looked_at() {
    let two = [a_read(1, 1), a_read(2, 2)].concat();
    let whole = [print(1, &two), print(3, &a_read(3, 3)), print(4, &a_read(4, 4)[..9])];
    let split = [print(2, &two[..40]), print(6, &two[40..]), print(7, &a_read(3, 3))];
    let stray = [print(1, &two), vec![1, 2, 3], print(2, &a_read(3, 3)), vec![0; 8], print(5, &a_read(4, 4))];
    for size in [1, 5, 1000] {
        let (seen, numbers) = bulk(&whole.concat(), size);
        assert_eq!((seen, numbers.missing, numbers.gaps), (vec![1, 2, 3], 1, 1), "pieces of {size}");
        let (seen, numbers) = bulk(&split.concat(), size);
        assert_eq!((seen, numbers.missing, numbers.gaps), (vec![1, 2, 3], 4, 0), "pieces of {size}");
        let (seen, numbers) = bulk(&stray.concat(), size);
        assert_eq!((seen, numbers.missing), (vec![1, 2, 3, 4], 2), "pieces of {size}");
        assert_eq!((numbers.gaps, numbers.skipped), (2, 11));
    }
}

#[test]
fn too_many_kinds_are_refused() {
    let schemas: Vec<_> = (1..=255).map(|id| EventSchema { keys: vec![vec![]], ..schema(id, &[]) }).collect();
    let make =
        |events: &[EventSchema]| FramedSource::new(&[][..], &counting(events), Arc::default(), Arc::default()).err();
    assert!(make(&schemas).unwrap().to_string().contains("event id 256 does not fit"));
    assert_eq!(make(&schemas[..254]), None);
}
