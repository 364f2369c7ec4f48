//! The kernel's own verifier as the judge: programs of every shape are loaded, and attached to nothing.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use compile_support::*;
use spile_bpf::compile::{Access, Filter, Leaf, Ledger, MapRef, MappedRings, NoFields, Options, Program, ProgramKind};
use spile_core::spec::{
    BinaryOperator as B, Capture, CompareOperator as C, Condition, Context, ProbeSpec, StackSpace, UnaryOperator as U,
};

const MAP_CREATE: i32 = 0;
const PROG_LOAD: i32 = 5;
const RINGBUF: u32 = 27;

/// bpf(2) with an attribute of words, of which the kernel wants the first ones.
fn bpf(command: i32, attribute: &mut [u32; 32]) -> Result<OwnedFd, std::io::Error> {
    // SAFETY: the attribute is large enough, and whatever it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attribute.as_mut_ptr(), size_of_val(attribute)) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn map(kind: u32, key: u32, value: u32, entries: u32, inner: u32) -> OwnedFd {
    let mut attribute = [0; 32];
    attribute[..6].copy_from_slice(&[kind, key, value, entries, 0, inner]);
    bpf(MAP_CREATE, &mut attribute).unwrap()
}

fn map_for(map_ref: MapRef, options: &Options, kept: u32) -> OwnedFd {
    match map_ref {
        MapRef::Gate | MapRef::Budget => map(2, 4, 8, 1, 0),
        MapRef::Ring(_) => map(RINGBUF, 0, 0, 4096, 0),
        MapRef::RingArray => {
            let inner = map(RINGBUF, 0, 0, 4096, 0);
            map(12, 4, 4, 32, inner.as_raw_fd() as u32)
        }
        MapRef::Ledger => map(6, 4, 8 * Ledger::ENTRIES, 8, 0),
        MapRef::Scratch => map(6, 4, 20_480, 5, 0),
        MapRef::StackCache => map(6, 4, 8, options.stack_cache, 0),
        MapRef::Pids => map(1, 4, 4, 64, 0),
        MapRef::Generation => map(2, 4, 8, 1, 0),
        MapRef::Table(_) => map(2, 4, 1 << 16, 4, 0),
        MapRef::Open(_) => map(1, 8, kept, 64, 0),
        MapRef::Mapped => map(2, 4, options.mapped.map_or(8, MappedRings::size), 1, 0),
    }
}

/// Loads a program; gives the verifier's summary.
fn load(program: &Program, options: &Options, kept: u32) -> Result<String, String> {
    let mut maps: HashMap<MapRef, OwnedFd> = HashMap::new();
    let mut code: Vec<u64> = program.insns.iter().map(|insn| insn.0).collect();
    for (at, map_ref) in &program.relocations {
        let fd = maps.entry(*map_ref).or_insert_with(|| map_for(*map_ref, options, kept)).as_raw_fd();
        code[*at] = program.insns[*at].with_imm(fd).0;
    }
    let license = c"Dual MIT/GPL";
    let attempt = |level: u32| {
        let mut log = vec![0_u8; if level > 2 { 1 << 14 } else { 1 << 22 }];
        let mut attribute = [0_u32; 32];
        let mut pointer = |at: usize, address: u64| {
            attribute[at] = address as u32;
            attribute[at + 1] = (address >> 32) as u32;
        };
        pointer(2, code.as_ptr() as u64);
        pointer(4, license.as_ptr() as u64);
        pointer(8, log.as_mut_ptr() as u64);
        attribute[0] = match program.kind {
            ProgramKind::Tracepoint => 5,
            ProgramKind::PerfEvent => 7,
            ProgramKind::RawTracepoint => 17,
            ProgramKind::Kprobe | ProgramKind::Kretprobe => 2,
            ProgramKind::Fentry | ProgramKind::Fexit => {
                panic!("such a program is for one function: see live_functions")
            }
        };
        attribute[1] = code.len() as u32;
        attribute[6] = level;
        attribute[7] = log.len() as u32;
        let result = bpf(PROG_LOAD, &mut attribute);
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_string();
        (result.map(drop), log)
    };
    match attempt(4) {
        (Ok(()), log) => Ok(log),
        (Err(error), _) => {
            let (_, log) = attempt(1);
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            Err(format!("{error}\n{}\n{}\n{}", program.ir_text(), program.disassembly(), tail.join("\n")))
        }
    }
}

