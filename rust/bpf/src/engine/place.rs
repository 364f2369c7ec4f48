//! Where a program goes. In: a [`Target`]. Out: its fields, the program's kind, and how it is attached.

use std::os::fd::AsFd as _;

use spile_core::error::Error;
use spile_core::spec::{Attach, Expr, PathStep, StackSpace, Target};

use super::kernel_view::KernelView;
use super::{function, shortcut};
use crate::compile::{Fields, NoFields, ProgramKind};
use crate::kernel::fields::{RawTracepointFields, TracepointFields, raw_tracepoints, unknown_raw_tracepoint};
use crate::kernel::function::Moment;
use crate::kernel::function::means::Means;
use crate::kernel::function::owner::Object;
use crate::kernel::program::Purpose;

/// The kernel's limit on timers and the file that says it.
const MAX_RATE: &str = "/proc/sys/kernel/perf_event_max_sample_rate";

/// A target that exists.
pub(super) struct Place {
    pub kind: ProgramKind,
    pub fields: Box<dyn Fields>,
    pub attachment: Attachment,
    /// What its events are called.
    pub name: String,
    /// The means that were passed over, each with its reason.
    pub passed_over: Vec<String>,
}

/// How a program is attached.
#[derive(Debug, Clone)]
pub(super) enum Attachment {
    RawTracepoint {
        name: String,
    },
    Tracepoint {
        name: String,
        id: u64,
    },
    Timer {
        hz: u64,
    },
    /// To a function, by its number in the kernel's types, or in its module's that follow on them.
    Trampoline {
        name: String,
        function: u32,
        module: Option<Object>,
    },
    /// To a function; `source` is the number of perf's kprobe source. With an address the kernel need not look for the name.
    Kprobe {
        name: String,
        is_return: bool,
        source: u32,
        address: Option<u64>,
        has_cookie: bool,
    },
    /// To a function, and with it to others.
    KprobeMulti {
        name: String,
        is_return: bool,
    },
}

impl Attachment {
    /// What its program is loaded for.
    pub(super) fn purpose(&self) -> Purpose<'_> {
        match self {
            Self::Trampoline { function, module, .. } => {
                Purpose::Function { id: *function, module: module.as_ref().map(|module| module.fd.as_fd()) }
            }
            Self::KprobeMulti { .. } => Purpose::Many,
            _ => Purpose::Any,
        }
    }

    /// The function, and the means.
    pub(super) fn function(&self) -> Option<(&str, Means)> {
        match self {
            Self::Trampoline { name, .. } => Some((name, Means::Fentry)),
            Self::KprobeMulti { name, .. } => Some((name, Means::KprobeMulti)),
            Self::Kprobe { name, .. } => Some((name, Means::Kprobe)),
            Self::RawTracepoint { .. } | Self::Tracepoint { .. } | Self::Timer { .. } => None,
        }
    }

    /// Whether its event's id is in a cookie, so that its program serves other places too.
    pub(super) fn has_cookie(&self) -> bool {
        matches!(self, Self::KprobeMulti { .. } | Self::Kprobe { has_cookie: true, .. })
    }
}

/// What a probe wants of its targets' own.
#[derive(Debug, Default)]
pub(super) struct Wants<'a> {
    /// Paths into its fields.
    pub paths: Vec<&'a [PathStep]>,
    /// All of its fields.
    pub everything: bool,
    /// The stack at its place.
    pub kernel_stack: bool,
    /// How functions are to be attached.
    pub attach: Attach,
    /// The number of its targets.
    pub members: usize,
}

