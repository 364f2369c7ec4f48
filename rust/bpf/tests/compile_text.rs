//! The intermediate form and the bytecode of a few probes, as text, so that a change of the compiler can be read.
//!
//! Each probe's text is a file in `text/`. After a change that is meant, `SPILE_BLESS=1 cargo test` writes them anew;
//! the difference is what there is to review.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;
use std::path::Path;

use compile_support::*;
use spile_bpf::compile::{Access, Filter, Options, Program, ProgramKind};
use spile_core::spec::{CompareOperator as C, Condition, Context, Expr, StackSpace};

fn fields() -> Table {
    Table(vec![("nr", Access::Ctx { offset: 8, size: 8, signed: true }), ("path", Access::CtxDynString { offset: 16 })])
}

fn check(name: &str, captures: &[Expr], condition: Option<Condition>, options: &Options) {
    check_program(name, &compiled(ProgramKind::RawTracepoint, &probe(captures, condition), &fields(), options).1);
}

fn check_program(name: &str, program: &Program) {
    let text = format!("{}\n{}", program.ir_text(), program.disassembly());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/text/{name}.txt"));
    if std::env::var_os("SPILE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, expected, "{}", path.display());
}

#[test]
fn integers_go_straight_into_a_reserved_record() {
    let captures = [field("nr"), fact(Context::Pid), fact(Context::Tid), fact(Context::Cpu)];
    check("integers", &captures, None, &Options { self_tgid: Some(42), ..options() });
}

#[test]
fn a_condition_leaves_at_the_first_term_that_decides() {
    let terms = vec![compare(C::Greater, field("nr"), int(4096)), is_string(fact(Context::Comm), &["cc1", "as"])];
    let pids = Options { target: Filter { pids: true, cgroup: None }, ..options() };
    check("condition", &[field("nr")], Some(Condition::And { terms }), &pids);
}

#[test]
fn a_stack_is_hashed_and_sent_once() {
    check("stack", &[stack(StackSpace::Kernel), fact(Context::Utime)], None, &Options { cpus: 1, ..options() });
}

#[test]
fn a_string_goes_by_way_of_scratch() {
    check("string", &[field("path"), fact(Context::Comm)], None, &Options { cpus: 1, ..options() });
}

#[test]
fn a_span_is_put_and_taken() {
    let elapsed = compare(C::Greater, fact(Context::Elapsed), int(1000));
    let probe = span(&[at_start(field("nr")), fact(Context::Elapsed)], Some(elapsed), true);
    let (fields, options, key) = (fields(), Options { cpus: 1, ..options() }, fact(Context::Task));
    let of_start = compare(C::Equal, field("nr"), int(35));
    let kind = ProgramKind::RawTracepoint;
    let pair = paired(kind, &probe, &key, (&fields, Some(&of_start)), (&fields, None), &options).unwrap();
    check_program("span_start", &pair.start);
    check_program("span_end", &pair.end);
}
