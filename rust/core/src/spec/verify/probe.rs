//! Probes: names, targets, captures, keys. In: the session's probes. Out: faults, each with its probe's origin.

use std::collections::HashSet;

use super::expr::{Moment, Place, Wanted, check};
use super::{Faults, MIN_BUFFER, aggregate, condition, span};
use crate::layout::{ALIGNED_HEADER, MAX_FIELDS, MAX_STRING};
use crate::spec::{AggregateSpec, Attach, Capture, Expr, NamedExpr, PathStep, ProbeSpec, SessionSpec, Target};

/// What an event has of its own.
const HEADERS: [&str; 5] = ["id", "probe", "time", "cpu", "datetime"];
/// Samples per second and CPU.
const MAX_HZ: u64 = 100_000;
/// The most hits of which one may be taken.
const MAX_SAMPLE: u64 = 1 << 30;
/// The longest name that tracefs holds (`MAX_EVENT_NAME_LEN` is 64; some room for what comes).
const MAX_NAME: usize = 128;

/// The longest symbol that the kernel holds (`KSYM_NAME_LEN`, less its NUL).
const MAX_FUNCTION: usize = 511;

pub(super) fn probes(spec: &SessionSpec, faults: &mut Faults) {
    if spec.probes.is_empty() {
        faults
            .add("probes", "a session with no probes: declare one, such as session.tracepoint(\"sched:sched_switch\")");
    }
    let mut names = HashSet::new();
    for (index, probe) in spec.probes.iter().enumerate() {
        let path = format!("probes[{index}]");
        faults.origin = match &probe.declared_at {
            Some(place) => format!(" (probe {}, declared at {place})", probe.name),
            None => String::new(),
        };
        name(&probe.name, "a probe's name", &format!("{path}.name"), faults);
        if !names.insert(&probe.name) {
            let message = format!("two probes are called {}: tell them apart by name=", probe.name);
            faults.add(format!("{path}.name"), message);
        }
        self::probe(index, &spec.probes, &path, spec.limits.buffer, faults);
    }
    faults.origin.clear();
}

fn probe(index: usize, probes: &[ProbeSpec], path: &str, buffer: u64, faults: &mut Faults) {
    let probe = &probes[index];
    if !probe.deliver && probe.aggregates.is_empty() && (probe.span.is_some() || !span::feeds(index, probes)) {
        faults.add(
            path,
            "the probe does nothing: give it a capture=, a handler, an aggregate such as count(by=kstack), or a span",
        );
    }
    let sides = probe.span.as_ref().map(|span| span::sides(span, index, probes, path, faults));
    let place = if let Some(sides) = &sides {
        Place { targets: &sides.end, moment: Moment::End, start: &sides.start, levels: 0 }
    } else {
        targets(&probe.targets, &format!("{path}.targets"), faults);
        attach(probe, path, faults);
        Place { targets: &probe.targets, moment: Moment::Hit, start: &[], levels: 0 }
    };
    sample(index, probes, path, faults);
    captures(&probe.capture, &format!("{path}.capture"), place, faults);
    for (index, spec) in probe.aggregates.iter().enumerate() {
        aggregate::aggregate(spec, &format!("{path}.aggregates[{index}]"), place, faults);
    }
    size(probe, path, buffer, faults);
    if let Some(condition) = &probe.condition {
        condition::check(condition, &format!("{path}.where"), place, faults);
    }
}

fn targets(targets: &[Target], path: &str, faults: &mut Faults) {
    if targets.is_empty() {
        faults.add(path, "the probe has no target: name one, such as sched:sched_switch");
    }
    let mut seen = HashSet::new();
    for (index, target) in targets.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match target {
            Target::Tracepoint { category, name } => {
                target_name(category, "category", &path, faults);
                target_name(name, "name", &path, faults);
            }
            Target::RawTracepoint { name } => target_name(name, "name", &path, faults),
            Target::Function { name } | Target::FunctionReturn { name } => function_name(name, &path, faults),
            Target::Profile { hz } if !(1..=MAX_HZ).contains(hz) => {
                faults.add(format!("{path}.hz"), format!("hz={hz}: a timer takes 1 to {MAX_HZ} samples a second"));
            }
            Target::Profile { .. } => {}
        }
        if !seen.insert(target) {
            faults.add(path, format!("{} stands twice in one probe: name it once", target.spelling()));
        }
    }
}

fn attach(probe: &ProbeSpec, path: &str, faults: &mut Faults) {
    let is_function = |target: &&Target| matches!(target, Target::Function { .. } | Target::FunctionReturn { .. });
    if probe.attach != Attach::Auto
        && let Some(other) = probe.targets.iter().find(|target| !is_function(target))
    {
        let message = format!("attach= is for functions, and {} is none: leave it out", other.spelling());
        faults.add(format!("{path}.attach"), message);
    }
}

fn sample(index: usize, probes: &[ProbeSpec], path: &str, faults: &mut Faults) {
    let ProbeSpec { sample, name, .. } = &probes[index];
    let path = format!("{path}.sample");
    if !(1..=MAX_SAMPLE).contains(sample) {
        let near = (*sample).clamp(1, MAX_SAMPLE);
        faults.add(path, format!("sample={sample}: one hit of 1 to {MAX_SAMPLE} is taken; take {near}"));
    } else if *sample > 1 && span::feeds(index, probes) {
        let message = format!(
            "sample={sample}: {name} is a side of a span, and of a start and its end a sample would take one alone; give \
             sample= to the span"
        );
        faults.add(path, message);
    }
}

