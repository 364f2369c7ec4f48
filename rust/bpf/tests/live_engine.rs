//! The engine, live: specs in, events out, on this machine's kernel. Expected numbers come from the workloads themselves.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use live_support::session::*;
use live_support::*;
use spile_core::spec::{Capture, Condition, Context, Limits, ProbeSpec, StackSpace, Target, Transport};

const CALLS: usize = 20_000;

fn my_getppid(id: &str) -> Condition {
    all(vec![is(arg(id), libc::SYS_getppid), is(fact(Context::Tid), tid())])
}

#[test]
fn every_call_is_seen_by_either_kind_of_tracepoint() {
    require_tracing!();
    for target in [raw_tracepoint("sys_enter"), tracepoint("raw_syscalls", "sys_enter")] {
        let captures = [("id", arg("id")), ("tid", fact(Context::Tid))];
        let outcome = run(&of_this_process(vec![probe(target, &captures, None)]), |_| getppid_storm(CALLS));
        outcome.check();
        let mine = [Owned::Number(libc::SYS_getppid.into()), Owned::Number(tid().into())];
        assert_eq!(outcome.events.iter().filter(|event| event.values == mine).count(), CALLS);
    }
}

#[test]
fn a_classic_tracepoint_is_served_raw_only_where_nothing_differs() {
    require_tracing!();
    let sys_enter = || tracepoint("raw_syscalls", "sys_enter");
    let mine = || Some(my_getppid("id"));
    for (is_raw, probe) in [
        (true, probe(sys_enter(), &[("id", arg("id"))], mine())),
        (false, probe(sys_enter(), &[("id", arg("id")), ("args", element("args", 0))], mine())),
        (false, probe(sys_enter(), &[("id", arg("id")), ("stack", stack(StackSpace::Kernel))], mine())),
        (false, ProbeSpec { capture: Capture::All, ..probe(sys_enter(), &[], mine()) }),
    ] {
        let outcome = run(&of_this_process(vec![probe]), |engine| {
            assert_eq!(
                engine.explain(false).contains("attached as RawTracepoint"),
                is_raw,
                "{}",
                engine.explain(false)
            );
            getppid_storm(CALLS);
        });
        outcome.check();
        assert_eq!(outcome.events.len(), CALLS);
        assert!(outcome.events.iter().all(|event| event.values[0] == Owned::Number(libc::SYS_getppid.into())));
    }
    let switch = probe(tracepoint("sched", "sched_switch"), &[("stack", stack(StackSpace::Kernel))], None);
    let outcome = run(&of_this_process(vec![switch]), |engine| {
        assert!(engine.explain(false).contains("attached as RawTracepoint"));
        std::thread::sleep(std::time::Duration::from_millis(5));
    });
    let mut names = KernelNames::read();
    for event in outcome.events.iter().filter(|event| event.values[0] != Owned::Null) {
        let frames = outcome.stacks.get(event.values[0].stack()).unwrap();
        // Where others trace the event too, the kernel calls its probes by way of one more function.
        let own = usize::from(names.name(frames.addresses[0]).starts_with("__traceiter_"));
        names.check(&frames.addresses[own..own + 1], "__schedule");
    }
}

#[test]
fn conditions_are_decided_in_the_kernel() {
    require_tracing!();
    for target in [raw_tracepoint("sys_enter"), tracepoint("raw_syscalls", "sys_enter")] {
        let outcome = run(&of_this_process(vec![probe(target, &[], Some(my_getppid("id")))]), |_| getppid_storm(CALLS));
        outcome.check();
        let row = outcome.row();
        assert_eq!((row.delivered, row.hits), (CALLS as u64, row.filtered + row.missed + CALLS as u64));
    }
}

#[test]
fn arguments_of_one_system_call_have_their_own_types() {
    require_tracing!();
    let captures = [("dfd", arg("dfd")), ("flags", arg("flags")), ("mode", arg("mode"))];
    let mine = Some(is(fact(Context::Tid), tid()));
    let spec = of_this_process(vec![probe(tracepoint("syscalls", "sys_enter_openat"), &captures, mine)]);
    let outcome = run(&spec, |_| {
        // SAFETY: the path is NUL-terminated.
        unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/nonexistent".as_ptr(), libc::O_RDWR, 0o640) };
    });
    outcome.check();
    let expected = [libc::AT_FDCWD, libc::O_RDWR, 0o640].map(|value| Owned::Number(value.into()));
    assert!(outcome.events.iter().any(|event| event.values == expected), "{:?}", outcome.events);
}

