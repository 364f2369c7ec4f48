//! Why a function can't be probed. In: its name. Out: an error that says whether it is misspelled, exists only in the
//! compiler's variants, was inlined, must not be probed, or is of a module that isn't loaded; and which names are near.
//!
//! Everything is read only here, once something has failed.

use spile_core::error::Error;

use super::super::btf::{Btf, Kind};
use super::super::nearest::nearest;
use super::super::tracefs::Tracefs;
use super::owner::{SYMBOLS, functions, parts};
use super::unloaded::Modules;

const DENIED: &str = "/sys/kernel/debug/kprobes/blacklist";

/// What the kernel tells of its functions.
#[derive(Debug, Default)]
pub struct Known<'a> {
    /// The text of /proc/kallsyms.
    pub symbols: &'a str,
    /// The text of kprobes/blacklist, where it can be read.
    pub denied: Option<&'a str>,
    /// The text of available_filter_functions, where it can be read.
    pub traceable: Option<&'a str>,
    /// Names of functions in the kernel's types.
    pub typed: &'a [&'a str],
    /// Modules that could be loaded.
    pub modules: Modules,
}

/// The error for a function that isn't there, or that the kernel wouldn't let be probed.
pub fn explain(name: &str, btf: Option<&Btf>, tracefs: Option<&Tracefs>) -> Error {
    with(btf, tracefs, |known| Error::ProbeNotFound { message: known.say(name) })
}

/// Those of many that the kernel's list of functions speaks against.
pub fn culprits<'n>(names: &[&'n str], tracefs: Option<&Tracefs>) -> Vec<&'n str> {
    let Some(text) = tracefs.and_then(|tracefs| tracefs.traceable_functions().ok()) else { return Vec::new() };
    names.iter().copied().filter(|name| !is_listed(&text, name)).collect()
}

fn with<R>(btf: Option<&Btf>, tracefs: Option<&Tracefs>, ask: impl FnOnce(&Known<'_>) -> R) -> R {
    let symbols = std::fs::read_to_string(SYMBOLS).unwrap_or_default();
    let denied = std::fs::read_to_string(DENIED).ok();
    let traceable = tracefs.and_then(|tracefs| tracefs.traceable_functions().ok());
    let typed: Vec<&str> = btf.map_or_else(Vec::new, |btf| {
        let functions = btf.all().filter(|ty| ty.kind() == Kind::Function);
        functions.filter_map(|ty| std::str::from_utf8(ty.name()).ok()).collect()
    });
    let (denied, traceable) = (denied.as_deref(), traceable.as_deref());
    ask(&Known { symbols: &symbols, denied, traceable, typed: &typed, modules: Modules::of_kernel() })
}

impl<'a> Known<'a> {
    /// The reason in words.
    pub fn say(&self, spelled: &str) -> String {
        let (module, name) = parts(spelled);
        let is_it = |(known, owner): &(&str, Option<&str>)| *known == name && (module.is_none() || *owner == module);
        if functions(self.symbols).any(|function| is_it(&function)) {
            return format!("the function {spelled} can't be probed: {}", self.forbidden(spelled));
        }
        if let Some(module) = module {
            return self.missing_in(module, name);
        }
        let what = format!("this kernel has no function {name}");
        if self.symbols.is_empty() {
            return format!("{what} that can be probed ({SYMBOLS} can't be read, so nothing more is known)");
        }
        let variants = self.variants(name);
        if !variants.is_empty() {
            return format!(
                "{what} of its own: the compiler made {} of it, whose arguments may differ; probe that by its whole name, \
                 with arg[0] and so on",
                variants.join(", ")
            );
        }
        if self.typed.contains(&name) {
            return format!("{what} any more: the compiler inlined it into its callers; probe one of those");
        }
        if let Some(module) = self.modules.exporter(name) {
            return format!("{what}, but the module {module} has, which isn't loaded: sudo modprobe {module}");
        }
        let near = nearest(name, functions(self.symbols).map(|(known, _)| known).filter(|known| !known.contains('.')));
        let module = self.modules.namesake(name).filter(|module| !self.is_loaded(module));
        match (near.is_empty(), module) {
            (false, _) => format!("{what}; did you mean {}?", near.join(", ")),
            (true, Some(module)) => {
                format!("{what}; if it is of the module {module}, that isn't loaded: sudo modprobe {module}")
            }
            (true, None) => {
                format!("{what} (it may be misspelled, a macro, inlined everywhere, or in a module that isn't loaded)")
            }
        }
    }

    /// What the compiler made of a function that is no more.
    fn variants(&self, name: &str) -> Vec<&'a str> {
        let prefix = format!("{name}.");
        let known = functions(self.symbols).map(|(known, _)| known);
        let mut variants: Vec<&str> = known.filter(|known| is_variant(known, &prefix)).collect();
        variants.sort_unstable();
        variants.dedup();
        variants.truncate(5);
        variants
    }

    /// A function that a module was said to have.
    fn missing_in(&self, module: &str, name: &str) -> String {
        if self.is_loaded(module) {
            let own = functions(self.symbols).filter(|(_, owner)| *owner == Some(module)).map(|(known, _)| known);
            let near = nearest(name, own);
            let near =
                if near.is_empty() { String::new() } else { format!("; did you mean {module}:{}?", near.join(", ")) };
            return format!("the module {module} has no function {name}{near}");
        }
        if self.modules.is_built_in(module) {
            return format!("{module} is no module here but part of the kernel: name the function alone, as {name}");
        }
        if self.modules.has(module) {
            return format!(
                "the module {module} isn't loaded, so nobody knows its function {name}: sudo modprobe {module}"
            );
        }
        let names: Vec<String> = self.modules.names().chain(self.loaded()).collect();
        let near = nearest(module, names.iter().map(String::as_str));
        let near = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) };
        format!("this kernel has no module {module}, whose function {name} would be{near}")
    }

    fn is_loaded(&self, module: &str) -> bool {
        functions(self.symbols).any(|(_, owner)| owner == Some(module))
    }

    fn loaded(&self) -> impl Iterator<Item = String> {
        let mut owners: Vec<String> =
            functions(self.symbols).filter_map(|(_, owner)| owner.map(str::to_owned)).collect();
        owners.dedup();
        owners.into_iter()
    }

    fn forbidden(&self, spelled: &str) -> String {
        let last = |line: &&str| line.split_ascii_whitespace().next_back() == Some(parts(spelled).1);
        if self.denied.is_some_and(|text| text.lines().any(|line| last(&line))) {
            return "the kernel forbids it, for tracing itself runs through it (kprobes/blacklist)".into();
        }
        match (self.traceable.map(|text| is_listed(text, spelled)), self.denied) {
            (Some(false), _) => {
                "it was compiled without a place for tracing (notrace, or code of the start-up): it is not among tracefs's \
                 available_filter_functions"
                    .into()
            }
            (_, None) => "the kernel refuses it; it may be one that tracing itself runs through".into(),
            _ => "the kernel refuses it, though its lists allow it".into(),
        }
    }
}

