//! A function as a place for a program. In: its name, entry or return, and how it is to be attached. Out: a [`Place`], by
//! the means that was asked for or else by the best that works here for this function.

use spile_core::error::Error;
use spile_core::spec::Attach;

use super::kernel_view::KernelView;
use super::place::{Attachment, Place};
use crate::compile::{ProgramKind, REGISTERS};
use crate::kernel::function::means::{self, Means};
use crate::kernel::function::{FunctionFields, Moment, View, find, reason};

/// So many functions of one probe are attached one by one, for a trampoline costs less at each call; more by one link,
/// which costs less at the start.
const FEW: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub moment: Moment,
    pub attach: Attach,
    /// The number of targets that the probe has.
    pub members: usize,
    pub kernel_stack: bool,
}

/// Finds a function.
pub(super) fn resolve(wanted: &Wanted<'_>, kernel: &KernelView) -> Result<Place, Error> {
    let name = wanted.name;
    let btf = kernel.btf().ok();
    let is_typed = btf.as_ref().is_some_and(|btf| find(btf, name).is_some());
    if !is_typed && reason::exists(name).is_none() {
        return Err(reason::explain(name, btf.as_deref(), kernel.tracefs().ok()));
    }
    let mut refusals = Vec::new();
    for &means in order(wanted.attach, wanted.members) {
        match usable(means, wanted, kernel) {
            Ok(()) => return place(means, wanted, kernel),
            Err(why) => refusals.push(format!("{means}: {why}")),
        }
    }
    let spelled = if wanted.moment == Moment::Entry { "function" } else { "function_return" };
    Err(Error::Unsupported { message: format!("{spelled}:{name} can't be probed here: {}", refusals.join("; ")) })
}

/// The entry of a function whose return is attached in this way.
pub(super) fn entry(of: &Attachment, kernel: &KernelView) -> Result<Place, Error> {
    let (means, name) = match of {
        Attachment::Trampoline { name, .. } => (Means::Fentry, name),
        Attachment::KprobeMulti { name, .. } => (Means::KprobeMulti, name),
        Attachment::Kprobe { name, .. } => (Means::Kprobe, name),
        _ => return Err(Error::engine("a return of no function; this is a bug of spile's")),
    };
    let wanted = Wanted { name, moment: Moment::Entry, attach: Attach::Auto, members: 1, kernel_stack: false };
    place(means, &wanted, kernel)
}

fn order(attach: Attach, members: usize) -> &'static [Means] {
    match attach {
        Attach::Auto if members <= FEW => &[Means::Fentry, Means::KprobeMulti, Means::Kprobe],
        Attach::Auto => &[Means::KprobeMulti, Means::Fentry, Means::Kprobe],
        Attach::Fentry => &[Means::Fentry],
        Attach::KprobeMulti => &[Means::KprobeMulti],
        Attach::Kprobe => &[Means::Kprobe],
    }
}

/// Whether a means works here, and for this function.
fn usable(means: Means, wanted: &Wanted<'_>, kernel: &KernelView) -> Result<(), String> {
    kernel.trials().works(means, || kernel.btf())?;
    match means {
        Means::Fentry => {
            let btf = kernel.btf().map_err(|error| error.to_string())?;
            let function = find(&btf, wanted.name).ok_or("the kernel's BTF doesn't describe it")?;
            means::accepts(function.id()).map_err(|error| format!("the kernel gives it no trampoline ({error})"))
        }
        _ if wanted.moment == Moment::Return && wanted.kernel_stack && !kernel.trials().knows_place() => {
            Err("this kernel's kretprobes have no stack that the function is in; leave kstack out".into())
        }
        _ => Ok(()),
    }
}

fn place(means: Means, wanted: &Wanted<'_>, kernel: &KernelView) -> Result<Place, Error> {
    let name = wanted.name.to_owned();
    let is_return = wanted.moment == Moment::Return;
    let btf = kernel.btf().ok();
    let (kind, attachment) = match means {
        Means::Fentry => {
            let function = btf.as_ref().and_then(|btf| find(btf, &name)).map_or(0, |function| function.id());
            let kind = if is_return { ProgramKind::Fexit } else { ProgramKind::Fentry };
            (kind, Attachment::Trampoline { name: name.clone(), function })
        }
        Means::KprobeMulti => (kprobe(is_return), Attachment::KprobeMulti { name: name.clone(), is_return }),
        Means::Kprobe => {
            (kprobe(is_return), Attachment::Kprobe { name: name.clone(), is_return, source: means::pmu()? })
        }
    };
    let view = match (means, REGISTERS) {
        (Means::Fentry, _) => View::Trampoline,
        (_, Some(registers)) => View::Registers(registers),
        (_, None) => return Err(Error::engine("registers of an unknown architecture; this is a bug of spile's")),
    };
    let fields = Box::new(FunctionFields::new(&name, view, wanted.moment, btf)?);
    let name = if is_return { format!("{name}_return") } else { name };
    Ok(Place { kind, fields, attachment, name })
}

fn kprobe(is_return: bool) -> ProgramKind {
    if is_return { ProgramKind::Kretprobe } else { ProgramKind::Kprobe }
}
