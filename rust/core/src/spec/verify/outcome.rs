//! What is known only between two probes: `ret`, `error`, `elapsed`, `at_start()`. In: where they stand. Out: faults, and
//! the place at which a span, or a call, began.

use super::Faults;
use super::expr::{Moment, Place};
use super::words::{context, say};
use crate::spec::{Context, Expr, Target};

/// Looks over a fact that not every probe knows.
pub(super) fn fact(fact: Context, path: &str, place: Place<'_>, faults: &mut Faults) {
    if !matches!(fact, Context::Ret | Context::Error | Context::Elapsed) {
        return;
    }
    match place.moment {
        Moment::End if fact == Context::Elapsed => {}
        Moment::End => faults
            .add(path, format!("a span has elapsed, and no {}: take what its end reports, as arg.ret", context(fact))),
        Moment::Entry => faults.add(
            path,
            format!("{} is not known yet when a function is entered: take it without at_start()", context(fact)),
        ),
        Moment::Hit | Moment::Key | Moment::Start => {
            if let Some(message) = place.targets.iter().find_map(|target| unknown(fact, target)) {
                faults.add(path, message);
            }
        }
    }
}

/// Why a target doesn't know it, if it doesn't.
fn unknown(fact: Context, target: &Target) -> Option<String> {
    let (word, spelling) = (context(fact), target.spelling());
    match (target, fact) {
        (Target::FunctionReturn { .. }, _) => None,
        (Target::Function { name }, _) => Some(format!(
            "{word} is not known when {name} is entered, where {spelling} fires: take function_return:{name}"
        )),
        (_, Context::Elapsed) => {
            Some(format!("{spelling} is one moment, and elapsed is the time between two: pair two probes by span()"))
        }
        (Target::Profile { .. }, _) => Some(format!("{spelling} is a timer, and returns nothing: it has no {word}")),
        _ => Some(format!(
            "{spelling} has no {word}: what it reports are its fields, as arg.ret (`spile list --fields {spelling}` shows them)"
        )),
    }
}

/// The place of what `at_start()` holds.
pub(super) fn start<'a>(expr: &Expr, path: &str, place: Place<'a>, faults: &mut Faults) -> Option<Place<'a>> {
    let said = say(expr);
    let message = match place.moment {
        Moment::End => return Some(Place { targets: place.start, moment: Moment::Start, start: &[], ..place }),
        Moment::Start | Moment::Entry => format!("{said} stands within at_start(): once is enough"),
        Moment::Key => format!("a key is computed where its probe fires: give {said} without at_start()"),
        Moment::Hit => {
            let is_return = |target: &&Target| matches!(target, Target::FunctionReturn { .. });
            match place.targets.iter().find(|target| !is_return(target)) {
                None => return Some(Place { moment: Moment::Entry, ..place }),
                Some(target) => format!(
                    "{said}: {} is one moment and has no start; spans have, and function_return",
                    target.spelling()
                ),
            }
        }
    };
    faults.add(path, message);
    None
}
