//! Expressions and conditions, as trees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::integer;

/// A value that a probe can compute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Expr {
    /// A field of the probe's own: `arg.prev_pid`, `arg[0]`.
    Field {
        /// From the argument inwards.
        path: Vec<PathStep>,
    },
    /// A fact about the moment.
    Context {
        /// Which fact.
        name: Context,
    },
    /// The stack of return addresses.
    Stack {
        /// Whose stack.
        space: StackSpace,
        /// At most so many frames, innermost first.
        depth: Option<u32>,
    },
    /// A literal.
    Int {
        /// Within -2^63 … 2^64 - 1.
        #[serde(deserialize_with = "integer::one")]
        value: i128,
    },
    /// Two operands. 64 bits, wrapping; `//` and `%` floor, and by zero give 0.
    Binary {
        /// The operator.
        operator: BinaryOperator,
        /// Its left operand.
        left: Box<Expr>,
        /// Its right operand.
        right: Box<Expr>,
    },
    /// One operand.
    Unary {
        /// The operator.
        operator: UnaryOperator,
        /// Its operand.
        operand: Box<Expr>,
    },
    /// A value as it was at the start of a span, or at a function's entry.
    AtStart {
        /// Computed there.
        value: Box<Expr>,
    },
    /// A NUL-terminated string behind a pointer.
    String {
        /// The address, of user or kernel memory.
        pointer: Box<Expr>,
        /// At most so many bytes, the NUL included.
        limit: u32,
    },
}

/// A step of a field path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PathStep {
    /// A member by name.
    Name(String),
    /// An element or argument by position.
    Index(u32),
}

/// Facts about the moment at which a probe fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the field's standard word")]
pub enum Context {
    Pid,
    Tid,
    Ppid,
    Uid,
    Gid,
    Cgroup,
    Comm,
    Cpu,
    Timestamp,
    Utime,
    Stime,
    Task,
    ProbeName,
    /// What a function returned; of its type.
    Ret,
    /// The errno that a function returned, as a positive number: `-ret` within 1 … 4095, else 0.
    Error,
    /// Nanoseconds from the start of a span, or a function's entry.
    Elapsed,
}

/// Which stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StackSpace {
    /// The kernel's.
    Kernel,
    /// The process's.
    User,
}

/// Operators of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each is Python's operator")]
pub enum BinaryOperator {
    #[serde(rename = "+")]
    Add,
    #[serde(rename = "-")]
    Subtract,
    #[serde(rename = "*")]
    Multiply,
    #[serde(rename = "//")]
    FloorDivide,
    #[serde(rename = "%")]
    Modulo,
    #[serde(rename = "<<")]
    ShiftLeft,
    #[serde(rename = ">>")]
    ShiftRight,
    #[serde(rename = "&")]
    And,
    #[serde(rename = "|")]
    Or,
    #[serde(rename = "^")]
    Xor,
}

/// Operators of one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each is Python's operator")]
pub enum UnaryOperator {
    #[serde(rename = "-")]
    Negate,
    #[serde(rename = "~")]
    Invert,
}

/// A comparison. Of mixed signs it is mathematical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each is Python's operator")]
pub enum CompareOperator {
    #[serde(rename = "==")]
    Equal,
    #[serde(rename = "!=")]
    NotEqual,
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    LessEqual,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    GreaterEqual,
}

/// What decides whether a probe fires.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// Two integers.
    Compare {
        /// The relation.
        operator: CompareOperator,
        /// Its left side.
        left: Expr,
        /// Its right side.
        right: Expr,
    },
    /// A string equal to one of some literals.
    StringIn {
        /// The string.
        value: Expr,
        /// The literals (surrogate escapes already undone: any bytes but NUL).
        choices: Vec<Vec<u8>>,
    },
    /// A string that begins with a literal.
    StartsWith {
        /// The string.
        value: Expr,
        /// The literal.
        prefix: Vec<u8>,
    },
    /// An integer equal to one of some literals.
    IsIn {
        /// The integer.
        value: Expr,
        /// The literals.
        #[serde(deserialize_with = "integer::many")]
        choices: Vec<i128>,
    },
    /// All of them.
    And {
        /// At least one.
        terms: Vec<Condition>,
    },
    /// Any of them.
    Or {
        /// At least one.
        terms: Vec<Condition>,
    },
    /// Not this.
    Not {
        /// The condition.
        term: Box<Condition>,
    },
}
