//! Writes aligned records, and compact ones, from the form that `layout.rs` documents.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::packed_support::Datum;
use spile_core::layout::{EventLayout, FieldType};

/// Writes an aligned record from the documented form; a stack's only frame stands for its hash. None is null.
pub fn write(layout: &EventLayout, values: &[Option<Datum>]) -> Vec<u8> {
    let mut bytes = vec![0xee; layout.fixed_size as usize];
    let nulls = values.iter().enumerate().fold(0u16, |mask, (index, value)| mask | u16::from(value.is_none()) << index);
    bytes[..8].copy_from_slice(&77_u64.to_le_bytes());
    bytes[8..10].copy_from_slice(&layout.schema.id.to_le_bytes());
    bytes[10..12].copy_from_slice(&nulls.to_le_bytes());
    for ((field, slot), value) in layout.schema.fields.iter().zip(&layout.slots).zip(values) {
        let at = slot.offset.unwrap() as usize;
        let size = slot.size as usize;
        match value {
            // What stands in the place of a null must not matter, but a place in the tail must not lead outside.
            None if matches!(field.ty, FieldType::String { .. } | FieldType::Bytes { .. }) => bytes[at..at + 4].fill(0),
            None => {}
            Some(Datum::Unsigned(value)) => bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]),
            Some(Datum::Signed(value)) => bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]),
            Some(Datum::Name(id)) => bytes[at..at + size].copy_from_slice(&id.to_le_bytes()),
            Some(Datum::Stack(frames)) => {
                bytes[at..at + 8].copy_from_slice(&frames.first().copied().unwrap_or(0).to_le_bytes());
            }
            // What stands behind its end must not matter either.
            Some(Datum::Text(text)) if matches!(field.ty, FieldType::FixedString { .. }) => {
                let ended = text.iter().chain([&0]);
                bytes[at..at + size].iter_mut().zip(ended).for_each(|(byte, new)| *byte = *new);
            }
            Some(Datum::Text(text)) => {
                let place = bytes.len() as u32 | (text.len() as u32) << 16;
                bytes[at..at + 4].copy_from_slice(&place.to_le_bytes());
                bytes.extend(text);
                bytes.resize(bytes.len().next_multiple_of(8), 0xee);
            }
        }
    }
    bytes
}

/// The compact record of an aligned one of fixed size.
pub fn compact(layout: &EventLayout, aligned: &[u8]) -> Vec<u8> {
    let mut compact = vec![0; layout.compact_size() as usize];
    let length = (compact.len() - 4).min(aligned.len() - 8);
    compact[..4].copy_from_slice(&aligned[..4]);
    compact[4..4 + length].copy_from_slice(&aligned[8..8 + length]);
    compact
}
