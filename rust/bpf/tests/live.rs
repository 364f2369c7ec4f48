//! The thin road, live: a program by hand, into a ring, read back. Counts come from a workload that counts itself.
#![cfg(feature = "kernel")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::os::fd::AsRawFd as _;

use spile_bpf::compile::ProgramKind;
use spile_bpf::kernel::clock;
use spile_bpf::kernel::link::Link;
use spile_bpf::kernel::map::Map;
use spile_bpf::kernel::program::LoadedProgram;
use spile_bpf::kernel::ring::{Pass, Ring};
use spile_core::error::Error;

mod live_support;

const fn insn(opcode: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> u64 {
    opcode as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (offset.cast_unsigned() as u64) << 16
        | (immediate.cast_unsigned() as u64) << 32
}

#[test]
fn records_of_a_program_come_back_complete_and_in_order() {
    if !live_support::can_trace() {
        return;
    }
    let bytes = 1 << 22;
    let ring = Map::ring("live", bytes).unwrap();
    let program = [
        insn(0x85, 0, 0, 0, 5),                     // r0 = bpf_ktime_get_ns()
        insn(0x7b, 10, 0, -16, 0),                  // *(u64 *)(r10 - 16) = r0
        insn(0x85, 0, 0, 0, 14),                    // r0 = bpf_get_current_pid_tgid()
        insn(0x7b, 10, 0, -8, 0),                   // *(u64 *)(r10 - 8) = r0
        insn(0x18, 1, 1, 0, ring.fd().as_raw_fd()), // r1 = the ring
        insn(0, 0, 0, 0, 0),
        insn(0xbf, 2, 10, 0, 0),  // r2 = r10
        insn(0x07, 2, 0, 0, -16), // r2 += -16
        insn(0xb7, 3, 0, 0, 16),  // r3 = 16
        insn(0xb7, 4, 0, 0, 1),   // r4 = BPF_RB_NO_WAKEUP
        insn(0x85, 0, 0, 0, 130), // r0 = bpf_ringbuf_output()
        insn(0xb7, 0, 0, 0, 0),   // r0 = 0
        insn(0x95, 0, 0, 0, 0),   // exit
    ];
    let program = LoadedProgram::load(ProgramKind::RawTracepoint, "live", &program).unwrap();
    let mut reader = Ring::open(&ring, bytes).unwrap();
    let me = live_support::pid_tgid();
    let before = clock::monotonic();
    let link = Link::raw_tracepoint("sys_enter", &program).unwrap();
    const CALLS: usize = 5000;
    live_support::getppid_storm(CALLS);
    drop(link);
    let after = clock::monotonic();

    let mut mine = 0;
    let pass = reader.pass(|record| {
        let words = record.as_chunks::<8>().0;
        let [time, task] = words else { panic!("a record of {} bytes", record.len()) };
        assert!((before..=after).contains(&u64::from_ne_bytes(*time)));
        mine += usize::from(u64::from_ne_bytes(*task) == me);
        true
    });
    assert_eq!(pass, Ok(Pass::Drained));
    // Attaching and detaching make a few calls of their own.
    assert!((CALLS..CALLS + 20).contains(&mine), "{mine} of {CALLS}");
}

#[test]
fn the_verifier_s_log_comes_with_the_error() {
    if !live_support::can_trace() {
        return;
    }
    let program = [insn(0xbf, 0, 5, 0, 0), insn(0x95, 0, 0, 0, 0)];
    let error = LoadedProgram::load(ProgramKind::RawTracepoint, "bad", &program).unwrap_err();
    let Error::Engine { log, .. } = error else { panic!("{error}") };
    assert!(log.contains("R5 !read_ok"), "{log}");
}
