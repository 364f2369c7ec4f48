//! From a spec to programs, before anything is made in the kernel. What is wrong with any target is collected.

use std::fmt::Write as _;
use std::sync::Arc;

use spile_core::error::Error;
use spile_core::layout::{COMPACT_BASE, Encoding, EventLayout, EventSchema};
use spile_core::spec::{AggregateSpec, Capture, Condition, Context, Expr, ProbeSpec, SessionSpec};

use super::kernel_view::KernelView;
use super::maps::OpenSpans;
use super::place::{Attachment, Place, Wants, resolve};
use super::{calls, spans};
use crate::compile::{
    Filter, KernelOffsets, MapRef, MappedRings, Options, Output, Program, ProgramKind, TableLayout, compile, exprs_of,
    schema, tables, uses_task,
};

/// Everything that a session needs in the kernel.
#[derive(Default)]
pub(super) struct Plan {
    /// In the order in which they are attached.
    pub programs: Vec<Planned>,
    /// The tables of spans, by their numbers.
    pub spans: Vec<OpenSpans>,
    /// The greatest number of a program or of an event.
    pub last_id: u32,
}

/// What every program is made for.
pub(super) struct Scene<'a> {
    pub spec: &'a SessionSpec,
    pub cpus: u32,
    pub mapped: Option<MappedRings>,
    pub kernel: &'a KernelView,
    /// Why no aggregate can be kept in the kernel, if so.
    pub no_tables: Option<String>,
}

/// Programs' numbers: rows of the ledger, and ids of events where there are any.
#[derive(Default)]
pub(super) struct Ids(u32);

/// A target's program, ready to be loaded.
pub(super) struct Planned {
    pub id: u16,
    pub probe: u32,
    pub target: u32,
    pub name: String,
    pub spelling: String,
    /// Ends its errors: which probe it is, and where it is declared.
    pub suffix: String,
    pub attachment: Attachment,
    /// The better means that could not be, each with its reason.
    pub passed_over: Vec<String>,
    /// None where a hit is no event: at the start of a span.
    pub layout: Option<EventLayout>,
    pub program: Arc<Program>,
    /// How many hits one that is taken stands for; none where all are taken.
    pub sample: Option<u64>,
    /// For each aggregate, what it is kept in, or why it is counted over the event stream.
    pub tables: Vec<Result<TableLayout, String>>,
}

/// The programs of a probe's targets, where those differ in nothing but their number and that is in a cookie: then the first
/// one's is everyone's, and nothing is compiled twice.
pub(super) struct Twins {
    /// Whether nothing that it computes is the target's own.
    is_plain: bool,
    programs: Vec<(ProgramKind, Arc<Program>)>,
}

impl Twins {
    pub(super) fn of(probe: &ProbeSpec) -> Self {
        let wants = wants(probe);
        let is_plain = wants.paths.is_empty() && !wants.everything && !exprs(probe).into_iter().any(is_outcome);
        Self { is_plain, programs: Vec::new() }
    }

    pub(super) fn program(
        &mut self,
        kind: ProgramKind,
        attachment: &Attachment,
        compile: impl FnOnce() -> Result<Program, Error>,
    ) -> Result<Arc<Program>, Error> {
        if !self.is_plain || !attachment.has_cookie() {
            return compile().map(Arc::new);
        }
        if let Some((_, program)) = self.programs.iter().find(|(known, _)| *known == kind) {
            return Ok(Arc::clone(program));
        }
        let program = Arc::new(compile()?);
        self.programs.push((kind, Arc::clone(&program)));
        Ok(program)
    }
}

/// Whether it has what a function returned, whose type is its own.
fn is_outcome(expr: &Expr) -> bool {
    match expr {
        Expr::Context { name } => matches!(name, Context::Ret | Context::Error),
        Expr::Binary { left, right, .. } => is_outcome(left) || is_outcome(right),
        Expr::Unary { operand: inner, .. } | Expr::String { pointer: inner, .. } | Expr::AtStart { value: inner } => {
            is_outcome(inner)
        }
        Expr::Field { .. } => true,
        Expr::Stack { .. } | Expr::Int { .. } => false,
    }
}

impl Planned {
    /// Whether one program serves this target and the other.
    pub(super) fn can_share(&self, other: &Self) -> bool {
        self.attachment.has_cookie()
            && std::mem::discriminant(&self.attachment) == std::mem::discriminant(&other.attachment)
            && self.probe == other.probe
            && self.kept().map(|table| &table.row).eq(other.kept().map(|table| &table.row))
            && (Arc::ptr_eq(&self.program, &other.program) || self.has_equal_code(other))
    }

