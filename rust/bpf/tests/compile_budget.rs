//! What compiled programs leave out for a budget, which changes while they run, against counting off by hand.

#![cfg(target_pointer_width = "64")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;

use compile_support::machine::{Machine, PID};
use compile_support::*;
use proptest::prelude::*;
use spile_bpf::compile::{Access, HEADER, Ledger, NoFields, Options, Program, ProgramKind};
use spile_core::layout::STACK_DEFINITION;
use spile_core::spec::{ProbeSpec, StackSpace};
use spile_core::stack::hash_frames;

fn budgeted() -> Options {
    Options { has_budget: true, ..options() }
}

fn fields() -> Table {
    Table(vec![("word", Access::Ctx { offset: 0, size: 8, signed: false })])
}

fn counts<const N: usize>(machine: &Machine, words: [Ledger; N]) -> [u64; N] {
    words.map(|word| machine.ledger[word as usize])
}

/// How many are sent, sampled out and only counted, of runs of hits under so many levels.
fn by_hand(runs: &[(u32, usize)]) -> (u64, u64, u64) {
    let (mut sent, mut sampled, mut counted, mut since) = (0, 0, 0, 0);
    for &(every, hits) in runs {
        for _ in 0..hits {
            match every {
                0 => counted += 1,
                1 => sent += 1,
                _ => {
                    since += 1;
                    if since >= every {
                        (since, sent) = (0, sent + 1);
                    } else {
                        sampled += 1;
                    }
                }
            }
        }
    }
    (sent, sampled, counted)
}

fn runs() -> impl Strategy<Value = Vec<(u32, usize)>> {
    let every = prop_oneof![Just(0_u32), Just(1), Just(2), Just(4), Just(8), Just(1024)];
    prop::collection::vec((every, 0_usize..12), 0..8)
}

/// The machine after so many hits with each number in turn.
fn run_all(program: &Program, runs: &[(u32, usize)]) -> Machine {
    let mut machine = Machine::new();
    for (every, hits) in runs {
        machine.budget[0] = *every;
        for _ in 0..*hits {
            machine = machine.run(program, &mut [0; 8]);
        }
    }
    machine
}

proptest! {
    #[test]
    fn events_are_left_out_by_the_number_that_holds_at_the_moment(runs in runs()) {
        let (_, program) =
            compiled(ProgramKind::RawTracepoint, &probe(&[field("word")], None), &fields(), &budgeted());
        let machine = run_all(&program, &runs);
        let (sent, sampled, counted) = by_hand(&runs);
        prop_assert_eq!(machine.rings.values().map(Vec::len).sum::<usize>() as u64, sent);
        prop_assert_eq!(
            counts(&machine, [Ledger::Hits, Ledger::Delivered, Ledger::BudgetSampled, Ledger::BudgetCounted]),
            [sent + sampled + counted, sent, sampled, counted]
        );
    }

    #[test]
    fn tables_count_every_hit_all_the_same(runs in runs(), deliver in any::<bool>()) {
        let probe = counted_by(ProbeSpec { deliver, ..probe(&[field("word")], None) }, Vec::new());
        let (tables, program) = tabled(&probe, &fields(), &budgeted());
        let machine = run_all(&program, &runs);
        let (sent, sampled, counted) = by_hand(&runs);
        let all = sent + sampled + counted;
        let hits: u64 = machine.parts.values().map(|part| part[HEADER as usize / 8 + 1 + tables[0].row.kept_at]).sum();
        prop_assert_eq!(hits, all);
        let words = [Ledger::Tabled, Ledger::Delivered, Ledger::BudgetSampled, Ledger::BudgetCounted];
        let expected = if deliver { [0, sent, sampled, counted] } else { [all, 0, 0, 0] };
        prop_assert_eq!(counts(&machine, words), expected);
    }
}

/// An empty stack is a stack: it is defined once, has its own key, and is no null.
#[test]
fn stacks_are_empty_where_they_are_spared() {
    for kind in [ProgramKind::RawTracepoint, ProgramKind::PerfEvent, ProgramKind::Kretprobe] {
        let captures = [stack(StackSpace::Kernel), stack(StackSpace::User)];
        let (layout, program) = compiled(kind, &probe(&captures, None), &NoFields, &budgeted());
        let mut machine = Machine::new();
        machine.kernel_stack = vec![0xffff_8000, 0xffff_9000];
        machine.user_stack = vec![0x5500];
        machine.budget[1] = 1;
        let mut machine = machine.run(&program, &mut [0; 256]).run(&program, &mut [0; 256]);
        assert_eq!(counts(&machine, [Ledger::Delivered, Ledger::BudgetStacks, Ledger::StackFailed]), [2, 2, 0]);
        let number = |record: &[u8], at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
        let [kernel, user] = [hash_frames(0, [].into_iter()), hash_frames(PID as u32, [].into_iter())];
        let records: Vec<Vec<u8>> = machine.rings.drain().flat_map(|(_, records)| records).collect();
        let [first, second, events @ ..] = &records[..] else { panic!("{} records", records.len()) };
        assert_eq!((number(first, 0), first.len(), number(second, 0), second.len()), (kernel, 16, user, 16));
        assert_eq!([first, second].map(|record| u16::from_le_bytes([record[8], record[9]])), [STACK_DEFINITION; 2]);
        let column = |record: &[u8], column: usize| number(record, layout.slots[column].offset.unwrap() as usize);
        let hashes: Vec<(u64, u64)> = events.iter().map(|event| (column(event, 0), column(event, 1))).collect();
        assert_eq!(hashes, [(kernel, user); 2], "{kind:?}");
        // And whole again where there is room again.
        machine.budget[1] = 0;
        let machine = machine.run(&program, &mut [0; 256]);
        assert_eq!(counts(&machine, [Ledger::Delivered, Ledger::BudgetStacks]), [3, 2]);
        assert_eq!(machine.rings.values().map(Vec::len).sum::<usize>(), 3, "two definitions and an event");
    }
}

/// Who has no tables walks no stack for an event that is left out.
#[test]
fn who_sends_nothing_walks_nothing() {
    let (_, program) =
        compiled(ProgramKind::RawTracepoint, &probe(&[stack(StackSpace::Kernel)], None), &NoFields, &budgeted());
    let mut machine = Machine::new();
    machine.kernel_stack = vec![1];
    machine.budget[0] = 0;
    let machine = machine.run(&program, &mut [0; 8]);
    assert_eq!((counts(&machine, [Ledger::BudgetCounted]), machine.rings.len()), ([1], 0));
}

/// Without a budget nothing of it is in a program.
#[test]
fn a_program_without_a_budget_looks_at_none() {
    let (_, program) =
        compiled(ProgramKind::RawTracepoint, &probe(&[stack(StackSpace::Kernel)], None), &NoFields, &options());
    assert!(!program.ir_text().contains("Budget"), "{}", program.ir_text());
}
