//! What there is to probe. In: a shell pattern, or one probe's name. Out: names, and the probe's own fields.

use std::rc::Rc;

use spile_core::error::Error;

use crate::kernel::btf::Btf;
use crate::kernel::fields::{RawTracepointFields, TracepointFields, raw_tracepoints, unknown_raw_tracepoint};
use crate::kernel::glob::matches;
use crate::kernel::tracefs::Tracefs;

/// The kinds, as they are spelled.
const TRACEPOINT: &str = "tracepoint";
const RAW_TRACEPOINT: &str = "raw_tracepoint";
const PROFILE: &str = "profile";
/// A timer that doesn't beat in time with the kernel's own.
const USUAL_RATE: &str = "99";

/// Kind and name of every probe whose name, or kind and name with a colon between, matches the pattern. What can't be
/// listed here (no tracefs, no BTF) is left out, unless there is nothing else to list.
pub fn list(pattern: &str) -> Result<Vec<(String, String)>, Error> {
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
        PROFILE => Ok(Vec::new()),
        _ => Err(Error::ProbeNotFound {
            message: format!(
                "no kind of probe is called {kind}; there are {TRACEPOINT}, {RAW_TRACEPOINT} and {PROFILE}"
            ),
        }),
    }
}
