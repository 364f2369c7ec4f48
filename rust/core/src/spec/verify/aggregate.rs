//! Aggregates: what they accumulate, and by what. In: an aggregate and its place. Out: faults.

use super::Faults;
use super::expr::{Place, Wanted, check};
use crate::spec::{AggregateFunction, AggregateSpec};

/// Bins that a linear histogram may have.
const MAX_STEPS: u64 = 65_536;
/// Values that a list of the most frequent ones may have.
const MAX_TOP: u32 = 65_536;

pub(super) fn aggregate(spec: &AggregateSpec, path: &str, place: Place<'_>, faults: &mut Faults) {
    for (part, expr) in spec.by.iter().enumerate() {
        check(expr, Wanted::Value, &format!("{path}.by[{part}]"), place, faults);
    }
    let path_of_value = format!("{path}.value");
    match (&spec.value, spec.function.takes_value()) {
        (Some(value), true) => {
            let wanted = if spec.function.takes_anything() { Wanted::Value } else { Wanted::Int };
            check(value, wanted, &path_of_value, place, faults);
        }
        (None, true) => faults.add(path_of_value, "say of what: elapsed, arg.count, or another value"),
        (Some(_), false) => faults.add(path_of_value, "a count has no value: it counts hits"),
        (None, false) => {}
    }
    parameters(spec.function, &format!("{path}.function"), faults);
}

fn parameters(function: AggregateFunction, path: &str, faults: &mut Faults) {
    match function {
        AggregateFunction::Lhist { low, high, step } => {
            let width = i128::from(high) - i128::from(low);
            let step = i128::from(step);
            if step == 0 || width <= 0 || width % step != 0 {
                faults.add(
                    path,
                    format!("from {low} to {high} there is no whole number of steps of {step}, at least one"),
                );
            } else if width / step > i128::from(MAX_STEPS) {
                faults.add(path, format!("{} bins: a linear histogram has at most {MAX_STEPS}", width / step));
            }
        }
        AggregateFunction::Top { size } if !(1..=MAX_TOP).contains(&size) => {
            faults.add(path, format!("size={size}: 1 to {MAX_TOP} of the most frequent values are kept"));
        }
        _ => {}
    }
}
