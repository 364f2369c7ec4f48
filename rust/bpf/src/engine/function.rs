//! A function as a place for a program. In: its name, entry or return, and how it is to be attached. Out: a [`Place`], by
//! the means that was asked for or else by the best that works here for this function.

use std::os::fd::AsFd as _;

use spile_core::error::Error;
use spile_core::spec::Attach;

use super::kernel_view::KernelView;
use super::place::{Attachment, Place};
use crate::compile::{ProgramKind, REGISTERS};
use crate::kernel::function::means::{self, Means};
use crate::kernel::function::owner::Found;
use crate::kernel::function::{FunctionFields, Moment, View, reason};

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
    let found = kernel.function(wanted.name)?;
    let mut passed_over = Vec::new();
    for &means in order(wanted.attach, wanted.members) {
        match usable(means, wanted, &found, kernel) {
            Ok(()) => return Ok(Place { passed_over, ..place(means, wanted, &found, kernel)? }),
            Err(why) => passed_over.push(format!("{means}: {why}")),
        }
    }
    Err(impossible(wanted, &found, &passed_over.join("; "), kernel))
}

/// The error for a function that no means does for. Where attaching to it was tried, the kernel's lists may know why.
fn impossible(wanted: &Wanted<'_>, found: &Found, reasons: &str, kernel: &KernelView) -> Error {
    let is_refused = |&means: &Means| kernel.refusal(&found.spelled(), means).is_some();
    let was_tried = order(wanted.attach, wanted.members).iter().any(is_refused);
    let spelled = if wanted.moment == Moment::Entry { "function" } else { "function_return" };
    match was_tried.then(|| reason::explain(wanted.name, None, kernel.tracefs().ok())) {
        Some(Error::ProbeNotFound { message }) => Error::ProbeNotFound { message: format!("{message} ({reasons})") },
        _ => Error::Unsupported { message: format!("{spelled}:{} can't be probed here: {reasons}", wanted.name) },
    }
}

/// The entry of a function whose return is attached in this way.
pub(super) fn entry(of: &Attachment, members: usize, kernel: &KernelView) -> Result<Place, Error> {
    let (name, means) =
        of.function().ok_or_else(|| Error::engine("a return of no function; this is a bug of spile's"))?;
    let wanted =
        Wanted { name, moment: Moment::Entry, attach: Attach::Auto, members: members.max(1), kernel_stack: false };
    place(means, &wanted, &kernel.function(name)?, kernel)
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
fn usable(means: Means, wanted: &Wanted<'_>, found: &Found, kernel: &KernelView) -> Result<(), String> {
    if let Some(why) = kernel.refusal(&found.spelled(), means) {
        return Err(why);
    }
    kernel.trials().works(means, || kernel.btf())?;
    match means {
        Means::Fentry => {
            let types = found.types.as_ref().ok_or("BTF doesn't describe it")?;
            let module = kernel.object(found).map_err(|error| error.to_string())?;
            means::accepts(types.id, module.as_ref().map(|module| module.fd.as_fd()))
                .map_err(|error| format!("the kernel gives it no trampoline ({error})"))
        }
        _ if wanted.moment == Moment::Return && wanted.kernel_stack && !kernel.trials().knows_place() => {
            Err("this kernel's kretprobes have no stack that the function is in; leave kstack out".into())
        }
        _ => Ok(()),
    }
}

fn place(means: Means, wanted: &Wanted<'_>, found: &Found, kernel: &KernelView) -> Result<Place, Error> {
    let name = found.spelled();
    let is_return = wanted.moment == Moment::Return;
    let (kind, attachment) = match means {
        Means::Fentry => {
            let function = found.types.as_ref().map_or(0, |types| types.id);
            let kind = if is_return { ProgramKind::Fexit } else { ProgramKind::Fentry };
            (kind, Attachment::Trampoline { name, function, module: kernel.object(found)? })
        }
        Means::KprobeMulti => (kprobe(is_return), Attachment::KprobeMulti { name, is_return }),
        Means::Kprobe => {
            let (source, has_cookie) = (means::pmu()?, kernel.trials().has_cookies());
            // Reading all symbols takes longer than the kernel takes for some.
            let address = if wanted.members > FEW { kernel.address(found) } else { None };
            (kprobe(is_return), Attachment::Kprobe { name, is_return, source, address, has_cookie })
        }
    };
    let view = match (means, REGISTERS) {
        (Means::Fentry, _) => View::Trampoline,
        (_, Some(registers)) => View::Registers(registers),
        (_, None) => return Err(Error::engine("registers of an unknown architecture; this is a bug of spile's")),
    };
    let fields = Box::new(FunctionFields::new(found, view, wanted.moment)?);
    let name = if is_return { format!("{}_return", found.name) } else { found.name.clone() };
    Ok(Place { kind, fields, attachment, name, passed_over: Vec::new() })
}

fn kprobe(is_return: bool) -> ProgramKind {
    if is_return { ProgramKind::Kretprobe } else { ProgramKind::Kprobe }
}
