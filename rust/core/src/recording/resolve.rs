//! Tables over what was captured. In: a recording's description, and what a replay wants to count. Out: layouts whose keys
//! name the columns that hold it.
//!
//! A replay's probes are those of its recording: it counts and delivers otherwise, and traces nothing.

use crate::error::Error;
use crate::event::Layouts;
use crate::layout::{EventLayout, EventSchema, Role};
use crate::spec::{Capture, Expr, PathStep, ProbeSpec, SessionSpec};

use super::head::Head;

/// Layouts as the recording has them, with keys for the aggregates of `spec`.
///
/// Refuses probes that are not the recording's, and a key that was not recorded.
pub fn resolve(head: &Head, spec: &SessionSpec) -> Result<Layouts, Error> {
    let recorded = &head.spec.probes;
    let is_same = |(one, other): (&ProbeSpec, &ProbeSpec)| one.name == other.name && one.targets == other.targets;
    if recorded.len() != spec.probes.len() || !recorded.iter().zip(&spec.probes).all(is_same) {
        return Err(Error::spec("probes", "a replay has the probes that were recorded, and no others"));
    }
    let layouts = head.layouts()?;
    let layouts = layouts.iter().map(|layout| {
        let probe = layout.schema.probe as usize;
        let (keys, values) = columns(&layout.schema, &recorded[probe], &spec.probes[probe])?;
        Ok(EventLayout { schema: EventSchema { keys, values, ..layout.schema.clone() }, ..layout.clone() })
    });
    Layouts::new(layouts.collect::<Result<_, Error>>()?)
}

/// The columns of the aggregates' keys, and of their values.
type Columns = (Vec<Vec<u32>>, Vec<Option<u32>>);

fn columns(schema: &EventSchema, recorded: &ProbeSpec, wanted: &ProbeSpec) -> Result<Columns, Error> {
    let column = |place: String, expr: &Expr| {
        column_of(schema, recorded, expr).ok_or_else(|| Error::FieldNotFound {
            message: format!("probes[{}].aggregates{place} was not recorded by {}", schema.probe, recorded.name),
        })
    };
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (index, aggregate) in wanted.aggregates.iter().enumerate() {
        let parts = aggregate.by.iter().enumerate();
        let key = parts.map(|(part, expr)| column(format!("[{index}].by[{part}]"), expr));
        keys.push(key.collect::<Result<_, _>>()?);
        values.push(aggregate.value.as_ref().map(|expr| column(format!("[{index}].value"), expr)).transpose()?);
    }
    Ok((keys, values))
}

/// Where an event has the value of an expression: as a capture, or as what was counted, or counted by.
fn column_of(schema: &EventSchema, recorded: &ProbeSpec, expr: &Expr) -> Option<u32> {
    let captured = match &recorded.capture {
        Capture::Fields { fields } => fields.iter().position(|field| field.expr == *expr),
        Capture::All => own_field(expr)
            .and_then(|name| schema.fields.iter().position(|field| field.role == Role::Capture && field.name == name)),
    };
    let counted = || {
        recorded.aggregates.iter().enumerate().find_map(|(index, aggregate)| {
            if aggregate.value.as_ref() == Some(expr) {
                return schema.values.get(index).copied().flatten();
            }
            let part = aggregate.by.iter().position(|known| known == expr)?;
            schema.keys.get(index)?.get(part).copied()
        })
    };
    captured.and_then(|index| u32::try_from(index).ok()).or_else(counted)
}

/// The field that `"*"` captures under its own name.
fn own_field(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Field { path } => match path.as_slice() {
            [PathStep::Name(name)] => Some(name),
            _ => None,
        },
        _ => None,
    }
}
