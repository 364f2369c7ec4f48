//! What the live tests share: whether they can run here, and workloads that know their own numbers.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod function;
pub mod session;
pub mod span;
pub mod tables;

use spile_bpf::kernel::map::Map;

/// Whether this process may trace; prints why not.
pub fn can_trace() -> bool {
    match Map::ring("probe", 4096) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            false
        }
    }
}

/// This thread as `bpf_get_current_pid_tgid` spells it.
pub fn pid_tgid() -> u64 {
    u64::from(std::process::id()) << 32 | tid()
}

/// This thread's id.
pub fn tid() -> u64 {
    // SAFETY: gettid reads nothing of ours.
    unsafe { libc::gettid() }.cast_unsigned().into()
}

/// Keeps this thread on the first CPU.
pub fn on_one_cpu() {
    // SAFETY: a set of CPUs is an array of integers, for which all zeroes is a value; the call reads it and no more.
    let outcome = unsafe {
        let mut cpus: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut cpus);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cpus)
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

/// Calls getppid(2) so many times.
pub fn getppid_storm(calls: usize) {
    for _ in 0..calls {
        // SAFETY: getppid reads nothing of ours.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
}

/// Ends a test where nothing can be traced; [`can_trace`] prints why.
#[macro_export]
macro_rules! require_tracing {
    () => {
        if !$crate::live_support::can_trace() {
            return;
        }
    };
}

/// The kernel's functions by address, from /proc/kallsyms.
pub struct KernelNames(Vec<(u64, String)>);

impl KernelNames {
    pub fn read() -> Self {
        let text = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let parse = |line: &str| {
            let mut parts = line.split_whitespace();
            let address = u64::from_str_radix(parts.next()?, 16).ok()?;
            Some((address, parts.nth(1)?.to_owned()))
        };
        let mut names: Vec<(u64, String)> = text.lines().filter_map(parse).filter(|name| name.0 != 0).collect();
        names.sort();
        Self(names)
    }

    /// The function around an address.
    pub fn name(&self, address: u64) -> &str {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        after.checked_sub(1).map_or("?", |index| &self.0[index].1)
    }

    /// Asserts that a stack leads through a function, where addresses have names here.
    pub fn check(&mut self, addresses: &[u64], function: &str) {
        if !self.0.is_empty() {
            let names: Vec<&str> = addresses.iter().map(|&address| self.name(address)).collect();
            assert!(names.iter().any(|name| name.contains(function)), "no {function} in {names:?}");
        }
    }
}
