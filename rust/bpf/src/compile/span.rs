//! What a span keeps between its start and its end. In: its `at_start()` values, and the fields of every start. Out: where
//! each lies in an entry of [`MapRef::Open`].
//!
//! An entry is words: the start's time; where a value may be missing, a word of null bits; then the values, each from a
//! multiple of 8. A number is widened to 64 bits as its own type wants; a stack is its hash; a comm or a character array
//! is its bytes; a string is a word (its length without the NUL from bit 16 on, "cut" in bit 31, as in a record's slot)
//! and its bytes.
//!
//! [`MapRef::Open`]: super::MapRef::Open

use spile_core::error::Error;
use spile_core::layout::FieldType;
use spile_core::spec::{Condition, Context, Expr};

use super::access::{Access, Fields};
use super::schema::type_of;

/// The most bytes of an entry.
pub const MAX_KEPT: u32 = 8192;
/// The most bytes kept of a string whose length the script didn't limit.
const DEFAULT_KEPT_STRING: u32 = 256;
/// Bits of the word that says which values are missing.
const MOST_NULLABLE: usize = 32;

/// Where the start's time is.
pub(super) const TIME: u32 = 0;
/// Where the null bits are.
pub(super) const NULLS: u32 = 8;

/// A value from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub expr: Expr,
    pub ty: FieldType,
    pub offset: u32,
    /// The bit that says it is missing, where it can be.
    pub null: Option<u8>,
}

/// An entry's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanLayout {
    pub(super) kept: Vec<Kept>,
    /// Words of the start's context, by their offsets in it. They stand behind everything else.
    words: Vec<u32>,
    size: u32,
}

/// What tells one open span from the others.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// A number of each side's own.
    Of(&'a Expr),
    /// One call of a function: its place on the stack, which no other call has that goes on at the same time, whether it
    /// is of the same function, of another task or of an interrupt. The start's id is the end's and one.
    Call,
}

/// One side of a span, as a program is compiled for it.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The number of the span's [`MapRef::Open`](super::MapRef::Open).
    pub number: u16,
    /// What is kept.
    pub layout: &'a SpanLayout,
    /// What start and end have in common.
    pub key: Key<'a>,
    /// The index of the side's own probe in the spec.
    pub probe: u32,
    /// That probe's `where=`.
    pub condition: Option<&'a Condition>,
}

impl SpanLayout {
    /// Lays out what `exprs` take from a start. Every start must have it, and of one kind.
    pub fn compute<'e>(
        exprs: impl IntoIterator<Item = &'e Expr>,
        starts: &[&dyn Fields],
        place: &str,
    ) -> Result<Self, Error> {
        let wanted = at_start(exprs);
        let mut types = Vec::with_capacity(wanted.len());
        for expr in &wanted {
            types.push(common_type(expr, starts, place)?);
        }
        let nullable: Vec<bool> = wanted.iter().map(|expr| may_be_missing(expr, starts)).collect();
        Self::lay_out(&wanted, &types, &nullable, place)
    }

    fn lay_out(wanted: &[&Expr], types: &[FieldType], nullable: &[bool], place: &str) -> Result<Self, Error> {
        let bits = nullable.iter().filter(|nullable| **nullable).count();
        if bits > MOST_NULLABLE {
            return Err(Error::spec(place, format!("a span keeps at most {MOST_NULLABLE} fields of its start")));
        }
        let mut size = if bits > 0 { NULLS + 8 } else { NULLS };
        let (mut kept, mut bit) = (Vec::with_capacity(wanted.len()), 0..);
        for ((expr, &ty), nullable) in wanted.iter().zip(types).zip(nullable) {
            let null = if *nullable { bit.next() } else { None };
            kept.push(Kept { expr: (*expr).clone(), ty, offset: size, null });
            size = size.saturating_add(room(ty));
        }
        if size > MAX_KEPT {
            let message =
                format!("a span keeps at most {MAX_KEPT} bytes, and its at_start() values take {size}: lower limit=");
            return Err(Error::spec(place, message));
        }
        Ok(Self { kept, words: Vec::new(), size })
    }

    /// The same, and words of the start's context, given by their offsets: an end has those in the place of its own.
    #[must_use]
    pub fn with_words(mut self, offsets: &[u32]) -> Self {
        self.words = offsets.to_vec();
        self.size += 8 * offsets.len() as u32;
        self
    }

    /// Words of the start's context: their offsets in it, and within the entry.
    pub(super) fn words(&self) -> impl Iterator<Item = (u32, u32)> {
        let start = self.size - 8 * self.words.len() as u32;
        self.words.iter().zip(0..).map(move |(offset, index)| (*offset, start + 8 * index))
    }

    /// Bytes of an entry.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Whether it has null bits.
    pub(super) fn has_nulls(&self) -> bool {
        self.kept.iter().any(|kept| kept.null.is_some())
    }

    /// Whether it holds more than numbers.
    pub(super) fn has_strings(&self) -> bool {
        self.kept.iter().any(|kept| matches!(kept.ty, FieldType::FixedString { .. } | FieldType::String { .. }))
    }

    pub(super) fn find(&self, expr: &Expr) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.expr == *expr)
    }
}

