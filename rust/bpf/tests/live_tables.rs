//! Aggregates kept in the kernel, live: sums of what was taken are what happened, whatever happens meanwhile.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use live_support::session::*;
use live_support::tables::*;
use live_support::*;
use proptest::prelude::*;
use spile_core::aggregate::bin::{Bin, REGISTER_BITS, hash, register};
use spile_core::aggregate::{Accumulated, Part};
use spile_core::spec::{AggregateFunction as F, AggregateSpec, Context, Limits, ProbeSpec, SessionSpec, StackSpace};

const CALLS: usize = 50_000;

/// `sys_enter` of getpriority(2) from this process, whose arguments nobody looks at but us: the second tells tests apart, which
/// run at the same time.
fn getpriority(test: u64) -> ProbeSpec {
    let own = is(fact(Context::Pid), std::process::id());
    let condition = all(vec![is(arg("id"), libc::SYS_getpriority), own, is(element("args", 1), test)]);
    probe(tracepoint("raw_syscalls", "sys_enter"), &[], Some(condition))
}

fn call_with(test: u64, key: u64) {
    // SAFETY: getpriority reads nothing of ours, and refuses a class of processes that doesn't exist.
    unsafe { libc::syscall(libc::SYS_getpriority, 1_000_000 + key, test) };
}

fn with_tables(mut spec: SessionSpec, tables: u64) -> SessionSpec {
    spec.limits = Limits { tables, ..spec.limits };
    spec
}

#[test]
fn every_call_is_counted_in_the_kernel() {
    require_tracing!();
    let mine = all(vec![is(arg("id"), libc::SYS_getppid), is(fact(Context::Tid), tid())]);
    let counted = counted(probe(raw_tracepoint("sys_enter"), &[], Some(mine)), vec![fact(Context::Pid)]);
    let mut live = Live::begin(&everything(vec![counted]));
    assert!(live.engine.explain(false).contains("aggregate 0 is kept in the kernel"), "{}", live.engine.explain(false));
    getppid_storm(CALLS);
    live.drain();
    let key = [Part::Unsigned(std::process::id().into())];
    assert_eq!(live.table(0, 0).get(&key), Some(Accumulated::Count(CALLS as u64)), "a drain brings everything");
    getppid_storm(CALLS);
    let row = live.end()[0];
    assert_eq!(live.table(0, 0).get(&key), Some(Accumulated::Count(2 * CALLS as u64)));
    assert_eq!((row.tabled, row.delivered, row.ring_full), (2 * CALLS as u64, 0, 0));
}

#[test]
fn stacks_are_keys() {
    require_tracing!();
    let mine = all(vec![is(arg("id"), libc::SYS_getppid), is(fact(Context::Tid), tid())]);
    let by = vec![fact(Context::Comm), stack(StackSpace::Kernel), stack(StackSpace::User)];
    let mut live = Live::begin(&everything(vec![counted(probe(raw_tracepoint("sys_enter"), &[], Some(mine)), by)]));
    getppid_storm(CALLS);
    let row = live.end()[0];
    let rows = live.table(0, 0).snapshot();
    assert_eq!(rows.iter().map(|row| hits(&row.1)).sum::<u64>(), CALLS as u64, "{row:?}");
    for (key, _) in rows {
        let [_, Part::KernelStack(kernel), Part::UserStack(user)] = key[..] else { panic!("{key:?}") };
        assert!(live.outlets.stacks.get(kernel).is_some() && live.outlets.stacks.get(user).is_some());
    }
}

#[test]
fn events_and_tables_count_the_same() {
    require_tracing!();
    let counted = counted(getpriority(3), vec![element("args", 0)]);
    let both = ProbeSpec { deliver: true, name: "both".into(), ..counted };
    let mut live = Live::begin(&with_tables(everything(vec![both]), 4096));
    for key in 0..CALLS as u64 {
        call_with(3, key % 300);
    }
    let row = live.end()[0];
    assert_eq!(live.table(0, 0).total(), CALLS as u64);
    assert_eq!((row.delivered + row.dropped, row.tabled, row.table_lost), (CALLS as u64, 0, 0));
    assert!(live.table(0, 0).snapshot().iter().all(|row| hits(&row.1).abs_diff(CALLS as u64 / 300) <= 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// Tables of a few slots that overflow all the time, under load on every CPU, emptied at random moments.
    #[test]
    fn what_is_taken_adds_up(
        keys in 1_u64..400,
        tables in proptest::sample::select(vec![4096_u64, 16_384, 1 << 20]),
        pauses in proptest::collection::vec(0_u64..30, 10),
    ) {
        if !can_trace() {
            return Ok(());
        }
        let counted = counted(getpriority(4), vec![element("args", 0)]);
        let mut live = Live::begin(&with_tables(everything(vec![counted]), tables));
        let mut taken: BTreeMap<Vec<Part>, u64> = BTreeMap::new();
        let mut take = |live: &Live| {
            live.table(0, 0).take().into_iter().for_each(|(key, count)| *taken.entry(key).or_default() += hits(&count));
        };
        let threads = std::thread::available_parallelism().unwrap().get() as u64;
        std::thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || (0..CALLS as u64).for_each(|call| call_with(4, (call * 7 + thread) % keys)));
            }
            for pause in &pauses {
                std::thread::sleep(Duration::from_millis(*pause));
                live.drain();
                take(&live);
            }
        });
        let row = live.end()[0];
        take(&live);
        let mut expected: BTreeMap<Vec<Part>, u64> = BTreeMap::new();
        for thread in 0..threads {
            for call in 0..CALLS as u64 {
                *expected.entry(vec![Part::Unsigned(1_000_000 + (call * 7 + thread) % keys)]).or_default() += 1;
            }
        }
        prop_assert_eq!(row.ring_full, 0);
        prop_assert_eq!(row.tabled + row.delivered, threads * CALLS as u64);
        prop_assert!(live.table(0, 0).total() == threads * CALLS as u64, "{} of {row:?}", live.table(0, 0).total());
        prop_assert_eq!(taken, expected);
    }
}

