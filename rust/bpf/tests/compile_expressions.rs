//! Any expression and any condition: the compiled program, run in rbpf, against arithmetic on numbers without limits.

#![cfg(target_pointer_width = "64")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod compile_support;

use compile_support::machine::{KERNEL, Machine};
use compile_support::*;
use proptest::prelude::*;
use spile_bpf::compile::{Access, Leaf, ProgramKind};
use spile_core::layout::FieldType;
use spile_core::spec::{BinaryOperator as B, CompareOperator as C, Condition, Expr, UnaryOperator as U};

/// The context: one integer of each type, then a pointer to the same in kernel memory, then one to nowhere.
const NAMES: [(&str, u32, u8, bool); 8] = [
    ("u64", 0, 8, false),
    ("s64", 8, 8, true),
    ("u32", 16, 4, false),
    ("s32", 20, 4, true),
    ("u16", 24, 2, false),
    ("s16", 26, 2, true),
    ("u8", 28, 1, false),
    ("s8", 29, 1, true),
];
const READ: [&str; 8] = ["*u64", "*s64", "*u32", "*s32", "*u16", "*s16", "*u8", "*s8"];

fn fields() -> Table {
    let mut table = Vec::new();
    for ((name, offset, size, signed), read) in NAMES.into_iter().zip(READ) {
        table.push((name, Access::Ctx { offset, size, signed }));
        let leaf = Leaf::Int { size, signed };
        table.push((read, Access::Read { ctx_offset: 32, derefs: vec![], offset, leaf }));
    }
    let leaf = Leaf::Int { size: 4, signed: true };
    table.push(("lost", Access::Read { ctx_offset: 40, derefs: vec![8], offset: 0, leaf }));
    Table(table)
}

/// A value as mathematics has it, and its type.
#[derive(Debug, Clone, Copy)]
struct Exact {
    value: i128,
    size: u8,
    signed: bool,
}

#[derive(Debug)]
struct Fault;

fn wrapped(value: i128, size: u8, signed: bool) -> Exact {
    let bits = 8 * u32::from(size);
    let low = value & ((1 << bits) - 1);
    let value = if signed && low >> (bits - 1) == 1 { low - (1 << bits) } else { low };
    Exact { value, size, signed }
}

fn evaluate(expr: &Expr, ctx: &[u8]) -> Result<Exact, Fault> {
    Ok(match expr {
        Expr::Int { value } => wrapped(*value, 8, *value <= i64::MAX.into()),
        Expr::Field { path } => {
            let spile_core::spec::PathStep::Name(name) = &path[0] else { unreachable!() };
            let plain = name.trim_start_matches('*');
            let Some((_, offset, size, signed)) = NAMES.into_iter().find(|field| field.0 == plain) else {
                return Err(Fault);
            };
            let mut bytes = [0; 16];
            bytes[..size.into()].copy_from_slice(&ctx[offset as usize..][..size.into()]);
            wrapped(i128::from_le_bytes(bytes), size, signed)
        }
        Expr::Unary { operator, operand } => {
            let operand = evaluate(operand, ctx)?;
            match operator {
                U::Invert => wrapped(!operand.value, operand.size, operand.signed),
                U::Negate => wrapped(-operand.value, 8, operand.signed || operand.size < 8),
            }
        }
        Expr::Binary { operator, left, right } => {
            let (left, right) = (evaluate(left, ctx)?, evaluate(right, ctx)?);
            let is_u64 = |exact: Exact| exact.size == 8 && !exact.signed;
            let signed = !is_u64(left) && !is_u64(right);
            let (a, b) = (wrapped(left.value, 8, signed).value, wrapped(right.value, 8, signed).value);
            let floor = |a: i128, b: i128| a.div_euclid(b) - i128::from(b < 0 && a.rem_euclid(b) != 0);
            // Rust's Euclidean division rounds so that the remainder is at least 0; Python's floors.
            let value = match operator {
                B::Add => a + b,
                B::Subtract => a - b,
                B::Multiply => a.wrapping_mul(b),
                B::FloorDivide if b == 0 => 0,
                B::Modulo if b == 0 => 0,
                B::FloorDivide => floor(a, b),
                B::Modulo => a - floor(a, b) * b,
                B::And => a & b,
                B::Or => a | b,
                B::Xor => a ^ b,
                B::ShiftLeft | B::ShiftRight => {
                    let is_far = !(0..64).contains(&right.value);
                    let shifted = match operator {
                        _ if is_far && (*operator == B::ShiftLeft || left.value >= 0) => 0,
                        _ if is_far => -1,
                        B::ShiftLeft => left.value << right.value,
                        _ => left.value >> right.value,
                    };
                    return Ok(wrapped(shifted, 8, !is_u64(left)));
                }
            };
            wrapped(value, 8, signed)
        }
        _ => unreachable!("the strategy makes none"),
    })
}

fn holds(condition: &Condition, ctx: &[u8]) -> Result<bool, Fault> {
    Ok(match condition {
        Condition::Compare { operator, left, right } => {
            let (left, right) = (evaluate(left, ctx)?.value, evaluate(right, ctx)?.value);
            match operator {
                C::Equal => left == right,
                C::NotEqual => left != right,
                C::Less => left < right,
                C::LessEqual => left <= right,
                C::Greater => left > right,
                C::GreaterEqual => left >= right,
            }
        }
        Condition::IsIn { value, choices } => choices.contains(&evaluate(value, ctx)?.value),
        Condition::Not { term } => !holds(term, ctx)?,
        Condition::And { terms } => {
            for term in terms {
                if !holds(term, ctx)? {
                    return Ok(false);
                }
            }
            true
        }
        Condition::Or { terms } => {
            for term in terms {
                if holds(term, ctx)? {
                    return Ok(true);
                }
            }
            false
        }
        _ => unreachable!("the strategy makes none"),
    })
}

