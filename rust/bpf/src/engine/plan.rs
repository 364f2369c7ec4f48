//! From a spec to programs, before anything is made in the kernel. What is wrong with any target is collected.

use std::fmt::Write as _;

use spile_core::error::Error;
use spile_core::layout::{Encoding, EventLayout};
use spile_core::spec::{Capture, Condition, Expr, ProbeSpec, SessionSpec, StackSpace};

use super::kernel_view::KernelView;
use super::place::{Attachment, Place, Wants, resolve};
use crate::compile::{Filter, KernelOffsets, Options, Program, compile, exprs_of, schema, uses_task};

/// A target's program, ready to be loaded.
pub(super) struct Planned {
    pub probe: u32,
    pub target: u32,
    pub name: String,
    pub spelling: String,
    /// Ends its errors: which probe it is, and where it is declared.
    pub suffix: String,
    pub attachment: Attachment,
    pub layout: EventLayout,
    pub program: Program,
}

impl Planned {
    /// For whoever wants to read it.
    pub(super) fn explained(&self) -> String {
        let mut text = format!("{}{}\n", self.spelling, self.suffix);
        let layout = &self.layout;
        let _ = writeln!(
            text,
            "event {}: {} to {} bytes, attached as {:?}",
            layout.schema.id, layout.fixed_size, layout.max_size, self.attachment
        );
        for (field, slot) in layout.schema.fields.iter().zip(&layout.slots) {
            let _ = writeln!(text, "  +{} {}: {:?}", slot.offset.unwrap_or(0), field.name, field.ty);
        }
        text + self.program.ir_text() + &self.program.disassembly()
    }
}

/// An error with its probe's name and place at the end.
pub(super) fn located(error: Error, probe: &ProbeSpec) -> Error {
    suffixed(error, &suffix(probe))
}

fn suffix(probe: &ProbeSpec) -> String {
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
        | Error::Stream { message, .. } => message.push_str(suffix),
        Error::Several { .. } => {}
    }
    error
}

/// Compiles every target of every probe.
pub(super) fn plan(spec: &SessionSpec, cpus: u32, kernel: &KernelView) -> Result<Vec<Planned>, Error> {
    let (mut planned, mut errors) = (Vec::new(), Vec::new());
    for (probe_index, probe) in spec.probes.iter().enumerate() {
        for target_index in 0..probe.targets.len() {
            let id = planned.len() + errors.len() + 1;
            match one(spec, (probe_index, target_index), id, cpus, kernel) {
                Ok(one) => planned.push(one),
                Err(error) => errors.push(located(error, probe)),
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
    Error::all(errors).map_or(Ok(planned), Err)
}

fn one(
    spec: &SessionSpec,
    (probe_index, target_index): (usize, usize),
    id: usize,
    cpus: u32,
    kernel: &KernelView,
) -> Result<Planned, Error> {
    let (probe, target) = (&spec.probes[probe_index], &spec.probes[probe_index].targets[target_index]);
    let at = |error| placed(error, &format!("probes[{probe_index}].targets[{target_index}]"));
    let too_many = || Error::spec("probes", "a session can have at most 65,535 targets");
    let id = u16::try_from(id).map_err(|_| too_many())?;
    let (probe_number, target_number) = (narrow(probe_index)?, narrow(target_index)?);
    let place = resolve(target, &wants(probe), kernel).map_err(at)?;
    let (schema, columns) = schema(probe, probe_number, target_number, id, &*place.fields)?;
    let layout = EventLayout::compute(schema, Encoding::Aligned)?;
    let offsets = if needs_task(probe, &columns) { kernel.offsets()? } else { KernelOffsets::default() };
    let options = Options {
        event_id: id,
        stack_depth: spec.limits.stack_depth,
        stack_cache: spec.limits.stack_cache,
        self_tgid: spec.target.exclude_self.then(std::process::id),
        target: Filter { pids: spec.target.pid.is_some(), cgroup: spec.target.cgroup },
        cpus,
    };
    let Place { kind, fields, attachment, name } = place;
    let program = compile(kind, probe, &layout, &columns, &*fields, &offsets, &options)?;
    let (spelling, suffix) = (target.spelling(), suffix(probe));
    Ok(Planned { probe: probe_number, target: target_number, name, spelling, suffix, attachment, layout, program })
}

fn narrow(index: usize) -> Result<u32, Error> {
    u32::try_from(index).map_err(|_| Error::spec("probes", "a session of an absurd size"))
}

/// Completes the path of an error from a target.
fn placed(error: Error, place: &str) -> Error {
    match error {
        Error::Spec { path, message } => Error::Spec { path: format!("{place}.{path}"), message },
        other => other,
    }
}

fn exprs(probe: &ProbeSpec) -> Vec<&Expr> {
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

fn wants(probe: &ProbeSpec) -> Wants<'_> {
    fn look<'a>(expr: &'a Expr, wants: &mut Wants<'a>) {
        match expr {
            Expr::Field { path } => wants.paths.push(path),
            Expr::Stack { space, .. } => wants.kernel_stack |= *space == StackSpace::Kernel,
            Expr::Binary { left, right, .. } => {
                look(left, wants);
                look(right, wants);
            }
            Expr::Unary { operand: inner, .. }
            | Expr::String { pointer: inner, .. }
            | Expr::AtStart { value: inner } => {
                look(inner, wants);
            }
            Expr::Context { .. } | Expr::Int { .. } => {}
        }
    }
    let mut wants = Wants { everything: probe.capture == Capture::All, ..Wants::default() };
    exprs(probe).into_iter().for_each(|expr| look(expr, &mut wants));
    wants
}
