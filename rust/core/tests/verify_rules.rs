//! Every rule of the spec's verifier: one change to a good spec, and the error that it must give, beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use spile_core::Error;
use spile_core::spec::{SessionSpec, verify};

fn good() -> Value {
    json!({
        "version": 1,
        "target": {"pid": null, "follow": true, "cgroup": null, "exclude_self": true},
        "limits": {"buffer": 8 << 20, "queue": 64 << 20, "stack_depth": 127, "stack_cache": 4096},
        "probes": [{
            "name": "sched_switch",
            "declared_at": null,
            "targets": [{"kind": "tracepoint", "category": "sched", "name": "sched_switch"}],
            "capture": {"kind": "fields", "fields": [{"name": "prev", "expr": field("prev_pid")}]},
            "where": null,
            "aggregates": [],
            "deliver": true
        }]
    })
}

fn field(name: &str) -> Value {
    json!({"op": "field", "path": [name]})
}

fn context(name: &str) -> Value {
    json!({"op": "context", "name": name})
}

fn int(value: impl Into<Value>) -> Value {
    json!({"op": "int", "value": value.into()})
}

fn kstack() -> Value {
    json!({"op": "stack", "space": "kernel", "depth": null})
}

fn compare(left: Value, operator: &str, right: Value) -> Value {
    json!({"op": "compare", "operator": operator, "left": left, "right": right})
}

fn bytes(text: &str) -> Value {
    json!(text.as_bytes())
}

fn string_in(value: Value, choices: &[&str]) -> Value {
    let choices: Vec<Value> = choices.iter().map(|choice| bytes(choice)).collect();
    json!({"op": "string_in", "value": value, "choices": choices})
}

fn is_in(value: Value, choices: Value) -> Value {
    json!({"op": "is_in", "value": value, "choices": choices})
}

fn starts_with(value: Value, prefix: &str) -> Value {
    json!({"op": "starts_with", "value": value, "prefix": bytes(prefix)})
}

fn all(terms: &[Value]) -> Value {
    json!({"op": "and", "terms": terms})
}

fn any(terms: &[Value]) -> Value {
    json!({"op": "or", "terms": terms})
}

fn not(term: Value) -> Value {
    json!({"op": "not", "term": term})
}

/// The good spec with the value at a JSON pointer replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut spec = good();
    *spec.pointer_mut(pointer).expect(pointer) = value;
    spec
}

/// The good spec with a probe of another target in the first one's place, which captures one value.
fn probing(target: Value, captured: Value) -> Value {
    let mut spec = with("/probes/0/targets", json!([target]));
    spec["probes"][0]["capture"]["fields"] = json!([{"name": "x", "expr": captured}]);
    spec
}

fn function(name: &str) -> Value {
    json!({"kind": "function", "name": name})
}

fn function_return(name: &str) -> Value {
    json!({"kind": "function_return", "name": name})
}

fn at_start(value: Value) -> Value {
    json!({"op": "at_start", "value": value})
}

/// A span from a first probe to a second, which captures one value.
fn spanning(start: Value, end: Value, captured: Value) -> Value {
    let mut spec = good();
    let feeding = |name: &str, target: Value| json!({"name": name, "targets": [target], "capture": {"kind": "fields", "fields": []}, "aggregates": [], "deliver": false});
    spec["probes"] = json!([feeding("begin", start), feeding("finish", end), {
        "name": "span",
        "targets": [],
        "span": {
            "start": [{"probe": 0, "key": context("task")}],
            "end": [{"probe": 1, "key": context("task")}],
            "restart": true,
            "max_open": 65536,
        },
        "capture": {"kind": "fields", "fields": [{"name": "x", "expr": captured}]},
        "aggregates": [],
        "deliver": true,
    }]);
    spec
}

/// The good span with the value at a JSON pointer replaced.
fn span_with(pointer: &str, value: Value) -> Value {
    let (wakeup, switch) =
        (json!({"kind": "raw_tracepoint", "name": "sched_wakeup"}), good()["probes"][0]["targets"][0].clone());
    let mut spec = spanning(wakeup, switch, context("elapsed"));
    *spec.pointer_mut(pointer).expect(pointer) = value;
    spec
}

