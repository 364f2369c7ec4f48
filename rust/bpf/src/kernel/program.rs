//! Programs. In: code whose map references are descriptors. Out: a loaded program, or the verifier's own account.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya_obj::generated::{bpf_attach_type, bpf_prog_info, bpf_prog_type};
use spile_core::error::Error;

use super::sys::bpf::{self, ProgramShape};
use super::{descriptors, privilege};
use crate::compile::ProgramKind;

/// The first size of a log; it grows until the verifier has said everything.
const LOG_SIZE: usize = 64 << 10;
const LOG_LIMIT: usize = 16 << 20;

/// What a program is loaded for.
#[derive(Debug, Clone, Copy, Default)]
pub enum Purpose<'a> {
    /// Whatever its kind can be attached to.
    #[default]
    Any,
    /// The function of this number in the kernel's types, or in a module's that follow on them.
    Function {
        /// Its number.
        id: u32,
        /// The module's types.
        module: Option<BorrowedFd<'a>>,
    },
    /// Many functions by one link.
    Many,
}

/// A program in the kernel. It ends with the last of its links and this.
#[derive(Debug)]
pub struct LoadedProgram {
    fd: OwnedFd,
    name: String,
}

impl LoadedProgram {
    /// Loads without a log, for that is much quicker; refused, it tries again with one.
    pub fn load(kind: ProgramKind, name: &str, insns: &[u64]) -> Result<Self, Error> {
        Self::load_for(kind, Purpose::Any, name, insns)
    }

    /// The same, for a purpose that the kernel wants to know.
    pub fn load_for(kind: ProgramKind, purpose: Purpose<'_>, name: &str, insns: &[u64]) -> Result<Self, Error> {
        match Self::try_load(kind, purpose, name, insns) {
            Ok(program) => Ok(program),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                Err(privilege::missing(&format!("loading the program {name}")))
            }
            Err(error) if let Some(reason) = descriptors::used_up(&error) => {
                Err(Error::engine(format!("loading the program {name}: {reason}")))
            }
            Err(error) => Err(Error::Engine {
                message: format!(
                    "the kernel refused the program {name} ({error}); this is a bug of spile's, please report it with the log"
                ),
                log: account(&shape(kind, purpose, name, insns)),
            }),
        }
    }

    /// The same, and the kernel's answer as it is.
    pub fn try_load(kind: ProgramKind, purpose: Purpose<'_>, name: &str, insns: &[u64]) -> io::Result<Self> {
        let fd = bpf::load_program(&shape(kind, purpose, name, insns), None)?;
        Ok(Self { fd, name: name.into() })
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number in the kernel's list.
    pub fn id(&self) -> Result<u32, Error> {
        self.info().map(|info| info.id)
    }

    fn info(&self) -> Result<bpf_prog_info, Error> {
        bpf::program_info(self.fd())
            .map_err(|error| Error::engine(format!("asking after the program {}: {error}", self.name)))
    }

    /// How often the kernel did not run it, because it was running on that CPU already. 0 where the kernel (before
    /// 5.12) doesn't say.
    pub fn recursion_misses(&self) -> Result<u64, Error> {
        self.info().map(|info| info.recursion_misses)
    }

    /// Nanoseconds that it has run while the kernel counted ([`count_run_times`]).
    pub fn run_time(&self) -> Result<u64, Error> {
        self.info().map(|info| info.run_time_ns)
    }
}

/// Lets the kernel count every program's time, as long as the descriptor is open.
pub fn count_run_times() -> Result<OwnedFd, Error> {
    bpf::enable_statistics().map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => Error::Privilege {
            message:
                "max_overhead= needs CAP_SYS_ADMIN: for that alone the kernel counts the time of programs; leave it out"
                    .into(),
        },
        _ => Error::engine(format!("letting the kernel count the time of programs: {error}")),
    })
}

