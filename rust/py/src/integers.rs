//! Python's integers for the arguments of calls. In: numbers, and arguments that a call is done with. Out: objects, new ones,
//! or ones that nobody else holds any more, with another value.
//!
//! To make an integer and to free it takes 140 instructions, a call of a handler with two of them 430. An integer whose one
//! reference is ours is as good as freed: whoever had it is done with it, and nobody can tell that it wasn't.
//!
//! How an integer lies in memory is no part of the stable ABI, so that is found out, by integers made for it
//! ([`header`]): a count of references, the type, what says how long it is, and digits of 30 bits. An interpreter where
//! anything is otherwise, such as a free-threaded one, where no count is all threads', gets new integers.

use std::ptr::{self, NonNull};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyInt;

/// Bits of a digit.
const DIGIT: u32 = 30;
/// Numbers for which the interpreter keeps objects of its own.
const KEPT: i64 = 256;

/// Where an argument of a call is: an object that is owned, or null. A cleared one has null, or an integer for the next.
pub type Place = *mut ffi::PyObject;

/// Makes integers.
pub struct Integers {
    /// None where they are always new.
    form: Option<Form>,
}

/// What an integer begins with that is held once, before its digits.
#[derive(Clone, Copy)]
struct Form {
    count: u64,
    ty: u64,
    /// Of one digit, and of two.
    lengths: [u64; 2],
}

/// The words before the digits.
type Header = [u64; 3];

impl Integers {
    /// What the interpreter's integers are like is found out once.
    pub fn new(py: Python<'_>) -> Self {
        static FORM: PyOnceLock<Option<Form>> = PyOnceLock::new();
        Self { form: *FORM.get_or_init(py, || Form::find(py)) }
    }

    /// Puts a number into a place: a new reference, or null with an exception set.
    ///
    /// # Safety
    ///
    /// The place has been cleared.
    #[inline]
    pub unsafe fn put(&self, place: &mut Place, value: i64) {
        if let Some(form) = &self.form
            && let Some(spare) = NonNull::new(*place)
        {
            // SAFETY: what a cleared place has is an integer of one digit or two, held here alone.
            unsafe {
                let [.., length] = spare.cast::<Header>().read();
                let is_long = value >= 1 << DIGIT;
                if value > KEPT && value < 1 << (2 * DIGIT) && length == form.lengths[usize::from(is_long)] {
                    return write(spare, value);
                }
                release(place);
            }
        }
        *place = make(value);
    }

    /// Clears a place, once the call is done: nothing is left there but what [`Self::put`] can use.
    ///
    /// # Safety
    ///
    /// What is there is owned.
    #[inline]
    pub unsafe fn clear(&self, place: &mut Place) {
        let is_spare = |form: &Form| NonNull::new(*place).is_some_and(|object| form.is_of(object));
        if !self.form.as_ref().is_some_and(is_spare) {
            // SAFETY: the caller's.
            unsafe { release(place) };
        }
    }
}

/// Leaves nothing in a place.
///
/// # Safety
///
/// What is there is owned.
#[inline]
pub unsafe fn release(place: &mut Place) {
    if let Some(object) = NonNull::new(std::mem::replace(place, ptr::null_mut())) {
        // SAFETY: the caller's.
        unsafe { ffi::Py_DECREF(object.as_ptr()) };
    }
}

impl Form {
    /// None where it isn't as it is written above.
    fn find(py: Python<'_>) -> Option<Self> {
        let [count, ty, short] = header(py, [1 << 20, 1 << 29])?;
        let [long_count, long_ty, long] = header(py, [1 << 31, 1 << 59])?;
        (count == long_count && ty == long_ty).then_some(Self { count, ty, lengths: [short, long] })
    }

    /// Whether an object is an integer of one digit or two that is held once.
    #[inline]
    fn is_of(&self, object: NonNull<ffi::PyObject>) -> bool {
        let words = object.cast::<u64>();
        // SAFETY: a live object has a count and a type, and an integer a third word.
        unsafe {
            words.read() == self.count && words.add(1).read() == self.ty && self.lengths.contains(&words.add(2).read())
        }
    }
}

/// What the integers with as many digits as these two have before them; none if that isn't as it is written above.
fn header(py: Python<'_>, [value, other]: [i64; 2]) -> Option<Header> {
    let new = |value| {
        // SAFETY: a new reference, or null.
        unsafe { Bound::from_owned_ptr_or_opt(py, make(value)) }?.cast_into::<PyInt>().ok()
    };
    let header = |object: &Bound<'_, PyInt>| {
        // SAFETY: an integer has two words, and something behind them.
        unsafe { object.as_ptr().cast::<Header>().read() }
    };
    let (object, like) = (new(value)?, new(other)?);
    let found = header(&object);
    let again = object.clone();
    let held_twice = header(&object);
    drop(again);
    let [count, ty, length] = found;
    if found != header(&like) || held_twice != [count + 1, ty, length] || ty != object.get_type().as_ptr() as u64 {
        return None;
    }
    let place = NonNull::new(object.as_ptr())?;
    // SAFETY: its header has been found to be what it should be.
    if !unsafe { has(place, value) } {
        return None;
    }
    // SAFETY: and it was made here.
    unsafe { write(place, other) };
    (object.extract::<i64>().ok()? == other).then_some(found)
}

/// A new reference, or null with an exception set.
#[inline]
fn make(value: i64) -> *mut ffi::PyObject {
    // A `long` has 64 bits wherever spile runs, and its function a shorter way for few digits.
    // SAFETY: any number will do, and the caller holds the interpreter, as a `Python` of its own shows.
    unsafe { ffi::PyLong_FromLong(value) }
}

/// The digits of a positive number, in the order of memory.
#[inline]
fn digits(value: i64) -> [u32; 2] {
    [(value & ((1 << DIGIT) - 1)) as u32, (value >> DIGIT) as u32]
}

/// Whether an integer has the digits of this positive number.
///
/// # Safety
///
/// It has a header of three words, and its length is that number's.
unsafe fn has(object: NonNull<ffi::PyObject>, value: i64) -> bool {
    // SAFETY: behind the header there is at least one digit, and a second one where the number has it.
    unsafe {
        let place = object.as_ptr().byte_add(size_of::<Header>()).cast::<u32>();
        let [low, high] = digits(value);
        place.read() == low && (high == 0 || place.add(1).read() == high)
    }
}

/// Gives an integer the value of a positive number.
///
/// # Safety
///
/// As for [`has`], and nobody else holds it.
#[inline]
unsafe fn write(object: NonNull<ffi::PyObject>, value: i64) {
    // SAFETY: as there; with one digit no more than that is written.
    unsafe {
        let place = object.as_ptr().byte_add(size_of::<Header>()).cast::<u32>();
        let [low, high] = digits(value);
        place.write(low);
        if high != 0 {
            place.add(1).write(high);
        }
    }
}