fn is_permitted() -> bool {
    // SAFETY: geteuid only reads.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("skipped: loading programs needs root");
    }
    root
}

fn raw_fields() -> Table {
    let read = |offset, leaf| Access::Read { ctx_offset: 8, derefs: vec![], offset, leaf };
    Table(vec![
        ("preempt", Access::Ctx { offset: 0, size: 1, signed: false }),
        ("prev", Access::Ctx { offset: 8, size: 8, signed: false }),
        ("state", Access::Ctx { offset: 24, size: 4, signed: true }),
        ("prev_pid", read(1384, Leaf::Int { size: 4, signed: true })),
        ("prev_comm", read(2000, Leaf::String { size: 16 })),
        (
            "parent_tgid",
            Access::Read {
                ctx_offset: 8,
                derefs: vec![1400, 1400],
                offset: 1388,
                leaf: Leaf::Int { size: 4, signed: true },
            },
        ),
        ("bits", read(16, Leaf::Bits { size: 4, shift: 3, width: 5, signed: true })),
        ("long", read(2000, Leaf::String { size: 300 })),
    ])
}

fn record_fields() -> Table {
    Table(vec![
        ("prev_comm", Access::CtxString { offset: 8, size: 16 }),
        ("prev_pid", Access::Ctx { offset: 24, size: 4, signed: true }),
        ("prev_state", Access::Ctx { offset: 32, size: 8, signed: true }),
        ("odd", Access::CtxString { offset: 60, size: 7 }),
        ("filename", Access::CtxDynString { offset: 40 }),
        ("mask", Access::CtxDynBytes { offset: 44 }),
        ("args", Access::CtxArray { offset: 16, elem_size: 8, signed: false, count: 6 }),
        ("huge", Access::CtxString { offset: 64, size: 300 }),
    ])
}

fn facts() -> Vec<spile_core::spec::Expr> {
    use Context::*;
    [Pid, Tid, Ppid, Uid, Gid, Cgroup, Comm, Cpu, Timestamp, Utime, Stime, Task, ProbeName].map(fact).to_vec()
}

fn conditions(number: &str, text: &str) -> Vec<Condition> {
    let big = compare(C::Greater, fact(Context::Cgroup), field(number));
    let mixed = compare(C::LessEqual, field(number), int(u64::MAX.into()));
    let division = |operator| compare(C::Equal, binary(operator, field(number), fact(Context::Cpu)), int(-3));
    let shifted = binary(B::ShiftRight, field(number), fact(Context::Cpu));
    vec![
        compare(C::Equal, field(number), int(0)),
        Condition::Not { term: Box::new(big.clone()) },
        Condition::And { terms: vec![big.clone(), mixed.clone(), is_string(fact(Context::Comm), &["cc1", "as"])] },
        Condition::Or { terms: vec![big, mixed, division(B::FloorDivide), division(B::Modulo)] },
        compare(C::Less, shifted, unary(U::Invert, field(number))),
        Condition::IsIn { value: field(number), choices: vec![1, -5, i128::from(u64::MAX), 1 << 40] },
        is_string(field(text), &["a", "bcdefghi", "a rather long name that can not be there", ""]),
        is_string(field(text), &[&"x".repeat(500)]),
        Condition::StartsWith { value: field(text), prefix: b"kwork".to_vec() },
        is_string(string(fact(Context::Task), 64), &["hello", &"y".repeat(62), &"z".repeat(64)]),
        is_string(string(fact(Context::Task), 4096), &[&"y".repeat(3000)]),
    ]
}

