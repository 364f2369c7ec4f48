//! Spans: what they pair, and what may be asked at their ends. In: a probe that is a span, and those before it. Out: faults,
//! and the targets of both sides, whose fields `arg` and `at_start(arg)` have.

use super::Faults;
use super::expr::{Moment, Place, Wanted, check};
use crate::spec::{Attach, Expr, ProbeSpec, SpanSide, SpanSpec, Target};

/// The most starts that may be open at once: their states lie in kernel memory, taken when the session starts.
const MAX_OPEN: u32 = 1 << 20;

/// The targets of a span's two sides.
pub(super) struct Sides {
    pub start: Vec<Target>,
    pub end: Vec<Target>,
}

/// Whether a probe is a side of any span.
pub(super) fn feeds(index: usize, probes: &[ProbeSpec]) -> bool {
    let is_side = |side: &SpanSide| side.probe as usize == index;
    probes.iter().filter_map(|probe| probe.span.as_ref()).any(|span| span.start.iter().chain(&span.end).any(is_side))
}

/// Looks over what the span at `index` pairs.
pub(super) fn sides(span: &SpanSpec, index: usize, probes: &[ProbeSpec], path: &str, faults: &mut Faults) -> Sides {
    let SpanSpec { max_open, .. } = *span;
    if !probes[index].targets.is_empty() {
        faults.add(format!("{path}.targets"), "a span pairs probes and has no target of its own: leave it out");
    }
    if probes[index].attach != Attach::Auto {
        faults.add(format!("{path}.attach"), "attach= is for functions: give it to the probes that the span pairs");
    }
    if !(1..=MAX_OPEN).contains(&max_open) {
        let message = format!("max_open={max_open}: a span keeps 1 to {MAX_OPEN} starts that have not ended");
        faults.add(format!("{path}.span.max_open"), message);
    }
    let start = side(&span.start, "start", index, probes, path, faults);
    let end = side(&span.end, "end", index, probes, path, faults);
    Sides { start, end }
}

fn side(
    sides: &[SpanSide],
    word: &str,
    index: usize,
    probes: &[ProbeSpec],
    path: &str,
    faults: &mut Faults,
) -> Vec<Target> {
    let path = format!("{path}.span.{word}");
    if sides.is_empty() {
        faults.add(&path, format!("a span needs a probe for its {word}: name one"));
    }
    let mut targets = Vec::new();
    for (number, SpanSide { probe, key }) in sides.iter().enumerate() {
        let path = format!("{path}[{number}]");
        let Some(paired) = paired(*probe, index, probes, &path, faults) else { continue };
        if sides[..number].iter().any(|other| other.probe == *probe) {
            faults.add(
                format!("{path}.probe"),
                format!("{} stands twice in one {word}: a hit has one key there", paired.name),
            );
        }
        let place = Place { targets: &paired.targets, moment: Moment::Key, start: &[], levels: 0 };
        let path = format!("{path}.key");
        if let Expr::Int { value } = key {
            faults.add(path, format!("{value} is the same at every hit: a key tells spans apart, as task does"));
        } else {
            check(key, Wanted::Int, &path, place, faults);
        }
        targets.extend(paired.targets.iter().cloned());
    }
    targets
}

fn paired<'a>(
    probe: u32,
    index: usize,
    probes: &'a [ProbeSpec],
    path: &str,
    faults: &mut Faults,
) -> Option<&'a ProbeSpec> {
    let number = probe as usize;
    let message = match probes.get(number) {
        None => format!("there is no probe {probe}: the session has {}", probes.len()),
        Some(_) if number >= index => format!("probe {probe} stands after the span: declare what it pairs before it"),
        Some(ProbeSpec { name, span: Some(_), .. }) => {
            format!("{name} is a span itself: pair the probes that it is made of")
        }
        Some(found) => return Some(found),
    };
    faults.add(format!("{path}.probe"), message);
    None
}
