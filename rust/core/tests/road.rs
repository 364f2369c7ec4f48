//! The road of an event, from bytes to tables and batches.
#![expect(clippy::unwrap_used, reason = "a test")]

mod road_support;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use road_support::{Script, definition, layout, record, usual};
use spile_core::aggregate::{Accumulated, Part};
use spile_core::drain::Drain;
use spile_core::event::{Event, Layouts, Record, Value};
use spile_core::layout::{FieldType, STACK_DEFINITION};
use spile_core::merge::Merge;
use spile_core::pump::{Outlets, Pump};
use spile_core::queue::Popped;
use spile_core::spec::{SessionSpec, StackSpace};
use spile_core::stack::{StackTable, hash_frames};
use spile_core::{Error, loss};

fn spec(queue: u64, deliver: bool) -> SessionSpec {
    spec_on_full(queue, deliver, "drop")
}

fn spec_on_full(queue: u64, deliver: bool, on_full: &str) -> SessionSpec {
    let json = serde_json::json!({
        "version": 1,
        "target": {"pid": null, "follow": true, "cgroup": null, "exclude_self": true},
        "limits": {"buffer": 4096, "queue": queue, "stack_depth": 127, "stack_cache": 64, "on_full": on_full},
        "probes": [{
            "name": "p", "declared_at": null,
            "targets": [{"kind": "raw_tracepoint", "name": "sched_switch"}],
            "capture": {"kind": "fields", "fields": [{"name": "f0", "expr": {"op": "context", "name": "utime"}}]},
            "where": null,
            "aggregates": [
                {"function": {"kind": "count"}, "by": [{"op": "stack", "space": "kernel", "depth": null}]},
                {"function": {"kind": "count"}, "by": [{"op": "context", "name": "comm"}, {"op": "context", "name": "utime"}]},
            ],
            "deliver": deliver,
        }],
    });
    SessionSpec::from_json(&json.to_string()).unwrap()
}

fn times_of(merge: &mut Merge, flush: bool) -> Vec<u64> {
    let mut times = Vec::new();
    merge
        .turn(
            &mut |event: &Event<'_>| {
                times.push(event.time());
                true
            },
            flush,
        )
        .unwrap();
    times
}

#[test]
fn fields_are_read_where_the_layout_says() {
    let layouts = usual();
    let bytes = record(99, 0b10, u64::MAX, "ld", 7);
    let Record::Event(event) = Record::parse(&layouts, 3, &bytes).unwrap() else { panic!("an event") };
    assert_eq!((event.time(), event.id(), event.cpu), (99, 1, 3));
    assert_eq!(event.value(0), Value::Unsigned(u64::MAX));
    assert_eq!(event.value(1), Value::Null);
    assert_eq!(event.value(2), Value::Stack { hash: 7, space: StackSpace::Kernel });
    assert_eq!(event.value(3), Value::Null);
    let bytes = record(99, 0, 1, "cc1", 0);
    let Record::Event(event) = Record::parse(&layouts, 0, &bytes).unwrap() else { panic!("an event") };
    assert_eq!((event.value(1), event.value(2)), (Value::String { bytes: b"cc1", cut: false }, Value::Null));
}

#[test]
fn strings_of_any_length_are_in_the_tail() {
    let string = layout(5, 0, &[FieldType::String { limit: 64 }, FieldType::Int { size: 2, signed: true }], &[]);
    let layouts = Layouts::new(vec![string]).unwrap();
    // time, id, nulls, then the slot at 12 (offset 24, 5 bytes, cut), then the integer at 16.
    let mut bytes = 1_u64.to_le_bytes().to_vec();
    bytes.extend([5, 0, 0, 0]);
    bytes.extend((24_u32 | 5 << 16 | 1 << 31).to_le_bytes());
    bytes.extend((-2_i16).to_le_bytes());
    bytes.extend([0; 6]);
    bytes.extend(b"/etc/");
    let Record::Event(event) = Record::parse(&layouts, 0, &bytes).unwrap() else { panic!("an event") };
    assert_eq!(event.value(0), Value::String { bytes: b"/etc/", cut: true });
    assert_eq!(event.value(1), Value::Signed(-2));
    bytes.pop();
    assert!(matches!(Record::parse(&layouts, 0, &bytes), Err(Error::Stream { offset: 12, .. })));
}

