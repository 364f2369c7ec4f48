"""The examples do what they say, for a short while."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import spile
from cli_support import SPILE

EXAMPLES = Path(__file__).parent.parent / "examples"


@contextmanager
def reading() -> Iterator[None]:
    """A process that reads and sleeps all the while: the machine may be so quiet that nobody else does."""
    calls = "import time\nwhile True: open('/proc/self/stat').read(); time.sleep(0.02)"
    reader = subprocess.Popen([sys.executable, "-c", calls])
    try:
        yield
    finally:
        reader.kill()
        reader.wait()


def run(example: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs an example, which must succeed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.live
def test_the_lock_tracer_tells_and_draws(tmp_path: Path) -> None:
    told = run("lock_tracer.py", "--seconds", "2", cwd=tmp_path).stdout
    assert re.search(r"Where tasks gave up the CPU: [1-9][\d,]* times", told)
    assert re.search(r"\w+\+0x[0-9a-f]+", told)
    assert "Losses: " in told
    picture = tmp_path / "demo-output" / "sched-switch.svg"
    assert str(picture) in told
    assert "<svg" in picture.read_text()


@pytest.mark.live
def test_opens_are_those_of_the_command(tmp_path: Path) -> None:
    shown = run("opensnoop.py", "cat", "/etc/hostname", cwd=tmp_path).stdout
    assert re.search(r"^\d+ +cat +0x\d+ /etc/hostname$", shown, re.MULTILINE)


@pytest.mark.live
def test_programs_are_logged_as_they_start(tmp_path: Path) -> None:
    log = subprocess.Popen(
        [*SPILE, "run", "--limit", "3", str(EXAMPLES / "execlog.py")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The machine may be so quiet that no other program starts.
    deadline = time.monotonic() + 60
    while log.poll() is None and time.monotonic() < deadline:
        subprocess.run(["true"], check=True)
        time.sleep(0.05)
    shown, told = log.communicate(timeout=5)
    assert log.returncode == 0, told
    assert shown.splitlines()[-1] == "3 programs started."


@pytest.mark.live
def test_a_profile_is_drawn(tmp_path: Path) -> None:
    busy = [sys.executable, "-c", "for _ in range(20_000_000): pass"]
    shown = run("profile_flamegraph.py", "--hz", "499", "-o", "cpu.svg", *busy, cwd=tmp_path).stdout
    assert re.match(r"[1-9]\d* samples", shown)
    assert "<svg" in (tmp_path / "cpu.svg").read_text()


@pytest.mark.live
def test_waits_for_a_cpu_are_drawn_and_travel(tmp_path: Path) -> None:
    shown = run("runqlat.py", "--seconds", "3", "--bytes", "waits", cwd=tmp_path).stdout
    assert re.search(r"^\d+:\n\[.*[\])] +[\d,]+ \|@*", shown, re.MULTILINE)
    told = re.search(r"^([1-9][\d,]*) waits in intervals, ([\d,]+) in all$", shown, re.MULTILINE)
    assert told is not None and told[1] == told[2]
    waits = spile.Snapshot.from_bytes((tmp_path / "waits").read_bytes())
    assert f"{waits.hits:,}" == told[1] and waits.unit == "µs"


@pytest.mark.live
def test_system_calls_by_their_slowest(tmp_path: Path) -> None:
    with reading():
        shown = run("syscall_latency.py", "--seconds", "2", cwd=tmp_path).stdout
        listed = json.loads(run("syscall_latency.py", "--seconds", "1", "--json", cwd=tmp_path).stdout)
    assert re.search(r"^ *[a-z]\w*  [\d,]+ values, min .*, p99 .*, max ", shown, re.MULTILINE)
    assert re.search(r"^ +[\d,]+ ± \d+  \w", shown, re.MULTILINE)
    slowest = [row["p99"] for row in listed]
    assert slowest == sorted(slowest, reverse=True)
    assert "clock_nanosleep" in {row["by"]["id"] for row in listed}


@pytest.mark.live
def test_events_go_beside_other_tasks(tmp_path: Path) -> None:
    shown = run("async_switches.py", "--seconds", "2", cwd=tmp_path).stdout
    assert "switches so far; busiest: " in shown
    assert re.search(r"^[1-9][\d,]* switches by \d+ names; ", shown, re.MULTILINE)


def test_the_example_of_2008_is_told_what_can_be_probed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "vfs_read_2008.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "spile.errors.Unsupported" in done.stderr
    assert "tracepoint" in done.stderr


SHORTER = {"duration=5": "duration=1", "duration=10": "duration=1", "make -j4": "touch made-by-the-test"}
README = re.findall(r"```python\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.live
@pytest.mark.parametrize("number", range(len(README)))
def test_what_the_readme_shows_runs(number: int, tmp_path: Path) -> None:
    script = README[number]
    for long, short in SHORTER.items():
        script = script.replace(long, short)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    if "probeFunc" in script:
        assert "spile.errors.Unsupported" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    if "flamegraph" in script:
        assert list(tmp_path.glob("*.svg"))
    if "made-by-the-test" in script and "print(" in script:
        assert "made-by-the-test" in done.stdout


def test_every_example_is_tested() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    programs = {path.name for path in EXAMPLES.glob("*.py")} - {"compile_workload.py"}
    assert {name for name in programs if name not in tests} == set()