fn errors(spec: &Value) -> Vec<(String, String)> {
    let flat = |error| match error {
        Error::Spec { path, message } => (path, message),
        other => panic!("{other:?}"),
    };
    match SessionSpec::from_json(&spec.to_string()) {
        Ok(_) => Vec::new(),
        Err(Error::Several { errors }) => errors.into_iter().map(flat).collect(),
        Err(error) => vec![flat(error)],
    }
}

#[track_caller]
fn refuses(spec: &Value, path: &str, words: &str) {
    let found = errors(spec);
    assert_eq!(found.len(), 1, "expected one error at {path}: {found:?}");
    assert!(found[0].0 == path && found[0].1.contains(words), "expected {path}: …{words}…, found {found:?}");
}

#[track_caller]
fn accepts(spec: &Value) {
    assert_eq!(errors(spec), []);
}

#[track_caller]
fn refuses_expr(expr: Value, path: &str, words: &str) {
    refuses(&with("/probes/0/capture/fields/0/expr", expr), &format!("probes[0].capture.fields[0].expr{path}"), words);
}

#[track_caller]
fn refuses_where(condition: Value, path: &str, words: &str) {
    refuses(&with("/probes/0/where", condition), &format!("probes[0].where{path}"), words);
}

#[track_caller]
fn accepts_where(condition: Value) {
    accepts(&with("/probes/0/where", condition));
}

#[test]
fn samples() {
    let mut sampled = good();
    for sample in [1, 2, 1 << 30] {
        sampled["probes"][0]["sample"] = json!(sample);
        accepts(&sampled);
    }
    for (sample, near) in [(0, "take 1"), ((1_u64 << 30) + 1, "take 1073741824"), (u64::MAX, "take 1073741824")] {
        sampled["probes"][0]["sample"] = json!(sample);
        refuses(&sampled, "probes[0].sample", near);
    }
    for (probe, word) in [(0, "begin is a side of a span"), (1, "finish is a side of a span")] {
        let mut sampled = span_with("/probes/2/deliver", json!(true));
        sampled["probes"][probe]["sample"] = json!(10);
        refuses(&sampled, &format!("probes[{probe}].sample"), word);
    }
    let mut sampled = span_with("/probes/2/deliver", json!(true));
    sampled["probes"][2]["sample"] = json!(10);
    accepts(&sampled);
}

#[test]
fn budgets() {
    let mut kept = good();
    for share in [json!(null), json!(1), json!(30_000), json!(1_000_000)] {
        kept["limits"]["max_overhead"] = share;
        accepts(&kept);
    }
    for share in [0, 1_000_001] {
        kept["limits"]["max_overhead"] = json!(share);
        refuses(&kept, "limits.max_overhead", "tracing takes 1 to 1000000 millionths");
    }
}

#[test]
fn a_good_spec_passes() {
    accepts(&good());
}

#[test]
fn the_form() {
    refuses(&with("/version", json!(2)), "version", "this build reads version 1");
    let mut newer = with("/version", json!(7));
    newer["novelty"] = json!(true);
    refuses(&newer, "version", "has version 7");
    let mut odd = good();
    odd["novelty"] = json!(true);
    refuses(&odd, "", "unknown field `novelty`");
    assert!(matches!(SessionSpec::from_json("{"), Err(Error::Spec { .. })));
}

#[test]
fn probes() {
    refuses(&with("/probes", json!([])), "probes", "a session with no probes");
    refuses(&with("/probes/0/deliver", json!(false)), "probes[0]", "does nothing");
    let mut twice = good();
    let again = twice["probes"][0].clone();
    twice["probes"].as_array_mut().unwrap().push(again);
    refuses(&twice, "probes[1].name", "name=");
    for bad in ["", "a b", "9p", "a.b", "a-b", "\u{0}"] {
        refuses(&with("/probes/0/name", json!(bad)), "probes[0].name", "is no name");
    }
    refuses(&with("/probes/0/name", json!("__class__")), "probes[0].name", "Python's own");
    accepts(&with("/probes/0/name", json!("größe_2")));
    let mut declared = with("/probes/0/deliver", json!(false));
    declared["probes"][0]["declared_at"] = json!("script.py:7");
    refuses(&declared, "probes[0]", "(probe sched_switch, declared at script.py:7)");
    let mut counts = with("/probes/0/deliver", json!(false));
    counts["probes"][0]["aggregates"] = json!([{"function": {"kind": "count"}, "by": []}]);
    accepts(&counts);
}

