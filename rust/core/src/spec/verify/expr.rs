//! Expressions: what they give, as far as that is visible without a kernel, and whether they may stand where they stand.
//!
//! In: a tree, its path, and what its place takes. Out: faults.

use super::words::say;
use super::{Faults, MAX_DEPTH, TOO_DEEP, outcome};
use crate::layout::{MAX_FRAMES, MAX_STRING};
use crate::spec::{Context, Expr, PathStep, Target};

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    String,
    Stack,
    /// The name of the probe's target: not a number, though an event carries it as one.
    Name,
    /// A field's: only the kernel knows.
    Unknown,
}

/// What a place takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A capture or a key: anything.
    Value,
    /// An operand.
    Int,
    /// What is compared with a string literal.
    String,
}

/// When an expression is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// When the probe fires.
    Hit,
    /// When it fires, as a span's key.
    Key,
    /// At the end of a span.
    End,
    /// At the start of a span.
    Start,
    /// At the entry of a function whose return is probed.
    Entry,
}

/// Where an expression stands: the targets decide about its fields.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub targets: &'a [Target],
    pub moment: Moment,
    /// The targets at which a span starts.
    pub start: &'a [Target],
    pub levels: usize,
}

impl Place<'_> {
    pub(super) fn deeper(self) -> Self {
        Self { levels: self.levels + 1, ..self }
    }
}

/// What is computed, wherever that is.
pub(super) fn there(expr: &Expr) -> &Expr {
    if let Expr::AtStart { value } = expr { value } else { expr }
}

pub(super) fn kind(expr: &Expr) -> Kind {
    match expr {
        // An error has a number and a name.
        Expr::Field { .. } | Expr::Context { name: Context::Error } => Kind::Unknown,
        Expr::Context { name: Context::Comm } | Expr::String { .. } => Kind::String,
        Expr::Context { name: Context::ProbeName } => Kind::Name,
        Expr::Stack { .. } => Kind::Stack,
        Expr::AtStart { value } => kind(value),
        Expr::Context { .. } | Expr::Int { .. } | Expr::Binary { .. } | Expr::Unary { .. } => Kind::Int,
    }
}

/// Looks over an expression that stands where `wanted` is expected.
pub(super) fn check(expr: &Expr, wanted: Wanted, path: &str, place: Place<'_>, faults: &mut Faults) {
    if place.levels >= MAX_DEPTH {
        return faults.add(path, TOO_DEEP);
    }
    if let Some(message) = misplaced(expr, wanted) {
        return faults.add(path, message);
    }
    let place = place.deeper();
    match expr {
        Expr::Field { path: steps } => field(steps, path, place.targets, faults),
        Expr::Context { name } => outcome::fact(*name, path, place, faults),
        Expr::AtStart { value } => {
            if let Some(start) = outcome::start(expr, path, place, faults) {
                check(value, wanted, &format!("{path}.value"), start, faults);
            }
        }
        Expr::Stack { depth, .. } => {
            if let Some(depth) = depth
                && !(1..=MAX_FRAMES).contains(depth)
            {
                faults.add(path, format!("{}: a stack has 1 to {MAX_FRAMES} frames", say(expr)));
            }
        }
        Expr::Int { value } => literal(*value, path, faults),
        Expr::Binary { left, right, .. } => {
            check(left, Wanted::Int, &format!("{path}.left"), place, faults);
            check(right, Wanted::Int, &format!("{path}.right"), place, faults);
        }
        Expr::Unary { operand, .. } => check(operand, Wanted::Int, &format!("{path}.operand"), place, faults),
        Expr::String { pointer, limit } => {
            if !(1..=MAX_STRING).contains(limit) {
                faults.add(path, format!("limit={limit}: a string has 1 to {MAX_STRING} bytes"));
            }
            if let Expr::Int { value } = **pointer {
                faults.add(path, format!("string({value}) reads no variable: give it a field that is a pointer"));
            } else {
                check(pointer, Wanted::Int, &format!("{path}.pointer"), place, faults);
            }
        }
    }
}

/// A literal that 64 bits can't hold.
pub(super) fn literal(value: i128, path: &str, faults: &mut Faults) {
    if i64::try_from(value).is_err() && u64::try_from(value).is_err() {
        faults.add(path, format!("{value} does not fit 64 bits: a literal lies within -2^63 … 2^64 - 1"));
    }
}

fn misplaced(expr: &Expr, wanted: Wanted) -> Option<String> {
    let said = say(expr);
    match (wanted, kind(expr)) {
        (Wanted::Value, _) | (Wanted::Int, Kind::Int) | (Wanted::String, Kind::String) | (_, Kind::Unknown) => None,
        (_, Kind::Stack) => Some(format!("{said} is a stack: it can be captured or counted by, nothing else")),
        (_, Kind::Name) => Some(format!(
            "{said} is the same for every event of a target: count by it, or capture it; declare the targets as probes of their own to tell them apart in where="
        )),
        (Wanted::Int, Kind::String) => {
            Some(format!("{said} is a string, no number: compare it by ==, isin() or startswith()"))
        }
        (Wanted::String, Kind::Int) => Some(format!(
            "{said} is a number, and it is compared with a string: read what it points to by string({said})"
        )),
    }
}

fn field(steps: &[PathStep], path: &str, targets: &[Target], faults: &mut Faults) {
    let expr = say(&Expr::Field { path: steps.to_vec() });
    let Some(first) = steps.first() else {
        return faults.add(path, "arg alone has no value: name a field of it, as in arg.count");
    };
    if steps.len() > MAX_DEPTH {
        return faults
            .add(path, format!("a field path has at most {MAX_DEPTH} steps, and this one has {}", steps.len()));
    }
    let is_blank = |step: &PathStep| matches!(step, PathStep::Name(name) if name.is_empty() || name.contains('\0'));
    if steps.iter().any(is_blank) {
        return faults.add(path, format!("{expr}: a step of the path has no name"));
    }
    for target in targets {
        let spelling = target.spelling();
        match (target, first) {
            (Target::Profile { .. }, _) => {
                faults.add(path, format!("{expr}: {spelling} is a timer and has no fields; captures such as pid, comm and kstack are possible"));
            }
            (Target::Tracepoint { .. }, PathStep::Index(_)) => {
                faults.add(path, format!("{expr}: the fields of {spelling} have names (`spile list {spelling}` shows them); positions are for raw_tracepoint"));
            }
            _ => {}
        }
    }
}
