"""Bins: which values each of them is of, and how counts by bin merge.

In: an aggregate function, and the number of a bin as `rust/core/src/aggregate/bin.rs` gives it. Out: the least value,
and the first that is beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from spile import _native
from spile.spec import AggregateFunction

#: The least value of a bin, and the first one beyond; infinite where it is open.
Bounds = tuple[float, float]


def bounds(function: AggregateFunction, bin: int) -> Bounds:  # noqa: A002  # its name in the field
    """Ints, but for the infinities at the ends of a linear histogram."""
    parameters = dict(function.parameters)
    least, most = _native.bin_bounds(function.kind, bin, **parameters)
    if function.kind == "lhist" and bin <= 0:
        return (-math.inf, parameters["low"])
    if function.kind == "lhist" and least >= parameters["high"]:
        return (parameters["high"], math.inf)
    return (least, most + 1)


def added(one: Mapping[int, int], other: Mapping[int, int], sign: int = 1) -> dict[int, int]:
    """The counts of both, `other`'s times `sign`; without bins that come to nothing."""
    sums = dict(one)
    for bin, hits in other.items():  # noqa: A001
        sums[bin] = sums.get(bin, 0) + sign * hits
    return {bin: hits for bin, hits in sums.items() if hits}  # noqa: A001
