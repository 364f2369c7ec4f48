"""The price of order: events of four rings put in the order of time and into batches, beside the same ones counted as
they come.

By `rust/core/examples/hot_loops.rs`, in one thread. One in a hundred is an interrupt's, which stands in its ring before
an earlier one.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import rust_example
from price import Price, Row, Skipped, alternate, typical

EVENTS = 4_000_000


def rows(*, tiny: bool = False) -> Iterator[Row]:
    """One row."""
    what = "read, order and batch an event of four rings"
    binary = rust_example.built("hot_loops", tiny=tiny)
    if isinstance(binary, str):
        yield Skipped(what, binary)
        return
    events, rounds = (20_000, 1) if tiny else (EVENTS, 7)
    ordered, counted = alternate(
        rounds, lambda: _run(binary, "merge-rings", events), lambda: _run(binary, "count-rings", events)
    )
    yield Price(what, "read and count it, in no order", typical(ordered), typical(counted), "ns/event")


def _run(binary: Path, loop: str, events: int) -> float:
    done = subprocess.run([binary, loop, str(events)], capture_output=True, text=True, check=True)
    found = re.search(r"([\d.]+) ns/event", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])
