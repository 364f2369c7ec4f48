//! Links: what ties a program to a place. Dropping one detaches.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use spile_core::error::Error;

use super::program::LoadedProgram;
use super::sys::bpf::{self, Counting};
use super::sys::perf::{self, Spot};
use super::{descriptors, privilege};

/// A function for a kprobe.
#[derive(Debug, Clone, Copy)]
pub struct KprobeAt<'a> {
    /// The number of perf's kprobe source.
    pub source: u32,
    /// Its name, which the kernel looks for where there is no address.
    pub function: &'a str,
    /// Where it begins.
    pub address: Option<u64>,
    /// Whether it is probed at its return.
    pub is_return: bool,
}

/// A program's attachment.
#[derive(Debug)]
pub struct Link {
    fds: Vec<OwnedFd>,
    is_slow: bool,
    /// Where the first descriptor is a link that counts what it misses, how it is asked.
    counting: Option<Counting>,
}

impl Link {
    fn new(fds: Vec<OwnedFd>) -> Self {
        Self { fds, is_slow: false, counting: None }
    }

    /// Whether it can have a cookie.
    pub fn has_cookie(&self) -> bool {
        self.counting.is_some()
    }

    /// Whether the kernel takes its time to detach it.
    pub fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Detaches without waiting for it.
    pub fn drop_later(self) {
        drop_later(vec![self]);
    }

    /// How often the kernel came by and ran no program. `None` where it doesn't say.
    pub fn misses(&self) -> Option<u64> {
        bpf::link_misses(self.fds.first()?.as_fd(), self.counting?).ok()?
    }

    /// To the function that the program was loaded for.
    pub fn trampoline(program: &LoadedProgram) -> io::Result<Self> {
        let link = bpf::open_trampoline(program.fd())?;
        Ok(Self { is_slow: true, ..Self::new(vec![link]) })
    }

    /// To many functions, each with a cookie that the program can ask for.
    pub fn kprobe_multi(functions: &[(&str, u64)], is_return: bool, program: &LoadedProgram) -> io::Result<Self> {
        let names = functions.iter().map(|(name, _)| CString::new(*name)).collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let cookies: Vec<u64> = functions.iter().map(|(_, cookie)| *cookie).collect();
        let link = bpf::link_kprobe_multi(program.fd(), &pointers, &cookies, is_return)?;
        Ok(Self { fds: vec![link], is_slow: true, counting: Some(Counting::Many) })
    }

    /// To a function by a kprobe, with a cookie that the program can ask for.
    pub fn kprobe(at: &KprobeAt<'_>, cookie: u64, program: &LoadedProgram) -> io::Result<Self> {
        let name = CString::new(at.function)?;
        let spot = at.address.map_or(Spot::Name(&name), Spot::Address);
        let event = perf::open_kprobe(at.source, spot, at.is_return)?;
        match bpf::link_perf_event(program.fd(), event.as_fd(), cookie) {
            Ok(link) => {
                perf::enable(event.as_fd())?;
                Ok(Self { fds: vec![link, event], is_slow: true, counting: Some(Counting::Kprobe) })
            }
            // Before 5.15 there are no such links, no cookies, and nobody counts misses.
            Err(_) => {
                perf::attach(event.as_fd(), program.fd())?;
                Ok(Self { is_slow: true, ..Self::new(vec![event]) })
            }
        }
    }

    /// To a tracepoint's raw arguments.
    pub fn raw_tracepoint(name: &str, program: &LoadedProgram) -> Result<Self, Error> {
        let text = CString::new(name).map_err(|_| not_there(name))?;
        match bpf::open_raw_tracepoint(&text, program.fd()) {
            Ok(fd) => Ok(Self::new(vec![fd])),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(not_there(name)),
            Err(error) => Err(refused(&format!("attaching to raw_tracepoint:{name}"), &error)),
        }
    }

    /// To a tracepoint by the number in its `id` file.
    pub fn tracepoint(name: &str, id: u64, program: &LoadedProgram) -> Result<Self, Error> {
        let what = format!("attaching to tracepoint:{name}");
        let event = perf::open_tracepoint(id).map_err(|error| refused(&what, &error))?;
        perf::attach(event.as_fd(), program.fd()).map_err(|error| refused(&what, &error))?;
        Ok(Self { is_slow: true, ..Self::new(vec![event]) })
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
        Ok(Self::new(fds))
    }
}

/// Drops links, on a thread of its own if the kernel takes its time: it waits for grace periods, and nobody else has to.
pub fn drop_later(links: Vec<Link>) {
    if links.iter().any(Link::is_slow) {
        // Without a thread it just takes longer: what the closure holds is dropped here and now.
        let _ = std::thread::Builder::new().name("spile-detach".into()).spawn(move || drop(links));
    }
}

fn not_there(name: &str) -> Error {
    Error::ProbeNotFound { message: format!("this kernel has no raw tracepoint {name}") }
}

fn refused(what: &str, error: &io::Error) -> Error {
    if let Some(reason) = descriptors::used_up(error) {
        return Error::engine(format!("{what}: {reason}"));
    }
    match error.raw_os_error() {
        // perf answers EACCES where perf_event_paranoid forbids it.
        Some(libc::EPERM | libc::EACCES) => privilege::missing(what),
        Some(libc::EINVAL) => Error::engine(format!(
            "{what}: {error}; the rate may exceed /proc/sys/kernel/perf_event_max_sample_rate, or the program reads \
             behind the event's record"
        )),
        _ => Error::engine(format!("{what}: {error}")),
    }
}
