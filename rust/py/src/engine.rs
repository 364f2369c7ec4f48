//! A session's engine, as Python holds it: where events come from, the thread that drains, and what they end in.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use spile_bpf::engine::Engine as Bpf;
use spile_bpf::kernel::clock;
use spile_core::Error;
use spile_core::collect::Collector;
use spile_core::drain::Drain;
use spile_core::event::Layouts;
use spile_core::layout::{Encoding, EventLayout, EventSchema};
use spile_core::loss::{self, Row};
use spile_core::pump::{Outlets, Pump};
use spile_core::queue::Popped;
use spile_core::recording::{Recording as Open, record};
use spile_core::source::Source;
use spile_core::source::framed::{Account, Numbers, Schemas};
use spile_core::source::packed::PackedSource;
use spile_core::spec::SessionSpec;
use spile_core::watch::Watch;

use crate::batch::{Batch, Shared};
use crate::error::raised;
use crate::kinds::{self, Kinds};
use crate::loss as losses;
use crate::recording::{self, Recording, Tape};
use crate::systemtap;
use crate::table::NativeTable;

/// How long a wait lasts before pending signals are looked at.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

#[pyclass(frozen, module = "spile._native")]
pub struct Engine {
    spec: SessionSpec,
    kinds: Arc<Kinds>,
    outlets: Arc<Outlets>,
    /// Shared with what samples the ledger for a recording.
    origin: Arc<Mutex<Origin>>,
    /// What a script's stream tells of itself.
    account: Option<Arc<Account>>,
    tape: Tape,
    drain: OnceLock<Drain>,
    /// Where aggregates are kept in the kernel.
    collector: OnceLock<Collector>,
    /// Who keeps to a budget, if there is one.
    watch: OnceLock<Watch>,
}

/// Where events come from.
pub enum Origin {
    /// The running kernel.
    Bpf(Box<Bpf>),
    /// Streams, until they are started.
    Streams(Vec<Box<dyn Source>>),
    /// Nowhere any more; the last ledger, the children that were not followed, the explanation.
    Stopped(Vec<Row>, u64, String),
}

impl Engine {
    fn new(
        py: Python<'_>,
        spec: SessionSpec,
        origin: Origin,
        outlets: Outlets,
        names: &[(u16, String)],
        classes: Option<Vec<Option<Py<PyType>>>>,
    ) -> PyResult<Self> {
        let kinds = Kinds::new(py, &spec, &outlets.layouts, names, &classes.unwrap_or_default())?;
        Ok(Self {
            spec,
            kinds,
            outlets: Arc::new(outlets),
            origin: Arc::new(Mutex::new(origin)),
            account: None,
            tape: Tape::default(),
            drain: OnceLock::new(),
            collector: OnceLock::new(),
            watch: OnceLock::new(),
        })
    }

