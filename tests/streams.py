"""Sessions without a kernel: their events come from a packed stream that the test writes.

`Feed` stands in for `_native.Engine`: real batches from Rust, but the test says when they come and when the end is.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from typing import Any

import pytest

import spile
from spile import _native
from spile.spec import SessionSpec

Event = tuple[Any, ...]


def schemas(probes: list[tuple[str, ...]], members: dict[int, int] | None = None) -> str:
    """A kind of event for each probe (and member of a group), its named fields being 64-bit."""
    kinds = []
    for probe, fields in enumerate(probes):
        for target in range((members or {}).get(probe, 1)):
            columns: list[dict[str, Any]] = [
                {"name": "_time", "type": {"kind": "int", "size": 8, "signed": False}, "role": "time"}
            ]
            columns += [{"name": name, "type": {"kind": "int", "size": 8, "signed": True}} for name in fields]
            kinds.append({"id": len(kinds) + 1, "probe": probe, "target": target, "fields": columns, "keys": []})
    return json.dumps(kinds)


def packed(events: list[Event]) -> bytes:
    """Events (id, time, fields …) as the packed stream writes them."""
    return b"".join(struct.pack(f"<BQ{len(fields)}q", number, at, *fields) for number, at, *fields in events)


class Feed:
    """An engine whose events the test writes."""

    def __init__(self, probes: list[tuple[str, ...]], members: dict[int, int] | None = None) -> None:
        self.schemas = schemas(probes, members)
        self.spec = ""
        self.calls: list[str] = []
        self.rows: list[dict[str, int]] = []
        self.fails: BaseException | None = None
        self._inner: list[_native.Engine] = []
        self._open: _native.Engine | None = None
        self._stopped = False
        self._woken = threading.Event()

    def write(self, *events: Event) -> None:
        """Lets events happen."""
        engine = _native.Engine.stream(self.spec, self.schemas, packed(list(events)))
        engine.start()
        self._inner.append(engine)

    def made(self, spec: SessionSpec) -> Any:
        """What the session gets for its spec."""
        # Keys are columns, and these streams have none: tables are tested beside this.
        form = json.loads(spec.to_json())
        for probe in form["probes"]:
            probe["aggregates"], probe["deliver"] = [], True
        self.spec = json.dumps(form)
        return self

    def start(self) -> None:
        self.calls.append("start")
        if self.fails is not None:
            raise self.fails

    def stop(self) -> None:
        if not self._stopped:
            self.calls.append("stop")
        self._stopped = True

    @property
    def ended(self) -> bool:
        return self._stopped and not self._inner and self._open is None

    def next_batch(self, timeout: float | None = None) -> Any:
        end = time.monotonic() + (timeout or 0)
        while True:
            while self._inner:
                batch = self._inner[0].next_batch(1.0)
                if batch is not None:
                    return batch
                self._inner.pop(0)
            if self._stopped or time.monotonic() >= end or self._woken.is_set():
                self._woken.clear()
                return None
            time.sleep(0.001)

    def wake(self) -> None:
        self._woken.set()

    def drain(self) -> None:
        self.calls.append("drain")

    def losses(self) -> list[dict[str, int]]:
        return self.rows

    def events(self) -> list[dict[str, Any]]:
        return _native.Engine.stream(self.spec, self.schemas, b"").events()

    def explain(self) -> str:
        return "explained"

    def table(self, probe: int, aggregate: int) -> Any:
        return None


def feed(
    monkeypatch: pytest.MonkeyPatch, probes: list[tuple[str, ...]], members: dict[int, int] | None = None
) -> Feed:
    """Lets every session of the test take its events from the feed that is returned."""
    made = Feed(probes, members)
    monkeypatch.setattr(spile.Session, "_engine", lambda self, spec: made.made(spec))
    return made
