//! Writes framed streams from the form that `source/framed` documents, finds their frames again by trying each place, and
//! reads them through a [`FramedSource`].
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use spile_core::event::Record;
use spile_core::layout::{EventSchema, FieldType};
use spile_core::source::framed::{Account, FramedSource, Input, Schemas};
use spile_core::source::{Run, Source};
use spile_core::spec::{AggregateFunction, StackSpace};
use spile_core::stack::StackTable;

use crate::packed_support::{Datum, PROCESS, Pieces, Seen, encode, look};

impl Input for Pieces {}

/// What a value adds to its frame's check.
fn weight(value: &Datum, size: usize, space: StackSpace) -> u64 {
    let printed = |bytes: [u8; 8]| {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(&bytes[..size]);
        u64::from_le_bytes(wide)
    };
    match value {
        Datum::Unsigned(value) => printed(value.to_le_bytes()),
        Datum::Signed(value) => printed(value.to_le_bytes()),
        Datum::Text(text) => text.len() as u64,
        Datum::Stack(frames) => {
            let own = if space == StackSpace::User && !frames.is_empty() { u64::from(PROCESS) + 1 } else { 0 };
            frames.iter().fold(own + frames.len() as u64, |sum, frame| sum.wrapping_add(*frame))
        }
        Datum::Name(id) => u64::from(*id),
    }
}

fn size(ty: FieldType) -> usize {
    if let FieldType::Int { size, .. } = ty { usize::from(size) } else { 8 }
}

fn space(ty: FieldType) -> StackSpace {
    if let FieldType::Stack { space } = ty { space } else { StackSpace::Kernel }
}

/// A frame around a payload whose values add up to `sum`.
pub fn frame(payload: &[u8], sum: u64, pad: u8) -> Vec<u8> {
    let mut out = b"SP".to_vec();
    out.extend((payload.len() as u16).to_le_bytes());
    out.extend(payload);
    out.extend((sum.wrapping_add(0x5350_494C).wrapping_add(payload.len() as u64) as u32).to_le_bytes());
    while !(8 + out.len()).is_multiple_of(16) {
        out.push(pad);
    }
    out
}

pub fn event(schema: &EventSchema, values: &[Datum], pad: u8) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(schema.id as u8, schema, values, &mut payload);
    let weights = schema.fields.iter().zip(values).map(|(field, value)| weight(value, size(field.ty), space(field.ty)));
    frame(&payload, weights.fold(u64::from(schema.id), u64::wrapping_add), pad)
}

/// A control record of small integers and 64-bit ones.
pub fn control(small: &[u8], words: &[u64]) -> Vec<u8> {
    let mut payload = vec![0];
    payload.extend(small);
    payload.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    let sum = small.iter().map(|&byte| u64::from(byte)).chain(words.iter().copied()).fold(0, u64::wrapping_add);
    frame(&payload, sum, 0)
}

pub fn ledger(id: u8, numbers: [u64; 5]) -> Vec<u8> {
    control(&[2, id], &numbers)
}

/// Events whose aggregates are counts, in tables of the script's.
pub fn counting(events: &[EventSchema]) -> Schemas {
    Schemas::new(events.to_vec(), |_, _| Some(AggregateFunction::Count))
}

/// Reads a stream to its end.
pub fn decode(schemas: &[EventSchema], data: &[u8], sizes: &[usize]) -> (Vec<Seen>, Arc<Account>) {
    let account = Arc::<Account>::default();
    let stacks = Arc::<StackTable>::default();
    let reader = Pieces { data: data.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0 };
    let source = FramedSource::new(reader, &counting(schemas), Arc::clone(&stacks), Arc::clone(&account)).unwrap();
    (read(schemas, source, &stacks), account)
}

pub fn read(schemas: &[EventSchema], mut source: impl Source, stacks: &StackTable) -> Vec<Seen> {
    let aligned = counting(schemas).layouts().unwrap();
    let (mut run, mut seen, mut watermark) = (Run::default(), Vec::new(), 0);
    loop {
        let progress = source.read(&mut run).unwrap();
        for &entry in run.entries() {
            assert_eq!(run.record(entry)[8..10], entry.vouched.to_le_bytes());
            match Record::parse(&aligned, entry.cpu, run.record(entry)).unwrap() {
                Record::Event(event) => seen.push(look(&event, stacks)),
                Record::Stack(stack) => panic!("{stack:?}"),
            }
        }
        run.clear();
        assert!(progress.watermark >= watermark);
        watermark = progress.watermark;
        if progress.ended {
            assert!(progress.drained && watermark == u64::MAX);
            return seen;
        }
    }
}
