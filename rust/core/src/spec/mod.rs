//! The description of a session, as it crosses from Python once per session.
//!
//! In: versioned JSON. Out: typed [`SessionSpec`] values that [`verify`] has looked at. Nothing here touches a kernel.

mod expr;
mod integer;
mod verify;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use expr::{BinaryOperator, CompareOperator, Condition, Context, Expr, PathStep, StackSpace, UnaryOperator};
pub use verify::verify;

use crate::error::Error;

/// The version of the JSON form that this build writes and reads.
pub const SPEC_VERSION: u32 = 1;

/// Everything that a session was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionSpec {
    /// The version of this form; see [`SPEC_VERSION`].
    pub version: u32,
    /// Which processes are seen.
    pub target: TargetFilter,
    /// Sizes, all of them.
    pub limits: Limits,
    /// The probes, in the order declared; a probe's index is its identity within the session.
    pub probes: Vec<ProbeSpec>,
}

/// Which tasks may fire a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetFilter {
    /// A process (as user space counts) to follow.
    pub pid: Option<u32>,
    /// Whether its children, born after the start, are followed too.
    pub follow: bool,
    /// A cgroup id (the inode number of its directory).
    pub cgroup: Option<u64>,
    /// Whether the tracer's own process is kept out.
    pub exclude_self: bool,
}

/// Sizes of everything whose memory is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of ring buffer for each CPU: a power of two, at least a page.
    pub buffer: u64,
    /// Bytes of decoded events that may wait for the script.
    pub queue: u64,
    /// Frames kept of a stack, at most 127.
    pub stack_depth: u32,
    /// Slots of each CPU's cache of stacks sent lately: a power of two.
    pub stack_cache: u32,
    /// Bytes of the tables that aggregates are kept in, all of the session's together; with 0, events are sent for all.
    #[serde(default = "Limits::usual_tables")]
    pub tables: u64,
    /// By which rings records travel.
    #[serde(default)]
    pub transport: Transport,
    /// What happens to events for which the queue has no room.
    #[serde(default)]
    pub on_full: OnFull,
    /// The share of all CPUs' time that tracing may take, in millionths; [`crate::budget`] says what is left out beyond it.
    #[serde(default)]
    pub max_overhead: Option<u32>,
}

impl Limits {
    fn usual_tables() -> u64 {
        32 << 20
    }
}

/// By which rings records travel from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// By the cheapest that the kernel and the machine have, for each kind of record.
    #[default]
    Auto,
    /// `BPF_MAP_TYPE_RINGBUF`.
    Ringbuf,
    /// Memory that is mapped and in which spile's programs reserve room themselves, wherever a record's size is fixed.
    Mapped,
}

/// What a full queue means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Events are dropped, and counted.
    #[default]
    Drop,
    /// Nothing is read until there is room: whoever writes has to wait, or counts what he loses.
    Block,
    /// From half of the queue on one event of so many is kept, the fewer the fuller it is; the others are counted.
    Sample,
}

/// One probe: its targets, what it captures, and what is counted on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeSpec {
    /// Unique within the session.
    pub name: String,
    /// The script's file and line, for error messages.
    pub declared_at: Option<String>,
    /// What it is attached to; more than one makes a group. A span has none.
    pub targets: Vec<Target>,
    /// What it pairs, if it is a span.
    pub span: Option<SpanSpec>,
    /// How its functions are attached.
    #[serde(default)]
    pub attach: Attach,
    /// What an event carries.
    pub capture: Capture,
    /// The condition under which the probe fires.
    #[serde(rename = "where")]
    pub condition: Option<Condition>,
    /// Of the hits that the target and `where` let through, each CPU takes every one of this number; 1 takes them all.
    #[serde(default = "ProbeSpec::every_hit")]
    pub sample: u64,
    /// What is counted on it.
    pub aggregates: Vec<AggregateSpec>,
    /// Whether events are wanted, or only the aggregates.
    pub deliver: bool,
}

impl ProbeSpec {
    fn every_hit() -> u64 {
        1
    }
}

/// What an event carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Capture {
    /// These, in this order.
    Fields {
        /// The captures.
        fields: Vec<NamedExpr>,
    },
    /// Every field of the target's own.
    All,
}

/// A capture and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedExpr {
    /// The name that handlers bind.
    pub name: String,
    /// Where its value comes from.
    pub expr: Expr,
}

/// One place in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A tracepoint by tracefs category and name; fields are those of its `format`.
    Tracepoint {
        /// The folder under `events/`.
        category: String,
        /// The event's name.
        name: String,
    },
    /// A tracepoint's raw arguments, named by BTF.
    RawTracepoint {
        /// The tracepoint's name.
        name: String,
    },
    /// A timer on every CPU.
    Profile {
        /// Samples per second and CPU.
        hz: u64,
    },
    /// A kernel function's entry; fields are its arguments.
    Function {
        /// The function's name.
        name: String,
    },
    /// A kernel function's return; fields are the arguments as they were at its entry.
    FunctionReturn {
        /// The function's name.
        name: String,
    },
}