    fn has_equal_code(&self, other: &Self) -> bool {
        let (own, other) = (&self.program, &other.program);
        own.kind == other.kind && own.insns == other.insns && own.relocations == other.relocations
    }

    /// The aggregates that its program keeps.
    pub(super) fn kept(&self) -> impl Iterator<Item = &TableLayout> {
        self.tables.iter().flatten()
    }

    /// For whoever wants to read it; `kept` says so of an aggregate that is kept in the kernel.
    pub(super) fn explained(&self, kept: impl Fn(&TableLayout) -> String) -> String {
        let mut text = format!("{}{}\n", self.spelling, self.suffix);
        let Self { id, attachment, layout, .. } = self;
        let _ = match layout {
            Some(layout) if self.program.relocations.iter().any(|(_, map)| *map == MapRef::Mapped) => {
                let size = layout.compact_size();
                writeln!(text, "event {id}: {size} bytes in a mapped ring, attached as {attachment:?}")
            }
            Some(EventLayout { fixed_size, max_size, .. }) => {
                writeln!(
                    text,
                    "event {id}: {fixed_size} to {max_size} bytes in a ring buffer, attached as {attachment:?}"
                )
            }
            None => writeln!(text, "row {id} of the ledger, attached as {attachment:?}"),
        };
        if let Some(sample) = self.sample {
            let _ = writeln!(
                text,
                "one of {sample} that pass is taken, on each CPU: an event or a count stands for {sample}"
            );
        }
        for why in &self.passed_over {
            let _ = writeln!(text, "  not by {why}");
        }
        if let Some(layout) = layout {
            for (field, slot) in layout.schema.fields.iter().zip(&layout.slots) {
                let _ = writeln!(text, "  +{} {}: {}", slot.offset.unwrap_or(0), field.name, field.ty.spelling());
            }
        }
        for (index, table) in self.tables.iter().enumerate() {
            let _ = match table {
                Ok(table) => writeln!(text, "aggregate {index} is kept in the kernel: {}", kept(table)),
                Err(reason) => writeln!(text, "aggregate {index} is counted over the event stream: {reason}"),
            };
        }
        text
    }

    /// Its program, in both forms.
    pub(super) fn code(&self) -> String {
        self.program.ir_text().to_owned() + &self.program.disassembly()
    }
}

/// An error with its probe's name and place at the end.
pub(super) fn located(error: Error, probe: &ProbeSpec) -> Error {
    suffixed(error, &suffix(probe))
}

/// Which probe it is, and where it is declared.
pub(super) fn suffix(probe: &ProbeSpec) -> String {
    match &probe.declared_at {
        Some(place) => format!(" (probe {}, declared at {place})", probe.name),
        None => format!(" (probe {})", probe.name),
    }
}

pub(super) fn suffixed(mut error: Error, suffix: &str) -> Error {
    match &mut error {
        Error::Spec { message, .. }
        | Error::ProbeNotFound { message }
        | Error::FieldNotFound { message }
        | Error::Unsupported { message }
        | Error::Privilege { message }
        | Error::Engine { message, .. }
        | Error::Stream { message, .. }
        | Error::Recording { message, .. } => message.push_str(suffix),
        Error::Several { .. } => {}
    }
    error
}

impl Scene<'_> {
    /// How the program of this number is compiled.
    pub(super) fn options(&self, event_id: u16, attachment: &Attachment) -> Options {
        let Self { spec, cpus, mapped, .. } = self;
        Options {
            event_id,
            id_in_cookie: attachment.has_cookie(),
            stack_depth: spec.limits.stack_depth,
            stack_cache: spec.limits.stack_cache,
            self_tgid: spec.target.exclude_self.then(std::process::id),
            target: Filter { pids: spec.target.pid.is_some(), cgroup: spec.target.cgroup },
            cpus: *cpus,
            has_budget: spec.limits.max_overhead.is_some(),
            mapped: *mapped,
        }
    }

    /// What the aggregates of a target are kept in.
    pub(super) fn tables(
        &self,
        probe: &ProbeSpec,
        (schema, columns): (&EventSchema, &[Expr]),
        ids: &mut Ids,
    ) -> Result<Vec<Result<TableLayout, String>>, Error> {
        match &self.no_tables {
            Some(reason) => Ok(probe.aggregates.iter().map(|_| Err(reason.clone())).collect()),
            None => tables(probe, schema, columns, || ids.next()),
        }
    }
}

