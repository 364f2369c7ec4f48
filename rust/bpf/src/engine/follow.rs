//! Keeps the target filter over a tree of processes. In: a [`TargetFilter`]. Out: loaded programs, and their links.

use std::sync::Arc;

use spile_core::error::Error;
use spile_core::spec::TargetFilter;

use super::kernel_view::KernelView;
use super::maps::Maps;
use crate::compile::{Program, follow};
use crate::kernel::link::Link;
use crate::kernel::program::LoadedProgram;

/// The programs behind the filter.
pub(super) struct Follow {
    programs: Vec<(&'static str, Arc<LoadedProgram>)>,
}

/// What is to be loaded: nothing where no process is followed.
pub(super) fn prepare(target: &TargetFilter, kernel: &KernelView) -> Result<Vec<(&'static str, Program)>, Error> {
    if target.pid.is_none() || !target.follow {
        return Ok(Vec::new());
    }
    let offsets = kernel.offsets().map_err(|error| match error {
        Error::Unsupported { message } => Error::Unsupported {
            message: format!("following a process's children needs BTF: {message}; follow=False works"),
        },
        other => other,
    })?;
    Ok(follow(&offsets)?.into())
}

impl Follow {
    /// Loads what [`prepare`] made.
    pub(super) fn load(programs: &[(&'static str, Program)], maps: &Maps) -> Result<Self, Error> {
        let load = |(place, program): &(&'static str, Program)| {
            let loaded = LoadedProgram::load(program.kind, &program.name, &maps.relocated(program, None)?)?;
            Ok((*place, Arc::new(loaded)))
        };
        Ok(Self { programs: programs.iter().map(load).collect::<Result<_, Error>>()? })
    }

    /// The programs, loaded.
    pub(super) fn programs(&self) -> impl Iterator<Item = &Arc<LoadedProgram>> {
        self.programs.iter().map(|(_, program)| program)
    }

    /// Attaches them. They work whatever the gate's state.
    pub(super) fn attach(&self) -> Result<Vec<Link>, Error> {
        self.programs.iter().map(|(place, program)| Link::raw_tracepoint(place, program)).collect()
    }
}
