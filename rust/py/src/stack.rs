//! Stacks and frames, as Python sees them: content, and names for whoever looks.

use std::sync::{Arc, OnceLock};

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySlice, PyTuple};
use spile_core::aggregate::Part;
use spile_core::spec::StackSpace;
use spile_core::stack::{Frames, StackTable};
use spile_core::symbol::recorded::{NamedAddress, Recorded, places};
use spile_core::symbol::{KernelSymbolizer, Symbol};

/// A frame's name, the bytes from its start, the module.
type Brought = Option<(String, u64, Option<String>)>;

#[pyclass(frozen, sequence, module = "spile._native")]
pub struct Stack {
    stacks: Arc<StackTable>,
    hash: u64,
    space: StackSpace,
    frames: OnceLock<Arc<Frames>>,
}

impl Stack {
    /// The stack with this hash.
    pub fn new(stacks: Arc<StackTable>, hash: u64, space: StackSpace) -> Self {
        Self { stacks, hash, space, frames: OnceLock::new() }
    }

    /// As a part of a key.
    pub fn part(&self) -> Part {
        match self.space {
            StackSpace::Kernel => Part::KernelStack(self.hash),
            StackSpace::User => Part::UserStack(self.hash),
        }
    }

    /// The frames, once their definition has come.
    fn frames(&self) -> Option<&Frames> {
        if self.frames.get().is_none()
            && let Some(frames) = self.stacks.get(self.hash)
        {
            let _ = self.frames.set(frames);
        }
        self.frames.get().map(|frames| &**frames)
    }

    fn addresses(&self) -> &[u64] {
        self.frames().map_or(&[], |frames| &frames.addresses)
    }

    fn process(&self) -> u32 {
        self.frames().map_or(0, |frames| frames.pid)
    }

    /// Why a kernel stack's frames can't have names.
    fn hidden(&self) -> Option<String> {
        match self.space {
            StackSpace::Kernel if !self.stacks.is_recorded() => KernelSymbolizer::shared().explain_restriction(),
            _ => None,
        }
    }

    /// What to say of a stack without frames.
    fn empty(&self) -> &'static str {
        // A timer that found its CPU in user mode has no kernel frames.
        if self.frames().is_some() { "[user mode]" } else { "[pending]" }
    }

    fn frame(&self, depth: usize, address: u64) -> Frame {
        let (stacks, pid) = (Arc::clone(&self.stacks), self.process());
        Frame { stacks, address, depth, space: self.space, pid, symbol: OnceLock::new() }
    }

    fn symbols(&self) -> Vec<Symbol> {
        self.stacks.symbolize(self.space, self.process(), self.addresses())
    }

    /// The names that go along where the stack goes; none for a stack of this machine, which is asked anew.
    fn brought(&self) -> Option<Vec<Brought>> {
        let named = |symbol: Symbol| symbol.name.map(|name| (name, symbol.offset, symbol.module));
        self.stacks.is_recorded().then(|| self.symbols().into_iter().map(named).collect())
    }
}

