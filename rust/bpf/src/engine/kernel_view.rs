//! What the kernel says of itself, opened when it is first asked for: many sessions need only one of the two.

use std::cell::OnceCell;
use std::rc::Rc;

use spile_core::error::Error;
use spile_core::spec::PathStep;

use crate::compile::{Access, KernelOffsets};
use crate::kernel::btf::Btf;
use crate::kernel::btf::path::follow_pointee;
use crate::kernel::function::means::Trials;
use crate::kernel::tracefs::Tracefs;

/// BTF and tracefs.
#[derive(Debug, Default)]
pub(crate) struct KernelView {
    btf: OnceCell<Result<Rc<Btf>, Error>>,
    tracefs: OnceCell<Result<Tracefs, Error>>,
    offsets: OnceCell<Result<KernelOffsets, Error>>,
    trials: Trials,
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
