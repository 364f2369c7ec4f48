//! What every accumulator can do. In: values of events, or what rows of limited tables have kept of some. Out: what was
//! [`Accumulated`].
//!
//! Both inputs become the same items, so that a table is the same whichever way its events came.

use std::fmt::Debug;

use super::accumulated::{Accumulated, Rank};
use super::row::RowLayout;
use crate::event::Value;
use crate::layout::FieldType;

/// A value of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) value: Value<'a>,
    pub(super) ty: FieldType,
}

impl Given<'_> {
    /// An integer, of either sign.
    #[inline]
    pub(super) fn number(self) -> Option<i128> {
        match self.value {
            Value::Unsigned(value) => Some(value.into()),
            Value::Signed(value) => Some(value.into()),
            _ => None,
        }
    }

    /// So many times that.
    #[inline]
    pub(super) fn sum(self, hits: u64) -> Option<i128> {
        Some(self.number()?.saturating_mul(hits.into()))
    }
}

/// What is kept of the events with one key.
pub(super) trait Accumulator: Debug + Clone + Send + 'static {
    /// What all of a table's have in common.
    type Form: Debug + Copy + Send;
    /// What is added at a time.
    type Item<'a>: Copy;

    /// What a value adds that so many events have; none if it is null.
    fn of_value<'a>(form: Self::Form, given: Option<Given<'a>>, hits: u64) -> Option<Self::Item<'a>>;

    /// What a row adds that was kept elsewhere; none if it is none of this aggregate's.
    fn of_row<'a>(form: Self::Form, layout: &RowLayout, row: &'a [u64]) -> Option<Self::Item<'a>>;

    /// Nothing.
    fn new(form: Self::Form) -> Self;

    /// Adds an item that stands for so many events.
    fn add(&mut self, form: Self::Form, item: Self::Item<'_>, hits: u64);

    /// What came of it.
    fn accumulated(&self, form: Self::Form) -> Accumulated;

    /// Its place among those of other keys.
    fn rank(&self, form: Self::Form) -> Rank;
}
