"""Each bench runs in its tiny mode and prints its table. Its figures say nothing then, and no clock is looked at."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).resolve().parent.parent / "benches" / "run.py"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(RUN), "--tiny", *arguments], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(bench: str) -> list[dict[str, Any]]:
    report = json.loads(run("--json", bench))
    assert report["machine"]["kernel"]
    return list(report["rows"])


def test_decoding_is_priced_beside_a_loop_that_counts_the_same() -> None:
    priced = rows("decode_dispatch")
    assert [row["what"] for row in priced] == [
        "decode, count by stack",
        "decode, call a handler",
        "decode, call a handler",
        "decode, call a handler",
        "call a handler",
        "two columns of a batch",
        "a batch by Arrow",
        "decode, two columns",
        "decode, two columns",
    ]
    assert all(row["spile"] > 0 and row["peer"] > 0 for row in priced)


def test_aggregating_is_priced_beside_polars() -> None:
    priced = rows("aggregation")
    assert [row["peer_name"] for row in priced[:2]] == ["30 million/s", "polars group_by"]
    assert all("reason" in row or row["spile"] > 0 for row in priced)


def test_order_is_priced_beside_none() -> None:
    (priced,) = rows("merging")
    assert "reason" in priced or priced["spile"] > priced["peer"] > 0


def test_a_scripts_stream_is_priced_beside_cat_and_a_loop_that_counts_the_same() -> None:
    priced = rows("stap_pipe")
    keys = [f"a script's stream, count by {key}" for key in ("pid", "pid", "pid", "stack", "stack", "stack")]
    assert [row["what"] for row in priced] == keys
    assert [row["peer_name"] for row in priced[:3]] == [
        "400 MB/s or 10 million/s",
        "cat > /dev/null",
        "struct loop that counts",
    ]


@pytest.mark.live
def test_the_kernels_side_is_priced_or_says_why_not() -> None:
    priced = rows("kernel_cost")
    assert priced
    assert all("reason" in row or row["peer_name"] for row in priced)


@pytest.mark.live
def test_the_beginning_is_priced_or_says_why_not() -> None:
    priced = rows("startup")
    assert priced[0]["what"] == "import spile" and priced[0]["peer"] == 60
    assert all("reason" in row or row["spile"] > 0 for row in priced)


def test_the_table_names_its_columns_and_the_machine() -> None:
    text = run("decode_dispatch")
    assert "CPU: " in text and "kernel: " in text
    heading = next(line for line in text.splitlines() if line.startswith("what"))
    assert heading.split() == ["what", "spile", "peer", "ratio", "target", "met"]


def test_an_unknown_bench_is_refused_with_those_that_there_are() -> None:
    done = subprocess.run([sys.executable, str(RUN), "speed"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "decode_dispatch" in done.stderr and "Traceback" not in done.stderr


def test_a_loop_that_got_slower_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RUN.parent))
    counts = importlib.import_module("counts")
    assert set(json.loads(counts.BASELINE.read_text())["instructions"]) == set(counts.LOOPS)
    assert counts.beyond({"a": 106, "b": 104, "c": 1}, {"a": 100, "b": 100}) == ["a", "c"]


@pytest.mark.live
def test_the_soak_adds_up() -> None:
    soak = [sys.executable, str(RUN.with_name("soak.py")), "--seconds", "2", "--keys", "500"]
    done = subprocess.run(soak, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "taken " in done.stdout