/// How many hits one that a probe takes stands for, if not for itself.
pub(super) fn sampled(probe: &ProbeSpec) -> Option<u64> {
    (probe.sample > 1).then_some(probe.sample)
}

/// Those that are kept.
pub(super) fn kept(tables: &[Result<TableLayout, String>]) -> Vec<TableLayout> {
    tables.iter().flatten().cloned().collect()
}

impl Ids {
    pub(super) fn next(&mut self) -> Result<u16, Error> {
        self.0 += 1;
        let id = u16::try_from(self.0).ok().filter(|id| *id != COMPACT_BASE);
        id.ok_or_else(|| Error::spec("probes", "a session can have at most 65,534 targets"))
    }
}

/// Compiles every target of every probe.
pub(super) fn plan(
    spec: &SessionSpec,
    cpus: u32,
    mapped: Option<MappedRings>,
    kernel: &KernelView,
    no_tables: Option<String>,
) -> Result<Plan, Error> {
    let scene = Scene { spec, cpus, mapped, kernel, no_tables };
    let (mut plan, mut ids, mut errors) = (Plan::default(), Ids(0), Vec::new());
    for (probe_index, probe) in spec.probes.iter().enumerate() {
        if probe.span.is_some() {
            let number = u16::try_from(plan.spans.len()).map_err(|_| Error::spec("probes", "too many spans"))?;
            match spans::plan(&scene, probe_index, number, &mut ids) {
                Ok((programs, open)) => {
                    plan.programs.extend(programs);
                    plan.spans.push(open);
                }
                Err(error) => errors.push(error),
            }
        } else if probe.deliver || !probe.aggregates.is_empty() {
            // What does neither is a side of a span, and is there only as that.
            let (mut calls, mut twins) = (Vec::new(), Twins::of(probe));
            for target_index in 0..probe.targets.len() {
                match place(&scene, (probe_index, target_index)) {
                    Ok(place) if calls::need_entry(probe, &place, kernel) => calls.push((target_index, place)),
                    Ok(place) => match one(&scene, (probe_index, target_index), place, &mut ids, &mut twins) {
                        Ok(one) => plan.programs.push(one),
                        Err(error) => errors.push(located(error, probe)),
                    },
                    Err(error) => errors.push(located(error, probe)),
                }
            }
            if !calls.is_empty() {
                let number = u16::try_from(plan.spans.len()).map_err(|_| Error::spec("probes", "too many spans"))?;
                match calls::plan(&scene, probe_index, calls, number, &mut ids) {
                    Ok((programs, open)) => {
                        plan.programs.extend(programs);
                        plan.spans.push(open);
                    }
                    Err(error) => errors.push(located(error, probe)),
                }
            }
        }
    }
    // The targets of a group often fail alike; each reason is told once.
    let mut seen = Vec::new();
    errors.retain(|error| {
        !seen.contains(error) && {
            seen.push(error.clone());
            true
        }
    });
    plan.last_id = ids.0;
    Error::all(errors).map_or(Ok(plan), Err)
}

fn place(scene: &Scene<'_>, (probe_index, target_index): (usize, usize)) -> Result<Place, Error> {
    let probe = &scene.spec.probes[probe_index];
    let at = |error| placed(error, &format!("probes[{probe_index}].targets[{target_index}]"));
    resolve(&probe.targets[target_index], &wants(probe), scene.kernel).map_err(at)
}

fn one(
    scene: &Scene<'_>,
    (probe_index, target_index): (usize, usize),
    place: Place,
    ids: &mut Ids,
    twins: &mut Twins,
) -> Result<Planned, Error> {
    let Scene { spec, kernel, .. } = scene;
    let (probe, target) = (&spec.probes[probe_index], &spec.probes[probe_index].targets[target_index]);
    let (probe_number, target_number, id) = (narrow(probe_index)?, narrow(target_index)?, ids.next()?);
    let (schema, columns) = schema(probe, probe_number, target_number, id, &*place.fields, None)?;
    let tables = scene.tables(probe, (&schema, &columns), ids)?;
    let layout = EventLayout::compute(schema, Encoding::Aligned)?;
    let offsets = if needs_task(probe, &columns) { kernel.offsets()? } else { KernelOffsets::default() };
    let options = scene.options(id, &place.attachment);
    let Place { kind, fields, attachment, name, passed_over } = place;
    let kept = kept(&tables);
    let output = Output { layout: &layout, columns: &columns, tables: &kept };
    let compiled = || compile(kind, probe, output, &*fields, &offsets, &options);
    let program = twins.program(kind, &attachment, compiled)?;
    let (spelling, suffix, layout) = (target.spelling(), suffix(probe), Some(layout));
    let sample = sampled(probe);
    let (probe, target) = (probe_number, target_number);
    Ok(Planned { id, probe, target, name, spelling, suffix, attachment, passed_over, layout, program, sample, tables })
}

