//! The engine, live: specs in, events out, on this machine's kernel. Expected numbers come from the workloads themselves.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use live_support::session::*;
use live_support::*;
use spile_core::spec::{CompareOperator, Condition, Context, Expr, PathStep};

fn arg(name: &str) -> Expr {
    Expr::Field { path: vec![PathStep::Name(name.into())] }
}

fn fact(name: Context) -> Expr {
    Expr::Context { name }
}

fn is(left: Expr, value: i128) -> Condition {
    Condition::Compare { operator: CompareOperator::Equal, left, right: Expr::Int { value } }
}

const CALLS: usize = 20_000;

#[test]
fn raw_tracepoints_see_every_call() {
    if !can_trace() {
        return;
    }
    let captures = [("id", arg("id")), ("tid", fact(Context::Tid))];
    let spec = of_this_process(vec![probe(raw_tracepoint("sys_enter"), &captures, None)]);
    let outcome = run(&spec, |_| getppid_storm(CALLS));
    outcome.check();
    let mine = [Owned::Number(libc::SYS_getppid.into()), Owned::Number(tid().into())];
    assert_eq!(outcome.events.iter().filter(|event| event.values == mine).count(), CALLS);
}

#[test]
fn classic_tracepoints_see_every_call() {
    if !can_trace() {
        return;
    }
    let captures = [("id", arg("id")), ("tid", fact(Context::Tid))];
    let spec = of_this_process(vec![probe(tracepoint("raw_syscalls", "sys_enter"), &captures, None)]);
    let outcome = run(&spec, |_| getppid_storm(CALLS));
    outcome.check();
    let mine = [Owned::Number(libc::SYS_getppid.into()), Owned::Number(tid().into())];
    assert_eq!(outcome.events.iter().filter(|event| event.values == mine).count(), CALLS);
}

#[test]
fn conditions_are_decided_in_the_kernel() {
    if !can_trace() {
        return;
    }
    let condition =
        Condition::And { terms: vec![is(arg("id"), libc::SYS_getppid.into()), is(fact(Context::Tid), tid().into())] };
    let spec = of_this_process(vec![probe(raw_tracepoint("sys_enter"), &[], Some(condition))]);
    let outcome = run(&spec, |_| getppid_storm(CALLS));
    outcome.check();
    let row = outcome.row();
    assert_eq!((row.delivered, row.hits), (CALLS as u64, row.filtered + CALLS as u64));
}
