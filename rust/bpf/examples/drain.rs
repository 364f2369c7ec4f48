//! What it takes to drain a million keys: tables of spile's, beside a kernel's hash by single look-ups and by batches.
//!
//! Prints millions of keys a second for each; run it in a release build, as root. The hash has an entry for each key, which
//! is removed as it is read, as tools do. Ours is what a session drains: turned, fenced, merged into its unlimited table.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, not a library")]

use std::collections::HashMap;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spile_bpf::engine::Engine;
use spile_bpf::kernel::map::Map;
use spile_core::collect::Collector;
use spile_core::pump::Outlets;
use spile_core::spec::SessionSpec;

const KEYS: u32 = 1_000_000;
/// Of bpf(2).
const LOOKUP_AND_DELETE_BATCH: i32 = 25;
const UPDATE_BATCH: i32 = 26;

fn main() {
    report("look-ups of a hash, one by one", by_one());
    report("batches of a hash", by_batches());
    report("tables of spile's", by_generations());
}

fn report(what: &str, (keys, time): (usize, Duration)) {
    let rate = keys as f64 / time.as_secs_f64() / 1e6;
    println!("{what:32} {keys:9} keys in {time:10.1?}: {rate:7.2} million a second");
}

/// The part of `union bpf_attr` that batches take.
#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    flags: u64,
    element_flags: u64,
}

fn batch(command: i32, batch: &mut Batch) -> bool {
    // SAFETY: the attribute is whole, and the vectors that it points to outlive the call and have room for `count`.
    unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *batch, size_of::<Batch>()) == 0 }
}

fn filled() -> Map {
    let map = Map::hash("spile_peer", 4, 8, 2 * KEYS).unwrap();
    let (keys, values): (Vec<u32>, Vec<u64>) = (0..KEYS).map(|key| (key, 1)).unzip();
    let mut all = attribute(&map, &keys, &values);
    assert!(batch(UPDATE_BATCH, &mut all), "{}", std::io::Error::last_os_error());
    map
}

fn attribute(map: &Map, keys: &[u32], values: &[u64]) -> Batch {
    Batch {
        from: 0,
        to: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map: map.fd().as_raw_fd().cast_unsigned(),
        flags: 0,
        element_flags: 0,
    }
}

/// A system call for the next key, one for its value, one to remove it.
fn by_one() -> (usize, Duration) {
    use spile_bpf::kernel::sys::bpf;
    let map = filled();
    let mut counts: HashMap<u32, u64> = HashMap::new();
    let start = Instant::now();
    let (mut key, mut next) = ([0; 4], [0; 4]);
    let mut is_there = bpf::next_key(map.fd(), None, &mut key).unwrap();
    while is_there {
        // Before this one is removed, or the search for the next would begin anew, and take for ever.
        is_there = bpf::next_key(map.fd(), Some(&key), &mut next).unwrap();
        let mut value = [0; 8];
        bpf::lookup(map.fd(), &key, &mut value).unwrap();
        bpf::delete(map.fd(), &key).unwrap();
        *counts.entry(u32::from_ne_bytes(key)).or_default() += u64::from_ne_bytes(value);
        key = next;
    }
    (counts.len(), start.elapsed())
}

fn by_batches() -> (usize, Duration) {
    let map = filled();
    let mut counts: HashMap<u32, u64> = HashMap::new();
    let start = Instant::now();
    let (keys, values) = (vec![0_u32; 1 << 16], vec![0_u64; 1 << 16]);
    let (mut from, mut to, mut is_first, mut is_last) = (0_u32, 0_u32, true, false);
    while !is_last {
        let mut some = attribute(&map, &keys, &values);
        some.from = if is_first { 0 } else { &raw mut from as u64 };
        some.to = &raw mut to as u64;
        is_last = !batch(LOOKUP_AND_DELETE_BATCH, &mut some);
        let read = some.count as usize;
        keys[..read].iter().zip(&values).for_each(|(key, value)| *counts.entry(*key).or_default() += value);
        (from, is_first) = (to, false);
    }
    (counts.len(), start.elapsed())
}

/// A session that counts by an argument, of which there is one for each key.
fn by_generations() -> (usize, Duration) {
    let spec = SessionSpec::from_json(&spec()).unwrap();
    let mut engine = Engine::prepare(&spec).unwrap();
    let outlets = Arc::new(Outlets::new(&spec, engine.layouts()));
    let collector = Collector::spawn(engine.store().unwrap(), outlets.tables.clone()).unwrap();
    engine.start().unwrap();
    for key in 0..KEYS {
        // SAFETY: getpriority reads nothing of ours, and refuses a class of processes that doesn't exist.
        unsafe { libc::syscall(libc::SYS_getpriority, 1_000_000 + key, 0) };
    }
    let start = Instant::now();
    collector.wait();
    let time = start.elapsed();
    engine.close().unwrap();
    collector.finish();
    assert_eq!(outlets.tables[0][0].total(), u64::from(KEYS), "the tables are large enough");
    (KEYS as usize, time)
}

fn spec() -> String {
    format!(
        r#"{{"version": 1, "target": {{"pid": {pid}, "follow": false, "cgroup": null, "exclude_self": false}},
        "limits": {{"buffer": 4194304, "queue": 67108864, "stack_depth": 127, "stack_cache": 64, "tables": 536870912}},
        "probes": [{{"name": "calls", "declared_at": null, "span": null, "deliver": false,
          "targets": [{{"kind": "tracepoint", "category": "syscalls", "name": "sys_enter_getpriority"}}],
          "capture": {{"kind": "fields", "fields": []}}, "where": null,
          "aggregates": [{{"function": {{"kind": "count"}},
            "by": [{{"op": "field", "path": ["which"]}}]}}]}}]}}"#,
        pid = std::process::id()
    )
}
