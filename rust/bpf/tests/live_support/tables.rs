//! A session with tables, as a script runs one: threads drain rings and tables while a workload runs.

use std::sync::Arc;

use spile_bpf::engine::Engine;
use spile_bpf::kernel::clock;
use spile_core::aggregate::{Accumulated, Table};
use spile_core::collect::Collector;
use spile_core::drain::Drain;
use spile_core::loss::{self, Row};
use spile_core::pump::{Outlets, Pump};
use spile_core::spec::{AggregateFunction, AggregateSpec, Expr, ProbeSpec, SessionSpec};

/// A session that runs.
pub struct Live {
    pub engine: Engine,
    drain: Drain,
    pub collector: Collector,
    pub outlets: Arc<Outlets>,
}

impl Live {
    pub fn begin(spec: &SessionSpec) -> Self {
        let mut engine = Engine::prepare(spec).unwrap_or_else(|error| panic!("{error:?}"));
        let outlets = Arc::new(Outlets::new(spec, engine.layouts()));
        let pump = Pump::new(spec, engine.sources().unwrap(), Arc::clone(&outlets));
        let drain = Drain::spawn(pump).unwrap();
        let collector = Collector::spawn(engine.store().unwrap(), outlets.tables.clone()).unwrap();
        engine.start().unwrap();
        Self { engine, drain, collector, outlets }
    }

    /// Brings everything that has happened to the tables.
    pub fn drain(&self) {
        self.collector.wait();
        self.drain.wait_for(clock::monotonic());
    }

    pub fn table(&self, probe: usize, aggregate: usize) -> &Table {
        &self.outlets.tables[probe][aggregate]
    }

    /// The ledger, which balances; everything is in the tables.
    pub fn end(&mut self) -> Vec<Row> {
        self.engine.close().unwrap();
        self.collector.finish();
        self.drain.finish();
        assert_eq!((self.collector.take_error(), self.drain.take_error()), (None, None));
        let mut rows = self.engine.ledger().unwrap();
        self.engine.detach();
        loss::account(&mut rows, &self.outlets.layouts, &self.outlets.queue.dropped(), &[], &self.drain.late());
        for row in &rows {
            assert_eq!(row.balance(), 0, "{row:?}");
        }
        rows
    }
}

/// A count.
pub fn hits(accumulated: &Accumulated) -> u64 {
    match accumulated {
        Accumulated::Count(hits) => *hits,
        other => panic!("{other:?} is no count"),
    }
}

/// A probe that is only counted, by a key.
pub fn counted(probe: ProbeSpec, by: Vec<Expr>) -> ProbeSpec {
    let aggregates = vec![AggregateSpec { function: AggregateFunction::Count, value: None, by }];
    ProbeSpec { aggregates, deliver: false, ..probe }
}
