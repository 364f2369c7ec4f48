//! Function probes, on a kernel that allows them; on one that doesn't, the refusal and its reason.
//!
//! The number of calls comes from the workload, which reads /dev/zero so many times, by a size that nobody else takes; the
//! functions' addresses from /proc/kallsyms.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::io::Read as _;
use std::time::Instant;

use spile_bpf::catalog;
use spile_bpf::engine::Engine;
use spile_core::error::Error;
use spile_core::spec::{Attach, Context, Expr, PathStep, ProbeSpec, StackSpace, Target};

mod live_support;

use live_support::function::{by, function, function_return, path, ways};
use live_support::session::{Outcome, arg, fact, is, named, of_this_process, probe, run, stack, try_run};
use live_support::{KernelNames, can_trace};

const CALLS: usize = 200;
/// Bytes of each read: as the probes tell them from others.
const SIZE: usize = 4093;

fn read_zeroes(calls: usize) {
    let mut file = std::fs::File::open("/dev/zero").unwrap();
    let mut buffer = [0; SIZE];
    for _ in 0..calls {
        assert_eq!(file.read(&mut buffer).unwrap(), SIZE);
    }
}

/// What kind of file system /dev is, by the kernel's list of mounts.
fn dev_is_of() -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let dev = mounts.lines().rev().map(|line| line.split(' ').collect::<Vec<_>>()).find(|words| words[1] == "/dev");
    dev.unwrap()[2].to_owned()
}

#[test]
fn a_kernel_without_function_probes_says_why() {
    if !can_trace() {
        return;
    }
    let spec = |attach| of_this_process(vec![by(attach, probe(function("vfs_read"), &[], None))]);
    let works = ways();
    for attach in [Attach::Fentry, Attach::KprobeMulti, Attach::Kprobe] {
        let outcome = try_run(&spec(attach), |_| ());
        match (works.contains(&attach), outcome) {
            (true, outcome) => assert!(outcome.is_ok(), "{attach:?}: {:?}", outcome.err()),
            (false, outcome) => {
                let error = outcome.map(|_| ()).unwrap_err();
                println!("{attach:?}: {error}");
                assert!(matches!(&error, Error::Unsupported { .. }), "{error}");
                assert!(error.to_string().contains("function:vfs_read can't be probed here"), "{error}");
            }
        }
    }
    if works.is_empty() {
        let error = try_run(&spec(Attach::Auto), |_| ()).map(|_| ()).unwrap_err().to_string();
        let reasons = ["fentry: ", "kprobe_multi: ", "kprobe: ", "(probe vfs_read, declared at script.py:7)"];
        assert!(reasons.iter().all(|words| error.contains(words)), "{error}");
    }
}

#[test]
fn an_unknown_function_names_its_neighbours() {
    if !can_trace() {
        return;
    }
    let spec = of_this_process(vec![probe(function("vfs_raed"), &[], None)]);
    let error = try_run(&spec, |_| ()).map(|_| ()).unwrap_err();
    let said = matches!(&error, Error::ProbeNotFound { message } if message.contains("vfs_read"));
    assert!(said, "{error}");
}

#[test]
fn every_call_is_seen_with_its_arguments() {
    if !can_trace() {
        return;
    }
    for attach in ways() {
        let captures = [
            ("count", arg("count")),
            ("second", Expr::Field { path: vec![PathStep::Index(2)] }),
            ("mode", path(&["file", "f_mode"])),
            ("device", path(&["file", "f_path", "dentry", "d_sb", "s_id"])),
            (
                "pointer",
                Expr::String { pointer: Box::new(path(&["file", "f_path", "dentry", "d_name", "name"])), limit: 64 },
            ),
        ];
        let entry = by(attach, probe(function("vfs_read"), &captures, Some(is(arg("count"), SIZE as i128))));
        let outcome = run(&of_this_process(vec![entry]), |_| read_zeroes(CALLS));
        outcome.check();
        let row = outcome.row();
        assert_eq!(row.delivered + row.missed, CALLS as u64, "{attach:?} {row:?}");
        for event in &outcome.events {
            assert_eq!((event.values[0].number(), event.values[1].number()), (SIZE as i128, SIZE as i128));
            // FMODE_READ is 1.
            assert_eq!(event.values[2].number() & 1, 1);
            assert_eq!((event.values[3].text(), event.values[4].text()), (dev_is_of().as_str(), "zero"), "{attach:?}");
        }
    }
}