#[test]
fn what_can_t_be_a_record_is_an_error_that_says_why() {
    let layouts = usual();
    let told = |bytes: &[u8]| Record::parse(&layouts, 0, bytes).map(drop).unwrap_err().to_string();
    assert!(told(b"short").contains("too short for a header"));
    assert!(told(&record(1, 0, 0, "", 0)[..40]).contains("at least 48"));
    let mut unknown = record(1, 0, 0, "", 0);
    unknown[8] = 9;
    assert_eq!(told(&unknown), "at byte 8: an event with the unknown id 9");
    let mut cut = definition(1, 0, &[1, 2, 3]);
    cut.truncate(30);
    assert!(told(&cut).contains("shorter than it says"));
}

#[test]
fn events_come_in_the_order_of_time_once_every_cpu_has_passed() {
    let (one, two) = (Script::new(0), Script::new(1));
    one.step(vec![record(10, 0, 0, "", 0), record(30, 0, 0, "", 0), record(25, 0, 0, "", 0)], 31);
    two.step(vec![record(20, 0, 0, "", 0)], 21);
    one.step(vec![record(40, 0, 0, "", 0)], 41);
    two.step(vec![record(50, 0, 0, "", 0)], 51);
    let mut merge = Merge::new(vec![one.boxed(), two.boxed()], usual(), Arc::default());
    assert_eq!(times_of(&mut merge, false), [10, 20]);
    assert_eq!(times_of(&mut merge, false), [25, 30, 40]);
    assert_eq!(merge.watermark(), 41);
    assert_eq!(times_of(&mut merge, false), [50]);
    assert_eq!(merge.late(), [0, 0]);
}

#[test]
fn an_event_from_before_the_watermark_is_delivered_and_counted() {
    let source = Script::new(0);
    source.step(vec![record(10, 0, 0, "", 0)], 100);
    source.step(vec![record(90, 0, 0, "", 0), record(110, 0, 0, "", 0)], 200);
    let mut merge = Merge::new(vec![source.boxed()], usual(), Arc::default());
    assert_eq!(times_of(&mut merge, false), [10]);
    assert_eq!(times_of(&mut merge, false), [90, 110]);
    assert_eq!(merge.late(), [0, 1]);
}

#[test]
fn flushing_delivers_what_waits() {
    let source = Script::new(0);
    source.step(vec![record(10, 0, 0, "", 0), record(20, 0, 0, "", 0)], 5);
    let mut merge = Merge::new(vec![source.boxed()], usual(), Arc::default());
    assert_eq!(times_of(&mut merge, true), [10, 20]);
}

#[test]
fn an_error_names_the_byte_and_what_came_before_it_is_delivered() {
    let source = Script::new(0);
    source.step(vec![record(10, 0, 0, "", 0), b"garbage".to_vec()], 50);
    let mut merge = Merge::new(vec![source.boxed()], usual(), Arc::default());
    let mut times = Vec::new();
    let mut sink = |event: &Event<'_>| {
        times.push(event.time());
        true
    };
    let error = merge.turn(&mut sink, false).unwrap_err();
    assert!(matches!(error, Error::Stream { offset: 48, .. }), "{error}");
    assert!(merge.turn(&mut sink, true).unwrap().ended);
    assert_eq!(times, [10]);
}

