//! What one draining thread can do, by simulated rings: `cargo run --release -p spile-core --example scaling`.
//!
//! In: nothing. Out: for each number of CPUs and each rate, the nanoseconds that an event takes in each stage, and of how many
//! threads' time that is. The rings are memory, full of compact records as programs write them; the sources that read them, the
//! merge, the tables and the batches are the real ones. docs/scaling.md says what follows.
#![expect(clippy::expect_used, reason = "an example fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use spile_core::Error;
use spile_core::event::{Event, Layouts};
use spile_core::layout::{Encoding, EventLayout, EventSchema, FieldSchema, FieldType, Role};
use spile_core::merge::Merge;
use spile_core::pump::{Outlets, Pump};
use spile_core::queue::Popped;
use spile_core::sink::Sink;
use spile_core::source::{Progress, Run, Source};
use spile_core::spec::SessionSpec;
use spile_core::stack::StackTable;

/// How often the rings are read.
const POLL: Duration = Duration::from_millis(5);
/// Turns of each measurement; the cheapest counts, for whatever else runs only makes one dearer.
const TURNS: usize = 15;
/// Different keys.
const PROCESSES: u64 = 1_000;

/// One CPU's ring: what is written into it between two polls, over and over.
struct Ring {
    cpu: u16,
    layouts: Arc<Layouts>,
    /// Offsets of time within a poll, and records.
    records: Vec<(u64, [u8; 16])>,
    time: u64,
}

impl Source for Ring {
    fn read(&mut self, run: &mut Run) -> Result<Progress, Error> {
        let layout = self.layouts.get(1).ok_or_else(|| Error::engine("no layout"))?;
        for (offset, record) in &self.records {
            run.push_compact(self.cpu, layout, self.time + offset, record);
        }
        self.time += POLL.as_nanos() as u64;
        Ok(Progress { drained: true, ended: false, watermark: self.time })
    }
}

/// Takes every event at once, whatever its time: what reading alone costs.
struct Nothing;

impl Sink for Nothing {
    fn event(&mut self, _: &Event<'_>) -> bool {
        true
    }

    fn unordered(&mut self, _: &Event<'_>) -> bool {
        true
    }
}

fn layouts() -> Arc<Layouts> {
    let pid = FieldSchema {
        name: "pid".into(),
        ty: FieldType::Int { size: 4, signed: false },
        role: Role::Capture,
        names: Default::default(),
    };
    let schema = EventSchema { id: 1, probe: 0, target: 0, fields: vec![pid], keys: vec![vec![0]], values: Vec::new() };
    let layout = EventLayout::compute(schema, Encoding::Aligned).expect("a field of four bytes has a place");
    Arc::new(Layouts::new(vec![layout]).expect("one layout"))
}

fn spec(deliver: bool) -> SessionSpec {
    let pid = r#"{"op": "context", "name": "pid"}"#;
    let json = format!(
        r#"{{"version": 1, "target": {{"pid": null, "follow": true, "cgroup": null, "exclude_self": true}},
        "limits": {{"buffer": 4194304, "queue": 4294967296, "stack_depth": 127, "stack_cache": 64}},
        "probes": [{{"name": "p", "declared_at": null, "targets": [{{"kind": "raw_tracepoint", "name": "sys_enter"}}],
        "capture": {{"kind": "fields", "fields": [{{"name": "process", "expr": {pid}}}]}}, "where": null, "span": null,
        "aggregates": [{{"function": {{"kind": "count"}}, "by": [{pid}]}}], "deliver": {deliver}}}]}}"#
    );
    SessionSpec::from_json(&json).expect("the spec is right")
}

/// Rings of as many CPUs that together get `rate` events a second, each all but in order.
fn rings(cpus: u16, rate: u64, layouts: &Arc<Layouts>) -> Vec<Box<dyn Source>> {
    let each = (rate as f64 * POLL.as_secs_f64() / f64::from(cpus)) as u64;
    let step = POLL.as_nanos() as u64 / each.max(1);
    let ring = |cpu: u16| {
        let record = |index: u64| {
            let time = index * step + u64::from(cpu) % step.max(1);
            // Every hundredth is an interrupt's, which stands before its victim's earlier one.
            let time = if index % 100 == 99 { time.saturating_sub(step * 2) } else { time };
            let mut bytes = [0; 16];
            bytes[4] = 1;
            let pid = (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % PROCESSES;
            bytes[8..12].copy_from_slice(&(pid as u32).to_le_bytes());
            (time, bytes)
        };
        let records = (0..each).map(record).collect();
        Box::new(Ring { cpu, layouts: Arc::clone(layouts), records, time: 1 << 40 }) as Box<dyn Source>
    };
    (0..cpus).map(ring).collect()
}

/// The cheapest of some turns.
fn cheapest(mut turn: impl FnMut()) -> Duration {
    let timed = |_| {
        let start = Instant::now();
        turn();
        start.elapsed()
    };
    (0..TURNS).map(timed).min().unwrap_or_default()
}

fn merged<S: Sink>(sources: Vec<Box<dyn Source>>, layouts: &Arc<Layouts>, mut sink: S) -> Duration {
    let mut merge = Merge::new(sources, Arc::clone(layouts), Arc::new(StackTable::default()));
    cheapest(|| {
        merge.turn(&mut sink, false).expect("the records are right");
    })
}

fn pumped(sources: Vec<Box<dyn Source>>, layouts: &Arc<Layouts>, deliver: bool) -> Duration {
    let spec = spec(deliver);
    let outlets = Arc::new(Outlets::new(&spec, Arc::clone(layouts)));
    let mut pump = Pump::new(&spec, sources, Arc::clone(&outlets));
    cheapest(|| {
        pump.turn(false).expect("the records are right");
        while let Popped::Batch(batch) = outlets.queue.pop(Some(Duration::ZERO), 0) {
            drop(batch);
        }
    })
}

fn main() {
    println!(
        "| CPUs | events/s | read | read, order | read, count by pid | read, order, batch | threads to count | to batch |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let layouts = layouts();
    for rate in [10_000_000, 100_000_000] {
        for cpus in [2, 8, 32, 128] {
            let sources = || rings(cpus, rate, &layouts);
            let events = rate as f64 * POLL.as_secs_f64();
            let each = |time: Duration| time.as_nanos() as f64 / events;
            let read = each(merged(sources(), &layouts, Nothing));
            let order = each(merged(sources(), &layouts, |_: &Event<'_>| true));
            let count = each(pumped(sources(), &layouts, false));
            let batches = each(pumped(sources(), &layouts, true));
            let threads = |each: f64| each * rate as f64 / 1e9;
            println!(
                "| {cpus} | {} million | {read:.1} ns | {order:.1} ns | {count:.1} ns | {batches:.1} ns | {:.2} | {:.2} |",
                rate / 1_000_000,
                threads(count),
                threads(batches)
            );
        }
    }
}
