//! Programs at functions, in an interpreter: with the registers or a trampoline's words for a context.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;

use compile_support::machine::{COOKIE, FUNCTION, KERNEL, Machine};
use compile_support::*;
use spile_bpf::compile::{
    Access, Key, Leaf, Ledger, Options, Output, Program, ProgramKind, Side, Site, SpanLayout, compile_end,
    compile_start, schema,
};
use spile_core::event::{Layouts, Record, Value};
use spile_core::layout::{Encoding, EventLayout};
use spile_core::spec::{Context, Expr, StackSpace};

/// Offsets in `struct pt_regs`, as arch/x86/include/uapi/asm/ptrace.h has them.
const RDI: usize = 112;
const RSI: usize = 104;
const RAX: usize = 80;
const RSP: usize = 152;
const STACK: u64 = 0xffff_c900_0012_3f58;

fn registers(values: &[(usize, u64)]) -> Vec<u8> {
    let mut bytes = vec![0; 168];
    values.iter().for_each(|(at, value)| bytes[*at..at + 8].copy_from_slice(&value.to_le_bytes()));
    bytes
}

fn fields() -> Table {
    Table(vec![
        ("pointer", Access::Ctx { offset: RDI as u32, size: 8, signed: false }),
        ("small", Access::Ctx { offset: RSI as u32, size: 2, signed: true }),
        (
            "far",
            Access::Read {
                ctx_offset: RDI as u32,
                derefs: vec![],
                offset: 4,
                leaf: Leaf::Int { size: 4, signed: false },
            },
        ),
        ("ret", Access::Ctx { offset: RAX as u32, size: 4, signed: true }),
    ])
}

fn values(layout: &EventLayout, bytes: &[u8]) -> Vec<Option<i128>> {
    let layouts = Layouts::new(vec![layout.clone()]).unwrap();
    let Record::Event(event) = Record::parse(&layouts, 0, bytes).unwrap() else { panic!("a definition") };
    let number = |index| match event.value(index) {
        Value::Null => None,
        Value::Unsigned(value) => Some(value.into()),
        Value::Signed(value) => Some(value.into()),
        Value::Name(id) => Some(id.into()),
        other => panic!("{other:?}"),
    };
    (0..layout.schema.fields.len()).map(number).collect()
}

fn returned(ret: u64) -> Vec<Option<i128>> {
    let probe = probe(&[fact(Context::Ret), fact(Context::Error)], None);
    let (layout, program) = compiled(ProgramKind::Kretprobe, &probe, &fields(), &options());
    let machine = Machine::new().run(&program, &mut registers(&[(RAX, ret)]));
    values(&layout, machine.record())
}

#[test]
fn an_error_is_a_small_negative_result() {
    // The upper half of the register is whatever the function left there.
    let garbage = 0xdead_beef_0000_0000;
    for (ret, expected, error) in
        [(0, 0, 0), (7, 7, 0), (-2_i32, -2, 2), (-4095, -4095, 4095), (-4096, -4096, 0), (i32::MIN, i32::MIN.into(), 0)]
    {
        let ret = garbage | u64::from(ret.cast_unsigned());
        assert_eq!(returned(ret), [Some(expected), Some(error)], "{ret:#x}");
    }
}

#[test]
fn a_trampoline_s_words_are_numbers() {
    let fields = Table(vec![
        ("pointer", Access::Ctx { offset: 0, size: 8, signed: false }),
        ("far", Access::Read { ctx_offset: 0, derefs: vec![], offset: 4, leaf: Leaf::Int { size: 4, signed: false } }),
        ("small", Access::Ctx { offset: 8, size: 2, signed: true }),
    ]);
    let probe = probe(&[field("pointer"), field("far"), field("small")], None);
    let (layout, program) = compiled(ProgramKind::Fentry, &probe, &fields, &options());
    let mut machine = Machine::new();
    machine.kernel = [1_u32, 42].iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut context: Vec<u8> = [KERNEL, 0xffff_0000_ffff_fffe].iter().flat_map(|word| word.to_le_bytes()).collect();
    let machine = machine.run(&program, &mut context);
    assert_eq!(values(&layout, machine.record()), [Some(KERNEL.into()), Some(42), Some(-2)]);
}

#[test]
fn a_shared_program_finds_its_id_in_the_cookie() {
    let options = Options { event_id: COOKIE as u16, id_in_cookie: true, ..options() };
    let probe = probe(&[fact(Context::ProbeName), fact(Context::Pid)], None);
    let (layout, program) = compiled(ProgramKind::Kprobe, &probe, &fields(), &options);
    let (_, other) = compiled(ProgramKind::Kprobe, &probe, &fields(), &Options { event_id: 77, ..options });
    assert_eq!(program.insns, other.insns, "nothing of the id is in the code");
    let machine = Machine::new().run(&program, &mut registers(&[]));
    assert_eq!(values(&layout, machine.record())[0], Some(COOKIE.into()));
}

