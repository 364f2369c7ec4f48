//! Which functions can be probed. In: the kernel's types and its modules', and tracefs. Out: names.
//!
//! The kernel's own list (`available_filter_functions`) costs it hundreds of milliseconds to print, so it is read only for
//! patterns, and once for each of them.

use std::collections::BTreeSet;
use std::rc::Rc;

use spile_core::error::Error;

use super::super::btf::{Btf, Kind};
use super::super::glob::matches;
use super::super::tracefs::Tracefs;
use super::owner::Owners;

/// The functions that types describe, that the kernel can trace and whose names match, sorted; a module's have its name
/// before theirs, as in `overlay:ovl_open`, and match with it or without.
pub fn list(btf: &Rc<Btf>, tracefs: &Tracefs, pattern: &str) -> Result<Vec<String>, Error> {
    let (mut own, mut of_modules) = (BTreeSet::new(), BTreeSet::new());
    let text = tracefs.traceable_functions()?;
    for (name, module) in text.lines().map(entry) {
        match module {
            None if matches(pattern, name) => drop(own.insert(name)),
            Some(module) if matches(pattern, name) || matches(pattern, &format!("{module}:{name}")) => {
                of_modules.insert((module, name));
            }
            _ => {}
        }
    }
    let mut names = described(btf, &own);
    let owners = Owners::default();
    for module in of_modules.iter().map(|(module, _)| *module).collect::<BTreeSet<_>>() {
        let Some(types) = owners.types_of(module, Some(btf)) else { continue };
        let wanted = of_modules.iter().filter(|(owner, _)| *owner == module).map(|(_, name)| *name).collect();
        names.extend(described(&types, &wanted).into_iter().map(|name| format!("{module}:{name}")));
    }
    names.sort_unstable();
    Ok(names)
}

/// A line of the list: a name and, in brackets, its module's.
fn entry(line: &str) -> (&str, Option<&str>) {
    line.split_once(' ').map_or((line, None), |(name, module)| (name, Some(module.trim_matches(['[', ']']))))
}

/// Those that the types describe, each once.
fn described(btf: &Btf, wanted: &BTreeSet<&str>) -> Vec<String> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let functions = btf.all().filter(|ty| ty.kind() == Kind::Function);
    let names: BTreeSet<&str> = functions.filter_map(|ty| std::str::from_utf8(ty.name()).ok()).collect();
    wanted.iter().filter(|name| names.contains(*name)).map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::btf::tests::Writer;
    use super::*;

    #[test]
    fn a_module_s_functions_are_its_own() {
        assert_eq!(entry("vfs_read"), ("vfs_read", None));
        assert_eq!(entry("ovl_open [overlay]"), ("ovl_open", Some("overlay")));
        let mut writer = Writer::new();
        writer.function("vfs_read", &[]);
        writer.function("vfs_write", &[]);
        let wanted = BTreeSet::from(["vfs_write", "vfs_open"]);
        assert_eq!(described(&writer.btf(), &wanted), ["vfs_write"]);
    }
}
