"""The price of beginning: the import, the way from `python script.py` to the first event, and the memory of it.

Each figure is a fresh process. The first event is one that happens anyhow: some task is switched to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from price import Price, Row, Skipped, Target, alternate, typical

IMPORT = "import time; a = time.process_time(); import spile; print(time.process_time() - a)"
FIRST_EVENT = """
import spile
from spile import arg
session = spile.Session()
switches = session.tracepoint("sched:sched_switch", capture={"next": arg.next_pid})
with session:
    for event in switches:
        print("first", flush=True)
        break
"""
BPFTRACE = ["bpftrace", "-e", "BEGIN { exit(); }"]
# A child that is just born counts its parent's memory as its own, so it needs a small parent.
MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
AS_MUCH = Target("at most", 1)
HALF = Target("at most", 0.5)


def rows(*, tiny: bool = False) -> Iterator[Row]:
    """The prices of beginning."""
    with tempfile.TemporaryDirectory(prefix="spile-bench-") as folder:
        # As after an installation: modules are compiled once, by the first round, which doesn't count.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder
        script = Path(folder, "script.py")
        script.write_text(FIRST_EVENT)
        yield from _rows(Beginning(environment), [sys.executable, str(script)], 1 if tiny else 11)


def _rows(beginning: Beginning, ours: list[str], rounds: int) -> Iterator[Row]:
    beginning.output([sys.executable, "-c", IMPORT])
    # The limit is a time and not a peer's: the least of all rounds is nearest to what the import itself takes.
    imports = [float(beginning.output([sys.executable, "-c", IMPORT])) * 1e3 for _ in range(rounds)]
    bare = [beginning.first_line([sys.executable, "-c", "print()"]) for _ in range(rounds)]
    remark = f"CPU time, the least of {rounds}; python alone is up after {min(bare):.0f} ms"
    yield Price("import spile", "the limit", min(imports), 60, "ms", AS_MUCH, remark)
    what = "start to first event"
    if shutil.which("bpftrace") is None:
        yield Skipped(what, "no bpftrace here; Debian's package is bpftrace")
        return
    try:
        beginning.output(ours)
        times = alternate(rounds, lambda: beginning.first_line(ours), lambda: beginning.whole(BPFTRACE))
        peaks = alternate(rounds, lambda: beginning.peak(ours), lambda: beginning.peak(BPFTRACE))
    except subprocess.CalledProcessError as error:
        yield Skipped(what, f"{error.cmd[0]} failed: {error.stderr.strip()}")
        return
    yield Price(what, "bpftrace, BEGIN to exit", *map(typical, times), "ms", AS_MUCH)
    yield Price("peak memory of that", "bpftrace", *map(typical, peaks), "MB", HALF, RINGS)


RINGS = "the rings are 4 MB for each CPU, and count twice: a ring is mapped twice in a row"


@dataclass(frozen=True)
class Beginning:
    """Fresh processes, in one environment."""

    environment: dict[str, str]

    def output(self, command: list[str]) -> str:
        """What it prints."""
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=self.environment)
        return done.stdout

    def peak(self, command: list[str]) -> float:
        """The most resident megabytes."""
        return float(self.output([sys.executable, "-c", MEMORY, *command])) / 1024

    def whole(self, command: list[str]) -> float:
        """Milliseconds from the start to the end."""
        before = time.perf_counter()
        self.output(command)
        return (time.perf_counter() - before) * 1e3

    def first_line(self, command: list[str]) -> float:
        """Milliseconds from the start to the first line."""
        before = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment) as child:
            assert child.stdout is not None
            child.stdout.readline()
            elapsed = (time.perf_counter() - before) * 1e3
            child.stdout.read()
        return elapsed
