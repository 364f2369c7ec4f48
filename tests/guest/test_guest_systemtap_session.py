"""Sessions on the SystemTap engine: a script made from a spec, run by the real staprun, beside the embedded engine.

In: modules of the very scripts that the sessions here make. Out: that either engine says the same of a workload that
knows its own numbers; and a stream as staprun writes it, for `tests/data/systemtap`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import spile
from lab.prepared import Preparation, Prepared
from spile import Systemtap, arg, comm, kstack, pid, string, utime
from spile.facade import SystemtapProbe
from spile.systemtap import StapOptions
from spile.systemtap.engine import made
from spile.systemtap.script import Script
from systemtap_frames import read

pytestmark = [pytest.mark.guest(kernels=("6.1",))]

READS, SIZE = 300, 4321
CALL = 5  # bytes of a call on x86-64
INTERVAL = 0.2


@dataclass
class Declared:
    """A session, and what it was asked for."""

    session: spile.Session
    reads: spile.Probe[Any]
    counted: spile.Table[Any, Any]
    waits: spile.Probe[Any]


def _declare(engine: str, options: StapOptions | None = None) -> Declared:
    """Events with strings and stacks, a table, and a span from a read's check to its return."""
    session = spile.Session(engine=engine, systemtap=options, interval=INTERVAL)
    mine = arg.count == SIZE
    name = string(arg.file.f_path.dentry.d_name.name, 32)
    capture = {"utime": utime, "size": arg.count, "name": name, "trace": kstack}
    reads = session.function("vfs_read", capture=capture, where=mine, name="reads")
    counted = session.function("vfs_read", where=mine, name="counted").count(by=(pid, comm))
    # Where the file is checked twice, the second time begins the span anew.
    checked = session.function("rw_verify_area", where=arg.count == SIZE, name="checked")
    done = session.function_return("vfs_read", name="done")
    waits = session.span(checked, done, key=spile.tid, capture={"ns": spile.elapsed}, name="waits")
    return Declared(session, reads, counted, waits)


def _facade(options: StapOptions | None = None) -> SystemtapProbe:
    """The text of 2008, but for its last lines."""
    probe = Systemtap.probeFunc("vfs_read", engine="systemtap", systemtap=options)
    probe.captureUtime("utime")
    probe.captureBacktrace("trace")
    return probe


def _whole() -> tuple[spile.Session, Script]:
    session = _declare("systemtap").session
    return session, made(session.spec, StapOptions(), INTERVAL)


def prepare(lab: Preparation) -> None:
    """On the host: the modules."""
    (_, whole), facade = _whole(), made(_facade().session.spec, StapOptions(), 1.0)
    scripts: list[tuple[str, Script, tuple[str, ...]]] = [("spile_whole", whole, ()), ("spile_2008", facade, ())]
    for name, script, more in (*scripts, ("spile_whole_bulk", whole, ("-b",))):
        options = [f"-D{key}={value}" for key, value in script.definitions]
        lab.module(script.text, name, *options, "--suppress-handler-errors", *more)


#: Reads what it should once somebody has said so.
WORKLOAD = f"""
import sys
sys.stdin.read()
with open("/dev/zero", "rb", buffering=0) as zeros:
    for _ in range({READS}): zeros.read({SIZE})
"""


def _work(during: Callable[[], None] = lambda: None) -> int:
    """Runs the workload, which begins once `during` has returned; gives its process."""
    with subprocess.Popen([sys.executable, "-S", "-c", WORKLOAD], stdin=subprocess.PIPE) as child:
        during()
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(200) == 0
        return child.pid


def _traced(declared: Declared) -> tuple[int, list[spile.Event], list[spile.Event]]:
    """The workload's process, its reads and its spans."""
    session = declared.session
    with session:
        child = _work()
        session.wait(3 * INTERVAL)
        session.stop()
        events = list(session)
    of = {probe: [event for event in events if event.probe == probe] for probe in ("reads", "waits")}
    return child, of["reads"], of["waits"]


def _address(name: str) -> int:
    symbols = (line.split() for line in Path("/proc/kallsyms").read_text().splitlines())
    return next(int(symbol[0], 16) for symbol in symbols if symbol[2] == name)


