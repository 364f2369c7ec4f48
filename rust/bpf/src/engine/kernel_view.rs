//! What the kernel says of itself, opened when it is first asked for: many sessions need only one of the two.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use spile_core::error::Error;
use spile_core::spec::PathStep;

use super::attach::Blamed;
use crate::compile::{Access, KernelOffsets};
use crate::kernel::btf::Btf;
use crate::kernel::btf::path::follow_pointee;
use crate::kernel::function::means::{Means, Trials};
use crate::kernel::function::owner::{Found, Object, Owners};
use crate::kernel::function::reason;
use crate::kernel::tracefs::Tracefs;

/// BTF and tracefs, and what became known while probes were attached.
#[derive(Debug, Default)]
pub(crate) struct KernelView {
    btf: OnceCell<Result<Rc<Btf>, Error>>,
    tracefs: OnceCell<Result<Tracefs, Error>>,
    offsets: OnceCell<Result<KernelOffsets, Error>>,
    trials: Trials,
    owners: Owners,
    /// Why functions, as they are spelled, could not be attached by a means that works for others.
    refusals: RefCell<HashMap<(String, Means), String>>,
}

#[cfg(test)]
impl KernelView {
    /// One that has every means.
    pub(crate) fn pretended() -> Self {
        Self { trials: Trials::pretended(), ..Self::default() }
    }
}

impl KernelView {
    /// The kernel's types.
    pub(crate) fn btf(&self) -> Result<Rc<Btf>, Error> {
        self.btf.get_or_init(|| Btf::of_kernel().map(Rc::new)).clone()
    }

    /// The folder of tracepoints.
    pub(crate) fn tracefs(&self) -> Result<&Tracefs, Error> {
        self.tracefs.get_or_init(Tracefs::open).as_ref().map_err(Clone::clone)
    }

    /// By which means functions can be probed.
    pub(crate) fn trials(&self) -> &Trials {
        &self.trials
    }

    /// A function, or why it isn't there.
    pub(crate) fn function(&self, spelled: &str) -> Result<Found, Error> {
        let btf = self.btf().ok();
        let found = self.owners.find(spelled, btf.as_ref());
        found.ok_or_else(|| reason::explain(spelled, btf.as_deref(), self.tracefs().ok()))
    }

    /// A module's types as the kernel has them; none for the kernel's own.
    pub(crate) fn object(&self, found: &Found) -> Result<Option<Object>, Error> {
        found.module.as_deref().map(|module| self.owners.object(module)).transpose()
    }

    /// Where a function begins, where that is told.
    pub(crate) fn address(&self, found: &Found) -> Option<u64> {
        self.owners.address(found)
    }

    /// Keeps in mind that a function could not be attached by a means; false if that is nothing new.
    pub(super) fn refuse(&self, Blamed { function, means, why }: &Blamed) -> bool {
        self.refusals.borrow_mut().insert((function.clone(), *means), why.clone()).is_none()
    }

    /// Why it could not, where that was tried.
    pub(crate) fn refusal(&self, spelled: &str, means: Means) -> Option<String> {
        self.refusals.borrow().get(&(spelled.to_owned(), means)).cloned()
    }

    /// Where things are in a task.
    pub(crate) fn offsets(&self) -> Result<KernelOffsets, Error> {
        self.offsets.get_or_init(|| task_offsets(&*self.btf()?)).clone()
    }
}

fn task_offsets(btf: &Btf) -> Result<KernelOffsets, Error> {
    let task = btf.structure("task_struct").ok_or_else(|| Error::Unsupported {
        message: "the kernel's BTF doesn't describe task_struct, so utime, stime, ppid and children can't be had"
            .into(),
    })?;
    let of = |member: &str| match follow_pointee(0, task, "task", &[PathStep::Name(member.into())])? {
        Access::Read { offset, .. } => Ok(offset),
        other => Err(Error::engine(format!("the kernel's BTF has task_struct's {member} as {other:?}"))),
    };
    Ok(KernelOffsets {
        task_utime: of("utime")?,
        task_stime: of("stime")?,
        task_real_parent: of("real_parent")?,
        task_tgid: of("tgid")?,
        task_pid: of("pid")?,
    })
}
