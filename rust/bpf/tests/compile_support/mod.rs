//! What the compiler's tests share: probes in a few words, fields from a table.

#![allow(dead_code, reason = "each test binary uses its part of this")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod machine;

use spile_bpf::compile::{
    Access, Fields, Filter, KernelOffsets, Key, Options, Output, Program, ProgramKind, Side, Site, SpanLayout,
    TableLayout, compile, compile_end, compile_start, exprs_of, schema, tables,
};
use spile_core::error::Error;
use spile_core::layout::{Encoding, EventLayout};
use spile_core::spec::{
    AggregateFunction, AggregateSpec, Attach, BinaryOperator, Capture, CompareOperator, Condition, Context, Expr,
    NamedExpr, PathStep, ProbeSpec, SpanSpec, StackSpace, Target, UnaryOperator,
};

/// Fields by name; the one called `ret` is what was returned, too.
pub struct Table(pub Vec<(&'static str, Access)>);

impl Fields for Table {
    fn resolve(&self, path: &[PathStep]) -> Result<Access, Error> {
        let [PathStep::Name(name)] = path else { panic!("only names are in the table") };
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, access)| access.clone()).ok_or(Error::FieldNotFound { message: name.clone() })
    }

    fn ret(&self) -> Result<Access, Error> {
        self.resolve(&[PathStep::Name("ret".into())])
    }

    fn all(&self) -> Vec<(String, Vec<PathStep>)> {
        self.0.iter().map(|(name, _)| (name.to_string(), vec![PathStep::Name(name.to_string())])).collect()
    }
}

pub fn field(name: &str) -> Expr {
    Expr::Field { path: vec![PathStep::Name(name.into())] }
}

pub fn fact(name: Context) -> Expr {
    Expr::Context { name }
}

pub fn int(value: i128) -> Expr {
    Expr::Int { value }
}

pub fn stack(space: StackSpace) -> Expr {
    Expr::Stack { space, depth: None }
}

pub fn string(pointer: Expr, limit: u32) -> Expr {
    Expr::String { pointer: Box::new(pointer), limit }
}

pub fn binary(operator: BinaryOperator, left: Expr, right: Expr) -> Expr {
    Expr::Binary { operator, left: Box::new(left), right: Box::new(right) }
}

pub fn unary(operator: UnaryOperator, operand: Expr) -> Expr {
    Expr::Unary { operator, operand: Box::new(operand) }
}

pub fn compare(operator: CompareOperator, left: Expr, right: Expr) -> Condition {
    Condition::Compare { operator, left, right }
}

pub fn is_string(value: Expr, choices: &[&str]) -> Condition {
    Condition::StringIn { value, choices: choices.iter().map(|choice| choice.as_bytes().to_vec()).collect() }
}

pub fn probe(captures: &[Expr], condition: Option<Condition>) -> ProbeSpec {
    let fields =
        captures.iter().enumerate().map(|(i, expr)| NamedExpr { name: format!("c{i}"), expr: expr.clone() }).collect();
    ProbeSpec {
        name: "test.probe".into(),
        declared_at: None,
        targets: vec![Target::Profile { hz: 1 }],
        span: None,
        attach: Attach::Auto,
        sample: 1,
        capture: Capture::Fields { fields },
        condition,
        aggregates: Vec::new(),
        deliver: true,
    }
}

pub fn counted_by(mut probe: ProbeSpec, by: Vec<Expr>) -> ProbeSpec {
    probe.aggregates.push(AggregateSpec { function: AggregateFunction::Count, value: None, by });
    probe
}

pub const OFFSETS: KernelOffsets =
    KernelOffsets { task_utime: 1600, task_stime: 1608, task_real_parent: 1400, task_tgid: 1388, task_pid: 1384 };

pub fn options() -> Options {
    Options {
        event_id: 3,
        id_in_cookie: false,
        stack_depth: 127,
        stack_cache: 1024,
        self_tgid: None,
        target: Filter { pids: false, cgroup: None },
        cpus: 2,
        has_budget: false,
        mapped: None,
    }
}

pub fn compiled(
    kind: ProgramKind,
    probe: &ProbeSpec,
    fields: &dyn Fields,
    options: &Options,
) -> (EventLayout, Program) {
    let (schema, columns) = schema(probe, 0, 0, options.event_id, fields, None).unwrap();
    let layout = EventLayout::compute(schema, Encoding::Aligned).unwrap();
    let output = Output { layout: &layout, columns: &columns, tables: &[] };
    let program = compile(kind, probe, output, fields, &OFFSETS, options).unwrap();
    (layout, program)
}

/// The same, with aggregates kept in the kernel: the ids of what they spill come behind the event's.
pub fn tabled(probe: &ProbeSpec, fields: &dyn Fields, options: &Options) -> (Vec<TableLayout>, Program) {
    let (schema, columns) = schema(probe, 0, 0, options.event_id, fields, None).unwrap();
    let mut id = options.event_id;
    let next = || {
        id += 1;
        Ok(id)
    };
    let tables = tables(probe, &schema, &columns, next).unwrap();
    let tables: Vec<TableLayout> = tables.into_iter().flatten().collect();
    let layout = EventLayout::compute(schema, Encoding::Aligned).unwrap();
    let output = Output { layout: &layout, columns: &columns, tables: &tables };
    let program = compile(ProgramKind::RawTracepoint, probe, output, fields, &OFFSETS, options).unwrap();
    (tables, program)
}

pub fn at_start(value: Expr) -> Expr {
    Expr::AtStart { value: Box::new(value) }
}

/// A span's probe: what is paired is said by whoever compiles it.
pub fn span(captures: &[Expr], condition: Option<Condition>, restart: bool) -> ProbeSpec {
    let span = Some(SpanSpec { start: Vec::new(), end: Vec::new(), restart, max_open: 2 });
    ProbeSpec { targets: Vec::new(), span, ..probe(captures, condition) }
}

/// A span's two programs, of one kind and with one key.
pub struct Pair {
    pub kept: SpanLayout,
    pub layout: EventLayout,
    pub start: Program,
    pub end: Program,
}

pub fn paired(
    kind: ProgramKind,
    probe: &ProbeSpec,
    key: &Expr,
    of_start: (&dyn Fields, Option<&Condition>),
    of_end: (&dyn Fields, Option<&Condition>),
    options: &Options,
) -> Result<Pair, Error> {
    let Capture::Fields { fields } = &probe.capture else { panic!("only captures by name") };
    let exprs = fields.iter().map(|field| &field.expr);
    let exprs = exprs
        .chain(probe.condition.iter().flat_map(exprs_of))
        .chain(probe.aggregates.iter().flat_map(AggregateSpec::exprs));
    let kept = SpanLayout::compute(exprs, &[of_start.0], "probes[2]")?;
    let side = |probe, condition| Side { number: 0, layout: &kept, key: Key::Of(key), probe, condition };
    let site = |fields| Site { kind, fields, offsets: &OFFSETS, options };
    let start = compile_start(&site(of_start.0), probe, 2, side(0, of_start.1))?;
    let (schema, columns) = schema(probe, 2, 0, options.event_id, of_end.0, Some(&kept))?;
    let layout = EventLayout::compute(schema, Encoding::Aligned)?;
    let end = compile_end(
        &site(of_end.0),
        probe,
        side(1, of_end.1),
        Output { layout: &layout, columns: &columns, tables: &[] },
    )?;
    Ok(Pair { kept, layout, start, end })
}