fn both() -> Vec<spile_core::spec::Expr> {
    vec![stack(StackSpace::Kernel), stack(StackSpace::User)]
}

/// What is in two registers of `struct pt_regs`, and behind the first.
fn registers(first: u32, second: u32) -> Table {
    let behind = |offset, leaf| Access::Read { ctx_offset: first, derefs: vec![24], offset, leaf };
    Table(vec![
        ("file", Access::Ctx { offset: first, size: 8, signed: false }),
        ("mode", behind(12, Leaf::Int { size: 4, signed: false })),
        ("name", behind(56, Leaf::String { size: 40 })),
        ("count", Access::Ctx { offset: second, size: 4, signed: true }),
        ("ret", Access::Ctx { offset: 80, size: 8, signed: true }),
    ])
}

fn cases() -> Vec<(ProgramKind, ProbeSpec, Table)> {
    let mut cases = Vec::new();
    let mut add = |kind, probe, fields: fn() -> Table| cases.push((kind, probe, fields()));
    for (kind, fields, number, text) in [
        (ProgramKind::RawTracepoint, raw_fields as fn() -> Table, "prev_pid", "prev_comm"),
        (ProgramKind::Tracepoint, record_fields, "prev_pid", "prev_comm"),
    ] {
        for condition in conditions(number, text) {
            add(kind, probe(&[field(number)], Some(condition.clone())), fields);
            add(kind, probe(&both(), Some(condition.clone())), fields);
            add(kind, probe(&[string(fact(Context::Task), 256), fact(Context::Comm)], Some(condition)), fields);
        }
        add(kind, ProbeSpec { capture: Capture::All, ..probe(&[], None) }, fields);
        add(kind, counted_by(probe(&[], None), both()), fields);
        let mut captures = facts();
        captures.extend(both());
        captures.push(field(text));
        add(kind, probe(&captures, None), fields);
        captures.truncate(12);
        captures.extend([string(fact(Context::Task), 4096), string(field(number), 1), string(int(1 << 40), 7)]);
        add(kind, probe(&captures, None), fields);
    }
    let names = conditions("odd", "filename").into_iter().skip(6);
    for condition in names.chain([is_string(field("odd"), &["odd", "seven77", "too long to be"])]) {
        add(ProgramKind::Tracepoint, probe(&both(), Some(condition)), record_fields);
    }
    let arguments: fn() -> Table = || registers(112, 104);
    let result: fn() -> Table = || registers(80, 80);
    for (kind, fields) in [(ProgramKind::Kprobe, arguments), (ProgramKind::Kretprobe, result)] {
        for condition in conditions("count", "name") {
            add(kind, probe(&both(), Some(condition)), fields);
        }
        add(kind, ProbeSpec { capture: Capture::All, ..probe(&[], None) }, fields);
    }
    let returned = [fact(Context::Ret), fact(Context::Error), stack(StackSpace::Kernel)];
    let failed = Some(compare(C::NotEqual, fact(Context::Error), int(0)));
    add(ProgramKind::Kretprobe, probe(&returned, failed), result);
    add(ProgramKind::PerfEvent, probe(&both(), Some(compare(C::NotEqual, fact(Context::Pid), int(0)))), || {
        Table(vec![])
    });
    add(ProgramKind::PerfEvent, probe(&facts(), Some(is_string(fact(Context::Comm), &["bash"]))), || Table(vec![]));
    cases
}

