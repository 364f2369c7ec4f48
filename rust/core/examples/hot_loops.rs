//! The loops that every event goes through, one at a time, for who counts their instructions: `hot_loops LOOP EVENTS`.
//!
//! In: a loop's name, and how many events. Out: the time that each took, which is nothing to go by under callgrind. What is
//! counted is what [`measured`] calls, without the making of its input. `benches/counts.py` runs each loop twice, with twice as
//! many events the second time, and takes the difference.
#![expect(clippy::unwrap_used, reason = "an example fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spile_core::Error;
use spile_core::aggregate::Table;
use spile_core::aggregate::bin::mix;
use spile_core::aggregate::row::RowLayout;
use spile_core::event::{Column, Layouts};
use spile_core::layout::{
    ALIGNED_ID, COMPACT_BASE, COMPACT_SHIFT, Encoding, EventLayout, EventSchema, FieldSchema, FieldType, Role,
};
use spile_core::pump::{Extras, Outlets, Pump};
use spile_core::queue::Popped;
use spile_core::recording::{self, Clock, Head, Machine, Recorder};
use spile_core::source::compact::Projection;
use spile_core::source::packed::PackedSource;
use spile_core::source::stretch::{Extent, Stretch};
use spile_core::source::{Progress, Run, Source};
use spile_core::spec::{AggregateFunction, SessionSpec, StackSpace};

const U32: FieldType = FieldType::Int { size: 4, signed: false };
const U64: FieldType = FieldType::Int { size: 8, signed: false };
const COMM: FieldType = FieldType::FixedString { size: 16 };
const STACK: FieldType = FieldType::Stack { space: StackSpace::Kernel };
/// Different processes, programs that they run, and stacks.
const PIDS: u64 = 64;
const COMMS: u64 = 24;
const STACKS: u64 = 300;
/// Events of a kind that a CPU has of one process before the next: a fifth of what a compile has.
const RUN: u64 = 20;
/// Events of a ring's turn.
const TURN: usize = 5_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let events = arguments[2].parse().unwrap();
    match arguments[1].as_str() {
        "count-by-stack" => drop(stream(events, &[1], false, true)),
        "count-by-pid-and-stack" => drop(stream(events, &[0, 1], false, true)),
        "decode" => drop(stream(events, &[], true, true)),
        "columns" => columns(events),
        "merge-rings" => rings::<16>(events, &[U32], 1, true),
        "count-rings" => rings::<16>(events, &[U32], 1, false),
        "count-rings-comm" => rings::<32>(events, &[U32, COMM], 1, false),
        "count-rings-comm-runs" => rings::<32>(events, &[U32, COMM], RUN, false),
        "record-rings" => record(events, false),
        "record-and-merge-rings" => record(events, true),
        "merge-rows" => rows(events),
        other => panic!("{other}: no such loop"),
    }
}

/// What is counted: `callgrind --toggle-collect='*measured*'`.
#[inline(never)]
fn measured(events: u64, what: impl FnOnce()) {
    let start = Instant::now();
    what();
    println!("{:.2} ns/event", start.elapsed().as_nanos() as f64 / events as f64);
}

fn layouts(fields: &[(FieldType, Role)], key: &[u32], encoding: Encoding) -> Arc<Layouts> {
    let field = |(index, &(ty, role))| FieldSchema { name: format!("f{index}"), ty, role, names: Default::default() };
    let schema = EventSchema {
        id: 1,
        probe: 0,
        target: 0,
        fields: fields.iter().enumerate().map(field).collect(),
        keys: vec![key.to_vec()],
        values: Vec::new(),
    };
    Arc::new(Layouts::new(vec![EventLayout::compute(schema, encoding).unwrap()]).unwrap())
}

/// One probe that counts by so many parts, or delivers.
fn spec(parts: usize, deliver: bool) -> SessionSpec {
    let by = vec![r#"{"op": "context", "name": "pid"}"#; parts].join(", ");
    SessionSpec::from_json(&format!(
        r#"{{"version": 1, "target": {{"pid": null, "follow": true, "cgroup": null, "exclude_self": true}},
        "limits": {{"buffer": 4194304, "queue": 4294967296, "stack_depth": 127, "stack_cache": 64}},
        "probes": [{{"name": "p", "declared_at": null, "targets": [{{"kind": "raw_tracepoint", "name": "sys_enter"}}],
        "capture": {{"kind": "fields", "fields": []}}, "where": null, "span": null,
        "aggregates": [{{"function": {{"kind": "count"}}, "by": [{by}]}}], "deliver": {deliver}}}]}}"#
    ))
    .unwrap()
}

