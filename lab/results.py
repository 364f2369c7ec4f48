"""The file of results that a guest writes and the host reads while it grows.

In: steps (a test started, a report, a test finished). Out: the same, on the host. A line that the guest did not come to
finish, or that is not what it should be, counts as not written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = "results"
_STEPS = ("started", "report", "finished")


class Writer:
    """The guest's end."""

    def __init__(self, folder: Path) -> None:
        """Opens the file in the run's folder."""
        self._file = (folder / NAME).open("a", encoding="utf-8")

    def write(self, step: str, node: str, data: object = None) -> None:
        """One line, out of this process when this returns."""
        self._file.write(json.dumps({"step": step, "node": node, "data": data}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """The file is whole."""
        self._file.close()


@dataclass
class Reader:
    """The host's end: what is known of each test so far."""

    folder: Path
    started: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _place: int = 0

    def advance(self) -> bool:
        """Takes in what has come since; whether there was something."""
        before = self._place
        for line in self._lines():
            self._take(line)
        return self._place > before

    def _lines(self) -> Iterator[bytes]:
        try:
            with (self.folder / NAME).open("rb") as file:
                file.seek(self._place)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._place += len(whole) + len(newline)
        yield from whole.split(b"\n")

    def _take(self, line: bytes) -> None:
        try:
            written = json.loads(line)
            step, node, data = written["step"], written["node"], written["data"]
        except (ValueError, TypeError, KeyError):
            return
        if step not in _STEPS or not isinstance(node, str):
            return
        if step == "report":
            if isinstance(data, dict):
                if isinstance(data.get("longrepr"), list):
                    # JSON has no tuples, which is what pytest makes of a skip's place and reason.
                    data["longrepr"] = tuple(data["longrepr"])
                self.reports.setdefault(node, []).append(data)
        else:
            getattr(self, step).add(node)
