//! Returns of functions that want something of the entry. In: a probe, and the places of its returns. Out: two programs for
//! each, one at the entry and one at the return, and a table of the calls that go on.
//!
//! The time of the entry is kept for `elapsed`, values for `at_start()`; and for a kretprobe, which finds other values in
//! their registers, the arguments. A call is told from others by its place on the stack.

use spile_core::error::Error;
use spile_core::layout::{Encoding, EventLayout};
use spile_core::spec::{Capture, Context, Expr, ProbeSpec, Target};

use super::function;
use super::kernel_view::KernelView;
use super::maps::OpenSpans;
use super::place::{Attachment, Place};
use super::plan::{Ids, Planned, Scene, Twins, exprs, kept, narrow, sampled, suffix, wants};
use crate::compile::{
    Access, Fields, KernelOffsets, Key, Output, ProgramKind, Side, Site, SpanLayout, at_start, compile_end,
    compile_start, schema, uses_task,
};

/// Calls that may go on at once; one more is counted, and its return has no start.
const MOST_OPEN: u32 = 1 << 14;

/// Whether a probe at this place wants something that only the entry has. Where the kernel misses returns and doesn't say
/// how many, that is their number: the calls whose return never came.
pub(super) fn need_entry(probe: &ProbeSpec, place: &Place, kernel: &KernelView) -> bool {
    let all = exprs(probe);
    let is_return = matches!(place.kind, ProgramKind::Fexit | ProgramKind::Kretprobe);
    let wants = wants(probe);
    let wants_arguments = !wants.paths.is_empty() || (wants.everything && !place.fields.all().is_empty());
    is_return
        && (all.iter().any(|expr| has_elapsed(expr))
            || !at_start(all).is_empty()
            || (matches!(place.attachment, Attachment::Kprobe { .. }) && !kernel.trials().counts_missed_returns())
            || (place.kind == ProgramKind::Kretprobe && wants_arguments))
}

fn has_elapsed(expr: &Expr) -> bool {
    match expr {
        Expr::Context { name } => *name == Context::Elapsed,
        Expr::Binary { left, right, .. } => has_elapsed(left) || has_elapsed(right),
        Expr::Unary { operand: inner, .. } | Expr::String { pointer: inner, .. } => has_elapsed(inner),
        Expr::AtStart { .. } | Expr::Field { .. } | Expr::Stack { .. } | Expr::Int { .. } => false,
    }
}

/// Compiles the returns of the probe at `index`, by their positions among its targets, and their entries. The table has
/// `number`.
pub(super) fn plan(
    scene: &Scene<'_>,
    index: usize,
    returns: Vec<(usize, Place)>,
    number: u16,
    ids: &mut Ids,
) -> Result<(Vec<Planned>, OpenSpans), Error> {
    let probe = &scene.spec.probes[index];
    let members = returns.len();
    let entries = returns.iter().map(|(_, place)| function::entry(&place.attachment, members, scene.kernel));
    let entries = entries.collect::<Result<Vec<_>, Error>>()?;
    let place = format!("probes[{index}]");
    let fields: Vec<&dyn Fields> = entries.iter().map(|entry| &*entry.fields).collect();
    let mut words = Vec::new();
    for (_, place) in returns.iter().filter(|(_, place)| place.kind == ProgramKind::Kretprobe) {
        arguments(probe, &*place.fields, &mut words)?;
    }
    let layout = SpanLayout::compute(exprs(probe), &fields, &place)?.with_words(&words);
    let uses_task = exprs(probe).into_iter().any(uses_task);
    let offsets = if uses_task { scene.kernel.offsets()? } else { KernelOffsets::default() };
    let (mut programs, mut twins) = (Vec::with_capacity(2 * returns.len()), Twins::of(probe));
    for ((target, end), start) in returns.into_iter().zip(entries) {
        let side = Side { number, layout: &layout, key: Key::Call, probe: narrow(index)?, condition: None };
        programs.extend(pair(scene, (index, target), (end, start), side, &offsets, (ids, &mut twins))?);
    }
    Ok((programs, OpenSpans { value_size: layout.size(), max_open: MOST_OPEN, place }))
}

/// The words of the context that a probe's arguments are in, or are reached from.
fn arguments(probe: &ProbeSpec, fields: &dyn Fields, words: &mut Vec<u32>) -> Result<(), Error> {
    let wanted = wants(probe);
    let all = if probe.capture == Capture::All { fields.all() } else { Vec::new() };
    let paths = wanted.paths.iter().copied().chain(all.iter().map(|(_, path)| path.as_slice()));
    for path in paths {
        if let Access::Ctx { offset, .. } | Access::Read { ctx_offset: offset, .. } = fields.resolve(path)?
            && !words.contains(&offset)
        {
            words.push(offset);
        }
    }
    Ok(())
}

/// The programs of one function, the return's first.
fn pair(
    scene: &Scene<'_>,
    (index, target): (usize, usize),
    (end, start): (Place, Place),
    side: Side<'_>,
    offsets: &KernelOffsets,
    (ids, twins): (&mut Ids, &mut Twins),
) -> Result<[Planned; 2], Error> {
    let probe = &scene.spec.probes[index];
    let spelling = probe.targets.get(target).map_or_else(String::new, Target::spelling);
    let (probe_number, suffix) = (narrow(index)?, suffix(probe));
    let (id, target_number) = (ids.next()?, narrow(target)?);
    let options = scene.options(id, &end.attachment);
    let site = Site { kind: end.kind, fields: &*end.fields, offsets, options: &options };
    let (schema, columns) = schema(probe, probe_number, target_number, id, &*end.fields, Some(side.layout))?;
    // Right behind the return's: by that the entry knows it.
    let entry_id = ids.next()?;
    let tables = scene.tables(probe, (&schema, &columns), ids)?;
    let layout = EventLayout::compute(schema, Encoding::Aligned)?;
    let output = Output { layout: &layout, columns: &columns, tables: &kept(&tables) };
    let compiled = || compile_end(&site, probe, side, output);
    let program = twins.program(end.kind, &end.attachment, compiled)?;
    let first = Planned {
        id,
        probe: probe_number,
        target: target_number,
        name: end.name,
        spelling: spelling.clone(),
        suffix: suffix.clone(),
        attachment: end.attachment,
        passed_over: end.passed_over,
        layout: Some(layout),
        program,
        sample: sampled(probe),
        tables,
    };
    let options = scene.options(entry_id, &start.attachment);
    let site = Site { kind: start.kind, fields: &*start.fields, offsets, options: &options };
    let compiled = || compile_start(&site, probe, probe_number, side);
    let program = twins.program(start.kind, &start.attachment, compiled)?;
    let second = Planned {
        id: entry_id,
        probe: probe_number,
        target: narrow(probe.targets.len() + target)?,
        name: start.name,
        spelling: format!("the entry for {spelling}"),
        suffix,
        attachment: start.attachment,
        passed_over: start.passed_over,
        layout: None,
        program,
        sample: None,
        tables: Vec::new(),
    };
    Ok([first, second])
}