#[test]
fn tables_count_by_what_their_columns_hold() {
    let spec = spec(1 << 20, false);
    let outlets = Arc::new(Outlets::new(&spec, usual()));
    let source = Script::new(0);
    let frames = [0xffff_8000_0000_0010, 0xffff_8000_0000_0020];
    let hash = hash_frames(0, frames.into_iter());
    source.step(
        vec![
            definition(hash, 0, &frames),
            record(1, 0, 5, "cc1", hash),
            record(2, 0, 5, "cc1", hash),
            record(3, 0, 6, "ld", 9),
            record(4, 0b100, 6, "ld", 0),
        ],
        u64::MAX,
    );
    let mut pump = Pump::new(&spec, vec![source.boxed()], Arc::clone(&outlets));
    pump.turn(false).unwrap();
    let [by_stack, by_pair] = &outlets.tables[0][..] else { panic!("two tables") };
    assert_eq!(by_stack.top(1), [(vec![Part::KernelStack(hash)], Accumulated::Count(2))]);
    assert_eq!((by_stack.total(), by_stack.faulted(), by_stack.len()), (3, 1, 2));
    assert_eq!(outlets.stacks.get(hash).unwrap().addresses.to_vec(), frames);
    assert!(outlets.stacks.get(9).is_none(), "its definition is pending");
    let pair = |comm: &str, value| vec![Part::Text(comm.as_bytes().into()), Part::Unsigned(value)];
    let both = [(pair("cc1", 5), Accumulated::Count(2)), (pair("ld", 6), Accumulated::Count(2))];
    assert_eq!(by_pair.top(9), both);
    assert_eq!((by_pair.get(&pair("ld", 6)), by_pair.get(&pair("as", 6))), (Some(Accumulated::Count(2)), None));
    let mut taken = by_pair.take();
    taken.sort();
    assert_eq!(taken, both);
    assert_eq!((by_pair.total(), by_pair.len()), (4, 0));
    assert!(outlets.queue.is_ended() || matches!(outlets.queue.pop(Some(Duration::ZERO), 0), Popped::Nothing));
}

#[test]
fn a_queue_without_room_drops_and_counts() {
    let spec = spec(64 << 10, true);
    let outlets = Arc::new(Outlets::new(&spec, usual()));
    let source = Script::new(0);
    const EVENTS: u64 = 40_000;
    for start in (0..EVENTS).step_by(1000) {
        source.step((start..start + 1000).map(|time| record(time, 0, time, "x", 0)).collect(), start + 1000);
    }
    let drain = Drain::spawn(Pump::new(&spec, vec![source.boxed()], Arc::clone(&outlets))).unwrap();
    drain.wait_for(u64::MAX);
    drain.finish();
    let mut delivered = 0;
    let mut last = None;
    while let Popped::Batch(batch) = outlets.queue.pop(None, 0) {
        for event in batch.events() {
            assert!(last < Some(event.time()));
            last = Some(event.time());
            delivered += 1;
        }
    }
    let dropped = outlets.queue.dropped()[1];
    assert!(dropped > 0 && delivered > 0, "{dropped} dropped, {delivered} delivered");
    let mut rows = [loss::Row { hits: EVENTS, delivered: EVENTS, ..loss::Row::default() }];
    loss::account(&mut rows, &outlets.layouts, &outlets.queue.dropped(), &[], &drain.late());
    assert_eq!((rows[0].delivered, rows[0].balance()), (delivered, 0));
}

/// Plays so many events, a thousand each time that the source is read.
fn plenty(events: u64) -> Script {
    let source = Script::new(0);
    for start in (0..events).step_by(1000) {
        source.step((start..start + 1000).map(|time| record(time, 0, time, "x", 0)).collect(), start + 1000);
    }
    source
}

#[test]
fn a_full_queue_that_blocks_stops_reading_and_loses_nothing() {
    const LIMIT: usize = 64 << 10;
    const EVENTS: u64 = 40_000;
    let spec = spec_on_full(LIMIT as u64, true, "block");
    let outlets = Arc::new(Outlets::new(&spec, usual()));
    let source = plenty(EVENTS);
    let drain = Drain::spawn(Pump::new(&spec, vec![source.boxed()], Arc::clone(&outlets))).unwrap();
    // Whoever would make room mustn't wait for ever for what needs room.
    drain.wait_for(u64::MAX);
    let (mut delivered, mut most) = (0, 0);
    loop {
        most = most.max(outlets.queue.fill().0);
        match outlets.queue.pop(None, 0) {
            Popped::Batch(batch) => {
                for event in batch.events() {
                    assert_eq!(event.time(), delivered);
                    delivered += 1;
                }
            }
            Popped::Nothing => {}
            Popped::Ended => break,
        }
    }
    assert_eq!((delivered, outlets.queue.dropped().len()), (EVENTS, 0));
    // What one turn reads: a thousand events of 48 bytes and their places.
    assert!(most <= LIMIT + 1000 * (48 + 12), "{most} bytes were queued");
}