#[test]
fn aggregates() {
    let of = |function: Value, value: Value| {
        let aggregate = json!([{"function": function, "value": value, "by": [context("comm")]}]);
        with("/probes/0/aggregates", aggregate)
    };
    let plain = |kind: &str| json!({"kind": kind});
    let at = "probes[0].aggregates[0]";
    for kind in ["sum", "min", "max", "avg", "stats", "hist", "quantiles"] {
        accepts(&of(plain(kind), field("f")));
        accepts(&of(plain(kind), context("utime")));
        refuses(&of(plain(kind), Value::Null), &format!("{at}.value"), "say of what");
        refuses(&of(plain(kind), context("comm")), &format!("{at}.value"), "a string, no number");
        refuses(&of(plain(kind), kstack()), &format!("{at}.value"), "is a stack");
    }
    for function in [plain("distinct"), json!({"kind": "top", "size": 65_536})] {
        for value in [field("f"), context("comm"), kstack(), context("probe_name")] {
            accepts(&of(function.clone(), value));
        }
        refuses(&of(function, Value::Null), &format!("{at}.value"), "say of what");
    }
    refuses(&of(plain("count"), field("f")), &format!("{at}.value"), "a count has no value");
    for size in [0, 65_537] {
        refuses(&of(json!({"kind": "top", "size": size}), field("f")), &format!("{at}.function"), "1 to 65536");
    }
    let linear = |low: i64, high: i64, step: u64| {
        of(json!({"kind": "lhist", "low": low, "high": high, "step": step}), field("f"))
    };
    accepts(&linear(-100, 100, 8));
    accepts(&linear(i64::MIN, i64::MAX, u64::MAX));
    for (low, high, step) in [(0, 100, 0), (0, 0, 1), (5, 0, 5), (0, 100, 7), (0, 10, 20)] {
        refuses(&linear(low, high, step), &format!("{at}.function"), "no whole number of steps");
    }
    accepts(&linear(0, 65_536, 1));
    refuses(&linear(0, 65_537, 1), &format!("{at}.function"), "at most 65536");
    refuses(&of(plain("median"), field("f")), "", "unknown variant `median`");
    // A value takes a column, and one that is captured already takes none.
    let mut full = of(plain("sum"), field("f3"));
    let capture = |index| json!({"name": format!("c{index}"), "expr": field(&format!("f{index}"))});
    full["probes"][0]["capture"]["fields"] = json!((0..15).map(capture).collect::<Vec<_>>());
    accepts(&full);
    full["probes"][0]["aggregates"][0]["value"] = field("other");
    refuses(&full, "probes[0].capture", "this one has 17");
}

#[test]
fn targets() {
    refuses(&with("/probes/0/targets", json!([])), "probes[0].targets", "no target");
    let at_name = "/probes/0/targets/0/name";
    refuses(&with(at_name, json!("")), "probes[0].targets[0].name", "empty");
    for bad in ["a/b", "..", "a b", "a\u{0}", "é", &"x".repeat(200)] {
        refuses(&with(at_name, json!(bad)), "probes[0].targets[0].name", "can't be");
    }
    refuses(&with("/probes/0/targets/0/category", json!("../x")), "probes[0].targets[0].category", "can't be");
    accepts(&with("/probes/0/targets/0", json!({"kind": "tracepoint", "category": "9p", "name": "9p_fid_ref"})));
    let same = json!({"kind": "tracepoint", "category": "sched", "name": "sched_switch"});
    refuses(&with("/probes/0/targets", json!([same, same])), "probes[0].targets[1]", "stands twice");
    for (hz, is_good) in [(0, false), (1, true), (100_000, true), (100_001, false)] {
        let mut spec = with("/probes/0/targets/0", json!({"kind": "profile", "hz": hz}));
        spec["probes"][0]["capture"]["fields"] = json!([]);
        if is_good { accepts(&spec) } else { refuses(&spec, "probes[0].targets[0].hz", "1 to 100000") }
    }
}

