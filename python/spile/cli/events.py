"""Events as lines: for a person, for a pipe, or as JSON.

In: events, in the order of time. Out: a line for each, stacks on lines of their own below it.
"""

from __future__ import annotations

import time
from typing import TextIO

import spile
from spile.cli.output import json_line, text
from spile.table.keys import plain

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
# A pipe's reader should see an event soon after it happened, without a system call for each.
_FLUSH_AFTER = 0.1


class Printer:
    """Writes events to a stream."""

    def __init__(self, stream: TextIO, *, as_json: bool, color: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._dim, self._bold, self._plain = (_DIM, _BOLD, _PLAIN) if color else ("", "", "")
        self._flushed = 0.0

    def event(self, event: spile.Event) -> None:
        """The handler."""
        self._stream.write(self._json(event) if self._as_json else self._line(event))
        now = time.monotonic()
        if now - self._flushed > _FLUSH_AFTER:
            self._flushed = now
            self._stream.flush()

    def flush(self) -> None:
        """Writes what is left."""
        self._stream.flush()

    def _json(self, event: spile.Event) -> str:
        fields = {name: plain(value) for name, value in event.items()}
        return json_line({"probe": event.probe, "time": event.time, "cpu": event.cpu, "fields": fields}) + "\n"

    def _line(self, event: spile.Event) -> str:
        moment = f"{event.datetime:%T.%f}"
        parts = [f"{self._dim}{moment} {event.cpu:>3}{self._plain} {self._bold}{event.probe}{self._plain}"]
        stacks: list[str] = []
        for name, value in event.items():
            if isinstance(value, spile.Stack):
                stacks += [
                    f"    {self._dim}{name}:{self._plain}",
                    *(f"        {line}" for line in text(value).split("\n")),
                ]
            else:
                parts.append(f"{self._dim}{name}={self._plain}{text(value)}")
        return "\n".join([" ".join(parts), *stacks]) + "\n"