pub(super) fn narrow(index: usize) -> Result<u32, Error> {
    u32::try_from(index).map_err(|_| Error::spec("probes", "a session of an absurd size"))
}

/// Completes the path of an error from a target.
pub(super) fn placed(error: Error, place: &str) -> Error {
    match error {
        Error::Spec { path, message } => Error::Spec { path: format!("{place}.{path}"), message },
        other => other,
    }
}

/// Everything that a probe computes.
pub(super) fn exprs(probe: &ProbeSpec) -> Vec<&Expr> {
    let captures = match &probe.capture {
        Capture::Fields { fields } => fields.iter().map(|field| &field.expr).collect(),
        Capture::All => Vec::new(),
    };
    let keys = probe.aggregates.iter().flat_map(AggregateSpec::exprs);
    let compared = probe.condition.iter().flat_map(|condition: &Condition| exprs_of(condition));
    captures.into_iter().chain(keys).chain(compared).collect()
}

fn needs_task(probe: &ProbeSpec, columns: &[Expr]) -> bool {
    columns.iter().chain(exprs(probe)).any(uses_task)
}

pub(super) fn wants(probe: &ProbeSpec) -> Wants<'_> {
    let mut wants = Wants {
        everything: probe.capture == Capture::All,
        attach: probe.attach,
        members: probe.targets.len(),
        ..Wants::default()
    };
    exprs(probe).into_iter().for_each(|expr| wants.add(expr));
    wants
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Instant;

    use spile_core::spec::{Attach, Limits, NamedExpr, SPEC_VERSION, Target, TargetFilter};

    use super::super::unit;
    use super::*;
    use crate::kernel::btf::{Btf, Kind};

    const FUNCTIONS: usize = 1000;

    fn spec(names: &[String], is_return: bool) -> SessionSpec {
        let target = |name: &String| match is_return {
            true => Target::FunctionReturn { name: name.clone() },
            false => Target::Function { name: name.clone() },
        };
        let fact = if is_return { Context::Elapsed } else { Context::Tid };
        let fields = vec![NamedExpr { name: "value".into(), expr: Expr::Context { name: fact } }];
        SessionSpec {
            version: SPEC_VERSION,
            target: TargetFilter { pid: None, follow: false, cgroup: None, exclude_self: true },
            limits: Limits {
                buffer: 1 << 16,
                queue: 1 << 20,
                stack_depth: 127,
                stack_cache: 64,
                tables: 32 << 20,
                transport: Default::default(),
                on_full: Default::default(),
                max_overhead: None,
            },
            probes: vec![ProbeSpec {
                name: "many".into(),
                declared_at: None,
                targets: names.iter().map(target).collect(),
                span: None,
                attach: Attach::Auto,
                sample: 1,
                capture: Capture::Fields { fields },
                condition: None,
                aggregates: Vec::new(),
                deliver: true,
            }],
        }
    }

    /// A thousand functions become one program (two, where the entry is wanted), and how long that takes is printed.
    #[test]
    fn a_thousand_functions_share_a_program() {
        let btf = match Btf::of_kernel() {
            Ok(btf) => btf,
            Err(error) => return println!("SKIPPED: {error}"),
        };
        let functions = btf.all().filter(|ty| ty.kind() == Kind::Function);
        let names = functions.map(|ty| String::from_utf8_lossy(ty.name()).into_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("sys") || name.contains("_read")).collect();
        names.sort();
        names.dedup();
        names.truncate(FUNCTIONS);
        for is_return in [false, true] {
            let spec = spec(&names, is_return);
            let started = Instant::now();
            let planned = plan(&spec, 2, None, &KernelView::pretended(), None).unwrap().programs;
            let compiled = started.elapsed();
            let groups = unit::group(&planned);
            println!(
                "{} functions: compiled in {compiled:?}, grouped in {:?}",
                names.len(),
                started.elapsed() - compiled
            );
            assert_eq!(
                (planned.len(), groups.len()),
                match is_return {
                    false => (names.len(), 1),
                    true => (2 * names.len(), 2),
                }
            );
        }
    }
}
