//! What the live tests share: whether they can run here, and workloads that know their own numbers.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod session;

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

/// Calls getppid(2) so many times.
pub fn getppid_storm(calls: usize) {
    for _ in 0..calls {
        // SAFETY: getppid reads nothing of ours.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
}
