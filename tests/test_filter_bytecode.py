"""Conditions mean what Python means by them: Python's own evaluation of the text against the compiled bytecode.

`expr(text)` makes the nodes, the Rust compiler makes the bytecode, the rbpf interpreter runs it (the example `evaluate`
of spile-bpf). Beside it Python evaluates the same text over an `int` that knows the two places where 64-bit arithmetic
is documented to differ: x // 0 and x % 0 are 0, and a result that doesn't fit 64 bits is no test.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import spile

ROOT = Path(__file__).parent.parent
FIELDS = ("a", "b", "c")
COMMS = ("cc1", "as", "ld", "a-command-of-15", "")


class TooBigError(Exception):
    """A result that 64 bits don't hold."""


class Exact(int):
    """Python's integers, refusing what 64 bits would wrap."""

    def __new__(cls, value: int) -> Exact:
        if not -(2**63) <= value < 2**63:
            raise TooBigError
        return super().__new__(cls, value)

    def __add__(self, other: int) -> Exact:
        return Exact(int(self) + int(other))

    def __sub__(self, other: int) -> Exact:
        return Exact(int(self) - int(other))

    def __mul__(self, other: int) -> Exact:
        return Exact(int(self) * int(other))

    def __floordiv__(self, other: int) -> Exact:
        return Exact(int(self) // int(other) if other else 0)

    def __mod__(self, other: int) -> Exact:
        return Exact(int(self) % int(other) if other else 0)

    def __lshift__(self, other: int) -> Exact:
        return Exact(int(self) << int(other))

    def __rshift__(self, other: int) -> Exact:
        return Exact(int(self) >> int(other))

    def __and__(self, other: int) -> Exact:
        return Exact(int(self) & int(other))

    def __or__(self, other: int) -> Exact:
        return Exact(int(self) | int(other))

    def __xor__(self, other: int) -> Exact:
        return Exact(int(self) ^ int(other))

    # A literal on the left: Python asks the right operand, a subclass, first.
    def __radd__(self, other: int) -> Exact:
        return Exact(other) + self

    def __rsub__(self, other: int) -> Exact:
        return Exact(other) - self

    def __rmul__(self, other: int) -> Exact:
        return Exact(other) * self

    def __rfloordiv__(self, other: int) -> Exact:
        return Exact(other) // self

    def __rmod__(self, other: int) -> Exact:
        return Exact(other) % self

    def __rand__(self, other: int) -> Exact:
        return Exact(other) & self

    def __ror__(self, other: int) -> Exact:
        return Exact(other) | self

    def __rxor__(self, other: int) -> Exact:
        return Exact(other) ^ self

    def __neg__(self) -> Exact:
        return Exact(-int(self))

    def __invert__(self) -> Exact:
        return Exact(~int(self))


@st.composite
def integers(draw: st.DrawFn, depth: int = 3) -> str:
    """An integer expression with a field in every operation: what has none is Python's to compute, not spile's."""
    field = f"arg.{draw(st.sampled_from(FIELDS))}"
    if depth == 0 or draw(st.booleans()):
        return field
    left = draw(integers(depth - 1))
    match draw(st.sampled_from(["binary", "mirrored", "shift", "unary"])):
        case "binary":
            right = draw(st.one_of(integers(depth - 1), literals()))
            return f"({left} {draw(st.sampled_from(OPERATORS))} {right})"
        case "mirrored":
            return f"({draw(literals())} {draw(st.sampled_from(OPERATORS))} {left})"
        case "shift":
            return f"({left} {draw(st.sampled_from(['<<', '>>']))} {draw(st.integers(0, 63))})"
        case _:
            return f"({draw(st.sampled_from('-~'))}{left})"


@st.composite
def literals(draw: st.DrawFn) -> str:
    return f"({draw(st.one_of(st.integers(-9, 9), st.integers(-(2**40), 2**40)))})"


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> str:
    kinds = ["compare", "chain", "among", "comm"] + (["and", "or", "not"] * 2 if depth else [])
    match draw(st.sampled_from(kinds)):
        case "compare":
            return f"{draw(integers())} {draw(comparisons)} {draw(st.one_of(integers(), literals()))}"
        case "chain":
            return (
                f"{draw(integers(1))} {draw(comparisons)} {draw(integers(1))} {draw(comparisons)} {draw(integers(1))}"
            )
        case "among":
            choices = ", ".join(draw(st.lists(literals(), min_size=1, max_size=4)))
            return f"{draw(integers())} {draw(st.sampled_from(['in', 'not in']))} ({choices},)"
        case "comm":
            names = draw(st.lists(st.sampled_from(COMMS), min_size=1, max_size=3))
            return f"comm {draw(st.sampled_from(['in', 'not in']))} ({', '.join(map(repr, names))},)"
        case "not":
            return f"(not {draw(conditions(depth - 1))})"
        case word:
            return f"({draw(conditions(depth - 1))} {word} {draw(conditions(depth - 1))})"


OPERATORS = ("+", "-", "*", "//", "%", "&", "|", "^")
comparisons = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
number = st.one_of(st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1), st.sampled_from([-(2**63), 2**63 - 1]))


@pytest.fixture(scope="module")
def evaluator() -> Iterator[subprocess.Popen[str]]:
    build = ["cargo", "build", "--quiet", "--locked", "--package", "spile-bpf", "--example", "evaluate"]
    subprocess.run([*build, "--manifest-path", str(ROOT / "Cargo.toml")], check=True)
    run = ["cargo", "run", *build[2:], "--manifest-path", str(ROOT / "Cargo.toml")]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def decide(evaluator: subprocess.Popen[str], text: str, values: dict[str, int], comm: str) -> str:
    assert evaluator.stdin is not None
    assert evaluator.stdout is not None
    wrapped: Any = spile.expr(text)
    request = {"condition": wrapped.__spile_node__.to_json(), "fields": values, "comm": comm}
    evaluator.stdin.write(json.dumps(request) + "\n")
    evaluator.stdin.flush()
    return evaluator.stdout.readline().strip()


def test_a_known_condition_decides_both_ways(evaluator: subprocess.Popen[str]) -> None:
    text = "arg.a > 4096 and comm in ('cc1', 'as')"
    assert decide(evaluator, text, {"a": 4097}, "as") == "true"
    assert decide(evaluator, text, {"a": 4096}, "as") == "false"
    assert decide(evaluator, text, {"a": 4097}, "ld") == "false"


@settings(max_examples=400, deadline=None)
@given(text=conditions(), values=st.tuples(number, number, number), comm=st.sampled_from(COMMS))
def test_bytecode_agrees_with_python(
    evaluator: subprocess.Popen[str], text: str, values: tuple[int, int, int], comm: str
) -> None:
    fields = dict(zip(FIELDS, values, strict=True))
    names = {"arg": SimpleNamespace(**{name: Exact(value) for name, value in fields.items()}), "comm": comm}
    try:
        expected = bool(eval(text, {"__builtins__": {}}, names))
    except TooBigError:
        assume(False)
        return
    assert decide(evaluator, text, fields, comm) == str(expected).lower()
