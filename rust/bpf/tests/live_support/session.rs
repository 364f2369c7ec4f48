//! A session for live tests: prepared, started, read to its end, its ledger taken.

use std::sync::Arc;

use spile_bpf::engine::Engine;
use spile_core::error::Error;
use spile_core::event::{Event, Value};
use spile_core::loss::Row;
use spile_core::merge::Merge;
use spile_core::spec::{
    Attach, Capture, CompareOperator, Condition, Context, Expr, Limits, NamedExpr, PathStep, ProbeSpec, SPEC_VERSION,
    SessionSpec, StackSpace, Target, TargetFilter,
};
use spile_core::stack::StackTable;

/// A value that outlives its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    Null,
    Number(i128),
    Text(String),
    Stack(u64),
}

impl Owned {
    pub fn number(&self) -> i128 {
        match self {
            Self::Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    pub fn stack(&self) -> u64 {
        match self {
            Self::Stack(hash) => *hash,
            other => panic!("{other:?} is no stack"),
        }
    }
}

/// An event that outlives its record.
#[derive(Debug, Clone)]
pub struct Seen {
    pub id: u16,
    pub time: u64,
    pub cpu: u16,
    pub values: Vec<Owned>,
}

/// All that a session gave.
pub struct Outcome {
    pub events: Vec<Seen>,
    pub rows: Vec<Row>,
    pub stacks: Arc<StackTable>,
    pub late: Vec<u64>,
    pub lost_children: u64,
    /// Starts without an end, of each span, counted in its table.
    pub open: Vec<u64>,
}

impl Outcome {
    /// The only row.
    pub fn row(&self) -> Row {
        assert_eq!(self.rows.len(), 1);
        self.rows[0]
    }

    /// Every hit has one fate, the events are in order, and as many came as the kernel says.
    pub fn check(&self) {
        for row in &self.rows {
            assert_eq!(row.balance(), 0, "{row:?}");
        }
        let delivered: u64 = self.rows.iter().map(|row| row.delivered).sum();
        assert_eq!(self.events.len() as u64, delivered, "{:?}", self.rows);
        let late: u64 = self.late.iter().sum();
        assert!(late > 0 || self.events.is_sorted_by_key(|event| event.time));
    }
}

pub fn arg(name: &str) -> Expr {
    Expr::Field { path: vec![PathStep::Name(name.into())] }
}

pub fn element(name: &str, index: u32) -> Expr {
    Expr::Field { path: vec![PathStep::Name(name.into()), PathStep::Index(index)] }
}

pub fn fact(name: Context) -> Expr {
    Expr::Context { name }
}

pub fn stack(space: StackSpace) -> Expr {
    Expr::Stack { space, depth: None }
}

pub fn is(left: Expr, value: impl Into<i128>) -> Condition {
    Condition::Compare { operator: CompareOperator::Equal, left, right: Expr::Int { value: value.into() } }
}

pub fn all(terms: Vec<Condition>) -> Condition {
    Condition::And { terms }
}

pub fn tracepoint(category: &str, name: &str) -> Target {
    Target::Tracepoint { category: category.into(), name: name.into() }
}

pub fn raw_tracepoint(name: &str) -> Target {
    Target::RawTracepoint { name: name.into() }
}

pub fn probe(target: Target, captures: &[(&str, Expr)], condition: Option<Condition>) -> ProbeSpec {
    let named = |(name, expr): &(&str, Expr)| NamedExpr { name: (*name).into(), expr: expr.clone() };
    ProbeSpec {
        name: target.spelling().rsplit(':').next().unwrap_or_default().into(),
        declared_at: Some("script.py:7".into()),
        targets: vec![target],
        span: None,
        attach: Attach::Auto,
        sample: 1,
        capture: Capture::Fields { fields: captures.iter().map(named).collect() },
        condition,
        aggregates: Vec::new(),
        deliver: true,
    }
}

/// A session that sees this process and nothing else.
pub fn of_this_process(probes: Vec<ProbeSpec>) -> SessionSpec {
    let target = TargetFilter { pid: Some(std::process::id()), ..everything(Vec::new()).target };
    SessionSpec { target, ..everything(probes) }
}

/// A session that sees all processes.
pub fn everything(probes: Vec<ProbeSpec>) -> SessionSpec {
    SessionSpec {
        version: SPEC_VERSION,
        target: TargetFilter { pid: None, follow: false, cgroup: None, exclude_self: false },
        limits: Limits {
            buffer: 8 << 20,
            queue: 64 << 20,
            stack_depth: 127,
            stack_cache: 4096,
            transport: Default::default(),
            tables: 32 << 20,
            on_full: Default::default(),
            max_overhead: None,
        },
        probes,
    }
}

fn owned(value: Value<'_>) -> Owned {
    match value {
        Value::Null => Owned::Null,
        Value::Unsigned(value) => Owned::Number(value.into()),
        Value::Signed(value) => Owned::Number(value.into()),
        Value::String { bytes, .. } => Owned::Text(String::from_utf8_lossy(bytes).into_owned()),
        Value::Name(id) => Owned::Number(id.into()),
        Value::Stack { hash, .. } => Owned::Stack(hash),
    }
}

/// Runs a session around a workload; what it gives is read only after the gate is shut.
pub fn run(spec: &SessionSpec, workload: impl FnOnce(&Engine)) -> Outcome {
    try_run(spec, workload).unwrap_or_else(|error| match error {
        Error::Engine { message, log } => panic!("{message}\n{log}"),
        error => panic!("{error}"),
    })
}

pub fn try_run(spec: &SessionSpec, workload: impl FnOnce(&Engine)) -> Result<Outcome, Error> {
    let mut engine = Engine::prepare(spec)?;
    let stacks = Arc::new(StackTable::default());
    let mut merge = Merge::new(engine.sources()?, engine.layouts(), Arc::clone(&stacks));
    let mut events = Vec::new();
    let mut sink = |event: &Event<'_>| {
        let values = (0..event.layout.schema.fields.len()).map(|index| owned(event.value(index))).collect();
        events.push(Seen { id: event.id(), time: event.time(), cpu: event.cpu, values });
        true
    };
    engine.start()?;
    workload(&engine);
    engine.close()?;
    let (rows, open) = (engine.ledger()?, engine.open_spans()?);
    while !merge.turn(&mut sink, false)?.ended {}
    engine.detach();
    assert_eq!(rows, engine.ledger()?, "nothing is counted behind the gate");
    let lost_children = engine.lost_children()?;
    Ok(Outcome { events, rows, stacks, late: merge.late().to_vec(), lost_children, open })
}

pub fn named(name: &str, probe: ProbeSpec) -> ProbeSpec {
    ProbeSpec { name: name.into(), ..probe }
}