#[test]
fn everything_is_accepted() {
    if !is_permitted() {
        return;
    }
    let (mut loaded, mut most) = (0, 0);
    for (kind, probe, fields) in cases() {
        let rings = |cpus| (cpus, MappedRings::new(1 << 16, cpus));
        for (cpus, mapped) in [(1, None), (2, None), (16, None), (32, None), rings(2), rings(32)] {
            for target in [Filter { pids: false, cgroup: None }, Filter { pids: true, cgroup: Some(1 << 35) }] {
                let self_tgid = target.pids.then_some(4242);
                // Half of them keep to a budget and take a sample.
                let has_budget = target.pids;
                let probe = ProbeSpec { sample: if has_budget { 1 << 30 } else { 1 }, ..probe.clone() };
                let options = Options { cpus, mapped, target, self_tgid, has_budget, ..options() };
                let (_, program) = compiled(kind, &probe, &fields, &options);
                let summary = load(&program, &options, 8).unwrap_or_else(|log| panic!("{probe:#?}\n{log}"));
                let count = summary.split("processed ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
                most = most.max(count.unwrap_or(0));
                loaded += 1;
            }
        }
    }
    println!("{loaded} programs; the verifier looked at up to {most} instructions");
}

#[test]
fn a_timer_without_captures_is_accepted() {
    if is_permitted() {
        let (_, program) = compiled(ProgramKind::PerfEvent, &probe(&[], None), &NoFields, &options());
        load(&program, &options(), 8).unwrap();
    }
}

/// What spans are asked for: values on the stack, in scratch, missing ones, long ones.
fn spans(number: &str, text: &str) -> Vec<ProbeSpec> {
    let elapsed = fact(Context::Elapsed);
    let late = compare(C::Greater, elapsed.clone(), binary(B::Multiply, at_start(field(number)), int(1000)));
    let comm = at_start(fact(Context::Comm));
    let many = facts().into_iter().filter(|fact| *fact != self::fact(Context::Comm)).map(at_start);
    let strings = [at_start(string(fact(Context::Task), 64)), at_start(field(text)), string(fact(Context::Task), 256)];
    let long = at_start(string(fact(Context::Task), 4096));
    vec![
        span(&[], None, true),
        span(&[elapsed.clone(), at_start(field(number))], Some(late.clone()), false),
        span(&[at_start(stack(StackSpace::Kernel)), at_start(stack(StackSpace::User)), comm.clone()], None, true),
        counted_by(span(std::slice::from_ref(&elapsed), Some(is_string(comm.clone(), &["cc1"])), true), both()),
        span(&many.collect::<Vec<_>>(), None, true),
        span(&strings, Some(is_string(at_start(field(text)), &["a", "a longer name"])), false),
        span(&[long.clone(), comm, stack(StackSpace::User)], Some(late), true),
        span(&[elapsed], Some(is_string(long, &[&"y".repeat(3000)])), true),
    ]
}

#[test]
fn spans_are_accepted() {
    if !is_permitted() {
        return;
    }
    for (kind, fields, number, text) in [
        (ProgramKind::RawTracepoint, raw_fields as fn() -> Table, "prev_pid", "prev_comm"),
        (ProgramKind::RawTracepoint, raw_fields, "state", "long"),
        (ProgramKind::Tracepoint, record_fields, "prev_pid", "filename"),
        (ProgramKind::Tracepoint, record_fields, "prev_pid", "odd"),
    ] {
        let compared = is_string(field(text), &["kworker"]);
        for (probe, cpus) in spans(number, text).into_iter().zip([1, 2, 16, 32].into_iter().cycle()) {
            for (key, condition) in [(fact(Context::Task), None), (field(number), Some(&compared))] {
                let (fields, options) = (fields(), Options { cpus, has_budget: cpus > 1, ..options() });
                let pair = paired(kind, &probe, &key, (&fields, condition), (&fields, condition), &options);
                let pair = pair.unwrap_or_else(|error| panic!("{error}: {probe:#?}"));
                for program in [&pair.start, &pair.end] {
                    let kept = pair.kept.size();
                    load(program, &options, kept).unwrap_or_else(|log| panic!("{probe:#?}\n{log}"));
                }
            }
        }
    }
}
