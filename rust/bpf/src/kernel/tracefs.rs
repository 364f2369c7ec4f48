//! The kernel's folder of tracepoints. In: names. Out: the text of `format` and `id` files, and the list of them all.
//!
//! A tracefs that is mounted is used; where none is, one is mounted for this process alone, by no path (fsopen(2)).

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};

use spile_core::error::Error;

use super::nearest::nearest;
use super::privilege;
use super::sys::mount;

/// Where it usually is.
const USUAL: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Functions that can be traced.
const FUNCTIONS: &str = "available_filter_functions";

/// An open tracefs.
#[derive(Debug)]
pub struct Tracefs {
    root: OwnedFd,
    is_detached: bool,
}

impl Tracefs {
    /// Opens it, wherever it is.
    pub fn open() -> Result<Self, Error> {
        for path in USUAL {
            if std::path::Path::new(path).join("events").is_dir()
                && let Ok(root) = File::open(path)
            {
                return Ok(Self { root: root.into(), is_detached: false });
            }
        }
        match mount::detached(c"tracefs") {
            Ok(root) => Ok(Self { root, is_detached: true }),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(privilege::missing_admin(
                "opening tracefs, which isn't mounted (sudo mount -t tracefs nodev /sys/kernel/tracing makes it readable)",
            )),
            Err(error) => Err(Error::Unsupported {
                message: format!("no tracefs, so no classic tracepoints ({error}); raw tracepoints and timers work"),
            }),
        }
    }

    /// Whether it is mounted for this process alone.
    pub fn is_detached(&self) -> bool {
        self.is_detached
    }

    /// The text of a tracepoint's `format`.
    pub fn format(&self, category: &str, name: &str) -> Result<String, Error> {
        self.event_file(category, name, "format")
    }

    /// A tracepoint's number, by which perf_event_open(2) knows it.
    pub fn id(&self, category: &str, name: &str) -> Result<u64, Error> {
        let text = self.event_file(category, name, "id")?;
        text.trim()
            .parse()
            .map_err(|_| Error::engine(format!("tracefs says that {category}:{name} has the id {text:?}")))
    }

    /// Every tracepoint: category and name.
    pub fn tracepoints(&self) -> Result<Vec<(String, String)>, Error> {
        let text = self
            .read("available_events")
            .map_err(|error| Error::engine(format!("reading tracefs's available_events: {error}")))?;
        Ok(text.lines().filter_map(|line| line.split_once(':')).map(|(a, b)| (a.into(), b.into())).collect())
    }

    /// The text of the list of functions that can be traced: a name in each line.
    pub fn traceable_functions(&self) -> Result<String, Error> {
        self.read(FUNCTIONS).map_err(|error| Error::Unsupported {
            message: format!("tracefs's {FUNCTIONS}: {error}; this kernel can't say which functions it can trace"),
        })
    }

    fn event_file(&self, category: &str, name: &str, file: &str) -> Result<String, Error> {
        if !is_word(category) || !is_word(name) {
            return Err(self.not_found(category, name));
        }
        match self.read(&format!("events/{category}/{name}/{file}")) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.not_found(category, name)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::Privilege {
                message: format!(
                    "tracefs's events/{category}/{name}/{file} is readable by root only; run this as root"
                ),
            }),
            Err(error) => Err(Error::engine(format!("reading tracefs's events/{category}/{name}/{file}: {error}"))),
        }
    }

    fn read(&self, path: &str) -> io::Result<String> {
        let path = CString::new(path)?;
        let mut bytes = Vec::new();
        mount::open_at(self.root.as_fd(), &path)?.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn not_found(&self, category: &str, name: &str) -> Error {
        let all = self.tracepoints().unwrap_or_default();
        Error::ProbeNotFound { message: explain(category, name, &all) }
    }
}

fn is_word(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(is_allowed)
}

/// Why there is no such tracepoint, and which are like it.
fn explain(category: &str, name: &str, all: &[(String, String)]) -> String {
    let what = format!("this kernel has no tracepoint {category}:{name}");
    let elsewhere: Vec<String> =
        all.iter().filter(|(_, other)| other == name).map(|(c, n)| format!("{c}:{n}")).collect();
    if !elsewhere.is_empty() {
        return format!("{what}; the name is there as {}", elsewhere.join(", "));
    }
    let spelled: Vec<String> = all.iter().map(|(c, n)| format!("{c}:{n}")).collect();
    let near = nearest(&format!("{category}:{name}"), spelled.iter().map(String::as_str));
    let has_category = all.iter().any(|(other, _)| other == category);
    let reason = match (all.is_empty(), has_category, category) {
        (true, ..) => " (its list of tracepoints can't be read)".into(),
        (_, false, "syscalls") => {
            " (it was built without CONFIG_FTRACE_SYSCALLS; raw_syscalls:sys_enter and sys_exit see every system call)"
                .into()
        }
        (_, false, _) => {
            format!(
                " (nothing of the category {category}: it may belong to a module that isn't loaded, or be misspelled)"
            )
        }
        (_, true, _) => String::new(),
    };
    let proposal = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) };
    format!("{what}{reason}{proposal}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(String, String)> {
        [
            ("sched", "sched_switch"),
            ("sched", "sched_wakeup"),
            ("raw_syscalls", "sys_enter"),
            ("lock", "contention_begin"),
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .to_vec()
    }

    #[test]
    fn an_absent_tracepoint_is_explained() {
        let say = |category, name| explain(category, name, &all());
        assert!(say("sched", "sched_swich").ends_with("; did you mean sched:sched_switch?"));
        assert!(say("sched", "contention_begin").ends_with("; the name is there as lock:contention_begin"));
        assert!(say("syscalls", "sys_enter_read").contains("CONFIG_FTRACE_SYSCALLS"));
        assert!(say("kvm", "kvm_exit").contains("a module that isn't loaded"));
        assert!(explain("a", "b", &[]).contains("can't be read"));
    }

    #[test]
    fn names_never_leave_the_folder() {
        for bad in ["", "..", "a/b", ".hidden", "a\0b", "a b", "ü"] {
            assert!(!is_word(bad), "{bad:?}");
        }
        assert!(is_word("sched_switch") && is_word("9p") && is_word("iwlwifi-dev"));
    }
}