/// Whether a function is in the text of available_filter_functions: a name in each line, and its module.
fn is_listed(text: &str, spelled: &str) -> bool {
    let (module, name) = parts(spelled);
    text.lines().any(|line| match line.split_once(' ') {
        Some((known, owner)) => known == name && module.is_none_or(|module| owner.trim_matches(['[', ']']) == module),
        None => line == name && module.is_none(),
    })
}

/// The cold half of a function is no function: nobody calls it.
fn is_variant(name: &str, prefix: &str) -> bool {
    name.starts_with(prefix) && !name.ends_with(".cold")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str = "ffffffff81000000 T vfs_read\n\
        ffffffff81000100 t do_thing.isra.0\n\
        ffffffff81000180 t do_thing.part.0.cold\n\
        ffffffff81000200 T notrace_function\n\
        ffffffff81000300 t get_kprobe\n\
        ffffffff82000000 D vfs_data\n\
        ffffffffc0000000 t ext4_sync_file\t[ext4]\n";

    fn say(name: &str) -> String {
        let denied = "0xffffffff81000300-0xffffffff81000380\tget_kprobe\n";
        let traceable = "vfs_read\next4_sync_file [ext4]\n";
        let modules = Modules {
            files: "kernel/fs/btrfs/btrfs.ko.xz:\nkernel/net/dummy.ko:\n".into(),
            built_in: "kernel/fs/fuse/fuse.ko\n".into(),
            exports: "alias symbol:raid6_call raid6_pq\n".into(),
        };
        let (denied, traceable, typed) = (Some(denied), Some(traceable), &["vfs_read", "small"][..]);
        Known { symbols: SYMBOLS, denied, traceable, typed, modules }.say(name)
    }

    #[test]
    fn each_reason_is_told() {
        for (name, words) in [
            ("vfs_raed", "no function vfs_raed; did you mean vfs_read?"),
            ("do_thing", "the compiler made do_thing.isra.0 of it"),
            ("small", "inlined it into its callers"),
            ("notrace_function", "compiled without a place for tracing"),
            ("get_kprobe", "the kernel forbids it"),
            ("vfs_data", "no function vfs_data"),
            ("zzzzzz", "in a module that isn't loaded"),
            ("ext4_sync_file", "though its lists allow it"),
            ("ext4:ext4_sync_file", "the function ext4:ext4_sync_file can't be probed"),
            (
                "ext4:ext4_sync_flie",
                "the module ext4 has no function ext4_sync_flie; did you mean ext4:ext4_sync_file?",
            ),
            (
                "btrfs:btrfs_sync",
                "the module btrfs isn't loaded, so nobody knows its function btrfs_sync: sudo modprobe",
            ),
            ("fuse:fuse_open", "fuse is no module here but part of the kernel: name the function alone, as fuse_open"),
            ("dumy:dummy_xmit", "has no module dumy, whose function dummy_xmit would be; did you mean dummy?"),
            ("ext:f", "has no module ext, whose function f would be; did you mean ext4?"),
            ("raid6_call", "the module raid6_pq has, which isn't loaded: sudo modprobe raid6_pq"),
            ("dummy_setup", "if it is of the module dummy, that isn't loaded: sudo modprobe dummy"),
        ] {
            assert!(say(name).contains(words), "{name}: {}", say(name));
        }
        assert!(Known::default().say("vfs_read").contains("can't be read"));
    }
}
