//! Columns as Arrow has them. In: events of one kind. Out: the capsules of Arrow's PyCapsule interface, which polars, pandas,
//! pyarrow and DuckDB take without a copy and without knowing spile
//! (<https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>).

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StringDictionaryBuilder, UInt64Builder};
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::types::UInt16Type;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch, RecordBatchIterator, StructArray, types,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Field as ArrowField, Schema};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use spile_core::columns::Integers;
use spile_core::event::{Event, Value};
use spile_core::layout::FieldType;
use spile_core::stack::StackTable;

use crate::batch::Shared;
use crate::columns::Columns;
use crate::kinds::{Field, Kind, Kinds};

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// The events of one kind, as a batch of records: `time` and `cpu`, then the fields. A field of one of these two names
/// stands in its place.
pub fn batch(shared: &Shared, kind: &Kind, places: &[u32]) -> PyResult<RecordBatch> {
    let events = || places.iter().filter_map(|place| shared.buffer.event(*place as usize));
    let has = |name: &str| kind.fields.iter().any(|field| field.name.text == name);
    let mut columns: Vec<(ArrowField, ArrayRef)> = Vec::with_capacity(kind.fields.len() + 2);
    let mut put = |name: &str, array: ArrayRef, nullable: bool| {
        columns.push((ArrowField::new(name, array.data_type().clone(), nullable), array));
    };
    if !has("time") {
        let times = PrimitiveArray::<types::UInt64Type>::from_iter_values(events().map(|event| event.time()));
        put("time", Arc::new(times), false);
    }
    if !has("cpu") {
        let cpus = PrimitiveArray::<UInt16Type>::from_iter_values(events().map(|event| event.cpu));
        put("cpu", Arc::new(cpus), false);
    }
    for field in &kind.fields {
        put(&field.name.text, column(shared, field, places, events()), true);
    }
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)
}

/// The capsules of a schema and of an array of structures.
pub fn array<'py>(py: Python<'py>, batch: RecordBatch) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let schema = schema(py, &batch)?;
    let array = FFI_ArrowArray::new(&StructArray::from(batch).to_data());
    Ok((schema, PyCapsule::new_with_value(py, array, ARRAY)?))
}

/// The capsule of a schema.
pub fn schema<'py>(py: Python<'py>, batch: &RecordBatch) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(batch.schema_ref().as_ref()).map_err(failed)?;
    PyCapsule::new_with_value(py, schema, SCHEMA)
}

/// The capsule of a stream of one batch.
pub fn stream(py: Python<'_>, batch: RecordBatch) -> PyResult<Bound<'_, PyCapsule>> {
    let schema = batch.schema();
    let reader = RecordBatchIterator::new(std::iter::once(Ok(batch)), schema);
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), STREAM)
}

/// What another package makes of columns, by that function of `spile.frames`.
pub fn framed<'py>(columns: &Bound<'py, Columns>, function: &str) -> PyResult<Bound<'py, PyAny>> {
    columns.py().import("spile.frames")?.call_method1(function, (columns,))
}

fn failed(error: ArrowError) -> PyErr {
    PyValueError::new_err(format!("these columns are none of Arrow's: {error}"))
}

fn column<'a>(shared: &Shared, field: &Field, places: &[u32], events: impl Iterator<Item = Event<'a>>) -> ArrayRef {
    let Some(place) = field.place else { return Arc::new(arrow_array::NullArray::new(places.len())) };
    if let Some(numbers) = shared.buffer.integers(places, place) {
        return integers(numbers);
    }
    let values = events.map(|event| event.at(place));
    match place.ty() {
        FieldType::Stack { .. } => stacks(shared.buffer.stacks(), values),
        FieldType::Name => names(&shared.kinds, values),
        _ => strings(values),
    }
}

fn integers(numbers: Integers) -> ArrayRef {
    match (numbers.size, numbers.signed) {
        (1, false) => primitive::<types::UInt8Type, 1>(&numbers, u8::from_le_bytes),
        (1, true) => primitive::<types::Int8Type, 1>(&numbers, i8::from_le_bytes),
        (2, false) => primitive::<UInt16Type, 2>(&numbers, u16::from_le_bytes),
        (2, true) => primitive::<types::Int16Type, 2>(&numbers, i16::from_le_bytes),
        (4, false) => primitive::<types::UInt32Type, 4>(&numbers, u32::from_le_bytes),
        (4, true) => primitive::<types::Int32Type, 4>(&numbers, i32::from_le_bytes),
        (_, false) => primitive::<types::UInt64Type, 8>(&numbers, u64::from_le_bytes),
        (_, true) => primitive::<types::Int64Type, 8>(&numbers, i64::from_le_bytes),
    }
}

/// Copied, for Arrow's buffers are aligned as their values are.
fn primitive<T: ArrowPrimitiveType, const N: usize>(
    numbers: &Integers,
    value: impl Fn([u8; N]) -> T::Native,
) -> ArrayRef
where
    T::Native: ArrowNativeType,
{
    let values: ScalarBuffer<T::Native> = numbers.bytes.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect();
    let valid = |valid: &Vec<u8>| NullBuffer::new(BooleanBuffer::collect_bool(valid.len(), |at| valid[at] != 0));
    Arc::new(PrimitiveArray::<T>::new(values, numbers.valid.as_ref().map(valid)))
}

/// UTF-8; what isn't becomes U+FFFD, for Arrow's strings have no room for it.
fn strings<'a>(values: impl Iterator<Item = Value<'a>>) -> ArrayRef {
    let mut column = StringBuilder::new();
    for value in values {
        match value {
            Value::String { bytes, .. } => column.append_value(String::from_utf8_lossy(bytes)),
            _ => column.append_null(),
        }
    }
    Arc::new(column.finish())
}

fn names<'a>(kinds: &Kinds, values: impl Iterator<Item = Value<'a>>) -> ArrayRef {
    let mut column = StringDictionaryBuilder::<UInt16Type>::new();
    for value in values {
        let name = if let Value::Name(id) = value { kinds.name(id) } else { None };
        column.append_option(name.map(|name| name.text.as_str()));
    }
    Arc::new(column.finish())
}

/// Lists of addresses, innermost first; null for none.
fn stacks<'a>(table: &StackTable, values: impl Iterator<Item = Value<'a>>) -> ArrayRef {
    let mut column = ListBuilder::new(UInt64Builder::new());
    // The table is behind a lock, and nearly every stack comes again.
    let mut known = HashMap::new();
    for value in values {
        let frames = match value {
            Value::Stack { hash, .. } => known.entry(hash).or_insert_with(|| table.get(hash)).as_ref(),
            _ => None,
        };
        if let Some(frames) = frames {
            column.values().append_slice(&frames.addresses);
        }
        column.append(frames.is_some());
    }
    Arc::new(column.finish())
}