fn function_name(name: &str, path: &str, faults: &mut Faults) {
    let is_sane = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    let is_name = |part: &str| !part.is_empty() && part.chars().all(is_sane);
    let (module, function) = name.split_once(':').unwrap_or(("kernel", name));
    if name.len() > MAX_FUNCTION || !is_name(module) || !is_name(function) {
        let shown = super::words::literal(name.as_bytes());
        faults.add(
            format!("{path}.name"),
            format!(
                "{shown} can't be a function's name: letters, digits, _ and . make one; a module's may stand before it, as \
                 in overlay:ovl_open"
            ),
        );
    }
}

fn target_name(name: &str, part: &str, path: &str, faults: &mut Faults) {
    let path = format!("{path}.{part}");
    let is_sane = |c: char| c.is_ascii_alphanumeric() || "_-.*?[]!".contains(c);
    if name.is_empty() {
        faults.add(path, format!("the tracepoint's {part} is empty: it is spelled category:name"));
    } else if name.len() > MAX_NAME || name.trim_matches('.').is_empty() || !name.chars().all(is_sane) {
        let shown = super::words::literal(name.as_bytes());
        faults.add(path, format!("{shown} can't be a tracepoint's {part}: `spile list` shows those that there are"));
    }
}

fn captures(capture: &Capture, path: &str, place: Place<'_>, faults: &mut Faults) {
    let fields = match capture {
        Capture::Fields { fields } => fields,
        Capture::All => {
            for target in place.targets {
                if matches!(target, Target::Profile { .. }) {
                    let message =
                        format!("{} is a timer and has no fields: name captures instead of \"*\"", target.spelling());
                    faults.add(path, message);
                }
            }
            return;
        }
    };
    let mut names = HashSet::new();
    for (index, capture) in fields.iter().enumerate() {
        let path = format!("{path}.fields[{index}]");
        let at_name = format!("{path}.name");
        name(&capture.name, "a capture's name", &at_name, faults);
        if !names.insert(&capture.name) {
            faults.add(&at_name, format!("two captures are called {}: give one of them another name", capture.name));
        }
        if HEADERS.contains(&capture.name.as_str()) && !is_own_name(capture) {
            let message = format!("every event has a {} of its own: choose another name for the capture", capture.name);
            faults.add(&at_name, message);
        }
        check(&capture.expr, Wanted::Value, &format!("{path}.expr"), place, faults);
    }
}

/// Whether a capture only carries the name that its value has anyway, as `arg.id` does.
fn is_own_name(NamedExpr { name, expr }: &NamedExpr) -> bool {
    match expr {
        Expr::Field { path } => matches!(path.last(), Some(PathStep::Name(last)) if last == name),
        Expr::Context { name: fact } => super::words::context(*fact) == name,
        _ => false,
    }
}

/// A name that Python can bind.
fn name(name: &str, what: &str, path: &str, faults: &mut Faults) {
    let is_identifier = name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let shown = super::words::literal(name.as_bytes());
    if !is_identifier {
        faults.add(path, format!("{shown} is no name: {what} has letters, digits and _, and begins with no digit"));
    } else if name.starts_with("__") && name.ends_with("__") {
        faults.add(path, format!("{shown} is a name of Python's own: choose another"));
    }
}

/// Whether an event fits into a record, and a record into the buffer.
fn size(probe: &ProbeSpec, path: &str, buffer: u64, faults: &mut Faults) {
    let Capture::Fields { fields } = &probe.capture else { return };
    let keys = probe.aggregates.iter().flat_map(AggregateSpec::exprs);
    let mut values: Vec<&Expr> = fields.iter().map(|capture| &capture.expr).collect();
    for key in keys {
        // A key that is captured too shares its column; past the limit it makes no difference.
        if values.len() <= 4 * MAX_FIELDS && !values.contains(&key) {
            values.push(key);
        }
    }
    let capture = format!("{path}.capture");
    if values.len() > MAX_FIELDS {
        let message = format!(
            "an event carries at most {MAX_FIELDS} values (captures and keys), and this one has {}: declare a second probe",
            values.len()
        );
        return faults.add(capture, message);
    }
    let string = |expr: &&Expr| {
        let Expr::String { limit, .. } = super::expr::there(expr) else { return 0 };
        u64::from((*limit).min(MAX_STRING)).next_multiple_of(8)
    };
    let strings: u64 = values.iter().map(string).sum();
    let most = strings + u64::from(ALIGNED_HEADER) + 16 * values.len() as u64;
    if strings > u64::from(MAX_STRING) {
        let message = format!(
            "the strings of one event take at most {MAX_STRING} bytes together, and these could take {strings}: lower limit="
        );
        faults.add(capture, message);
    } else if most > buffer.max(MIN_BUFFER) {
        let message =
            format!("an event could take {most} bytes, and the buffer has {buffer}: lower limit=, or raise buffer=");
        faults.add(capture, message);
    }
}
