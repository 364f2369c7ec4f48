//! The rings under stress, of either kind: interrupts within interrupts, rings that are full, a reader that stalls. Every record
//! is whole and in order, and every one that is missing is counted.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use live_support::session::*;
use live_support::*;
use spile_bpf::engine::Engine;
use spile_core::event::{Event, Value};
use spile_core::merge::Merge;
use spile_core::spec::{Context, SessionSpec, Transport};
use spile_core::stack::StackTable;

/// What fires in system calls, within interrupts that interrupt them, and within those that interrupt these.
const NESTING: [&str; 14] = [
    "sys_enter",
    "sys_exit",
    "sched_switch",
    "sched_waking",
    "softirq_raise",
    "softirq_entry",
    "softirq_exit",
    "hrtimer_start",
    "hrtimer_expire_entry",
    "hrtimer_expire_exit",
    "timer_start",
    "local_timer_entry",
    "reschedule_entry",
    "rcu_utilization",
];
const TRANSPORTS: [Transport; 2] = [Transport::Ringbuf, Transport::Mapped];

/// A session whose records tell their own time and CPU a second time.
fn telling(buffer: u64, transport: Transport) -> SessionSpec {
    let captures = [("timestamp", fact(Context::Timestamp)), ("cpu", fact(Context::Cpu)), ("tid", fact(Context::Tid))];
    let known = |name: &&&str| Engine::prepare(&everything(vec![probe(raw_tracepoint(name), &[], None)])).is_ok();
    let probes = NESTING.iter().filter(known).map(|name| probe(raw_tracepoint(name), &captures, None));
    let mut spec = everything(probes.collect());
    spec.limits.buffer = buffer;
    spec.limits.transport = transport;
    spec
}

/// Keeps all CPUs busy with system calls, so many between two sleeps, until told to stop.
fn busy(stop: &AtomicBool, calls: usize) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    getppid_storm(calls);
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
        }
    });
}

/// What was read of a session: by event id and, for its time and CPU, whether they are told alike.
#[derive(Default)]
struct Read {
    events: Vec<u64>,
    last: u64,
}

impl Read {
    fn event(&mut self, event: &Event<'_>) -> bool {
        let values = [0, 1].map(|column| event.value(column));
        let expected = [Value::Unsigned(event.time()), Value::Unsigned(event.cpu.into())];
        assert_eq!(values, expected, "a record of event {} is not whole", event.id());
        assert!(event.time() >= self.last, "event {} is out of order", event.id());
        self.last = event.time();
        let id = usize::from(event.id());
        self.events.resize(self.events.len().max(id + 1), 0);
        self.events[id] += 1;
        true
    }
}

/// How long the load is traced.
const TRACED: Duration = Duration::from_secs(2);

/// Runs a session whose reader pauses so long between two looks.
fn stalled(spec: &SessionSpec, pause: Duration, calls: usize) -> (Read, Vec<spile_core::loss::Row>) {
    let mut engine = Engine::prepare(spec).unwrap();
    let mut merge = Merge::new(engine.sources().unwrap(), engine.layouts(), Arc::new(StackTable::default()));
    let (mut read, stop) = (Read::default(), AtomicBool::new(false));
    engine.start().unwrap();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| busy(&stop, calls));
        let start = Instant::now();
        while start.elapsed() < TRACED {
            std::thread::sleep(pause);
            merge.turn(&mut |event: &Event<'_>| read.event(event), false).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        load.join().expect("the load panicked");
    });
    engine.close().unwrap();
    while !merge.turn(&mut |event: &Event<'_>| read.event(event), false).unwrap().ended {}
    assert_eq!(merge.late().iter().sum::<u64>(), 0, "no event may come late where the reader has time");
    let rows = engine.ledger().unwrap();
    for (row, id) in rows.iter().zip(1..) {
        assert_eq!(row.balance(), 0, "{row:?}");
        assert_eq!(read.events.get(id).copied().unwrap_or(0), row.delivered, "{row:?}");
    }
    (read, rows)
}

#[test]
fn what_a_reader_gets_is_whole_and_in_order() {
    require_tracing!();
    for transport in TRANSPORTS {
        let (read, rows) = stalled(&telling(8 << 20, transport), Duration::from_millis(5), 5);
        assert!(read.events.iter().sum::<u64>() > 20_000, "{rows:?}");
    }
}

#[test]
fn a_full_ring_and_a_stalled_reader_lose_what_is_counted() {
    require_tracing!();
    for transport in TRANSPORTS {
        let (read, rows) = stalled(&telling(16 << 10, transport), Duration::from_millis(60), 2_000);
        assert!(rows.iter().map(|row| row.ring_full).sum::<u64>() > 1_000, "{rows:?}");
        assert!(read.events.iter().sum::<u64>() > 5_000, "{:?}", read.events);
    }
}

/// Longer than what the low bits of a time tell.
#[test]
fn times_are_whole_across_long_pauses() {
    require_tracing!();
    let captures = [("timestamp", fact(Context::Timestamp)), ("cpu", fact(Context::Cpu))];
    let mine = Some(is(fact(Context::Tid), tid()));
    let mut spec = of_this_process(vec![probe(raw_tracepoint("sys_enter"), &captures, mine)]);
    spec.limits.transport = Transport::Mapped;
    let mut engine = Engine::prepare(&spec).unwrap();
    let mut merge = Merge::new(engine.sources().unwrap(), engine.layouts(), Arc::new(StackTable::default()));
    let mut read = Read::default();
    engine.start().unwrap();
    for pause in [0, 5_000, 0, 2_200, 4_295] {
        getppid_storm(10);
        std::thread::sleep(Duration::from_millis(pause));
    }
    engine.close().unwrap();
    while !merge.turn(&mut |event: &Event<'_>| read.event(event), false).unwrap().ended {}
    assert!(read.events[1] >= 50, "{:?}", read.events);
}
