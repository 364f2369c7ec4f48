//! What tables cost: the time that merging rows from the kernel's tables takes, and the memory of a key. Prints one JSON
//! object; `benches/aggregation.py` runs it beside its peers.
//!
//! `table_costs merge ROWS KEYS` or `table_costs memory KEYS`.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Instant;

use spile_core::aggregate::Table;
use spile_core::aggregate::bin::mix;
use spile_core::aggregate::row::RowLayout;
use spile_core::layout::FieldType;
use spile_core::spec::AggregateFunction;

const PID: FieldType = FieldType::Int { size: 8, signed: false };
/// Rows that one call merges: what a few batches of the kernel's map operations give.
const BATCH: u64 = 1 << 15;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize| arguments[index].replace('_', "").parse().unwrap();
    match arguments[1].as_str() {
        "merge" => merge(number(2), number(3)),
        "memory" => memory(number(2)),
        other => panic!("{other}: merge ROWS KEYS, or memory KEYS"),
    }
}

/// A table of a generation has each key once, in no order.
fn rows(from: u64, keys: u64, width: usize) -> Vec<u64> {
    let row = |index: u64| (0..width as u64).map(move |word| if word == 0 { mix(index % keys) } else { 1 });
    (from..from + BATCH).flat_map(row).collect()
}

fn merge(count: u64, keys: u64) {
    let mut told = Vec::new();
    for (name, function) in [("count", AggregateFunction::Count), ("stats", AggregateFunction::Stats)] {
        let value = function.takes_value().then_some(PID);
        let layout = RowLayout::new(function, value, &[PID], "bench").unwrap();
        let table = Table::new(function, 1);
        let (mut first, mut again) = ((0, 0.0), (0, 0.0));
        for from in (0..count).step_by(BATCH as usize) {
            let rows = rows(from, keys, layout.width);
            let start = Instant::now();
            table.lock().merge(&layout, black_box(&rows));
            let of = if from < keys { &mut first } else { &mut again };
            (of.0, of.1) = (of.0 + BATCH, of.1 + start.elapsed().as_secs_f64());
        }
        let each = |(rows, seconds): (u64, f64)| seconds * 1e9 / rows.max(1) as f64;
        told.push(format!(r#""{name}_new_ns": {:.2}, "{name}_ns": {:.2}"#, each(first), each(again)));
    }
    println!("{{{}}}", told.join(", "));
}

/// Bytes that are resident now.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn memory(keys: u64) {
    let layout = RowLayout::new(AggregateFunction::Count, None, &[PID], "bench").unwrap();
    let table = Table::new(AggregateFunction::Count, 1);
    let before = resident();
    for from in (0..keys).step_by(BATCH as usize) {
        table.lock().merge(&layout, &rows(from, u64::MAX, layout.width));
    }
    println!(r#"{{"keys": {}, "bytes": {}}}"#, table.len(), resident() - before);
}
