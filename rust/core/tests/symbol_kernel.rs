//! Names of kernel addresses, against the kernel's own list, read here line by line.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;

use spile_core::symbol::kallsyms::Kallsyms;
use spile_core::symbol::{KernelSymbolizer, Symbol, symbolize_user};

const LIST: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T first_alias
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t helper
ffffffff81000200 W weak
a line of another form
ffffffff81000300 T _etext
ffffffff82000000 D some_data
ffffffffc0001000 t nf_hook\t[nf_tables]
ffffffffc0002000 t bpf_prog_6deef7357e7b4530_sd_fw\t[bpf]
";

fn named(name: &str, offset: u64, module: Option<&str>) -> Symbol {
    Symbol { name: Some(name.into()), offset, module: module.map(Into::into) }
}

#[test]
fn a_list_of_every_kind() {
    let table = Kallsyms::parse(LIST.as_bytes()).unwrap();
    for (address, expected) in [
        (0, Symbol::default()),
        (0xffff_ffff_8100_0000, named("first_alias", 0, None)),
        (0xffff_ffff_8100_00ff, named("first_alias", 0xff, None)),
        (0xffff_ffff_8100_0100, named("helper", 0, None)),
        (0xffff_ffff_8100_0201, named("weak", 1, None)),
        (0xffff_ffff_8100_0300, Symbol::default()),
        (0xffff_ffff_8200_0001, Symbol::default()),
        (0xffff_ffff_c000_1010, named("nf_hook", 0x10, Some("nf_tables"))),
        (0xffff_ffff_c000_2004, named("bpf_prog_6deef7357e7b4530_sd_fw", 4, Some("bpf"))),
        (u64::MAX, Symbol::default()),
    ] {
        assert_eq!(table.find(address), expected, "{address:#x}");
    }
    assert!(table.is_core(0xffff_ffff_8100_0250) && !table.is_core(0xffff_ffff_c000_1010));
    assert_eq!(named("nf_hook", 0x10, Some("nf_tables")).spell(1), "nf_hook+0x10 [nf_tables]");
    assert_eq!(Symbol::default().spell(0x1f), "0x1f");
}

#[test]
fn a_hidden_list_is_explained() {
    let mut file = tempfile();
    writeln!(file.1, "0000000000000000 T vfs_read\n0000000000000000 t helper\t[ext4]").unwrap();
    let symbols = KernelSymbolizer::from_file(&file.0);
    assert_eq!(symbols.symbolize(&[0xffff_ffff_8100_0000]), [Symbol::default()]);
    let why = symbols.explain_restriction().unwrap();
    assert!(
        why.contains("shows every address as 0") && why.contains("kptr_restrict") && why.contains("CAP_SYSLOG"),
        "{why}"
    );
    fs::remove_file(file.0).unwrap();

    let missing = KernelSymbolizer::from_file("/nonexistent");
    assert!(missing.explain_restriction().unwrap().contains("can't be read"));
    assert_eq!(missing.symbolize(&[1, 2]).len(), 2);
}

#[test]
fn what_is_loaded_later_is_found_and_what_has_gone_keeps_its_name() {
    let mut file = tempfile();
    writeln!(file.1, "ffffffff81000000 T _stext\nffffffff81000000 T a\nffffffff81001000 T _etext").unwrap();
    let symbols = KernelSymbolizer::from_file(&file.0);
    assert_eq!(symbols.symbolize(&[0xffff_ffff_8100_0000]), [named("a", 0, None)]);
    writeln!(file.1, "ffffffffc0000000 t late\t[bpf]").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(symbols.symbolize(&[0xffff_ffff_c000_0001]), [named("late", 1, Some("bpf"))]);
    file.1.set_len(0).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(symbols.symbolize(&[0xffff_ffff_c000_0001]), [named("late", 1, Some("bpf"))]);
    fs::remove_file(file.0).unwrap();
}

#[test]
fn the_running_kernel_agrees_with_its_own_list() {
    let symbols = KernelSymbolizer::shared();
    if let Some(why) = symbols.explain_restriction() {
        println!("skipped: {why}");
        return;
    }
    let text = fs::read_to_string("/proc/kallsyms").unwrap();
    let mut names: HashMap<u64, Vec<(String, Option<String>)>> = HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if matches!(words[1], "T" | "t" | "W" | "w") {
            let module = words.get(3).map(|module| module[1..module.len() - 1].to_owned());
            names.entry(u64::from_str_radix(words[0], 16).unwrap()).or_default().push((words[2].into(), module));
        }
    }
    names.remove(&0);
    // Programs may come and go between the two readings.
    names.retain(|_, names| names.iter().all(|(_, module)| module.as_deref() != Some("bpf")));
    let marks = ["_stext", "_text", "_etext", "_sinittext", "_einittext", "__init_end", "_end"];
    let (mut checked, mut addresses) = (0, Vec::new());
    for (address, names) in &names {
        if names.iter().all(|(name, _)| !marks.contains(&name.as_str())) {
            addresses.push(*address);
        }
    }
    for (address, symbol) in addresses.iter().zip(symbols.symbolize(&addresses)) {
        let pair = (symbol.name.clone().unwrap_or_default(), symbol.module.clone());
        assert!(
            symbol.offset == 0 && names[address].contains(&pair),
            "{address:#x}: {symbol:?} of {:?}",
            names[address]
        );
        checked += 1;
    }
    assert!(checked > 10_000, "only {checked} symbols");
}

#[test]
fn threads_share_one() {
    let symbols = KernelSymbolizer::shared();
    let threads: Vec<_> = (0..4u64)
        .map(|seed| {
            let symbols = symbols.clone();
            std::thread::spawn(move || {
                let addresses: Vec<u64> = (0..1000).map(|i| 0xffff_ffff_8100_0000 + (i * 4099 + seed) * 64).collect();
                symbols.symbolize(&addresses).len()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 1000);
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn spile_test_landmark() {
    std::hint::black_box(1);
}

#[test]
fn a_living_process_has_names_and_a_dead_one_has_none() {
    let landmark = spile_test_landmark as extern "C" fn() as usize as u64;
    let found = symbolize_user(std::process::id(), &[landmark, 1]).unwrap();
    assert_eq!(found[0].name.as_deref(), Some("spile_test_landmark"));
    assert_eq!(found[0].offset, 0);
    assert!(found[0].module.as_deref().is_some_and(|module| module.contains("symbol_kernel")), "{found:?}");
    assert_eq!(found[1], Symbol::default());

    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    assert_eq!(symbolize_user(pid, &[landmark]), None);
    assert_eq!(symbolize_user(0, &[landmark]), None);
}

fn tempfile() -> (std::path::PathBuf, fs::File) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("spile-kallsyms-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = fs::File::options().create(true).append(true).open(&path).unwrap();
    (path, file)
}
