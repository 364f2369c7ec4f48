//! The spec's JSON under random input: trees go through unchanged, and nothing that arrives makes the verifier panic.
//! What it calls impossible must be false for every value tried.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use spile_core::Error;
use spile_core::spec::*;

fn integers() -> impl Strategy<Value = i128> {
    prop_oneof![-4..4i128, -(1i128 << 63)..(1i128 << 64), any::<i64>().prop_map(i128::from)]
}

fn exprs() -> impl Strategy<Value = Expr> {
    use BinaryOperator::*;
    let step = prop_oneof!["[a-z_]{0,4}".prop_map(PathStep::Name), (0..9u32).prop_map(PathStep::Index)];
    let space = prop_oneof![Just(StackSpace::Kernel), Just(StackSpace::User)];
    let name = prop::sample::select(vec![
        Context::Pid,
        Context::Comm,
        Context::Cpu,
        Context::Utime,
        Context::ProbeName,
        Context::Ret,
        Context::Error,
        Context::Elapsed,
    ]);
    let leaf = prop_oneof![
        vec(step, 0..3).prop_map(|path| Expr::Field { path }),
        name.prop_map(|name| Expr::Context { name }),
        (space, prop::option::of(0..200u32)).prop_map(|(space, depth)| Expr::Stack { space, depth }),
        integers().prop_map(|value| Expr::Int { value }),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        let operator = prop::sample::select(vec![Add, Subtract, FloorDivide, Modulo, ShiftLeft, And, Xor]);
        let sign = prop_oneof![Just(UnaryOperator::Negate), Just(UnaryOperator::Invert)];
        let boxed = inner.prop_map(Box::new);
        prop_oneof![
            (operator, boxed.clone(), boxed.clone()).prop_map(|(operator, left, right)| Expr::Binary {
                operator,
                left,
                right
            }),
            (sign, boxed.clone()).prop_map(|(operator, operand)| Expr::Unary { operator, operand }),
            boxed.clone().prop_map(|value| Expr::AtStart { value }),
            (boxed, 0..20_000u32).prop_map(|(pointer, limit)| Expr::String { pointer, limit }),
        ]
    })
}

fn operators() -> impl Strategy<Value = CompareOperator> {
    use CompareOperator::*;
    prop::sample::select(vec![Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual])
}

fn trees(leaf: impl Strategy<Value = Condition> + 'static) -> impl Strategy<Value = Condition> {
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(|terms| Condition::And { terms }),
            vec(inner.clone(), 1..4).prop_map(|terms| Condition::Or { terms }),
            inner.prop_map(|term| Condition::Not { term: Box::new(term) }),
        ]
    })
}

fn conditions() -> impl Strategy<Value = Condition> {
    trees(prop_oneof![
        (operators(), exprs(), exprs()).prop_map(|(operator, left, right)| Condition::Compare {
            operator,
            left,
            right
        }),
        (exprs(), vec(vec(any::<u8>(), 0..20), 0..3))
            .prop_map(|(value, choices)| Condition::StringIn { value, choices }),
        (exprs(), vec(any::<u8>(), 0..20)).prop_map(|(value, prefix)| Condition::StartsWith { value, prefix }),
        (exprs(), vec(integers(), 0..3)).prop_map(|(value, choices)| Condition::IsIn { value, choices }),
    ])
}

/// Conditions over one small number and one short string, which can be tried out.
fn small_conditions() -> impl Strategy<Value = Condition> {
    let number = || Expr::Field { path: vec![PathStep::Name("n".into())] };
    let text = || Expr::Field { path: vec![PathStep::Name("s".into())] };
    let strings = || vec(b'a'..b'c', 0..3);
    trees(prop_oneof![
        (operators(), -1..4i128).prop_map(move |(operator, value)| Condition::Compare {
            operator,
            left: number(),
            right: Expr::Int { value }
        }),
        (operators(), -1..4i128).prop_map(move |(operator, value)| Condition::Compare {
            operator,
            left: Expr::Int { value },
            right: number()
        }),
        vec(0..4i128, 1..3).prop_map(move |choices| Condition::IsIn { value: number(), choices }),
        vec(strings(), 1..3).prop_map(move |choices| Condition::StringIn { value: text(), choices }),
        strings().prop_map(move |prefix| Condition::StartsWith { value: text(), prefix }),
    ])
}

fn holds(condition: &Condition, n: i128, s: &[u8]) -> bool {
    let number = |expr: &Expr| if let Expr::Int { value } = expr { *value } else { n };
    match condition {
        Condition::Compare { operator, left, right } => {
            let (left, right) = (number(left), number(right));
            match operator {
                CompareOperator::Equal => left == right,
                CompareOperator::NotEqual => left != right,
                CompareOperator::Less => left < right,
                CompareOperator::LessEqual => left <= right,
                CompareOperator::Greater => left > right,
                CompareOperator::GreaterEqual => left >= right,
            }
        }
        Condition::StringIn { choices, .. } => choices.iter().any(|choice| choice == s),
        Condition::StartsWith { prefix, .. } => s.starts_with(prefix),
        Condition::IsIn { choices, .. } => choices.contains(&n),
        Condition::And { terms } => terms.iter().all(|term| holds(term, n, s)),
        Condition::Or { terms } => terms.iter().any(|term| holds(term, n, s)),
        Condition::Not { term } => !holds(term, n, s),
    }
}

