//! What becomes of functions that a means is refused for, of returns that the kernel has no room for, and of programs within
//! themselves: each is forced, and told or counted. The numbers come from the workload.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{PipeReader, Read as _, Write as _};
use std::time::{Duration, Instant};

use spile_bpf::catalog;
use spile_bpf::engine::Engine;
use spile_core::error::Error;
use spile_core::loss::Row;
use spile_core::spec::{Attach, Context, ProbeSpec, StackSpace, Target};

mod live_support;

use live_support::can_trace;
use live_support::function::{by, function, function_return, ways};
use live_support::session::{fact, named, of_this_process, probe, run, stack, try_run};

/// As many programs as one trampoline takes (`BPF_MAX_TRAMP_LINKS`).
const MOST_PROGRAMS: usize = 38;

fn can_probe() -> bool {
    can_trace() && !ways().is_empty()
}

/// A read of nothing, which is still one.
fn read_nothing(times: u64) {
    let mut file = std::fs::File::open("/dev/null").unwrap();
    for _ in 0..times {
        assert_eq!(file.read(&mut [0]).unwrap(), 0);
    }
}

/// A trampoline takes so many programs; whoever comes later is refused when it attaches, though its program was loaded.
#[test]
fn where_attaching_fails_the_next_means_is_taken() {
    if !can_probe() || !ways().contains(&Attach::Fentry) {
        return;
    }
    let one = |number: usize| named(&format!("p{number}"), by(Attach::Fentry, probe(function("vfs_read"), &[], None)));
    let mut others = Engine::prepare(&of_this_process((0..MOST_PROGRAMS).map(one).collect())).unwrap();
    others.start().unwrap();
    for target in [function("vfs_read"), function_return("vfs_read")] {
        let mut explained = String::new();
        let captures = [("tid", fact(Context::Tid))];
        let outcome = run(&of_this_process(vec![probe(target.clone(), &captures, None)]), |engine| {
            explained = engine.explain(false);
            read_nothing(100);
        });
        outcome.check();
        let attached = explained.lines().nth(1).unwrap();
        let refused = explained.lines().nth(2).unwrap();
        println!("{attached}\n{refused}");
        let next = ways().into_iter().find(|way| *way != Attach::Fentry).unwrap();
        let next = if next == Attach::Kprobe { "attached as Kprobe {" } else { "attached as KprobeMulti {" };
        assert!(attached.contains(next), "{explained}");
        assert!(refused.contains("not by fentry: attaching to function:vfs_read: Argument list too long"), "{refused}");
        assert!(refused.contains("so many programs are there already"), "{refused}");
        let seen: u64 = outcome.rows.iter().map(|row| row.delivered + row.missed).sum();
        assert!((100..110).contains(&seen), "{:?}", outcome.rows);
    }
    // Asked for by name, there is no other means.
    let spec = of_this_process(vec![one(0)]);
    let error = try_run(&spec, |_| ()).map(|_| ()).unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("fentry: attaching to function:vfs_read: Argument list too long"), "{error}");
    // With one of the others gone there is room again.
    drop(others);
    let outcome = try_until(Duration::from_secs(20), || {
        let mut engine = Engine::prepare(&of_this_process(vec![probe(function("vfs_read"), &[], None)])).unwrap();
        engine.start().unwrap();
        engine.explain(false).contains("attached as Trampoline")
    });
    assert!(outcome, "detaching goes on behind the scenes, and ends");
}

