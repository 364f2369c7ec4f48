//! Types of expressions, and the columns that a probe's captures and keys make.
//!
//! In: a probe and its fields. Out: an [`EventSchema`] and, beside its fields, the expressions that fill them.

use spile_core::error::Error;
use spile_core::layout::{EventSchema, FieldSchema, FieldType, MAX_STRING, Role};
use spile_core::spec::{BinaryOperator, Capture, Context, Expr, ProbeSpec, UnaryOperator};

use super::SpanLayout;
use super::access::{Access, Fields, Leaf};
use super::names;

/// The most bytes kept of a string whose length the script didn't limit.
pub const DEFAULT_STRING_LIMIT: u32 = 4096;

/// What to say of an `at_start()` anywhere else.
pub(super) const NO_START: &str = "only a span has a start, and what is taken there can't be from a start itself";

/// The columns of one target's events, and the expressions that fill them. A span's target is an end of it.
pub fn schema(
    probe: &ProbeSpec,
    probe_index: u32,
    target_index: u32,
    event_id: u16,
    fields: &dyn Fields,
    span: Option<&SpanLayout>,
) -> Result<(EventSchema, Vec<Expr>), Error> {
    let mut columns = Columns { fields, span, schemas: Vec::new(), exprs: Vec::new() };
    match &probe.capture {
        Capture::Fields { fields } => {
            for (index, capture) in fields.iter().enumerate() {
                let place = format!("probes[{probe_index}].capture.fields[{index}].expr");
                columns.add(capture.name.clone(), &capture.expr, Role::Capture, &place)?;
            }
        }
        Capture::All => {
            for (name, path) in fields.all() {
                let place = format!("probes[{probe_index}].capture");
                columns.add(name, &Expr::Field { path }, Role::Capture, &place)?;
            }
        }
    }
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (aggregate, spec) in probe.aggregates.iter().enumerate() {
        let mut key = Vec::new();
        for (part, expr) in spec.by.iter().enumerate() {
            let place = format!("probes[{probe_index}].aggregates[{aggregate}].by[{part}]");
            key.push(columns.key(expr, &format!("by[{aggregate}][{part}]"), &place)?);
        }
        keys.push(key);
        let place = format!("probes[{probe_index}].aggregates[{aggregate}].value");
        let column = |value| columns.key(value, &format!("value[{aggregate}]"), &place);
        values.push(spec.value.as_ref().map(column).transpose()?);
    }
    columns.fit_strings();
    let schema =
        EventSchema { id: event_id, probe: probe_index, target: target_index, fields: columns.schemas, keys, values };
    Ok((schema, columns.exprs))
}

struct Columns<'a> {
    fields: &'a dyn Fields,
    span: Option<&'a SpanLayout>,
    schemas: Vec<FieldSchema>,
    exprs: Vec<Expr>,
}

impl Columns<'_> {
    fn add(&mut self, name: String, expr: &Expr, role: Role, place: &str) -> Result<(), Error> {
        let ty = type_of(expr, self.fields, self.span, place)?;
        let names = names::of(expr, self.fields);
        self.schemas.push(FieldSchema { name, ty, role, names });
        self.exprs.push(expr.clone());
        Ok(())
    }

    /// A column that an aggregate needs: one that is there for another reason, if there is one.
    fn key(&mut self, expr: &Expr, name: &str, place: &str) -> Result<u32, Error> {
        let index = match self.exprs.iter().position(|known| known == expr) {
            Some(index) => index,
            None => {
                self.add(name.to_owned(), expr, Role::Key, place)?;
                self.exprs.len() - 1
            }
        };
        u32::try_from(index).map_err(|_| Error::spec(place, "too many columns"))
    }

    /// Shares a record's room among the strings that the script didn't limit.
    fn fit_strings(&mut self) {
        let is_open = |expr: &Expr| matches!(expr, Expr::Field { .. });
        let (mut open, mut closed) = (0, 0);
        for (schema, expr) in self.schemas.iter().zip(&self.exprs) {
            match schema.ty {
                FieldType::String { limit } | FieldType::Bytes { limit } if !is_open(expr) => closed += limit,
                FieldType::String { .. } | FieldType::Bytes { .. } => open += 1,
                _ => {}
            }
        }
        if open == 0 {
            return;
        }
        let share = (MAX_STRING.saturating_sub(closed) / open) & !7;
        for (schema, expr) in self.schemas.iter_mut().zip(&self.exprs) {
            if let FieldType::String { limit } | FieldType::Bytes { limit } = &mut schema.ty
                && is_open(expr)
            {
                *limit = (*limit).min(share.max(8));
            }
        }
    }
}

