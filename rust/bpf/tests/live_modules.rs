//! Functions of modules, by their own types: those of the overlay file system, which a guest has mounted. The numbers come from
//! the workload, which seeks in a file by offsets that it knows.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use spile_bpf::catalog;
use spile_core::error::Error;
use spile_core::spec::{Attach, Context, Expr, Target};

mod live_support;

use live_support::can_trace;
use live_support::function::{by, function, function_return, path, ways};
use live_support::session::{arg, fact, of_this_process, probe, run, try_run};

const SEEKS: u64 = 50;
const NAME: &str = "ovl_llseek";

/// A file on an overlay; `None`, and why, where this machine has none, or can't probe functions.
fn file() -> Option<(File, &'static str)> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let is_overlay = mounts.lines().any(|line| line.split(' ').skip(1).take(2).eq(["/etc", "overlay"]));
    if !is_overlay || !can_trace() || ways().is_empty() {
        println!("skipped: no overlay at /etc, or no function probes");
        return None;
    }
    Some((File::open("/etc/passwd").unwrap(), "passwd"))
}

fn seek(file: &mut File) {
    for offset in 1..=SEEKS {
        assert_eq!(file.seek(SeekFrom::Start(offset)).unwrap(), offset);
    }
}

#[test]
fn a_module_s_function_has_names_and_types() {
    let Some((mut file, name)) = file() else { return };
    for attach in ways().into_iter().chain([Attach::Auto]) {
        for spelled in [NAME.to_owned(), format!("overlay:{NAME}")] {
            let captures = [
                ("offset", arg("offset")),
                ("whence", arg("whence")),
                (
                    "name",
                    Expr::String {
                        pointer: Box::new(path(&["file", "f_path", "dentry", "d_name", "name"])),
                        limit: 64,
                    },
                ),
            ];
            let mut explained = String::new();
            let outcome =
                run(&of_this_process(vec![by(attach, probe(function(&spelled), &captures, None))]), |engine| {
                    explained = engine.explain(false);
                    seek(&mut file);
                });
            outcome.check();
            let offsets: Vec<i128> = outcome.events.iter().map(|event| event.values[0].number()).collect();
            assert_eq!(offsets, (1..=SEEKS.into()).collect::<Vec<i128>>(), "{attach:?} {spelled}: {:?}", outcome.rows);
            assert!(outcome.events.iter().all(|event| event.values[1].number() == 0));
            assert!(outcome.events.iter().all(|event| event.values[2].text() == name), "{attach:?} {spelled}");
            let attached = explained.lines().nth(1).unwrap_or_default();
            println!("{spelled}, {attach:?}: {attached}");
            let is_fentry = matches!(attach, Attach::Fentry | Attach::Auto);
            assert_eq!(attached.contains("module: Some(overlay)"), is_fentry, "{attached}");
        }
    }
}

#[test]
fn a_module_s_function_returns() {
    let Some((mut file, _)) = file() else { return };
    for attach in ways() {
        let captures = [
            ("ret", fact(Context::Ret)),
            ("offset", arg("offset")),
            ("elapsed", fact(Context::Elapsed)),
            ("size", Expr::AtStart { value: Box::new(path(&["file", "f_inode", "i_size"])) }),
        ];
        let probe = by(attach, probe(function_return(NAME), &captures, None));
        let outcome = run(&of_this_process(vec![probe]), |_| seek(&mut file));
        let size = i128::from(file.metadata().unwrap().len());
        let expected: Vec<[i128; 3]> = (1..=SEEKS.into()).map(|offset: i128| [offset, offset, size]).collect();
        let values = |index: usize| move |event: &live_support::session::Seen| event.values[index].number();
        let seen: Vec<[i128; 3]> =
            outcome.events.iter().map(|event| [0, 1, 3].map(|index| values(index)(event))).collect();
        assert_eq!(seen, expected, "{attach:?} {:?}", outcome.rows);
        assert!(outcome.events.iter().map(values(2)).all(|elapsed| elapsed > 0));
    }
}

