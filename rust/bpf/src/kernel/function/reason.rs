//! Why a function can't be probed. In: its name. Out: an error that says whether it is misspelled, exists only in the
//! compiler's variants, was inlined, must not be probed, or belongs to a module; and which names are near.
//!
//! Everything is read only here, once something has failed.

use spile_core::error::Error;

use super::super::btf::{Btf, Kind};
use super::super::nearest::nearest;
use super::super::tracefs::Tracefs;
use super::names;

const SYMBOLS: &str = "/proc/kallsyms";
const DENIED: &str = "/sys/kernel/debug/kprobes/blacklist";

/// What stands before functions and is none.
const PADDING: [&str; 2] = ["__pfx_", "__cfi_"];

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
}

/// The error for a function that isn't there, or that the kernel wouldn't let be probed.
pub fn explain(name: &str, btf: Option<&Btf>, tracefs: Option<&Tracefs>) -> Error {
    with(btf, tracefs, |known| Error::ProbeNotFound { message: known.say(name) })
}

/// An error for each of these that can't be probed as far as the kernel's lists tell; for the only one in any case.
pub fn culprits(names: &[&str], btf: Option<&Btf>, tracefs: Option<&Tracefs>) -> Vec<Error> {
    with(btf, tracefs, |known| {
        let guilty = names.iter().filter(|name| names.len() == 1 || !known.allows(name));
        guilty.map(|name| Error::ProbeNotFound { message: known.say(name) }).collect()
    })
}

fn with<R>(btf: Option<&Btf>, tracefs: Option<&Tracefs>, ask: impl FnOnce(&Known<'_>) -> R) -> R {
    let symbols = std::fs::read_to_string(SYMBOLS).unwrap_or_default();
    let denied = std::fs::read_to_string(DENIED).ok();
    let traceable = tracefs.and_then(|tracefs| tracefs.traceable_functions().ok());
    let typed: Vec<&str> = btf.map_or_else(Vec::new, |btf| {
        let functions = btf.all().filter(|ty| ty.kind() == Kind::Function);
        functions.filter_map(|ty| std::str::from_utf8(ty.name()).ok()).collect()
    });
    ask(&Known { symbols: &symbols, denied: denied.as_deref(), traceable: traceable.as_deref(), typed: &typed })
}

/// Whether /proc/kallsyms has a function of that name; and its module.
pub fn exists(name: &str) -> Option<Option<String>> {
    let symbols = std::fs::read_to_string(SYMBOLS).ok()?;
    let known = Known { symbols: &symbols, ..Known::default() };
    let found = known.functions().find(|(known, _)| *known == name);
    found.map(|(_, module)| module.map(str::to_owned))
}

impl<'a> Known<'a> {
    fn functions(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.symbols.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (kind, name) = (words.nth(1)?, words.next()?);
            let module = words.next().map(|module| module.trim_matches(['[', ']']));
            let is_padding = PADDING.iter().any(|prefix| name.starts_with(prefix));
            (!is_padding && matches!(kind, "t" | "T" | "w" | "W")).then_some((name, module))
        })
    }

    /// Whether nothing speaks against it.
    fn allows(&self, name: &str) -> bool {
        self.traceable.is_none_or(|text| text.lines().any(|line| line.split(' ').next() == Some(name)))
    }

    /// The reason in words.
    pub fn say(&self, name: &str) -> String {
        if let Some((_, module)) = self.functions().find(|(known, _)| *known == name) {
            return format!("the function {name} can't be probed: {}", self.forbidden(name, module));
        }
        let what = format!("this kernel has no function {name}");
        if self.symbols.is_empty() {
            return format!("{what} that can be probed ({SYMBOLS} can't be read, so nothing more is known)");
        }
        let prefix = format!("{name}.");
        let mut variants: Vec<&str> =
            self.functions().map(|(known, _)| known).filter(|known| is_variant(known, &prefix)).collect();
        variants.sort_unstable();
        variants.dedup();
        if !variants.is_empty() {
            variants.truncate(5);
            return format!(
                "{what} of its own: the compiler made {} of it, whose arguments may differ; probe that by its whole name, \
                 with arg[0] and so on",
                variants.join(", ")
            );
        }
        if self.typed.contains(&name) {
            return format!("{what} any more: the compiler inlined it into its callers; probe one of those");
        }
        let candidates = self.functions().map(|(known, _)| known).filter(|known| !known.contains('.'));
        let near = nearest(name, candidates);
        if near.is_empty() {
            let why = "it may be misspelled, a macro, inlined everywhere, or in a module that isn't loaded";
            return format!("{what} ({why})");
        }
        format!("{what}; did you mean {}?", near.join(", "))
    }

    fn forbidden(&self, name: &str, module: Option<&str>) -> String {
        let last = |line: &&str| line.split_ascii_whitespace().next_back() == Some(name);
        if self.denied.is_some_and(|text| text.lines().any(|line| last(&line))) {
            return "the kernel forbids it, for tracing itself runs through it (kprobes/blacklist)".into();
        }
        let is_traceable = self.traceable.map(|text| match module {
            None => names::in_list(text).contains(name),
            Some(_) => text.lines().any(|line| line.split(' ').next() == Some(name)),
        });
        match (is_traceable, self.denied) {
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
        let known =
            Known { symbols: SYMBOLS, denied: Some(denied), traceable: Some(traceable), typed: &["vfs_read", "small"] };
        known.say(name)
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
        ] {
            assert!(say(name).contains(words), "{name}: {}", say(name));
        }
        assert!(Known::default().say("vfs_read").contains("can't be read"));
    }
}
