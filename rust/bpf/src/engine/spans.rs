//! Spans: two kinds of programs and a table for each. In: a span's probe, and the probes that it pairs. Out: its programs,
//! ends first.
//!
//! Where one hit is both an end and a start, the end must have run first. Programs of one tracepoint run in the order in
//! which they were attached (`func_add` in kernel/tracepoint.c; `bpf_prog_array_copy`), and all classic ones of one event
//! run where the first of them, anybody's, was. So ends are attached first, both sides of one tracepoint are of one kind,
//! and a pair whose order would depend on others is refused.

use std::sync::Arc;

use spile_core::error::Error;
use spile_core::layout::{Encoding, EventLayout};
use spile_core::spec::{Context, Expr, ProbeSpec, SpanSide, SpanSpec, Target};

use super::maps::OpenSpans;
use super::place::{Attachment, Place, Wants, resolve};
use super::plan::{Ids, Planned, Scene, exprs, kept, located, narrow, placed, sampled, suffix};
use crate::compile::{
    KernelOffsets, Key, Options, Output, Side, Site, SpanLayout, at_start, compile_end, compile_start, exprs_of,
    schema, uses_task,
};

/// One target of one side.
struct Spot<'a> {
    is_end: bool,
    side: &'a SpanSide,
    /// The side's own probe.
    probe: &'a ProbeSpec,
    target: &'a Target,
    /// The target's path in the spec.
    path: String,
}

/// Compiles a span, the probe at `index`, whose table has `number`.
pub(super) fn plan(
    scene: &Scene<'_>,
    index: usize,
    number: u16,
    ids: &mut Ids,
) -> Result<(Vec<Planned>, OpenSpans), Error> {
    let probe = &scene.spec.probes[index];
    let Some(span) = &probe.span else {
        return Err(Error::engine("a probe that is no span; this is a bug of spile's"));
    };
    let spots = spots(scene, probe, span)?;
    let places = places(scene, probe, &spots)?;
    check_order(&spots, &places).map_err(|error| located(error, probe))?;
    let place = format!("probes[{index}]");
    let starts: Vec<_> =
        spots.iter().zip(&places).filter(|(spot, _)| !spot.is_end).map(|(_, place)| &*place.fields).collect();
    let layout = SpanLayout::compute(exprs(probe), &starts, &place).map_err(|error| located(error, probe))?;
    let uses_task = exprs(probe).into_iter().chain(spots.iter().flat_map(Spot::exprs)).any(uses_task);
    let offsets = if uses_task { scene.kernel.offsets()? } else { KernelOffsets::default() };
    let (mut programs, mut errors) = (Vec::with_capacity(spots.len()), Vec::new());
    for (target, (spot, place)) in spots.iter().zip(places).enumerate() {
        let side = Side {
            number,
            layout: &layout,
            key: Key::Of(&spot.side.key),
            probe: spot.side.probe,
            condition: spot.probe.condition.as_ref(),
        };
        match one(scene, (index, target), spot, place, side, &offsets, ids) {
            Ok(planned) => programs.push(planned),
            Err(error) => errors.push(located(error, probe)),
        }
    }
    let open = OpenSpans { value_size: layout.size(), max_open: span.max_open, place };
    Error::all(errors).map_or(Ok((programs, open)), Err)
}

impl<'a> Spot<'a> {
    fn exprs(&self) -> impl Iterator<Item = &'a Expr> {
        let compared = self.probe.condition.iter().flat_map(exprs_of);
        std::iter::once(&self.side.key).chain(compared)
    }

    /// What is asked of its target.
    fn wants(&self, span: &'a ProbeSpec) -> Wants<'a> {
        let mut wants = Wants { attach: self.probe.attach, members: self.probe.targets.len(), ..Wants::default() };
        self.exprs().for_each(|expr| wants.add(expr));
        if self.is_end {
            wants.everything = span.capture == spile_core::spec::Capture::All;
            exprs(span).into_iter().for_each(|expr| wants.add(expr));
        } else {
            at_start(exprs(span)).into_iter().for_each(|expr| wants.add(expr));
        }
        wants
    }
}

/// The targets of a span's sides, ends first.
fn spots<'a>(scene: &Scene<'a>, probe: &ProbeSpec, span: &'a SpanSpec) -> Result<Vec<Spot<'a>>, Error> {
    let mut spots = Vec::new();
    for (is_end, side) in span.end.iter().map(|side| (true, side)).chain(span.start.iter().map(|side| (false, side))) {
        let index = side.probe as usize;
        let Some(other) = scene.spec.probes.get(index) else {
            return Err(Error::engine(format!(
                "{} pairs a probe that isn't there; this is a bug of spile's",
                probe.name
            )));
        };
        if other.span.is_some() {
            let message = format!("{} is a span itself: pair the probes that it is made of", other.name);
            return Err(located(Error::Unsupported { message }, probe));
        }
        for (target_index, target) in other.targets.iter().enumerate() {
            let path = format!("probes[{index}].targets[{target_index}]");
            spots.push(Spot { is_end, side, probe: other, target, path });
        }
    }
    Ok(spots)
}