#[test]
fn patterns_find_a_module_s_functions() {
    if file().is_none() {
        return;
    }
    let spelled = |pattern: &str| -> Vec<String> {
        let listed = catalog::list(&format!("function:{pattern}")).unwrap();
        listed.into_iter().map(|(_, name)| name).collect()
    };
    // The kernel's own list says which there are.
    let text = std::fs::read_to_string("/sys/kernel/tracing/available_filter_functions").unwrap();
    let listed = text.lines().filter(|line| line.starts_with("ovl_dir_") && line.ends_with(" [overlay]"));
    // What the compiler made of a function has no types.
    let listed = listed.filter(|line| !line.contains('.'));
    let mut listed: Vec<String> = listed.map(|line| format!("overlay:{}", line.split(' ').next().unwrap())).collect();
    listed.sort();
    listed.dedup();
    assert!(listed.len() > 4, "{listed:?}");
    for pattern in ["ovl_dir_*", "overlay:ovl_dir_*"] {
        assert_eq!(spelled(pattern), listed, "{pattern}");
    }
    assert_eq!(spelled("vfs:ovl_*"), [""; 0]);
    let fields = catalog::fields("function", NAME).unwrap();
    assert_eq!(fields[0], ("file".into(), "struct file *".into()));
    // All of them by one probe: what is counted of each is what was done.
    let targets: Vec<Target> = spelled("overlay:ovl_*").iter().map(|name| function(name)).collect();
    let place = targets.iter().position(|target| *target == function("overlay:ovl_llseek")).unwrap();
    for attach in ways() {
        let targets: Vec<Target> = if attach == Attach::KprobeMulti {
            targets.clone()
        } else {
            targets.iter().skip(place.saturating_sub(5)).take(10).cloned().collect()
        };
        let place = targets.iter().position(|target| *target == function("overlay:ovl_llseek")).unwrap();
        let group = spile_core::spec::ProbeSpec {
            targets,
            ..by(attach, probe(function(NAME), &[("tid", fact(Context::Tid))], None))
        };
        let mut file = File::open("/etc/passwd").unwrap();
        let outcome = run(&of_this_process(vec![group]), |_| seek(&mut file));
        assert_eq!(outcome.rows[place].hits, SEEKS, "{attach:?}: {:?}", outcome.rows[place]);
    }
}

/// A function that a module exports which isn't loaded, by depmod's list.
fn exported_elsewhere() -> (String, String) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let text = std::fs::read_to_string(format!("/lib/modules/{}/modules.symbols", release.trim())).unwrap();
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let symbols: HashSet<&str> = symbols.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)).collect();
    let mut exports = text.lines().filter_map(|line| line.strip_prefix("alias symbol:")?.split_once(' '));
    let (name, module) = exports.find(|(name, _)| !symbols.contains(name)).unwrap();
    (name.into(), module.into())
}

#[test]
fn a_module_that_isn_t_there_is_named() {
    if file().is_none() {
        return;
    }
    let say = |spelled: &str| -> String {
        let spec = of_this_process(vec![probe(function(spelled), &[], None)]);
        let error = try_run(&spec, |_| ()).map(|_| ()).unwrap_err();
        println!("{error}");
        assert!(matches!(error, Error::ProbeNotFound { .. }), "{error}");
        error.to_string()
    };
    let (exported, exporter) = exported_elsewhere();
    for (spelled, words) in [
        // Not loaded, and neither is what it needs; by its own name, by its functions' names, and by what one exports.
        ("btrfs:btrfs_sync_file", "the module btrfs isn't loaded, so nobody knows its function btrfs_sync_file"),
        ("btrfs_sync_file", "if it is of the module btrfs, that isn't loaded: sudo modprobe btrfs"),
        (&exported, &format!("but the module {exporter} has, which isn't loaded: sudo modprobe {exporter}")),
        ("overlay:ovl_llsek", "the module overlay has no function ovl_llsek; did you mean overlay:ovl_llseek"),
        ("overley:ovl_llseek", "this kernel has no module overley, whose function ovl_llseek would be; did you mean"),
        ("proc:proc_reg_read", "this kernel has no module proc"),
    ] {
        let said = say(spelled);
        assert!(said.contains(words), "{spelled}: {said}");
    }
    let field = probe(function(NAME), &[("x", arg("ofset"))], None);
    let error = try_run(&of_this_process(vec![field]), |_| ()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("function:overlay:ovl_llseek has no argument arg.ofset; did you mean offset?"), "{error}");
}
