"""Bins of values in a script's language. In: an aggregate's function, and a number. Out: text that computes its bin.

The bins are those of `rust/core/src/aggregate/bin.rs`. SystemTap's own histograms are not asked: ``@hist_log`` sorts
2**63 and more with the negative numbers, ``@hist_linear`` keeps an array for every key, and nothing has quantiles.
"""

from __future__ import annotations

from spile.spec import AggregateFunction
from spile.systemtap import integer
from spile.systemtap.integer import Int
from spile.systemtap.needs import Needs

#: Those that count by bins.
BINNED = {"hist": "spile_log2", "lhist": "", "quantiles": "spile_log_linear"}
#: Of values that are never negative: the bin is that of the size.
_OF_SIZE = {"hist": "spile_bit_length", "quantiles": "spile_log_linear_size"}
#: Bytes of a bin's number in a row; a linear histogram has up to 65,538 bins.
SIZE = 4


def number(function: AggregateFunction, value: Int, needs: Needs) -> str:
    """The bin of a value."""
    if function.kind == "lhist":
        return _linear(value, needs, **dict(function.parameters))
    is_size = value.small or value.is_u64
    name = (_OF_SIZE if is_size else BINNED)[function.kind]
    return f"{needs.function(name)}({value.text})"


def _linear(value: Int, needs: Needs, low: int, high: int, step: int) -> str:
    below = integer.compared("<", value, integer.literal(low), needs)
    within = integer.compared("<", value, integer.literal(high), needs)
    # Whatever the value's sign, what is within the bounds is that far from the lower one.
    is_small = high - low < 1 << 63
    place = Int(f"{value.inside} - {integer.literal(low).inside}", signed=is_small, small=is_small, atomic=False)
    steps = place if step == 1 else integer.arithmetic("//", place, integer.literal(step), needs)
    return f"{below} ? 0 : {within} ? 1 + {steps.inside} : {1 + (high - low) // step}"
