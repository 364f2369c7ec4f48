"""The bench of full tracing: what it claims, and that it runs. Its figures say nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benches.kernel_compile import events, report
from benches.kernel_compile.measure import Measured, Run, Spread, noise
from benches.kernel_compile.tracers import Outcome
from benches.kernel_compile.tree import Build

OUTCOME = Outcome(events=1000, lost=0, bytes=16_000, cpu=0.1, memory=1, buffers=1, start=0.1, stop=0.1)


def measured(untraced: list[float], **ratios: list[float]) -> Measured:
    """Builds of so many seconds; traced ones of so many times a second."""
    one = Build(1.0, 1.0)
    runs = {name: [Run(one, Build(ratio, 1.0), one, OUTCOME) for ratio in figures] for name, figures in ratios.items()}
    return Measured([Build(wall, 1.0) for wall in untraced], runs)


def test_a_run_is_compared_with_both_neighbours() -> None:
    run = Run(Build(8.0, 4.0), Build(15.0, 9.0), Build(12.0, 8.0), OUTCOME)
    assert (run.wall, run.cpu) == (1.5, 1.5)


def test_noise_is_what_untraced_builds_are_off() -> None:
    assert noise([10.0, 10.0, 10.0, 10.0, 10.0]) == 0
    # 12 is a fifth above the mean of its neighbours; they are a tenth and less off by it.
    assert noise([10.0, 10.0, 12.0, 10.0, 10.0]) == pytest.approx(0.2)
    assert noise([10.0, 99.0]) == float("inf"), "too few to tell"


@settings(deadline=None)
@given(st.floats(1, 100), st.floats(0, 0.01), st.integers(5, 30))
def test_a_machine_that_drifts_steadily_is_no_noise(wall: float, drift: float, builds: int) -> None:
    assert noise([wall * (1 + drift * number) for number in range(builds)]) < 1e-9


def test_only_what_the_noise_resolves_is_claimed() -> None:
    clear, close, few = Spread((1.4, 1.5, 1.6)), Spread((1.05, 1.1, 1.12)), Spread((2.0, 2.0))
    assert clear.is_resolved(1, 0.1)
    assert not close.is_resolved(1, 0.15), "the median is within the noise"
    assert not Spread((0.9, 1.5, 1.6)).is_resolved(1, 0.1), "one round was on the other side"
    assert not few.is_resolved(1, 0.1), "two rounds have no spread"
    assert clear.is_apart(close, 0.1) and close.is_apart(clear, 0.1)
    assert not clear.is_apart(close, 0.5)
    assert not clear.is_apart(Spread((1.3, 1.4, 1.45)), 0.01), "they overlap"
    assert not clear.is_resolved(1, float("inf"))


def test_the_report_says_which_differences_there_are() -> None:
    ratios = {"spile count": [1.1, 1.11, 1.12], "slow": [1.5, 1.6, 1.5], "like": [1.1, 1.1, 1.12]}
    sets = {"all": measured([1.0] * 9, **ratios)}
    text = report.markdown({"kernel": "6.1"}, sets, None)
    assert "* slowdown beside slow: spile count less" in text
    assert "* slowdown beside like: no difference is resolved" in text
    assert "| spile count | 1.11 (1.10–1.12) | yes |" in text and "| ≤ 1.15 | yes |" in text
    noisy = {"all": measured([1.0, 2.0] * 5, **{"spile count": [1.1, 1.11, 1.2], "slow": [1.5, 1.6, 1.5]})}
    text = report.markdown({}, noisy, None)
    assert "* slowdown beside slow: no difference is resolved" in text
    assert "| spile count | 1.11 (1.10–1.20) | no |" in text and "| ≤ 1.15 | not resolved |" in text


def test_sets_are_of_this_machine_s_tracepoints(tmp_path: Path) -> None:
    again = "syscalls:sys_enter_read"
    listed = ["sched:sched_switch", "raw_syscalls:sys_enter", again, "xfs:xfs_read", "block:block_rq_issue"]
    (tmp_path / "available_events").write_text("\n".join(listed))
    assert events.named("core", tmp_path) == ["sched:sched_switch", "raw_syscalls:sys_enter", "block:block_rq_issue"]
    assert events.named("storm", tmp_path) == ["raw_syscalls:sys_enter"]
    assert events.named("all", tmp_path) == [event for event in listed if event != again]


@pytest.mark.live
@pytest.mark.timeout(300)
def test_it_runs_and_reports(tmp_path: Path) -> None:
    options = ["--sets", "all", "--modes", "count", "handlers", "--peers", "ftrace", "--work", str(tmp_path)]
    command = [sys.executable, "-m", "benches.kernel_compile", "--tiny", *options]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    runs = told["sets"]["all"]["runs"]
    assert list(runs) == ["spile count", "spile handlers", report.FTRACE], told["sets"]["all"]["skipped"]
    for of_tracer in runs.values():
        assert of_tracer[0]["outcome"]["events"] > 1000
    assert runs[report.FTRACE][0]["outcome"]["bytes"] > 10_000
    assert set(told["storm"]["prices"]) == {"spile count", report.FTRACE}
    assert (tmp_path / "report" / "report.md").read_text().startswith("# Full tracing of a kernel's compile")
