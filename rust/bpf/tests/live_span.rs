//! Spans, live: what begins at one probe and ends at another. Expected numbers come from what the test itself does.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use std::time::{Duration, Instant};

use live_support::session::*;
use live_support::span::*;
use live_support::*;
use spile_core::loss::Row;
use spile_core::spec::{CompareOperator, Condition, Context, Expr, ProbeSpec, SpanSpec, StackSpace, Target};

fn mine() -> Condition {
    is(fact(Context::Tid), tid())
}

fn my(call: i64) -> Option<Condition> {
    Some(all(vec![is(arg("id"), call), mine()]))
}

fn elapsed() -> Expr {
    fact(Context::Elapsed)
}

fn start_time() -> Expr {
    at_start(fact(Context::Timestamp))
}

/// Sleeps by nanosleep(2) itself; gives how long it took.
fn nanosleep(duration: Duration) -> Duration {
    let time = libc::timespec { tv_sec: 0, tv_nsec: duration.as_nanos() as i64 };
    let start = Instant::now();
    // SAFETY: the time is read, and nothing is written back.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, 0) };
    start.elapsed()
}

fn sleep(milliseconds: u64) {
    nanosleep(Duration::from_millis(milliseconds));
}

/// Makes a system call that takes a number and changes nothing.
fn call(number: i64, argument: u64) {
    // SAFETY: getppid, getpgid and getsid read nothing of ours.
    unsafe { libc::syscall(number, argument) };
}

/// A classic tracepoint of one system call.
fn entry(call: &str) -> Target {
    tracepoint("syscalls", &format!("sys_enter_{call}"))
}

fn with(change: impl FnOnce(&mut SpanSpec), mut probe: ProbeSpec) -> ProbeSpec {
    change(probe.span.as_mut().unwrap());
    probe
}

#[test]
fn a_span_is_as_long_as_what_it_spans() {
    require_tracing!();
    for (enter, exit) in [
        (raw_tracepoint("sys_enter"), raw_tracepoint("sys_exit")),
        (tracepoint("raw_syscalls", "sys_enter"), tracepoint("raw_syscalls", "sys_exit")),
        (entry("nanosleep"), tracepoint("syscalls", "sys_exit_nanosleep")),
        (entry("nanosleep"), raw_tracepoint("sys_exit")),
    ] {
        let condition = if enter == entry("nanosleep") { Some(mine()) } else { my(libc::SYS_nanosleep) };
        let start = feeding("enter", probe(enter, &[], condition));
        let end = feeding("exit", probe(exit, &[], Some(mine())));
        let captures = [("ns", elapsed()), ("tid", fact(Context::Tid)), ("start", start_time())];
        let span = span(vec![of_task(0)], vec![of_task(1)], &captures);
        let lengths: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        let mut took = Vec::new();
        let outcome = run(&of_this_process(vec![start, end, span]), |_| {
            took = lengths.iter().map(|length| nanosleep(*length)).collect();
        });
        outcome.check();
        let total = total(&outcome, 2);
        assert_eq!((outcome.events.len(), total.matched, total.left_open), (20, 20, 0), "{total:?}");
        for ((event, length), took) in outcome.events.iter().zip(lengths).zip(took) {
            let ns = Duration::from_nanos(event.values[0].number() as u64);
            assert!(ns >= length && ns <= took, "slept {length:?}: {ns:?} of {took:?}");
            assert_eq!(event.values[1].number(), tid().into());
            assert_eq!(i128::from(event.time) - event.values[2].number(), event.values[0].number());
        }
    }
}

