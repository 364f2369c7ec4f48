"""Values of aggregates: what they tell of lists that are known, and that they merge."""

from __future__ import annotations

import copy
import math
import pickle
import statistics
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spile as sp
from aggregate_states import DIFFERENCES, FUNCTIONS, LINEAR, LISTS, VALUES, function, registers, state, top
from spile.aggregates import Average, Distinct, Histogram, Kind, Quantiles, Stats, Top, kind_of
from spile.aggregates.bins import bounds
from spile.aggregates.units import human, unit_of
from spile.expr import operand


def kind(name: str, unit: str | None = None) -> Kind:
    return kind_of(function(name), unit)


def value(name: str, values: list[int], unit: str | None = None) -> Any:
    return kind(name, unit).value(state(name, values))


# Merging.


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "top"])
@given(LISTS, LISTS, LISTS)
def test_states_merge_in_any_order(name: str, one: list[int], two: list[int], three: list[int]) -> None:
    a, b, c = (state(name, each) for each in (one, two, three))
    merged = kind(name).merged
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c)) == state(name, one + two + three)
    assert merged(a, kind(name).nothing()) == a


@pytest.mark.parametrize("name", DIFFERENCES)
@given(LISTS, LISTS)
def test_a_difference_is_what_was_added(name: str, one: list[int], two: list[int]) -> None:
    a, b = state(name, one), state(name, two)
    whole = kind(name).merged(a, b)
    left = kind(name).subtracted(whole, b)
    assert left == a or (left is None and a == 0)
    assert kind(name).subtracted(a, a) is None


@given(LISTS, LISTS)
def test_stats_subtract_without_their_extremes(one: list[int], two: list[int]) -> None:
    left = value("stats", one + two) - value("stats", two)
    assert left == Stats(len(one), sum(one), None, None)
    assert (left + value("stats", two)).min is None
    assert value("stats", one) - Stats(0, 0, None, None) == value("stats", one)


@pytest.mark.parametrize("name", ["min", "max", "top", "distinct"])
def test_what_has_no_difference_says_why(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} doesn't subtract: .*take"):
        kind(name).must_subtract()


@given(st.lists(st.lists(st.integers(0, 30), max_size=60), min_size=1, max_size=5), st.randoms())
def test_the_bounds_of_frequent_values_hold_in_any_order(parts: list[list[int]], random: Any) -> None:
    lists = [Top(*top(part), 4) for part in parts]
    true = Counter(value for part in parts for value in part)
    while len(lists) > 1:
        random.shuffle(lists)
        lists.append(lists.pop() + lists.pop())
    merged = lists[0]
    assert merged.hits == true.total()
    for item, hits, error in merged:
        assert hits - error <= true[item] <= hits
    if len(true) <= 4:
        assert dict(true) == {item: hits for item, hits, error in merged if error == 0}


@given(st.lists(st.integers(0, 9), max_size=40), st.lists(st.integers(0, 9), max_size=40))
def test_frequent_values_merge_either_way(one: list[int], two: list[int]) -> None:
    a, b = Top(*top(one), 4), Top(*top(two), 4)
    assert a + b == b + a


def test_lists_of_two_sizes_do_not_merge() -> None:
    with pytest.raises(TypeError, match="of 4 and of 5 values"):
        Top(*top([1, 2]), 4) + Top(*top([1, 2], 5), 5)


# Against lists.


@given(VALUES)
def test_a_value_is_within_the_bounds_of_its_bin(number: int) -> None:
    for name in ("hist", "lhist", "quantiles"):
        (bin_,) = state(name, [number])
        low, high = bounds(function(name), bin_)
        assert low <= number < high


@given(st.lists(st.integers(-(10**6), 10**12), min_size=1, max_size=300), st.floats(0, 1))
def test_quantiles_are_within_their_error(values: list[int], share: float) -> None:
    true = sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
    assert abs(value("quantiles", values).quantile(share) - true) <= abs(true) / 128
    assert value("quantiles", values).min == pytest.approx(min(values), rel=1 / 128)
    assert value("quantiles", values).max == pytest.approx(max(values), rel=1 / 128)


