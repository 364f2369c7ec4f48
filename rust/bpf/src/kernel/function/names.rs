//! Which functions can be probed. In: the kernel's types and tracefs. Out: names.
//!
//! The kernel's own list (`available_filter_functions`) costs it hundreds of milliseconds to print, so it is read only for
//! patterns, and once for each of them.

use std::collections::HashSet;

use spile_core::error::Error;

use super::super::btf::{Btf, Kind};
use super::super::glob::matches;
use super::super::tracefs::Tracefs;

/// The functions of BTF that the kernel can trace and whose names match, sorted.
pub fn list(btf: &Btf, tracefs: &Tracefs, pattern: &str) -> Result<Vec<String>, Error> {
    let functions = btf.all().filter(|ty| ty.kind() == Kind::Function);
    let names = functions.filter_map(|ty| std::str::from_utf8(ty.name()).ok());
    let mut names: Vec<&str> = names.filter(|name| matches(pattern, name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let text = tracefs.traceable_functions()?;
    let traceable = in_list(&text);
    names.sort_unstable();
    names.dedup();
    Ok(names.into_iter().filter(|name| traceable.contains(name)).map(str::to_owned).collect())
}

/// The kernel proper's functions in the text of `available_filter_functions`: a name in each line, and its module.
pub fn in_list(text: &str) -> HashSet<&str> {
    text.lines().filter(|line| !line.contains(' ')).collect()
}

#[cfg(test)]
mod tests {
    use super::in_list;

    #[test]
    fn a_module_s_functions_are_its_own() {
        let found = in_list("vfs_read\next4_sync_file [ext4]\nvfs_write\n");
        assert!(found.contains("vfs_read") && found.contains("vfs_write") && found.len() == 2);
    }
}