/// Whether an expression reads `task_struct`, whose offsets only BTF knows.
pub fn uses_task(expr: &Expr) -> bool {
    match expr {
        Expr::Context { name } => matches!(name, Context::Ppid | Context::Utime | Context::Stime),
        Expr::Binary { left, right, .. } => uses_task(left) || uses_task(right),
        Expr::Unary { operand: inner, .. } | Expr::String { pointer: inner, .. } | Expr::AtStart { value: inner } => {
            uses_task(inner)
        }
        Expr::Field { .. } | Expr::Stack { .. } | Expr::Int { .. } => false,
    }
}

/// The type of the column that an expression fills.
pub(super) fn type_of(
    expr: &Expr,
    fields: &dyn Fields,
    span: Option<&SpanLayout>,
    place: &str,
) -> Result<FieldType, Error> {
    Ok(match expr {
        Expr::Field { path } => type_at(&fields.resolve(path)?),
        Expr::Context { name } => match name {
            Context::Comm => FieldType::FixedString { size: 16 },
            Context::Pid | Context::Tid | Context::Ppid | Context::Uid | Context::Gid | Context::Cpu => {
                FieldType::Int { size: 4, signed: false }
            }
            Context::Cgroup | Context::Timestamp | Context::Utime | Context::Stime | Context::Task => {
                FieldType::Int { size: 8, signed: false }
            }
            Context::Ret => type_at(&fields.ret()?),
            Context::Error => FieldType::Int { size: 4, signed: true },
            Context::Elapsed => FieldType::Int { size: 8, signed: false },
            Context::ProbeName => FieldType::Name,
        },
        Expr::Stack { space, .. } => FieldType::Stack { space: *space },
        Expr::AtStart { value } => match span.and_then(|span| span.find(value)) {
            Some(kept) => kept.ty,
            None => return Err(Error::spec(place, NO_START)),
        },
        Expr::String { pointer, limit } => {
            integer(pointer, fields, span, place)?;
            if *limit == 0 || *limit > MAX_STRING {
                return Err(Error::spec(place, format!("limit={limit}: a string can have 1 to {MAX_STRING} bytes")));
            }
            FieldType::String { limit: *limit }
        }
        Expr::Int { .. } | Expr::Binary { .. } | Expr::Unary { .. } => integer(expr, fields, span, place)?,
    })
}

/// The type of what an access finds.
fn type_at(access: &Access) -> FieldType {
    match *access {
        Access::Ctx { size, signed, .. } => FieldType::Int { size, signed },
        Access::CtxString { size, .. } => string_of(size),
        Access::CtxDynString { .. } => FieldType::String { limit: DEFAULT_STRING_LIMIT },
        Access::CtxDynBytes { .. } => FieldType::Bytes { limit: DEFAULT_STRING_LIMIT },
        Access::CtxArray { elem_size, count, .. } => {
            FieldType::Bytes { limit: (u32::from(elem_size) * count).clamp(1, MAX_STRING) }
        }
        Access::Read { leaf, .. } => match leaf {
            Leaf::Int { size, signed } | Leaf::Bits { size, signed, .. } => FieldType::Int { size, signed },
            Leaf::String { size } => string_of(size),
        },
    }
}

/// The type of an integer expression; anything else is refused.
fn integer(expr: &Expr, fields: &dyn Fields, span: Option<&SpanLayout>, place: &str) -> Result<FieldType, Error> {
    let wide = |signed| FieldType::Int { size: 8, signed };
    let is_u64 = |ty| ty == wide(false);
    Ok(match expr {
        Expr::Int { value } => {
            if i64::try_from(*value).is_err() && u64::try_from(*value).is_err() {
                return Err(Error::spec(place, format!("{value} does not fit 64 bits")));
            }
            wide(*value <= i128::from(i64::MAX))
        }
        Expr::Binary { operator, left, right } => {
            let (left, right) = (integer(left, fields, span, place)?, integer(right, fields, span, place)?);
            match operator {
                BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight => wide(!is_u64(left)),
                _ => wide(!is_u64(left) && !is_u64(right)),
            }
        }
        Expr::Unary { operator: UnaryOperator::Negate, operand } => {
            wide(!is_u64(integer(operand, fields, span, place)?))
        }
        Expr::Unary { operator: UnaryOperator::Invert, operand } => integer(operand, fields, span, place)?,
        _ => match type_of(expr, fields, span, place)? {
            FieldType::Int { size, signed } => FieldType::Int { size, signed },
            FieldType::Stack { .. } => return Err(Error::spec(place, "a stack is no number")),
            _ => return Err(Error::spec(place, "a string is no number")),
        },
    })
}

fn string_of(size: u32) -> FieldType {
    match u8::try_from(size) {
        Ok(size) => FieldType::FixedString { size },
        Err(_) => FieldType::String { limit: size.min(MAX_STRING) },
    }
}
