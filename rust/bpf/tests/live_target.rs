//! Whom a session sees: a process, the tree that grows from it, a cgroup, everyone but the tracer.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};

use live_support::session::*;
use live_support::*;
use spile_core::spec::{Context, SessionSpec, TargetFilter};

/// A shell that waits for a line before it runs `script`.
fn shell(script: &str) -> Child {
    let script = format!("read line; {script}");
    Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Lets it go on; gives the process ids that it and its children print.
fn go(mut shell: Child) -> BTreeSet<i128> {
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = BufReader::new(shell.stdout.take().unwrap());
    let pids = output.lines().filter_map(|line| line.unwrap().trim().parse().ok()).collect();
    shell.wait().unwrap();
    pids
}

fn exits(target: TargetFilter) -> SessionSpec {
    let captures = [("pid", fact(Context::Pid)), ("tid", fact(Context::Tid))];
    SessionSpec { target, ..everything(vec![probe(raw_tracepoint("sched_process_exit"), &captures, None)]) }
}

fn pids(outcome: &Outcome) -> BTreeSet<i128> {
    outcome.events.iter().map(|event| event.values[0].number()).collect()
}

/// Children, grandchildren, and one whose parent is gone before it runs.
const TREE: &str = "echo $$; \
    for i in 1 2 3; do /bin/sh -c 'echo $$; /bin/sh -c \"echo \\$\\$\" & wait'; done; \
    (/bin/sh -c 'sleep 0.2; echo $$' &); sleep 0.5";

#[test]
fn a_tree_is_followed_from_birth() {
    require_tracing!();
    let tree = shell(TREE);
    let filter = TargetFilter { pid: Some(tree.id()), follow: true, cgroup: None, exclude_self: true };
    let mut printed = BTreeSet::new();
    let mut strangers = BTreeSet::new();
    let outcome = run(&exits(filter), |_| {
        let stranger = shell("echo $$");
        strangers.insert(i128::from(stranger.id()));
        strangers.extend(go(stranger));
        printed = go(tree);
    });
    outcome.check();
    let seen = pids(&outcome);
    assert_eq!(printed.len(), 8, "{printed:?}");
    assert!(seen.is_superset(&printed), "of {printed:?} only {seen:?}");
    assert!(seen.is_disjoint(&strangers), "{strangers:?} in {seen:?}");
    assert_eq!(outcome.lost_children, 0);
}

#[test]
fn without_following_there_is_the_process_alone() {
    require_tracing!();
    let tree = shell(TREE);
    let pid = tree.id();
    let filter = TargetFilter { pid: Some(pid), follow: false, cgroup: None, exclude_self: false };
    let outcome = run(&exits(filter), |_| drop(go(tree)));
    outcome.check();
    assert_eq!(pids(&outcome), BTreeSet::from([pid.into()]));
}

#[test]
fn one_more_process_can_be_let_through() {
    require_tracing!();
    let (first, second) = (shell("echo $$"), shell("echo $$; /bin/true"));
    let ids = [first.id(), second.id()].map(i128::from);
    let filter = TargetFilter { pid: Some(first.id()), follow: true, cgroup: None, exclude_self: true };
    let outcome = run(&exits(filter), |engine| {
        engine.add_pid(second.id()).unwrap();
        go(first);
        go(second);
    });
    outcome.check();
    let seen = pids(&outcome);
    assert!(ids.iter().all(|id| seen.contains(id)) && seen.len() == 3, "{seen:?}");
}

#[test]
fn a_process_that_ended_is_forgotten() {
    require_tracing!();
    let tree = shell("i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done; sleep 0.1 & echo $$");
    let filter = TargetFilter { pid: Some(tree.id()), follow: true, cgroup: None, exclude_self: true };
    let outcome = run(&exits(filter), |engine| {
        assert_eq!(engine.followed().unwrap(), [tree.id()]);
        go(tree);
        // A task is freed a grace period after its end.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !engine.followed().unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "{:?} are still followed", engine.followed());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    outcome.check();
    assert_eq!((pids(&outcome).len(), outcome.lost_children), (102, 0));
}

#[test]
fn a_cgroup_is_seen_and_nothing_beside_it() {
    require_tracing!();
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(std::path::Path::new);
    let Some(root) = roots.into_iter().find(|root| root.join("cgroup.procs").exists()) else {
        println!("SKIPPED: no cgroup2 file system is mounted");
        return;
    };
    let folder = root.join(format!("spile-test-{}", std::process::id()));
    if let Err(error) = std::fs::create_dir(&folder) {
        println!("SKIPPED: making {}: {error}", folder.display());
        return;
    }
    let id = std::fs::metadata(&folder).unwrap().ino();
    let (inside, outside) = (shell("echo $$; /bin/true"), shell("echo $$"));
    std::fs::write(folder.join("cgroup.procs"), inside.id().to_string()).unwrap();
    let filter = TargetFilter { pid: None, follow: false, cgroup: Some(id), exclude_self: false };
    // An exiting task has left its cgroup for the root's before sched_process_exit on some kernels, so calls are traced.
    let captures = [("pid", fact(Context::Pid)), ("cgroup", fact(Context::Cgroup))];
    let probe = probe(raw_tracepoint("sys_enter"), &captures, None);
    let spec = SessionSpec { target: filter, ..everything(vec![probe]) };
    let (inner, outer) = (i128::from(inside.id()), i128::from(outside.id()));
    let outcome = run(&spec, |_| {
        go(outside);
        go(inside);
    });
    std::fs::remove_dir(&folder).unwrap();
    outcome.check();
    let seen = pids(&outcome);
    assert!(seen.contains(&inner) && seen.len() == 2 && !seen.contains(&outer), "{seen:?}");
    assert!(outcome.events.iter().all(|event| event.values[1] == Owned::Number(id.into())));
}

#[test]
fn the_tracer_itself_is_kept_out() {
    require_tracing!();
    let filter = TargetFilter { pid: None, follow: false, cgroup: None, exclude_self: true };
    let captures = [("pid", fact(Context::Pid))];
    let spec = SessionSpec { target: filter, ..everything(vec![probe(raw_tracepoint("sys_enter"), &captures, None)]) };
    let other = shell("echo $$");
    let id = i128::from(other.id());
    let outcome = run(&spec, |_| {
        getppid_storm(1000);
        go(other);
    });
    outcome.check();
    let seen = pids(&outcome);
    assert!(seen.contains(&id) && !seen.contains(&std::process::id().into()), "{seen:?}");
}
