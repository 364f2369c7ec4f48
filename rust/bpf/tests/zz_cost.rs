#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]
mod live_support;
use live_support::session::*;
use live_support::span::*;
use live_support::*;
use spile_core::spec::*;
use std::time::Instant;
fn never() -> Option<Condition> { Some(Condition::Compare { operator: CompareOperator::Greater, left: fact(Context::Elapsed), right: Expr::Int { value: 1 << 50 } }) }
fn storm(spec: Option<SessionSpec>) -> f64 {
    let n = 300_000;
    let e = spec.map(|s| { let mut e = spile_bpf::engine::Engine::prepare(&s).unwrap(); e.start().unwrap(); e });
    let mut best = f64::MAX;
    for _ in 0..7 { let t = Instant::now(); getppid_storm(n); best = best.min(t.elapsed().as_nanos() as f64 / n as f64); }
    drop(e);
    best
}
#[test]
fn cost() {
    let mine = |id: bool| Some(if id { all(vec![is(arg("id"), libc::SYS_getppid), is(fact(Context::Tid), tid())]) } else { is(fact(Context::Tid), tid()) });
    let f = |n: &str, t, c| feeding(n, probe(t, &[], c));
    let enter = || raw_tracepoint("sys_enter"); let exit = || raw_tracepoint("sys_exit");
    let count = |n: &str, t, c| ProbeSpec { deliver: false, aggregates: vec![], ..named(n, probe(t, &[], c)) };
    let _ = count;
    let filt = |n: &str, t| named(n, probe(t, &[], Some(all(vec![is(fact(Context::Tid), tid()), is(fact(Context::Cpu), 99)]))));
    let base = storm(None);
    let two = storm(Some(everything(vec![filt("a", enter()), filt("b", exit())])));
    let mut s = span(vec![of_task(0)], vec![of_task(1)], &[]); s.condition = never();
    let sp = storm(Some(everything(vec![f("a", enter(), mine(true)), f("b", exit(), mine(false)), s])));
    let mut s = span(vec![of_task(0)], vec![of_task(1)], &[("c", at_start(fact(Context::Comm))), ("i", at_start(arg("id"))), ("t", at_start(fact(Context::Tid)))]); s.condition = never();
    let sp2 = storm(Some(everything(vec![f("a", enter(), mine(true)), f("b", exit(), mine(false)), s])));
    println!("cost ns: call {base:.0}, two filtering probes +{:.0}, span +{:.0}, span with comm and two numbers +{:.0}", two - base, sp - base, sp2 - base);
}