#[test]
fn a_sample_of_calls_is_exact() {
    if !can_trace() {
        return;
    }
    for attach in ways() {
        for target in [function("vfs_read"), function_return("vfs_read")] {
            let is_return = target == function_return("vfs_read");
            let captured = if is_return { fact(Context::Elapsed) } else { stack(StackSpace::Kernel) };
            let probe = by(attach, probe(target, &[("value", captured)], Some(is(arg("count"), SIZE as i128))));
            let spec = of_this_process(vec![ProbeSpec { sample: 7, ..probe }]);
            let outcome = run(&spec, |_| {
                live_support::on_one_cpu();
                read_zeroes(CALLS);
            });
            outcome.check();
            let row = outcome.rows[0];
            let passed = (row.delivered + row.unsampled) as usize;
            assert_eq!(outcome.events.len(), passed / 7, "{attach:?} {:?}", outcome.rows);
            // A few calls at most are missed, where an interrupt makes one.
            assert!((CALLS - 5..=CALLS).contains(&passed), "{attach:?} {:?}", outcome.rows);
        }
    }
}

/// Returns that were delivered or missed. Where the kernel doesn't count those that it misses, the entry's row has them.
fn returned(outcome: &Outcome) -> u64 {
    outcome.rows.iter().map(|row| row.delivered + row.missed + row.left_open).sum()
}

#[test]
fn a_return_has_what_the_function_returned() {
    if !can_trace() {
        return;
    }
    for attach in ways() {
        let captures = [("ret", fact(Context::Ret)), ("error", fact(Context::Error))];
        let condition = Some(is(fact(Context::Ret), SIZE as i128));
        let good = by(attach, probe(function_return("vfs_read"), &captures, condition));
        let outcome = run(&of_this_process(vec![good]), |_| read_zeroes(CALLS));
        outcome.check();
        assert_eq!(returned(&outcome), CALLS as u64, "{attach:?} {:?}", outcome.rows);
        assert!(outcome.events.iter().all(|event| event.values[1].number() == 0));

        let wrong =
            by(attach, probe(function_return("vfs_read"), &captures, Some(is(fact(Context::Error), libc::EISDIR))));
        let outcome = run(&of_this_process(vec![wrong]), |_| {
            let mut folder = std::fs::File::open("/").unwrap();
            for _ in 0..CALLS {
                folder.read(&mut [0; SIZE]).unwrap_err();
            }
        });
        assert_eq!(returned(&outcome), CALLS as u64, "{attach:?} {:?}", outcome.rows);
        let ret = -i128::from(libc::EISDIR);
        assert!(outcome.events.iter().all(|event| event.values[0].number() == ret), "{attach:?}");
    }
}

#[test]
fn the_function_is_in_its_own_stack() {
    if !can_trace() {
        return;
    }
    let names = KernelNames::read();
    for attach in ways() {
        for target in [function("vfs_read"), function_return("vfs_read")] {
            let spelling = target.spelling();
            let spec = of_this_process(vec![by(attach, probe(target, &[("stack", stack(StackSpace::Kernel))], None))]);
            let outcome = run(&spec, |_| read_zeroes(CALLS));
            outcome.check();
            assert!(outcome.events.len() >= CALLS, "{attach:?} {spelling} {:?}", outcome.rows);
            let hash = outcome.events[outcome.events.len() - 1].values[0].stack();
            let frames = outcome.stacks.get(hash).unwrap();
            let stack: Vec<&str> = frames.addresses.iter().map(|address| names.name(*address)).collect();
            println!("{attach:?} {spelling}: {stack:?}");
            assert_eq!(stack[0], "vfs_read", "{attach:?} {spelling}: {stack:?}");
            assert_eq!(stack[1], "ksys_read", "{attach:?} {spelling}: {stack:?}");
        }
    }
}

