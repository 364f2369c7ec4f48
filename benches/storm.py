"""A getppid storm: a process of its own that does nothing else, in rounds that its parent asks for.

`itertools` calls `os.getppid` from C, so the loop costs about as much as the call, and no compiler is needed. A round's
cost is the CPU time of the process: it holds what a probe adds to each call, and not what neighbours take meanwhile.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import deque
from itertools import cycle, islice, repeat, starmap
from types import TracebackType
from typing import Self

PAUSE = 0.02
"""Seconds between rounds: readers keep up, so nothing is lost that would have had to be paid for."""


class Storm:
    """`with Storm() as storm:` has it ready; `storm.round(1000)` is the cost of a call in nanoseconds."""

    def __enter__(self) -> Self:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def round(self, calls: int, keys: int = 0) -> float:
        """Nanoseconds of CPU time for each of so many calls: of getppid, or of umask with so many arguments."""
        reader, writer = self._process.stdout, self._process.stdin
        assert reader is not None and writer is not None
        time.sleep(PAUSE)
        print(calls, keys, file=writer, flush=True)
        return float(reader.readline())


def main() -> None:
    """The process: a number of calls, and one of keys, come in per line; the cost of a call goes out."""
    arguments: dict[int, list[tuple[int]]] = {}
    for line in sys.stdin:
        calls, keys = map(int, line.split())
        if keys and keys not in arguments:
            # In no order that caches or a hash could profit from.
            arguments[keys] = [(key,) for key in random.Random(keys).sample(range(keys), keys)]
        before = time.thread_time_ns()
        if keys:
            # It takes any number, and looks at nine of its bits.
            deque(starmap(os.umask, islice(cycle(arguments[keys]), calls)), maxlen=0)
        else:
            deque(starmap(os.getppid, repeat((), calls)), maxlen=0)
        print((time.thread_time_ns() - before) / calls, flush=True)


if __name__ == "__main__":
    main()
