"""A session's recording: the file that its events go to.

In: a path, before the session starts. Out: an empty file, which Rust fills from then on; no event passes through here.
`replaying` is the way back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .declaring import Declaring
from .errors import StateError, Unsupported

if TYPE_CHECKING:
    from . import _native
    from .engines import Choice
    from .spec import SessionSpec
    from .wiring import Wiring


@dataclass(frozen=True)
class Destination:
    """Where a session records to."""

    path: str
    compress: bool

    def begin(self, engine: Any, unread: Iterable[int]) -> None:
        """Empties the file and lets the engine, which is not started yet, record into it.

        `unread` are the probes, by index, whose events nobody handles meanwhile. Raises OSError for a file that can't
        be written, RecordingError for a disk that is full already.
        """
        # Strings of other people's processes may be in it.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            cast("_native.Engine", engine).record(descriptor, self.shown, self.compress, list(unread))
        finally:
            os.close(descriptor)

    @property
    def shown(self) -> str:
        """The path as text that can be printed."""
        return self.path.encode("utf-8", "replace").decode()


class Recordable(Declaring):
    """What declares probes, and may record their events."""

    _wiring: Wiring
    _choice: Choice

    def __init__(self) -> None:
        super().__init__()
        self._destination: Destination | None = None

    def record(self, path: str | os.PathLike[str], *, compress: bool = True) -> None:
        """Records every event into a file from the start on, for `spile.replay`; handlers and tables work as ever.

        Events without a handler go into the file alone. A file that is there is replaced when the session starts. Where
        the disk is slow recording waits for it, and the ledger tells what found the kernel's buffer full meanwhile. A
        full disk ends the session with a RecordingError; what was written until then can be replayed.

        Raises StateError once the session has started, and for a second file; Unsupported for ``engine="systemtap"``.
        """
        self._must_be_declaring()
        if self._destination is not None:
            raise StateError(f"this session records into {self._destination.shown!r} already")
        if self._choice.name == "systemtap":
            raise Unsupported("what SystemTap's scripts send can't be recorded yet: leave engine= out")
        self._destination = Destination(os.fsdecode(path), bool(compress))
        self._wiring.records = True

    def _is_read(self, index: int, spec: SessionSpec) -> bool:
        """Whether a probe's events reach the script."""
        return spec.probes[index].deliver and (self._destination is None or index not in self._wiring.unhandled())

    def _must_be_read_here(self, probe: str | None = None) -> None:
        """Raises StateError where events that nobody handles go into the file alone."""
        if self._destination is None:
            return
        whose = "events without a handler go" if probe is None else f"the events of probe {probe!r} go"
        shown = self._destination.shown
        raise StateError(
            f"{whose} into the recording alone: handle them by on_event, or iterate over spile.replay({shown!r}) later"
        )
