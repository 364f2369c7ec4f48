//! Events come out in the order of time, whatever the order they come in by: many CPUs, some of which stall, deliver late
//! or all at once, with times that are equal, and now and then an event from before what its source had promised.
#![expect(clippy::unwrap_used, reason = "a test")]

mod road_support;

use std::sync::Arc;

use proptest::prelude::*;
use road_support::{Script, record, usual};
use spile_core::event::{Event, Value};
use spile_core::merge::Merge;

/// What a CPU's source does at one read.
#[derive(Debug, Clone)]
struct Read {
    /// Later than the CPU's clock, each; 0 for equal times, out of order among themselves.
    advances: Vec<u64>,
    /// An event from before the watermark, by so much.
    late_by: Option<u64>,
    /// Whether the watermark follows, or stalls where it is.
    follows: bool,
}

fn read() -> impl Strategy<Value = Read> {
    let advances = proptest::collection::vec(prop_oneof![Just(0), 0..4_u64, 0..5000_u64], 0..12);
    let late_by = proptest::option::weighted(0.1, 1..3000_u64);
    let follows = proptest::bool::weighted(0.7);
    (advances, late_by, follows).prop_map(|(advances, late_by, follows)| Read { advances, late_by, follows })
}

/// The reads of each CPU; a short one's source ends early.
fn cpus() -> impl Strategy<Value = Vec<Vec<Read>>> {
    proptest::collection::vec(proptest::collection::vec(read(), 0..20), 1..6)
}

/// An event as it was written: its number, and its time.
type Written = (u64, u64);

/// Lets the CPU's source play those reads; gives what it writes, and the watermark after each read.
fn play(script: &Script, reads: &[Read], first: u64) -> Vec<(Vec<Written>, u64)> {
    let (mut clock, mut watermark, mut number) = (10_000, 0, first);
    let mut steps = Vec::new();
    for read in reads {
        let mut times: Vec<u64> = read.advances.iter().map(|advance| clock.max(watermark) + advance).collect();
        clock = times.iter().copied().max().unwrap_or(clock).max(clock);
        // An interrupt's event stands before its victim's earlier one.
        times.reverse();
        times.extend(read.late_by.map(|late_by| watermark.saturating_sub(late_by)));
        if read.follows {
            watermark = watermark.max(clock);
        }
        let written: Vec<Written> = times.into_iter().zip(number..).map(|(time, number)| (number, time)).collect();
        number += written.len() as u64;
        script.step(written.iter().map(|(number, time)| record(*time, 0, *number, "", 0)).collect(), watermark);
        steps.push((written, watermark));
    }
    steps
}

/// What the merge may deliver, by hand: after each turn everything before the least watermark, in the order of time, and
/// late is what is earlier than what had gone by. A source that has ended holds nobody up.
fn expected(steps: &[Vec<(Vec<Written>, u64)>]) -> (Vec<Vec<u64>>, u64) {
    let (mut held, mut passed, mut late, mut turns) = (Vec::<Written>::new(), 0, 0, Vec::new());
    let longest = steps.iter().map(Vec::len).max().unwrap_or(0);
    for turn in 0..=longest {
        held.extend(steps.iter().filter_map(|cpu| cpu.get(turn)).flat_map(|(written, _)| written));
        let watermarks = steps.iter().map(|cpu| cpu.get(turn).map_or(u64::MAX, |(_, watermark)| *watermark));
        let watermark = watermarks.min().unwrap_or(u64::MAX);
        let (mut ready, rest): (Vec<Written>, Vec<Written>) = held.iter().partition(|(_, time)| *time < watermark);
        ready.sort_by_key(|(_, time)| *time);
        late += ready.iter().filter(|(_, time)| *time < passed).count() as u64;
        passed = passed.max(if watermark == u64::MAX { ready.last().map_or(0, |(_, time)| *time) } else { watermark });
        turns.push(ready.iter().map(|(_, time)| *time).collect());
        held = rest;
    }
    (turns, late)
}

proptest! {
    #[test]
    fn whatever_arrives_goes_in_the_order_of_time_and_nothing_is_lost(reads in cpus()) {
        let scripts: Vec<Script> = (0..reads.len()).map(|cpu| Script::new(cpu as u16)).collect();
        let steps: Vec<_> = scripts.iter().zip(&reads).zip(0_u64..)
            .map(|((script, reads), cpu)| play(script, reads, cpu << 32)).collect();
        let (turns, late) = expected(&steps);
        let mut merge = Merge::new(scripts.iter().map(Script::boxed).collect(), usual(), Arc::default());
        let mut seen = Vec::new();
        for times in turns {
            let before = merge.watermark();
            let mut delivered = Vec::new();
            let mut sink = |event: &Event<'_>| {
                let Value::Unsigned(number) = event.value(0) else { return false };
                delivered.push((number, event.time()));
                true
            };
            merge.turn(&mut sink, false).unwrap();
            prop_assert!(delivered.is_sorted_by_key(|(_, time)| *time), "a turn in order");
            prop_assert!(merge.watermark() >= before, "the watermark never goes back");
            prop_assert_eq!(delivered.iter().map(|(_, time)| *time).collect::<Vec<_>>(), times);
            seen.extend(delivered);
        }
        // Once each, with its own time: nothing lost, doubled or mixed up.
        let mut written: Vec<Written> = steps.iter().flatten().flat_map(|(written, _)| written.clone()).collect();
        seen.sort_unstable();
        written.sort_unstable();
        prop_assert_eq!(seen, written);
        prop_assert_eq!(merge.late()[1], late);
    }
}