#[pymethods]
impl Stack {
    #[getter(addresses)]
    fn address_tuple<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.addresses())
    }

    #[getter]
    fn space(&self) -> &'static str {
        space_name(self.space)
    }

    #[getter]
    fn pid(&self) -> u32 {
        self.process()
    }

    #[getter]
    fn id(&self) -> u64 {
        self.hash
    }

    fn folded(&self, py: Python<'_>) -> String {
        py.detach(|| {
            let named = |(symbol, address): (Symbol, &u64)| symbol.name.unwrap_or_else(|| format!("{address:#x}"));
            let mut names: Vec<String> = self.symbols().into_iter().zip(self.addresses()).map(named).collect();
            names.reverse();
            if names.is_empty() {
                return self.empty().into();
            }
            names.join(";")
        })
    }

    fn __len__(&self) -> usize {
        self.addresses().len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let addresses = self.addresses();
        let length = addresses.len().cast_signed();
        let frame = |place: isize| {
            let depth = usize::try_from(place).unwrap_or(usize::MAX);
            let address = addresses.get(depth).ok_or_else(|| PyIndexError::new_err("stack index out of range"))?;
            Bound::new(py, self.frame(depth, *address))
        };
        if let Ok(slice) = index.cast::<PySlice>() {
            let indices = slice.indices(length)?;
            let list = PyList::empty(py);
            let mut at = indices.start;
            for _ in 0..indices.slicelength {
                list.append(frame(at)?)?;
                at += indices.step;
            }
            return Ok(list.into_any());
        }
        let index: isize = index.extract()?;
        Ok(frame(if index < 0 { index + length } else { index })?.into_any())
    }

    fn __hash__(&self) -> u64 {
        self.hash
    }

    fn __richcmp__<'py>(&self, other: &Bound<'py, PyAny>, op: CompareOp) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented().into_bound(py)) };
        let other = other.get();
        let is_equal = self.hash == other.hash
            && self.space == other.space
            && match (self.frames(), other.frames()) {
                (Some(own), Some(others)) => own == others,
                _ => true,
            };
        match op {
            CompareOp::Eq => Ok(is_equal.into_pyobject(py)?.to_owned().into_any()),
            CompareOp::Ne => Ok((!is_equal).into_pyobject(py)?.to_owned().into_any()),
            _ => Ok(py.NotImplemented().into_bound(py)),
        }
    }

    fn __str__(&self, py: Python<'_>) -> String {
        if self.addresses().is_empty() {
            return format!("    {}", self.empty());
        }
        let (symbols, hidden) = py.detach(|| (self.symbols(), self.hidden()));
        let lines =
            symbols.iter().zip(self.addresses()).map(|(symbol, address)| format!("    {}", symbol.spell(*address)));
        let why = hidden.map(|why| format!("    ({why})"));
        lines.chain(why).collect::<Vec<_>>().join("\n")
    }

    fn __repr__(&self) -> String {
        format!("<{} Stack of {} frames, id {:#018x}>", space_name(self.space), self.addresses().len(), self.hash)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let restore = py.import("spile._native")?.getattr("restore_stack")?;
        let parts = (self.space(), self.process(), self.hash, self.address_tuple(py)?, self.brought());
        Ok((restore, parts.into_pyobject(py)?))
    }
}

/// Puts a pickled or copied stack together; `names` are those of its frames, where they came from a recording.
#[pyfunction]
#[pyo3(signature = (space, pid, id, addresses, names = None, /))]
pub fn restore_stack(space: &str, pid: u32, id: u64, addresses: Vec<u64>, names: Option<Vec<Brought>>) -> Stack {
    let space = if space == space_name(StackSpace::User) { StackSpace::User } else { StackSpace::Kernel };
    let stack = Stack::new(Arc::default(), id, space);
    if let Some(names) = names {
        let owner = if space == StackSpace::User { pid } else { 0 };
        let mut recorded = Recorded::default();
        recorded.add(places(&addresses).zip(names).enumerate().filter_map(|(depth, (address, name))| {
            let (name, offset, module) = name?;
            // Of a caller the offset is that behind the call.
            let offset = offset.saturating_sub(u64::from(depth > 0));
            Some(NamedAddress { pid: owner, address, name, offset, module })
        }));
        stack.stacks.name_by(Arc::new(recorded));
    }
    if !addresses.is_empty() {
        let _ = stack.frames.set(Arc::new(Frames { pid, addresses: addresses.into() }));
    }
    stack
}

fn space_name(space: StackSpace) -> &'static str {
    match space {
        StackSpace::Kernel => "kernel",
        StackSpace::User => "user",
    }
}

#[pyclass(frozen, eq, hash, module = "spile._native")]
pub struct Frame {
    stacks: Arc<StackTable>,
    address: u64,
    /// From the innermost, 0, whose address is no return address.
    depth: usize,
    space: StackSpace,
    pid: u32,
    symbol: OnceLock<Symbol>,
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        (self.address, self.space, self.pid) == (other.address, other.space, other.pid)
    }
}

impl std::hash::Hash for Frame {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.address, self.pid).hash(state);
    }
}

impl Frame {
    fn looked_up(&self) -> &Symbol {
        self.symbol.get_or_init(|| {
            // The place before it makes this one a caller's.
            let addresses = [0, self.address];
            let known = if self.depth == 0 { &addresses[1..] } else { &addresses[..] };
            self.stacks.symbolize(self.space, self.pid, known).pop().unwrap_or_default()
        })
    }
}

#[pymethods]
impl Frame {
    #[getter]
    fn address(&self) -> u64 {
        self.address
    }

    #[getter]
    fn symbol(&self) -> Option<&str> {
        self.looked_up().name.as_deref()
    }

    #[getter]
    fn offset(&self) -> Option<u64> {
        let symbol = self.looked_up();
        symbol.name.as_ref().map(|_| symbol.offset)
    }

    #[getter]
    fn module(&self) -> Option<&str> {
        self.looked_up().module.as_deref()
    }

    fn __str__(&self) -> String {
        self.looked_up().spell(self.address)
    }

    fn __repr__(&self) -> String {
        format!("<Frame {} at {:#x}>", self.looked_up().spell(self.address), self.address)
    }
}
