//! Links: what ties a program to a place. Dropping one detaches.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use spile_core::error::Error;

use super::privilege;
use super::program::LoadedProgram;
use super::sys::{bpf, perf};

/// A program's attachment.
#[derive(Debug)]
pub struct Link {
    _fds: Vec<OwnedFd>,
    is_slow: bool,
}

impl Link {
    /// Whether the kernel takes its time to detach it.
    pub fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// To a tracepoint's raw arguments.
    pub fn raw_tracepoint(name: &str, program: &LoadedProgram) -> Result<Self, Error> {
        let text = CString::new(name).map_err(|_| not_there(name))?;
        match bpf::open_raw_tracepoint(&text, program.fd()) {
            Ok(fd) => Ok(Self { _fds: vec![fd], is_slow: false }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(not_there(name)),
            Err(error) => Err(refused(&format!("attaching to raw_tracepoint:{name}"), &error)),
        }
    }

    /// To a tracepoint by the number in its `id` file.
    pub fn tracepoint(name: &str, id: u64, program: &LoadedProgram) -> Result<Self, Error> {
        let what = format!("attaching to tracepoint:{name}");
        let event = perf::open_tracepoint(id).map_err(|error| refused(&what, &error))?;
        perf::attach(event.as_fd(), program.fd()).map_err(|error| refused(&what, &error))?;
        Ok(Self { _fds: vec![event], is_slow: true })
    }

    /// To a timer on each of `cpus`.
    pub fn timer(hz: u64, cpus: &[u32], program: &LoadedProgram) -> Result<Self, Error> {
        let what = format!("starting a timer of {hz} Hz");
        let mut fds = Vec::with_capacity(cpus.len());
        for &cpu in cpus {
            let cpu = i32::try_from(cpu).map_err(|_| Error::engine(format!("{what}: CPU {cpu}")))?;
            let event = perf::open_timer(hz, cpu).map_err(|error| refused(&what, &error))?;
            perf::attach(event.as_fd(), program.fd()).map_err(|error| refused(&what, &error))?;
            fds.push(event);
        }
        Ok(Self { _fds: fds, is_slow: false })
    }
}

fn not_there(name: &str) -> Error {
    Error::ProbeNotFound { message: format!("this kernel has no raw tracepoint {name}") }
}

fn refused(what: &str, error: &io::Error) -> Error {
    match error.raw_os_error() {
        // perf answers EACCES where perf_event_paranoid forbids it.
        Some(libc::EPERM | libc::EACCES) => privilege::missing(what),
        Some(libc::EMFILE) => Error::engine(format!("{what}: no descriptor is left; raise `ulimit -n`")),
        Some(libc::EINVAL) => Error::engine(format!(
            "{what}: {error}; the rate may exceed /proc/sys/kernel/perf_event_max_sample_rate, or the program reads \
             behind the event's record"
        )),
        _ => Error::engine(format!("{what}: {error}")),
    }
}
