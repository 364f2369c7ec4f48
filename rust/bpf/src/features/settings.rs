//! Features that files under /proc and /sys tell of: privileges and the administrator's settings.

use super::Feature;
use crate::kernel::privilege::{self, Capability, own};

/// A capability each.
pub(super) fn privileges() -> Vec<Feature> {
    let mask = own();
    let costs = [
        (Capability::Bpf, "nothing can be traced"),
        (Capability::Perfmon, "nothing can be traced"),
        (Capability::SysAdmin, "tracefs can't be mounted where it isn't, and kernels before 5.8 can't be traced"),
        (Capability::Syslog, "kernel stacks are bare addresses where kptr_restrict is 1"),
        (
            Capability::DacReadSearch,
            "tracefs is readable by root alone, so classic tracepoints can't be found by others",
        ),
    ];
    let feature = |(capability, cost): (Capability, &'static str)| {
        let works = privilege::has(mask, capability);
        let detail = match (works, privilege::has_exactly(mask, capability)) {
            (true, true) => "this process has it".into(),
            (true, false) => "CAP_SYS_ADMIN stands in for it".into(),
            (false, _) => "this process lacks it; run as root, or give the interpreter the capability".into(),
        };
        Feature { feature: capability.name(), works, detail, cost }
    };
    costs.into_iter().map(feature).collect()
}

/// The administrator's settings.
pub(super) fn sysctls() -> Vec<Feature> {
    let mask = own();
    vec![
        lockdown(privilege::lockdown().as_deref()),
        kptr_restrict(number("/proc/sys/kernel/kptr_restrict"), privilege::has_exactly(mask, Capability::Syslog)),
        paranoid(number("/proc/sys/kernel/perf_event_paranoid"), privilege::has(mask, Capability::Perfmon)),
        bpf_call(number("/proc/sys/kernel/unprivileged_bpf_disabled")),
    ]
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &str) -> Option<i64> {
    read(path)?.parse().ok()
}

fn lockdown(mode: Option<&str>) -> Feature {
    let (works, detail) = match mode {
        None => (true, "this kernel has no lockdown, or it can't be seen".to_owned()),
        Some("none") => (true, "not locked down".to_owned()),
        Some("integrity") => (true, "integrity: programs still read kernel memory, nothing may change it".to_owned()),
        Some(mode) => (false, format!("{mode}: programs may not read kernel memory")),
    };
    Feature { feature: "no kernel lockdown", works, detail, cost: "no stacks, no strings, nothing behind pointers" }
}

fn kptr_restrict(value: Option<i64>, may_look: bool) -> Feature {
    let works = matches!((value, may_look), (Some(0), _) | (Some(1), true));
    let detail = match value {
        Some(value @ 0..=1) => format!("kptr_restrict is {value}"),
        Some(value) => {
            format!("kptr_restrict is {value}, which hides them from everyone (sysctl kernel.kptr_restrict=1)")
        }
        None => "/proc/sys/kernel/kptr_restrict can't be read".into(),
    };
    Feature { feature: "kernel addresses", works, detail, cost: "kernel stacks are bare addresses without names" }
}

fn paranoid(value: Option<i64>, is_privileged: bool) -> Feature {
    let works = is_privileged || value.is_some_and(|value| value < 0);
    let detail = match value {
        Some(value) if is_privileged => format!("perf_event_paranoid is {value}, which CAP_PERFMON overrides"),
        Some(value) => format!("perf_event_paranoid is {value}, and this process lacks CAP_PERFMON"),
        None => "/proc/sys/kernel/perf_event_paranoid can't be read: no perf events here".into(),
    };
    Feature {
        feature: "perf events",
        works,
        detail,
        cost: "no classic tracepoints and no timers; raw tracepoints work",
    }
}

fn bpf_call(unprivileged: Option<i64>) -> Feature {
    let detail = match unprivileged {
        Some(value) => format!("unprivileged_bpf_disabled is {value}; tracing needs privileges in any case"),
        None => "/proc/sys/kernel/unprivileged_bpf_disabled can't be read".into(),
    };
    Feature { feature: "bpf system call", works: unprivileged.is_some(), detail, cost: "nothing can be traced" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_s_mode_is_the_one_in_brackets() {
        assert!(lockdown(None).works);
        let lockdown_in = |text| lockdown(privilege::lockdown_in(text).as_deref());
        assert!(lockdown_in("[none] integrity confidentiality").works);
        assert!(lockdown_in("none [integrity] confidentiality").works);
        let feature = lockdown_in("none integrity [confidentiality]");
        assert!(!feature.works && feature.detail.starts_with("confidentiality"));
    }

    #[test]
    fn addresses_need_a_capability_where_they_are_restricted() {
        assert!(kptr_restrict(Some(0), false).works && kptr_restrict(Some(1), true).works);
        assert!(!kptr_restrict(Some(1), false).works && !kptr_restrict(Some(2), true).works);
        assert!(!kptr_restrict(None, true).works);
    }

    #[test]
    fn paranoia_is_no_matter_to_the_privileged() {
        assert!(paranoid(Some(3), true).works && paranoid(Some(-1), false).works);
        assert!(!paranoid(Some(2), false).works && !paranoid(None, false).works);
    }
}