/// Finds every target. One that stands on both sides is asked for what both want, so that it is served alike.
fn places(scene: &Scene<'_>, span: &ProbeSpec, spots: &[Spot<'_>]) -> Result<Vec<Place>, Error> {
    let (mut places, mut errors) = (Vec::with_capacity(spots.len()), Vec::new());
    for spot in spots {
        let mut wants = Wants::default();
        spots.iter().filter(|other| other.target == spot.target).for_each(|other| wants.merge(other.wants(span)));
        match resolve(spot.target, &wants, scene.kernel) {
            Ok(place) => places.push(place),
            Err(error) => errors.push(located(placed(error, &spot.path), spot.probe)),
        }
    }
    Error::all(errors).map_or(Ok(places), Err)
}

/// Refuses an end and a start at one tracepoint whose order isn't sure.
fn check_order(spots: &[Spot<'_>], places: &[Place]) -> Result<(), Error> {
    let of = |wanted: bool| spots.iter().zip(places).filter(move |(spot, _)| spot.is_end == wanted);
    for (end, end_place) in of(true) {
        for (start, start_place) in of(false) {
            if !is_ordered(&end_place.attachment, &start_place.attachment) {
                let (end, start) = (end.target.spelling(), start.target.spelling());
                let message = format!(
                    "{end} and {start} are one place in the kernel, and which of them runs first isn't sure: name both \
                     by {start}"
                );
                return Err(Error::Unsupported { message });
            }
        }
    }
    Ok(())
}

/// Whether the end runs first where both are hit at once, if they ever are.
fn is_ordered(end: &Attachment, start: &Attachment) -> bool {
    let (Attachment::Tracepoint { name: start, .. }, Some(of_end)) = (start, tracepoint_of(end)) else {
        // A raw start is attached behind whatever the end's program runs from.
        return true;
    };
    match end {
        // One list of programs; or two system calls, of which each hit has one.
        Attachment::Tracepoint { name: end, .. } if end == start => true,
        Attachment::Tracepoint { name: end, .. } if is_of_call(end) && is_of_call(start) => true,
        _ => underlying(start) != of_end,
    }
}

/// The kernel's own name of the tracepoint.
fn tracepoint_of(attachment: &Attachment) -> Option<&str> {
    match attachment {
        Attachment::RawTracepoint { name } => Some(name),
        Attachment::Tracepoint { name, .. } => Some(underlying(name)),
        Attachment::Timer { .. }
        | Attachment::Trampoline { .. }
        | Attachment::Kprobe { .. }
        | Attachment::KprobeMulti { .. } => None,
    }
}

/// The one behind a classic tracepoint: every system call has its own classic ones, and all of them have two.
fn underlying(name: &str) -> &str {
    let own = name.split_once(':').map_or(name, |(_, own)| own);
    match (is_of_call(name), own.starts_with("sys_enter")) {
        (true, true) => "sys_enter",
        (true, false) => "sys_exit",
        (false, _) => own,
    }
}

fn is_of_call(name: &str) -> bool {
    name.starts_with("syscalls:")
}

/// The tracer is kept out where the key is the task that runs there. Of any other key, another task may be the one that
/// begins or ends it, and a hit that is left out would make a span too long: as where the tracer hands the CPU on.
fn self_tgid(scene: &Scene<'_>, key: &Expr) -> Option<u32> {
    let is_of_task = matches!(key, Expr::Context { name: Context::Task | Context::Tid | Context::Pid });
    (scene.spec.target.exclude_self && is_of_task).then(std::process::id)
}

fn one(
    scene: &Scene<'_>,
    (index, target): (usize, usize),
    spot: &Spot<'_>,
    place: Place,
    side: Side<'_>,
    offsets: &KernelOffsets,
    ids: &mut Ids,
) -> Result<Planned, Error> {
    let probe = &scene.spec.probes[index];
    let (probe_number, target_number, id) = (narrow(index)?, narrow(target)?, ids.next()?);
    let Place { kind, fields, attachment, name, passed_over } = place;
    let tracer = self_tgid(scene, &spot.side.key);
    let options = Options { self_tgid: tracer, ..scene.options(id, &attachment) };
    let site = Site { kind, fields: &*fields, offsets, options: &options };
    let (layout, program, tables) = if spot.is_end {
        let (schema, columns) = schema(probe, probe_number, target_number, id, &*fields, Some(side.layout))?;
        let tables = scene.tables(probe, (&schema, &columns), ids)?;
        let layout = EventLayout::compute(schema, Encoding::Aligned)?;
        let output = Output { layout: &layout, columns: &columns, tables: &kept(&tables) };
        let program = compile_end(&site, probe, side, output)?;
        (Some(layout), program, tables)
    } else {
        (None, compile_start(&site, probe, probe_number, side)?, Vec::new())
    };
    let part = if spot.is_end { "end" } else { "start" };
    let (spelling, suffix) = (format!("span {part} {}", spot.target.spelling()), suffix(probe));
    let sample = sampled(probe).filter(|_| spot.is_end);
    let (probe, target, program) = (probe_number, target_number, Arc::new(program));
    Ok(Planned { id, probe, target, name, spelling, suffix, attachment, passed_over, layout, program, sample, tables })
}
