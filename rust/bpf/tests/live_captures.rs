//! What events carry, against what the C library and /proc say of the same moment.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod live_support;

use std::os::unix::fs::MetadataExt as _;

use live_support::session::*;
use live_support::*;
use spile_bpf::kernel::clock;
use spile_core::spec::{Context, Expr, PathStep, StackSpace};
use spile_core::stack::hash_frames;

fn my_getppid() -> Option<spile_core::spec::Condition> {
    Some(all(vec![is(arg("id"), libc::SYS_getppid), is(fact(Context::Tid), tid())]))
}

/// This process's cgroup: its folder's inode is its id.
fn cgroup() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let root = roots.into_iter().find(|root| std::path::Path::new(root).join("cgroup.procs").exists())?;
    Some(std::fs::metadata(format!("{root}{path}")).ok()?.ino())
}

#[test]
fn facts_are_those_of_proc() {
    require_tracing!();
    use Context::*;
    let facts = [
        ("pid", Pid),
        ("tid", Tid),
        ("ppid", Ppid),
        ("uid", Uid),
        ("gid", Gid),
        ("cgroup", Cgroup),
        ("comm", Comm),
        ("cpu", Cpu),
        ("timestamp", Timestamp),
        ("task", Task),
    ];
    let captures: Vec<_> = facts.iter().map(|(name, context)| (*name, fact(*context))).collect();
    let mut around = (0, 0);
    let mut cpus = (0, 0);
    let outcome = run(&of_this_process(vec![probe(raw_tracepoint("sys_enter"), &captures, my_getppid())]), |_| {
        // SAFETY: sched_getcpu reads nothing of ours.
        cpus.0 = unsafe { libc::sched_getcpu() };
        around.0 = clock::monotonic();
        getppid_storm(1);
        around.1 = clock::monotonic();
        // SAFETY: as above.
        cpus.1 = unsafe { libc::sched_getcpu() };
    });
    outcome.check();
    assert_eq!(outcome.events.len(), 1);
    let event = &outcome.events[0];
    let value = |name: &str| &event.values[facts.iter().position(|fact| fact.0 == name).unwrap()];
    // SAFETY: these calls take nothing and change nothing.
    let (ppid, uid, gid) = unsafe { (libc::getppid(), libc::getuid(), libc::getgid()) };
    assert_eq!(value("pid").number(), std::process::id().into());
    assert_eq!(value("tid").number(), tid().into());
    assert_eq!(value("ppid").number(), ppid.into());
    assert_eq!((value("uid").number(), value("gid").number()), (uid.into(), gid.into()));
    if let Some(cgroup) = cgroup() {
        assert_eq!(value("cgroup").number(), cgroup.into());
    }
    let comm = std::fs::read_to_string(format!("/proc/self/task/{}/comm", tid())).unwrap();
    assert_eq!(value("comm").text(), comm.trim_end());
    assert_eq!(value("cpu").number(), event.cpu.into());
    assert!(cpus.0 != cpus.1 || i32::from(event.cpu) == cpus.0);
    assert_eq!(value("timestamp").number(), event.time.into());
    assert!((around.0..=around.1).contains(&event.time), "{} is not within {around:?}", event.time);
    assert!(value("task").number() > 1 << 63, "a task is at a kernel address");
}

#[test]
fn time_spent_is_that_of_the_thread() {
    require_tracing!();
    let captures = [("utime", fact(Context::Utime)), ("stime", fact(Context::Stime))];
    let usage = || {
        // SAFETY: all zeroes is a value of integers, and the call fills it in.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is alive.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        let ns = |time: libc::timeval| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_usec) * 1000;
        ns(usage.ru_utime) + ns(usage.ru_stime)
    };
    let mut burnt = 0;
    let outcome = run(&of_this_process(vec![probe(raw_tracepoint("sys_enter"), &captures, my_getppid())]), |_| {
        getppid_storm(1);
        let before = usage();
        let mut spins = 0_u64;
        while usage() - before < 400_000_000 {
            spins = std::hint::black_box(spins + 1);
        }
        burnt = usage() - before;
        getppid_storm(1);
    });
    outcome.check();
    let total = |event: &Seen| event.values[0].number() + event.values[1].number();
    let seen = total(&outcome.events[1]) - total(&outcome.events[0]);
    // A kernel that counts ticks (CONFIG_TICK_CPU_ACCOUNTING) is as exact as these.
    assert!((seen - burnt).abs() < 100_000_000, "{seen} of {burnt} ns");
}

