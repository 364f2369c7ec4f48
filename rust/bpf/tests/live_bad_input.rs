//! What can't be done is refused in words that help, and before anything is attached.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use live_support::session::*;
use live_support::*;
use spile_bpf::engine::Engine;
use spile_bpf::features;
use spile_core::error::Error;
use spile_core::spec::{Context, Expr, PathStep, SessionSpec, TargetFilter};

/// Set in a child that runs a test's other half, without what that half is to miss.
const CHILD: &str = "SPILE_TEST_CHILD";

/// Runs this test again in a child that `drop` was called in; its assertions are this test's.
fn again(test: &str, drop: fn() -> std::io::Result<()>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
    // SAFETY: `drop` only makes system calls.
    unsafe { command.pre_exec(drop) };
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        Err(error) => println!("SKIPPED: this machine does not let a child do without: {error}"),
    }
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn answer(code: i32) -> std::io::Result<()> {
    if code == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn refusal(spec: &SessionSpec) -> Error {
    Engine::prepare(spec).err().expect("this is refused")
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    require_tracing!();
    let unknown_field = probe(tracepoint("sched", "sched_switch"), &[("a", arg("next_pidd"))], None);
    let unknown_argument = probe(raw_tracepoint("sched_switch"), &[("a", arg("nxt"))], None);
    let unknown_member = Expr::Field { path: ["next", "comn"].map(|name| PathStep::Name(name.into())).to_vec() };
    let spec = everything(vec![
        named("a", probe(tracepoint("sched", "sched_swich"), &[], None)),
        named("b", probe(raw_tracepoint("sched_wakup"), &[], None)),
        named("c", unknown_field),
        named("d", unknown_argument),
        named("e", probe(raw_tracepoint("sched_switch"), &[("a", unknown_member)], None)),
        named("f", probe(raw_tracepoint("sys_enter_read"), &[], None)),
        named("good", probe(raw_tracepoint("sched_switch"), &[], None)),
    ]);
    let Error::Several { errors } = refusal(&spec) else { panic!("only one error") };
    let expected = [
        ("sched:sched_swich", "sched:sched_switch?"),
        ("sched_wakup", "sched_wakeup"),
        ("arg.next_pidd", "did you mean next_pid"),
        ("arg.nxt", "did you mean next?"),
        ("no member comn", "comm"),
        ("sys_enter_read", "tracepoint:syscalls"),
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for ((error, (what, hint)), name) in errors.iter().zip(expected).zip(["a", "b", "c", "d", "e", "f"]) {
        let text = error.to_string();
        assert!(text.contains(what) && text.contains(hint), "{text}");
        assert!(text.ends_with(&format!("(probe {name}, declared at script.py:7)")), "{text}");
    }
    assert!(matches!(errors[0], Error::ProbeNotFound { .. }) && matches!(errors[2], Error::FieldNotFound { .. }));
}

#[test]
fn a_filter_that_lets_everyone_through_takes_no_process() {
    require_tracing!();
    let engine = Engine::prepare(&everything(vec![probe(raw_tracepoint("sys_enter"), &[], None)])).unwrap();
    let error = engine.add_pid(1).unwrap_err().to_string();
    assert!(error.contains("sees every process"), "{error}");
}

#[test]
fn readers_are_given_out_once() {
    require_tracing!();
    let mut engine = Engine::prepare(&everything(vec![probe(raw_tracepoint("sys_enter"), &[], None)])).unwrap();
    assert!(engine.sources().is_ok() && engine.sources().is_err());
}

#[test]
fn a_missing_capability_is_named() {
    require_tracing!();
    fn without_perfmon() -> std::io::Result<()> {
        for capability in [21, 38] {
            // SAFETY: prctl with integers.
            answer(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) })?;
        }
        Ok(())
    }
    again("without_a_capability", without_perfmon);
}

#[test]
fn without_a_capability() {
    if !is_child() {
        return;
    }
    let error = refusal(&everything(vec![probe(raw_tracepoint("sys_enter"), &[], None)]));
    let text = error.to_string();
    assert!(matches!(error, Error::Privilege { .. }), "{text}");
    assert!(text.contains("CAP_PERFMON") && !text.contains("CAP_BPF"), "{text}");
    let features = features::probe();
    let of = |name: &str| features.iter().find(|feature| feature.feature == name).unwrap();
    assert!(!of("CAP_PERFMON").works && of("CAP_BPF").works && !of("raw tracepoints").works);
    assert!(of("raw tracepoints").detail.contains("CAP_PERFMON"), "{:?}", of("raw tracepoints"));
}

#[test]
fn a_kernel_without_types_still_traces() {
    require_tracing!();
    fn without_btf() -> std::io::Result<()> {
        let none = std::ptr::null();
        // SAFETY: unshare with a flag, mounts with NUL-terminated names.
        unsafe {
            answer(libc::unshare(libc::CLONE_NEWNS))?;
            answer(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
            answer(libc::mount(c"none".as_ptr(), c"/sys/kernel/btf".as_ptr(), c"tmpfs".as_ptr(), 0, none.cast()))
        }
    }
    again("without_types", without_btf);
}

#[test]
fn without_types() {
    if !is_child() {
        return;
    }
    // What needs types is refused, naming what works.
    let refused = |probe| {
        let error = refusal(&everything(vec![probe]));
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        error.to_string()
    };
    let text = refused(probe(raw_tracepoint("sys_enter"), &[("id", arg("id"))], None));
    assert!(text.contains("arg[0]") && text.ends_with("declared at script.py:7)"), "{text}");
    let text = refused(probe(raw_tracepoint("sys_enter"), &[("u", fact(Context::Utime))], None));
    assert!(text.contains("utime"), "{text}");
    let target = TargetFilter { pid: Some(std::process::id()), follow: true, cgroup: None, exclude_self: false };
    let spec = everything(vec![probe(tracepoint("raw_syscalls", "sys_enter"), &[("id", arg("id"))], None)]);
    let text = refusal(&SessionSpec { target, ..spec.clone() }).to_string();
    assert!(text.contains("follow=False works"), "{text}");
    // What doesn't need them works.
    let target = TargetFilter { follow: false, ..of_this_process(vec![]).target };
    let number = Expr::Field { path: vec![PathStep::Index(1)] };
    let mine = || Some(is(fact(Context::Tid), tid()));
    let probes = vec![
        named("classic", probe(tracepoint("raw_syscalls", "sys_enter"), &[("id", arg("id"))], mine())),
        named("raw", probe(raw_tracepoint("sys_enter"), &[("call", number)], mine())),
    ];
    let outcome = run(&SessionSpec { target, ..everything(probes) }, |_| getppid_storm(100));
    outcome.check();
    for id in [1, 2] {
        let is_it = |event: &&Seen| event.id == id && event.values[0] == Owned::Number(libc::SYS_getppid.into());
        assert_eq!(outcome.events.iter().filter(is_it).count(), 100);
    }
    // Whether a raw tracepoint exists shows when it is attached, and then nothing stays attached.
    let error = refusal(&everything(vec![
        named("good", probe(raw_tracepoint("sys_enter"), &[], None)),
        named("bad", probe(raw_tracepoint("no_such_tracepoint"), &[], None)),
    ]));
    assert!(matches!(error, Error::ProbeNotFound { .. }), "{error}");
    assert!(error.to_string().ends_with("(probe bad, declared at script.py:7)"), "{error}");
}