#[test]
fn capture_names() {
    let at = "/probes/0/capture/fields/0/name";
    let path = "probes[0].capture.fields[0].name";
    refuses(&with(at, json!("a b")), path, "is no name");
    for header in ["id", "probe", "time", "cpu", "datetime"] {
        refuses(&with(at, json!(header)), path, "of its own");
    }
    // A field keeps its own name: raw_syscalls:sys_enter has one that is called id.
    accepts(&with("/probes/0/capture/fields/0", json!({"name": "id", "expr": field("id")})));
    accepts(&with("/probes/0/capture/fields/0", json!({"name": "cpu", "expr": context("cpu")})));
    let twice = json!([{"name": "x", "expr": field("a")}, {"name": "x", "expr": field("b")}]);
    refuses(&with("/probes/0/capture/fields", twice), "probes[0].capture.fields[1].name", "two captures are called x");
}

#[test]
fn captures_that_a_kind_does_not_have() {
    let timer = json!({"kind": "profile", "hz": 99});
    refuses(
        &with("/probes/0/targets/0", timer.clone()),
        "probes[0].capture.fields[0].expr",
        "a timer and has no fields",
    );
    let mut all_of_it = with("/probes/0/targets/0", timer);
    all_of_it["probes"][0]["capture"] = json!({"kind": "all"});
    refuses(&all_of_it, "probes[0].capture", "a timer and has no fields");
    refuses_expr(json!({"op": "field", "path": [0]}), "", "have names");
    let mut raw = with("/probes/0/targets/0", json!({"kind": "raw_tracepoint", "name": "sched_switch"}));
    raw["probes"][0]["capture"]["fields"][0]["expr"] = json!({"op": "field", "path": [0]});
    accepts(&raw);
    refuses_expr(json!({"op": "field", "path": []}), "", "name a field");
    refuses_expr(json!({"op": "field", "path": [""]}), "", "has no name");
}

#[test]
fn functions() {
    for good in ["vfs_read", "__x64_sys_read", "foo.isra.0", "a.constprop.3.cold", "overlay:ovl_open"] {
        accepts(&probing(function(good), context("pid")));
        accepts(&probing(function_return(good), context("ret")));
    }
    for bad in ["", "a-b", "vfs_*", "a b", "a:b:c", ":b", "a:", "é", &"x".repeat(512)] {
        refuses(&probing(function(bad), context("pid")), "probes[0].targets[0].name", "can't be a function's name");
    }
    accepts(&probing(function("vfs_read"), json!({"op": "field", "path": [0]})));
    let mut forced = probing(function("vfs_read"), context("pid"));
    for attach in ["auto", "fentry", "kprobe_multi", "kprobe"] {
        forced["probes"][0]["attach"] = json!(attach);
        accepts(&forced);
    }
    forced["probes"][0]["attach"] = json!("magic");
    refuses(&forced, "", "unknown variant `magic`");
    let mut no_function = good();
    no_function["probes"][0]["attach"] = json!("kprobe");
    refuses(&no_function, "probes[0].attach", "tracepoint:sched:sched_switch is none");
}

#[test]
fn outcomes() {
    let place = "probes[0].capture.fields[0].expr";
    for fact in ["ret", "error", "elapsed"] {
        accepts(&probing(function_return("vfs_read"), context(fact)));
        refuses(&probing(function("vfs_read"), context(fact)), place, "take function_return:vfs_read");
    }
    for fact in ["ret", "error"] {
        refuses_expr(context(fact), "", "as arg.ret");
        refuses(
            &probing(json!({"kind": "profile", "hz": 99}), context(fact)),
            place,
            "is a timer, and returns nothing",
        );
    }
    refuses_expr(context("elapsed"), "", "pair two probes by span()");
    let add = |left: Value| json!({"op": "binary", "operator": "+", "left": left, "right": int(1)});
    refuses(&probing(function("vfs_read"), add(context("ret"))), &format!("{place}.left"), "function_return");
    let mut asked = probing(function_return("vfs_read"), context("pid"));
    for possible in [
        compare(context("ret"), "<", int(0)),
        compare(context("error"), "==", int(4095)),
        compare(at_start(field("count")), "==", int(-1)),
    ] {
        asked["probes"][0]["where"] = possible;
        accepts(&asked);
    }
    asked["probes"][0]["where"] = compare(context("error"), ">", int(4095));
    refuses(&asked, "probes[0].where", "error lies within 0 … 4095");
    asked["probes"][0]["where"] = compare(at_start(context("pid")), "<", int(0));
    refuses(&asked, "probes[0].where", "at_start(pid) lies within");
    asked["probes"][0]["where"] = string_in(at_start(context("comm")), &["a_name_of_16_byt"]);
    refuses(&asked, "probes[0].where.choices[0]", "at most 15");
}

