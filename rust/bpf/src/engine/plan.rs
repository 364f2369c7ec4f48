//! From a spec to programs, before anything is made in the kernel. What is wrong with any target is collected.

use std::fmt::Write as _;

use spile_core::error::Error;
use spile_core::layout::{Encoding, EventLayout};
use spile_core::spec::{Capture, Condition, Expr, ProbeSpec, SessionSpec};

use super::kernel_view::KernelView;
use super::maps::OpenSpans;
use super::place::{Attachment, Place, Wants, resolve};
use super::{calls, spans};
use crate::compile::{Filter, KernelOffsets, Options, Program, compile, exprs_of, schema, uses_task};

/// Everything that a session needs in the kernel.
#[derive(Default)]
pub(super) struct Plan {
    /// In the order in which they are attached.
    pub programs: Vec<Planned>,
    /// The tables of spans, by their numbers.
    pub spans: Vec<OpenSpans>,
}

/// What every program is made for.
pub(super) struct Scene<'a> {
    pub spec: &'a SessionSpec,
    pub cpus: u32,
    pub kernel: &'a KernelView,
}

/// Programs' numbers: rows of the ledger, and ids of events where there are any.
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
    /// None where a hit is no event: at the start of a span.
    pub layout: Option<EventLayout>,
    pub program: Program,
}

impl Planned {
    /// Whether one program serves this target and the other.
    pub(super) fn can_share(&self, other: &Self) -> bool {
        self.attachment.has_cookie()
            && other.attachment.has_cookie()
            && self.probe == other.probe
            && self.program.kind == other.program.kind
            && self.program.insns == other.program.insns
            && self.program.relocations == other.program.relocations
    }

    /// For whoever wants to read it.
    pub(super) fn explained(&self) -> String {
        let mut text = format!("{}{}\n", self.spelling, self.suffix);
        let Self { id, attachment, layout, .. } = self;
        let _ = match layout {
            Some(EventLayout { fixed_size, max_size, .. }) => {
                writeln!(text, "event {id}: {fixed_size} to {max_size} bytes, attached as {attachment:?}")
            }
            None => writeln!(text, "row {id} of the ledger, attached as {attachment:?}"),
        };
        if let Some(layout) = layout {
            for (field, slot) in layout.schema.fields.iter().zip(&layout.slots) {
                let _ = writeln!(text, "  +{} {}: {:?}", slot.offset.unwrap_or(0), field.name, field.ty);
            }
        }
        text + self.program.ir_text() + &self.program.disassembly()
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
        let Self { spec, cpus, .. } = self;
        Options {
            event_id,
            id_in_cookie: attachment.has_cookie(),
            stack_depth: spec.limits.stack_depth,
            stack_cache: spec.limits.stack_cache,
            self_tgid: spec.target.exclude_self.then(std::process::id),
            target: Filter { pids: spec.target.pid.is_some(), cgroup: spec.target.cgroup },
            cpus: *cpus,
        }
    }
}

impl Ids {
    pub(super) fn next(&mut self) -> Result<u16, Error> {
        self.0 += 1;
        u16::try_from(self.0).map_err(|_| Error::spec("probes", "a session can have at most 65,535 targets"))
    }
}

/// Compiles every target of every probe.
pub(super) fn plan(spec: &SessionSpec, cpus: u32, kernel: &KernelView) -> Result<Plan, Error> {
    let scene = Scene { spec, cpus, kernel };
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
            let mut calls = Vec::new();
            for target_index in 0..probe.targets.len() {
                match place(&scene, (probe_index, target_index)) {
                    Ok(place) if calls::need_entry(probe, &place) => calls.push((target_index, place)),
                    Ok(place) => match one(&scene, (probe_index, target_index), place, &mut ids) {
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
) -> Result<Planned, Error> {
    let Scene { spec, kernel, .. } = *scene;
    let (probe, target) = (&spec.probes[probe_index], &spec.probes[probe_index].targets[target_index]);
    let (probe_number, target_number, id) = (narrow(probe_index)?, narrow(target_index)?, ids.next()?);
    let (schema, columns) = schema(probe, probe_number, target_number, id, &*place.fields, None)?;
    let layout = EventLayout::compute(schema, Encoding::Aligned)?;
    let offsets = if needs_task(probe, &columns) { kernel.offsets()? } else { KernelOffsets::default() };
    let options = scene.options(id, &place.attachment);
    let Place { kind, fields, attachment, name } = place;
    let program = compile(kind, probe, &layout, &columns, &*fields, &offsets, &options)?;
    let (spelling, suffix, layout) = (target.spelling(), suffix(probe), Some(layout));
    Ok(Planned { id, probe: probe_number, target: target_number, name, spelling, suffix, attachment, layout, program })
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
    let keys = probe.aggregates.iter().flat_map(|aggregate| &aggregate.by);
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
