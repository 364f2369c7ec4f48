//! perf_event_open(2), for the two kinds of event that carry programs.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use aya_obj::generated::{PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, perf_sw_ids, perf_type_id};

use super::{Syscall, call, call_for_fd};

/// `struct perf_event_attr` as of its second version, `PERF_ATTR_SIZE_VER1`: every kernel knows it, and it suffices.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "each field is the manual page's")]
pub struct EventAttr {
    pub kind: u32,
    pub size: u32,
    pub config: u64,
    pub sample_period_or_frequency: u64,
    pub sample_type: u64,
    pub read_format: u64,
    pub flags: u64,
    pub wakeup_events: u32,
    pub breakpoint_type: u32,
    pub config1: u64,
    pub config2: u64,
}

/// `perf_event_attr.freq`: the period is a frequency.
const FLAG_FREQUENCY: u64 = 1 << 10;

/// Opens a tracepoint by the number in its `id` file, for all tasks; on which CPU makes no difference to a program.
pub fn open_tracepoint(id: u64) -> io::Result<OwnedFd> {
    open(
        EventAttr {
            kind: perf_type_id::PERF_TYPE_TRACEPOINT as u32,
            config: id,
            sample_period_or_frequency: 1,
            ..EventAttr::default()
        },
        0,
    )
}

/// Opens a timer on one CPU that fires `hz` times in a second.
pub fn open_timer(hz: u64, cpu: i32) -> io::Result<OwnedFd> {
    open(
        EventAttr {
            kind: perf_type_id::PERF_TYPE_SOFTWARE as u32,
            config: perf_sw_ids::PERF_COUNT_SW_CPU_CLOCK as u64,
            sample_period_or_frequency: hz,
            flags: FLAG_FREQUENCY,
            ..EventAttr::default()
        },
        cpu,
    )
}

/// Where a probe goes.
#[derive(Debug, Clone, Copy)]
pub enum Spot<'a> {
    /// To a function, for which the kernel looks through its symbols (before 60443c88f3a8: through all of them).
    Name(&'a CStr),
    /// To where a function begins.
    Address(u64),
}

/// Opens a probe on a kernel function's entry or return; `kind` is the number of perf's kprobe source.
pub fn open_kprobe(kind: u32, spot: Spot<'_>, is_return: bool) -> io::Result<OwnedFd> {
    // Bit 0 has been `retprobe` since the source exists (e12f03d7031a).
    let config = u64::from(is_return);
    let (config1, config2) = match spot {
        Spot::Name(function) => (function.as_ptr() as u64, 0),
        Spot::Address(address) => (0, address),
    };
    open(EventAttr { kind, config, config1, config2, ..EventAttr::default() }, 0)
}

fn open(mut attr: EventAttr, cpu: i32) -> io::Result<OwnedFd> {
    attr.size = size_of::<EventAttr>() as u32;
    call_for_fd(Syscall::PerfEventOpen { attr: &attr, pid: -1, cpu })
}

/// Lets an event run a program, and starts it.
pub fn attach(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    call(Syscall::PerfEventIoctl { fd: event, request: PERF_EVENT_IOC_SET_BPF, argument: program.as_raw_fd() })?;
    enable(event)
}

/// Starts an event.
pub fn enable(event: BorrowedFd<'_>) -> io::Result<()> {
    call(Syscall::PerfEventIoctl { fd: event, request: PERF_EVENT_IOC_ENABLE, argument: 0 }).map(drop)
}
