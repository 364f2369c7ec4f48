//! The road of a description, second half. In: one probe of a verified spec, its layout, its fields. Out: a [`Program`].
//!
//! ```text
//! spec ──► build (typed IR) ──► verify ──► registers ──► bytecode ──► disassembly, for whoever wants to read it
//! ```
//!
//! Nothing here makes a system call or knows a file: what differs between kernels comes in as [`KernelOffsets`] and
//! [`Fields`], and maps are names ([`MapRef`]) that the loader replaces by descriptors.

pub mod access;
mod build;
mod disasm;
mod emit;
mod follow;
#[cfg(test)]
mod fuzz;
mod insn;
mod ir;
pub mod mapped;
mod names;
mod regalloc;
mod registers;
mod schema;
mod span;
mod table;

use spile_core::error::Error;
use spile_core::layout::EventLayout;
use spile_core::spec::{Expr, ProbeSpec};

pub use access::{Access, Fields, Leaf, NoFields};
pub use build::exprs_of;
pub use follow::follow;
pub use mapped::MappedRings;
pub use registers::{REGISTERS, Registers};
pub use schema::{schema, uses_task};
pub use span::{Key, MAX_KEPT, Side, SpanLayout, at_start};
pub use table::{FACTOR as HASH_FACTOR, FAULTED, HEADER, PROBES, TableLayout, USED, tables};