@given(st.lists(st.integers(-1000, 10**9), min_size=1, max_size=200), st.floats(0, 1))
def test_a_histogram_s_quantile_is_in_the_right_bin(values: list[int], share: float) -> None:
    true = sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
    (bin_,) = state("hist", [true])
    low, high = bounds(function("hist"), bin_)
    assert low <= value("hist", values).quantile(share) <= high


def test_a_histogram_s_mean_is_near_the_values() -> None:
    values = list(range(-15, 95))
    assert value("lhist", values).mean == pytest.approx(statistics.mean(values), abs=5)
    assert math.isnan(Histogram({}, function("lhist")).mean)


@pytest.mark.parametrize("number", [0, 1, 2, 50, 1000, 4096, 20_000, 100_000])
def test_different_values_are_counted_within_four_sigma(number: int) -> None:
    counted = Distinct(registers(range(number)))
    assert abs(int(counted) - number) <= max(4 * counted.error, 0.5)
    assert counted.relative_error == pytest.approx(0.01625)


def test_a_union_counts_common_values_once() -> None:
    one, two = Distinct(registers(range(3000))), Distinct(registers(range(2000, 5000)))
    both = one + two
    assert both == Distinct(registers(range(5000))) and both == two + one and one + one == one
    assert abs(int(both) - 5000) <= 4 * both.error
    assert one < both and both > 4000 and both >= one and one != both and int(one) == one


@given(LISTS)
def test_a_mean_is_a_float_that_merges(values: list[int]) -> None:
    mean = value("avg", values)
    assert mean == sum(values) / len(values) and isinstance(mean, float)
    assert mean.merge(mean) == mean and mean.merge(mean).count == 2 * len(values)
    with pytest.raises(TypeError, match="knows its count"):
        mean.merge(3.5)
    assert math.isnan(Average(0, 0))


# As objects.


@pytest.mark.parametrize("name", ["avg", "stats", "hist", "lhist", "quantiles", "top", "distinct"])
def test_values_are_values(name: str) -> None:
    made = value(name, [1, 5, 5, 90, 4000], "µs" if name != "distinct" else None)
    again = pickle.loads(pickle.dumps(made))
    assert again == made and repr(again) == repr(made) and str(again) == str(made)
    assert copy.copy(made) == made == copy.deepcopy(made)
    assert made != value(name, [1, 5, 5, 90, 4001, 90]) and made != "x"
    assert kind(name).state(made) == state(name, [1, 5, 5, 90, 4000])
    with pytest.raises(TypeError, match="no value of a"):
        kind(name).state("x")
    if name != "avg":
        with pytest.raises(AttributeError):
            made.unit = "s"
        with pytest.raises(TypeError):
            made + 1


def test_a_histogram_is_a_mapping() -> None:
    made = value("hist", [0, 1, 5, 6, 7, -3])
    assert made == {(-3, -1): 1, (0, 1): 1, (1, 2): 1, (4, 8): 3}
    assert made[(4, 8)] == 3 and made.total == 6 and (8, 16) not in made
    assert list(made) == sorted(made)
    outer = value("lhist", [-100, 100])
    assert outer == {(-math.inf, LINEAR["low"]): 1, (LINEAR["high"], math.inf): 1}
    assert made + made - made == made and (made - made).total == 0
    with pytest.raises(TypeError, match=r"bins differ.*powers of two and -20 to 100 by 10"):
        made + outer
    with pytest.raises(ValueError, match="within 0"):
        made.quantile(99)
    with pytest.raises(ValueError, match="within 0"):
        value("quantiles", [1]).quantile(99)