/// A packed stream, as a generated script writes it: a time, a process and a stack of six to ten frames.
fn packed(events: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for index in 0..events {
        let chance = mix(index);
        let stack = chance % STACKS;
        let depth = 6 + stack % 5;
        out.push(1);
        out.extend((1_000_000 + index * 1_000).to_le_bytes());
        out.extend(((chance >> 32) as u32 % PIDS as u32).to_le_bytes());
        out.push(depth as u8);
        out.extend(
            (0..depth).flat_map(|frame| (0xFFFF_FFFF_8100_0000 + mix(stack * 16 + frame) % 0x100_0000).to_le_bytes()),
        );
    }
    out
}

/// A stream's road to its end, in one thread.
fn stream(events: u64, key: &[u32], deliver: bool, counts: bool) -> Arc<Outlets> {
    let key: Vec<u32> = key.iter().map(|column| column + 1).collect();
    let fields = [(U64, Role::Time), (U32, Role::Capture), (STACK, Role::Key)];
    let layouts = |encoding| layouts(&fields, &key, encoding);
    let spec = spec(key.len(), deliver);
    let outlets = Arc::new(Outlets::new(&spec, layouts(Encoding::Aligned)));
    let packed_layouts = Arc::into_inner(layouts(Encoding::Packed)).unwrap();
    let source = PackedSource::recorded(packed(events), packed_layouts, Arc::clone(&outlets.stacks)).unwrap();
    let pump = Pump::new(&spec, vec![Box::new(source)], Arc::clone(&outlets));
    if deliver && !counts {
        pumped(pump)
    } else {
        measured(events, || pumped(pump))
    }
    outlets
}

fn pumped(mut pump: Pump) {
    while !pump.turn(false).unwrap().ended {}
    pump.turn(true).unwrap();
}

/// The integers of a column of 32 bits, as an array.
fn columns(events: u64) {
    let outlets = stream(events, &[], true, false);
    while let Popped::Batch(batch) = outlets.queue.pop(Some(Duration::ZERO), 0) {
        let places: Vec<u32> = (0..batch.len() as u32).collect();
        let pid = Column::new(outlets.layouts.get(1).unwrap(), 1).unwrap();
        measured(batch.len() as u64, || drop(black_box(batch.integers(&places, pid)).unwrap()));
    }
}

/// One CPU's ring of compact records of so many bytes, with their times.
struct Ring<const SIZE: usize> {
    cpu: u16,
    layouts: Arc<Layouts>,
    records: Vec<(u64, [u8; SIZE])>,
    at: usize,
    /// Where they are only counted.
    projection: Option<Projection>,
}

/// A process's record.
fn compact<const SIZE: usize>(layout: &EventLayout, pid: u64) -> [u8; SIZE] {
    assert_eq!(layout.compact_size() as usize, SIZE);
    let mut record = [0; SIZE];
    let mut put =
        |offset: u32, bytes: &[u8]| record[(offset - COMPACT_SHIFT) as usize..][..bytes.len()].copy_from_slice(bytes);
    put(ALIGNED_ID, &layout.schema.id.to_le_bytes());
    for (field, slot) in layout.schema.fields.iter().zip(&layout.slots) {
        match field.ty {
            FieldType::FixedString { .. } => put(slot.offset.unwrap(), format!("program/{}", pid % COMMS).as_bytes()),
            _ => put(slot.offset.unwrap(), &(pid as u32).to_le_bytes()),
        }
    }
    record
}

impl<const SIZE: usize> Ring<SIZE> {
    /// Each hundredth record is an interrupt's, which stands before its victim's earlier one.
    fn new(cpu: u16, layouts: &Arc<Layouts>, events: u64, run: u64) -> Self {
        let record = |index: u64| {
            let time = 1_000_000 + index * 1_000 + u64::from(cpu);
            let record = compact(layouts.get(1).unwrap(), mix(index / run) % PIDS);
            (if index % 100 == 99 { time - 2_500 } else { time }, record)
        };
        Self { cpu, layouts: Arc::clone(layouts), records: (0..events).map(record).collect(), at: 0, projection: None }
    }
}

impl<const SIZE: usize> Source for Ring<SIZE> {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        let layout = self.layouts.get(1).ok_or_else(|| Error::engine("no layout"))?;
        let until = (self.at + TURN).min(self.records.len());
        for (time, record) in &self.records[self.at..until] {
            // As the engine's own does.
            if !self.projection.as_ref().is_some_and(|projection| run.push_row(projection, record)) {
                run.push_compact(self.cpu, layout, *time, record);
            }
        }
        self.at = until;
        let ended = until == self.records.len();
        let watermark = if ended { u64::MAX } else { self.records[until].0 - 5_000 };
        Ok(Progress { drained: true, ended, watermark })
    }

    fn project(&mut self, id: u16, columns: &[u32]) {
        self.projection = self.layouts.get(id).and_then(|layout| Projection::new(layout, columns));
    }
}

