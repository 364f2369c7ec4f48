//! Ties a program to its places. In: places of one kind, each with the id of its events. Out: [`Link`]s, or why not, and which
//! functions are to blame.

use std::io;

use spile_core::error::Error;

use super::place::Attachment;
use crate::kernel::function::means::Means;
use crate::kernel::function::owner::parts;
use crate::kernel::function::reason;
use crate::kernel::link::{KprobeAt, Link, drop_later};
use crate::kernel::program::LoadedProgram;
use crate::kernel::tracefs::Tracefs;
use crate::kernel::{cpu, descriptors};

/// A program that could not be attached.
#[derive(Debug)]
pub(super) struct Refused {
    pub error: Error,
    /// Functions that another means may do for, and what this one answered.
    pub functions: Vec<Blamed>,
}

/// A function that a means was refused for.
#[derive(Debug, Clone)]
pub(super) struct Blamed {
    pub function: String,
    pub means: Means,
    pub why: String,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, functions: Vec::new() }
    }
}

impl Attachment {
    /// Attaches a program to places that share it: more than one only where its event's id is in a cookie.
    pub(super) fn attach(places: &[(&Self, u64)], program: &LoadedProgram) -> Result<Vec<Link>, Refused> {
        let Some((first, _)) = places.first() else {
            return Err(Error::engine("a program without a place; this is a bug of spile's").into());
        };
        let link = match first {
            Self::RawTracepoint { name } => return Ok(vec![Link::raw_tracepoint(name, program)?]),
            Self::Tracepoint { name, id } => return Ok(vec![Link::tracepoint(name, *id, program)?]),
            Self::Timer { hz } => return Ok(vec![Link::timer(*hz, &cpu::online()?, program)?]),
            Self::Kprobe { .. } => return kprobes(places, program),
            Self::Trampoline { .. } => Link::trampoline(program),
            Self::KprobeMulti { is_return, .. } => {
                let own = places.iter().filter_map(|(place, id)| Some((parts(place.function()?.0).1, *id)));
                let functions: Vec<(&str, u64)> = own.collect();
                Link::kprobe_multi(&functions, *is_return, program)
            }
        };
        let functions = || places.iter().filter_map(|(place, _)| place.function()).collect();
        link.map(|link| vec![link]).map_err(|error| refused(functions(), &error))
    }

    /// How many descriptors a link takes.
    pub(super) fn descriptors(&self, cpus: usize) -> usize {
        match self {
            Self::Timer { .. } => cpus,
            Self::Kprobe { .. } => 2,
            _ => 1,
        }
    }
}

/// A kprobe for each place. All that are refused are told.
fn kprobes(places: &[(&Attachment, u64)], program: &LoadedProgram) -> Result<Vec<Link>, Refused> {
    let (mut links, mut faults) = (Vec::with_capacity(places.len()), Vec::new());
    for (place, id) in places {
        let Attachment::Kprobe { name, is_return, source, address, .. } = place else { continue };
        let at = KprobeAt { source: *source, function: name, address: *address, is_return: *is_return };
        match Link::kprobe(&at, *id, program) {
            Ok(link) => links.push(link),
            Err(error) => faults.push(refused(vec![(name, Means::Kprobe)], &error)),
        }
    }
    if faults.is_empty() {
        return Ok(links);
    }
    drop_later(links);
    // One that nothing else does for ends it all.
    let (errors, functions): (Vec<Error>, Vec<_>) = faults.into_iter().map(|one| (one.error, one.functions)).unzip();
    let is_final = functions.iter().any(Vec::is_empty);
    let error = Error::all(errors).unwrap_or_else(|| Error::engine("refused for no reason; this is a bug of spile's"));
    Err(Refused { error, functions: if is_final { Vec::new() } else { functions.concat() } })
}

/// Why functions could not be attached to. Of many, those are to blame that the kernel's lists speak against, or else all.
fn refused(functions: Vec<(&str, Means)>, error: &io::Error) -> Refused {
    let what = match &functions[..] {
        [(name, _)] => format!("attaching to function:{name}"),
        functions => format!("attaching to {} functions", functions.len()),
    };
    if let Some(reason) = descriptors::used_up(error) {
        return Error::engine(format!("{what}: {reason}")).into();
    }
    let holder = match error.raw_os_error() {
        Some(libc::EBUSY) => "; another tracer holds it (a live patch, or ftrace's own trampoline)",
        Some(libc::E2BIG) => "; so many programs are there already",
        _ => "",
    };
    let why = format!("{what}: {error}{holder}");
    let names: Vec<&str> = functions.iter().map(|(name, _)| *name).collect();
    let guilty = reason::culprits(&names, Tracefs::open().ok().as_ref());
    let is_guilty = |name: &str| guilty.is_empty() || guilty.contains(&name);
    let blame = |(name, means): (&str, Means)| Blamed { function: name.to_owned(), means, why: why.clone() };
    let functions: Vec<Blamed> = functions.into_iter().filter(|(name, _)| is_guilty(name)).map(blame).collect();
    Refused { error: Error::Unsupported { message: why }, functions }
}
