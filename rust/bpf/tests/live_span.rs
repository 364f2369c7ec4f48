//! Spans, live: what begins at one probe and ends at another. Expected numbers come from what the test itself does.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use std::time::{Duration, Instant};

use live_support::session::*;
use live_support::span::*;
use live_support::*;
use spile_core::spec::{Condition, Context, Expr, ProbeSpec};

fn my(call: i64) -> Option<Condition> {
    Some(all(vec![is(arg("id"), call), is(fact(Context::Tid), tid())]))
}

fn elapsed() -> Expr {
    fact(Context::Elapsed)
}

/// Sleeps by nanosleep(2) itself; gives how long it took.
fn nanosleep(duration: Duration) -> Duration {
    let time = libc::timespec { tv_sec: 0, tv_nsec: duration.as_nanos() as i64 };
    let start = Instant::now();
    // SAFETY: the time is read, and nothing is written back.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, 0) };
    start.elapsed()
}

/// Sides of either kind of tracepoint: system calls that this thread makes.
fn call_sides(call: i64, is_raw: bool) -> [ProbeSpec; 2] {
    let (enter, exit) = if is_raw {
        (raw_tracepoint("sys_enter"), raw_tracepoint("sys_exit"))
    } else {
        (tracepoint("raw_syscalls", "sys_enter"), tracepoint("raw_syscalls", "sys_exit"))
    };
    [
        feeding("enter", probe(enter, &[], my(call))),
        feeding("exit", probe(exit, &[], Some(is(fact(Context::Tid), tid())))),
    ]
}

#[test]
fn a_span_is_as_long_as_what_it_spans() {
    require_tracing!();
    for is_raw in [true, false] {
        let [enter, exit] = call_sides(libc::SYS_nanosleep, is_raw);
        let captures = [("ns", elapsed()), ("tid", fact(Context::Tid)), ("start", at_start(fact(Context::Timestamp)))];
        let span = span(vec![of_task(0)], vec![of_task(1)], &captures);
        let lengths: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        let mut took = Vec::new();
        let outcome = run(&of_this_process(vec![enter, exit, span]), |_| {
            took = lengths.iter().map(|length| nanosleep(*length)).collect();
        });
        outcome.check();
        let total = total(&outcome, 2);
        assert_eq!((outcome.events.len(), total.matched, total.left_open), (20, 20, 0), "{total:?}");
        for ((event, length), took) in outcome.events.iter().zip(lengths).zip(took) {
            let ns = Duration::from_nanos(event.values[0].number() as u64);
            assert!(ns >= length && ns <= took, "slept {length:?}: {ns:?} of {took:?}");
            assert_eq!(event.values[1].number(), tid().into());
            assert_eq!(i128::from(event.time) - event.values[2].number(), event.values[0].number());
        }
    }
}