#[test]
fn what_a_blocked_session_has_not_read_when_it_is_stopped_is_counted() {
    const EVENTS: u64 = 40_000;
    let spec = spec_on_full(64 << 10, true, "block");
    let outlets = Arc::new(Outlets::new(&spec, usual()));
    let drain = Drain::spawn(Pump::new(&spec, vec![plenty(EVENTS).boxed()], Arc::clone(&outlets))).unwrap();
    drain.wait_for(u64::MAX);
    drain.finish();
    let mut delivered = 0;
    while let Popped::Batch(batch) = outlets.queue.pop(None, 0) {
        delivered += batch.len() as u64;
    }
    assert!(delivered > 0 && delivered < EVENTS);
    assert_eq!(delivered + outlets.queue.dropped()[1], EVENTS);
}

#[test]
fn a_sample_keeps_every_nth_event_while_the_queue_fills_and_counts_the_others() {
    const EVENTS: u64 = 40_000;
    let spec = spec_on_full(1 << 20, true, "sample");
    let outlets = Arc::new(Outlets::new(&spec, usual()));
    let drain = Drain::spawn(Pump::new(&spec, vec![plenty(EVENTS).boxed()], Arc::clone(&outlets))).unwrap();
    drain.wait_for(u64::MAX);
    drain.finish();
    let mut times = Vec::new();
    while let Popped::Batch(batch) = outlets.queue.pop(None, 0) {
        times.extend(batch.events().map(|event| event.time()));
    }
    let (dropped, left_out) = (outlets.queue.dropped(), outlets.queue.sampled_out());
    let mut rows = [loss::Row { hits: EVENTS, delivered: EVENTS, ..loss::Row::default() }];
    loss::account(&mut rows, &outlets.layouts, &dropped, &left_out, &drain.late());
    assert_eq!((rows[0].delivered, rows[0].balance()), (times.len() as u64, 0));
    assert!(rows[0].sampled_out > 0 && rows[0].dropped == 0, "{:?}", rows[0]);
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| gap.is_power_of_two()), "each time one of 1, 2, 4, …");
    assert_eq!((gaps[0], gaps[gaps.len() - 1] > 1), (1, true));
}

#[test]
fn a_wake_ends_a_wait_and_a_close_ends_them_all() {
    let spec = spec(64 << 10, true);
    let outlets = Arc::new(Outlets::new(&spec, usual()));
    let waiting = Arc::clone(&outlets);
    let waiter = std::thread::spawn(move || matches!(waiting.queue.pop(None, 0), Popped::Nothing));
    outlets.queue.wake();
    assert!(waiter.join().unwrap());
    outlets.queue.close();
    assert!(matches!(outlets.queue.pop(None, outlets.queue.wakes()), Popped::Ended));
}

/// Any types, in any order, with bytes of any kind behind them.
fn types() -> impl Strategy<Value = Vec<FieldType>> {
    let ty = prop_oneof![
        (prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)], any::<bool>())
            .prop_map(|(size, signed)| FieldType::Int { size, signed }),
        (1_u8..=255).prop_map(|size| FieldType::FixedString { size }),
        (1_u32..500).prop_map(|limit| FieldType::String { limit }),
        (1_u32..500).prop_map(|limit| FieldType::Bytes { limit }),
        Just(FieldType::Stack { space: StackSpace::User }),
        Just(FieldType::Name),
    ];
    proptest::collection::vec(ty, 0..16)
}

proptest! {
    #[test]
    fn arbitrary_bytes_give_an_event_or_an_error_and_never_a_panic(
        types in types(),
        id in prop_oneof![Just(1_u16), Just(STACK_DEFINITION), any::<u16>()],
        mut bytes in proptest::collection::vec(any::<u8>(), 0..1500),
    ) {
        let layouts = Layouts::new(vec![layout(1, 0, &types, &[])]).unwrap();
        if let Some(place) = bytes.get_mut(8..10) {
            place.copy_from_slice(&id.to_le_bytes());
        }
        match Record::parse(&layouts, 0, &bytes) {
            Ok(Record::Event(event)) => {
                for index in 0..=types.len() {
                    if let Value::String { bytes: text, .. } = event.value(index) {
                        prop_assert!(text.len() <= bytes.len());
                    }
                }
            }
            Ok(Record::Stack(stack)) => StackTable::default().define(stack.hash, stack.pid, stack.frames()),
            Err(error) => prop_assert!(matches!(error, Error::Stream { .. }), "{error}"),
        }
    }
}
