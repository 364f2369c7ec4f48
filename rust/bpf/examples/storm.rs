//! What a probe costs the traced: a getppid storm under probes of several kinds, less the untraced storm.
//!
//! Prints nanoseconds per call for each; run it in a release build, as root, on an idle machine.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, not a library")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spile_bpf::engine::Engine;
use spile_core::event::Event;
use spile_core::merge::Merge;
use spile_core::spec::{
    Attach, Capture, Context, Expr, Limits, NamedExpr, PathStep, ProbeSpec, SPEC_VERSION, SessionSpec, StackSpace,
    Target, TargetFilter,
};

const CALLS: u32 = 1_000_000;
const ROUNDS: usize = 5;

fn storm() -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        // SAFETY: getppid takes nothing and changes nothing.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

fn field(path: &[PathStep]) -> Expr {
    Expr::Field { path: path.to_vec() }
}

fn name(name: &str) -> PathStep {
    PathStep::Name(name.into())
}

fn spec(target: Target, captures: Vec<Expr>) -> SessionSpec {
    let fields = captures.into_iter().enumerate().map(|(i, expr)| NamedExpr { name: format!("c{i}"), expr }).collect();
    SessionSpec {
        version: SPEC_VERSION,
        target: TargetFilter { pid: None, follow: false, cgroup: None, exclude_self: false },
        limits: Limits {
            buffer: 8 << 20,
            queue: 64 << 20,
            stack_depth: 127,
            stack_cache: 4096,
            transport: Default::default(),
            tables: 32 << 20,
            on_full: Default::default(),
            max_overhead: None,
        },
        probes: vec![ProbeSpec {
            name: "storm".into(),
            declared_at: None,
            targets: vec![target],
            span: None,
            attach: Attach::Auto,
            sample: 1,
            capture: Capture::Fields { fields },
            condition: None,
            aggregates: Vec::new(),
            deliver: true,
        }],
    }
}

fn traced(spec: &SessionSpec) -> (f64, u64) {
    let mut engine = Engine::prepare(spec).unwrap();
    if std::env::args().any(|argument| argument == "--explain") {
        println!("{}", engine.explain(true));
    }
    let mut merge = Merge::new(engine.sources().unwrap(), engine.layouts(), Arc::default());
    engine.start().unwrap();
    let stop = AtomicBool::new(false);
    let time = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sink = |_: &Event<'_>| true;
            while !stop.load(Ordering::Relaxed) {
                merge.turn(&mut sink, false).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let time = storm();
        stop.store(true, Ordering::Relaxed);
        time
    });
    engine.close().unwrap();
    let row = engine.ledger().unwrap()[0];
    (time, row.ring_full + row.missed)
}

fn main() {
    let facts = |id: Expr| {
        let context = |name| Expr::Context { name };
        vec![context(Context::Pid), context(Context::Tid), context(Context::Cpu), id]
    };
    let element = |index| field(&[name("args"), PathStep::Index(index)]);
    let raw = || Target::RawTracepoint { name: "sys_enter".into() };
    let classic = || Target::Tracepoint { category: "raw_syscalls".into(), name: "sys_enter".into() };
    let getppid = || Target::Tracepoint { category: "syscalls".into(), name: "sys_enter_getppid".into() };
    let kernel_stack = Expr::Stack { space: StackSpace::Kernel, depth: None };
    let cases = [
        ("raw, no field", spec(raw(), vec![])),
        ("raw, pid tid cpu id", spec(raw(), facts(field(&[name("id")])))),
        (
            "raw, id di si dx",
            spec(
                raw(),
                ["di", "si", "dx"]
                    .map(|r| field(&[name("regs"), name(r)]))
                    .into_iter()
                    .chain([field(&[name("id")])])
                    .collect(),
            ),
        ),
        ("classic, no field", spec(classic(), vec![])),
        ("classic, pid tid cpu id", spec(classic(), facts(field(&[name("id")])))),
        ("classic, id args[0..3]", spec(classic(), vec![field(&[name("id")]), element(0), element(1), element(2)])),
        ("classic, syscalls:sys_enter_getppid", spec(getppid(), vec![])),
        ("raw, kernel stack", spec(raw(), vec![kernel_stack])),
    ];
    for (name, spec) in &cases {
        let start = Instant::now();
        let mut engine = Engine::prepare(spec).unwrap();
        let prepared = start.elapsed();
        engine.start().unwrap();
        let started = start.elapsed() - prepared;
        engine.close().unwrap();
        println!("{name:40} prepared in {prepared:?}, started in {started:?}, closed at {:?}", start.elapsed());
    }
    let mut costs = vec![Vec::new(); cases.len()];
    let mut lost = vec![0; cases.len()];
    let mut bare = Vec::new();
    for _ in 0..ROUNDS {
        for (index, (_, spec)) in cases.iter().enumerate() {
            let before = storm();
            let (time, losses) = traced(spec);
            let after = storm();
            bare.extend([before, after]);
            costs[index].push(time - f64::midpoint(before, after));
            lost[index] += losses;
        }
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        (values[0], values[values.len() / 2])
    };
    let (least, middle) = median(&mut bare);
    println!("{:40} {least:7.1} {middle:7.1}", "untraced storm (least, median ns)");
    for (index, (name, _)) in cases.iter().enumerate() {
        let (least, middle) = median(&mut costs[index]);
        println!("{name:40} {least:7.1} {middle:7.1}  lost {}", lost[index]);
    }
}