    /// The names of the values of each part of a key, as the first of the probe's targets has them.
    /// Of each column of an aggregate, the names of its values: its key's, and behind them its value's.
    fn names_of(&self, py: Python<'_>, probe: usize, aggregate: usize) -> PyResult<Vec<Option<Py<PyAny>>>> {
        let schemas = self.outlets.layouts.iter().map(|layout| &layout.schema);
        let schema = schemas.into_iter().find(|schema| schema.probe as usize == probe);
        let Some((schema, columns)) = schema.and_then(|schema| Some((schema, schema.columns(aggregate)?))) else {
            return Ok(Vec::new());
        };
        let fields = columns.iter().map(|column| schema.fields.get(*column as usize));
        fields.map(|field| field.map_or(Ok(None), |field| kinds::names(py, &field.names))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Origin> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Result<(), Error> {
        let mut origin = self.lock();
        let sources = match &mut *origin {
            Origin::Bpf(bpf) => bpf.sources()?,
            Origin::Streams(sources) => std::mem::take(sources),
            Origin::Stopped(..) => return Err(Error::engine("this engine has been stopped")),
        };
        let drain = Drain::spawn(Pump::with(&self.spec, sources, Arc::clone(&self.outlets), self.tape.extras()))?;
        if self.drain.set(drain).is_err() {
            return Err(Error::engine("this engine has been started already"));
        }
        if let Origin::Bpf(bpf) = &mut *origin
            && let Some(store) = bpf.store()
        {
            let _ = self.collector.set(Collector::spawn(store, self.outlets.tables.clone())?);
        }
        let Origin::Bpf(bpf) = &mut *origin else { return Ok(()) };
        let watched = bpf.budget()?;
        bpf.start()?;
        if let Some(watched) = watched {
            let _ = self.watch.set(Watch::spawn(watched)?);
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Error> {
        let mut origin = self.lock();
        let mut outcome = Ok(());
        if let Some(watch) = self.watch.get() {
            watch.finish();
        }
        if let Origin::Bpf(bpf) = &mut *origin {
            outcome = bpf.close();
        }
        if let Some(account) = &self.account {
            account.close();
        }
        if let Some(collector) = self.collector.get() {
            collector.finish();
        }
        self.tape.stop();
        match self.drain.get() {
            Some(drain) => drain.finish(),
            None => self.outlets.queue.close(),
        }
        if let Origin::Bpf(bpf) = &mut *origin {
            bpf.detach();
            let (rows, children, explained) = (bpf.ledger(), bpf.lost_children(), bpf.explain(false));
            let last = rows.as_ref().cloned().unwrap_or_default();
            let lost_children = children.as_ref().copied().unwrap_or_default();
            outcome = outcome.and(rows.map(drop)).and(children.map(drop)).and(self.tape.close(&last, lost_children));
            *origin = Origin::Stopped(last, lost_children, explained);
        }
        // A recording's failure is told once: by whoever reads, or here.
        outcome.and_then(|()| self.failure().map_or(Ok(()), Err))
    }

    fn failure(&self) -> Option<Error> {
        let of_collector = self.collector.get().and_then(Collector::take_error);
        let of_watch = self.watch.get().and_then(Watch::take_error);
        self.drain.get().and_then(Drain::take_error).or(of_collector).or(of_watch)
    }

    fn rows(&self) -> Result<Vec<Row>, Error> {
        let mut rows = match &*self.lock() {
            Origin::Bpf(bpf) => bpf.ledger()?,
            Origin::Stopped(rows, ..) => rows.clone(),
            Origin::Streams(_) => match &self.account {
                Some(account) => account.rows(&self.outlets.layouts),
                None => self.tape.recording().map_or_else(Vec::new, Open::rows),
            },
        };
        let late = self.drain.get().map(Drain::late).unwrap_or_default();
        let queue = &self.outlets.queue;
        loss::account(&mut rows, &self.outlets.layouts, &queue.dropped(), &queue.sampled_out(), &late);
        Ok(rows)
    }

    /// Pops in short waits, so that signals are handled by the thread that waits.
    fn pop(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Popped> {
        let queue = &self.outlets.queue;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let wakes = queue.wakes();
        loop {
            let left = deadline.map_or(SIGNAL_INTERVAL, |deadline| deadline.saturating_duration_since(Instant::now()));
            match py.detach(|| queue.pop(Some(left.min(SIGNAL_INTERVAL)), wakes)) {
                Popped::Nothing => {}
                popped => return Ok(popped),
            }
            py.check_signals()?;
            let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if is_over || queue.wakes() != wakes {
                return Ok(Popped::Nothing);
            }
        }
    }
}

#[pymethods]
impl Engine {
    #[staticmethod]
    #[pyo3(signature = (spec, classes = None))]
    fn bpf(py: Python<'_>, spec: &str, classes: Option<Vec<Option<Py<PyType>>>>) -> PyResult<Self> {
        let (spec, bpf) = py
            .detach(|| {
                let spec = SessionSpec::from_json(spec)?;
                let bpf = Bpf::prepare(&spec)?;
                Ok((spec, bpf))
            })
            .map_err(raised)?;
        let outlets = Outlets::new(&spec, bpf.layouts());
        let names = bpf.names();
        Self::new(py, spec, Origin::Bpf(Box::new(bpf)), outlets, &names, classes)
    }

    #[staticmethod]
    #[pyo3(signature = (spec, schemas, data, classes = None))]
    fn stream(
        py: Python<'_>,
        spec: &str,
        schemas: &str,
        data: Vec<u8>,
        classes: Option<Vec<Option<Py<PyType>>>>,
    ) -> PyResult<Self> {
        let (spec, schemas) = read(spec, schemas).map_err(raised)?;
        let lay_out = |encoding| {
            let layouts = schemas.iter().map(|schema| EventLayout::compute(schema.clone(), encoding));
            Layouts::new(layouts.collect::<Result<_, _>>()?)
        };
        let aligned = lay_out(Encoding::Aligned).map_err(raised)?;
        let packed = lay_out(Encoding::Packed).map_err(raised)?;
        let names = names(&spec, &schemas);
        let outlets = Outlets::new(&spec, Arc::new(aligned));
        let source = PackedSource::recorded(data, packed, Arc::clone(&outlets.stacks)).map_err(raised)?;
        Self::new(py, spec, Origin::Streams(vec![Box::new(source)]), outlets, &names, classes)
    }

    #[staticmethod]
    #[pyo3(signature = (spec, schemas, descriptors, bulk = false, classes = None))]
    fn systemtap(
        py: Python<'_>,
        spec: &str,
        schemas: &str,
        descriptors: Vec<i32>,
        bulk: bool,
        classes: Option<Vec<Option<Py<PyType>>>>,
    ) -> PyResult<Self> {
        let (spec, schemas) = read(spec, schemas).map_err(raised)?;
        let names = names(&spec, &schemas);
        let schemas = Schemas::of(&spec, schemas);
        let outlets = Outlets::new(&spec, Arc::new(schemas.layouts().map_err(raised)?));
        let account = Arc::<Account>::default();
        let sources = systemtap::sources(&descriptors, bulk, &schemas, &outlets.stacks, &account).map_err(raised)?;
        let engine = Self::new(py, spec, Origin::Streams(sources), outlets, &names, classes)?;
        Ok(Self { account: Some(account), ..engine })
    }

    #[staticmethod]
    #[pyo3(signature = (recording, spec, unread, classes = None))]
    fn replay(
        py: Python<'_>,
        recording: &Recording,
        spec: &str,
        unread: Vec<u32>,
        classes: Option<Vec<Option<Py<PyType>>>>,
    ) -> PyResult<Self> {
        let spec = SessionSpec::from_json(spec).map_err(raised)?;
        let (outlets, source, tape) = Tape::replay(recording, &spec, unread).map_err(raised)?;
        let names = &recording.open.head().names;
        let engine = Self::new(py, spec, Origin::Streams(vec![source]), outlets, names, classes)?;
        Ok(Self { tape, ..engine })
    }

    /// Lets it record into an empty file, from its start on.
    #[pyo3(signature = (descriptor, path, compress, unread))]
    fn record(&self, py: Python<'_>, descriptor: i32, path: &str, compress: bool, unread: Vec<u32>) -> PyResult<()> {
        let begin = || {
            let file = recording::file(descriptor)?;
            let head = recording::head(&self.spec, &self.outlets.layouts, &self.lock())?;
            let sampler = recording::sampler(Arc::downgrade(&self.origin));
            self.tape.record(record(file, path, compress, &head, Arc::clone(&self.outlets.layouts), sampler)?, unread);
            Ok(())
        };
        py.detach(begin).map_err(raised)
    }

    /// Whether its events are those of a recording.
    #[getter]
    fn replays(&self) -> bool {
        self.tape.recording().is_some()
    }

    /// What a script says of itself.
    #[getter]
    fn ready(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.is_ready())
    }

    #[getter]
    fn told(&self) -> u64 {
        self.account.as_ref().map_or(0, |account| account.tellings())
    }

    #[getter]
    fn complete(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.has_ended())
    }

    fn stream_numbers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let Some(account) = &self.account else { return Ok(dict) };
        let Numbers { bytes, frames, gaps, skipped, corrupt, missing, rows_missing } = py.detach(|| account.numbers());
        dict.set_item("bytes", bytes)?;
        dict.set_item("frames", frames)?;
        dict.set_item("gaps", gaps)?;
        dict.set_item("skipped", skipped)?;
        dict.set_item("corrupt", corrupt)?;
        dict.set_item("missing", missing)?;
        dict.set_item("rows_missing", rows_missing)?;
        Ok(dict)
    }

    /// What was lost of which no single probe is known, and what a replay has to say of its recording's end.
    fn beyond<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyTuple>)> {
        let dict = PyDict::new(py);
        if let Some(account) = &self.account {
            let Numbers { gaps, skipped, corrupt, missing, rows_missing, .. } = py.detach(|| account.numbers());
            let of_stream = [("gaps", gaps), ("skipped", skipped), ("corrupt", corrupt)];
            for (name, number) in of_stream.into_iter().chain([("missing", missing), ("rows_missing", rows_missing)]) {
                dict.set_item(name, number)?;
            }
        }
        let warnings = self.tape.recording().map_or_else(Vec::new, Open::warnings);
        Ok((dict, PyTuple::new(py, warnings)?))
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.begin()).map_err(raised)
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.end()).map_err(raised)
    }

    #[getter]
    fn ended(&self) -> bool {
        self.outlets.queue.is_ended()
    }

    #[pyo3(signature = (timeout = None))]
    fn next_batch(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Batch>> {
        let timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        match self.pop(py, timeout)? {
            Popped::Batch(buffer) => {
                let shared = Shared::new(buffer, Arc::clone(&self.kinds), self.tape.recording());
                Ok(Some(Batch { shared }))
            }
            Popped::Nothing => Ok(None),
            Popped::Ended => self.failure().map_or(Ok(None), |error| Err(raised(error))),
        }
    }

    fn wake(&self) {
        self.outlets.queue.wake();
    }

    fn fileno(&self) -> PyResult<i32> {
        self.outlets.queue.descriptor().map_err(PyErr::from)
    }

    fn drain(&self, py: Python<'_>) {
        let Some(drain) = self.drain.get() else { return };
        // Another machine's clock, perhaps.
        let is_foreign = self.account.is_some() || self.tape.recording().is_some();
        py.detach(|| {
            if let Some(collector) = self.collector.get() {
                collector.wait();
            }
            if is_foreign { drain.wait_for_turns() } else { drain.wait_for(clock::monotonic()) }
        });
    }

    fn losses<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let rows = py.detach(|| self.rows()).map_err(raised)?;
        rows.iter().map(|row| losses::row(py, row)).collect()
    }

    fn events<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let event = |layout: &EventLayout| {
            let (schema, dict) = (&layout.schema, PyDict::new(py));
            let kind = self.kinds.get(schema.id).ok_or_else(|| PyIndexError::new_err(schema.id))?;
            let fields = PyList::empty(py);
            for field in &kind.fields {
                let ty = schema.fields.get(field.column).map_or("", |column| column.ty.spelling());
                fields.append((field.name.object(py), ty))?;
            }
            dict.set_item("id", schema.id)?;
            dict.set_item("probe", schema.probe)?;
            dict.set_item("target", schema.target)?;
            dict.set_item("name", kind.name.object(py))?;
            dict.set_item("fields", fields)?;
            Ok(dict)
        };
        self.outlets.layouts.iter().map(event).collect()
    }

    fn explain(&self, py: Python<'_>, code: bool) -> String {
        py.detach(|| match &*self.lock() {
            Origin::Bpf(bpf) => bpf.explain(code),
            Origin::Stopped(.., explained) => explained.clone(),
            Origin::Streams(_) => String::new(),
        })
    }

    fn table(&self, py: Python<'_>, probe: usize, aggregate: usize) -> PyResult<NativeTable> {
        let table = self.outlets.tables.get(probe).and_then(|tables| tables.get(aggregate));
        let table = table.ok_or_else(|| PyIndexError::new_err("no such aggregate"))?;
        let parts = self.spec.probes[probe].aggregates[aggregate].by.len();
        Ok(NativeTable {
            table: Arc::clone(table),
            parts,
            kinds: Arc::clone(&self.kinds),
            stacks: Arc::clone(&self.outlets.stacks),
            names: self.names_of(py, probe, aggregate)?,
        })
    }

    fn add_pid(&self, py: Python<'_>, pid: u32) -> PyResult<()> {
        py.detach(|| match &*self.lock() {
            Origin::Bpf(bpf) => bpf.add_pid(pid),
            _ => Ok(()),
        })
        .map_err(raised)
    }

    /// Children of followed processes that found no room in the filter.
    #[getter]
    fn lost_children(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| match &*self.lock() {
            Origin::Bpf(bpf) => bpf.lost_children(),
            Origin::Stopped(_, children, _) => Ok(*children),
            Origin::Streams(_) => Ok(self.tape.recording().map_or(0, Open::lost_children)),
        })
        .map_err(raised)
    }

    /// What was left out for the budget, step by step.
    fn steps(&self) -> Vec<(u64, &'static str, u32, bool, f64)> {
        self.watch.get().map_or_else(Vec::new, |watch| watch.steps().iter().map(losses::step).collect())
    }

    /// Content hashes that stood for two sets of frames.
    #[getter]
    fn stack_collisions(&self) -> u64 {
        self.outlets.stacks.collisions()
    }
}

/// A spec, and the schemas of a stream's events.
fn read(spec: &str, schemas: &str) -> Result<(SessionSpec, Vec<EventSchema>), Error> {
    let spec = SessionSpec::from_json(spec)?;
    let schemas = serde_json::from_str(schemas)
        .map_err(|error| Error::spec("", format!("the schemas are not of their form: {error}")))?;
    Ok((spec, schemas))
}

fn names(spec: &SessionSpec, schemas: &[EventSchema]) -> Vec<(u16, String)> {
    let name = |schema: &EventSchema| {
        let target = spec.probes.get(schema.probe as usize).and_then(|probe| {
            // A span's events are of its ends' targets.
            let ends = probe.span.iter().flat_map(|span| &span.end);
            let ends = ends.filter_map(|side| spec.probes.get(side.probe as usize)).flat_map(|probe| &probe.targets);
            probe.targets.iter().chain(ends).nth(schema.target as usize)
        });
        (schema.id, target.map_or_else(String::new, |target| target.last_name()))
    };
    schemas.iter().map(name).collect()
}