def test_a_histogram_prints_as_in_the_field() -> None:
    assert str(value("hist", [0, 5, 6, 7, 7])).splitlines() == [
        "[0]     1 |@@@@@@@@@@                              |",
        "[1]     0 |                                        |",
        "[2, 4)  0 |                                        |",
        "[4, 8)  4 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|",
    ]
    shown = str(value("hist", [1500] * 1000 + [3000], "ns")).splitlines()
    assert shown == [
        "[1.02µs, 2.05µs)  1,000 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|",
        "[2.05µs, 4.1µs)       1 |@                                       |",
    ]
    assert str(value("hist", [1500])).startswith("[1K, 2K)  1 |@")
    outer = str(value("lhist", [-100, 100, 5], "ms"))
    assert outer.splitlines()[0].startswith("(…, -20ms)") and outer.splitlines()[-1].startswith("[100ms, …)")
    assert "…" in str(value("lhist", [-20, 99])).splitlines()[1]
    assert str(Histogram({}, function("hist"))) == "no values"


def test_a_histogram_draws_itself() -> None:
    html = value("hist", [1, 5, 5])._repr_html_()
    assert html.count("<tr>") == 3 and "width:200px" in html and "<script" not in html

    class Axes:
        def __init__(self) -> None:
            self.heights: list[int] = []

        def bar(self, places: Any, heights: list[int], **_: Any) -> None:
            self.heights = heights

        def set_xticks(self, places: Any, labels: list[str], **_: Any) -> None: ...
        def set_ylabel(self, text: str) -> None: ...
        def set_xlabel(self, text: str) -> None: ...

    axes = Axes()
    assert value("hist", [1, 5, 5]).plot(axes) is axes and axes.heights == [1, 0, 2]


def test_plot_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        value("hist", [1]).plot()


def test_they_read_well() -> None:
    assert repr(value("quantiles", [10, 20, 30], "µs")) == (
        "<Quantiles: 3 values, min 10µs, p50 20µs, p90 30µs, p99 30µs, p99.9 30µs, max 30µs>"
    )
    assert repr(Quantiles({})) == "<Quantiles: no values>"
    assert str(value("stats", [1, 2, 6], "ms")) == "3 values, total 9ms, avg 3ms, min 1ms, max 6ms"
    assert repr(value("avg", [1, 2])) == "<Average: 1.5 of 2>"
    assert repr(value("top", [7, 7, 9])) == "<Top: 3 hits, 2 values: '7': 2, '9': 1>"
    assert repr(value("distinct", [1, 2, 2])) == "<Distinct: 2 ± 0>"
    assert repr(value("hist", [5] * 3, "ns")).startswith("<Histogram: 3 values in powers of two, in ns, median about ")


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0, "ns", "0"),
        (999, "ns", "999ns"),
        (1024, "ns", "1.02µs"),
        (999_999, "ns", "1ms"),
        (1500, "ms", "1.5s"),
        (7_200, "s", "7,200s"),
        (-2048, "µs", "-2.05ms"),
        (1024, None, "1K"),
        (3 << 20, None, "3M"),
        (1_000_000, None, "1,000,000"),
        (12.5, None, "12.5"),
        (1536, "bytes", "1.5KB"),
        (12, "pages", "12 pages"),
        (math.nan, "ns", "none"),
    ],
)
def test_numbers_for_people(number: float, unit: str | None, text: str) -> None:
    assert human(number, unit) == text


@pytest.mark.parametrize(
    ("expression", "unit"),
    [
        (sp.elapsed, "ns"),
        (sp.elapsed // sp.us, "µs"),
        (sp.elapsed // sp.us // 1000, "ms"),
        (sp.elapsed // sp.s, "s"),
        (sp.elapsed // 7, None),
        (sp.elapsed * 2, None),
        (sp.elapsed - sp.utime, "ns"),
        (sp.at_start(sp.utime) // sp.ms, "ms"),
        (sp.timestamp - sp.arg.start, None),
        (sp.arg.count, None),
    ],
)
def test_units_come_from_expressions(expression: Any, unit: str | None) -> None:
    node = operand.node_of(expression)
    assert node is not None and unit_of(node) == unit