fn try_until(limit: Duration, mut attempt: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        if attempt() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

/// One of many that no means does for: it alone is to blame, and the others are not named.
#[test]
fn of_many_functions_the_one_to_blame_is_named() {
    if !can_probe() {
        return;
    }
    let traceable = std::fs::read_to_string("/sys/kernel/tracing/available_filter_functions").unwrap();
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let is_listed = |name: &str| traceable.lines().any(|line| line == name);
    // Functions that tracing itself runs through: the first of them that has types and no place for tracing.
    let known =
        ["rcu_nmi_enter", "ct_nmi_enter", "ftrace_stub_graph", "do_error_trap", "sched_clock", "native_sched_clock"];
    let is_there = |name: &str| symbols.lines().any(|line| line.ends_with(&format!(" {name}")));
    let typed =
        |name: &str| catalog::fields("function", name).is_ok_and(|fields| !fields.is_empty() || name == "sched_clock");
    let mut bad = known.into_iter().filter(|name| is_there(name) && !is_listed(name) && typed(name));
    let bad = bad.next().unwrap();
    let mut targets: Vec<Target> =
        catalog::list("function:vfs_*").unwrap().into_iter().take(11).map(|(_, name)| function(&name)).collect();
    targets.insert(5, function(bad));
    let spec = of_this_process(vec![ProbeSpec { targets, ..probe(function("vfs_read"), &[], None) }]);
    let error = try_run(&spec, |_| ()).map(|_| ()).unwrap_err();
    println!("{error}");
    let said = error.to_string();
    assert!(matches!(error, Error::ProbeNotFound { .. }), "{said}");
    assert!(said.contains(&format!("the function {bad} can't be probed:")) && !said.contains("vfs_read "), "{said}");
    for means in ["fentry: ", "kprobe: "] {
        assert!(said.contains(means), "{said}");
    }
}

/// Threads that wait in one function, each for a byte of its own.
struct Sleepers(Vec<std::io::PipeWriter>, Vec<std::thread::JoinHandle<()>>);

impl Sleepers {
    fn start(count: usize) -> Self {
        let (mut writers, mut threads) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (reader, writer) = std::io::pipe().unwrap();
            writers.push(writer);
            threads.push(std::thread::Builder::new().name("sleeper".into()).spawn(move || wait(reader)).unwrap());
        }
        assert!(try_until(Duration::from_secs(60), || asleep() == count), "{} of {count} sleep", asleep());
        Self(writers, threads)
    }

    fn end(self) {
        for mut writer in self.0 {
            writer.write_all(&[1]).unwrap();
        }
        self.1.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn wait(mut reader: PipeReader) {
    reader.read_exact(&mut [0]).unwrap();
}

/// How many sleepers do: their state, behind the name in brackets, is S.
fn asleep() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    stats.filter(|stat| stat.contains("(sleeper) S")).count()
}

/// More calls at once than a kretprobe has room for.
#[test]
fn missed_returns_are_counted() {
    if !can_probe() {
        return;
    }
    const SLEEPERS: u64 = 60;
    for attach in ways() {
        let probe = by(attach, probe(function_return("pipe_read"), &[("ret", fact(Context::Ret))], None));
        let outcome = run(&of_this_process(vec![probe]), |_| Sleepers::start(SLEEPERS as usize).end());
        outcome.check();
        println!("{attach:?}: {:?}", outcome.rows);
        let sum = |of: fn(&Row) -> u64| outcome.rows.iter().map(of).sum::<u64>();
        let (delivered, lost) = (sum(|row| row.delivered), sum(|row| row.missed + row.left_open + row.overwritten));
        assert_eq!(delivered + lost, SLEEPERS, "{attach:?} {:?}", outcome.rows);
        assert_eq!(lost == 0, attach == Attach::Fentry, "{attach:?} {:?}", outcome.rows);
        assert!(outcome.events.iter().all(|event| event.values[0].number() == 1));
    }
}

/// A program at a function that its own helper calls: within itself it doesn't run, or has no stack, and either is counted.
#[test]
fn a_program_within_itself_is_counted() {
    if !can_probe() {
        return;
    }
    const READS: u64 = 50;
    for attach in ways() {
        let walks =
            |name: &str, target| named(name, by(attach, probe(target, &[("stack", stack(StackSpace::Kernel))], None)));
        // Only who walks stacks calls these: here the two probes themselves. The first has too many arguments for the
        // trampolines of some kernels; the second comes after the kernel has looked whether a stack is being walked already.
        let of =
            |walk: &str| of_this_process(vec![walks("reads", function("vfs_read")), walks("walks", function(walk))]);
        let outcome = try_run(&of("get_perf_callchain"), |_| read_nothing(READS));
        let outcome = outcome.unwrap_or_else(|_| run(&of("perf_callchain_kernel"), |_| read_nothing(READS)));
        outcome.check();
        let [reads, walks] = outcome.rows[..] else { panic!("{:?}", outcome.rows) };
        println!("{attach:?}: {reads:?}\n{walks:?}");
        assert!(reads.delivered >= READS && reads.missed == 0, "{attach:?} {reads:?}");
        match attach {
            // A trampoline keeps each program out of itself alone.
            Attach::Fentry => {
                let within = walks.missed + walks.stack_failed;
                assert_eq!((walks.delivered, within), (reads.delivered, reads.delivered), "{walks:?}");
            }
            // Of kprobes' programs one runs at a time on a CPU. Before dd8657894c11 the kernel doesn't count that.
            _ => {
                assert_eq!(walks.delivered, 0, "{attach:?} {walks:?}");
                assert!(walks.missed == reads.delivered || walks.missed == 0, "{attach:?} {walks:?}");
            }
        }
    }
}

/// Locks the kernel down, for good: only where whoever runs the test says that this machine is there for it.
#[test]
fn a_locked_down_kernel_says_so() {
    if std::env::var_os("SPILE_LOCK_DOWN").is_none() || !can_probe() {
        return;
    }
    std::fs::write("/sys/kernel/security/lockdown", "confidentiality").unwrap();
    let spec = of_this_process(vec![by(Attach::Kprobe, probe(function("vfs_read"), &[], None))]);
    let error = try_run(&spec, |_| ()).map(|_| ()).unwrap_err();
    println!("{error}");
    let words = "function:vfs_read can't be probed here: kprobe: attaching to vfs_mkdir is not permitted";
    assert!(matches!(&error, Error::Unsupported { message } if message.starts_with(words)), "{error}");
    assert!(error.to_string().contains("the kernel is locked down (confidentiality)"), "{error}");
}
