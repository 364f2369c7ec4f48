"""Aggregates of values that a script keeps, on a real kernel, beside the embedded engine's and the workload's numbers.

In: a module of the very script that the session here makes. Out: that either engine has the same sums, bins, lists and
registers of a workload that knows what it reads. (Tables that are full are tested with the script alone.)
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import spile
from aggregate_states import log2, log_linear
from lab.prepared import Preparation, Prepared
from spile import arg, comm, pid, string, task
from spile.systemtap import StapOptions
from spile.systemtap.engine import made
from systemtap_bins import cases
from systemtap_bins import script as bins_script

pytestmark = [pytest.mark.guest(kernels=("6.1",))]

INTERVAL = 0.2
#: What is read, and how often.
SIZES = [1, 2, 3, 64, 100, 127, 128, 129, 1000, 4095, 4096, 70_000]
TIMES = 10
LOW, HIGH, STEP = 0, 4096, 256
CASES = cases(400)

WORKLOAD = f"""
import os, sys
sys.stdin.read()
zeros = os.open("/dev/zero", 0)
for _ in range({TIMES}):
    for size in {SIZES}: os.read(zeros, size)
"""


def _declare(engine: str, options: StapOptions | None = None) -> tuple[spile.Session, dict[str, Any]]:
    """Reads of a file that nobody else reads then, by name."""
    session = spile.Session(engine=engine, systemtap=options, interval=INTERVAL)
    where = (string(arg.file.f_path.dentry.d_name.name, 16) == "zero") & spile.startswith(comm, "python")
    reads = session.function("vfs_read", where=where, name="reads")
    size = arg.count
    of = {
        "count": reads.count(by=pid),
        "sum": reads.sum(size, by=pid),
        "min": reads.min(size, by=pid),
        "max": reads.max(size, by=pid),
        "avg": reads.avg(size, by=pid),
        "stats": reads.stats(size, by=(pid, comm)),
        "all": reads.stats(size),
        "by size": reads.stats(size, by=size),
        "hist": reads.hist(size, by=pid),
        "lhist": reads.lhist(size, LOW, HIGH, STEP),
        "quantiles": reads.quantiles(size),
        "top": reads.top(size, size=20, by=pid),
        "distinct": reads.distinct(size),
    }
    # Pointers are above 2**63: what has no sign is ordered without.
    tasks = session.function("vfs_read", where=where & (size == SIZES[0]), name="tasks")
    of |= {"least task": tasks.min(task), "tasks": tasks.stats(task), "task": tasks.max(task, by=pid)}
    of |= {"task's bin": tasks.hist(task), "tasks by process": tasks.stats(task, by=pid)}
    # What it returns has a sign on either engine; what it is called with has none here.
    returns = session.function_return("vfs_read", where=where, name="returns")
    less = 0 - spile.ret
    of |= {"returned": returns.sum(less, by=comm), "negative": returns.hist(less), "below": returns.quantiles(less)}
    of |= {"lowest": returns.lhist(less, -400, 400, 100), "least": returns.stats(less)}
    # Sums that 64 bits don't hold.
    of |= {"past": returns.avg(less << 46, by=comm), "past all": returns.stats(less << 46)}
    return session, of


def prepare(lab: Preparation) -> None:
    """On the host: the modules."""
    session, _ = _declare("systemtap")
    script = made(session.spec, StapOptions(), INTERVAL)
    defined = [f"-D{key}={value}" for key, value in script.definitions]
    lab.module(script.text, "spile_values", *defined, "--suppress-handler-errors")
    lab.module(bins_script(CASES), "spile_bins", "-DMAXACTION=100000")


def _traced(engine: str, options: StapOptions | None) -> tuple[int, spile.Session, dict[str, Any]]:
    """The workload's process, and what was accumulated, in plain form."""
    session, of = _declare(engine, options)
    with session:
        with subprocess.Popen([sys.executable, "-S", "-c", WORKLOAD], stdin=subprocess.PIPE) as child:
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait(200) == 0
        session.wait(3 * INTERVAL)
        session.stop()
    return child.pid, session, {name: dict(each._rows()) for name, each in of.items()}


def _expected(child: int) -> dict[str, Any]:
    """What the workload knows of itself."""
    name = Path(sys.executable).name[:15]
    sizes = SIZES * TIMES
    total = (len(sizes), sum(sizes), min(sizes), max(sizes))
    listed = [(size, TIMES, 0) for size in SIZES]
    return {
        "count": {(child,): len(sizes)},
        "sum": {(child,): sum(sizes)},
        "min": {(child,): 1},
        "max": {(child,): 70_000},
        "avg": {(child,): (len(sizes), sum(sizes))},
        "stats": {(child, name): total},
        "all": {(): total},
        "by size": {(size,): (TIMES, TIMES * size, size, size) for size in SIZES},
        "hist": {(child,): dict(sorted(Counter(map(log2, sizes)).items()))},
        "lhist": {(): dict(sorted(Counter(1 + min(size, HIGH) // STEP for size in sizes).items()))},
        "quantiles": {(): dict(sorted(Counter(map(log_linear, sizes)).items()))},
        "top": {(child,): (len(sizes), listed)},
        "task's bin": {(): {64: TIMES}},
        "returned": {(name,): -sum(sizes)},
        "negative": {(): dict(sorted(Counter(log2(-size) for size in sizes).items()))},
        "below": {(): dict(sorted(Counter(log_linear(-size) for size in sizes).items()))},
        "lowest": {(): dict(sorted(Counter(0 if size > 400 else 1 + (400 - size) // 100 for size in sizes).items()))},
        "past": {(name,): (len(sizes), -sum(sizes) << 46)},
        "past all": {(): (len(sizes), -sum(sizes) << 46, -max(sizes) << 46, -min(sizes) << 46)},
        "least": {(): (len(sizes), -sum(sizes), -max(sizes), -min(sizes))},
    }


@pytest.mark.timeout(400)
def test_either_engine_accumulates_the_same(prepared: Prepared) -> None:
    found = {}
    options = StapOptions(module=prepared.module("spile_values"))
    for engine, given in (("systemtap", options), ("bpf", None)):
        child, session, found[engine] = _traced(engine, given)
        assert session.losses.lost == session.losses.balance == 0, session.losses
        assert session.losses.beyond.get("skipped_hits", 0) == 0
        row = session.losses["reads"]
        assert row.delivered + row.tabled == len(SIZES) * TIMES
        for name, expected in _expected(child).items():
            assert found[engine][name] == expected, (engine, name)
        for name, key in (("tasks", ()), ("tasks by process", (child,))):
            hits, total, least, greatest = found[engine][name][key]
            assert (hits, total) == (TIMES, TIMES * least) and least == greatest >= 1 << 63
        assert found[engine]["least task"][()] == found[engine]["task"][child,] == least
        assert spile.Distinct(found[engine]["distinct"][()]) == pytest.approx(len(SIZES), abs=0.5)
    assert found["systemtap"]["distinct"] == found["bpf"]["distinct"]


def test_bins_are_pythons(prepared: Prepared) -> None:
    done = subprocess.run(["staprun", prepared.module("spile_bins")], capture_output=True, timeout=100, check=True)
    printed = struct.unpack(f"<{len(CASES)}q", done.stdout)
    wrong = [(case, got, case.expected) for case, got in zip(CASES, printed, strict=True) if got != case.expected]
    assert not wrong and os.uname().release.startswith("6.1")