fn shape<'a>(kind: ProgramKind, purpose: Purpose<'a>, name: &'a str, insns: &'a [u64]) -> ProgramShape<'a> {
    let (kind, expected) = match (kind, purpose) {
        (ProgramKind::RawTracepoint, _) => (bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT, None),
        (ProgramKind::Tracepoint, _) => (bpf_prog_type::BPF_PROG_TYPE_TRACEPOINT, None),
        (ProgramKind::PerfEvent, _) => (bpf_prog_type::BPF_PROG_TYPE_PERF_EVENT, None),
        (ProgramKind::Fentry, _) => (bpf_prog_type::BPF_PROG_TYPE_TRACING, Some(bpf_attach_type::BPF_TRACE_FENTRY)),
        (ProgramKind::Fexit, _) => (bpf_prog_type::BPF_PROG_TYPE_TRACING, Some(bpf_attach_type::BPF_TRACE_FEXIT)),
        (ProgramKind::Kprobe | ProgramKind::Kretprobe, Purpose::Many) => {
            (bpf_prog_type::BPF_PROG_TYPE_KPROBE, Some(bpf_attach_type::BPF_TRACE_KPROBE_MULTI))
        }
        (ProgramKind::Kprobe | ProgramKind::Kretprobe, _) => (bpf_prog_type::BPF_PROG_TYPE_KPROBE, None),
    };
    let (function, module) = if let Purpose::Function { id, module } = purpose { (id, module) } else { (0, None) };
    ProgramShape { kind, expected, function, module, name, insns }
}

/// The verifier's account of a program that it refuses.
fn account(shape: &ProgramShape<'_>) -> String {
    let mut log = vec![0; LOG_SIZE];
    loop {
        let error = bpf::load_program(shape, Some(&mut log)).err().and_then(|error| error.raw_os_error());
        if error != Some(libc::ENOSPC) || log.len() >= LOG_LIMIT {
            break;
        }
        log = vec![0; log.len() * 4];
    }
    let length = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..length]).into_owned()
}

/// The numbers of all programs in the kernel, this process's and others'.
pub fn ids() -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    while let Some(id) = bpf::next_program(ids.last().copied().unwrap_or(0))
        .map_err(|error| Error::engine(format!("listing the kernel's programs: {error}")))?
    {
        ids.push(id);
    }
    Ok(ids)
}

/// Lets maps of any size be made on kernels before 5.11, which count them against `RLIMIT_MEMLOCK`.
pub fn unlimit_locked_memory() -> io::Result<()> {
    super::sys::call(super::sys::Syscall::UnlimitLockedMemory).map(drop)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::super::sys::{Syscall, fake};
    use super::*;

    #[test]
    fn a_refusal_is_tried_again_with_a_log() {
        let tries = Rc::new(Cell::new(0));
        let seen = Rc::clone(&tries);
        let kernel = move |syscall: Syscall<'_>| {
            let Syscall::Bpf { attr, .. } = syscall else { panic!("only bpf(2) is called") };
            // SAFETY: all are integers.
            let part = unsafe { attr.__bindgen_anon_3 };
            seen.set(seen.get() + 1);
            if part.log_size > 0 {
                // SAFETY: the caller gave a buffer of `log_size` bytes.
                unsafe { std::ptr::copy_nonoverlapping(c"R1 !read_ok".as_ptr(), part.log_buf as *mut _, 12) };
                if part.log_size < 256 << 10 {
                    return fake::errno(libc::ENOSPC);
                }
            }
            fake::errno(libc::EACCES)
        };
        let error = fake::with(kernel, || LoadedProgram::load(ProgramKind::RawTracepoint, "x", &[0])).unwrap_err();
        let Error::Engine { log, message } = error else { panic!("{error}") };
        assert_eq!((log.as_str(), tries.get()), ("R1 !read_ok", 3));
        assert!(message.contains("a bug of spile's"), "{message}");
    }

    #[test]
    fn eperm_is_a_privilege_error() {
        let load = || LoadedProgram::load(ProgramKind::PerfEvent, "x", &[0]);
        let error = fake::with(|_| fake::errno(libc::EPERM), load).unwrap_err();
        assert!(matches!(error, Error::Privilege { .. }), "{error}");
    }
}
