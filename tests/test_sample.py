"""``sample=``: what is refused when it is declared, and what scaling makes of each kind of value."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import spile
from spile import Snapshot, SpecError, comm, kstack
from spile.aggregates import Average, Quantiles
from spile.spec import AggregateFunction, SessionSpec


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (0, "sample=0: one hit of 1 … 1073741824 is taken"),
        (-3, "sample=-3"),
        ((1 << 30) + 1, "sample=1073741825"),
        (0.01, "for that share of them, sample=100"),
        (5e-324, "sample=5e-324: one hit"),
        (2.0, "is that whole number"),
        (True, "sample=True"),
        ("10", "sample='10'"),
        (None, "sample=None"),
        (comm, "is that whole number"),
    ],
)
def test_a_sample_is_a_whole_number(sample: Any, words: str) -> None:
    with pytest.raises(SpecError) as raised:
        spile.Session().tracepoint("sched:sched_switch", sample=sample)
    assert words in str(raised.value) and raised.value.path == "sample"
    assert raised.value.declared_at is not None and raised.value.declared_at.startswith(__file__)


def test_every_kind_of_probe_takes_one() -> None:
    session = spile.Session()
    session.tracepoint("sched:sched_switch", sample=2).count()
    session.raw_tracepoint("sched_switch", sample=3).count()
    session.profile(99, sample=4).count()
    session.probe("function:vfs_read", sample=5).count()
    session.function("vfs_read", sample=6).count()
    session.function_return("vfs_read", sample=7).count()
    start = session.tracepoint("sched:sched_wakeup")
    session.span(start, session.tracepoint("sched:sched_switch"), sample=8).count()
    assert [probe.sample for probe in session.spec.probes] == [2, 3, 4, 5, 6, 7, 1, 1, 8]
    assert SessionSpec.from_json(session.spec.to_json()) == session.spec
    assert repr(session["span"]).endswith(", 1 of 8>")


def test_a_side_of_a_span_takes_none() -> None:
    session = spile.Session()
    start = session.tracepoint("sched:sched_wakeup", sample=2)
    with pytest.raises(SpecError, match="sched_wakeup has sample=2, which would take a start without its end"):
        session.span(start, session.tracepoint("sched:sched_switch"))


def test_a_depth_is_one_stack_s_own() -> None:
    session = spile.Session(stack_depth=64)
    session.tracepoint("sched:sched_switch", capture={"short": kstack[:4], "long": kstack})
    (probe,) = session.spec.probes
    assert [named.expr.to_json()["depth"] for named in probe.capture or ()] == [4, None]
    assert session.spec.limits.stack_depth == 64


LOW_HIGH_STEP = (("low", 0), ("high", 10), ("step", 5))


@pytest.mark.parametrize(
    ("function", "state", "scaled"),
    [
        (AggregateFunction("count"), 7, 70),
        (AggregateFunction("sum"), -7, -70),
        (AggregateFunction("min"), -7, -7),
        (AggregateFunction("max"), 7, 7),
        (AggregateFunction("avg"), (2, 9), (20, 90)),
        (AggregateFunction("stats"), (2, 9, 4, 5), (20, 90, 4, 5)),
        (AggregateFunction("hist"), {3: 2, 4: 1}, {3: 20, 4: 10}),
        (AggregateFunction("lhist", LOW_HIGH_STEP), {0: 2, 3: 1}, {0: 20, 3: 10}),
        (AggregateFunction("quantiles"), {70: 2}, {70: 20}),
        (
            AggregateFunction("top", (("size", 3),)),
            (5, [("a", 3, 1), ("b", 2, 0)]),
            (50, [("a", 30, 10), ("b", 20, 0)]),
        ),
    ],
)
def test_numbers_of_hits_and_sums_are_scaled_and_nothing_else(
    function: AggregateFunction, state: Any, scaled: Any
) -> None:
    from spile.aggregates import kind_of

    kind = kind_of(function)
    assert kind.scaled(state, 10) == scaled
    assert kind.scaled(state, 1) == state
    table = Snapshot({"x": kind.value(state)}, function, sample=10)
    assert table.scaled() == Snapshot({"x": kind.value(scaled)}, function)


def test_means_and_quantiles_stay() -> None:
    averages = Snapshot({1: Average(3, 10)}, AggregateFunction("avg"), sample=9).scaled()
    assert (float(averages[1]), averages[1].count) == (10 / 3, 27)
    quantiles = Snapshot({1: Quantiles({10: 4, 20: 4})}, AggregateFunction("quantiles"), sample=9)
    assert quantiles.scaled()[1].quantile(0.5) == quantiles[1].quantile(0.5)


def test_different_values_do_not_scale() -> None:
    made = Snapshot({"x": spile.aggregates.Distinct(bytes(4096))}, AggregateFunction("distinct"), sample=2)
    with pytest.raises(TypeError, match="nobody knows how many values"):
        made.scaled()


def test_samples_merge_with_their_like() -> None:
    one, other = Snapshot({"x": 3}, sample=10), Snapshot({"x": 4, "y": 1}, sample=10)
    assert (one + other, (one + other).sample) == (Snapshot({"x": 7, "y": 1}, sample=10), 10)
    assert sum([one, other]) == one + other
    assert (Snapshot() + one).sample == (one + Snapshot()).sample == 10
    with pytest.raises(TypeError, match=r"samples of one of 1 and one of 10 don't merge: merge what scaled\(\) gives"):
        one + Snapshot({"x": 1})
    assert one.scaled() + Snapshot({"x": 1}) == {"x": 31}
    assert one != Snapshot({"x": 3}) and one == {"x": 3}


def test_a_sample_goes_along_to_other_machines() -> None:
    made = Snapshot({"x": 3}, by=("comm",), sample=10)
    for again in (pickle.loads(pickle.dumps(made)), Snapshot.from_bytes(made.to_bytes())):
        assert (again, again.sample) == (made, 10)
    assert "<div>one counted stands for 10</div>" in made._repr_html_()
    assert "stands for" not in repr(made.scaled())
