//! Names of addresses that a recording brings along. In: what was learnt where it was recorded. Out: the same names, on any
//! machine; nothing of the one that replays is asked.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::Symbol;

/// An address and its name, as a recording has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedAddress {
    /// The process, or 0 for the kernel.
    pub pid: u32,
    /// What was looked up: of a caller's frame the byte before the return address.
    pub address: u64,
    /// The function.
    pub name: String,
    /// Bytes from its start.
    pub offset: u64,
    /// The kernel module; of a user address, the file's path.
    #[serde(default)]
    pub module: Option<String>,
}

/// A part of a file in a process's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The process.
    pub pid: u32,
    /// Where it begins.
    pub start: u64,
    /// Behind its last byte.
    pub end: u64,
    /// Its first byte's place in the file.
    pub offset: u64,
    /// The file.
    pub path: String,
    /// The file's GNU build id in hexadecimal digits, if it has one.
    #[serde(default)]
    pub build_id: Option<String>,
}

/// A recording's names.
#[derive(Debug, Default)]
pub struct Recorded {
    symbols: FxHashMap<(u32, u64), Symbol>,
}

impl Recorded {
    /// Takes more names in.
    pub fn add(&mut self, named: impl IntoIterator<Item = NamedAddress>) {
        for NamedAddress { pid, address, name, offset, module } in named {
            self.symbols.insert((pid, address), Symbol { name: Some(name), offset, module });
        }
    }

    /// The names of addresses of a process, or of the kernel: of what is not known, nothing.
    pub fn symbolize(&self, pid: u32, addresses: &[u64]) -> Vec<Symbol> {
        addresses.iter().map(|&address| self.symbols.get(&(pid, address)).cloned().unwrap_or_default()).collect()
    }

    /// Names known.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }
}

/// Where a stack's frames are looked up.
///
/// All but the innermost are return addresses: where a call was the last thing that a function did, they lie behind its
/// end. The call itself is looked up, one byte before, as the kernel's own `%pB` does.
pub fn places(addresses: &[u64]) -> impl Iterator<Item = u64> {
    addresses.iter().enumerate().map(|(depth, address)| address.saturating_sub(u64::from(depth > 0)))
}

/// The files whose code a process has mapped; none once it has ended, or where it may not be looked at.
pub fn mappings(pid: u32) -> Vec<Mapping> {
    let text = std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| mapping(pid, line)).collect()
}

/// A line as `7f12a4000000-7f12a4021000 r-xp 00001000 fe:01 1234  /usr/lib/libc.so.6`.
fn mapping(pid: u32, line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()?.as_bytes().get(2) == Some(&b'x');
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let offset = number(words.next()?)?;
    let path = words.nth(2)?.trim_start();
    let mapping = Mapping { pid, start: number(start)?, end: number(end)?, offset, path: path.into(), build_id: None };
    (is_code && path.starts_with('/')).then_some(mapping)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read() {
        let line = "7f12a4000000-7f12a4021000 r-xp 00001000 fe:01 1234                       /usr/lib/a b.so";
        let found = mapping(7, line).unwrap();
        assert_eq!((found.start, found.end, found.offset), (0x7f12_a400_0000, 0x7f12_a402_1000, 0x1000));
        assert_eq!((found.pid, found.path.as_str()), (7, "/usr/lib/a b.so"));
        assert_eq!(mapping(7, &line.replace("r-xp", "rw-p")), None);
        assert_eq!(mapping(7, "7f12a4000000-7f12a4021000 r-xp 00000000 00:00 0 "), None);
        assert!(mappings(std::process::id()).iter().any(|own| {
            let here = a_line_of_maps_is_read as *const () as u64;
            (own.start..own.end).contains(&here)
        }));
    }

    #[test]
    fn only_what_was_recorded_has_a_name() {
        let mut names = Recorded::default();
        let name = |pid, address| NamedAddress { pid, address, name: "f".into(), offset: 2, module: None };
        names.add([name(0, 10), name(7, 10)]);
        let found = names.symbolize(7, &[10, 11]);
        assert_eq!((found[0].name.as_deref(), found[0].offset, &found[1]), (Some("f"), 2, &Symbol::default()));
    }
}
