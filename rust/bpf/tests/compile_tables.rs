//! Tables in compiled programs: what they keep, against `spile_core`'s own bins; and what becomes of what finds no room.

#![cfg(target_pointer_width = "64")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;

use std::collections::BTreeMap;

use compile_support::machine::{CPU, Machine};
use compile_support::*;
use proptest::prelude::*;
use spile_bpf::compile::{Access, BUCKET_BITS, FAULTED, HEADER, Ledger, PROBES, TableLayout, USED};
use spile_core::aggregate::bin::{self, Bin};
use spile_core::aggregate::row::{Extra, Kept, ordered};
use spile_core::layout::{ALIGNED_ID, FieldType};
use spile_core::spec::{AggregateFunction as F, AggregateSpec, Context, Expr, ProbeSpec};

/// The context: one integer of each type.
const NAMES: [(&str, u32, u8, bool); 4] =
    [("u64", 0, 8, false), ("s64", 8, 8, true), ("u32", 16, 4, false), ("s32", 20, 4, true)];

fn fields() -> Table {
    Table(NAMES.map(|(name, offset, size, signed)| (name, Access::Ctx { offset, size, signed })).into())
}

fn context(word: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&word.to_le_bytes());
    bytes[8..16].copy_from_slice(&word.to_le_bytes());
    bytes[16..20].copy_from_slice(&(word as u32).to_le_bytes());
    bytes[20..].copy_from_slice(&(word as u32).to_le_bytes());
    bytes
}

/// A field's value in such a context, as a number and as a row's word.
fn value(name: &str, word: u64) -> (i128, u64) {
    match name {
        "u64" => (word.into(), word),
        "s64" => (word.cast_signed().into(), word),
        "u32" => ((word as u32).into(), u64::from(word as u32)),
        _ => ((word as u32).cast_signed().into(), u64::from(word as u32)),
    }
}

fn aggregate(function: F, value: Option<&str>, by: Vec<Expr>) -> ProbeSpec {
    let mut probe = probe(&[], None);
    probe.deliver = false;
    probe.aggregates.push(AggregateSpec { function, value: value.map(field), by });
    probe
}

/// The rows of a part: what is kept by the words before.
fn rows(machine: &Machine, table: &TableLayout, part: u32) -> BTreeMap<Vec<u64>, Vec<u64>> {
    let mut rows = BTreeMap::new();
    let Some(words) = machine.parts.get(&(table.aggregate as u16, part)) else { return rows };
    for slot in words[HEADER as usize / 8..].chunks_exact(table.slot_size() as usize / 8) {
        if slot[0] != 0 {
            let (key, kept) = slot[1..].split_at(table.row.kept_at);
            assert!(rows.insert(key.to_vec(), kept.to_vec()).is_none(), "a key with two rows");
        }
    }
    assert_eq!(words[USED as usize / 8], rows.len() as u64);
    rows
}

/// The same, by the definitions.
fn expected(table: &TableLayout, name: &str, key: &str, words: &[u64]) -> BTreeMap<Vec<u64>, Vec<u64>> {
    let mut rows: BTreeMap<Vec<u64>, Vec<u64>> = BTreeMap::new();
    for &word in words {
        let (number, bits) = value(name, word);
        let (register, rank) = bin::register(bin::hash([bits]));
        let extra = match table.row.function.extra() {
            Some(Extra::Bin(bin)) => Some(bin.of(number).cast_unsigned()),
            Some(Extra::Item) => Some(bits),
            Some(Extra::Register) => Some(register),
            None => None,
        };
        let row = [Some(value(key, word).1 & 7), extra].into_iter().flatten().collect();
        let kept = rows.entry(row).or_insert_with(|| vec![0; table.row.function.kept().len()]);
        let signed = matches!(table.row.value, Some(FieldType::Int { signed: true, .. }));
        if let Some(at) = table.row.function.kept().iter().position(|kept| *kept == Kept::Sum) {
            let sum = if signed { kept[at].cast_signed().into() } else { i128::from(kept[at]) } + number;
            let fits = if signed { i64::try_from(sum).is_ok() } else { u64::try_from(sum).is_ok() };
            if !fits {
                continue;
            }
        }
        let number = number as u64;
        for (kept, kind) in kept.iter_mut().zip(table.row.function.kept()) {
            match kind {
                Kept::Hits => *kept += 1,
                Kept::Sum => *kept = kept.wrapping_add(number),
                Kept::Least => *kept = (*kept).max(!ordered(number, signed)),
                Kept::Greatest => *kept = (*kept).max(ordered(number, signed)),
                Kept::Rank => *kept = (*kept).max(rank),
            }
        }
    }
    rows
}