/// Each call ends what the call before began, and begins anew: that takes the end to run first.
#[test]
fn at_one_hit_the_end_runs_before_the_start() {
    require_tracing!();
    const CALLS: usize = 2000;
    let sys_enter = || tracepoint("raw_syscalls", "sys_enter");
    for (target, field) in [
        (raw_tracepoint("sys_enter"), None),
        (sys_enter(), None),
        (sys_enter(), Some(element("args", 1))),
        (entry("getppid"), None),
    ] {
        let condition = if target == entry("getppid") { Some(mine()) } else { my(libc::SYS_getppid) };
        let side = |name| feeding(name, probe(target.clone(), &[], condition.clone()));
        let mut captures = vec![("ns", elapsed()), ("start", start_time())];
        captures.extend(field.map(|field| ("field", field)));
        let span = span(vec![of_task(0)], vec![of_task(1)], &captures);
        let outcome = run(&of_this_process(vec![side("start"), side("end"), span]), |_| getppid_storm(CALLS));
        outcome.check();
        let total = total(&outcome, 2);
        let expected = Row { unmatched: 1, opened: CALLS as u64, left_open: 1, matched: CALLS as u64 - 1, ..total };
        assert_eq!((total, outcome.events.len()), (expected, CALLS - 1), "{target:?}");
        check_chain(&outcome.events);
    }
}

/// What began did so after the event before had ended: it was begun at the same hit.
fn check_chain(events: &[Seen]) {
    for pair in events.windows(2) {
        let [before, event] = pair else { unreachable!("pairs") };
        let (ns, start) = (event.values[0].number(), event.values[1].number());
        assert!(start > before.time.into() && start + ns == event.time.into(), "{pair:?}");
    }
}

/// A classic program of a tracepoint that was there first, and a raw one: still the end first.
#[test]
fn a_classic_end_runs_before_a_raw_start() {
    require_tracing!();
    let start = feeding("start", probe(raw_tracepoint("sched_switch"), &[], None));
    let end = feeding("end", probe(tracepoint("sched", "sched_switch"), &[], None));
    let captures = [("ns", elapsed()), ("start", start_time()), ("next", arg("next_pid"))];
    let cpu = || fact(Context::Cpu);
    let outcome =
        run(&everything(vec![start, end, span(vec![side(0, cpu())], vec![side(1, cpu())], &captures)]), |engine| {
            assert!(engine.explain(false).contains("attached as Tracepoint"), "{}", engine.explain(false));
            (0..50).for_each(|_| sleep(1));
        });
    outcome.check();
    let total = total(&outcome, 2);
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    assert!((1..=cpus).contains(&total.unmatched) && total.matched >= 50, "{total:?}");
    for cpu in 0..cpus as u16 {
        check_chain(&outcome.events.iter().filter(|event| event.cpu == cpu).cloned().collect::<Vec<_>>());
    }
}

#[test]
fn a_second_start_begins_anew_or_is_left() {
    require_tracing!();
    for restart in [true, false] {
        let start = feeding("start", probe(entry("getppid"), &[], Some(mine())));
        let end = feeding("end", probe(entry("getuid"), &[], Some(mine())));
        let span = span(vec![of_task(0)], vec![of_task(1)], &[("ns", elapsed()), ("start", start_time())]);
        let span = with(|span| span.restart = restart, span);
        let outcome = run(&of_this_process(vec![start, end, span]), |_| {
            for _ in 0..10 {
                getppid_storm(5);
                call(libc::SYS_getuid, 0);
                call(libc::SYS_getuid, 0);
            }
        });
        outcome.check();
        let total = total(&outcome, 2);
        let (opened, overwritten, already) = if restart { (50, 40, 0) } else { (10, 0, 40) };
        assert_eq!((total.opened, total.overwritten, total.already_open), (opened, overwritten, already), "{total:?}");
        assert_eq!((total.matched, total.unmatched, total.delivered, total.left_open), (10, 10, 10, 0), "{total:?}");
    }
}