#[test]
fn at_the_start() {
    let place = "probes[0].capture.fields[0].expr";
    refuses_expr(at_start(context("comm")), "", "tracepoint:sched:sched_switch is one moment and has no start");
    refuses(&probing(function("vfs_read"), at_start(context("comm"))), place, "has no start");
    let at_entry = |value| probing(function_return("vfs_read"), at_start(value));
    for value in [context("comm"), kstack(), field("count")] {
        accepts(&at_entry(value));
    }
    for fact in ["ret", "error", "elapsed"] {
        refuses(&at_entry(context(fact)), &format!("{place}.value"), "not known yet");
    }
    refuses(&at_entry(at_start(context("pid"))), &format!("{place}.value"), "once is enough");
    let limit = |limit: u32| json!({"op": "string", "pointer": field("p"), "limit": limit});
    accepts(&at_entry(limit(16_384)));
    refuses(&at_entry(limit(16_385)), &format!("{place}.value"), "1 to 16384");
    let mut two = at_entry(limit(16_000));
    two["probes"][0]["capture"]["fields"].as_array_mut().unwrap().push(json!({"name": "y", "expr": limit(1_000)}));
    refuses(&two, "probes[0].capture", "lower limit=");

    // In a span, what is asked there follows the rules of its start.
    let place = "probes[2].capture.fields[0].expr";
    let (switch, timer) = (good()["probes"][0]["targets"][0].clone(), json!({"kind": "profile", "hz": 99}));
    let first = || json!({"op": "field", "path": [0]});
    accepts(&span_with("/probes/2/capture/fields/0/expr", at_start(first())));
    refuses(&span_with("/probes/2/capture/fields/0/expr", first()), place, "have names");
    refuses(&spanning(timer.clone(), switch.clone(), at_start(field("x"))), &format!("{place}.value"), "is a timer");
    accepts(&spanning(timer, switch.clone(), field("x")));
    accepts(&spanning(function_return("kmalloc"), switch.clone(), at_start(context("ret"))));
    refuses(&spanning(function("kmalloc"), switch, at_start(context("ret"))), &format!("{place}.value"), "entered");
    refuses(
        &span_with("/probes/2/capture/fields/0/expr", at_start(at_start(context("pid")))),
        &format!("{place}.value"),
        "once is enough",
    );
}

