"""Hypothesis's expressions: every kind of node that the operators can make, as wrappers and as texts."""

from __future__ import annotations

import operator
from typing import Any

from hypothesis import strategies as st

from spile.expr import arg, at_start, between, captures, comm, isin, kstack, startswith, string, ustack
from spile.expr.context import NUMBERS, OUTCOMES

INT64 = st.integers(-(1 << 63), (1 << 64) - 1)
SMALL = st.integers(-8, 4096)
#: What a string in the kernel can hold: any bytes but NUL.
WORDS = st.binary(max_size=15).map(lambda word: word.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
FIELD_NAMES = st.sampled_from(["count", "from", "_refcount", "__x", "class", "a b", "ä", "__eq__", "keys"])
STEPS = FIELD_NAMES | st.integers(0, (1 << 32) - 1)


def _path(steps: list[str | int]) -> Any:
    path = arg
    for step in steps:
        path = path[step]
    return path


FIELDS = st.lists(STEPS, min_size=1, max_size=3).map(_path)
CONTEXTS = st.sampled_from(NUMBERS + OUTCOMES).map(lambda name: getattr(captures, name))
STRINGS = st.sampled_from([comm, at_start(comm)]) | FIELDS | st.builds(string, FIELDS, st.integers(1, 16384))
STACKS = st.sampled_from([kstack, ustack]) | st.builds(lambda n: kstack[:n], st.integers(1, 127))

_BINARY = [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod]
_BINARY += [operator.lshift, operator.rshift, operator.and_, operator.or_, operator.xor]
_COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]

NUMBERS_ = st.recursive(
    FIELDS | CONTEXTS | st.builds(at_start, FIELDS | CONTEXTS),
    lambda inner: (
        st.builds(lambda op, a, b: op(a, b), st.sampled_from(_BINARY), inner, inner | INT64)
        | st.builds(lambda op, a, b: op(a, b), st.sampled_from(_BINARY), INT64, inner)
        | st.builds(operator.neg, inner)
        | st.builds(operator.invert, inner)
    ),
    max_leaves=8,
)
CONDITIONS = st.recursive(
    st.builds(lambda op, a, b: op(a, b), st.sampled_from(_COMPARE), NUMBERS_, NUMBERS_ | INT64)
    | st.builds(operator.eq, STRINGS, WORDS)
    | st.builds(operator.ne, STRINGS, WORDS)
    | st.builds(startswith, STRINGS, WORDS.filter(bool))
    | st.builds(lambda x, values: isin(x, *values), NUMBERS_, st.lists(INT64, min_size=1, max_size=4))
    | st.builds(lambda x, values: isin(x, *values), STRINGS, st.lists(WORDS, min_size=1, max_size=4))
    | st.builds(between, NUMBERS_, NUMBERS_, NUMBERS_),
    lambda inner: (
        st.builds(operator.and_, inner, inner)
        | st.builds(operator.or_, inner, inner)
        | st.builds(operator.invert, inner)
    ),
    max_leaves=8,
)
VALUES = NUMBERS_ | STRINGS | STACKS
EXPRESSIONS = VALUES | CONDITIONS
