"""A second reader of the streams that generated scripts write, in plain Python: what tests hold scripts against.

In: a stream's bytes, and the schemas. Out: events, the script's own numbers and tables, and what was no frame.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MAGIC, _CHECK = b"SP", 0x5350494C
SPAN = ("unmatched", "opened", "already_open", "open_full", "overwritten", "filtered", "faulted")
#: How what was kept of values is merged, in the order of rows.
_MERGED: dict[str, tuple[Callable[[list[int]], int], ...]] = {
    "sum": (sum,),
    "avg": (sum,),
    "min": (min,),
    "max": (max,),
    "stats": (sum, min, max),
}


class BrokenFrameError(Exception):
    """This is no frame."""


@dataclass
class Stream:
    """What a stream held."""

    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    ledger: dict[int, tuple[int, ...]] = field(default_factory=dict)
    #: By probe and target.
    spans: dict[tuple[int, int], dict[str, int]] = field(default_factory=dict)
    #: Hits by key, to which a bin belongs, or a value that is counted itself.
    tables: dict[tuple[int, int], Counter[Any]] = field(default_factory=dict)
    #: By the same keys what was kept of values, in the order of rows: sums added, least and greatest ones compared.
    kept: dict[tuple[int, int], dict[Any, tuple[int, ...]]] = field(default_factory=dict)
    dumps: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    rows: Counter[tuple[int, int]] = field(default_factory=Counter)
    ready: int = 0
    ended: int = 0
    skipped: int = 0
    gaps: int = 0


def read(data: bytes, schemas: str, functions: dict[tuple[int, int], str] | None = None) -> Stream:
    """The whole stream. Tables, by probe and aggregate, count where `functions` has nothing else of them."""
    reader = _Reader({schema["id"]: schema for schema in json.loads(schemas)}, functions or {})
    at, in_gap = 0, False
    # What stands behind the end is SystemTap's own: the report of -t.
    while at < len(data) and not reader.stream.ended:
        try:
            at = reader.frame(data, at)
            in_gap = False
        except BrokenFrameError:
            at += 1
            reader.stream.skipped += 1
            reader.stream.gaps += not in_gap
            in_gap = True
    return reader.stream


class _Reader:
    def __init__(self, schemas: dict[int, Any], functions: dict[tuple[int, int], str]) -> None:
        self.schemas = schemas
        self.functions = functions
        self.stream = Stream()

    def frame(self, data: bytes, at: int) -> int:
        if data[at : at + 2] != _MAGIC or at + 8 > len(data):
            raise BrokenFrameError
        (length,) = struct.unpack_from("<H", data, at + 2)
        payload = data[at + 4 : at + 4 + length]
        end = at + 8 + length
        if end > len(data) or length < 2:
            raise BrokenFrameError
        (check,) = struct.unpack_from("<I", data, at + 4 + length)
        total = self._control(payload) if payload[0] == 0 else self._event(payload)
        if (total + _CHECK + length) & 0xFFFFFFFF != check:
            raise BrokenFrameError
        self._commit()
        return end + -(16 + length) % 16

    def _event(self, payload: bytes) -> int:
        schema = self.schemas.get(payload[0])
        if schema is None:
            raise BrokenFrameError
        values, total, at = self._fields(schema["fields"], payload, 1)
        if at != len(payload):
            raise BrokenFrameError
        names = [column["name"] for column in schema["fields"]]
        record = dict(zip(names, values, strict=True))
        self._commit = lambda: self.stream.events.append((payload[0], record))
        return total + payload[0]

    def _control(self, payload: bytes) -> int:
        kind, stream = payload[1], self.stream
        if kind in (1, 5) and len(payload) == 2:
            name = "ready" if kind == 1 else "ended"
            self._commit = lambda: setattr(stream, name, getattr(stream, name) + 1)
            return kind
        if kind == 2 and len(payload) == 43:
            event, *numbers = struct.unpack_from("<B5Q", payload, 2)
            self._commit = lambda: stream.ledger.update({event: tuple(numbers)})
            return kind + event + sum(numbers)
        if kind == 7 and len(payload) == 60:
            probe, target, *numbers = struct.unpack_from("<BB7Q", payload, 2)
            self._commit = lambda: stream.spans.update({(probe, target): dict(zip(SPAN, numbers, strict=True))})
            return kind + probe + target + sum(numbers)
        if kind == 4 and len(payload) == 20:
            probe, aggregate, rows, total = struct.unpack_from("<BBQQ", payload, 2)
            before = stream.dumps.get((probe, aggregate), (0, 0))
            self._commit = lambda: stream.dumps.update({(probe, aggregate): (before[0] + rows, before[1] + total)})
            return kind + probe + aggregate + rows + total
        if kind == 3 and len(payload) > 4:
            return self._row(payload)
        raise BrokenFrameError

    def _row(self, payload: bytes) -> int:
        probe, aggregate = payload[2], payload[3]
        schema = next((schema for schema in self.schemas.values() if schema["probe"] == probe), None)
        if schema is None or aggregate >= len(schema["keys"]):
            raise BrokenFrameError
        columns = [schema["fields"][index] for index in schema["keys"][aggregate]]
        function = self.functions.get((probe, aggregate), "count")
        value = schema["values"][aggregate] if function != "count" else None
        if function in ("hist", "lhist", "quantiles"):
            columns.append({"type": {"kind": "int", "size": 4, "signed": True}})
        if function in ("top", "distinct"):
            columns.append(schema["fields"][value])
        merged = _MERGED.get(function, ())
        of_value = [{"type": {**schema["fields"][value]["type"], "size": 8}} for _ in merged]
        words, total, at = self._fields([*columns, *of_value], payload, 4)
        if at + 8 != len(payload):
            raise BrokenFrameError
        (count,) = struct.unpack_from("<Q", payload, at)
        key, kept = tuple(words[: len(columns)]), tuple(words[len(columns) :])

        def commit() -> None:
            self.stream.tables.setdefault((probe, aggregate), Counter())[key] += count
            self.stream.rows[probe, aggregate] += 1
            known = self.stream.kept.setdefault((probe, aggregate), {})
            pairs = zip(merged, known.get(key, kept), kept, strict=True)
            known[key] = tuple(merge(pair) for merge, *pair in pairs) if key in known else kept

        self._commit = commit
        return 3 + probe + aggregate + total + count

    @staticmethod
    def _fields(columns: list[Any], payload: bytes, at: int) -> tuple[list[Any], int, int]:
        values: list[Any] = []
        total = 0
        for column in columns:
            kind = column["type"]["kind"]
            if kind in ("int", "name"):
                size = column["type"].get("size", 2)
                raw = payload[at : at + size]
                values.append(int.from_bytes(raw, "little", signed=column["type"].get("signed", False)))
                total += int.from_bytes(raw, "little")
                at += size
            elif kind == "stack":
                count = payload[at] if at < len(payload) else 0
                if at + 1 + 8 * count > len(payload):
                    raise BrokenFrameError
                frames = struct.unpack_from(f"<{count}Q", payload, at + 1)
                values.append(frames)
                total += count + sum(frames)
                at += 1 + 8 * count
            else:
                end = payload.find(0, at)
                if end < 0:
                    raise BrokenFrameError
                values.append(payload[at:end])
                total += end - at
                at = end + 1
        return values, total, at