#[test]
fn spans() {
    accepts(&span_with("/probes/2/span/restart", json!(false)));
    let fact = "/probes/2/capture/fields/0/expr";
    for name in ["ret", "error"] {
        refuses(&span_with(fact, context(name)), "probes[2].capture.fields[0].expr", "a span has elapsed, and no");
    }
    let own = json!([{"kind": "profile", "hz": 99}]);
    refuses(&span_with("/probes/2/targets", own), "probes[2].targets", "no target of its own");
    let mut attached = span_with("/probes/2/deliver", json!(true));
    attached["probes"][2]["attach"] = json!("kprobe");
    refuses(&attached, "probes[2].attach", "is for functions");
    for (max_open, is_good) in [(0, false), (1, true), (1 << 20, true), ((1 << 20) + 1, false)] {
        let spec = span_with("/probes/2/span/max_open", json!(max_open));
        if is_good { accepts(&spec) } else { refuses(&spec, "probes[2].span.max_open", "1 to 1048576 starts") }
    }
    for (word, other) in [("start", 1), ("end", 0)] {
        let path = format!("probes[2].span.{word}");
        let at = |rest: &str| format!("/probes/2/span/{word}{rest}");
        let mut nothing = span_with(&at(""), json!([]));
        // Of what is not paired, the rest can't be told.
        nothing["probes"][2]["capture"]["fields"] = json!([]);
        nothing["probes"][other]["deliver"] = json!(true);
        nothing["probes"][1 - other]["deliver"] = json!(true);
        refuses(&nothing, &path, "a span needs a probe");
        for (probe, words) in [(2, "stands after the span"), (7, "there is no probe 7: the session has 3")] {
            let mut wrong = span_with(&at("/0/probe"), json!(probe));
            wrong["probes"][0]["deliver"] = json!(true);
            wrong["probes"][1]["deliver"] = json!(true);
            refuses(&wrong, &format!("{path}[0].probe"), words);
        }
        for (key, words) in [
            (context("comm"), "a string, no number"),
            (kstack(), "is a stack"),
            (context("probe_name"), "the same for every event"),
            (int(4), "the same at every hit"),
            (context("elapsed"), "one moment"),
            (at_start(context("pid")), "without at_start()"),
        ] {
            refuses(&span_with(&at("/0/key"), key), &format!("{path}[0].key"), words);
        }
        let mut twice = span_with(&at("/0/key"), context("pid"));
        let again = twice.pointer(&at("/0")).unwrap().clone();
        twice["probes"][2]["span"][word].as_array_mut().unwrap().push(again);
        refuses(&twice, &format!("{path}[1].probe"), "stands twice");
    }
    // One probe may begin and end: at one hit the end runs before the start.
    let mut both = span_with("/probes/2/span/start/0/probe", json!(1));
    both["probes"][0]["deliver"] = json!(true);
    accepts(&both);
    let mut nested = span_with("/probes/2/deliver", json!(true));
    let mut outer = nested["probes"][2].clone();
    outer["name"] = json!("outer");
    outer["span"]["start"][0]["probe"] = json!(2);
    nested["probes"].as_array_mut().unwrap().push(outer);
    refuses(&nested, "probes[3].span.start[0].probe", "span is a span itself");
    // Whoever feeds nothing must do something, and so must a span.
    refuses(&span_with("/probes/2/deliver", json!(false)), "probes[2]", "does nothing");
    let mut idle = span_with("/probes/2/span/start/0/probe", json!(1));
    idle["probes"][0]["deliver"] = json!(false);
    refuses(&idle, "probes[0]", "does nothing");
}

#[test]
fn sizes_of_an_event() {
    let fields = |count: usize| {
        let capture = |index| json!({"name": format!("c{index}"), "expr": field(&format!("f{index}"))});
        json!((0..count).map(capture).collect::<Vec<_>>())
    };
    let at = "/probes/0/capture/fields";
    accepts(&with(at, fields(16)));
    refuses(&with(at, fields(17)), "probes[0].capture", "at most 16 values");
    let mut keyed = with(at, fields(16));
    keyed["probes"][0]["aggregates"] = json!([{"function": {"kind": "count"}, "by": [field("f3")]}]);
    accepts(&keyed);
    keyed["probes"][0]["aggregates"][0]["by"] = json!([field("f3"), kstack()]);
    refuses(&keyed, "probes[0].capture", "this one has 17");
    let string = |limit: u32| json!({"op": "string", "pointer": field("p"), "limit": limit});
    refuses_expr(string(0), "", "1 to 16384");
    refuses_expr(string(16_385), "", "1 to 16384");
    let two = json!([{"name": "a", "expr": string(16_000)}, {"name": "b", "expr": string(1_000)}]);
    refuses(&with(at, two), "probes[0].capture", "lower limit=");
    let mut small = with("/probes/0/capture/fields/0/expr", string(16_384));
    small["limits"]["buffer"] = json!(4096);
    refuses(&small, "probes[0].capture", "raise buffer=");
    accepts(&with("/probes/0/capture/fields/0/expr", string(16_384)));
}

