"""What is kept of events that nobody sees one by one: numbers, histograms, quantiles, frequent values.

In: plain states, from native tables. Out: values that print, merge and compare. A `Kind` says, for each aggregate
function, what its states are and how they become values; keys are the business of `spile.table`.
"""

from spile.aggregates.average import Average, Mean
from spile.aggregates.distinct import Different, Distinct
from spile.aggregates.histogram import Binned, Histogram
from spile.aggregates.kind import Kind
from spile.aggregates.numbers import Count, Greatest, Least, Sum
from spile.aggregates.quantiles import LogLinear, Quantiles
from spile.aggregates.stats import Several, Stats
from spile.aggregates.top import Frequent, Top, TopItem
from spile.spec import AggregateFunction

__all__ = ["Average", "Distinct", "Histogram", "Kind", "Quantiles", "Stats", "Top", "TopItem", "kind_of"]

_KINDS: dict[str, type[Kind]] = {
    "count": Count,
    "sum": Sum,
    "min": Least,
    "max": Greatest,
    "avg": Mean,
    "stats": Several,
    "hist": Binned,
    "lhist": Binned,
    "quantiles": LogLinear,
    "top": Frequent,
    "distinct": Different,
}


def kind_of(function: AggregateFunction, unit: str | None = None) -> Kind:
    """How states of this function merge, and what they look like."""
    return _KINDS[function.kind](function, unit)