/// Hundreds of functions at once: how long that takes, and that each event is its own function's.
#[test]
fn many_functions_are_attached_at_once() {
    if !can_trace() {
        return;
    }
    let ways = ways();
    if ways.is_empty() {
        // Which functions there are to trace isn't known here, either.
        let listed = catalog::list("function:vfs_*");
        assert!(listed.as_ref().is_err_and(|error| error.to_string().contains("available_filter_functions")));
        return;
    }
    let started = Instant::now();
    let some = catalog::list("function:vfs_*").unwrap();
    println!("listed {} in {:?}", some.len(), started.elapsed());
    assert!(some.len() > 40 && some.contains(&("function".into(), "vfs_read".into())), "{some:?}");
    let many = catalog::list("function:ext4_*").unwrap().into_iter().chain(catalog::list("function:tcp_*").unwrap());
    let many = many.chain(some.iter().cloned()).map(|(_, name)| function(&name)).collect::<Vec<_>>();
    let index = many.iter().position(|target| *target == function("vfs_read")).unwrap();
    for attach in ways {
        let few: Vec<Target> = many.iter().rev().take(60).cloned().collect();
        for (targets, place) in [(many.clone(), index), (few, usize::MAX)] {
            if targets.len() > 100 && attach != Attach::KprobeMulti {
                continue;
            }
            let place = targets.iter().position(|target| *target == function("vfs_read")).unwrap_or(place);
            let group =
                ProbeSpec { targets, ..by(attach, probe(function("vfs_read"), &[("tid", fact(Context::Tid))], None)) };
            let count = group.targets.len();
            let spec = of_this_process(vec![group]);
            let started = Instant::now();
            let mut engine = Engine::prepare(&spec).unwrap();
            let prepared = started.elapsed();
            engine.start().unwrap();
            let programs = engine.program_ids().unwrap().len();
            println!(
                "{attach:?}: {count} functions, {programs} programs: prepared in {prepared:?}, started in {:?}",
                started.elapsed() - prepared
            );
            read_zeroes(CALLS);
            engine.close().unwrap();
            let rows = engine.ledger().unwrap();
            let closing = Instant::now();
            drop(engine);
            println!("dropped in {:?}", closing.elapsed());
            let row = rows[place];
            assert!(row.hits >= CALLS as u64 && row.hits < 2 * CALLS as u64, "{row:?}");
            assert!(rows.iter().all(|row| row.balance() == 0));
        }
    }
}

/// What a return has of its function's entry: the arguments, values from that moment, and the time since.
#[test]
fn a_return_has_what_its_entry_had() {
    if !can_trace() {
        return;
    }
    let at_start = |value| Expr::AtStart { value: Box::new(value) };
    for attach in ways() {
        let captures = [
            ("count", arg("count")),
            (
                "name",
                Expr::String { pointer: Box::new(path(&["file", "f_path", "dentry", "d_name", "name"])), limit: 64 },
            ),
            ("elapsed", fact(Context::Elapsed)),
            ("began", at_start(fact(Context::Timestamp))),
            ("device", at_start(path(&["file", "f_path", "dentry", "d_sb", "s_id"]))),
            ("ret", fact(Context::Ret)),
        ];
        let probe = by(attach, probe(function_return("vfs_read"), &captures, Some(is(arg("count"), SIZE as i128))));
        let outcome = run(&of_this_process(vec![probe]), |_| read_zeroes(CALLS));
        println!("{attach:?}: {:?}", outcome.rows);
        let delivered: u64 = outcome.rows.iter().map(|row| row.delivered).sum();
        let lost: u64 = outcome.rows.iter().map(|row| row.missed + row.unmatched).sum();
        assert!(delivered <= CALLS as u64 && delivered + lost >= CALLS as u64, "{attach:?} {:?}", outcome.rows);
        assert!(outcome.rows.iter().all(|row| row.balance() == 0));
        for event in &outcome.events {
            let values = &event.values;
            assert_eq!(
                (values[0].number(), values[1].text(), values[5].number()),
                (SIZE as i128, "zero", SIZE as i128)
            );
            assert_eq!(values[4].text(), dev_is_of());
            let (elapsed, began) = (values[2].number(), values[3].number());
            assert!(elapsed > 0 && began + elapsed <= i128::from(event.time), "{attach:?} {event:?}");
            assert!(i128::from(event.time) - (began + elapsed) < 100_000_000, "{attach:?} {event:?}");
        }
    }
}