#[test]
fn a_kretprobe_s_stack_begins_with_the_function() {
    let probe = probe(&[stack(StackSpace::Kernel)], None);
    let (_, program) = compiled(ProgramKind::Kretprobe, &probe, &fields(), &options());
    let mut machine = Machine::new();
    machine.kernel_stack = vec![0xffff_ffff_8200_0000, 0xffff_ffff_8300_0000];
    let machine = machine.run(&program, &mut registers(&[]));
    let definition = &machine.rings.values().flatten().next().unwrap()[16..];
    let frames: Vec<u64> = definition.chunks(8).map(|frame| u64::from_le_bytes(frame.try_into().unwrap())).collect();
    assert!(frames.ends_with(&[FUNCTION, 0xffff_ffff_8200_0000, 0xffff_ffff_8300_0000]), "{frames:x?}");
}

/// The programs at a function's entry and return.
fn pair(captures: &[Expr]) -> (SpanLayout, EventLayout, Program, Program) {
    let probe = probe(captures, None);
    let fields = fields();
    let kept = SpanLayout::compute(captures, &[&fields], "probes[0]").unwrap();
    let kept = kept.with_words(&[RDI as u32, RSI as u32]);
    let side = Side { number: 0, layout: &kept, key: Key::Call, probe: 0, condition: None };
    // An entry has the number behind its return's.
    let (first, second) = (options(), Options { event_id: options().event_id + 1, ..options() });
    let site = |kind, options| Site { kind, fields: &fields, offsets: &OFFSETS, options };
    let start = compile_start(&site(ProgramKind::Kprobe, &second), &probe, 0, side).unwrap();
    let (schema, columns) = schema(&probe, 0, 0, first.event_id, &fields, Some(&kept)).unwrap();
    let layout = EventLayout::compute(schema, Encoding::Aligned).unwrap();
    let end = compile_end(
        &site(ProgramKind::Kretprobe, &first),
        &probe,
        side,
        Output { layout: &layout, columns: &columns, tables: &[] },
    )
    .unwrap();
    (kept, layout, start, end)
}

#[test]
fn a_return_has_the_registers_of_its_own_entry() {
    let captures = [field("pointer"), field("small"), field("far"), fact(Context::Ret), at_start(field("small"))];
    let (kept, layout, start, end) = pair(&captures);
    let mut machine = Machine::keeping(kept.size());
    machine.kernel = [0_u32, 42].iter().flat_map(|word| word.to_le_bytes()).collect();
    // A call within a call: the inner one is deeper in the stack, and returns first.
    let machine = machine.run(&start, &mut registers(&[(RSP, STACK), (RDI, KERNEL), (RSI, 5)]));
    let machine = machine.run(&start, &mut registers(&[(RSP, STACK - 64), (RDI, 8), (RSI, 6)]));
    // A return takes its address off the stack, and leaves nothing in the argument registers that is of use.
    let machine = machine.run(&end, &mut registers(&[(RSP, STACK - 64 + 8), (RAX, 11)]));
    let inner = values(&layout, machine.record());
    assert_eq!(inner, [Some(8), Some(6), None, Some(11), Some(6)]);
    let machine = machine.run(&end, &mut registers(&[(RSP, STACK + 8), (RAX, 12)]));
    let outer = values(&layout, machine.record());
    assert_eq!(outer, [Some(KERNEL.into()), Some(5), Some(42), Some(12), Some(5)]);
    // One that began before the session.
    let machine = machine.run(&end, &mut registers(&[(RSP, STACK + 8), (RAX, 13)]));
    let count = |word: Ledger| machine.ledger[word as usize];
    assert_eq!((count(Ledger::Hits), count(Ledger::Opened), count(Ledger::Matched)), (5, 2, 2));
    assert_eq!((count(Ledger::Delivered), count(Ledger::Unmatched)), (2, 1));
}

#[test]
fn a_kretprobe_alone_has_no_arguments() {
    let probe = probe(&[field("small")], None);
    let (schema, columns) = schema(&probe, 0, 0, 3, &fields(), None).unwrap();
    let layout = EventLayout::compute(schema, Encoding::Aligned).unwrap();
    let kind = ProgramKind::Kretprobe;
    let refused = spile_bpf::compile::compile(
        kind,
        &probe,
        Output { layout: &layout, columns: &columns, tables: &[] },
        &fields(),
        &OFFSETS,
        &options(),
    );
    assert!(refused.unwrap_err().to_string().contains("a kretprobe has no arguments"));
}
