//! The kernel's own list of its symbols. In: `/proc/kallsyms`, or text of its form. Out: the function at an address.
//!
//! blazesym reads this file too, but drops the module's name and takes data for functions, so kernel names are found here:
//! one arena of names and one sorted array of 16 bytes a symbol. The list knows no sizes; a function ends where the next
//! symbol of any kind begins. Of several names for one address the first counts, as in the kernel's own traces.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::Symbol;

/// The symbols of a kernel, its modules and its BPF programs.
#[derive(Debug, Default)]
pub struct Kallsyms {
    /// By address; each ends where the next begins.
    entries: Vec<Entry>,
    names: String,
    modules: Vec<String>,
    /// The kernel proper: its symbols don't change while it runs.
    core: Option<(u64, u64)>,
    hidden: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: u64,
    start: u32,
    /// 0 for what is no function.
    length: u16,
    /// 0 for the kernel proper, else one more than an index of `modules`.
    module: u16,
}

/// No function is longer; farther from its start lies something that the list doesn't name.
const MAX_FUNCTION: u64 = 1 << 20;
/// Marks that stand after the last function of a section.
const ENDS: [&str; 4] = ["_etext", "_einittext", "__init_end", "_end"];
/// Marks that stand on the first function of a section and are none.
const STARTS: [&str; 3] = ["_text", "_stext", "_sinittext"];

impl Kallsyms {
    /// Reads a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        Self::parse(BufReader::with_capacity(1 << 16, File::open(path)?))
    }

    /// Reads text of the form `address type name [module]`, and passes over lines of any other form.
    pub fn parse(mut reader: impl BufRead) -> io::Result<Self> {
        let mut table = Self::default();
        let (mut line, mut lines, mut start) = (Vec::new(), 0, None);
        while reader.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            let mut words = text.split_ascii_whitespace();
            let address = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
            if let (Some(address), Some(kind), Some(name)) = (address, words.next(), words.next()) {
                lines += 1;
                match name {
                    "_stext" => start = Some(address),
                    "_etext" => table.core = start.map(|start| (start, address)),
                    _ => {}
                }
                if address != 0 && !STARTS.contains(&name) {
                    let is_function = matches!(kind, "T" | "t" | "W" | "w") && !ENDS.contains(&name);
                    table.add(address, if is_function { name } else { "" }, words.next());
                }
            }
            line.clear();
        }
        table.hidden = lines > 0 && table.entries.is_empty();
        // Stable: the first of several names stays the first.
        table.entries.sort_by_key(|entry| entry.address);
        table.entries.dedup_by(|later, first| {
            let is_same = later.address == first.address;
            if is_same && first.length == 0 {
                *first = *later;
            }
            is_same
        });
        table.entries.shrink_to_fit();
        table.names.shrink_to_fit();
        Ok(table)
    }

    /// The function that covers an address.
    pub fn find(&self, address: u64) -> Symbol {
        let after = self.entries.partition_point(|entry| entry.address <= address);
        let Some(entry) = after.checked_sub(1).and_then(|index| self.entries.get(index)) else {
            return Symbol::default();
        };
        let offset = address - entry.address;
        let start = entry.start as usize;
        let name = self.names.get(start..start + usize::from(entry.length)).unwrap_or_default();
        if name.is_empty() || offset >= MAX_FUNCTION {
            return Symbol::default();
        }
        let module = usize::from(entry.module).checked_sub(1).and_then(|index| self.modules.get(index));
        Symbol { name: Some(name.into()), offset, module: module.cloned() }
    }

    /// Whether an address lies in the kernel proper, whose symbols stay.
    pub fn is_core(&self, address: u64) -> bool {
        self.core.is_some_and(|(start, end)| (start..end).contains(&address))
    }

    /// Whether the kernel keeps its addresses secret: it lists symbols, and each is at 0.
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Distinct addresses.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no symbol.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(&mut self, address: u64, name: &str, module: Option<&str>) {
        let module = module.map_or(0, |module| self.module(module.trim_matches(['[', ']'])));
        // Names end at 512 bytes (KSYM_NAME_LEN), and all of them at some megabytes.
        let (Ok(start), Ok(length)) = (u32::try_from(self.names.len()), u16::try_from(name.len())) else { return };
        self.names.push_str(name);
        self.entries.push(Entry { address, start, length, module });
    }

    /// A module's number; the list keeps each module's symbols together, so the last one is nearly always it.
    fn module(&mut self, name: &str) -> u16 {
        let index = self.modules.iter().rposition(|known| known == name).unwrap_or_else(|| {
            self.modules.push(name.into());
            self.modules.len() - 1
        });
        u16::try_from(index + 1).unwrap_or(0)
    }
}