/// Tracepoints that interrupts and the scheduler hit within one another, in one table.
#[test]
fn a_group_counts_what_its_ledgers_say() {
    require_tracing!();
    let targets = [
        tracepoint("sched", "sched_switch"),
        tracepoint("sched", "sched_wakeup"),
        tracepoint("timer", "hrtimer_expire_entry"),
        tracepoint("timer", "hrtimer_start"),
        tracepoint("irq", "softirq_entry"),
        tracepoint("irq", "softirq_raise"),
        tracepoint("raw_syscalls", "sys_enter"),
        raw_tracepoint("sys_exit"),
    ];
    let first = probe(targets[0].clone(), &[], None);
    let group = ProbeSpec { name: "group".into(), targets: targets.to_vec(), ..first };
    let counted = counted(group, vec![fact(Context::ProbeName), fact(Context::Tid)]);
    let mut live = Live::begin(&with_tables(everything(vec![counted]), 1 << 16));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    getppid_storm(1000);
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            live.drain();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let rows = live.end();
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    for (key, count) in live.table(0, 0).snapshot() {
        let Part::Name(id) = key[0] else { panic!("{key:?}") };
        *counts.entry(id).or_default() += hits(&count);
    }
    let layouts = live.outlets.layouts.iter();
    let mut told = 0;
    for layout in layouts {
        let row = rows.iter().find(|row| row.target == layout.schema.target).unwrap();
        let arrived = row.tabled + row.delivered;
        assert_eq!(counts.get(&layout.schema.id).copied().unwrap_or(0), arrived, "{row:?}");
        told += arrived;
    }
    assert!(told > 10_000, "{rows:?}");
    assert!(live.collector.collections() > 5);
}

/// Every function over known values, in tables so small that most hits come by the other road.
#[test]
fn values_accumulate_alike_in_both_places() {
    require_tracing!();
    let linear = F::Lhist { low: 1_000_000, high: 1_000_200, step: 20 };
    let functions = [F::Sum, F::Min, F::Max, F::Avg, F::Stats, F::Hist, linear, F::Quantiles, F::Distinct];
    let of_value = |function| AggregateSpec { function, value: Some(element("args", 0)), by: Vec::new() };
    let aggregates: Vec<_> = functions.into_iter().chain([F::Top { size: 1000 }]).map(of_value).collect();
    let probe = ProbeSpec { aggregates, deliver: false, ..getpriority(6) };
    for tables in [1 << 14, 32 << 20] {
        let mut live = Live::begin(&with_tables(everything(vec![probe.clone()]), tables));
        let values: Vec<i128> = (0..CALLS as i128).map(|call| 1_000_000 + call * 7 % 300).collect();
        values.iter().for_each(|value| call_with(6, (value - 1_000_000) as u64));
        let row = live.end()[0];
        assert_eq!((row.tabled + row.delivered, row.ring_full), (CALLS as u64, 0), "{row:?}");
        assert!(if tables < 1 << 20 { row.delivered > 0 } else { row.delivered == 0 }, "{row:?}");
        let bins = |bin: Bin| {
            let mut bins: BTreeMap<i64, u64> = BTreeMap::new();
            values.iter().for_each(|value| *bins.entry(bin.of(*value)).or_default() += 1);
            Accumulated::Bins(bins.into_iter().collect())
        };
        let mut ranks = vec![0_u8; 1 << REGISTER_BITS];
        for value in &values {
            let (register, rank) = register(hash([*value as u64]));
            ranks[register as usize] = ranks[register as usize].max(rank as u8);
        }
        let (hits, sum): (u64, i128) = (CALLS as u64, values.iter().sum());
        let (least, greatest) = (1_000_000, 1_000_299);
        let expected = [
            Accumulated::Sum(sum),
            Accumulated::Least(least),
            Accumulated::Greatest(greatest),
            Accumulated::Mean { hits, sum },
            Accumulated::Stats { hits, sum, least, greatest },
            bins(Bin::Log2),
            bins(Bin::Linear { low: 1_000_000, high: 1_000_200, step: 20 }),
            bins(Bin::LogLinear),
            Accumulated::Registers(ranks.into()),
        ];
        for (aggregate, expected) in expected.iter().enumerate() {
            assert_eq!(live.table(0, aggregate).get(&[]).as_ref(), Some(expected), "{aggregate}");
        }
        let Some(Accumulated::Top { items, .. }) = live.table(0, 9).get(&[]) else { panic!("no list") };
        assert_eq!(items.iter().map(|item| item.hits).sum::<u64>(), hits);
        assert_eq!(items.len(), 300);
    }
}
