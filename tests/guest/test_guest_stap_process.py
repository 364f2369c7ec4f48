"""A real staprun's life in a guest: started, stopped, killed, orphaned; and never a module left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.prepared import Preparation, Prepared
from spile import EngineError, PrivilegeError
from spile.command import has_ended
from spile.systemtap.bulk import BulkPipes
from spile.systemtap.options import StapOptions
from spile.systemtap.process import StapProcess
from spile.systemtap.supervise import loaded

# Not in the quick part: where a killed staprun leaves its module busy for a while, one try does not unload it yet.
pytestmark = [pytest.mark.guest(kernels=("6.1",)), pytest.mark.slow]

TABLES = """
global calls
probe begin { println("ready") }
probe kernel.function("vfs_read") { calls++ }
probe end { printf("end of the tables: %d\\n", calls > 0) }
"""
STEADY = """
probe begin { println("ready") }
probe timer.ms(1) { for (i = 0; i < 50; i++) printf("%d a line for the buffer, whether or not anyone reads\\n", i) }
probe end { println("end") }
"""
OVERFLOW = """
global t
probe begin { for (i = 0; i < 20; i++) t[i] = 1 }
probe end { foreach (k in t) println(k) }
"""


def prepare(lab: Preparation) -> None:
    """On the host: the modules."""
    lab.module(TABLES, "spile_life_tables")
    lab.module(STEADY, "spile_life_steady")
    lab.module(STEADY, "spile_life_bulk", "-b")
    lab.module(OVERFLOW, "spile_life_overflow", "-DMAXMAPENTRIES=10")


def modules() -> list[str]:
    return [name for name in loaded() if name.startswith("spile_")]


def wait_until(condition: Callable[[], object], seconds: float = 60, pause: float = 0.1) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(pause)
    return bool(condition())


def script_of(module: Path) -> str:
    return module.with_suffix(".stp").read_text()


def start(prepared: Prepared, name: str, *, output: str | None = None, **options: object) -> StapProcess:
    assert modules() == []
    module = prepared.module(name)
    chosen = StapOptions(module=module, **options)  # type: ignore[arg-type]
    return StapProcess.start(script_of(module), chosen, output=output)


def read_to_the_end(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def test_what_the_end_probes_print_arrives(prepared: Prepared) -> None:
    with start(prepared, "spile_life_tables") as process:
        descriptor = process.take_stdout()
        assert os.read(descriptor, 100) == b"ready\n"
        assert len(modules()) == 1
        process.ready()
        for _ in range(100):  # begin probes run before the others are attached
            Path("/proc/uptime").read_bytes()
            time.sleep(0.02)
        ended = process.stop()
        assert (ended.returncode, ended.killed, ended.unloaded, ended.module) == (0, False, (), ()), process.log
        assert read_to_the_end(descriptor) == b"end of the tables: 1\n"
        assert process.error() is None
        assert modules() == []


def test_one_module_runs_twice_at_once(prepared: Prepared) -> None:
    with start(prepared, "spile_life_tables") as first:
        assert os.read(first._stdout or 0, 100) == b"ready\n"
        with StapProcess.start(TABLES, first.options) as second:
            assert os.read(second._stdout or 0, 100) == b"ready\n", second.log
            assert len(modules()) == 2
            assert (first.stop().returncode, second.stop().returncode) == (0, 0)
    assert modules() == []


PARENT = """
import os, sys, time
sys.path[:0] = {path!r}
from spile.systemtap.bulk import BulkPipes
from spile.systemtap.options import StapOptions
from spile.systemtap.process import StapProcess
process = StapProcess.start({script!r}, StapOptions(module={module!r}))
descriptor = process.take_stdout()
assert os.read(descriptor, 6) == b"ready\\n"
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("name", ["spile_life_tables", "spile_life_steady"])
def test_a_killed_parent_leaves_no_module(prepared: Prepared, name: str) -> None:
    assert modules() == []
    module = prepared.module(name)
    text = PARENT.format(path=sys.path, module=str(module), script=script_of(module))
    parent = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"ready\n"
    staprun = int(modules()[0].rpartition("_")[2])
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not modules())
    assert wait_until(lambda: has_ended(staprun))


def test_a_killed_staprun_leaves_no_module(prepared: Prepared) -> None:
    with start(prepared, "spile_life_tables") as process:
        descriptor = process.take_stdout()
        assert os.read(descriptor, 100) == b"ready\n"
        name = modules()[0]
        os.kill(int(name.rpartition("_")[2]), signal.SIGKILL)
        ended = process.wait(60)
        assert ended is not None
        assert (ended.returncode, ended.unloaded, ended.module) == (-signal.SIGKILL, (name,), ())
        with pytest.raises(EngineError, match=r"was killed by SIGKILL while the script ran \(pass 5\)"):
            raise process.error() or AssertionError
        os.close(descriptor)
    assert modules() == []


def test_a_reader_that_does_not_read_hangs_nobody(prepared: Prepared) -> None:
    with start(prepared, "spile_life_steady") as process:
        assert os.read(process._stdout or 0, 6) == b"ready\n"
        process.ready()
        time.sleep(10)
        began = time.monotonic()
        ended = process.stop((3.0, 3.0))
        assert time.monotonic() - began < 60
        assert ended.module == ()
        assert process.losses().transport > 0
    assert modules() == []


def test_a_reader_that_goes_away_ends_it(prepared: Prepared) -> None:
    with start(prepared, "spile_life_steady") as process:
        descriptor = process.take_stdout()
        assert os.read(descriptor, 6) == b"ready\n"
        os.close(descriptor)
        ended = process.wait(60)
        assert ended is not None
        assert (ended.asked, ended.module) == (False, ()), process.log
    assert modules() == []


def test_bulk_mode_writes_a_stream_for_each_cpu(prepared: Prepared) -> None:
    pipes = BulkPipes()
    try:
        with start(prepared, "spile_life_bulk", output=pipes.output, bulk=True) as process:
            got = dict.fromkeys(pipes.descriptors, b"")

            def read() -> None:
                for descriptor in got:
                    with contextlib.suppress(BlockingIOError):
                        got[descriptor] += os.read(descriptor, 1 << 20)

            assert wait_until(lambda: read() or sum(map(len, got.values())) > 10_000), process.log
            # It ends by itself only while somebody goes on reading.
            with ThreadPoolExecutor(1) as others:
                stopping = others.submit(process.stop)
                assert wait_until(lambda: read() or stopping.done(), pause=0.005), process.log
            ended = stopping.result()
            read()
            assert (ended.returncode, ended.killed) == (0, False), process.log
            assert len(got) == os.cpu_count()
            assert any(b"end\n" in data for data in got.values())
    finally:
        pipes.close()
    assert modules() == []


def test_a_full_array_is_a_typed_error(prepared: Prepared) -> None:
    with start(prepared, "spile_life_overflow") as process:
        read_to_the_end(process.take_stdout())
        assert process.wait(60) is not None
        with pytest.raises(EngineError, match="a table of the script was full"):
            raise process.error() or AssertionError
        assert process.losses().errors == 1


def test_without_the_right_to_load_modules(prepared: Prepared, tmp_path: Path) -> None:
    lowly = tmp_path / "staprun"
    lowly.write_text('#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups staprun "$@"\n')
    lowly.chmod(0o755)
    with start(prepared, "spile_life_tables", staprun=str(lowly)) as process:
        read_to_the_end(process.take_stdout())
        process.wait(60)
        with pytest.raises(PrivilegeError, match="join the group stapdev"):
            raise process.error() or AssertionError
