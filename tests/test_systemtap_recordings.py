"""Streams that generated scripts wrote on a kernel of the lab's (`data/systemtap/streams`), decoded.

In: what staprun wrote, and the spec and schemas of the script that it ran. Out: that spile reads what the second reader
in plain Python reads, to the last byte; and that a damaged stream gives no event that was not there.
"""

from __future__ import annotations

import gzip
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spile import Stack, _native
from systemtap_frames import Stream, read

FOLDER = Path(__file__).parent / "data" / "systemtap" / "streams"
SCHEMAS = (FOLDER / "whole.schemas").read_text(encoding="utf-8")


def recorded(name: str) -> bytes:
    return gzip.decompress((FOLDER / f"{name}.stream.gz").read_bytes())


def decoded(data: bytes, name: str = "whole") -> _native.Engine:
    """An engine that reads this to its end."""
    spec, schemas = ((FOLDER / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("json", "schemas"))
    reader, writer = os.pipe()
    threading.Thread(target=_write, args=(writer, data)).start()
    engine = _native.Engine.systemtap(spec, schemas, [reader])
    os.close(reader)
    engine.start()
    return engine


def _write(writer: int, data: bytes) -> None:
    with os.fdopen(writer, "wb") as file:
        file.write(data)


def events(engine: _native.Engine) -> list[tuple[int, int, int, tuple[Any, ...]]]:
    """Id, time, CPU and values of each."""
    found = []
    while (batch := engine.next_batch(10)) is not None:
        found += [(event.id, event.time, event.cpu, tuple(_plain(event[name]) for name in event)) for event in batch]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Stack):
        return value.addresses
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def expected(stream: Stream) -> list[tuple[int, int, int, tuple[Any, ...]]]:
    """The same by the second reader, in the order of time."""
    rows = []
    for event, record in stream.events:
        time, cpu, *values = record.values()
        rows.append((event, time, cpu, tuple(values)))
    return sorted(rows, key=lambda row: row[1])


def check(engine: _native.Engine, stream: Stream) -> None:
    """Events, tables and the ledger."""
    assert events(engine) == expected(stream)
    for (probe, aggregate), table in stream.tables.items():
        rows = {tuple(map(_plain, key)): count for key, count in engine.table(probe, aggregate).items()}
        assert rows == dict(table)
    delivered = Counter(event for event, _ in stream.events)
    by_id = {event["id"]: (event["probe"], event["target"]) for event in engine.events()}
    rows = {(row["probe"], row["target"]): row for row in engine.losses()}
    for event, (hits, filtered, sent, faulted, _) in stream.ledger.items():
        row, paired = rows[by_id[event]], stream.spans.get(by_id[event], {})
        more = paired.get("unmatched", 0) + paired.get("filtered", 0) + paired.get("faulted", 0)
        assert row["hits"] == hits + more
        assert row["filtered"] == filtered + paired.get("filtered", 0)
        assert row["faulted"] == faulted + paired.get("faulted", 0)
        assert sent in (0, delivered[event]) and row["transport_lost"] == 0
    for spot, paired in stream.spans.items():
        assert {name: rows[spot][name] for name in paired if name not in ("filtered", "faulted")} == {
            name: count for name, count in paired.items() if name not in ("filtered", "faulted")
        }
    assert engine.complete


def test_a_stream_is_read_as_the_second_reader_reads_it() -> None:
    data = recorded("whole")
    stream = read(data, SCHEMAS)
    assert (stream.gaps, stream.skipped, stream.ended) == (0, 0, 1) and len(stream.events) > 100 and stream.spans
    engine = decoded(data)
    check(engine, stream)
    numbers = engine.stream_numbers()
    assert (numbers["gaps"], numbers["corrupt"], numbers["rows_missing"]) == (0, 0, 0)
    assert len(data) - 16 < numbers["bytes"] <= len(data)


@pytest.mark.parametrize("period", [997, 4096, 30011])
def test_a_stream_with_holes_gives_nothing_that_was_not_there(period: int) -> None:
    data = recorded("whole")
    torn = b"".join(data[at : at + period - 13] for at in range(0, len(data), period))
    engine = decoded(torn)
    whole, found = Counter(expected(read(data, SCHEMAS))), Counter(events(engine))
    assert not found - whole
    # The second reader does not look for a frame in what could be padding.
    assert not Counter(expected(read(torn, SCHEMAS))) - found
    assert sum(found.values()) < sum(whole.values()) and engine.stream_numbers()["gaps"] > 0


def test_what_was_kept_of_values_is_read_as_the_second_reader_reads_it() -> None:
    """Of a script whose tables have 8 rows: most sizes came as rows of their own."""
    data = recorded("kept")
    schemas = (FOLDER / "kept.schemas").read_text(encoding="utf-8")
    stream = read(data, schemas, {(0, 0): "stats", (0, 1): "hist", (0, 2): "top"})
    engine = decoded(data, "kept")
    assert events(engine) == [] and engine.complete and engine.stream_numbers()["gaps"] == 0
    hits, numbers = stream.tables[0, 0], stream.kept[0, 0]
    stats = {(name.encode(), size): of for (name, size), of in engine.table(0, 0).items()}
    assert stats == {key: (hits[key], *numbers[key]) for key in hits}
    assert sum(of[1:] == (20 * key[1], key[1], key[1]) for key, of in stats.items()) >= 50
    ((name, bins),) = engine.table(0, 1).items()
    assert bins == {key[1]: count for key, count in sorted(stream.tables[0, 1].items())}
    ((same, (total, items)),) = engine.table(0, 2).items()
    assert same == name and total == sum(hits.values()) == sum(bins.values())
    assert {item: count for item, count, _ in items} == {key[1]: count for key, count in stream.tables[0, 2].items()}
    (row,) = engine.losses()
    assert (row["hits"], row["filtered"], row["delivered"]) == (*stream.ledger[1][:2], total)
    assert row["transport_lost"] == 0
