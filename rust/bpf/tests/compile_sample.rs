//! `sample=` in compiled programs, against counting off by hand: of what passes `where=` every so-maniest hit, and no other.

#![cfg(target_pointer_width = "64")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;

use compile_support::machine::Machine;
use compile_support::*;
use proptest::prelude::*;
use spile_bpf::compile::{Access, HEADER, Ledger, ProgramKind};
use spile_core::layout::ALIGNED_HEADER;
use spile_core::spec::{CompareOperator, Condition, Expr, ProbeSpec, StackSpace};

fn fields() -> Table {
    Table(vec![("word", Access::Ctx { offset: 0, size: 8, signed: false })])
}

/// What `where=` lets through.
fn is_small() -> Condition {
    compare(CompareOperator::Less, field("word"), int(100))
}

fn sampled(every: u64, captures: &[Expr]) -> ProbeSpec {
    ProbeSpec { sample: every, ..probe(captures, Some(is_small())) }
}

/// The words that are taken: of the small ones each `every`th.
fn taken(words: &[u64], every: u64) -> Vec<u64> {
    let small: Vec<u64> = words.iter().copied().filter(|&word| word < 100).collect();
    small.chunks_exact(every as usize).map(|chunk| chunk[chunk.len() - 1]).collect()
}

fn count(machine: &Machine, word: Ledger) -> u64 {
    machine.ledger[word as usize]
}

/// Hits, filtered and left out, as they must be.
fn check_ledger(machine: &Machine, words: &[u64], every: u64) -> Result<(), TestCaseError> {
    let small = words.iter().filter(|&&word| word < 100).count() as u64;
    let all = words.len() as u64;
    prop_assert_eq!(
        [Ledger::Hits, Ledger::Filtered, Ledger::Unsampled].map(|word| count(machine, word)),
        [all, all - small, small - small / every]
    );
    Ok(())
}

proptest! {
    #[test]
    fn every_so_maniest_event_is_sent(words in prop::collection::vec(0_u64..200, 0..60), every in 1_u64..12) {
        let (_, program) =
            compiled(ProgramKind::RawTracepoint, &sampled(every, &[field("word")]), &fields(), &options());
        let mut machine = Machine::new();
        for word in &words {
            machine = machine.run(&program, &mut word.to_le_bytes());
        }
        let sent: Vec<u64> = machine.rings.values().flatten().map(|record| {
            let at = (ALIGNED_HEADER as usize).next_multiple_of(8);
            u64::from_le_bytes(record[at..at + 8].try_into().unwrap())
        }).collect();
        prop_assert_eq!(&sent, &taken(&words, every));
        check_ledger(&machine, &words, every)?;
        prop_assert_eq!(count(&machine, Ledger::Delivered), sent.len() as u64);
    }

    #[test]
    fn every_so_maniest_hit_is_counted(words in prop::collection::vec(0_u64..200, 0..60), every in 1_u64..12) {
        let probe = counted_by(ProbeSpec { deliver: false, ..sampled(every, &[]) }, Vec::new());
        let (tables, program) = tabled(&probe, &fields(), &options());
        let mut machine = Machine::new();
        for word in &words {
            machine = machine.run(&program, &mut word.to_le_bytes());
        }
        let hits: u64 = machine.parts.values().map(|part| part[HEADER as usize / 8 + 1 + tables[0].row.kept_at]).sum();
        prop_assert_eq!(hits, taken(&words, every).len() as u64);
        check_ledger(&machine, &words, every)?;
        prop_assert_eq!(count(&machine, Ledger::Tabled), hits);
    }

    #[test]
    fn spans_are_sampled_at_their_ends(words in prop::collection::vec(0_u64..200, 0..40), every in 1_u64..7) {
        let probe = ProbeSpec { sample: every, ..span(&[field("word")], Some(is_small()), true) };
        let fields = fields();
        let pair = paired(
            ProgramKind::RawTracepoint, &probe, &field("word"), (&fields, None), (&fields, None), &options(),
        ).unwrap();
        let mut machine = Machine::keeping(pair.kept.size());
        for word in &words {
            machine = machine.run(&pair.start, &mut word.to_le_bytes()).run(&pair.end, &mut word.to_le_bytes());
        }
        // Both sides have one row here: a start is a hit as well, and so is an end.
        let (all, small) = (words.len() as u64, words.iter().filter(|&&word| word < 100).count() as u64);
        prop_assert_eq!(
            [Ledger::Opened, Ledger::Matched, Ledger::Filtered, Ledger::Unsampled, Ledger::Delivered]
                .map(|word| count(&machine, word)),
            [all, all, all - small, small - small / every, small / every]
        );
    }
}

/// What costs comes behind the decision: of ten hits, one walks the stack and sends its definition.
#[test]
fn who_is_left_out_walks_no_stack() {
    let (_, program) = compiled(
        ProgramKind::RawTracepoint,
        &sampled(10, &[stack(StackSpace::Kernel), string(field("word"), 64)]),
        &fields(),
        &options(),
    );
    let mut machine = Machine::new();
    machine.kernel_stack = vec![0xffff_8000, 0xffff_9000];
    for hit in 1..=10 {
        machine = machine.run(&program, &mut 7_u64.to_le_bytes());
        let records: usize = machine.rings.values().map(Vec::len).sum();
        assert_eq!(records, if hit < 10 { 0 } else { 2 }, "hit {hit}");
    }
}
