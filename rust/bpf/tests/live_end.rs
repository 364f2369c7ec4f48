//! How sessions end: what the kernel's own list of programs says afterwards.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use live_support::session::*;
use live_support::*;
use spile_bpf::engine::Engine;
use spile_bpf::kernel::program::ids;
use spile_core::spec::{Context, SessionSpec, StackSpace, Target, TargetFilter};

/// Set in the child that [`a_killed_process_leaves_nothing`] starts and kills.
const VICTIM: &str = "SPILE_TEST_VICTIM";

fn spec() -> SessionSpec {
    let captures = [("comm", fact(Context::Comm)), ("stack", stack(StackSpace::Kernel))];
    let probes = vec![
        probe(raw_tracepoint("sched_switch"), &captures, None),
        named("classic", probe(tracepoint("sched", "sched_wakeup"), &captures, None)),
        named("timer", probe(Target::Profile { hz: 10 }, &captures, None)),
    ];
    let target = TargetFilter { pid: Some(std::process::id()), follow: true, cgroup: None, exclude_self: false };
    SessionSpec { target, ..everything(probes) }
}

/// Programs end when the last reference does, a grace period after the last descriptor.
fn gone(programs: &[u32]) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let left = ids().unwrap();
        if programs.iter().all(|id| !left.contains(id)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn a_dropped_engine_leaves_nothing() {
    require_tracing!();
    let mut engine = Engine::prepare(&spec()).unwrap();
    engine.start().unwrap();
    let programs = engine.program_ids().unwrap();
    assert_eq!(programs.len(), 5);
    assert!(programs.iter().all(|id| ids().unwrap().contains(id)));
    drop(engine);
    assert!(gone(&programs));
}

#[test]
fn a_killed_process_leaves_nothing() {
    require_tracing!();
    if std::env::var_os(VICTIM).is_some() {
        let mut engine = Engine::prepare(&spec()).unwrap();
        engine.start().unwrap();
        let programs: Vec<String> = engine.program_ids().unwrap().iter().map(u32::to_string).collect();
        println!("\nPROGRAMS {}", programs.join(" "));
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["a_killed_process_leaves_nothing", "--exact", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(victim.stdout.take().unwrap());
    let line = std::io::BufRead::lines(output).map(Result::unwrap).find(|line| line.starts_with("PROGRAMS ")).unwrap();
    let programs: Vec<u32> = line.split(' ').skip(1).map(|id| id.parse().unwrap()).collect();
    let present = ids().unwrap();
    assert!(programs.len() == 5 && programs.iter().all(|id| present.contains(id)), "{programs:?} of {present:?}");
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(gone(&programs), "{programs:?} are still there");
}

#[test]
fn closing_is_final_and_quick() {
    require_tracing!();
    // Storms on every CPU, so that there is always a program that runs.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    getppid_storm(1000);
                }
            });
        }
        let captures = [("id", arg("id")), ("stack", stack(StackSpace::User))];
        let spec = of_this_process(vec![probe(raw_tracepoint("sys_enter"), &captures, None)]);
        for _ in 0..5 {
            let start = Instant::now();
            let outcome = run(&spec, |_| std::thread::sleep(Duration::from_millis(20)));
            outcome.check();
            assert!(outcome.row().hits > 0 && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
