"""States of aggregates, as native tables give them, made of plain lists of values by the rules in `bin.rs`.

The rules are written down here once more, and not asked of Rust: what merges and estimates is tested against lists.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from hypothesis import strategies as st

from spile.spec import AggregateFunction

LINEAR = {"low": -20, "high": 100, "step": 10}
PARAMETERS: dict[str, dict[str, int]] = {"lhist": LINEAR, "top": {"size": 4}}
FUNCTIONS = ("count", "sum", "min", "max", "avg", "stats", "hist", "lhist", "quantiles", "top", "distinct")
#: Those whose states subtract; of stats the least and the greatest don't.
DIFFERENCES = ("count", "sum", "avg", "hist", "lhist", "quantiles")

VALUES = st.one_of(st.integers(-300, 300), st.integers(-(1 << 63), (1 << 64) - 1))
LISTS = st.lists(VALUES, min_size=1, max_size=30)
KEYS = st.sampled_from(["make", "cc1", "as", "名前", "\udcff!"])


def function(name: str) -> AggregateFunction:
    """The function with the parameters that these tests use."""
    return AggregateFunction(name, tuple(PARAMETERS.get(name, {}).items()))


def log2(value: int) -> int:
    """A power of two's number: the length in bits."""
    return abs(value).bit_length() * (-1 if value < 0 else 1)


def linear(value: int) -> int:
    """A step's number."""
    low, high, step = LINEAR.values()
    return 0 if value < low else 1 + (min(value, high) - low) // step


def log_linear(value: int) -> int:
    """Sixty-four bins for each power of two."""
    size = abs(value)
    shift = max(size.bit_length() - 7, 0)
    return -1 - ((shift << 6) + (size >> shift)) if value < 0 else (shift << 6) + (size >> shift)


def registers(values: Any) -> bytes:
    """Ranks, by a hash that has nothing to do with spile's."""
    ranks = bytearray(4096)
    for value in values:
        hashed = int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=8).digest(), "big")
        rest = hashed & ((1 << 52) - 1)
        ranks[hashed >> 52] = max(ranks[hashed >> 52], 53 - rest.bit_length())
    return bytes(ranks)


def top(values: Any, size: int = 4) -> Any:
    """An exact list, cut."""
    counts = sorted(Counter(values).items(), key=lambda row: (-row[1], row[0]))
    return (len(values), [(value, hits, 0) for value, hits in counts[:size]])


def state(name: str, values: list[int]) -> Any:
    """What a native table has of these values."""
    made: dict[str, Any] = {
        "count": lambda: len(values),
        "sum": lambda: sum(values),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "avg": lambda: (len(values), sum(values)),
        "stats": lambda: (len(values), sum(values), min(values), max(values)),
        "hist": lambda: dict(Counter(map(log2, values))),
        "lhist": lambda: dict(Counter(map(linear, values))),
        "quantiles": lambda: dict(Counter(map(log_linear, values))),
        "top": lambda: top(values),
        "distinct": lambda: registers(values),
    }
    return made[name]()
