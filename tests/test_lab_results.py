"""The file of results while it grows, cut anywhere, and full of something else."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lab import results

NODES = st.sampled_from(["a.py::x[6.1]", "a.py::y[6.1]", "ünïcode\n"])
STEPS = st.tuples(st.sampled_from(["started", "report", "finished"]), NODES, st.dictionaries(st.text(), st.integers()))


def read(content: bytes) -> results.Reader:
    """What a reader makes of a whole file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / results.NAME).write_bytes(content)
        reader = results.Reader(Path(folder))
        reader.advance()
        return reader


@given(steps=st.lists(STEPS, max_size=20), cut=st.integers(0, 100))
def test_what_is_written_is_read_and_a_cut_loses_only_the_last_line(steps: list, cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = results.Writer(Path(folder))
        reader = results.Reader(Path(folder))
        for step, node, data in steps:
            writer.write(step, node, data)
            assert reader.advance()
        writer.close()
        assert not reader.advance()
        content = (Path(folder) / results.NAME).read_bytes()
    assert reader.started == {node for step, node, _ in steps if step == "started"}
    assert reader.finished == {node for step, node, _ in steps if step == "finished"}
    assert [data for node in reader.reports for data in reader.reports[node]] == [
        data for wanted in reader.reports for step, node, data in steps if step == "report" and node == wanted
    ]
    kept = content[: max(0, len(content) - cut)]
    whole = kept.count(b"\n")
    again = read(kept)
    assert again.finished == {node for step, node, _ in steps[:whole] if step == "finished"}


@given(
    content=st.binary(max_size=300)
    | st.lists(st.from_type(type(None)) | st.text() | st.integers()).map(
        lambda values: "".join(json.dumps(value) + "\n" for value in values).encode()
    )
)
def test_anything_else_is_no_result(content: bytes) -> None:
    reader = read(content + b'\n{"step": "finished", "node": "a", "data": null}\n')
    assert reader.finished == {"a"} and not reader.reports


def test_strange_steps_are_left_out() -> None:
    lines = [
        {"step": "__class__", "node": "a", "data": 1},
        {"step": "report", "node": "a", "data": "no report"},
        {"step": "started", "node": 7, "data": None},
        {"step": ["started"], "node": "a", "data": None},
        {"node": "a"},
        [],
    ]
    reader = read("".join(json.dumps(line) + "\n" for line in lines).encode())
    assert not reader.started and not reader.reports


def test_no_file_is_no_result() -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert not results.Reader(Path(folder)).advance()
