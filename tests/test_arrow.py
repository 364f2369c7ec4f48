"""A batch's columns through Arrow's capsules, as pyarrow, polars and pandas take them."""

from __future__ import annotations

import json
import struct
from typing import Any

import pandas
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spile
from spile import _native, arg
from test_native import column, probe, spec

FRAMES = (0xFFFFFFFF81000010, 0xFFFFFFFF81000020)
INTEGERS = [(size, signed) for size in (1, 2, 4, 8) for signed in (False, True)]
FORMATS = {(size, signed): "bhiq"[(1, 2, 4, 8).index(size)] for size, signed in INTEGERS}


def columns(fields: list[dict[str, Any]], data: bytes) -> _native.Columns:
    """Of the events in a stream, each of which has a time and these captures."""
    stamp = column("when", "int", "time", size=8, signed=False)
    schema = {"id": 1, "probe": 0, "target": 0, "fields": [stamp, *fields], "keys": []}
    engine = _native.Engine.stream(spec(probe("read")), json.dumps([schema]), data)
    engine.start()
    batch = engine.next_batch(5)
    assert batch is not None
    return batch.columns()


def mixed() -> _native.Columns:
    fields = [
        column("size", "int", size=4, signed=False),
        column("path", "string", limit=64),
        column("trace", "stack", space="kernel"),
        column("target", "name"),
    ]
    data = b""
    for at, size, path, frames in ((1000, 5, b"/etc", FRAMES), (2000, 2**32 - 1, b"/\xff", ()), (3000, 0, b"", FRAMES)):
        data += struct.pack("<BQI", 1, at, size) + path + b"\0"
        data += struct.pack(f"<B{len(frames)}QH", len(frames), *frames, 1)
    return columns(fields, data)


def test_every_type_has_its_own_in_arrow() -> None:
    table = pyarrow.record_batch(mixed())
    types = {field.name: field.type for field in table.schema}
    assert types == {
        "time": pyarrow.uint64(),
        "cpu": pyarrow.uint16(),
        "size": pyarrow.uint32(),
        "path": pyarrow.string(),
        "trace": pyarrow.list_(pyarrow.field("item", pyarrow.uint64())),
        "target": pyarrow.dictionary(pyarrow.uint16(), pyarrow.string()),
    }
    assert table.to_pydict() == {
        "time": [1000, 2000, 3000],
        "cpu": [0, 0, 0],
        "size": [5, 2**32 - 1, 0],
        "path": ["/etc", "/\N{REPLACEMENT CHARACTER}", ""],
        "trace": [list(FRAMES), None, list(FRAMES)],
        "target": ["read", "read", "read"],
    }
    table.validate(full=True)
    assert pyarrow.schema(mixed()) == table.schema


def test_data_frames_take_it_as_it_is() -> None:
    frame = mixed().to_polars()
    assert frame.select(polars.col("size").cast(polars.UInt64).sum()).item() == 5 + 2**32 - 1
    assert frame["trace"].to_list() == [list(FRAMES), None, list(FRAMES)]
    assert frame.columns == mixed().to_arrow().column_names == list(mixed().to_pandas().columns)
    assert isinstance(mixed().to_pandas(), pandas.DataFrame)
    assert pyarrow.RecordBatchReader.from_stream(mixed()).read_all().num_rows == 3


def test_a_frame_outlives_the_session() -> None:
    frame = mixed().to_polars()
    assert frame["time"].to_list() == [1000, 2000, 3000]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(INTEGERS), st.data())
def test_integers_are_those_that_were_packed(form: tuple[int, bool], data: st.DataObject) -> None:
    size, signed = form
    low = -(1 << (8 * size - 1)) if signed else 0
    values = data.draw(st.lists(st.integers(low, low + (1 << 8 * size) - 1), min_size=1, max_size=70))
    letter = FORMATS[form] if signed else FORMATS[form].upper()
    packed = b"".join(struct.pack(f"<BQ{letter}", 1, at, value) for at, value in enumerate(values))
    got = pyarrow.record_batch(columns([column("n", "int", size=size, signed=signed)], packed))
    assert got["n"].to_pylist() == values
    assert got.schema.field("n").type == getattr(pyarrow, f"{'' if signed else 'u'}int{8 * size}")()


def test_a_field_called_time_stands_in_its_place() -> None:
    fields = [column("time", "int", size=1, signed=False)]
    got = pyarrow.record_batch(columns(fields, struct.pack("<BQB", 1, 1000, 7)))
    assert got.to_pydict() == {"cpu": [0], "time": [7]}


@pytest.mark.live
def test_what_could_not_be_read_is_null() -> None:
    rows: list[dict[str, int | None]] = []
    session = spile.Session()
    switches = session.raw_tracepoint(
        "sched_switch", capture={"next": arg.next.pid, "flags": arg.next.flags, "pages": arg.next.mm.total_vm}
    )

    @switches.on_batch
    def keep(batch: spile.Batch) -> None:
        rows.extend(pyarrow.record_batch(batch.columns()).to_pylist())

    session.run(duration=0.3)
    # Threads of the kernel have no memory of their own: PF_KTHREAD, of include/linux/sched.h.
    threads = [row for row in rows if (row["flags"] or 0) & 0x00200000]
    assert threads and all(row["pages"] is None for row in threads)
    assert any(row["pages"] for row in rows)