def _check(declared: Declared, child: int, reads: list[spile.Event], waits: list[spile.Event]) -> None:
    """What the workload did, to the last read; less what SystemTap says that it skipped, as it does on a busy host."""
    losses = declared.session.losses
    expected = range(READS - _skipped(declared), READS + 1)
    assert {(event["size"], event["name"]) for event in reads} == {(SIZE, "zero")} and len(reads) in expected, losses
    # A kprobe stops before the function's first instruction; fentry's trampoline returns behind it, which is a call.
    (innermost,) = {event["trace"].addresses[0] for event in reads}
    entered = innermost - _address("vfs_read")
    assert entered in (0, CALL)
    assert str(reads[0]["trace"]).split()[0] == f"vfs_read+{entered:#x}"
    assert all("ksys_read" in str(event["trace"]) for event in reads)
    ((key, count),) = declared.counted.items()
    assert key == (child, Path(sys.executable).name[:15]) and count in expected
    assert len(waits) in expected and all(0 < event["ns"] < 10**10 for event in waits)
    assert losses.lost == losses.balance == 0, losses
    assert losses.beyond.get("gaps", 0) == losses.beyond.get("corrupt", 0) == 0


def _skipped(declared: Declared) -> int:
    return declared.session.losses.beyond.get("skipped_hits", 0)


def _span_rows(declared: Declared) -> dict[str, tuple[int, ...]]:
    """Of each target of the span, what the workload alone does."""
    rows = declared.session.losses.targets("waits")
    names = ("delivered", "opened", "already_open", "open_full", "matched", "overwritten", "left_open", "faulted")
    return {target: tuple(getattr(row, name) for name in names) for target, row in rows.items()}


@pytest.mark.timeout(400)
def test_either_engine_says_the_same(prepared: Prepared) -> None:
    found = {}
    for engine, options in (("systemtap", StapOptions(module=prepared.module("spile_whole"))), ("bpf", None)):
        declared = _declare(engine, options)
        _check(declared, *_traced(declared))
        found[engine] = _span_rows(declared)
        for row in declared.session.losses.targets("waits").values():
            assert row.balance == 0 and row.opened >= row.overwritten + row.left_open
        if not _skipped(declared):
            rows = [(READS, 0, 0, 0, READS, 0, 0, 0), (0, READS, 0, 0, 0, 0, 0, 0)]
            assert sorted(found[engine].values()) == sorted(rows)
    assert found["systemtap"].keys() == found["bpf"].keys()


@pytest.mark.timeout(300)
def test_bulk_mode_has_a_stream_for_each_cpu_and_one_order(prepared: Prepared) -> None:
    declared = _declare("systemtap", StapOptions(module=prepared.module("spile_whole_bulk"), bulk=True))
    child, reads, waits = _traced(declared)
    _check(declared, child, reads, waits)
    times = [event.time for event in reads]
    assert times == sorted(times) and declared.session.losses.total.late == 0
    assert declared.session.losses.beyond["missing"] == 0


@pytest.mark.timeout(300)
def test_the_text_of_2008_runs_on_systemtap(prepared: Prepared) -> None:
    probe = _facade(StapOptions(module=prepared.module("spile_2008")))
    probe.trace()
    threading.Thread(target=lambda: (_work(), time.sleep(1), probe.stop())).start()
    stacks: Counter[spile.Stack] = Counter()
    for event in probe.getEvent():
        assert event["utime"] >= 0
        stacks[event["trace"]] += 1
    # Nobody else reads so often, nor along one path.
    stack, count = stacks.most_common(1)[0]
    assert count >= READS - probe.session.losses.beyond["skipped_hits"], stacks
    assert stack.addresses[0] == _address("vfs_read")
    assert [str(frame).split("+")[0] for frame in stack][:2] == ["vfs_read", "ksys_read"]


@pytest.mark.timeout(300)
def test_the_stream_is_what_the_scripts_numbers_say(prepared: Prepared) -> None:
    """As staprun writes it, read by the tests' own decoder; it stays in the run's folder, to be kept as data."""
    session, script = _whole()
    for name in ("spile_whole", "spile_whole_bulk"):
        output = prepared.folder / f"{name}.stream"
        command = ["staprun", "-o", str(output), str(prepared.module(name))]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            _work(lambda: time.sleep(10))
            time.sleep(3 * INTERVAL)
            process.terminate()
            said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
    (prepared.folder / "spile_whole.json").write_text(session.spec.to_json())
    (prepared.folder / "spile_whole.schemas").write_text(script.schemas)
    stream = read((prepared.folder / "spile_whole.stream").read_bytes(), script.schemas)
    assert (stream.gaps, stream.ended) == (0, 1)
    reads = sum(record["size"] == SIZE for event, record in stream.events if event == 1)
    assert reads == READS or (0 < reads < READS and b"skipped probes" in said)
