//! Calls of Python functions that wait to be made together. In: callables with their arguments, in order. Out: calls, in
//! that order.
//!
//! The interpreter calls a Python function from Python in half of the time that a call from C takes: it pushes a frame, and
//! begins no evaluation anew. So functions of `spile.unrolled` make the calls, many in a row, of callables and with
//! arguments that each gets in one call from here. Calls with the same number of arguments wait together.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::integers::{Integers, Place, release};

unsafe extern "C" {
    /// In CPython's public API since 3.9 and in its stable ABI since 3.12 (PEP 590, bpo-41083): 3.11 exports it too, and
    /// a call by a tuple costs half as much again.
    fn PyObject_Vectorcall(
        callable: *mut ffi::PyObject,
        arguments: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// Tells the callee that it may use the place before the first argument (`PY_VECTORCALL_ARGUMENTS_OFFSET`).
const OFFSET_FLAG: usize = 1 << (usize::BITS - 1);
/// The most arguments of a call.
pub const MOST: usize = 16;
/// How many calls are made by one from here.
const WIDTHS: [usize; 2] = [32, 8];
/// The most parameters of a function whose code has short instructions only.
const SHORT: usize = 255;

/// The functions that make calls: by the number of arguments, and the width. The interpreter fits a function's code to what
/// it calls, so each dispatcher has its own.
pub struct Callers([[PyOnceLock<Py<PyAny>>; WIDTHS.len()]; MOST + 1]);

impl Callers {
    /// None is made before it is needed.
    pub fn new() -> Self {
        Self([const { [const { PyOnceLock::new() }; WIDTHS.len()] }; MOST + 1])
    }

    fn get<'py>(&self, py: Python<'py>, arguments: usize, width: usize) -> PyResult<&Bound<'py, PyAny>> {
        let make = || {
            let module = py.import("spile.unrolled")?;
            Ok::<_, PyErr>(module.getattr("caller")?.call1((arguments, WIDTHS[width]))?.unbind())
        };
        Ok(self.0[arguments][width].get_or_try_init(py, make)?.bind(py))
    }
}

/// Calls that wait.
pub struct Calls<'a, 'py> {
    py: Python<'py>,
    callers: &'a Callers,
    /// Of each call.
    arguments: usize,
    /// A place that a callee may use; then of each call the callable, borrowed, and its arguments' places. Behind the calls
    /// that wait these have what is left of others.
    pointers: Vec<Place>,
    /// Where the calls that wait end.
    end: usize,
    integers: Integers,
}

impl<'a, 'py> Calls<'a, 'py> {
    /// None so far.
    pub fn new(py: Python<'py>, callers: &'a Callers) -> Self {
        Self { py, callers, arguments: 0, pointers: Self::places(0), end: 1, integers: Integers::new(py) }
    }

    fn places(arguments: usize) -> Vec<Place> {
        vec![ptr::null_mut(); 1 + WIDTHS[0] * (1 + arguments)]
    }

    /// Appends a call with at most [`MOST`] arguments, and makes those that wait when they are enough, or can't wait with
    /// this one. `put` makes a cleared place hold the argument, or null with an exception set: then the others are made all
    /// the same, and the call is forgotten.
    #[inline]
    pub fn push<A>(
        &mut self,
        callable: &'a Py<PyAny>,
        arguments: &[A],
        put: impl Fn(&A, &Integers, &mut Place),
    ) -> PyResult<()> {
        if arguments.len() != self.arguments {
            self.begin(arguments.len())?;
        }
        let start = self.end;
        self.end = start + 1 + arguments.len();
        if let Some((first, places)) = self.pointers.get_mut(start..self.end).and_then(<[_]>::split_first_mut) {
            *first = callable.as_ptr();
            for (argument, place) in arguments.iter().zip(places) {
                put(argument, &self.integers, place);
                if place.is_null() {
                    return self.failed(start);
                }
            }
        }
        if self.end >= self.pointers.len() { self.make() } else { Ok(()) }
    }

    /// Makes those that wait, to go on with another number of arguments.
    #[cold]
    fn begin(&mut self, arguments: usize) -> PyResult<()> {
        self.make()?;
        self.release();
        (self.arguments, self.pointers) = (arguments, Self::places(arguments));
        Ok(())
    }

    #[cold]
    fn failed(&mut self, start: usize) -> PyResult<()> {
        let error = PyErr::fetch(self.py);
        self.clear(start);
        self.make().and(Err(error))
    }

    /// Makes the calls that wait. After one that raises, the rest are forgotten.
    pub fn make(&mut self) -> PyResult<()> {
        let outcome = self.make_all();
        self.clear(1);
        outcome
    }

    fn make_all(&mut self) -> PyResult<()> {
        let size = 1 + self.arguments;
        let mut next = 1;
        for (index, count) in WIDTHS.map(|width| width * size).into_iter().enumerate() {
            while count <= SHORT && self.end - next >= count {
                let caller = self.callers.get(self.py, self.arguments, index)?.as_ptr();
                self.call(caller, next, count).inspect_err(|error| forget_frame(self.py, error))?;
                next += count;
            }
        }
        while next < self.end {
            self.call(self.pointers[next], next + 1, self.arguments)?;
            next += size;
        }
        Ok(())
    }

    #[inline]
    fn call(&mut self, callable: *mut ffi::PyObject, first: usize, count: usize) -> PyResult<()> {
        let arguments = self.pointers[first - 1..][..1 + count].as_mut_ptr();
        // SAFETY: the pointers from the second on are live objects, as many as said: callables, which the dispatcher keeps,
        // and what this owns. The first place is there for the callee to use, which leaves it as it was. The answer is a
        // new reference, or null with an exception set.
        let answer = unsafe {
            let answer = PyObject_Vectorcall(callable, arguments.add(1), count | OFFSET_FLAG, ptr::null_mut());
            Bound::from_owned_ptr_or_err(self.py, answer)
        };
        answer.map(drop)
    }

    /// Forgets the calls from this place on.
    fn clear(&mut self, start: usize) {
        let integers = &self.integers;
        for call in self.pointers[start..self.end].chunks_exact_mut(1 + self.arguments) {
            // SAFETY: behind the callable, arguments' places have what `put` gave them, or what was left.
            call[1..].iter_mut().for_each(|place| unsafe { integers.clear(place) });
        }
        self.end = start;
    }

    /// Leaves nothing in the arguments' places.
    fn release(&mut self) {
        for call in self.pointers[1..].chunks_exact_mut(1 + self.arguments) {
            // SAFETY: as there.
            call[1..].iter_mut().for_each(|place| unsafe { release(place) });
        }
    }
}

impl Drop for Calls<'_, '_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// A handler's exception tells of the handler, not of the function that made the call.
fn forget_frame(py: Python<'_>, error: &PyErr) {
    let next = error.traceback(py).and_then(|traceback| traceback.getattr("tb_next").ok());
    error.set_traceback(py, next.and_then(|next| next.cast_into().ok()));
}