/// What expressions take from a start: the values within `at_start()`, each once.
pub fn at_start<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> Vec<&'e Expr> {
    let mut wanted = Vec::new();
    exprs.into_iter().for_each(|expr| from_start(expr, &mut wanted));
    wanted
}

/// Adds what an expression takes from the start.
fn from_start<'e>(expr: &'e Expr, wanted: &mut Vec<&'e Expr>) {
    match expr {
        Expr::AtStart { value } if wanted.contains(&&**value) => {}
        Expr::AtStart { value } => wanted.push(value),
        Expr::Binary { left, right, .. } => {
            from_start(left, wanted);
            from_start(right, wanted);
        }
        Expr::Unary { operand: inner, .. } | Expr::String { pointer: inner, .. } => from_start(inner, wanted),
        Expr::Field { .. } | Expr::Context { .. } | Expr::Stack { .. } | Expr::Int { .. } => {}
    }
}

/// Whether a read stands behind it that could fault. A stack that is missing has the hash 0.
fn may_be_missing(expr: &Expr, starts: &[&dyn Fields]) -> bool {
    match expr {
        Expr::Context { name } => matches!(name, Context::Ppid | Context::Utime | Context::Stime),
        Expr::Stack { .. } | Expr::Int { .. } => false,
        Expr::Field { path } => starts
            .iter()
            .any(|fields| !matches!(fields.resolve(path), Ok(Access::Ctx { .. } | Access::CtxString { .. }))),
        Expr::Binary { left, right, .. } => may_be_missing(left, starts) || may_be_missing(right, starts),
        Expr::Unary { operand, .. } => may_be_missing(operand, starts),
        Expr::String { .. } | Expr::AtStart { .. } => true,
    }
}

fn room(ty: FieldType) -> u32 {
    match ty {
        FieldType::Int { .. } | FieldType::Name | FieldType::Stack { .. } => 8,
        FieldType::FixedString { size } => u32::from(size).next_multiple_of(8),
        FieldType::String { limit } | FieldType::Bytes { limit } => 8 + limit.next_multiple_of(8),
    }
}

/// What an expression is at every start: numbers of different widths are one of 64 bits.
fn common_type(expr: &Expr, starts: &[&dyn Fields], place: &str) -> Result<FieldType, Error> {
    let mut common: Option<FieldType> = None;
    for fields in starts {
        let ty = bounded(expr, type_of(expr, *fields, None, place)?);
        common = match (common, ty) {
            (_, FieldType::Bytes { .. }) => {
                return Err(Error::spec(place, "a span can't keep an array: take its elements by their numbers"));
            }
            (None, ty) => Some(ty),
            (Some(other), ty) if other == ty => Some(ty),
            (Some(FieldType::Int { signed: one, .. }), FieldType::Int { signed: other, .. }) => {
                Some(FieldType::Int { size: 8, signed: one || other })
            }
            (Some(FieldType::String { limit: one }), FieldType::String { limit: other }) => {
                Some(FieldType::String { limit: one.max(other) })
            }
            (Some(other), ty) => {
                let (one, other) = (other.spelling(), ty.spelling());
                let message =
                    format!("at_start() takes a {one} from one start and a {other} from another: make a span of each");
                return Err(Error::spec(place, message));
            }
        };
    }
    common.ok_or_else(|| Error::spec(place, "a span without a start"))
}

/// Of a field that is a string of any length, a span keeps less than an event carries.
fn bounded(expr: &Expr, ty: FieldType) -> FieldType {
    match (expr, ty) {
        (Expr::Field { .. }, FieldType::String { limit }) => {
            FieldType::String { limit: limit.min(DEFAULT_KEPT_STRING) }
        }
        _ => ty,
    }
}
