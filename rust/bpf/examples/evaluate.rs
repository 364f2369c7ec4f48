//! Runs compiled conditions for tests in other languages.
//!
//! In: lines of JSON, `{"condition": …, "fields": {"a": 1, …}, "comm": "…"}`, the condition as in a spec, the fields as
//! signed 64-bit integers. Out: for each line, what the program compiled from it decided when rbpf ran it: `true`,
//! `false`, or an error in words. Run it with `cargo run --package spile-bpf --example evaluate`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a tool for tests fails by panicking")]

#[path = "../tests/compile_support/mod.rs"]
mod compile_support;

use std::io::{BufRead as _, Write as _};

use compile_support::{Table, compiled, fact, machine::Machine, options, probe};
use serde_json::Value;
use spile_bpf::compile::{Access, Ledger, ProgramKind};
use spile_core::spec::{Condition, Context};

fn main() {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        writeln!(out, "{}", decide(&request)).expect("a reader");
        out.flush().expect("a reader");
    }
}

fn decide(request: &Value) -> String {
    let condition: Condition = match serde_json::from_value(request["condition"].clone()) {
        Ok(condition) => condition,
        Err(error) => return format!("no condition: {error}"),
    };
    let (mut fields, mut context) = (Vec::new(), Vec::new());
    for (name, value) in request["fields"].as_object().expect("fields") {
        let offset = context.len() as u32;
        fields.push((&*name.clone().leak(), Access::Ctx { offset, size: 8, signed: true }));
        context.extend(value.as_i64().expect("an integer").to_le_bytes());
    }
    let probe = probe(&[fact(Context::Pid)], Some(condition));
    let (_, program) = compiled(ProgramKind::RawTracepoint, &probe, &Table(fields), &options());
    let mut machine = Machine::new();
    let comm = request["comm"].as_str().unwrap_or_default().as_bytes();
    machine.comm = [0; 16];
    machine.comm[..comm.len()].copy_from_slice(comm);
    let ledger = machine.run(&program, &mut context).ledger;
    match (ledger[Ledger::Delivered as usize], ledger[Ledger::Filtered as usize]) {
        (1, 0) => "true".into(),
        (0, 1) => "false".into(),
        _ => format!("neither: {ledger:?}"),
    }
}