/// How a function is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attach {
    /// By the best means that the kernel offers.
    #[default]
    Auto,
    /// `BPF_TRACE_FENTRY` and `BPF_TRACE_FEXIT`: a trampoline.
    Fentry,
    /// `BPF_TRACE_KPROBE_MULTI`: many functions by one link.
    KprobeMulti,
    /// A kprobe, and a kretprobe, for each function.
    Kprobe,
}

/// Two probes that make one: what begins at the start ends at the next end with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanSpec {
    /// What begins it.
    pub start: Vec<SpanSide>,
    /// What ends it; its fields are the span's.
    pub end: Vec<SpanSide>,
    /// Whether a second start begins anew; else the first one stays.
    pub restart: bool,
    /// Starts without an end that the kernel keeps at most.
    pub max_open: u32,
}

/// One of the probes that a span pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanSide {
    /// The index of a probe that stands before the span's own. Its `where=` holds for the span too.
    pub probe: u32,
    /// What start and end have in common: an integer of the probe's.
    pub key: Expr,
}

/// Something accumulated over a probe's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AggregateSpec {
    /// What is accumulated.
    pub function: AggregateFunction,
    /// Of what: none for a count, an integer for most, anything for [`AggregateFunction::takes_anything`].
    #[serde(default)]
    pub value: Option<Expr>,
    /// The key: none for a single cell.
    pub by: Vec<Expr>,
}

/// What is accumulated. [`crate::aggregate`] says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AggregateFunction {
    /// The number of events.
    Count,
    /// The sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The arithmetic mean.
    Avg,
    /// Number, sum, least, greatest and mean.
    Stats,
    /// A histogram by powers of two.
    Hist,
    /// A histogram by equal steps.
    Lhist {
        /// Where the first step begins.
        low: i64,
        /// Where the last step ends: `low` and a number of steps.
        high: i64,
        /// The width of a step.
        step: u64,
    },
    /// Quantiles, by a log-linear histogram whose bins are less than a hundredth wide.
    Quantiles,
    /// The most frequent values.
    Top {
        /// How many of them are kept.
        size: u32,
    },
    /// The number of different values, by HyperLogLog.
    Distinct,
}

impl AggregateSpec {
    /// Everything that it needs of an event: the parts of its key, then its value.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.by.iter().chain(&self.value)
    }
}

impl AggregateFunction {
    /// Whether it accumulates a value of the events.
    pub fn takes_value(self) -> bool {
        self != Self::Count
    }

    /// Whether that value may be a string or a stack.
    pub fn takes_anything(self) -> bool {
        matches!(self, Self::Top { .. } | Self::Distinct)
    }
}

impl SessionSpec {
    /// Reads and verifies the JSON form.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let spec: Self = serde_json::from_str(text).map_err(|error| refuse_form(text, &error))?;
        verify(&spec)?;
        Ok(spec)
    }

    /// The JSON schema of the form, as committed in `docs/spec.schema.json`.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Says why the JSON can't be read: of another version, too deep, or malformed.
fn refuse_form(text: &str, error: &serde_json::Error) -> Error {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if let Ok(Versioned { version }) = serde_json::from_str(text)
        && version != SPEC_VERSION
    {
        return verify::refuse_version(version);
    }
    if error.to_string().contains("recursion limit") {
        return Error::spec("", verify::TOO_DEEP);
    }
    Error::spec("", format!("the spec is not of version {SPEC_VERSION}'s form: {error}"))
}

/// A function's name without that of its module, as in `overlay:ovl_open`.
fn own_name(function: &str) -> &str {
    function.split_once(':').map_or(function, |(_, own)| own)
}

impl Target {
    /// The last part of its spelling, which names its events.
    pub fn last_name(&self) -> String {
        match self {
            Self::Tracepoint { name, .. } | Self::RawTracepoint { name } => name.clone(),
            Self::Function { name } => own_name(name).into(),
            Self::FunctionReturn { name } => format!("{}_return", own_name(name)),
            Self::Profile { .. } => "profile".into(),
        }
    }

    /// The spelling of the command line, such as `tracepoint:sched:sched_switch`.
    pub fn spelling(&self) -> String {
        match self {
            Self::Tracepoint { category, name } => format!("tracepoint:{category}:{name}"),
            Self::RawTracepoint { name } => format!("raw_tracepoint:{name}"),
            Self::Profile { hz } => format!("profile:{hz}"),
            Self::Function { name } => format!("function:{name}"),
            Self::FunctionReturn { name } => format!("function_return:{name}"),
        }
    }
}
