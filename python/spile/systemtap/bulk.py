"""Bulk mode's streams: one for each CPU, read while the script runs.

In: which CPUs there are. Out: named pipes where stapio would make files, and a descriptor to read from each. They have
names only until stapio has opened them: so no disk fills up, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from ..errors import EngineError

_ONLINE = Path("/sys/devices/system/cpu/online")


class BulkPipes:
    """The pipes of one run."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="spile-stap-"))
        #: What stap is told (``-o``): stapio adds ``_0``, ``_1``, … for the CPUs.
        self.output = str(self._folder / "cpu")
        #: For reading, one for each CPU that runs. Whoever takes them over duplicates them.
        self.descriptors: list[int] = []
        try:
            for cpu in online(_ONLINE.read_text(encoding="ascii")):
                path = f"{self.output}_{cpu}"
                os.mkfifo(path, 0o600)
                # Before stapio does, which would wait for a reader; and not waiting for a writer.
                self.descriptors.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raises EngineError where the module, compiled without bulk mode, writes one stream all the same."""
        if Path(self.output).exists():
            raise EngineError("the module was compiled without bulk mode: compile it again with bulk=True")

    def close_descriptors(self) -> None:
        """Somebody else has them now."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def close(self) -> None:
        """stapio has opened them, or never will."""
        self.close_descriptors()
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder)


def online(text: str) -> list[int]:
    """The CPUs of a list such as ``0-3,6``."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus
