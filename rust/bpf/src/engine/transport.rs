//! Which rings records travel by. In: a spec, and the machine. Out: mapped rings, made, where they are wanted and work.
//!
//! Records of fixed size travel by a mapped ring: reserving in it costs less, and they are smaller. All others, and stacks'
//! definitions, travel by BPF ring buffers. Neither is asked of a version: each is tried.

use spile_core::error::Error;
use spile_core::spec::{SessionSpec, Transport};

use crate::compile::{MappedRings, ProgramKind};
use crate::kernel::map::Map;
use crate::kernel::program::LoadedProgram;

/// `r1 = 0; *(u64 *)(r10 - 8) = r1; r0 = 0; r2 = 1; r0 = cmpxchg(r10 - 8, r0, r2); r0 = 0; exit`.
const EXCHANGE: [u64; 7] = [0x1b7, 0xfff8_1a7b, 0xb7, 0x1_0000_02b7, 0xf1_fff8_2adb, 0xb7, 0x95];
/// Smaller rings aren't worth a try.
const LEAST: u32 = 4096;

/// The mapped rings of a session.
pub(super) struct Mapped {
    pub map: Map,
    pub rings: MappedRings,
}

/// Makes them, of the largest size up to `buffer=` that the kernel allows; none where something speaks against them.
pub(super) fn mapped(spec: &SessionSpec, cpus: u32) -> Result<Option<Mapped>, Error> {
    match (spec.limits.transport, made(spec, cpus)) {
        (Transport::Ringbuf, _) => Ok(None),
        (_, Ok(mapped)) => Ok(Some(mapped)),
        (Transport::Auto, Err(_)) => Ok(None),
        (Transport::Mapped, Err(why)) => {
            Err(Error::Unsupported { message: format!("transport=\"mapped\": {why}; \"auto\" takes what works") })
        }
    }
}

fn made(spec: &SessionSpec, cpus: u32) -> Result<Mapped, String> {
    if spec.limits.transport == Transport::Ringbuf {
        return Err("another was asked for".into());
    }
    if !cfg!(target_arch = "x86_64") {
        return Err("it relies on the order in which an x86-64 processor's stores are seen".into());
    }
    LoadedProgram::load(ProgramKind::RawTracepoint, "spile_trial", &EXCHANGE)
        .map_err(|error| format!("this kernel's programs have no compare-and-exchange ({error})"))?;
    let mut bytes = u32::try_from(spec.limits.buffer).unwrap_or(1 << 30);
    loop {
        let rings = MappedRings::new(bytes, cpus);
        let map = rings.map(|rings| Map::mapped("spile_mapped", rings.size()).map(|map| Mapped { map, rings }));
        match map {
            Some(Ok(mapped)) => return Ok(mapped),
            _ if bytes > LEAST => bytes /= 2,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err(format!("{cpus} CPUs' rings have no room in one map")),
        }
    }
}