#[test]
fn types() {
    let add = |left: Value, right: Value| json!({"op": "binary", "operator": "+", "left": left, "right": right});
    refuses_expr(add(context("comm"), int(1)), ".left", "a string, no number");
    refuses_expr(add(int(1), kstack()), ".right", "is a stack");
    refuses_expr(add(int(1), context("probe_name")), ".right", "the same for every event");
    refuses_expr(json!({"op": "unary", "operator": "~", "operand": kstack()}), ".operand", "is a stack");
    refuses_expr(json!({"op": "string", "pointer": context("comm"), "limit": 8}), ".pointer", "a string, no number");
    refuses_expr(json!({"op": "string", "pointer": int(8), "limit": 8}), "", "reads no variable");
    for depth in [0, 128] {
        refuses_expr(json!({"op": "stack", "space": "user", "depth": depth}), "", "1 to 127 frames");
    }
    refuses_where(compare(kstack(), "==", int(1)), ".left", "is a stack");
    refuses_where(compare(context("comm"), "<", int(1)), ".left", "a string, no number");
    refuses_where(compare(context("probe_name"), "==", int(1)), ".left", "the same for every event");
    refuses_where(string_in(context("pid"), &["x"]), ".value", "is a number");
    refuses_where(starts_with(kstack(), "x"), ".value", "is a stack");
    refuses_where(is_in(context("comm"), json!([1])), ".value", "a string, no number");
    accepts_where(string_in(field("prev_comm"), &["cc1"]));
    accepts_where(compare(field("prev_comm"), "==", int(1)));
}

#[test]
fn literals() {
    refuses_where(string_in(context("comm"), &["ok", "a_name_of_16_byt"]), ".choices[1]", "at most 15");
    refuses_where(starts_with(context("comm"), "a_name_of_16_byt"), ".prefix", "at most 15");
    refuses_where(string_in(field("f"), &["a\u{0}b"]), ".choices[0]", "NUL");
    let string = json!({"op": "string", "pointer": field("p"), "limit": 4});
    refuses_where(string_in(string.clone(), &["four"]), ".choices[0]", "at most 3");
    accepts_where(string_in(string, &["for"]));
    accepts_where(compare(field("x"), "==", int(u64::MAX)));
    accepts_where(compare(field("x"), "==", int(i64::MIN)));
    // Larger numbers can't come by JSON; they can from Rust.
    let mut spec: SessionSpec = serde_json::from_value(good()).unwrap();
    let literal = |value| spile_core::spec::Expr::Int { value };
    for (value, is_good) in [((1 << 64) - 1, true), (1 << 64, false), (-(1 << 63), true), (-(1 << 63) - 1, false)] {
        let fields = vec![spile_core::spec::NamedExpr { name: "x".into(), expr: literal(value) }];
        spec.probes[0].capture = spile_core::spec::Capture::Fields { fields };
        assert_eq!(verify(&spec).is_ok(), is_good, "{value}");
    }
}

#[test]
fn lists() {
    refuses_where(is_in(field("x"), json!([])), ".choices", "at least one");
    refuses_where(string_in(field("x"), &[]), ".choices", "at least one");
    refuses_where(all(&[]), ".terms", "no condition");
    refuses_where(not(any(&[])), ".term.terms", "no condition");
}

#[test]
fn depth() {
    let mut expr = field("x");
    for _ in 0..200 {
        expr = json!({"op": "unary", "operator": "~", "operand": expr});
    }
    let found = errors(&with("/probes/0/capture/fields/0/expr", expr));
    assert!(found[0].1.contains("nested too deeply"), "{found:?}");
    let mut expr = field("x");
    for _ in 0..70 {
        expr = json!({"op": "unary", "operator": "~", "operand": expr});
    }
    let found = errors(&with("/probes/0/capture/fields/0/expr", expr));
    assert!(found[0].0.starts_with("probes[0].capture") && found[0].1.contains("nested too deeply"), "{found:?}");
    let mut condition = compare(field("x"), "==", int(1));
    for _ in 0..30 {
        condition = not(condition);
    }
    accepts_where(condition);
}

