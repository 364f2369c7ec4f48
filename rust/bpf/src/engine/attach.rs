//! Ties a program to its places. In: places of one kind, each with the id of its events. Out: a [`Link`], or why not, and which
//! functions are to blame.

use std::io;

use spile_core::error::Error;

use super::place::Attachment;
use crate::kernel::cpu;
use crate::kernel::function::means::Means;
use crate::kernel::function::owner::parts;
use crate::kernel::function::reason;
use crate::kernel::link::Link;
use crate::kernel::program::LoadedProgram;
use crate::kernel::tracefs::Tracefs;

/// A program that could not be attached.
#[derive(Debug)]
pub(super) struct Refused {
    pub error: Error,
    /// Functions that another means may do for.
    pub functions: Vec<(String, Means)>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, functions: Vec::new() }
    }
}

impl Attachment {
    /// Attaches a program to places that share it: more than one only where its event's id is in a cookie.
    pub(super) fn attach(places: &[(&Self, u64)], program: &LoadedProgram) -> Result<Link, Refused> {
        let Some((first, _)) = places.first() else {
            return Err(Error::engine("a program without a place; this is a bug of spile's").into());
        };
        let link = match first {
            Self::RawTracepoint { name } => return Ok(Link::raw_tracepoint(name, program)?),
            Self::Tracepoint { name, id } => return Ok(Link::tracepoint(name, *id, program)?),
            Self::Timer { hz } => return Ok(Link::timer(*hz, &cpu::online()?, program)?),
            Self::Trampoline { .. } => Link::trampoline(program),
            Self::Kprobe { name, is_return, source } => Link::kprobe(*source, name, *is_return, program),
            Self::KprobeMulti { is_return, .. } => {
                let own = places.iter().filter_map(|(place, id)| Some((parts(place.function()?.0).1, *id)));
                let functions: Vec<(&str, u64)> = own.collect();
                Link::kprobe_multi(&functions, *is_return, program)
            }
        };
        link.map_err(|error| refused(places.iter().filter_map(|(place, _)| place.function()).collect(), &error))
    }
}

/// Why functions could not be attached to. Of many, those are to blame that the kernel's lists speak against, or else all.
fn refused(functions: Vec<(&str, Means)>, error: &io::Error) -> Refused {
    let what = match &functions[..] {
        [(name, _)] => format!("attaching to function:{name}"),
        functions => format!("attaching to {} functions", functions.len()),
    };
    if error.raw_os_error() == Some(libc::EMFILE) {
        return Error::engine(format!("{what}: no descriptor is left; raise `ulimit -n`")).into();
    }
    let holder = match error.raw_os_error() {
        Some(libc::EBUSY) => "; another tracer holds it (a live patch, or ftrace's own trampoline)",
        Some(libc::E2BIG) => "; so many programs are there already",
        _ => "",
    };
    let names: Vec<&str> = functions.iter().map(|(name, _)| *name).collect();
    let guilty = reason::culprits(&names, Tracefs::open().ok().as_ref());
    let is_guilty = |name: &str| guilty.is_empty() || guilty.contains(&name);
    Refused {
        error: Error::Unsupported { message: format!("{what}: {error}{holder}") },
        functions: functions
            .into_iter()
            .filter(|(name, _)| is_guilty(name))
            .map(|(name, means)| (name.to_owned(), means))
            .collect(),
    }
}
