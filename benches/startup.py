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
from pathlib import Path

from price import Price, Row, Skipped, Target, alternate, typical

IMPORT = "import time; a = time.perf_counter(); import spile; print(time.perf_counter() - a)"
FIRST_EVENT = """
import spile
from spile import arg
session = spile.Session()
switches = session.tracepoint("sched:sched_switch", capture={"next": arg.next_pid})
with session:
    for event in switches:
        break
"""
BPFTRACE = ["bpftrace", "-e", "BEGIN { exit(); }"]
AS_MUCH = Target("at most", 1)
HALF = Target("at most", 0.5)


def rows(*, tiny: bool = False) -> Iterator[Row]:
    """The prices of beginning."""
    rounds = 1 if tiny else 11
    imports = [float(_python(IMPORT)) * 1e3 for _ in range(rounds)]
    yield Price("import spile", "the limit", typical(imports), 60, "ms", AS_MUCH)
    bare = [_run([sys.executable, "-c", "pass"])[0] for _ in range(rounds)]
    if shutil.which("bpftrace") is None:
        yield Skipped("start to first event", "no bpftrace here; Debian's package is bpftrace")
        return
    with tempfile.TemporaryDirectory(prefix="spile-bench-") as folder:
        script = Path(folder, "script.py")
        script.write_text(FIRST_EVENT)
        ours: list[tuple[float, float]] = []
        peers: list[tuple[float, float]] = []
        try:
            alternate(rounds, lambda: _kept(ours, [sys.executable, str(script)]), lambda: _kept(peers, BPFTRACE))
        except subprocess.CalledProcessError as error:
            yield Skipped("start to first event", f"{error.cmd[0]} failed: {error.stderr}")
            return
    remark = f"{typical(bare):.0f} ms of it are python's own"
    yield Price(
        "start to first event, and out",
        "bpftrace, BEGIN to exit",
        typical(seconds for seconds, _ in ours),
        typical(seconds for seconds, _ in peers),
        "ms",
        AS_MUCH,
        remark,
    )
    yield Price(
        "peak memory of that",
        "bpftrace",
        typical(memory for _, memory in ours),
        typical(memory for _, memory in peers),
        "MB",
        HALF,
    )


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def _kept(figures: list[tuple[float, float]], command: list[str]) -> float:
    figures.append(_run(command))
    return figures[-1][0]


def _run(command: list[str]) -> tuple[float, float]:
    """Milliseconds from start to end, and the most resident megabytes."""
    before = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    complaints = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    elapsed = (time.perf_counter() - before) * 1e3
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stderr.close()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, stderr=complaints.decode().strip())
    return elapsed, usage.ru_maxrss / 1024