fn number() -> impl Strategy<Value = i128> {
    let edges = [0, 1, 2, 7, 8, 63, 64, 65, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff];
    let wide = [i128::from(i32::MAX), i128::from(u32::MAX), i64::MAX.into(), u64::MAX.into(), 1 << 31, 1 << 63];
    prop_oneof![
        proptest::sample::select(edges.to_vec()),
        proptest::sample::select(edges.to_vec()).prop_map(|value| -value),
        proptest::sample::select(wide.to_vec()),
        Just(i64::MIN.into()),
        any::<i64>().prop_map(i128::from),
        any::<u64>().prop_map(i128::from),
    ]
}

fn expr(may_fault: bool) -> impl Strategy<Value = Expr> {
    let reads = if may_fault { 1 } else { 0 };
    let leaf = prop_oneof![
        4 => proptest::sample::select(NAMES.map(|field| field.0).to_vec()).prop_map(field),
        4 => number().prop_map(int),
        2 => proptest::sample::select(READ.to_vec()).prop_map(field),
        reads => Just(field("lost")),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        let operators = [
            B::Add,
            B::Subtract,
            B::Multiply,
            B::FloorDivide,
            B::Modulo,
            B::ShiftLeft,
            B::ShiftRight,
            B::And,
            B::Or,
            B::Xor,
        ];
        prop_oneof![
            6 => (proptest::sample::select(operators.to_vec()), inner.clone(), inner.clone())
                .prop_map(|(operator, left, right)| binary(operator, left, right)),
            1 => (proptest::sample::select(vec![U::Negate, U::Invert]), inner)
                .prop_map(|(operator, operand)| unary(operator, operand)),
        ]
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let operators = [C::Equal, C::NotEqual, C::Less, C::LessEqual, C::Greater, C::GreaterEqual];
    let leaf = prop_oneof![
        (proptest::sample::select(operators.to_vec()), expr(true), expr(true))
            .prop_map(|(operator, left, right)| compare(operator, left, right)),
        (expr(true), proptest::collection::vec(number(), 1..4))
            .prop_map(|(value, choices)| Condition::IsIn { value, choices }),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let terms = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            terms.clone().prop_map(|terms| Condition::And { terms }),
            terms.prop_map(|terms| Condition::Or { terms }),
            inner.prop_map(|term| Condition::Not { term: Box::new(term) }),
        ]
    })
}

fn context() -> impl Strategy<Value = Vec<u8>> {
    proptest::array::uniform8(number()).prop_map(|values| {
        let mut ctx = vec![0; 48];
        for ((_, offset, size, _), value) in NAMES.into_iter().zip(values) {
            ctx[offset as usize..][..size.into()].copy_from_slice(&value.to_le_bytes()[..size.into()]);
        }
        ctx[32..40].copy_from_slice(&(KERNEL + 16).to_le_bytes());
        ctx
    })
}

fn machine(ctx: &[u8]) -> Machine {
    let mut machine = Machine::new();
    machine.kernel = [&[0; 16], &ctx[..32]].concat();
    machine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn captures_are_exact(exprs in proptest::collection::vec(expr(true), 1..6), mut ctx in context()) {
        let (layout, program) = compiled(ProgramKind::RawTracepoint, &probe(&exprs, None), &fields(), &options());
        let expected: Vec<_> = exprs.iter().map(|expr| evaluate(expr, &ctx)).collect();
        let machine = machine(&ctx).run(&program, &mut ctx);
        let record = machine.record();
        let nulls = u16::from_le_bytes([record[10], record[11]]);
        for (column, expected) in expected.into_iter().enumerate() {
            let (slot, ty) = (layout.slots[column], layout.schema.fields[column].ty);
            let FieldType::Int { size, signed } = ty else { unreachable!() };
            let mut bytes = [0; 16];
            bytes[..size.into()].copy_from_slice(&record[slot.offset.unwrap() as usize..][..size.into()]);
            let found = wrapped(i128::from_le_bytes(bytes), size, signed).value;
            match expected {
                Ok(expected) => {
                    prop_assert_eq!((expected.size, expected.signed), (size, signed));
                    prop_assert_eq!(expected.value, found, "{:?}\n{}", exprs[column], program.ir_text());
                    prop_assert_eq!(nulls >> column & 1, 0);
                }
                Err(Fault) => prop_assert_eq!((found, nulls >> column & 1), (0, 1)),
            }
        }
    }

    #[test]
    fn conditions_are_exact(condition in condition(), mut ctx in context()) {
        let probe = probe(&[], Some(condition.clone()));
        let (_, program) = compiled(ProgramKind::RawTracepoint, &probe, &fields(), &options());
        let (filtered, delivered, faulted) = match holds(&condition, &ctx) {
            Ok(true) => (0, 1, 0),
            Ok(false) => (1, 0, 0),
            Err(Fault) => (0, 0, 1),
        };
        let machine = machine(&ctx).run(&program, &mut ctx);
        prop_assert_eq!(&machine.ledger[..8], &[1, filtered, delivered, 0, 0, 0, faulted, 0], "{}", program.ir_text());
    }
}
