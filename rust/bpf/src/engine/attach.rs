//! Ties a program to its places. In: places of one kind, each with the id of its events. Out: a [`Link`], or why not.

use std::io;

use spile_core::error::Error;

use super::place::Attachment;
use crate::kernel::btf::Btf;
use crate::kernel::function::reason;
use crate::kernel::link::Link;
use crate::kernel::program::LoadedProgram;
use crate::kernel::tracefs::Tracefs;
use crate::kernel::{cpu, descriptors};

impl Attachment {
    /// Attaches a program to places that share it: more than one only where its event's id is in a cookie.
    pub(super) fn attach(places: &[(&Self, u64)], program: &LoadedProgram) -> Result<Link, Error> {
        let Some((first, _)) = places.first() else {
            return Err(Error::engine("a program without a place; this is a bug of spile's"));
        };
        match first {
            Self::RawTracepoint { name } => Link::raw_tracepoint(name, program),
            Self::Tracepoint { name, id } => Link::tracepoint(name, *id, program),
            Self::Timer { hz } => Link::timer(*hz, &cpu::online()?, program),
            Self::Trampoline { name, .. } => Link::trampoline(program).map_err(|error| refused(&[name], &error)),
            Self::Kprobe { name, is_return, source } => {
                Link::kprobe(*source, name, *is_return, program).map_err(|error| refused(&[name], &error))
            }
            Self::KprobeMulti { is_return, .. } => {
                let functions: Vec<(&str, u64)> =
                    places.iter().filter_map(|(place, id)| Some((place.function()?, *id))).collect();
                Link::kprobe_multi(&functions, *is_return, program).map_err(|error| {
                    let names: Vec<&str> = functions.iter().map(|(name, _)| *name).collect();
                    refused(&names, &error)
                })
            }
        }
    }

    /// How many a link takes.
    pub(super) fn descriptors(&self, cpus: usize) -> usize {
        match self {
            Self::Timer { .. } => cpus,
            Self::Kprobe { .. } => 2,
            _ => 1,
        }
    }

    fn function(&self) -> Option<&str> {
        match self {
            Self::Trampoline { name, .. } | Self::Kprobe { name, .. } | Self::KprobeMulti { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// Why functions could not be attached to: each one that the kernel's lists speak against, or else its answer.
fn refused(names: &[&str], error: &io::Error) -> Error {
    let what = match names {
        [name] => format!("attaching to function:{name}"),
        names => format!("attaching to {} functions, {} among them", names.len(), names[0]),
    };
    if let Some(reason) = descriptors::used_up(error) {
        return Error::engine(format!("{what}: {reason}"));
    }
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => return Error::Unsupported { message: format!("{what}: {error}") },
        Some(libc::EBUSY) => {
            return Error::Unsupported {
                message: format!("{what}: {error}; another tracer holds it (a live patch, or ftrace's own trampoline)"),
            };
        }
        _ => {}
    }
    let (btf, tracefs) = (Btf::of_kernel().ok(), Tracefs::open().ok());
    let found = reason::culprits(names, btf.as_ref(), tracefs.as_ref());
    match Error::all(found) {
        Some(error) => error,
        None => Error::engine(format!("{what}: {error}")),
    }
}
