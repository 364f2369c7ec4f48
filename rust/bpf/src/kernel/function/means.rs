//! By which means functions can be probed here. In: nothing but the running kernel. Out: for each means whether it works,
//! or why not. Each is tried on a function that is seldom called; no version is asked for.

use std::cell::OnceCell;
use std::fmt;
use std::os::fd::BorrowedFd;

use spile_core::error::Error;

use super::super::btf::Btf;
use super::super::link::{KprobeAt, Link};
use super::super::privilege;
use super::super::program::{LoadedProgram, Purpose};
use crate::compile::{ProgramKind, REGISTERS};

/// `r0 = 0; exit`.
const NOTHING: [u64; 2] = [0xb7, 0x95];
/// `call bpf_get_func_ip; r0 = 0; exit`.
const WHERE: [u64; 3] = [0xad << 32 | 0x85, 0xb7, 0x95];
/// `call bpf_get_attach_cookie; r0 = 0; exit`.
const COOKIE: [u64; 3] = [0xae << 32 | 0x85, 0xb7, 0x95];
/// A function of every kernel that is seldom called.
pub const TRIAL: &str = "vfs_mkdir";
/// Where perf says under which number it knows kprobes.
const PMU: &str = "/sys/bus/event_source/devices/kprobe/type";

/// A way to attach to a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// A trampoline at the function: fentry and fexit.
    Fentry,
    /// Many functions by one link.
    KprobeMulti,
    /// A kprobe or a kretprobe for each function.
    Kprobe,
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fentry => "fentry",
            Self::KprobeMulti => "kprobe_multi",
            Self::Kprobe => "kprobe",
        })
    }
}

/// What has been tried so far.
#[derive(Debug, Default)]
pub struct Trials {
    fentry: OnceCell<Result<(), String>>,
    multi: OnceCell<Result<(), String>>,
    kprobe: OnceCell<Result<(), String>>,
    place: OnceCell<bool>,
    counts: OnceCell<bool>,
    cookies: OnceCell<bool>,
}

impl Trials {
    /// Nothing if the means works here, else why it doesn't. `btf` is asked for only where it is needed.
    pub fn works(&self, means: Means, btf: impl FnOnce() -> Result<std::rc::Rc<Btf>, Error>) -> Result<(), String> {
        let trial = match means {
            Means::Fentry => self.fentry.get_or_init(|| btf().and_then(|btf| fentry(&btf)).map_err(|e| told(&e))),
            Means::KprobeMulti => self.multi.get_or_init(|| multi().map_err(|error| told(&error))),
            Means::Kprobe => self.kprobe.get_or_init(|| kprobe().map_err(|error| told(&error))),
        };
        trial.clone()
    }

    /// Whether the kernel says how many returns it missed: a kretprobe has room for so many calls at once, and no more.
    pub fn counts_missed_returns(&self) -> bool {
        *self.counts.get_or_init(|| asked(true, |link| link.misses().is_some()))
    }

    /// Whether each of a program's kprobes can have a cookie, by which it tells them apart.
    pub fn has_cookies(&self) -> bool {
        let tried = || LoadedProgram::load(ProgramKind::Kprobe, "spile_trial", &COOKIE).is_ok();
        *self.cookies.get_or_init(|| tried() && asked(false, Link::has_cookie))
    }

    /// Whether a kprobe's program can ask which function it is at (since 9b99edcae5c8).
    pub fn knows_place(&self) -> bool {
        *self.place.get_or_init(|| LoadedProgram::load(ProgramKind::Kprobe, "spile_trial", &WHERE).is_ok())
    }
}

#[cfg(test)]
impl Trials {
    /// As on a kernel that has every means, for tests of what comes before anything is loaded.
    pub(crate) fn pretended() -> Self {
        let works = || OnceCell::from(Ok(()));
        let known = || OnceCell::from(true);
        Self { fentry: works(), multi: works(), kprobe: works(), place: known(), counts: known(), cookies: known() }
    }
}