#[test]
fn a_full_table_refuses_starts_and_counts_them() {
    require_tracing!();
    let start = feeding("start", probe(entry("getpgid"), &[], Some(mine())));
    let end = feeding("end", probe(entry("getsid"), &[], Some(mine())));
    let captures = [("began", at_start(arg("pid"))), ("ended", arg("pid"))];
    let span = span(vec![side(0, arg("pid"))], vec![side(1, arg("pid"))], &captures);
    let span = with(|span| span.max_open = 4, span);
    let outcome = run(&of_this_process(vec![start, end, span]), |_| {
        (0..100).for_each(|pid| call(libc::SYS_getpgid, pid));
        // One of those that are open, and two that aren't.
        [3, 4, 99].into_iter().for_each(|pid| call(libc::SYS_getsid, pid));
        // There is room again, for one; and what is open can begin anew.
        [1, 50, 51].into_iter().for_each(|pid| call(libc::SYS_getpgid, pid));
    });
    outcome.check();
    let total = total(&outcome, 2);
    assert_eq!((total.opened, total.open_full, total.overwritten), (6, 97, 1), "{total:?}");
    assert_eq!((total.matched, total.unmatched, total.left_open), (1, 2, 4), "{total:?}");
    assert_eq!(outcome.events[0].values, [Owned::Number(3), Owned::Number(3)]);
}

/// Threads on every CPU begin and end the same few spans, of which fewer fit than there are.
#[test]
fn a_storm_on_every_cpu_loses_no_count() {
    require_tracing!();
    const THREADS: u64 = 6;
    const CALLS: u64 = 40_000;
    const KEYS: u64 = 5;
    for restart in [true, false] {
        let start = feeding("start", probe(entry("getpgid"), &[], None));
        let end = feeding("end", probe(entry("getsid"), &[], None));
        let captures =
            [("ns", elapsed()), ("start", start_time()), ("began", at_start(arg("pid"))), ("ended", arg("pid"))];
        let span = span(vec![side(0, arg("pid"))], vec![side(1, arg("pid"))], &captures);
        let spec = of_this_process(vec![start, end, with(|span| (span.max_open, span.restart) = (3, restart), span)]);
        let began = Instant::now();
        let outcome = run(&spec, |_| {
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    scope.spawn(move || {
                        let mut random = 0x9E37_79B9 + thread;
                        for _ in 0..CALLS {
                            random ^= random << 13;
                            random ^= random >> 7;
                            random ^= random << 17;
                            call(if random & 32 == 0 { libc::SYS_getpgid } else { libc::SYS_getsid }, random % KEYS);
                        }
                    });
                }
            });
        });
        let longest = began.elapsed().as_nanos() as i128;
        outcome.check();
        let total = total(&outcome, 2);
        assert_eq!(total.hits, THREADS * CALLS, "{total:?}");
        let (starts, ends): (Vec<&Row>, Vec<&Row>) = outcome.rows.iter().partition(|row| row.target == 1);
        let [start, end] = [starts[0], ends[0]];
        assert_eq!(start.hits, start.opened + start.already_open + start.open_full + start.missed, "{start:?}");
        assert_eq!(end.hits, end.matched + end.unmatched + end.missed, "{end:?}");
        let seen = [total.matched, total.unmatched, total.open_full];
        assert!(seen.iter().all(|count| *count > 100), "{total:?}");
        assert!(if restart { total.overwritten } else { total.already_open } > 100, "{total:?}");
        for event in &outcome.events {
            let [ns, start, began, ended] = [0, 1, 2, 3].map(|index| event.values[index].number());
            assert_eq!(began, ended, "a start of another key: {event:?}");
            let before = i128::from(event.time) - start;
            assert!(ns == before.max(0) && ns < longest, "{event:?}");
        }
    }
}

