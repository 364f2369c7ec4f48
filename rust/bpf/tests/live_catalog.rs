//! What there is and what works, on this machine.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use spile_bpf::{catalog, features};
use spile_core::error::Error;

mod live_support;

#[test]
fn probes_are_listed_by_pattern_and_described() {
    if !live_support::can_trace() {
        return;
    }
    let switches = catalog::list("*sched_switch").unwrap();
    let pair = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
    assert_eq!(switches, [pair("raw_tracepoint", "sched_switch"), pair("tracepoint", "sched:sched_switch")]);
    assert_eq!(catalog::list("tracepoint:sched:sched_switch").unwrap().len(), 1);
    assert_eq!(catalog::list("no such thing").unwrap(), []);
    let all = catalog::list("*").unwrap();
    assert!(all.len() > 500 && all.contains(&pair("profile", "99")), "{}", all.len());

    let classic = catalog::fields("tracepoint", "sched:sched_switch").unwrap();
    assert!(classic.contains(&pair("next_pid", "pid_t")), "{classic:?}");
    let raw = catalog::fields("raw_tracepoint", "sched_switch").unwrap();
    assert!(raw.contains(&pair("next", "struct task_struct *")), "{raw:?}");
    assert_eq!(catalog::fields("profile", "99").unwrap(), []);
    let function = catalog::fields("function", "vfs_read").unwrap();
    let arguments = [("file", "struct file *"), ("buf", "char *"), ("count", "size_t"), ("pos", "loff_t *")];
    assert_eq!(function, arguments.map(|(name, ty)| pair(name, ty)));
    let last = catalog::fields("function_return", "vfs_read").unwrap().pop();
    assert_eq!(last, Some(pair("ret", "ssize_t")));
    // Every name that is listed can be described.
    for (kind, name) in all.iter().step_by(37) {
        catalog::fields(kind, name).unwrap();
    }
    for (kind, name, words) in [
        ("tracepoint", "sched:sched_swich", "did you mean sched:sched_switch?"),
        ("tracepoint", "sched_switch", "has a category"),
        ("raw_tracepoint", "sched_swich", "did you mean sched_switch?"),
        ("function", "vfs_raed", "did you mean vfs_read"),
        ("fucntion", "vfs_read", "no kind of probe is called fucntion"),
    ] {
        let error = catalog::fields(kind, name).unwrap_err();
        assert!(matches!(&error, Error::ProbeNotFound { message } if message.contains(words)), "{error}");
    }
}

#[test]
fn each_feature_is_tried() {
    let features = features::probe();
    for feature in &features {
        println!("{feature:?}");
        assert!(!feature.detail.is_empty() && !feature.cost.is_empty(), "{feature:?}");
    }
    if live_support::can_trace() {
        let works = |name: &str| features.iter().any(|feature| feature.feature == name && feature.works);
        assert!(works("BPF ring buffer") && works("raw tracepoints"));
    }
}
