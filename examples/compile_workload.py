"""A workload for the demonstration: a small parallel compile, over and over, until it is told to stop.

In: how many jobs. Out: processes that fork, read, map memory, wait for locks, and end. Nothing here knows of tracing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

FILES = 40
FUNCTIONS = 15

_SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
{functions}
"""
_FUNCTION = """
int work_{file}_{number}(const char *text, int times)
{{
    int sum = {number};
    for (int i = 0; i < times; i++)
        sum = sum * 31 + (int)strlen(text) % (i + 1) + snprintf(NULL, 0, "%d", sum);
    return sum;
}}
"""
_MAKEFILE = """
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
all: $(OBJECTS)
%.o: %.c
\t@cc -O2 -c $< -o $@
clean:
\t@rm -f $(OBJECTS)
.PHONY: all clean
"""


class Compile:
    """`with Compile():` compiles in the background; `rounds` says how often everything was compiled."""

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = jobs or 2 * (os.cpu_count() or 1)
        self._folder = Path()
        self._make: subprocess.Popen[bytes] | None = None

    @property
    def rounds(self) -> int:
        """Complete rounds so far."""
        try:
            return (self._folder / "rounds").stat().st_size
        except FileNotFoundError:
            return 0

    def __enter__(self) -> Self:
        for program in ("cc", "make"):
            if shutil.which(program) is None:
                raise SystemExit(
                    f"The demonstration compiles something, and there is no {program}: install gcc and make."
                )
        self._folder = Path(tempfile.mkdtemp(prefix="spile-demo-"))
        for file in range(FILES):
            functions = "".join(_FUNCTION.format(file=file, number=number) for number in range(FUNCTIONS))
            (self._folder / f"part{file}.c").write_text(_SOURCE.format(functions=functions))
        (self._folder / "Makefile").write_text(_MAKEFILE)
        forever = f"while make -s -j{self.jobs} all && printf . >> rounds; do make -s clean; done"
        # A group of its own: stopped as a whole, and out of the way of the terminal's Ctrl-C.
        self._make = subprocess.Popen(["sh", "-c", forever], cwd=self._folder, start_new_session=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._make is not None:
            os.killpg(self._make.pid, signal.SIGKILL)
            self._make.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