#[test]
fn kernel_stacks_arrive_before_their_first_use() {
    require_tracing!();
    let captures = [("kstack", stack(StackSpace::Kernel)), ("next", arg("next_pid"))];
    let outcome = run(&everything(vec![probe(tracepoint("sched", "sched_switch"), &captures, None)]), |_| {
        for _ in 0..200 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    outcome.check();
    assert!(outcome.events.len() >= 200, "{} switches", outcome.events.len());
    let mut names = KernelNames::read();
    for event in outcome.events.iter().filter(|event| event.values[0] != Owned::Null) {
        let hash = event.values[0].stack();
        let frames = outcome.stacks.get(hash).expect("a definition");
        assert_eq!(hash, hash_frames(0, frames.addresses.iter().copied()));
        assert_eq!(frames.pid, 0);
        assert!(frames.addresses.iter().all(|&address| address >> 63 == 1), "{frames:x?}");
        names.check(&frames.addresses, "__schedule");
    }
    assert!(outcome.row().stack_failed < outcome.row().hits / 10, "{:?}", outcome.row());
    assert_eq!(outcome.stacks.collisions(), 0);
}

#[test]
fn user_stacks_lead_through_this_program() {
    require_tracing!();
    let captures =
        [("ustack", stack(StackSpace::User)), ("kstack", Expr::Stack { space: StackSpace::Kernel, depth: Some(1) })];
    let outcome = run(&of_this_process(vec![probe(raw_tracepoint("sys_enter"), &captures, my_getppid())]), |_| {
        getppid_storm(10);
    });
    outcome.check();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let code: Vec<(u64, u64)> = maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|flags| flags.contains('x')))
        .filter_map(|line| line.split(' ').next()?.split_once('-'))
        .map(|(start, end)| (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap()))
        .collect();
    assert_eq!(outcome.events.len(), 10);
    for event in &outcome.events {
        let frames = outcome.stacks.get(event.values[0].stack()).expect("a definition");
        assert_eq!(event.values[0].stack(), hash_frames(std::process::id(), frames.addresses.iter().copied()));
        assert_eq!(frames.pid, std::process::id());
        let first = frames.addresses[0];
        assert!(code.iter().any(|(start, end)| (*start..*end).contains(&first)), "{frames:x?}");
        assert_eq!(outcome.stacks.get(event.values[1].stack()).unwrap().addresses.len(), 1);
    }
}

#[test]
fn strings_are_those_of_an_exec() {
    require_tracing!();
    let copy = std::env::temp_dir().join(format!("spile-exec-{}-{}", std::process::id(), "x".repeat(100)));
    std::fs::copy("/bin/true", &copy).unwrap();
    let captures = [("filename", arg("filename")), ("pid", arg("pid")), ("comm", fact(Context::Comm))];
    let condition = spile_core::spec::Condition::StringIn {
        value: arg("filename"),
        choices: vec![b"/bin/other".to_vec(), copy.to_str().unwrap().into()],
    };
    let spec = everything(vec![
        probe(tracepoint("sched", "sched_process_exec"), &captures, None),
        named("only", probe(tracepoint("sched", "sched_process_exec"), &captures, Some(condition))),
    ]);
    let mut child = 0;
    let outcome = run(&spec, |_| {
        let mut process = std::process::Command::new(&copy).spawn().unwrap();
        child = process.id();
        process.wait().unwrap();
        std::process::Command::new("/bin/true").status().unwrap();
    });
    std::fs::remove_file(&copy).unwrap();
    outcome.check();
    let expected = [
        Owned::Text(copy.to_str().unwrap().into()),
        Owned::Number(child.into()),
        Owned::Text("spile-exec-".to_owned()),
    ];
    let is_it = |event: &&Seen| event.values[..2] == expected[..2] && event.values[2].text().starts_with("spile-exec-");
    assert_eq!(outcome.events.iter().filter(is_it).filter(|event| event.id == 1).count(), 1);
    assert_eq!(outcome.events.iter().filter(|event| event.id == 2).count(), 1);
    assert!(outcome.rows[1].filtered >= 1);
}