fn told(error: &Error) -> String {
    error.to_string()
}

/// A trampoline.
pub fn fentry(btf: &Btf) -> Result<(), Error> {
    let function = super::find(btf, TRIAL);
    let function = function.ok_or_else(|| Error::engine(format!("the kernel's types have no function {TRIAL}")))?;
    let purpose = Purpose::Function { id: function.id(), module: None };
    let program = LoadedProgram::try_load(ProgramKind::Fentry, purpose, "spile_trial", &NOTHING)
        .map_err(|error| refused("loading a program", &error))?;
    Link::trampoline(&program).map(Link::drop_later).map_err(|error| refused(&format!("attaching to {TRIAL}"), &error))
}

/// Whether the kernel takes a program for the trampoline of this function, the kernel's or a module's.
pub fn accepts(id: u32, module: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
    let purpose = Purpose::Function { id, module };
    LoadedProgram::try_load(ProgramKind::Fentry, purpose, "spile_trial", &NOTHING).map(drop)
}

/// One link.
pub fn multi() -> Result<(), Error> {
    conventional()?;
    let program = LoadedProgram::try_load(ProgramKind::Kprobe, Purpose::Many, "spile_trial", &NOTHING)
        .map_err(|error| refused("loading a program", &error))?;
    let link = Link::kprobe_multi(&[(TRIAL, 0)], false, &program);
    link.map(Link::drop_later).map_err(|error| refused(&format!("attaching to {TRIAL}"), &error))
}

/// A kprobe.
pub fn kprobe() -> Result<(), Error> {
    attached_kprobe(false).map(Link::drop_later)
}

/// What a kprobe's link says of itself.
fn asked(is_return: bool, question: impl FnOnce(&Link) -> bool) -> bool {
    attached_kprobe(is_return).is_ok_and(|link| {
        let answer = question(&link);
        link.drop_later();
        answer
    })
}

fn attached_kprobe(is_return: bool) -> Result<Link, Error> {
    conventional()?;
    let pmu = pmu()?;
    let program = LoadedProgram::try_load(ProgramKind::Kprobe, Purpose::Any, "spile_trial", &NOTHING)
        .map_err(|error| refused("loading a program", &error))?;
    let link = Link::kprobe(&KprobeAt { source: pmu, function: TRIAL, address: None, is_return }, 0, &program);
    link.map_err(|error| refused(&format!("attaching to {TRIAL}"), &error))
}

/// The number under which perf knows kprobes.
pub fn pmu() -> Result<u32, Error> {
    let text = std::fs::read_to_string(PMU).map_err(|error| Error::Unsupported {
        message: format!(
            "perf has no kprobes here ({PMU}: {error}): the kernel was built without CONFIG_KPROBE_EVENTS"
        ),
    })?;
    text.trim().parse().map_err(|_| Error::engine(format!("{PMU} says {text:?}")))
}

fn conventional() -> Result<(), Error> {
    let unknown = || Error::Unsupported { message: "this architecture's registers aren't known to spile".into() };
    REGISTERS.map(drop).ok_or_else(unknown)
}

fn refused(what: &str, error: &std::io::Error) -> Error {
    let why = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if privilege::missing_from(privilege::own()).is_empty() => {
            format!("{what} is not permitted ({error}): {}", forbidden())
        }
        Some(libc::EPERM | libc::EACCES) => return privilege::missing(what),
        _ => format!("{what}: {error}"),
    };
    Error::Unsupported { message: why }
}

/// Who forbids what the capabilities allow.
fn forbidden() -> String {
    match privilege::lockdown() {
        Some(mode) if mode != "none" => format!("the kernel is locked down ({mode})"),
        Some(_) => {
            "the kernel is not locked down; a security module or a container's seccomp profile forbids it".into()
        }
        None => "the kernel's lockdown, a security module or a container's seccomp profile forbids it".into(),
    }
}