/// What the kernel calls the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProgramKind {
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`: the context is the arguments, 8 bytes each.
    RawTracepoint,
    /// `BPF_PROG_TYPE_TRACEPOINT`: the context is the record that tracefs's `format` describes.
    Tracepoint,
    /// `BPF_PROG_TYPE_PERF_EVENT`.
    PerfEvent,
    /// `BPF_PROG_TYPE_TRACING` at a function's entry: the context is its arguments, each in 8 bytes or a multiple of them.
    Fentry,
    /// The same at its return: the context goes on with what it returned.
    Fexit,
    /// `BPF_PROG_TYPE_KPROBE` at a function's entry: the context is the registers.
    Kprobe,
    /// The same at its return.
    Kretprobe,
}

impl ProgramKind {
    /// Whether the context holds values that the kernel's verifier has types for.
    fn has_typed_context(self) -> bool {
        matches!(self, Self::Fentry | Self::Fexit)
    }
}

/// Offsets in `struct task_struct`, from the running kernel's BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelOffsets {
    /// Of `utime`.
    pub task_utime: u32,
    /// Of `stime`.
    pub task_stime: u32,
    /// Of `real_parent`.
    pub task_real_parent: u32,
    /// Of `tgid`.
    pub task_tgid: u32,
    /// Of `pid`.
    pub task_pid: u32,
}

/// Which tasks may fire the program. What it keeps out is no hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Whether the process must be a key of [`MapRef::Pids`].
    pub pids: bool,
    /// The cgroup that the task must be in.
    pub cgroup: Option<u64>,
}

/// What a program is compiled for, besides its probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The id of its events, and its row of the ledger.
    pub event_id: u16,
    /// Whether the id is in the attachment's cookie instead, so that the program serves many places.
    pub id_in_cookie: bool,
    /// Frames kept of a stack, 1 to 127.
    pub stack_depth: u32,
    /// Slots of [`MapRef::StackCache`]: a power of two.
    pub stack_cache: u32,
    /// A process that is kept out.
    pub self_tgid: Option<u32>,
    /// Which tasks may fire it.
    pub target: Filter,
    /// The number of possible CPUs: each has a ring.
    pub cpus: u32,
    /// Whether it looks at [`MapRef::Budget`].
    pub has_budget: bool,
    /// The mapped rings, where records of fixed size travel by them.
    pub mapped: Option<MappedRings>,
}

/// More CPUs than this are reached by way of [`MapRef::RingArray`].
pub const MAX_IMMEDIATE_RINGS: u32 = 16;
/// Bytes of an entry of [`MapRef::Scratch`].
pub const SCRATCH_SIZE: u32 = 20_480;
/// The bits of a table's slots' numbers, until the loader knows better.
pub const BUCKET_BITS: u32 = 6;
/// Programs of one CPU that may interrupt each other and still have scratch.
pub const SCRATCH_LEVELS: u32 = 4;

/// A map that a program refers to. The loader writes the descriptor into the relocated instruction's immediate; the
/// instruction's source register already says whether the map or its first value is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MapRef {
    /// `ARRAY`, 1 entry of 8 bytes, addressed directly: a `u32`: 0 inactive, 1 active, 2 draining.
    Gate,
    /// `ARRAY`, 1 entry of 8 bytes, addressed directly: what is left out for the budget. A `u32`: of how many events one is
    /// sent, 0 for none; a `u32`: whether stacks are left empty.
    Budget,
    /// `RINGBUF` of this CPU.
    Ring(u32),
    /// `ARRAY` of 1 entry, mapped, addressed directly: [`MappedRings`].
    Mapped,
    /// `ARRAY_OF_MAPS` of the rings by CPU, where there are more than [`MAX_IMMEDIATE_RINGS`].
    RingArray,
    /// `PERCPU_ARRAY` by event id; an entry is [`Ledger::ENTRIES`] `u64`s. Row 0 is [`follow`]'s: its first word counts
    /// processes that found no room in [`MapRef::Pids`].
    Ledger,
    /// `PERCPU_ARRAY` of 1 + [`SCRATCH_LEVELS`] entries of [`SCRATCH_SIZE`] bytes. Entry 0 begins with the `u32` nesting
    /// level, which is always 0 between events.
    Scratch,
    /// `PERCPU_ARRAY` of `stack_cache` `u64`s.
    StackCache,
    /// `HASH` keyed by process id (`u32`).
    Pids,
    /// `ARRAY`, 1 entry of 8 bytes, addressed directly: a `u32`: where the parts of [`MapRef::Table`] that programs write to
    /// begin: 0, or the number of CPUs.
    Generation,
    /// `ARRAY` of parts ([`TableLayout`]), two for each CPU: the table, of this program's own, of the aggregate of this number.
    Table(u16),
    /// `HASH`, preallocated, keyed by 8 bytes: what the span of this number keeps between its starts and ends.
    Open(u16),
}

/// The words of a ledger row.
///
/// A hit has exactly one fate: hits = filtered + unsampled + budget sampled + budget counted + delivered + tabled + ring full + re-entered + faulted, of a span's sides also
/// unmatched, opened, already open and open full. The others are remarks. Of all rows of a span together, opened =
/// matched + overwritten + what is open still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Ledger {
    /// The program ran, active, for a task that the target filter lets through.
    Hits = 0,
    /// `where=` was false.
    Filtered = 1,
    /// A record is in the ring.
    Delivered = 2,
    /// There was no room for the record.
    RingFull = 3,
    /// Remark: a kernel stack could not be walked; the event has a null in its place.
    StackFailed = 4,
    /// Too many programs interrupted each other for the scratch there is.
    ReEntered = 5,
    /// A read that `where=`, or a span's key, needs faulted.
    Faulted = 6,
    /// Remark: there was no room for a stack's definition; the next hit with that stack sends it again.
    StackDefinitionLost = 7,
    /// An end without a start.
    Unmatched = 8,
    /// A start whose span is kept.
    Opened = 9,
    /// A start of what is open already, and isn't to be begun anew.
    AlreadyOpen = 10,
    /// There was no room for one more open span.
    OpenFull = 11,
    /// Remark: an end that found its start.
    Matched = 12,
    /// Remark: a start that another one replaced; counted where the other one came.
    Overwritten = 13,
    /// Tables keep it, all that it is for, and nothing else is wanted of it.
    Tabled = 14,
    /// Remark: it found room neither in a table nor, for that, in the ring; its event is another matter.
    TableLost = 15,
    /// It is not the one of so many that the probe takes.
    Unsampled = 16,
    /// No count, but a state: hits that were not taken since one was.
    SinceTaken = 17,
    /// Its event was left out by the budget's sampling.
    BudgetSampled = 18,
    /// Its event was left out while the budget let only count.
    BudgetCounted = 19,
    /// Remark: its stacks were left empty for the budget.
    BudgetStacks = 20,
    /// No count, but a state: events that the budget left out since one was sent.
    SinceSent = 21,
}

impl Ledger {
    /// The number of words in a row.
    pub const ENTRIES: u32 = 22;
}

/// An instruction, encoded as the kernel reads it (little-endian: opcode in the low byte).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn(pub u64);

/// A program that is ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// At most 15 characters of letters, digits and `_`, as the kernel wants it.
    pub name: String,
    /// What it is loaded as.
    pub kind: ProgramKind,
    /// Its code. A 64-bit immediate takes two.
    pub insns: Vec<Insn>,
    /// Indexes of instructions whose immediate the loader sets to the map's descriptor.
    pub relocations: Vec<(usize, MapRef)>,
    /// Indexes of instructions whose immediate the loader sets to 64 less the bits that number a table's slots. As they are,
    /// there are [`BUCKET_BITS`].
    pub buckets: Vec<usize>,
    ir: String,
}

impl Program {
    /// The intermediate form, for `explain` and tests.
    pub fn ir_text(&self) -> &str {
        &self.ir
    }

    /// The code as `bpftool` would print it.
    pub fn disassembly(&self) -> String {
        disasm::disassemble(&self.insns, &self.relocations)
    }
}

/// What becomes of a hit.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// The event.
    pub layout: &'a EventLayout,
    /// [`schema`]'s expressions, beside `layout.schema.fields`.
    pub columns: &'a [Expr],
    /// The aggregates that are kept here.
    pub tables: &'a [TableLayout],
}

/// Compiles one target of a probe.
pub fn compile(
    kind: ProgramKind,
    probe: &ProbeSpec,
    output: Output<'_>,
    fields: &dyn Fields,
    offsets: &KernelOffsets,
    options: &Options,
) -> Result<Program, Error> {
    let (role, index) = (build::Role::Event(output), output.layout.schema.probe);
    let request = build::Request { kind, probe, index, role, fields, offsets, options };
    let function = build::build(&request)?;
    finish(kind, function)
}

/// Where a side of a span is.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// What the kernel calls its program.
    pub kind: ProgramKind,
    /// The fields there.
    pub fields: &'a dyn Fields,
    /// Of the running kernel.
    pub offsets: &'a KernelOffsets,
    /// Its own; the id names its row of the ledger.
    pub options: &'a Options,
}

/// Compiles a start of a span, the probe of the number `index`.
pub fn compile_start(site: &Site<'_>, probe: &ProbeSpec, index: u32, side: Side<'_>) -> Result<Program, Error> {
    let restart = probe.span.as_ref().is_none_or(|span| span.restart);
    compile_side(site, probe, index, build::Role::Start { side, restart })
}

/// Compiles an end of a span.
pub fn compile_end(site: &Site<'_>, probe: &ProbeSpec, side: Side<'_>, output: Output<'_>) -> Result<Program, Error> {
    compile_side(site, probe, output.layout.schema.probe, build::Role::End { side, output })
}

fn compile_side<'a>(
    site: &Site<'a>,
    probe: &'a ProbeSpec,
    index: u32,
    role: build::Role<'a>,
) -> Result<Program, Error> {
    let Site { kind, fields, offsets, options } = *site;
    let request = build::Request { kind, probe, index, role, fields, offsets, options };
    finish(kind, build::build(&request)?)
}

/// From IR to bytecode.
fn finish(kind: ProgramKind, function: ir::Function) -> Result<Program, Error> {
    let ir = function.to_string();
    let bug = |stage: &str, fault: String| Error::Engine {
        message: format!("the code made for {} is wrong ({stage}): a bug in spile", function.name),
        log: format!("{fault}\n{ir}"),
    };
    ir::verify(&function).map_err(|fault| bug("verifying", fault))?;
    let allocation = regalloc::allocate(&function).map_err(|fault| bug("allocating registers", fault))?;
    let code = emit::emit(&function, &allocation).map_err(|fault| bug("emitting", fault))?;
    let emit::Code { insns, relocations, buckets } = code;
    Ok(Program { name: function.name, kind, insns, relocations, buckets, ir })
}
