//! Expressions in the script's own words, for error messages. In: a tree. Out: one line, never long.

use crate::spec::{BinaryOperator, CompareOperator, Context, Expr, PathStep, StackSpace, UnaryOperator};

/// Levels that are spelled out.
const LEVELS: usize = 4;

/// An expression as Python would spell it; what lies deep is `…`.
pub(super) fn say(expr: &Expr) -> String {
    spell(expr, LEVELS)
}

fn spell(expr: &Expr, levels: usize) -> String {
    let Some(levels) = levels.checked_sub(1) else { return "…".into() };
    match expr {
        Expr::Field { path } => path.iter().fold("arg".into(), |said, step| match step {
            PathStep::Name(name) => format!("{said}.{name}"),
            PathStep::Index(index) => format!("{said}[{index}]"),
        }),
        Expr::Context { name } => context(*name).into(),
        Expr::Stack { space, depth } => {
            let name = if *space == StackSpace::Kernel { "kstack" } else { "ustack" };
            depth.map_or_else(|| name.into(), |depth| format!("{name}[:{depth}]"))
        }
        Expr::Int { value } => value.to_string(),
        Expr::Binary { operator, left, right } => {
            format!("({} {} {})", spell(left, levels), binary(*operator), spell(right, levels))
        }
        Expr::Unary { operator, operand } => {
            let sign = if *operator == UnaryOperator::Negate { "-" } else { "~" };
            format!("{sign}{}", spell(operand, levels))
        }
        Expr::AtStart { value } => format!("at_start({})", spell(value, levels)),
        Expr::String { pointer, .. } => format!("string({})", spell(pointer, levels)),
    }
}

/// A string literal, shortened.
pub(super) fn literal(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

pub(super) fn context(name: Context) -> &'static str {
    match name {
        Context::Pid => "pid",
        Context::Tid => "tid",
        Context::Ppid => "ppid",
        Context::Uid => "uid",
        Context::Gid => "gid",
        Context::Cgroup => "cgroup",
        Context::Comm => "comm",
        Context::Cpu => "cpu",
        Context::Timestamp => "timestamp",
        Context::Utime => "utime",
        Context::Stime => "stime",
        Context::Task => "task",
        Context::ProbeName => "probe_name",
        Context::Ret => "ret",
        Context::Error => "error",
        Context::Elapsed => "elapsed",
    }
}

fn binary(operator: BinaryOperator) -> &'static str {
    match operator {
        BinaryOperator::Add => "+",
        BinaryOperator::Subtract => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::FloorDivide => "//",
        BinaryOperator::Modulo => "%",
        BinaryOperator::ShiftLeft => "<<",
        BinaryOperator::ShiftRight => ">>",
        BinaryOperator::And => "&",
        BinaryOperator::Or => "|",
        BinaryOperator::Xor => "^",
    }
}

pub(super) fn compare(operator: CompareOperator) -> &'static str {
    match operator {
        CompareOperator::Equal => "==",
        CompareOperator::NotEqual => "!=",
        CompareOperator::Less => "<",
        CompareOperator::LessEqual => "<=",
        CompareOperator::Greater => ">",
        CompareOperator::GreaterEqual => ">=",
    }
}
