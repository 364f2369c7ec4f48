//! The intermediate form and the bytecode of a few probes, as text, so that a change of the compiler can be read.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;
use compile_support::*;
use spile_bpf::compile::*;
use spile_core::spec::{CompareOperator as C, Condition, Context, StackSpace};

#[test]
fn show() {
    let fields = Table(vec![
        ("nr", Access::Ctx { offset: 8, size: 8, signed: true }),
        ("a", Access::Ctx { offset: 0, size: 8, signed: false }),
    ]);
    let c = Condition::And {
        terms: vec![compare(C::Greater, field("nr"), int(4096)), is_string(fact(Context::Comm), &["cc1"])],
    };
    let o = Options { self_tgid: Some(42), ..options() };
    let (_, p) = compiled(
        ProgramKind::RawTracepoint,
        &probe(&[field("nr"), fact(Context::Pid), fact(Context::Tid), field("a")], None),
        &fields,
        &o,
    );
    println!("{}\n{}", p.ir_text(), p.disassembly());
    let (_, p) = compiled(
        ProgramKind::RawTracepoint,
        &probe(&[field("nr"), stack(StackSpace::Kernel), fact(Context::Utime)], Some(c)),
        &fields,
        &o,
    );
    println!("{}\n{}", p.ir_text(), p.disassembly());
}