fn aggregates() -> impl Strategy<Value = AggregateSpec> {
    use AggregateFunction::*;
    let function = prop_oneof![
        prop::sample::select(vec![Count, Sum, Min, Max, Avg, Stats, Hist, Quantiles, Distinct]),
        (any::<i64>(), any::<i64>(), any::<u64>()).prop_map(|(low, high, step)| Lhist { low, high, step }),
        any::<u32>().prop_map(|size| Top { size }),
    ];
    (function, prop::option::of(exprs()), vec(exprs(), 0..3)).prop_map(|(function, value, by)| AggregateSpec {
        function,
        value,
        by,
    })
}

fn counted(by: Vec<Expr>) -> Vec<AggregateSpec> {
    vec![AggregateSpec { function: AggregateFunction::Count, value: None, by }]
}

fn spec(
    name: String,
    captures: Vec<Expr>,
    aggregates: Vec<AggregateSpec>,
    condition: Option<Condition>,
) -> SessionSpec {
    let name_of = |(index, expr)| NamedExpr { name: format!("c{index}"), expr };
    let fields = captures.into_iter().enumerate().map(name_of).collect();
    let target = Target::Tracepoint { category: "sched".into(), name: "sched_switch".into() };
    SessionSpec {
        version: SPEC_VERSION,
        target: TargetFilter { pid: None, follow: false, cgroup: None, exclude_self: true },
        limits: Limits {
            buffer: 1 << 20,
            queue: 1 << 20,
            stack_depth: 127,
            stack_cache: 1024,
            transport: Default::default(),
            tables: 32 << 20,
            on_full: Default::default(),
            max_overhead: None,
        },
        probes: vec![ProbeSpec {
            name,
            declared_at: None,
            targets: vec![target, Target::Profile { hz: 99 }],
            span: None,
            attach: Attach::Auto,
            sample: 1,
            capture: Capture::Fields { fields },
            condition,
            aggregates,
            deliver: true,
        }],
    }
}

fn span(mut captures: Vec<Expr>) -> ProbeSpec {
    let key = captures.pop().unwrap_or(Expr::Context { name: Context::Task });
    let side = || vec![SpanSide { probe: 0, key: key.clone() }];
    let span = SpanSpec { start: side(), end: side(), restart: true, max_open: 64 };
    let mut probes = spec("span".into(), captures, counted(vec![]), None).probes;
    ProbeSpec { targets: vec![], span: Some(span), ..probes.remove(0) }
}

fn values() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "version",
        "target",
        "limits",
        "probes",
        "name",
        "targets",
        "capture",
        "kind",
        "fields",
        "expr",
        "op",
        "path",
        "where",
        "terms",
        "term",
        "and",
        "not",
        "int",
        "value",
        "tracepoint",
        "field",
        "all",
        "span",
        "start",
        "end",
        "probe",
        "key",
        "at_start",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((word.clone(), inner), 0..5)
                .prop_map(|items| Value::Object(items.into_iter().map(|(key, value)| (key.into(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn specs_go_through_json_unchanged(
        name in any::<String>(), captures in vec(exprs(), 0..5), aggregates in vec(aggregates(), 0..3),
        condition in prop::option::of(conditions()), spanned in vec(exprs(), 0..3),
    ) {
        let mut spec = spec(name, captures, aggregates, condition);
        spec.probes.push(span(spanned));
        let text = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(&serde_json::from_str::<SessionSpec>(&text).unwrap(), &spec);
        if let Err(error) = verify(&spec) {
            let errors = if let Error::Several { errors } = error { errors } else { vec![error] };
            for error in errors {
                let is_placed = matches!(&error, Error::Spec { path, message } if !path.is_empty() && !message.is_empty());
                prop_assert!(is_placed, "{:?}", error);
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = SessionSpec::from_json(&text);
    }

    #[test]
    fn arbitrary_json_never_panics(value in values(), place in 0..17usize) {
        let _ = SessionSpec::from_json(&value.to_string());
        let mut good = spec("probe".into(), vec![Expr::Int { value: 1 }], counted(vec![]), None);
        good.probes.push(span(vec![Expr::Context { name: Context::Elapsed }]));
        let mut good = serde_json::to_value(good).unwrap();
        let pointer = [
            "/version", "/target", "/limits/buffer", "/probes", "/probes/0/name", "/probes/0/targets/0", "/probes/0/capture",
            "/probes/0/capture/fields/0/expr", "/probes/0/capture/fields/0/expr/value", "/probes/0/where",
            "/probes/0/aggregates", "/probes/0/aggregates/0/by", "/probes/0/aggregates/0/function", "/probes/0/aggregates/0/value", "/probes/1/span", "/probes/1/span/start", "/probes/1/span/start/0/key",
        ][place];
        *good.pointer_mut(pointer).unwrap() = value;
        let _ = SessionSpec::from_json(&good.to_string());
    }

    #[test]
    fn what_is_refused_as_impossible_is(condition in small_conditions()) {
        let mut spec = spec("probe".into(), vec![], counted(vec![]), Some(condition.clone()));
        spec.probes[0].targets.truncate(1);
        if let Err(error) = verify(&spec) {
            prop_assert!(error.to_string().contains("can never hold"), "{}", error);
            let mut strings = vec![vec![]];
            for length in 0..4 {
                let longer: Vec<Vec<u8>> = strings.iter().filter(|s: &&Vec<u8>| s.len() == length).flat_map(|s| [b'a', b'b', b'c'].map(|c| [s.as_slice(), &[c]].concat())).collect();
                strings.extend(longer);
            }
            for n in -3..7 {
                for s in &strings {
                    prop_assert!(!holds(&condition, n, s), "it holds for {n} and {s:?}: {error}");
                }
            }
        }
    }
}
