//! Spans for live tests.

use spile_core::loss::Row;
use spile_core::spec::{Context, Expr, ProbeSpec, SpanSide, SpanSpec};

use super::session::{Outcome, fact, named, probe, raw_tracepoint};

/// A side: the probe at this index, and its key.
pub fn side(probe: u32, key: Expr) -> SpanSide {
    SpanSide { probe, key }
}

/// Keyed by the task, as it is by default.
pub fn of_task(probe: u32) -> SpanSide {
    side(probe, fact(Context::Task))
}

/// A span with these captures.
pub fn span(start: Vec<SpanSide>, end: Vec<SpanSide>, captures: &[(&str, Expr)]) -> ProbeSpec {
    let probe = probe(raw_tracepoint("span"), captures, None);
    let span = Some(SpanSpec { start, end, restart: true, max_open: 1024 });
    ProbeSpec { targets: Vec::new(), span, ..named("span", probe) }
}

/// A probe that only feeds a span.
pub fn feeding(name: &str, probe: ProbeSpec) -> ProbeSpec {
    ProbeSpec { deliver: false, ..named(name, probe) }
}

pub fn at_start(value: Expr) -> Expr {
    Expr::AtStart { value: Box::new(value) }
}

/// The sums of a probe's rows.
pub fn total(outcome: &Outcome, probe: u32) -> Row {
    let mut total = Row { probe, ..Row::default() };
    for row in outcome.rows.iter().filter(|row| row.probe == probe) {
        assert_eq!(row.balance(), 0, "{row:?}");
        total.hits += row.hits;
        total.filtered += row.filtered;
        total.delivered += row.delivered;
        total.ring_full += row.ring_full;
        total.missed += row.missed;
        total.unmatched += row.unmatched;
        total.opened += row.opened;
        total.already_open += row.already_open;
        total.open_full += row.open_full;
        total.matched += row.matched;
        total.overwritten += row.overwritten;
        total.left_open += row.left_open;
    }
    assert_eq!(total.opened, total.matched + total.overwritten + total.left_open, "{total:?}");
    // Each test has one span.
    assert_eq!(outcome.open, [total.left_open], "{total:?}");
    total
}