/// Four rings, merged into batches or counted by all of their columns.
fn rings<const SIZE: usize>(events: u64, columns: &[FieldType], run: u64, deliver: bool) {
    let fields: Vec<_> = columns.iter().map(|ty| (*ty, Role::Capture)).collect();
    let key: Vec<u32> = (0..columns.len() as u32).collect();
    let layouts = layouts(&fields, &key, Encoding::Aligned);
    let spec = spec(key.len(), deliver);
    let outlets = Arc::new(Outlets::new(&spec, Arc::clone(&layouts)));
    let ring = |cpu| Box::new(Ring::<SIZE>::new(cpu, &layouts, events / 4, run)) as Box<dyn Source>;
    let pump = Pump::new(&spec, (0..4).map(ring).collect(), outlets);
    measured(events, || pumped(pump));
}

/// One CPU's mapped ring, read as the engine's own is: records as programs write them, which are zeros once they are read.
struct Mapped {
    cpu: u16,
    layouts: Arc<Layouts>,
    bytes: Vec<u8>,
    at: usize,
    near: u64,
    is_read: bool,
}

impl Mapped {
    fn new(cpu: u16, layouts: &Arc<Layouts>, events: u64) -> Self {
        let first = |time: u64, id: u16| u64::from(time as u32) | u64::from(id) << 32;
        let start = 1 << 40;
        let mut words = vec![first(start, COMPACT_BASE), start];
        for index in 0..events {
            let time = start + 3_000 + index * 1_000 + u64::from(cpu);
            let time = if index % 100 == 99 { time - 2_500 } else { time };
            words.extend([first(time, 1), mix(index) % PIDS]);
        }
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Self { cpu, layouts: Arc::clone(layouts), bytes, at: 0, near: 0, is_read: true }
    }

    fn pass(&mut self, run: &mut Run, mut record: impl FnMut(&Stretch<'_>)) -> Progress {
        let until = (self.at + 16 * TURN).min(self.bytes.len());
        let mut watermark = 0;
        while self.at < until {
            let there = &mut self.bytes[self.at..until];
            let word = |offset: usize| u64::from_le_bytes(*there[offset..].first_chunk().unwrap());
            let most = there.len().min(Stretch::MOST);
            let Extent { length, events, near, .. } = Extent::of(&self.layouts, self.near, most, there.len(), word);
            let stretch = Stretch { cpu: self.cpu, near: self.near, events, bytes: &there[..length] };
            record(&stretch);
            if self.is_read {
                for record in stretch.records(&self.layouts) {
                    run.push_compact(self.cpu, record.layout, record.time, record.bytes);
                    watermark = record.time - 5_000;
                }
            }
            there[..length].fill(0);
            (self.at, self.near) = (self.at + length, near);
        }
        let ended = self.at == self.bytes.len();
        Progress { drained: true, ended, watermark: if ended { u64::MAX } else { watermark } }
    }
}

impl Source for Mapped {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        Ok(self.pass(run, |_| {}))
    }

    fn record(&mut self, run: &mut Run, recorder: &mut Recorder) -> Result<Progress, Error> {
        Ok(self.pass(run, |stretch| recorder.stretch(stretch)))
    }

    fn records_itself(&self) -> bool {
        true
    }

    fn leave_out(&mut self, _: u16) {
        self.is_read = false;
    }
}

/// Four mapped rings into a recording, and merged into batches beside that if somebody reads them. What the thread that writes
/// does is not counted.
fn record(events: u64, deliver: bool) {
    let layouts = layouts(&[(U32, Role::Capture)], &[], Encoding::Aligned);
    let mut spec = spec(0, deliver);
    spec.probes[0].aggregates.clear();
    let outlets = Arc::new(Outlets::new(&spec, Arc::clone(&layouts)));
    let ring = |cpu| Box::new(Mapped::new(cpu, &layouts, events / 4)) as Box<dyn Source>;
    // By hand, and never closed: rustix reads the clock in a way that valgrind can't follow.
    let clock = Clock { monotonic: 0, wall: 0 };
    let head = Head {
        spile: String::new(),
        spec: spec.clone(),
        events: Vec::new(),
        names: Vec::new(),
        clock,
        machine: Machine::default(),
    };
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    let begun = recording::record(nowhere, "/dev/null", false, &head, Arc::clone(&layouts), Box::new(|| None));
    let (recorder, _) = begun.unwrap();
    let extras = Extras { recorder: Some(recorder), ..Extras::default() };
    let pump = Pump::with(&spec, (0..4).map(ring).collect(), outlets, extras);
    measured(events, || pumped(pump));
}

/// Rows of the kernel's tables, added to those of the script.
fn rows(events: u64) {
    let layout = RowLayout::new(AggregateFunction::Stats, Some(U64), &[U64], "count").unwrap();
    let table = Table::new(AggregateFunction::Stats, 1);
    let row = |index: u64| (0..layout.width as u64).map(move |word| if word == 0 { mix(index % 10_000) } else { 1 });
    let rows: Vec<u64> = (0..events).flat_map(row).collect();
    measured(events, || table.lock().merge(&layout, &rows));
}
