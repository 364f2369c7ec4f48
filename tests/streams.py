"""Sessions without a kernel: `Feed` stands in for `_native.Engine`, and the test says when events come, and the end.

Batches are lists and the dispatcher is Python here; what Rust does with the same plans is tested live.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

import spile
from spile.spec import SessionSpec

Written = tuple[int, ...]


@dataclass(frozen=True)
class FakeEvent:
    """As much of an event as a session looks at."""

    id: int
    probe: str
    time: int
    fields: dict[str, int]
    cpu: int = 0

    def __getitem__(self, name: str) -> int:
        return self.fields[name]

    def __len__(self) -> int:
        return len(self.fields)


class FakeDispatcher:
    """`_native.Dispatcher` in Python."""

    def __init__(self, plans: Mapping[int, Any]) -> None:
        self.plans = plans

    def dispatch(self, batch: list[FakeEvent], start: int = 0, limit: int | None = None) -> int:
        end = len(batch) if limit is None else min(len(batch), start + limit)
        for event in batch[start:end]:
            values = list(event.fields.values())
            for function, sources in self.plans.get(event.id, ()):
                function(*[self._value(event, values, source) for source in sources])
        return end

    @staticmethod
    def _value(event: FakeEvent, values: list[int], source: Any) -> Any:
        if isinstance(source, tuple):
            return source[0]
        if isinstance(source, int):
            return values[source]
        return event if source == "event" else getattr(event, source)


class Feed:
    """An engine whose events the test writes."""

    def __init__(self, probes: list[tuple[str, ...]]) -> None:
        self.probes = probes
        self.names: list[str] = []
        self.calls: list[str] = []
        self.rows: list[dict[str, int]] = []
        self.lost_children = 0
        self.fails: BaseException | None = None
        self._queue: list[list[FakeEvent]] = []
        self._stopped = False
        self._woken = threading.Event()

    def write(self, *events: Written) -> None:
        """Lets events happen: (id, time, fields …)."""
        batch = []
        for number, at, *values in events:
            fields = dict(zip(self.probes[number - 1], values, strict=True))
            batch.append(FakeEvent(number, self.names[number - 1], at, fields))
        self._queue.append(batch)

    def made(self, spec: SessionSpec) -> Any:
        """What the session gets for its spec."""
        self.names = [probe.name for probe in spec.probes]
        self._stopped = False
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
        return self._stopped and not self._queue

    def next_batch(self, timeout: float | None = None) -> Any:
        end = time.monotonic() + (timeout or 0)
        while not self._queue:
            if self._stopped or time.monotonic() >= end or self._woken.is_set():
                self._woken.clear()
                return None
            time.sleep(0.001)
        return self._queue.pop(0)

    def wake(self) -> None:
        self._woken.set()

    def drain(self) -> None:
        self.calls.append("drain")

    def losses(self) -> list[dict[str, int]]:
        return self.rows

    def beyond(self) -> tuple[dict[str, int], tuple[str, ...]]:
        return {}, ()

    def events(self) -> list[dict[str, Any]]:
        return [
            {"id": index + 1, "probe": index, "target": 0, "name": name, "fields": [(field, "s64") for field in fields]}
            for index, (name, fields) in enumerate(zip(self.names, self.probes, strict=True))
        ]

    def explain(self, code: bool, /) -> str:
        return "explained"

    def table(self, probe: int, aggregate: int) -> Any:
        return None


def feed(monkeypatch: pytest.MonkeyPatch, probes: list[tuple[str, ...]]) -> Feed:
    """Lets every session of the test take its events from the feed that is returned; each probe's fields by name."""
    made = Feed(probes)
    monkeypatch.setattr(spile.Session, "_engine", lambda self, spec: made.made(spec))
    monkeypatch.setattr("spile._native.Dispatcher", FakeDispatcher)
    return made
