//! Records, byte by byte: what a program writes into the ring, and what it counts when it can't.

#![cfg(target_pointer_width = "64")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;

use compile_support::machine::{KERNEL, Machine, PID, TID, TIME, USER};
use compile_support::*;
use spile_bpf::compile::{Access, Filter, Leaf, NoFields, Options, ProgramKind};
use spile_core::layout::EventLayout;
use spile_core::spec::{Capture, CompareOperator as C, Condition, Context, ProbeSpec, StackSpace};

fn number(record: &[u8], at: u32, size: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(&record[at as usize..][..size]);
    u64::from_le_bytes(bytes)
}

fn column(layout: &EventLayout, record: &[u8], index: usize) -> u64 {
    let slot = layout.slots[index];
    number(record, slot.offset.unwrap(), slot.size as usize)
}

fn nulls(record: &[u8]) -> u64 {
    number(record, 10, 2)
}

/// The string or bytes of a column, and whether they are marked as cut.
fn tail<'r>(layout: &EventLayout, record: &'r [u8], index: usize) -> (&'r [u8], bool) {
    let slot = column(layout, record, index) as usize;
    let (offset, length) = (slot & 0xffff, slot >> 16 & 0x7fff);
    assert_eq!(offset % 8, 0);
    assert!(offset >= layout.fixed_size as usize && record.len() <= layout.max_size as usize);
    (&record[offset..offset + length], slot >> 31 == 1)
}

/// The definition of `hash_frames` in the core, once more.
fn hash(pid: u64, frames: &[u64]) -> u64 {
    let mut hash = 0x9E37_79B9_7F4A_7C15 ^ pid;
    for frame in frames {
        hash = (hash ^ frame).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        hash ^= hash >> 32;
    }
    hash
}

