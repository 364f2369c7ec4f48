//! Modules that aren't loaded. In: depmod's lists, under /lib/modules. Out: whether there is such a module, which one exports
//! a function, and which one a function's name begins with.

use std::path::{Path, PathBuf};

const RELEASE: &str = "/proc/sys/kernel/osrelease";
const FOLDER: &str = "/lib/modules";

/// The texts of the lists; empty where there are none.
#[derive(Debug, Default)]
pub struct Modules {
    /// `modules.dep`: a line for each file, and the files that it needs.
    pub files: String,
    /// `modules.builtin`: files that became part of the kernel.
    pub built_in: String,
    /// `modules.symbols`: what they export.
    pub exports: String,
}

impl Modules {
    /// Those for the running kernel.
    pub fn of_kernel() -> Self {
        let release = std::fs::read_to_string(RELEASE).unwrap_or_default();
        let folder: PathBuf = Path::new(FOLDER).join(release.trim());
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        Self { files: read("modules.dep"), built_in: read("modules.builtin"), exports: read("modules.symbols") }
    }

    /// The names of those that can be loaded.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.files.lines().filter_map(|line| name_of(line.split(':').next()?))
    }

    /// Whether there is one to load.
    pub fn has(&self, module: &str) -> bool {
        self.names().any(|name| name == module)
    }

    /// Whether it is part of the kernel.
    pub fn is_built_in(&self, module: &str) -> bool {
        self.built_in.lines().filter_map(name_of).any(|name| name == module)
    }

    /// The one that exports a function.
    pub fn exporter(&self, function: &str) -> Option<&str> {
        let mut words = self.exports.lines().filter_map(|line| line.strip_prefix("alias symbol:")?.split_once(' '));
        words.find(|(name, _)| *name == function).map(|(_, module)| module)
    }

    /// The one whose name stands at the beginning of a function's, the longest: functions are often called so.
    pub fn namesake(&self, function: &str) -> Option<String> {
        let stands = |name: &String| {
            let rest = function.trim_start_matches('_').strip_prefix(name.as_str());
            name.len() > 2 && rest.is_some_and(|rest| rest.starts_with('_'))
        };
        self.names().filter(stands).max_by_key(String::len)
    }
}

/// The module in a file, as in `kernel/fs/nfs_common/grace.ko.xz`. The kernel spells dashes otherwise.
fn name_of(path: &str) -> Option<String> {
    let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depmod_s_lists_are_read() {
        let modules = Modules {
            files: "kernel/fs/btrfs/btrfs.ko.xz: kernel/lib/raid6/raid6_pq.ko.xz\nkernel/net/nf-nat.ko:\n\
                kernel/net/nf.ko:\n"
                .into(),
            built_in: "kernel/fs/ext4/ext4.ko\n".into(),
            exports: "# Aliases\nalias symbol:nf_nat_setup_info nf_nat\n".into(),
        };
        assert!(modules.has("btrfs") && modules.has("nf_nat") && !modules.has("ext4") && !modules.has("raid6_pq"));
        assert!(modules.is_built_in("ext4") && !modules.is_built_in("btrfs"));
        assert_eq!((modules.exporter("nf_nat_setup_info"), modules.exporter("nf_nat")), (Some("nf_nat"), None));
        assert_eq!(modules.namesake("btrfs_sync_file").as_deref(), Some("btrfs"));
        assert_eq!(modules.namesake("__nf_nat_mangle").as_deref(), Some("nf_nat"));
        assert_eq!((modules.namesake("btrfsx"), modules.namesake("nf_open"), modules.namesake("")), (None, None, None));
    }
}
