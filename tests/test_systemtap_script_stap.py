"""Scripts as SystemTap itself reads them: whatever a caller's names and strings are, they hold the intended probes.

`stap -p1` parses a script and prints what it has understood; `-p2` also finds the probes and checks types.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spile
from spile.expr import comm, cpu, pid, task
from spile.expr.compare import Compare
from spile.expr.context import Context
from spile.expr.field import Field
from spile.expr.integer import Integer
from spile.expr.logic import And, Not
from spile.expr.node import ConditionNode
from spile.expr.starts_with import StartsWith
from spile.expr.string import String
from spile.expr.string_in import StringIn
from spile.spec import (
    COUNT,
    AggregateFunction,
    AggregateSpec,
    Function,
    NamedExpr,
    ProbeSpec,
    Profile,
    RawTracepoint,
    SessionSpec,
)
from spile.systemtap.script import Script, generate
from systemtap_specs import FEATURES, accumulated, aggregate, session

#: What each script holds besides its probes.
_OWN_PROBE = re.compile(r"timer\.ms\((?:20|\d+\),end\([12])\)|end\(3\)")
_OWN_GLOBAL = re.compile(
    r"spile_tracer = -1|is_ready|followed\[\d+\]|(delivered|filtered|faulted|counted|cell|open|size|direct|unmatched|"
    r"replaced|evicted|unstarted)_[\d_]+|(table|starts|saved|hits|total|least|greatest)_[\d_]+%?\[\d+\]"
)


@cache
def kernel() -> str:
    """A kernel whose headers are installed: `stap` does not even parse without one."""
    if shutil.which("stap") is None:
        pytest.skip("stap is not installed (Debian: systemtap)")
    running = os.uname().release
    found = sorted(path.parent.parent.name for path in Path("/lib/modules").glob("*/build/.config"))
    if not found:
        pytest.skip("no kernel's headers are installed (Debian: linux-headers-cloud-amd64)")
    return running if running in found else found[-1]


def understood(script: Script, step: str, folder: Path) -> str:
    """What `stap` makes of it."""
    file = folder / "script.stp"
    file.write_text(script.text, encoding="ascii")
    # The tracer's own caches are left alone.
    environment = {**os.environ, "SYSTEMTAP_DIR": str(folder / "cache")}
    command = ["stap", "-r", kernel(), step, *script.arguments, str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{script.text}"
    return done.stdout


def check(script: Script, points: list[str], folder: Path) -> None:
    """Holds what was understood against what was meant."""
    lines = understood(script, "-p1", folder).splitlines()
    probes = [line.removeprefix("probe ").removesuffix("{") for line in lines if line.startswith("probe ")]
    own = [point for point in probes if _OWN_PROBE.fullmatch(point)]
    assert [point for point in probes if point not in own] == points
    functions = [line for line in lines if line.startswith("function ")]
    assert all(line.startswith("function spile_") for line in functions)
    declared = [line.removeprefix("global ") for line in lines if line.startswith("global ")]
    assert all(_OWN_GLOBAL.fullmatch(name) for name in declared), declared
    assert not any("%{" in line for line in lines)


VALUES = ["sum(), min(), max(), avg(), stats()", "hist(), lhist(), quantiles()", "top(), distinct()"]


@pytest.mark.parametrize("feature", ["function", "span", "count(by=kstack)", "follow=True", *VALUES])
def test_scripts_parse(feature: str, tmp_path: Path) -> None:
    understood(generate(FEATURES[feature]()), "-p1", tmp_path)


# fmt: off
HOSTILE = ['"', "\\", '\\"', "%", "%s%n", "%{", "%}", "%( 1 %? 2 %)", "$1", "@1", "@cast", "\n", "\r\n", "#", "//"]
HOSTILE += ['") } probe end { exit() }', '"\nprobe begin { exit() }\n#', "}", "{", "/*", "*/", "`id`", "\t", "\x7f"]
HOSTILE += ["\x1b[0m", "ä", "\udcff", "\\0", "\\x41", "??/", "??)", "vfs_*", "*", "a@b.c:1", "vfs_read", "a b", "'"]
# fmt: on
CHARACTERS = st.characters(exclude_characters="\0", codec="utf-8")
TEXTS = st.lists(st.sampled_from(HOSTILE) | st.text(CHARACTERS, max_size=4), min_size=1, max_size=4)
NAMES = TEXTS.map("".join) | st.sampled_from(["vfs_read", "vfs_write", "a.isra.0", "_x"])
WORDS = TEXTS.map("".join).map(lambda text: text.encode("utf-8", "surrogateescape")[:60])
STEPS = NAMES | st.integers(0, 1 << 32)
FIELDS = st.lists(STEPS, min_size=1, max_size=3).map(lambda steps: Field(tuple(steps)))
INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1).map(Integer)
COMM = Context("comm")


def _conditions() -> st.SearchStrategy[ConditionNode]:
    strings = st.just(COMM) | st.builds(String, FIELDS, st.integers(1, 64))
    tests = (
        st.builds(lambda value, words: StringIn(value, tuple(words)), strings, st.lists(WORDS, min_size=1, max_size=3))
        | st.builds(StartsWith, strings, WORDS)
        | st.builds(Compare, st.sampled_from(["==", "<", ">="]), FIELDS | INTEGERS | st.just(Context("task")), INTEGERS)
    )
    return tests | st.builds(lambda a, b: And((a, Not(b))), tests, tests)


FUNCTIONS = st.sampled_from(["sum", "stats", "hist", "quantiles", "distinct"]).map(AggregateFunction) | st.just(
    AggregateFunction("lhist", (("low", -(1 << 63)), ("high", (1 << 63) - 1), ("step", (1 << 64) - 1)))
)
AGGREGATES = st.builds(lambda by: AggregateSpec(COUNT, (by,)), FIELDS) | st.builds(
    lambda function, by, value: AggregateSpec(function, () if by is None else (by,), value),
    FUNCTIONS,
    st.none() | FIELDS | st.just(COMM),
    FIELDS | st.just(Context("task")),
)
TARGETS = NAMES.map(Function) | NAMES.map(RawTracepoint)
PROBES = st.builds(
    lambda name, target, captured, condition, aggregates: ProbeSpec(
        name,
        (target,),
        capture=tuple(NamedExpr(key, value) for key, value in captured),
        condition=condition,
        aggregates=tuple(aggregates),
        deliver=not aggregates,
    ),
    NAMES,
    TARGETS,
    st.lists(st.tuples(NAMES, FIELDS | st.just(COMM)), max_size=2),
    st.none() | _conditions(),
    st.lists(AGGREGATES, max_size=2),
)


@given(st.lists(PROBES, min_size=1, max_size=24))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_hostile_names_add_nothing(tmp_path_factory: pytest.TempPathFactory, probes: list[ProbeSpec]) -> None:
    """What is refused is left out; of the rest the script has one probe each, as they were named."""
    kernel()
    kept, points = [], []
    for probe in probes:
        try:
            generate(SessionSpec((probe,)))
        except (spile.SpecError, spile.Unsupported):
            continue
        kept.append(probe)
        name = probe.targets[0].name  # type: ignore[union-attr]
        is_function = isinstance(probe.targets[0], Function)
        points.append(f'kernel.function("{name}").call' if is_function else f'kernel.trace("{name}")')
    if kept:
        check(generate(SessionSpec(tuple(kept))), points, tmp_path_factory.mktemp("stap"))


@given(st.lists(WORDS, min_size=1, max_size=40))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_hostile_strings_add_nothing(tmp_path_factory: pytest.TempPathFactory, words: list[bytes]) -> None:
    condition = And((StringIn(COMM, tuple(words)), *(StartsWith(COMM, word) for word in words)))
    spec = session(ProbeSpec("p", (Profile(99),), condition=condition))
    check(generate(spec), ["perf.type(1).config(0).hz(99)"], tmp_path_factory.mktemp("stap"))


def test_types_are_right_of_everything_that_is_accumulated(tmp_path: Path) -> None:
    """Without fields, for those need the kernel's debugging information."""
    kinds = ("sum", "min", "max", "avg", "stats", "hist", "quantiles", "distinct")
    values = [aggregate(kind, value, *by) for kind in kinds for value, by in ((task, ()), (pid, (comm, cpu)))]
    values += [aggregate("top", comm, pid, size=3), aggregate("lhist", task, low=-8, high=1 << 62, step=4)]
    probes = [replace(accumulated(*values[at : at + 6]), targets=(Profile(99),)) for at in range(0, len(values), 6)]
    understood(generate(session(*probes)), "-p2", tmp_path)


def test_hostile_strings_pass_the_checks_of_types_too(tmp_path: Path) -> None:
    words = tuple(text.encode("utf-8", "surrogateescape") for text in HOSTILE)
    spec = session(ProbeSpec("p", (Profile(99),), condition=StringIn(COMM, words)))
    assert "perf.type(1).config(0).hz(99)" in understood(generate(spec), "-p2", tmp_path)
