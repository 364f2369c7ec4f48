//! Python's integers for the values of columns. In: a column's values, as they come. Out: objects, of which those that come
//! again are kept.
//!
//! To make an integer and to free it costs a third of what the call costs that it is for. Most columns have few values
//! (processes, descriptors, flags, sizes), some have a new one each time (addresses, times): each column finds out.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

/// Values that a column remembers.
const PLACES: usize = 1 << 8;
/// After so many values a column decides whether it goes on.
const TRIAL: u32 = 1 << 11;

/// What one column remembers.
#[derive(Default)]
pub struct Integers {
    /// By the low bits of the value; none before the first.
    places: Vec<Option<(i64, Py<PyAny>)>>,
    looks: u32,
    found: u32,
    is_off: bool,
}

impl Integers {
    /// The object for a value: a new reference, or null with an exception set.
    #[inline]
    pub fn get(&mut self, py: Python<'_>, value: i64) -> *mut ffi::PyObject {
        // The interpreter keeps the smallest ones itself.
        if self.is_off || (0..=256).contains(&value) {
            return make(value);
        }
        self.looks += 1;
        // Values of one column often have their low bits in common, such as multiples of a size.
        let place = (value ^ value >> 8) as usize % PLACES;
        match self.places.get(place) {
            Some(Some((known, object))) if *known == value => {
                self.found += 1;
                object.clone_ref(py).into_ptr()
            }
            _ => self.remember(py, place, value),
        }
    }

    #[cold]
    fn remember(&mut self, py: Python<'_>, place: usize, value: i64) -> *mut ffi::PyObject {
        // SAFETY: it is a new reference, or null.
        let Some(object) = (unsafe { Bound::from_owned_ptr_or_opt(py, make(value)) }) else {
            return ptr::null_mut();
        };
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        self.places[place] = Some((value, object.clone().unbind()));
        if self.looks >= TRIAL {
            self.decide();
        }
        object.into_ptr()
    }

    /// Goes on where at least half of the values had come before.
    #[cold]
    fn decide(&mut self) {
        self.is_off = self.found < self.looks / 2;
        (self.looks, self.found) = (0, 0);
        if self.is_off {
            self.places = Vec::new();
        }
    }
}

/// A new reference, or null with an exception set.
#[inline]
fn make(value: i64) -> *mut ffi::PyObject {
    // SAFETY: any number will do, and the caller holds the interpreter, as a `Python` of its own shows.
    unsafe { ffi::PyLong_FromLongLong(value) }
}