#[test]
fn a_ring_that_overflows_loses_nothing_unseen() {
    require_tracing!();
    let captures = [("id", arg("id")), ("stack", stack(StackSpace::Kernel)), ("comm", fact(Context::Comm))];
    for target in [raw_tracepoint("sys_enter"), tracepoint("raw_syscalls", "sys_enter")] {
        let mut spec = of_this_process(vec![probe(target, &captures, Some(my_getppid("id")))]);
        spec.limits = Limits { buffer: 4096, ..spec.limits };
        let outcome = run(&spec, |_| getppid_storm(CALLS));
        outcome.check();
        let row = outcome.row();
        // Who runs this test on two CPUs may fill two rings: 4096 bytes hold at most 70 records of 56 bytes.
        assert!(row.delivered >= 50 && row.delivered <= 200, "{row:?}");
        assert_eq!(row.delivered + row.ring_full, CALLS as u64, "{row:?}");
    }
}

#[test]
fn a_group_is_one_probe_with_an_event_for_each_target() {
    require_tracing!();
    let names = ["sys_enter_getppid", "sys_enter_getuid", "sys_enter_getgid"];
    let captures = [("name", fact(Context::ProbeName)), ("tid", fact(Context::Tid))];
    let mut group = probe(tracepoint("syscalls", names[0]), &captures, None);
    group.targets = names.iter().map(|name| tracepoint("syscalls", name)).collect();
    let outcome = run(&of_this_process(vec![group]), |engine| {
        let expected: Vec<(u16, String)> = (1..).zip(names.map(String::from)).collect();
        assert_eq!(engine.names(), expected);
        for (call, times) in [(libc::SYS_getppid, 300), (libc::SYS_getuid, 20), (libc::SYS_getgid, 1)] {
            for _ in 0..times {
                // SAFETY: these calls take nothing and change nothing.
                unsafe { libc::syscall(call) };
            }
        }
    });
    outcome.check();
    for (index, times) in [300, 20, 1].into_iter().enumerate() {
        let id = index as u16 + 1;
        let expected = [Owned::Number(id.into()), Owned::Number(tid().into())];
        let seen = outcome.events.iter().filter(|event| event.id == id && event.values == expected).count();
        assert_eq!((seen, outcome.rows[index].target), (times, index as u32));
    }
}

#[test]
fn all_fields_are_captured_by_a_star() {
    require_tracing!();
    for target in [tracepoint("sched", "sched_process_exit"), raw_tracepoint("sched_process_exit")] {
        let star = ProbeSpec { capture: Capture::All, ..probe(target, &[], None) };
        let outcome = run(&of_this_process(vec![star]), |engine| {
            assert!(engine.layouts().iter().all(|layout| layout.schema.fields.len() >= 2));
            std::thread::spawn(|| ()).join().unwrap();
        });
        outcome.check();
        assert!(!outcome.events.is_empty());
    }
}

/// Nanoseconds that a timer's thread spins.
const SPUN: u64 = 500_000_000;

/// What this thread has run so far, in nanoseconds.
fn cpu_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is written to a place of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[test]
fn a_timer_fires_as_often_as_it_was_asked_to() {
    require_tracing!();
    let captures = [("tid", fact(Context::Tid)), ("ustack", stack(StackSpace::User))];
    let mut passed = 0;
    let outcome =
        run(&of_this_process(vec![named("profile", probe(Target::Profile { hz: 500 }, &captures, None))]), |_| {
            let start = spile_bpf::kernel::clock::monotonic();
            let mut spins = 0_u64;
            while cpu_time() < SPUN {
                spins = std::hint::black_box(spins + 1);
            }
            passed = spile_bpf::kernel::clock::monotonic() - start;
        });
    outcome.check();
    let mine = outcome.events.iter().filter(|event| event.values[0].number() == i128::from(tid())).count();
    // A virtual CPU that others take away runs on for the timer, and not for the thread; two ticks that are due at once are one.
    let most = (passed / 2_000_000 + 20) as usize;
    assert!((100..=most).contains(&mine), "{mine} samples of a thread that span for half a second, in {passed} ns");
}

#[test]
fn programs_are_explained() {
    require_tracing!();
    let of = |transport| {
        let mut spec = of_this_process(vec![probe(raw_tracepoint("sys_enter"), &[("id", arg("id"))], None)]);
        spec.limits.transport = transport;
        spile_bpf::engine::Engine::prepare(&spec).unwrap().explain(true)
    };
    let head = "raw_tracepoint:sys_enter (probe sys_enter, declared at script.py:7)";
    let rings = [
        (Transport::Ringbuf, ["24 to 24 bytes in a ring buffer", "RingReserve"]),
        (Transport::Mapped, ["24 bytes in a mapped ring", "exchange64"]),
    ];
    for (transport, ring) in rings {
        let text = of(transport);
        for words in [head, "+16 id", ring[0], ring[1], "exit"] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
    }
}