#[test]
fn contradictions() {
    let x = |operator, value: i64| compare(field("x"), operator, int(value));
    refuses_where(compare(int(1), "==", int(2)), "", "1 == 2");
    refuses_where(all(&[x("==", 1), x("==", 2)]), ".terms[1]", "arg.x == 1 and arg.x == 2");
    refuses_where(all(&[x(">", 5), x("<", 5)]), ".terms[1]", "arg.x > 5 and arg.x < 5");
    refuses_where(all(&[x(">", 5), x("<", 7), x("!=", 6)]), ".terms[2]", "arg.x != 6");
    refuses_where(all(&[x("==", 1), compare(int(3), "<", field("x"))]), ".terms[1]", "3 < arg.x");
    refuses_where(all(&[is_in(field("x"), json!([1, 2])), x(">=", 3)]), ".terms[1]", "isin(arg.x");
    refuses_where(all(&[not(any(&[x("==", 1), x("==", 2)])), is_in(field("x"), json!([1, 2]))]), ".terms[1]", "isin");
    refuses_where(all(&[x("==", 1), any(&[x("==", 2), x("==", 3)])]), ".terms[1]", "arg.x == 1 and arg.x == 2");
    refuses_where(any(&[all(&[x("<", 1), x(">", 1)]), compare(int(0), ">", int(0))]), "", "arg.x < 1");
    refuses_where(compare(context("pid"), "==", int(-1)), "", "pid lies within 0 … 4294967295");
    refuses_where(compare(context("pid"), "<", json!({"op": "unary", "operator": "-", "operand": int(3)})), "", "pid");
    refuses_where(compare(field("x"), "!=", field("x")), "", "arg.x != arg.x");
    let comm = |choices: &[&str]| string_in(context("comm"), choices);
    refuses_where(all(&[comm(&["a"]), comm(&["b"])]), ".terms[1]", "comm == \"a\" and comm == \"b\"");
    refuses_where(all(&[comm(&["a", "b"]), not(comm(&["b", "a"]))]), ".terms[1].term", "~isin(comm");
    refuses_where(all(&[comm(&["ab"]), starts_with(context("comm"), "b")]), ".terms[1]", "startswith(comm, \"b\")");
    refuses_where(
        all(&[starts_with(context("comm"), "ab"), starts_with(context("comm"), "b")]),
        ".terms[1]",
        "startswith",
    );
    refuses_where(
        all(&[starts_with(context("comm"), "ab"), not(starts_with(context("comm"), "a"))]),
        ".terms[1].term",
        "~starts",
    );

    accepts_where(all(&[x(">", 5), x("<", 7)]));
    accepts_where(all(&[x("==", 1), compare(field("y"), "==", int(2))]));
    accepts_where(any(&[x("==", 1), x("==", 2)]));
    accepts_where(not(all(&[x("==", 1), x("==", 2)])));
    accepts_where(all(&[x("!=", 1), any(&[x("==", 1), x("==", 2)])]));
    accepts_where(all(&[starts_with(context("comm"), "kw"), starts_with(context("comm"), "kwork")]));
    accepts_where(all(&[starts_with(context("comm"), "kw"), not(comm(&["kworker/0:0"]))]));
    accepts_where(compare(field("x"), "<=", field("x")));
}

#[test]
fn filter() {
    refuses(&with("/target/pid", json!(0)), "target.pid", "idle");
    refuses(&with("/target/pid", json!(1u32 << 31)), "target.pid", "no process");
    refuses(&with("/target/cgroup", json!(0)), "target.cgroup", "inode");
    accepts(&with("/target/pid", json!(1)));
}

#[test]
fn limits() {
    for (name, bad, good) in [
        ("buffer", json!([0, 1, 2048, 4097, 1u64 << 31]), json!([4096, 1 << 30])),
        ("queue", json!([0, 65_535, (64u64 << 30) + 1]), json!([65_536, 64u64 << 30])),
        ("stack_depth", json!([0, 128]), json!([1, 127])),
        ("stack_cache", json!([0, 3, 1 << 21]), json!([1, 1 << 20])),
    ] {
        for bad in bad.as_array().unwrap() {
            refuses(&with(&format!("/limits/{name}"), bad.clone()), &format!("limits.{name}"), name);
        }
        for good in good.as_array().unwrap() {
            accepts(&with(&format!("/limits/{name}"), good.clone()));
        }
    }
}

#[test]
fn all_errors_come_together() {
    let mut spec = with("/probes/0/name", json!("a b"));
    spec["limits"]["queue"] = json!(1);
    spec["probes"][0]["where"] = string_in(context("pid"), &["x"]);
    assert_eq!(errors(&spec).len(), 3);
}
