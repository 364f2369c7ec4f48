//! Features that are tried: a program that does nothing is loaded and, for a moment, attached.

use spile_core::error::Error;

use super::Feature;
use crate::compile::ProgramKind;
use crate::kernel::btf::Btf;
use crate::kernel::function::means;
use crate::kernel::link::Link;
use crate::kernel::map::Map;
use crate::kernel::program::LoadedProgram;
use crate::kernel::tracefs::Tracefs;

/// `r0 = 0; exit`.
const NOTHING: [u64; 2] = [0xb7, 0x95];

pub(super) fn all() -> Vec<Feature> {
    vec![
        Feature::tried("BPF ring buffer", "no events; this is the least that spile needs (Linux 5.8)", ring()),
        Feature::tried(
            "BTF",
            "raw tracepoints have numbered arguments only, and there is no utime, stime, ppid, nothing behind pointers \
             and no following of children",
            btf(),
        ),
        Feature::tried("tracefs", "classic tracepoints can't be found; raw tracepoints and timers work", tracefs()),
        Feature::tried("raw tracepoints", "raw_tracepoint probes, and following children", raw_tracepoint()),
        Feature::tried(
            "classic tracepoints",
            "tracepoint probes; the same events may be raw tracepoints",
            tracepoint(),
        ),
        Feature::tried("perf timers", "profile probes", timer()),
        Feature::tried("uprobes", "nothing in this version: it has no probes on user functions yet", pmu("uprobe")),
        Feature::tried(
            "fentry",
            "functions are probed by kprobes, which cost more; without those, not at all",
            fentry(),
        ),
        Feature::tried(
            "kprobe.multi",
            "many functions at once are attached one by one, which takes long",
            kprobe_multi(),
        ),
        Feature::tried("kprobes", "function probes where there is no fentry", kprobe()),
    ]
}

fn ring() -> Result<String, Error> {
    Map::ring("spile_doctor", 1 << 16).map(|_| "one was made".into())
}

fn btf() -> Result<String, Error> {
    let btf = Btf::of_kernel()?;
    match btf.structure("task_struct") {
        Some(_) => Ok(format!("{} types", btf.len())),
        None => Err(Error::engine("the kernel's types are there, but task_struct is not among them")),
    }
}

fn tracefs() -> Result<String, Error> {
    let tracefs = Tracefs::open()?;
    let count = tracefs.tracepoints()?.len();
    let how = if tracefs.is_detached() { "not mounted, so spile mounts its own" } else { "mounted" };
    Ok(format!("{how}; {count} tracepoints"))
}

fn raw_tracepoint() -> Result<String, Error> {
    let program = LoadedProgram::load(ProgramKind::RawTracepoint, "spile_doctor", &NOTHING)?;
    Link::raw_tracepoint("sched_process_fork", &program).map(|_| "attached to sched_process_fork".into())
}

fn tracepoint() -> Result<String, Error> {
    let id = Tracefs::open()?.id("sched", "sched_process_fork")?;
    let program = LoadedProgram::load(ProgramKind::Tracepoint, "spile_doctor", &NOTHING)?;
    Link::tracepoint("sched:sched_process_fork", id, &program).map(|_| "attached to sched:sched_process_fork".into())
}

fn timer() -> Result<String, Error> {
    let program = LoadedProgram::load(ProgramKind::PerfEvent, "spile_doctor", &NOTHING)?;
    Link::timer(1, &[0], &program).map(|_| "started one on CPU 0".into())
}

/// The number under which perf knows a source of events.
fn pmu(name: &str) -> Result<String, Error> {
    pmu_type(name).map(|number| format!("perf has them as type {number}"))
}

fn pmu_type(name: &str) -> Result<u32, Error> {
    let path = format!("/sys/bus/event_source/devices/{name}/type");
    let text =
        std::fs::read_to_string(&path).map_err(|error| Error::Unsupported { message: format!("{path}: {error}") })?;
    text.trim().parse().map_err(|_| Error::engine(format!("{path} says {text:?}")))
}

fn kprobe() -> Result<String, Error> {
    means::kprobe().map(|()| attached())
}

fn kprobe_multi() -> Result<String, Error> {
    means::multi().map(|()| attached())
}

fn fentry() -> Result<String, Error> {
    means::fentry(&Btf::of_kernel()?).map(|()| attached())
}

fn attached() -> String {
    format!("attached to {}", means::TRIAL)
}
