//! Probes of functions, and the means by which a kernel lets them be attached.

use std::sync::OnceLock;

use spile_bpf::features;
use spile_core::spec::{Attach, Expr, PathStep, ProbeSpec, Target};

/// The ways to attach that work here, as features say. Trying them takes a guest seconds, so it is done once.
pub fn ways() -> Vec<Attach> {
    static WAYS: OnceLock<Vec<Attach>> = OnceLock::new();
    WAYS.get_or_init(tried).clone()
}

fn tried() -> Vec<Attach> {
    let features = features::probe();
    let works = |name: &str| features.iter().any(|feature| feature.feature == name && feature.works);
    let all = [("fentry", Attach::Fentry), ("kprobe.multi", Attach::KprobeMulti), ("kprobes", Attach::Kprobe)];
    let ways: Vec<Attach> = all.into_iter().filter(|(name, _)| works(name)).map(|(_, attach)| attach).collect();
    println!("functions are probed by {ways:?}");
    ways
}

pub fn function(name: &str) -> Target {
    Target::Function { name: name.into() }
}

pub fn function_return(name: &str) -> Target {
    Target::FunctionReturn { name: name.into() }
}

pub fn by(attach: Attach, probe: ProbeSpec) -> ProbeSpec {
    ProbeSpec { attach, ..probe }
}

pub fn path(steps: &[&str]) -> Expr {
    Expr::Field { path: steps.iter().map(|step| PathStep::Name((*step).into())).collect() }
}
