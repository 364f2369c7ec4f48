//! Looks a spec over before anything is attached.
//!
//! In: a [`SessionSpec`] as it came. Out: nothing, or every error at once, each with its path into the spec and words that
//! say what to do. No kernel is asked: whether a tracepoint or a field exists is found out when a session starts.
//!
//! The rules:
//! * `version` is this build's.
//! * There is a probe. Every probe does something: it delivers events, counts, or is a side of a span.
//! * A probe's name is an identifier and its own; it has a target.
//! * A target is named once, by a name that tracefs, or the table of symbols, could hold; a timer ticks 1 to 100,000 times
//!   a second.
//! * How to attach is said of functions only.
//! * A span has no target of its own. Each side of it names probes, each once, that stand before it and are no spans, with
//!   a key: an integer, computed there, that is no literal. 1 to 1,048,576 of its starts may be open.
//! * What a function returned (`ret`, `error`) is known at its return only; `elapsed` there, and at the end of a span.
//! * `at_start()` stands in spans and in probes of returns, not within itself and not in keys; what is in it follows the
//!   rules of the start: the fields are those of its targets, and at a function's entry nothing has been returned.
//! * One hit of 1 to 2^30 is taken, and a side of a span takes all.
//! * A capture's name is an identifier, its own, and no header's (unless the value is the field or fact of that name).
//! * An event has at most 16 values, captures and keys together, and its strings fit into a record and into the buffer.
//! * A timer has no fields; a tracepoint's fields have names.
//! * Literals lie within -2^63 … 2^64 - 1. Trees are at most 64 levels deep.
//! * Numbers are computed from numbers: not from a stack, a comm, a string or `probe_name`. Strings are compared with
//!   strings: not with the values of fields of which nothing is known, but with those that may be strings.
//! * Stacks are captured or keys, 1 to 127 frames deep; a condition has none. Strings have 1 to 16,384 bytes.
//! * A condition can hold: no list of it is empty, no literal is too long, and no two parts contradict each other.
//! * An aggregate other than a count has a value: an integer, or anything for `top` and `distinct`. A linear histogram has a
//!   whole number of steps, at most 65,536; `top` keeps 1 to 65,536 values.
//! * The target filter names a process and a cgroup that can exist.
//! * Sizes are within their limits.

mod aggregate;
mod condition;
mod contradiction;
mod expr;
mod outcome;
mod probe;
mod span;
mod words;

use super::{Limits, SPEC_VERSION, SessionSpec, TargetFilter};
use crate::error::Error;
use crate::layout::MAX_FRAMES;

/// Levels of a tree, so that whoever walks one can't run out of stack.
const MAX_DEPTH: usize = 64;
/// The kernel's own limit on process ids (`PID_MAX_LIMIT`).
const MAX_PID: u32 = 4 << 20;
/// The least ring buffer: a page.
const MIN_BUFFER: u64 = 4096;
/// The largest ring buffer of one CPU.
const MAX_BUFFER: u64 = 1 << 30;
/// The least queue: some batches.
const MIN_QUEUE: u64 = 64 << 10;
/// The largest queue.
const MAX_QUEUE: u64 = 64 << 30;
/// The most slots of a CPU's cache of stacks.
const MAX_STACK_CACHE: u32 = 1 << 20;

/// The least memory of tables: a page.
const MIN_TABLES: u64 = 4096;
/// The largest.
const MAX_TABLES: u64 = 64 << 30;

/// All of the CPUs' time, in millionths.
const MAX_SHARE: u32 = 1_000_000;

/// What to do about a tree that is nested too deeply.
pub(super) const TOO_DEEP: &str =
    "an expression is nested too deeply: combine conditions in one list, and use isin() for many values";

/// Verifies a whole spec.
pub fn verify(spec: &SessionSpec) -> Result<(), Error> {
    if spec.version != SPEC_VERSION {
        return Err(refuse_version(spec.version));
    }
    let mut faults = Faults::default();
    target_filter(&spec.target, &mut faults);
    limits(&spec.limits, &mut faults);
    probe::probes(spec, &mut faults);
    Error::all(faults.errors).map_or(Ok(()), Err)
}

/// The version is not this build's.
pub(super) fn refuse_version(version: u32) -> Error {
    Error::spec("version", format!("the spec has version {version}, and this build reads version {SPEC_VERSION}"))
}

/// What was found so far.
#[derive(Default)]
struct Faults {
    errors: Vec<Error>,
    /// Appended to messages: which probe, and where the script declares it.
    origin: String,
}

impl Faults {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.push(Error::spec(path, message.into() + &self.origin));
    }
}

fn target_filter(target: &TargetFilter, faults: &mut Faults) {
    match target.pid {
        Some(0) => faults.add("target.pid", "process 0 is the idle task of each CPU: give the pid of a process"),
        Some(pid) if pid > MAX_PID => {
            faults.add("target.pid", format!("there is no process {pid}: process ids end at {MAX_PID}"));
        }
        _ => {}
    }
    if target.cgroup == Some(0) {
        faults.add("target.cgroup", "no cgroup has the id 0: give the inode number of its directory");
    }
}

fn limits(limits: &Limits, faults: &mut Faults) {
    let Limits { buffer, queue, stack_depth, stack_cache, tables, transport: _, on_full: _, max_overhead } = *limits;
    if !buffer.is_power_of_two() || !(MIN_BUFFER..=MAX_BUFFER).contains(&buffer) {
        let near = buffer.clamp(MIN_BUFFER, MAX_BUFFER).next_power_of_two().min(MAX_BUFFER);
        faults.add(
            "limits.buffer",
            format!(
                "buffer={buffer}: each CPU's ring has a power of two of bytes, {MIN_BUFFER} to {MAX_BUFFER}; take {near}"
            ),
        );
    }
    if !(MIN_QUEUE..=MAX_QUEUE).contains(&queue) {
        faults.add("limits.queue", format!("queue={queue}: the queue takes {MIN_QUEUE} to {MAX_QUEUE} bytes"));
    }
    if !(1..=MAX_FRAMES).contains(&stack_depth) {
        faults.add("limits.stack_depth", format!("stack_depth={stack_depth}: a stack has 1 to {MAX_FRAMES} frames"));
    }
    if !stack_cache.is_power_of_two() || stack_cache > MAX_STACK_CACHE {
        let near = stack_cache.clamp(1, MAX_STACK_CACHE).next_power_of_two();
        faults.add(
            "limits.stack_cache",
            format!("stack_cache={stack_cache}: a power of two of slots, at most {MAX_STACK_CACHE}; take {near}"),
        );
    }
    if tables != 0 && !(MIN_TABLES..=MAX_TABLES).contains(&tables) {
        let fault = format!("tables={tables}: tables take {MIN_TABLES} to {MAX_TABLES} bytes, or 0 for none");
        faults.add("limits.tables", fault);
    }
    if let Some(share) = max_overhead.filter(|share| !(1..=MAX_SHARE).contains(share)) {
        let fault = format!("max_overhead={share}: tracing takes 1 to {MAX_SHARE} millionths of the CPUs' time");
        faults.add("limits.max_overhead", fault);
    }
}
