//! Decoding allocates nothing per event once warm: counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod framed_support;
mod packed_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use packed_support::{Datum, counting, encode, layouts, schema};
use spile_core::event::{Record, Value};
use spile_core::layout::{Encoding, EventSchema, FieldType, Role};
use spile_core::pump::{Outlets, Pump};
use spile_core::source::framed::FramedSource;
use spile_core::source::packed::PackedSource;
use spile_core::source::{Run, Source};
use spile_core::spec::StackSpace;
use spile_core::stack::StackTable;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; the count beside it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_stream_allocates_nothing_per_event() {
    let capture = Role::Capture;
    let schemas = [schema(
        3,
        &[
            (FieldType::Int { size: 8, signed: false }, Role::Time),
            (FieldType::Int { size: 4, signed: true }, capture),
            (FieldType::FixedString { size: 16 }, capture),
            (FieldType::String { limit: 64 }, capture),
            (FieldType::Bytes { limit: 64 }, capture),
            (FieldType::Stack { space: StackSpace::Kernel }, capture),
        ],
    )];
    let (mut data, mut events) = (Vec::new(), Vec::new());
    let count = 100_000;
    for index in 0..count {
        let values = [
            Datum::Unsigned(index),
            Datum::Signed(-1),
            Datum::Text(b"cc1".to_vec()),
            Datum::Text(b"/usr/include/stdio.h".to_vec()),
            Datum::Text(vec![0; (index % 30) as usize]),
            Datum::Stack((0..6).map(|frame| frame + index % 50).collect()),
        ];
        encode(3, &schemas[0], &values, &mut data);
        events.push(values);
    }
    let stacks = Arc::new(StackTable::default());
    let packed = layouts(&schemas, Encoding::Packed);
    let source = PackedSource::new(data.as_slice(), packed, Arc::clone(&stacks)).unwrap();
    assert_eq!(read_warm(&schemas, source), count);
    let framed: Vec<u8> = events.iter().flat_map(|values| framed_support::event(&schemas[0], values, 0)).collect();
    let source =
        FramedSource::new(framed.as_slice(), &framed_support::counting(&schemas), Arc::clone(&stacks), Arc::default())
            .unwrap();
    assert_eq!((read_warm(&schemas, source), stacks.len()), (count, 50));
}

/// Reads a source to its end; the number of events, each of which has six fields.
fn read_warm(schemas: &[EventSchema], mut source: impl Source) -> u64 {
    let aligned = layouts(schemas, Encoding::Aligned);
    let mut run = Run::default();
    let (mut warm, mut events, mut sum) = (None, 0u64, 0u64);
    loop {
        let progress = source.read(&mut run).unwrap();
        for &entry in run.entries() {
            let Record::Event(event) = Record::parse(&aligned, entry.cpu, run.record(entry)).unwrap() else { panic!() };
            for index in 0..6 {
                sum += match event.value(index) {
                    Value::Unsigned(value) => value,
                    Value::String { bytes, .. } => bytes.len() as u64,
                    _ => 0,
                };
            }
            events += 1;
        }
        run.clear();
        // The first piece is the largest a run ever holds, and shows every stack.
        let before = *warm.get_or_insert_with(|| ALLOCATIONS.get());
        assert_eq!(ALLOCATIONS.get(), before, "after {events} events");
        if progress.ended {
            assert!(sum > events);
            return events;
        }
    }
}

#[test]
fn counting_a_warm_stream_allocates_nothing_per_event() {
    count_warm(|schemas, events, stacks| {
        let mut data = Vec::new();
        events.iter().for_each(|values| encode(1, &schemas[0], values, &mut data));
        let packed = layouts(schemas, Encoding::Packed);
        Box::new(PackedSource::recorded(data, packed, stacks).unwrap())
    });
    count_warm(|schemas, events, stacks| {
        let data: Vec<u8> = events.iter().flat_map(|values| framed_support::event(&schemas[0], values, 0)).collect();
        Box::new(FramedSource::new(&*data.leak(), &framed_support::counting(schemas), stacks, Arc::default()).unwrap())
    });
}

/// From the stream to the tables: a turn, of thousands of events, may allocate a little, whatever the events.
fn count_warm(make: impl Fn(&[EventSchema], &[Vec<Datum>], Arc<StackTable>) -> Box<dyn Source>) {
    let int = |size| FieldType::Int { size, signed: false };
    let stack = FieldType::Stack { space: StackSpace::Kernel };
    let columns = [(int(8), Role::Time), (int(4), Role::Capture), (int(2), Role::Cpu), (stack, Role::Key)];
    let mut schemas = [schema(1, &columns)];
    schemas[0].keys = vec![vec![], vec![3], vec![1, 3], vec![3, 2, 1]];
    let (mut events, count) = (Vec::new(), 300_000_u64);
    for index in 0..count {
        let frames = (0..index % 30).map(|frame| frame + index % 50).collect();
        let values = [index, index % 7, index % 3].map(Datum::Unsigned);
        events.push([&values[..], &[Datum::Stack(frames)]].concat());
    }
    let spec = counting(&schemas);
    let outlets = Arc::new(Outlets::new(&spec, Arc::new(layouts(&schemas, Encoding::Aligned))));
    let source = make(&schemas, &events, Arc::clone(&outlets.stacks));
    let mut pump = Pump::new(&spec, vec![source], Arc::clone(&outlets));
    let table = &outlets.tables[0][3];
    // Every key has come by then: 7, 3 and 50 divide 1050.
    while table.total() + table.faulted() < 2_000 {
        pump.turn(false).unwrap();
    }
    let (before, mut turns) = (ALLOCATIONS.get(), 0);
    while !pump.turn(false).unwrap().ended {
        turns += 1;
    }
    let most = 4 * (turns + 1);
    assert!(ALLOCATIONS.get() - before <= most && most < count / 50, "{} in {turns} turns", ALLOCATIONS.get() - before);
    let totals: Vec<_> = outlets.tables[0].iter().map(|table| (table.total(), table.faulted())).collect();
    let whole = count - count / 30;
    assert_eq!(totals, [(count, 0), (whole, count / 30), (whole, count / 30), (whole, count / 30)]);
}