#[test]
fn time_off_the_cpu_has_the_stack_where_it_began() {
    require_tracing!();
    let switch = || tracepoint("sched", "sched_switch");
    let out = feeding("out", probe(switch(), &[], Some(is(arg("prev_pid"), tid()))));
    let back = feeding("back", probe(switch(), &[], Some(is(arg("next_pid"), tid()))));
    let captures = [
        ("ns", elapsed()),
        ("comm", at_start(fact(Context::Comm))),
        ("stack", at_start(stack(StackSpace::Kernel))),
        ("state", at_start(arg("prev_state"))),
        ("prev", at_start(arg("prev_comm"))),
        ("user", at_start(stack(StackSpace::User))),
    ];
    let mut span = span(vec![side(0, arg("prev_pid"))], vec![side(1, arg("next_pid"))], &captures);
    let long = CompareOperator::GreaterEqual;
    span.condition =
        Some(Condition::Compare { operator: long, left: elapsed(), right: Expr::Int { value: 9_000_000 } });
    let spec = everything(vec![out, back, span]);
    let outcome = run(&spec, |_| (0..10).for_each(|_| sleep(10)));
    outcome.check();
    assert!(total(&outcome, 2).matched >= 7);
    // On a busy machine others take the CPU for as long, now and then. And where a virtual machine's agent hands the CPU
    // on, the kernel's tracepoint itself is not hit, now and then: raw and classic programs alike see no such switch.
    let slept: Vec<&Seen> = outcome.events.iter().filter(|event| event.values[3].number() != 0).collect();
    assert!((7..=10).contains(&slept.len()), "{} of {:?}", slept.len(), outcome.rows);
    let comm = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    let mut names = KernelNames::read();
    for event in slept {
        let texts = [event.values[1].text(), event.values[4].text()];
        assert!(event.values[0].number() >= 9_000_000 && texts == [comm.trim(); 2], "{event:?}");
        names.check(&outcome.stacks.get(event.values[2].stack()).unwrap().addresses, "nanosleep");
        let user = outcome.stacks.get(event.values[5].stack()).unwrap();
        assert!(!user.addresses.is_empty());
    }
}

/// The latency of the run queue, as in `runqlat`: two kinds of starts, one of them where the end is.
#[test]
fn several_starts_make_one_span() {
    require_tracing!();
    let woken = probe(tracepoint("sched", "sched_wakeup"), &[], None);
    let woken = ProbeSpec {
        targets: vec![tracepoint("sched", "sched_wakeup"), tracepoint("sched", "sched_wakeup_new")],
        ..feeding("woken", woken)
    };
    let not_idle = Condition::Not { term: Box::new(is(arg("prev_pid"), 0)) };
    let ready = Condition::IsIn { value: arg("prev_state"), choices: vec![0, 256] };
    let preempted = probe(tracepoint("sched", "sched_switch"), &[], Some(all(vec![ready, not_idle])));
    let switch = feeding("switch", probe(tracepoint("sched", "sched_switch"), &[], None));
    let starts = vec![side(0, arg("pid")), side(1, arg("prev_pid"))];
    let captures = [("ns", elapsed()), ("tid", arg("next_pid")), ("by", at_start(fact(Context::ProbeName)))];
    let span = span(starts, vec![side(2, arg("next_pid"))], &captures);
    let spec = everything(vec![woken, feeding("preempted", preempted), switch, span]);
    let mut names = Vec::new();
    let outcome = run(&spec, |engine| {
        names = engine.names();
        (0..100).for_each(|_| sleep(1));
    });
    outcome.check();
    let total = total(&outcome, 3);
    let starts = ["sched_wakeup", "sched_wakeup_new", "sched_switch"];
    let of = |event: &&Seen| names.iter().find(|(id, _)| i128::from(*id) == event.values[2].number()).unwrap();
    assert!(outcome.events.iter().all(|event| starts.contains(&&*of(&event).1)));
    let mine = outcome.events.iter().filter(|event| event.values[1].number() == tid().into());
    let woken = mine.filter(|event| of(event).1 == "sched_wakeup").count();
    assert!(woken >= 70, "{woken} of {total:?}");
    assert!(outcome.events.iter().all(|event| event.values[0].number() < 10_000_000_000), "{total:?}");
}