impl<'a> Wants<'a> {
    /// Looks over what is computed at the target. What is from a span's start isn't.
    pub(super) fn add(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Field { path } => self.paths.push(path),
            Expr::Stack { space, .. } => self.kernel_stack |= *space == StackSpace::Kernel,
            Expr::Binary { left, right, .. } => {
                self.add(left);
                self.add(right);
            }
            Expr::Unary { operand: inner, .. } | Expr::String { pointer: inner, .. } => self.add(inner),
            Expr::AtStart { .. } | Expr::Context { .. } | Expr::Int { .. } => {}
        }
    }

    /// What another one wants, too.
    pub(super) fn merge(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.attach = other.attach;
        self.members = self.members.max(other.members);
        self.everything |= other.everything;
        self.kernel_stack |= other.kernel_stack;
    }

    /// Whether a path goes on behind a field by name, which only the kernel's types can tell about.
    fn types(&self) -> bool {
        self.paths.iter().any(|path| path.iter().skip(1).any(|step| matches!(step, PathStep::Name(_))))
    }
}

/// Finds a target.
pub(super) fn resolve(target: &Target, wants: &Wants<'_>, kernel: &KernelView) -> Result<Place, Error> {
    match target {
        Target::Tracepoint { category, name } => tracepoint(category, name, wants, kernel),
        Target::RawTracepoint { name } => raw_tracepoint(name, kernel),
        Target::Profile { hz } => profile(*hz),
        Target::Function { name } => function(name, Moment::Entry, wants, kernel),
        Target::FunctionReturn { name } => function(name, Moment::Return, wants, kernel),
    }
}

fn tracepoint(category: &str, name: &str, wants: &Wants<'_>, kernel: &KernelView) -> Result<Place, Error> {
    let tracefs = kernel.tracefs()?;
    let format = tracefs.format(category, name)?;
    if let Some(fields) = shortcut::find(category, name, wants, kernel) {
        return Ok(Place {
            kind: ProgramKind::RawTracepoint,
            fields: Box::new(fields),
            attachment: Attachment::RawTracepoint { name: name.into() },
            name: name.into(),
            passed_over: Vec::new(),
        });
    }
    let btf = match wants.types() {
        true => Some(kernel.btf()?),
        // Only for the names of its values, which an event can do without.
        false if format.contains("field:enum ") => kernel.btf().ok(),
        false => None,
    };
    let spelled = format!("{category}:{name}");
    Ok(Place {
        kind: ProgramKind::Tracepoint,
        fields: Box::new(TracepointFields::new(format!("tracepoint:{spelled}"), &format, btf)),
        attachment: Attachment::Tracepoint { id: tracefs.id(category, name)?, name: spelled },
        name: name.into(),
        passed_over: Vec::new(),
    })
}

fn raw_tracepoint(name: &str, kernel: &KernelView) -> Result<Place, Error> {
    // Without BTF there are numbered arguments, and whether the tracepoint exists shows when it is attached.
    let btf = kernel.btf().ok();
    let fields = RawTracepointFields::new(name, btf.clone());
    let fields = fields
        .ok_or_else(|| unknown_raw_tracepoint(name, &btf.map(|btf| raw_tracepoints(&btf)).unwrap_or_default()))?;
    Ok(Place {
        kind: ProgramKind::RawTracepoint,
        fields: Box::new(fields),
        attachment: Attachment::RawTracepoint { name: name.into() },
        name: name.into(),
        passed_over: Vec::new(),
    })
}

fn function(name: &str, moment: Moment, wants: &Wants<'_>, kernel: &KernelView) -> Result<Place, Error> {
    let Wants { attach, members, kernel_stack, .. } = *wants;
    function::resolve(&function::Wanted { name, moment, attach, members, kernel_stack }, kernel)
}

fn profile(hz: u64) -> Result<Place, Error> {
    let most = std::fs::read_to_string(MAX_RATE).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let most = most.unwrap_or(u64::MAX);
    if hz == 0 || hz > most {
        return Err(Error::spec("hz", format!("a timer of {hz} Hz: from 1 to {most} are possible ({MAX_RATE})")));
    }
    Ok(Place {
        kind: ProgramKind::PerfEvent,
        fields: Box::new(NoFields),
        attachment: Attachment::Timer { hz },
        name: "profile".into(),
        passed_over: Vec::new(),
    })
}
