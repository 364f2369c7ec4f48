//! Which capabilities this process has, and what to say when one is missing.

use spile_core::error::Error;

/// A capability that tracing needs, by its bit in `/proc/self/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Reading files that belong to others, such as tracefs.
    DacReadSearch = 2,
    /// Everything below, on kernels before 5.8 the only way.
    SysAdmin = 21,
    /// Kernel addresses.
    Syslog = 34,
    /// perf events, kernel addresses and reading memory from programs.
    Perfmon = 38,
    /// Maps and programs.
    Bpf = 39,
}

impl Capability {
    /// As capabilities(7) spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Syslog => "CAP_SYSLOG",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

/// The effective capabilities in the text of `/proc/PID/status`.
pub fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Whether `mask` has `capability` itself.
pub fn has_exactly(mask: u64, capability: Capability) -> bool {
    mask >> capability as u32 & 1 == 1
}

/// Whether `mask` lets its holder do what `capability` is for: CAP_SYS_ADMIN includes what was split off from it later.
pub fn has(mask: u64, capability: Capability) -> bool {
    let is_part = matches!(capability, Capability::Bpf | Capability::Perfmon | Capability::Syslog);
    has_exactly(mask, capability) || (is_part && has_exactly(mask, Capability::SysAdmin))
}

/// Those of CAP_BPF and CAP_PERFMON that are missing.
pub fn missing_from(mask: u64) -> Vec<Capability> {
    [Capability::Bpf, Capability::Perfmon].into_iter().filter(|&capability| !has(mask, capability)).collect()
}

/// This process's effective capabilities; none where /proc can't be read.
pub fn own() -> u64 {
    std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(effective).unwrap_or(0)
}

/// How far the kernel is locked down; none where it has no lockdown, or that can't be seen.
pub fn lockdown() -> Option<String> {
    lockdown_in(&std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?)
}

/// The mode in brackets.
pub(crate) fn lockdown_in(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// Refuses early where it is certain that a capability is missing.
pub fn check(what: &str) -> Result<(), Error> {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    match status.as_deref().and_then(effective) {
        Some(mask) if !missing_from(mask).is_empty() => Err(explain(what, mask)),
        _ => Ok(()),
    }
}

/// The error for an EPERM.
pub fn missing(what: &str) -> Error {
    explain(what, own())
}

/// The error for an EPERM from a mount.
pub fn missing_admin(what: &str) -> Error {
    let lacks = if has(own(), Capability::SysAdmin) { "is not permitted here" } else { "needs CAP_SYS_ADMIN" };
    Error::Privilege { message: format!("{what} {lacks}; run it as root") }
}

fn explain(what: &str, mask: u64) -> Error {
    let names: Vec<_> = missing_from(mask).into_iter().map(Capability::name).collect();
    let message = if names.is_empty() {
        format!(
            "{what}: not permitted, although CAP_BPF and CAP_PERFMON are there; a container's seccomp profile, \
             a user namespace or the kernel's lockdown forbids it (`spile doctor` tries each feature)"
        )
    } else {
        let names = names.join(" and ");
        format!("{what}: this process lacks {names}; run it as root, or give the interpreter these capabilities")
    };
    Error::Privilege { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_found_among_the_other_lines() {
        assert_eq!(effective("Name:\tx\nCapPrm:\t01\nCapEff:\t000001fffeffffff\nCapBnd:\t2\n"), Some(0x1ff_feff_ffff));
        assert_eq!(effective("CapEff:\tnonsense"), None);
        assert_eq!(effective(""), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing_from(0), [Capability::Bpf, Capability::Perfmon]);
        assert_eq!(missing_from(1 << 39), [Capability::Perfmon]);
        assert_eq!(missing_from(1 << 21), []);
        let error = explain("loading x", 1 << 39).to_string();
        assert!(error.contains("CAP_PERFMON") && !error.contains("CAP_BPF"), "{error}");
        assert!(explain("loading x", !0).to_string().contains("lockdown"));
    }
}