#[test]
fn strings_are_read_at_the_start() {
    require_tracing!();
    let start = feeding("enter", probe(entry("openat"), &[], Some(mine())));
    let end = feeding("exit", probe(tracepoint("syscalls", "sys_exit_openat"), &[], Some(mine())));
    let path = || Expr::String { pointer: Box::new(arg("filename")), limit: 64 };
    let captures = [("path", at_start(path())), ("ret", arg("ret")), ("ns", elapsed())];
    let mut span = span(vec![of_task(0)], vec![of_task(1)], &captures);
    let prefix = b"/nonexistent".to_vec();
    span.condition = Some(Condition::StartsWith { value: at_start(path()), prefix });
    let outcome = run(&of_this_process(vec![start, end, span]), |_| {
        for name in [c"/nonexistent/one", c"/dev/null", c"/nonexistent/two"] {
            // SAFETY: the path is NUL-terminated.
            let fd = unsafe { libc::open(name.as_ptr(), libc::O_RDONLY) };
            // SAFETY: it is ours, or no descriptor at all.
            unsafe { libc::close(fd) };
        }
    });
    outcome.check();
    let ends = outcome.rows[0];
    assert!(ends.filtered >= 1 && total(&outcome, 2).matched >= 3, "{ends:?}");
    let seen: Vec<_> = outcome.events.iter().map(|event| (event.values[0].text(), event.values[1].number())).collect();
    let none = -i128::from(libc::ENOENT);
    assert_eq!(seen, [("/nonexistent/one", none), ("/nonexistent/two", none)]);
}

#[test]
fn what_can_not_be_a_span_is_told() {
    require_tracing!();
    let refusal = |probes: Vec<ProbeSpec>| {
        let error = spile_bpf::engine::Engine::prepare(&everything(probes)).err().expect("a refusal");
        error.to_string()
    };
    let feeder = |name: &str, target| feeding(name, probe(target, &[], None));
    let pair = |captures: &[(&str, Expr)]| span(vec![of_task(0)], vec![of_task(1)], captures);
    let switch = || tracepoint("sched", "sched_switch");
    let record = [("pid", at_start(arg("prev_pid")))];
    let error = refusal(vec![feeder("a", switch()), feeder("b", raw_tracepoint("sched_switch")), pair(&record)]);
    assert!(
        error.contains("which of them runs first isn't sure: name both by tracepoint:sched:sched_switch"),
        "{error}"
    );
    let error = refusal(vec![feeder("a", entry("getppid")), feeder("b", raw_tracepoint("sys_enter")), pair(&[])]);
    assert!(error.contains("one place in the kernel"), "{error}");
    let nowhere = tracepoint("sched", "sched_swich");
    let error = refusal(vec![feeder("a", nowhere), feeder("b", switch()), pair(&[])]);
    assert!(error.contains("sched_switch") && error.contains("probe a, declared at script.py:7"), "{error}");
    let error = refusal(vec![feeder("a", switch()), feeder("b", switch()), pair(&[("x", at_start(arg("nxt_pid")))])]);
    assert!(error.contains("next_pid") && error.contains("probe span"), "{error}");
    let of_span = ProbeSpec { name: "outer".into(), ..span(vec![of_task(2)], vec![of_task(1)], &[]) };
    let error = refusal(vec![feeder("a", switch()), feeder("b", switch()), pair(&[]), of_span]);
    assert!(error.contains("span is a span itself"), "{error}");
    let huge = with(|span| span.max_open = u32::MAX, pair(&[]));
    let error = refusal(vec![feeder("a", switch()), feeder("b", switch()), huge]);
    assert!(error.contains("max_open=4294967295") && error.contains("probes[2].span.max_open"), "{error}");
}

#[test]
fn the_tracer_is_kept_out_where_the_key_is_the_task() {
    require_tracing!();
    for (key, calls) in [(arg("pid"), 10), (fact(Context::Task), 0)] {
        let side = |probe| side(probe, key.clone());
        let feeder = |name, call| feeding(name, probe(entry(call), &[], Some(mine())));
        let span = span(vec![side(0)], vec![side(1)], &[]);
        let mut spec = everything(vec![feeder("start", "getpgid"), feeder("end", "getsid"), span]);
        spec.target.exclude_self = true;
        let outcome = run(&spec, |_| {
            (0..10).for_each(|pid| call(libc::SYS_getpgid, pid));
            (0..10).for_each(|pid| call(libc::SYS_getsid, pid));
        });
        outcome.check();
        assert_eq!((total(&outcome, 2).matched, outcome.events.len()), (calls, calls as usize));
    }
}
