"""Rows of a script's tables, for every aggregate: what comes of them is what comes of the values one by one.

Rows are written here from the form that `rust/core/src/aggregate/tallied.rs` documents, as a script would keep them: a
table that is emptied now and then, and a row of its own for a hit that finds it full.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate_states import FUNCTIONS, function, linear, log2, log_linear, state
from spile import _native
from spile.expr import arg, comm, pid, task
from spile.expr.operand import node_of
from spile.expr.wrapper import Expr
from spile.spec import AggregateSpec, NamedExpr, ProbeSpec, SessionSpec
from spile.systemtap.script import generate
from systemtap_frames import read
from systemtap_specs import READ

BINS = {"hist": log2, "lhist": linear, "quantiles": log_linear}
KEPT: dict[str, tuple[Any, ...]] = {
    "sum": (sum,),
    "avg": (sum,),
    "min": (min,),
    "max": (max,),
    "stats": (sum, min, max),
}
KEYS = st.sampled_from([b"", b"dd", b"a name of more th"[:15]])
VALUES: dict[str, Expr[Any]] = {"signed": arg.count, "unsigned": task}
SIGNED, SMALL = st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-300, 300)


def session(kind: str, value: Expr[Any], *, deliver: bool, by: Expr[Any] | None = comm) -> SessionSpec:
    nodes = () if by is None else (node_of(by),)
    of = None if kind == "count" else node_of(value)
    aggregate = AggregateSpec(function(kind), nodes, of)  # type: ignore[arg-type]
    capture = (NamedExpr("pid", node_of(pid)),) if deliver else ()  # type: ignore[arg-type]
    return SessionSpec((ProbeSpec("p", (READ,), capture=capture, aggregates=(aggregate,), deliver=deliver),))


def frame(parts: list[bytes], total: int) -> bytes:
    payload = b"".join(parts)
    out = b"SP" + len(payload).to_bytes(2, "little") + payload
    out += ((0x5350494C + len(payload) + total) & 0xFFFF_FFFF).to_bytes(4, "little")
    return out + bytes(-(8 + len(out)) % 16)


def word(value: int, size: int = 8) -> bytes:
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def row(kind: str, key: bytes, values: list[int]) -> bytes:
    """What is kept of values that have one bin, or are all the same where they are counted themselves."""
    numbers: list[tuple[int, int]] = []
    if kind in BINS:
        numbers.append((BINS[kind](values[0]), 4))
    if kind in ("top", "distinct"):
        numbers.append((values[0], 8))
    numbers += [(kept(values), 8) for kept in KEPT.get(kind, ())]
    numbers.append((len(values), 8))
    parts = [bytes([0, 3, 0, 0]), key + b"\0", *(word(value, size) for value, size in numbers)]
    return frame(parts, 3 + len(key) + sum(value & 0xFFFF_FFFF for value, _ in numbers))


def dumped(kind: str, hits: list[tuple[bytes, int]], entries: int) -> list[bytes]:
    """The rows of a table of so many entries."""
    kept: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    rows = []
    for key, value in hits:
        extra = BINS[kind](value) if kind in BINS else value if kind in ("top", "distinct") else 0
        if (key, extra) in kept or len(kept) < entries:
            kept[key, extra].append(value)
        else:
            rows.append(row(kind, key, [value]))
    return rows + [row(kind, key, values) for (key, _), values in kept.items()]


def of(number: int, sign: str) -> int:
    """The number that these 64 bits are."""
    return number if sign == "signed" else number & ((1 << 64) - 1)


def table(spec: SessionSpec, stream: bytes) -> tuple[Any, _native.Engine]:
    """What Rust makes of a stream."""
    reader, writer = os.pipe()
    engine = _native.Engine.systemtap(spec.to_json(), generate(spec).schemas, [reader])
    os.close(reader)
    thread = threading.Thread(target=_write, args=(writer, stream))
    thread.start()
    engine.start()
    while engine.next_batch(5) is not None:
        pass
    engine.stop()
    thread.join()
    return engine.table(0, 0), engine


def _write(writer: int, data: bytes) -> None:
    with os.fdopen(writer, "wb") as file:
        file.write(data)


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("sign", VALUES)
@given(
    intervals=st.lists(st.tuples(st.integers(1, 4), st.lists(st.tuples(KEYS, SIGNED | SMALL), max_size=8)), max_size=3)
)
@settings(deadline=None, max_examples=25)
def test_rows_are_as_good_as_hits(kind: str, sign: str, intervals: list[tuple[int, list[Any]]]) -> None:
    """Sums within an interval are kept in 64 bits: those of the values here are cut to what these hold."""
    cut = 4 if sum in KEPT.get(kind, ()) else 0
    given = [(entries, [(key, of(number, sign) >> cut) for key, number in hits]) for entries, hits in intervals]
    hits = [hit for _, interval in given for hit in interval]
    stream = b"".join(line for entries, interval in given for line in dumped(kind, interval, entries))
    script = generate(spec := session(kind, VALUES[sign], deliver=False))
    found, engine = table(spec, stream)
    by_key: dict[str, list[int]] = defaultdict(list)
    for key, number in hits:
        by_key[key.decode()].append(number)
    got = {key[0]: made for key, made in found.items()}
    if kind == "top":
        # The order of equally frequent ones, and so which of them are left out, is the list's own affair.
        for key, (total, items) in got.items():
            counts = Counter(by_key[key])
            assert total == len(by_key[key]) and all(counts[item] == hits for item, hits, _ in items)
            assert [hits for _, hits, _ in items] == [hits for _, hits in counts.most_common(4)]
    elif kind != "distinct":
        assert got == {key: state(kind, values) for key, values in by_key.items()}
    assert found.total == len(hits) and found.faulted == 0
    assert engine.stream_numbers()["gaps"] == 0
    # The second reader, of the same bytes.
    second = read(stream, script.schemas, {(0, 0): kind}).tables.get((0, 0), {})
    assert sum(second.values()) == len(hits)


@given(st.lists(st.tuples(KEYS, SIGNED | SMALL), min_size=1, max_size=20), st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_different_values_are_the_same_ones_as_of_events(hits: list[tuple[bytes, int]], entries: int) -> None:
    """Registers are made of values by Rust, whichever way those come."""
    rows, _ = table(session("distinct", arg.count, deliver=False), b"".join(dumped("distinct", hits, entries)))
    events = []
    for at, (key, value) in enumerate(hits, 1):
        parts = [bytes([1]), word(at), word(0, 2), word(7, 4), key + b"\0", word(value)]
        events.append(frame(parts, 1 + at + 7 + len(key) + (value & 0xFFFF_FFFF)))
    sent, _ = table(session("distinct", arg.count, deliver=True), b"".join(events))
    assert dict(rows.items()) == dict(sent.items())


def test_a_cell_has_no_key_and_a_list_may_have_texts() -> None:
    rows = [(b"dd", 3), (b"cat", 5), (b"dd", 4)]
    lines = [frame([bytes([0, 3, 0, 0]), name + b"\0", word(hits)], 3 + len(name) + hits) for name, hits in rows]
    found, _ = table(session("top", comm, deliver=False, by=None), b"".join(lines))
    assert found.items() == [((), (12, [("dd", 7, 0), ("cat", 5, 0)]))]