/// An epoll within an epoll within an epoll: when one is added, the kernel looks for circles by a function that calls
/// itself once for each level.
fn nest_epolls(depth: usize) {
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
    // SAFETY: epoll_create1 takes a number and gives a new descriptor.
    let epolls: Vec<OwnedFd> = (0..depth).map(|_| unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(0)) }).collect();
    for pair in epolls.windows(2) {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        let (inner, outer) = (pair[0].as_raw_fd(), pair[1].as_raw_fd());
        // SAFETY: both descriptors are open, and the event lives until the call returns.
        assert_eq!(unsafe { libc::epoll_ctl(outer, libc::EPOLL_CTL_ADD, inner, &raw mut event) }, 0);
    }
}

#[test]
fn calls_within_calls_are_told_apart() {
    if !can_trace() {
        return;
    }
    for attach in ways() {
        let captures = [
            ("depth", arg("depth")),
            ("elapsed", fact(Context::Elapsed)),
            ("before", Expr::AtStart { value: Box::new(arg("depth")) }),
        ];
        let probe = by(attach, probe(function_return("ep_loop_check_proc"), &captures, None));
        let outcome = run(&of_this_process(vec![probe]), |_| nest_epolls(5));
        let depths: Vec<i128> = outcome.events.iter().map(|event| event.values[0].number()).collect();
        let lost: u64 = outcome.rows.iter().map(|row| row.missed).sum();
        println!("{attach:?}: {depths:?}, {lost} missed");
        // The last of four additions looks at four levels, and returns from the innermost first.
        if attach == Attach::Fentry && lost > 0 {
            // The kernel keeps a trampoline's program from running within itself: then it says how often.
            assert!(!depths.is_empty());
            continue;
        }
        assert_eq!(depths, [0, 1, 0, 2, 1, 0, 3, 2, 1, 0], "{attach:?} {:?}", outcome.rows);
        assert!(outcome.events.iter().all(|event| event.values[0] == event.values[2]));
        let last: Vec<i128> = outcome.events[6..].iter().map(|event| event.values[1].number()).collect();
        assert!(last.is_sorted() && last[0] < last[3], "{attach:?}: an outer call takes longer: {last:?}");
    }
}

/// A function that the kernel's own lists speak against, or that the compiler left only a part of.
#[test]
fn a_function_that_can_t_be_probed_says_why() {
    if !can_trace() || ways().is_empty() {
        return;
    }
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let symbols = symbols.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.len() == 3 && matches!(words[1], "t" | "T")).then(|| words[2])
    });
    let symbols: HashSet<&str> = symbols.collect();
    let denied = std::fs::read_to_string("/sys/kernel/debug/kprobes/blacklist").unwrap();
    let denied = denied.lines().filter_map(|line| line.split_whitespace().last()).find(|name| symbols.contains(name));
    let traceable = std::fs::read_to_string("/sys/kernel/tracing/available_filter_functions").unwrap();
    let part = traceable
        .lines()
        .find(|name| name.split_once(".isra.").is_some_and(|(whole, rest)| rest == "0" && !symbols.contains(whole)));
    let (denied, part) = (denied.unwrap(), part.unwrap());
    let whole = part.split_once('.').unwrap().0;
    for (name, attach, words) in [
        (denied, Attach::Kprobe, "kprobes/blacklist".to_owned()),
        (whole, Attach::Auto, format!("the compiler made {part}")),
        (&format!("{whole}s_"), Attach::Auto, "this kernel has no function".into()),
    ] {
        let spec = of_this_process(vec![by(attach, probe(function(name), &[], None))]);
        let error = try_run(&spec, |_| ()).map(|_| ()).unwrap_err();
        println!("{error}");
        assert!(matches!(&error, Error::ProbeNotFound { message } if message.contains(&words)), "{name}: {error}");
    }
    // What the compiler left can be probed by its own name, without types.
    let captures = [("first", Expr::Field { path: vec![PathStep::Index(0)] })];
    let spec = of_this_process(vec![named("part", probe(function(part), &captures, None))]);
    try_run(&spec, |_| ()).map(|_| ()).unwrap();
}
