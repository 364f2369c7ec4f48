//! How a probe's own fields are reached. In: paths from a spec. Out: [`Access`]es that code can be made of.
//!
//! Whoever knows a target's fields (BTF, a tracefs `format`, a test) implements [`Fields`]; nothing here opens a file.

use spile_core::error::Error;
use spile_core::names::ValueNames;
use spile_core::spec::PathStep;

/// What is at the end of a chain of pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// An integer of 1, 2, 4 or 8 bytes.
    Int {
        /// Its width in bytes.
        size: u8,
        /// Two's complement.
        signed: bool,
    },
    /// A bit field: `width` bits from bit `shift` (0 is the lowest) of the little-endian word of `size` bytes.
    Bits {
        /// Bytes of the word that holds it: 1, 2, 4 or 8.
        size: u8,
        /// Its lowest bit.
        shift: u8,
        /// Its number of bits.
        width: u8,
        /// Two's complement.
        signed: bool,
    },
    /// A character array in place.
    String {
        /// Its size in bytes.
        size: u32,
    },
}

/// Where a field's value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Access {
    /// An integer in the context. A raw tracepoint's argument `i` is at `8 * i`, whatever its width.
    Ctx {
        /// From the context's start.
        offset: u32,
        /// Its width in bytes: 1, 2, 4 or 8.
        size: u8,
        /// Two's complement.
        signed: bool,
    },
    /// A character array in the context (classic tracepoints only).
    CtxString {
        /// From the context's start.
        offset: u32,
        /// Its size in bytes.
        size: u32,
    },
    /// A `__data_loc` string: a `u32` in the context, the string's offset from the context's start in its low 16 bits
    /// and its length in its high 16.
    CtxDynString {
        /// Of the `u32`.
        offset: u32,
    },
    /// A `__data_loc` array that isn't a string; it is captured as bytes.
    CtxDynBytes {
        /// Of the `u32`.
        offset: u32,
    },
    /// An array in the context; it is captured as bytes. An element of it resolves to [`Access::Ctx`].
    CtxArray {
        /// From the context's start.
        offset: u32,
        /// Bytes of an element.
        elem_size: u8,
        /// Two's complement.
        signed: bool,
        /// Elements.
        count: u32,
    },
    /// Memory behind a pointer in the context, read without risk: a fault is a null.
    Read {
        /// Of the pointer, 8 bytes.
        ctx_offset: u32,
        /// Each replaces the pointer by the one that is so many bytes behind it.
        derefs: Vec<u32>,
        /// Of the leaf from the last pointer.
        offset: u32,
        /// What is there.
        leaf: Leaf,
    },
}

/// The fields of one target.
pub trait Fields {
    /// Where the field at `path` is.
    fn resolve(&self, path: &[PathStep]) -> Result<Access, Error>;
    /// The names of the values of the field at `path`, where it is an enumeration.
    fn names(&self, path: &[PathStep]) -> ValueNames {
        let _ = path;
        ValueNames::default()
    }
    /// Where what the function returned is.
    fn ret(&self) -> Result<Access, Error> {
        Err(Error::FieldNotFound { message: "only a function's return has ret and error".into() })
    }
    /// Every field of the target's own, in its order, for `capture="*"`.
    fn all(&self) -> Vec<(String, Vec<PathStep>)>;
}

/// No fields at all, as of a timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFields;

impl Fields for NoFields {
    fn resolve(&self, path: &[PathStep]) -> Result<Access, Error> {
        let mut name = String::new();
        for step in path {
            match step {
                PathStep::Name(step) => name.push_str(&format!(".{step}")),
                PathStep::Index(index) => name.push_str(&format!("[{index}]")),
            }
        }
        Err(Error::FieldNotFound { message: format!("a timer has no fields of its own, and arg{name} asks for one") })
    }

    fn all(&self) -> Vec<(String, Vec<PathStep>)> {
        Vec::new()
    }
}