fn words() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (-200_i64..200).prop_map(i64::cast_unsigned),
        (0_u32..64, 0_u64..3).prop_map(|(bit, off)| (1_u64 << bit).wrapping_add(off).wrapping_sub(1)),
    ]
}

fn functions() -> impl Strategy<Value = F> {
    let linear = (any::<i32>(), 1_i64..50, 1_u64..1000).prop_map(|(low, steps, step)| F::Lhist {
        low: low.into(),
        high: i64::from(low) + steps * step as i64,
        step,
    });
    prop_oneof![
        proptest::sample::select(vec![
            F::Sum,
            F::Min,
            F::Max,
            F::Avg,
            F::Stats,
            F::Hist,
            F::Quantiles,
            F::Top { size: 3 },
            F::Distinct,
        ]),
        linear,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_what_the_definitions_say(
        function in functions(),
        name in proptest::sample::select(vec!["u64", "s64", "u32", "s32"]),
        words in proptest::collection::vec(words(), 1..20),
    ) {
        let key = binary(spile_core::spec::BinaryOperator::And, field("u64"), int(7));
        let (tables, program) = tabled(&aggregate(function, Some(name), vec![key]), &fields(), &options());
        let mut machine = Machine::new();
        for word in &words {
            machine = machine.run(&program, &mut context(*word));
        }
        let kept = rows(&machine, &tables[0], CPU as u32);
        let hits = |rows: &BTreeMap<Vec<u64>, Vec<u64>>| rows.values().map(|kept| kept[0]).sum::<u64>();
        prop_assert_eq!(&kept, &expected(&tables[0], name, "u64", &words));
        // A sum that 64 bits don't hold is none; such a hit is sent.
        let sent = words.len() as u64 - hits(&kept);
        prop_assert_eq!(machine.ledger[Ledger::Tabled as usize], hits(&kept));
        prop_assert_eq!(machine.rings.values().flatten().count() as u64, sent);
    }

    #[test]
    fn bins_are_those_of_the_core(low in any::<i64>(), steps in 1_i64..1000, step in 1_u64..1 << 40, word in words()) {
        let Some(high) = low.checked_add(steps.saturating_mul(step.cast_signed())) else { return Ok(()) };
        for name in ["u64", "s64"] {
            let probe = aggregate(F::Lhist { low, high, step }, Some(name), vec![]);
            let (tables, program) = tabled(&probe, &fields(), &options());
            let machine = Machine::new().run(&program, &mut context(word));
            let bin = Bin::Linear { low, high, step }.of(value(name, word).0);
            prop_assert!(rows(&machine, &tables[0], CPU as u32).contains_key(&vec![bin.cast_unsigned()]), "{name} {bin}");
        }
    }
}

#[test]
fn keys_of_every_kind_make_a_row() {
    let by = vec![fact(Context::Comm), fact(Context::Pid), field("s32"), fact(Context::ProbeName)];
    let (tables, program) = tabled(&aggregate(F::Count, None, by), &fields(), &options());
    let machine = Machine::new().run(&program, &mut context(-5_i64 as u64));
    let comm = *b"a-command\0......";
    let words = comm.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let key: Vec<u64> = words.chain([4711, u64::from(-5_i32 as u32), 3]).collect();
    assert_eq!(rows(&machine, &tables[0], CPU as u32), BTreeMap::from([(key, vec![1])]));
}

#[test]
fn a_cell_has_one_row_and_the_other_generation_another() {
    let (tables, program) = tabled(&aggregate(F::Count, None, vec![]), &fields(), &options());
    let mut machine = Machine::new();
    for _ in 0..3 {
        machine = machine.run(&program, &mut context(0));
    }
    machine.generation[0] = 2;
    machine = machine.run(&program, &mut context(0));
    assert_eq!(rows(&machine, &tables[0], CPU as u32), BTreeMap::from([(vec![], vec![3])]));
    assert_eq!(rows(&machine, &tables[0], 2 + CPU as u32), BTreeMap::from([(vec![], vec![1])]));
}

#[test]
fn what_finds_no_room_is_sent() {
    let (tables, program) = tabled(&aggregate(F::Sum, Some("u32"), vec![field("u64")]), &fields(), &options());
    let mut machine = Machine::new();
    let hits = 4 << BUCKET_BITS;
    for word in 0..hits {
        machine = machine.run(&program, &mut context(word));
    }
    let kept = rows(&machine, &tables[0], CPU as u32);
    let slots = (1 << BUCKET_BITS) + u64::from(PROBES) - 1;
    assert!(kept.len() as u64 <= slots && kept.len() as u64 > slots / 2, "{} of {slots}", kept.len());
    let sent: Vec<&Vec<u8>> = machine.rings.values().flatten().collect();
    assert_eq!(kept.len() + sent.len(), hits as usize);
    let spill = &tables[0].spill;
    let at = |record: &[u8], column: usize| {
        let slot = spill.slots[column];
        let mut word = [0; 8];
        word[..slot.size as usize].copy_from_slice(&record[slot.offset.unwrap() as usize..][..slot.size as usize]);
        u64::from_le_bytes(word)
    };
    for record in sent {
        assert_eq!(record[ALIGNED_ID as usize..][..2], 4_u16.to_le_bytes());
        assert_eq!(at(record, 0), at(record, 1));
        assert!(!kept.contains_key(&vec![at(record, 0)]), "{} is in both places", at(record, 0));
    }
    let ledger = |word: Ledger| machine.ledger[word as usize];
    assert_eq!(ledger(Ledger::Tabled), kept.len() as u64);
    assert_eq!(ledger(Ledger::Tabled) + ledger(Ledger::Delivered), ledger(Ledger::Hits));
}

#[test]
fn what_finds_no_room_anywhere_is_counted() {
    for deliver in [false, true] {
        let probe = ProbeSpec { deliver, ..aggregate(F::Count, None, vec![field("u64")]) };
        let (_, program) = tabled(&probe, &fields(), &options());
        let mut machine = Machine::new();
        machine.room = 0;
        let hits = 4 << BUCKET_BITS;
        for word in 0..hits {
            machine = machine.run(&program, &mut context(word));
        }
        let ledger = |word: Ledger| machine.ledger[word as usize];
        if deliver {
            assert_eq!((ledger(Ledger::RingFull), ledger(Ledger::Tabled)), (hits, 0));
            assert!(ledger(Ledger::TableLost) > hits / 2);
        } else {
            assert_eq!(ledger(Ledger::Tabled) + ledger(Ledger::RingFull), hits);
            assert!(ledger(Ledger::RingFull) > hits / 2 && ledger(Ledger::TableLost) == 0);
        }
    }
}

#[test]
fn an_unreadable_key_is_counted_and_makes_no_row() {
    let lost = spile_bpf::compile::Leaf::Int { size: 4, signed: true };
    let fields = Table(vec![("lost", Access::Read { ctx_offset: 0, derefs: vec![8], offset: 0, leaf: lost })]);
    let (tables, program) = tabled(&aggregate(F::Count, None, vec![field("lost")]), &fields, &options());
    let machine = Machine::new().run(&program, &mut context(1));
    assert!(machine.parts[&(0, CPU as u32)][HEADER as usize / 8..].iter().all(|word| *word == 0), "{tables:?}");
    assert_eq!(machine.parts[&(0, CPU as u32)][FAULTED as usize / 8], 1);
    assert_eq!(machine.ledger[Ledger::Tabled as usize], 1);
}