#[test]
fn strings_behind_user_pointers_are_read_and_cut() {
    require_tracing!();
    let path = format!("/nonexistent/{}", "y".repeat(3000));
    let string = |limit| Expr::String { pointer: Box::new(arg("filename")), limit };
    let captures = [("long", string(4096)), ("cut", string(32))];
    let mine = Some(is(fact(Context::Tid), tid()));
    let spec = of_this_process(vec![probe(tracepoint("syscalls", "sys_enter_openat"), &captures, mine)]);
    let outcome = run(&spec, |_| {
        let _ = std::fs::File::open(&path);
        // SAFETY: a bad address is what the kernel answers EFAULT for.
        unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, 8, 0) };
    });
    outcome.check();
    let values: Vec<&[Owned]> = outcome.events.iter().map(|event| event.values.as_slice()).collect();
    assert!(values.contains(&[Owned::Text(path.clone()), Owned::Text(path[..31].into())].as_slice()), "{values:?}");
    assert!(values.contains(&[Owned::Null, Owned::Null].as_slice()), "{values:?}");
}

#[test]
fn paths_go_on_behind_pointers() {
    require_tracing!();
    let names = |path: &[&str]| Expr::Field { path: path.iter().map(|name| PathStep::Name((*name).into())).collect() };
    let captures = [
        ("comm", names(&["next", "comm"])),
        ("tgid", names(&["next", "tgid"])),
        ("parent", names(&["next", "real_parent", "tgid"])),
    ];
    let mine = Some(is(names(&["next", "pid"]), tid()));
    let outcome = run(&everything(vec![probe(raw_tracepoint("sched_switch"), &captures, mine)]), |_| {
        (0..20).for_each(|_| std::thread::sleep(std::time::Duration::from_millis(1)));
    });
    outcome.check();
    let comm = std::fs::read_to_string(format!("/proc/self/task/{}/comm", tid())).unwrap();
    // SAFETY: getppid takes nothing and changes nothing.
    let ppid = unsafe { libc::getppid() };
    let expected =
        [Owned::Text(comm.trim_end().into()), Owned::Number(std::process::id().into()), Owned::Number(ppid.into())];
    assert!(outcome.events.len() >= 20);
    assert!(outcome.events.iter().all(|event| event.values == expected), "{:?}", outcome.events[0]);
}

#[test]
fn elements_of_arrays_are_the_registers_of_a_call() {
    require_tracing!();
    let captures = [("first", element("args", 0)), ("last", element("args", 5))];
    let mine = Some(all(vec![is(arg("id"), libc::SYS_getppid), is(fact(Context::Tid), tid())]));
    let spec = of_this_process(vec![probe(tracepoint("raw_syscalls", "sys_enter"), &captures, mine)]);
    let outcome = run(&spec, |_| {
        // SAFETY: getppid ignores its arguments.
        unsafe { libc::syscall(libc::SYS_getppid, 0x1111, 2, 3, 4, 5, u64::MAX) };
    });
    outcome.check();
    assert_eq!(outcome.events[0].values, [Owned::Number(0x1111), Owned::Number(u64::MAX.into())]);
}