#[test]
fn facts_are_where_the_layout_says() {
    let facts =
        [Context::Pid, Context::Tid, Context::Uid, Context::Gid, Context::Cpu, Context::Cgroup, Context::ProbeName];
    let mut captures = facts.map(fact).to_vec();
    captures.extend([fact(Context::Comm), fact(Context::Timestamp), fact(Context::Task)]);
    let (layout, program) = compiled(ProgramKind::PerfEvent, &probe(&captures, None), &NoFields, &options());
    let machine = Machine::new().run(&program, &mut [0; 8]);
    let record = machine.record();
    assert_eq!(record.len(), layout.fixed_size as usize);
    assert_eq!((number(record, 0, 8), number(record, 8, 2), nulls(record)), (TIME, 3, 0));
    let found: Vec<u64> = (0..7).map(|index| column(&layout, record, index)).collect();
    assert_eq!(found, [PID, TID, 1000, 100, 1, 77, 3]);
    let comm = layout.slots[7].offset.unwrap() as usize;
    assert_eq!(&record[comm..comm + 10], b"a-command\0");
    assert_eq!((column(&layout, record, 8), column(&layout, record, 9)), (TIME, KERNEL));
    assert_eq!(machine.ledger[..8], [1, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn times_and_parents_are_read_from_the_task() {
    let captures = [Context::Utime, Context::Stime, Context::Ppid].map(fact);
    let (layout, program) = compiled(ProgramKind::PerfEvent, &probe(&captures, None), &NoFields, &options());
    let mut machine = Machine::new();
    machine.kernel = vec![0; 8192];
    let mut put = |at: u32, value: u64| machine.kernel[at as usize..][..8].copy_from_slice(&value.to_le_bytes());
    put(OFFSETS.task_utime, 123);
    put(OFFSETS.task_stime, 456);
    put(OFFSETS.task_real_parent, KERNEL + 4096);
    put(4096 + OFFSETS.task_tgid, 99);
    let machine = machine.run(&program, &mut [0; 8]);
    let record = machine.record();
    assert_eq!([0, 1, 2].map(|index| column(&layout, record, index)), [123, 456, 99]);
    let machine = Machine::new().run(&program, &mut [0; 8]);
    assert_eq!(nulls(machine.record()), 0b111);
    assert_eq!(machine.ledger[..8], [1, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn strings_go_to_the_tail() {
    let captures = [
        string(int(USER.into()), 8),
        string(int((KERNEL + 2).into()), 8),
        string(int(1), 8),
        string(int(USER.into()), 6),
    ];
    let (layout, program) = compiled(ProgramKind::PerfEvent, &probe(&captures, None), &NoFields, &options());
    let mut machine = Machine::new();
    machine.user = b"/a/long/path\0".to_vec();
    machine.kernel = b"xx1234567\0".to_vec();
    let machine = machine.run(&program, &mut [0; 8]);
    let record = machine.record();
    assert_eq!(tail(&layout, record, 0), (&b"/a/long"[..], true));
    assert_eq!(tail(&layout, record, 1), (&b"1234567"[..], false), "it just fits");
    assert_eq!((column(&layout, record, 2), nulls(record)), (0, 0b0100));
    assert_eq!(tail(&layout, record, 3), (&b"/a/lo"[..], true));
    assert_eq!(record.len(), layout.fixed_size as usize + 24, "a record is as long as what is in it");
}

fn record_fields() -> Table {
    Table(vec![
        ("comm", Access::CtxString { offset: 8, size: 16 }),
        ("odd", Access::CtxString { offset: 26, size: 7 }),
        ("path", Access::CtxDynString { offset: 36 }),
        ("mask", Access::CtxDynBytes { offset: 40 }),
        ("args", Access::CtxArray { offset: 48, elem_size: 8, signed: false, count: 2 }),
    ])
}

fn record_context() -> Vec<u8> {
    let mut ctx = vec![0; 100];
    ctx[8..24].copy_from_slice(b"kworker/0:1\0abcd");
    ctx[26..33].copy_from_slice(b"seven77");
    ctx[36..40].copy_from_slice(&(64_u32 | 12 << 16).to_le_bytes());
    ctx[40..44].copy_from_slice(&(80_u32 | 3 << 16).to_le_bytes());
    ctx[48..64].copy_from_slice(&[7; 16]);
    ctx[64..76].copy_from_slice(b"/bin/thing\0\0");
    ctx[80..83].copy_from_slice(&[1, 0, 2]);
    ctx
}

#[test]
fn every_kind_of_string_and_array_of_a_record() {
    let probe = ProbeSpec { capture: Capture::All, ..probe(&[], None) };
    let (layout, program) = compiled(ProgramKind::Tracepoint, &probe, &record_fields(), &options());
    let machine = Machine::new().run(&program, &mut record_context());
    let record = machine.record();
    let comm = layout.slots[0].offset.unwrap() as usize;
    assert_eq!(&record[comm..comm + 16], b"kworker/0:1\0abcd");
    let odd = layout.slots[1].offset.unwrap() as usize;
    assert_eq!(&record[odd..odd + 7], b"seven77");
    assert_eq!(tail(&layout, record, 2), (&b"/bin/thing"[..], false));
    assert_eq!(tail(&layout, record, 3), (&[1, 0, 2][..], false));
    assert_eq!(tail(&layout, record, 4), (&[7; 16][..], false));
    assert_eq!(nulls(record), 0);
}

#[test]
fn strings_are_compared() {
    let user = || string(int(USER.into()), 64);
    let starts = |value, prefix: &str| Condition::StartsWith { value, prefix: prefix.into() };
    let not = |term| Condition::Not { term: Box::new(term) };
    let long = "p".repeat(400);
    let cases = [
        (is_string(fact(Context::Comm), &["as", "a-command"]), true),
        (is_string(fact(Context::Comm), &["a-comman", "a-commands", ""]), false),
        (starts(fact(Context::Comm), "a-com"), true),
        (starts(fact(Context::Comm), "b"), false),
        (starts(fact(Context::Comm), ""), true),
        (is_string(field("comm"), &["kworker/0:1"]), true),
        (is_string(field("comm"), &["kworker/0:1\u{0}abcd"]), true),
        (is_string(field("comm"), &["kworker/0:"]), false),
        (starts(field("comm"), "kworker/"), true),
        (is_string(field("odd"), &["seven77"]), true),
        (is_string(field("odd"), &["seven7", "seven777"]), false),
        (is_string(field("path"), &["/bin/thing"]), true),
        (is_string(field("path"), &["/bin/thin"]), false),
        (is_string(field("path"), &["/bin/thing0"]), false),
        (starts(field("path"), "/bin/"), true),
        (not(starts(field("path"), "/sbin/")), true),
        (is_string(user(), &["/etc/passwd"]), true),
        (is_string(user(), &["/etc/passw"]), false),
        (is_string(string(int(USER.into()), 6), &["/etc/"]), true),
        (is_string(string(int((USER + 16).into()), 500), &["x", &long]), true),
        (is_string(string(int((USER + 16).into()), 500), &[&long[1..]]), false),
    ];
    for (condition, expected) in cases {
        let probe = probe(&[], Some(condition));
        let (_, program) = compiled(ProgramKind::Tracepoint, &probe, &record_fields(), &options());
        let mut machine = Machine::new();
        machine.user = [&b"/etc/passwd\0...."[..], long.as_bytes(), &[0]].concat();
        let machine = machine.run(&program, &mut record_context());
        assert_eq!((machine.ledger[1], machine.ledger[2]), if expected { (0, 1) } else { (1, 0) }, "{probe:#?}");
    }
}

#[test]
fn a_fault_decides_past_every_not() {
    let condition = is_string(string(int(5), 64), &["x"]);
    for condition in [condition.clone(), Condition::Not { term: Box::new(condition) }] {
        let (_, program) = compiled(ProgramKind::PerfEvent, &probe(&[], Some(condition)), &NoFields, &options());
        let machine = Machine::new().run(&program, &mut [0; 8]);
        assert_eq!(machine.ledger[..8], [1, 0, 0, 0, 0, 0, 1, 0]);
    }
}

#[test]
fn a_stack_is_defined_once_and_named_by_its_hash() {
    let captures = [stack(StackSpace::Kernel), stack(StackSpace::User), fact(Context::Comm)];
    let by = vec![stack(StackSpace::Kernel)];
    let probe = counted_by(probe(&captures, None), by);
    let (layout, program) = compiled(ProgramKind::RawTracepoint, &probe, &NoFields, &options());
    assert_eq!(layout.schema.keys, [[0]], "a key that is captured is sent once");
    let mut machine = Machine::new();
    machine.kernel_stack = vec![0xffff_ffff_8100_0000, 0xffff_ffff_8100_1234, 0xffff_ffff_8234_5678];
    machine.user_stack = (0..200).map(|frame| 0x55_0000 + frame).collect();
    let (kernel, user) = (hash(0, &machine.kernel_stack), hash(PID, &machine.user_stack[..127]));
    let machine = machine.run(&program, &mut [0; 8]).run(&program, &mut [0; 8]);
    let records: Vec<&Vec<u8>> = machine.rings.values().flatten().collect();
    let [first, second, event, again] = records[..] else { panic!("{} records", records.len()) };
    let header =
        |record: &[u8]| (number(record, 0, 8), number(record, 8, 2), number(record, 10, 2), number(record, 12, 4));
    assert_eq!(header(first), (kernel, 0, 3, 0));
    assert_eq!(number(first, 24, 8), 0xffff_ffff_8100_1234);
    assert_eq!(first.len(), 16 + 3 * 8);
    assert_eq!(header(second), (user, 0, 127, PID));
    assert_eq!(second.len(), 16 + 127 * 8);
    for event in [event, again] {
        assert_eq!((column(&layout, event, 0), column(&layout, event, 1), nulls(event)), (kernel, user, 0));
    }
    assert_eq!(machine.ledger[..8], [2, 0, 2, 0, 0, 0, 0, 0]);
}

#[test]
fn no_stack_is_null_and_a_kernel_one_is_counted() {
    let probe = probe(&[stack(StackSpace::User), stack(StackSpace::Kernel)], None);
    let (layout, program) = compiled(ProgramKind::RawTracepoint, &probe, &NoFields, &options());
    let machine = Machine::new().run(&program, &mut [0; 8]);
    assert_eq!((column(&layout, machine.record(), 0), nulls(machine.record())), (0, 0b11));
    assert_eq!(machine.ledger[..8], [1, 0, 1, 0, 1, 0, 0, 0]);
}

#[test]
fn a_full_ring_is_counted_and_a_lost_definition_is_sent_again() {
    let (_, program) =
        compiled(ProgramKind::RawTracepoint, &probe(&[stack(StackSpace::Kernel)], None), &NoFields, &options());
    let mut machine = Machine::new();
    machine.kernel_stack = vec![1];
    machine.room = 0;
    let mut machine = machine.run(&program, &mut [0; 8]);
    assert_eq!(machine.ledger[..8], [1, 0, 0, 1, 0, 0, 0, 1]);
    machine.room = 2;
    let machine = machine.run(&program, &mut [0; 8]);
    assert_eq!(machine.ledger[..8], [2, 0, 1, 1, 0, 0, 0, 1]);
    assert_eq!(machine.rings.values().flatten().count(), 2);
}

#[test]
fn too_deep_a_nesting_is_counted() {
    let (_, program) =
        compiled(ProgramKind::PerfEvent, &probe(&[string(int(USER.into()), 8)], None), &NoFields, &options());
    for (level, expected) in [(3, [1, 0, 1, 0, 0, 0, 0, 0]), (4, [1, 0, 0, 0, 0, 1, 0, 0])] {
        let mut machine = Machine::new();
        machine.scratch[0] = level;
        let machine = machine.run_at(&program, &mut [0; 8], level);
        assert_eq!(machine.ledger[..8], expected);
    }
}

#[test]
fn the_gate_and_the_filters_keep_tasks_out_uncounted() {
    let filtered = |target, self_tgid| Options { target, self_tgid, ..options() };
    let none = Filter { pids: false, cgroup: None };
    let cases = [
        (filtered(none, Some(PID as u32)), 0),
        (filtered(none, Some(1)), 1),
        (filtered(Filter { pids: true, ..none }, None), 1),
        (filtered(Filter { cgroup: Some(77), ..none }, None), 1),
        (filtered(Filter { cgroup: Some(78), ..none }, None), 0),
    ];
    for (options, hits) in cases {
        let (_, program) = compiled(ProgramKind::PerfEvent, &probe(&[], None), &NoFields, &options);
        let mut machine = Machine::new();
        machine.pids = vec![1, PID as u32];
        let mut machine = machine.run(&program, &mut [0; 8]);
        assert_eq!(machine.ledger[..8], [hits, 0, hits, 0, 0, 0, 0, 0], "{options:?}");
        machine.pids = vec![1];
        for state in [0, 2] {
            machine.gate[0] = state;
            machine = machine.run(&program, &mut [0; 8]);
            assert_eq!(machine.ledger[0], hits);
        }
    }
}

#[test]
fn bit_fields_are_taken_out_of_their_words() {
    let bits = |shift, width, signed| Access::Read {
        ctx_offset: 0,
        derefs: vec![],
        offset: 4,
        leaf: Leaf::Bits { size: 4, shift, width, signed },
    };
    let fields = Table(vec![("a", bits(0, 3, false)), ("b", bits(3, 5, true)), ("c", bits(0, 32, true))]);
    let probe = ProbeSpec { capture: Capture::All, ..probe(&[], Some(compare(C::Equal, field("b"), int(-2)))) };
    let (layout, program) = compiled(ProgramKind::RawTracepoint, &probe, &fields, &options());
    let mut machine = Machine::new();
    machine.kernel = vec![0, 0, 0, 0, 0b1111_0101, 0xff, 0xff, 0xff];
    let machine = machine.run(&program, &mut KERNEL.to_le_bytes());
    assert_eq!([0, 1, 2].map(|index| column(&layout, machine.record(), index) as u32 as i32), [5, -2, -11]);
}
