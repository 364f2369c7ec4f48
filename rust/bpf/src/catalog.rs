//! What there is to probe. In: a shell pattern, or one probe's name. Out: names, and the probe's own fields.

use std::rc::Rc;

use spile_core::error::Error;

use crate::kernel::btf::Btf;
use crate::kernel::fields::{RawTracepointFields, TracepointFields, raw_tracepoints, unknown_raw_tracepoint};
use crate::kernel::function::owner::Owners;
use crate::kernel::function::{FunctionFields, Moment, View, names, reason};
use crate::kernel::glob::matches;
use crate::kernel::tracefs::Tracefs;

/// The kinds, as they are spelled.
const TRACEPOINT: &str = "tracepoint";
const RAW_TRACEPOINT: &str = "raw_tracepoint";
const PROFILE: &str = "profile";
const FUNCTION: &str = "function";
const FUNCTION_RETURN: &str = "function_return";
/// A timer that doesn't beat in time with the kernel's own.
const USUAL_RATE: &str = "99";

/// Kind and name of every probe whose name, or kind and name with a colon between, matches the pattern. What can't be
/// listed here (no tracefs, no BTF) is left out, unless there is nothing else to list. There are tens of thousands of
/// functions, so a pattern must have a letter of theirs; that each of them returns too is said only to who names the kind.
pub fn list(pattern: &str) -> Result<Vec<(String, String)>, Error> {
    for kind in [FUNCTION, FUNCTION_RETURN] {
        if let Some(pattern) = pattern.strip_prefix(kind).and_then(|rest| rest.strip_prefix(':')) {
            let names = names::list(&Rc::new(Btf::of_kernel()?), &Tracefs::open()?, pattern)?;
            return Ok(names.into_iter().map(|name| (kind.to_owned(), name)).collect());
        }
    }
    let tracepoints = Tracefs::open().and_then(|tracefs| tracefs.tracepoints());
    let raw = Btf::of_kernel().map(|btf| raw_tracepoints(&btf));
    let mut found = Vec::new();
    let mut add = |kind: &str, name: String| {
        if matches(pattern, &name) || matches(pattern, &format!("{kind}:{name}")) {
            found.push((kind.to_owned(), name));
        }
    };
    add(PROFILE, USUAL_RATE.into());
    match (tracepoints, raw) {
        (Err(error), Err(_)) => return Err(error),
        (tracepoints, raw) => {
            let classic = tracepoints.unwrap_or_default().into_iter();
            classic.for_each(|(category, name)| add(TRACEPOINT, format!("{category}:{name}")));
            raw.unwrap_or_default().into_iter().for_each(|name| add(RAW_TRACEPOINT, name));
        }
    }
    if pattern.contains(|c: char| c.is_alphanumeric()) {
        let functions = Btf::of_kernel().and_then(|btf| names::list(&Rc::new(btf), &Tracefs::open()?, pattern));
        found.extend(functions.unwrap_or_default().into_iter().map(|name| (FUNCTION.to_owned(), name)));
    }
    found.sort();
    Ok(found)
}

/// Name and type of each of a probe's own fields.
pub fn fields(kind: &str, name: &str) -> Result<Vec<(String, String)>, Error> {
    match kind {
        TRACEPOINT => {
            let (category, last) = name.split_once(':').ok_or_else(|| Error::ProbeNotFound {
                message: format!("a tracepoint's name has a category, as in sched:sched_switch, and {name} has none"),
            })?;
            let format = Tracefs::open()?.format(category, last)?;
            Ok(TracepointFields::new(format!("{TRACEPOINT}:{name}"), &format, None).described())
        }
        RAW_TRACEPOINT => {
            let btf = Rc::new(Btf::of_kernel()?);
            let fields = RawTracepointFields::new(name, Some(Rc::clone(&btf)));
            let fields = fields.ok_or_else(|| unknown_raw_tracepoint(name, &raw_tracepoints(&btf)))?;
            Ok(fields.described())
        }
        FUNCTION => function(name, Moment::Entry),
        FUNCTION_RETURN => function(name, Moment::Return),
        PROFILE => Ok(Vec::new()),
        _ => Err(Error::ProbeNotFound {
            message: format!(
                "no kind of probe is called {kind}; there are {TRACEPOINT}, {RAW_TRACEPOINT}, {FUNCTION}, \
                 {FUNCTION_RETURN} and {PROFILE}"
            ),
        }),
    }
}

fn function(name: &str, moment: Moment) -> Result<Vec<(String, String)>, Error> {
    let btf = Rc::new(Btf::of_kernel()?);
    let found = Owners::default().find(name, Some(&btf));
    let found = found.ok_or_else(|| reason::explain(name, Some(&btf), Tracefs::open().ok().as_ref()))?;
    Ok(FunctionFields::new(&found, View::Trampoline, moment)?.described())
}
