//! Conditions: types, lists and literals. In: a `where=`. Out: faults, or, where the form is right, what
//! [`contradiction`](super::contradiction) finds.

use super::expr::{self, Place, Wanted};
use super::{Faults, MAX_DEPTH, TOO_DEEP, contradiction, words};
use crate::layout::MAX_STRING;
use crate::spec::{Condition, Context, Expr};

/// The most bytes of a task's comm (`TASK_COMM_LEN` less its NUL).
const MAX_COMM: usize = 15;

/// Looks a whole condition over.
pub(super) fn check(condition: &Condition, path: &str, place: Place<'_>, faults: &mut Faults) {
    let before = faults.errors.len();
    form(condition, path, place, faults);
    if faults.errors.len() == before
        && let Some(found) = contradiction::find(condition, path)
    {
        faults.add(found.path, format!("this can never hold: {}", found.reason));
    }
}

fn form(condition: &Condition, path: &str, place: Place<'_>, faults: &mut Faults) {
    if place.levels >= MAX_DEPTH {
        return faults.add(path, TOO_DEEP);
    }
    let deeper = place.deeper();
    match condition {
        Condition::Compare { left, right, .. } => {
            expr::check(left, Wanted::Int, &format!("{path}.left"), deeper, faults);
            expr::check(right, Wanted::Int, &format!("{path}.right"), deeper, faults);
        }
        Condition::IsIn { value, choices } => {
            expr::check(value, Wanted::Int, &format!("{path}.value"), deeper, faults);
            if choices.is_empty() {
                faults.add(format!("{path}.choices"), NO_CHOICES);
            }
            for (index, choice) in choices.iter().enumerate() {
                expr::literal(*choice, &format!("{path}.choices[{index}]"), faults);
            }
        }
        Condition::StringIn { value, choices } => {
            expr::check(value, Wanted::String, &format!("{path}.value"), deeper, faults);
            if choices.is_empty() {
                faults.add(format!("{path}.choices"), NO_CHOICES);
            }
            for (index, choice) in choices.iter().enumerate() {
                string_literal(value, choice, &format!("{path}.choices[{index}]"), faults);
            }
        }
        Condition::StartsWith { value, prefix } => {
            expr::check(value, Wanted::String, &format!("{path}.value"), deeper, faults);
            string_literal(value, prefix, &format!("{path}.prefix"), faults);
        }
        Condition::And { terms } | Condition::Or { terms } => {
            if terms.is_empty() {
                faults.add(format!("{path}.terms"), "there is no condition in this list: leave it out, or name one");
            }
            for (index, term) in terms.iter().enumerate() {
                form(term, &format!("{path}.terms[{index}]"), deeper, faults);
            }
        }
        Condition::Not { term } => form(term, &format!("{path}.term"), deeper, faults),
    }
}

const NO_CHOICES: &str = "isin() without choices never holds: name at least one";

fn string_literal(value: &Expr, literal: &[u8], path: &str, faults: &mut Faults) {
    let shown = words::literal(literal);
    let most = match expr::there(value) {
        Expr::Context { name: Context::Comm } => MAX_COMM,
        Expr::String { limit, .. } => (*limit as usize).saturating_sub(1),
        _ => MAX_STRING as usize - 1,
    };
    if literal.contains(&0) {
        faults.add(path, format!("{shown} holds a NUL, which ends a string in the kernel: leave it out"));
    } else if literal.len() > most {
        let length = literal.len();
        let said = words::say(value);
        faults.add(path, format!("{shown} has {length} bytes, and {said} has at most {most}: shorten it"));
    }
}
