"""``max_overhead=``: what is refused when it is declared, who can't keep to one, and how steps read."""

from __future__ import annotations

from typing import Any

import pytest

import spile
from spile import SpecError, Unsupported
from spile.budget import Step


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "more than 0 and at most 1, such as 0.03"),
        (-0.1, "max_overhead=-0.1 is the share"),
        (3, "; 3 % are max_overhead=0.03"),
        (1.5, "; 1.5 % are max_overhead=0.015"),
        (500, "at most 1"),
        (float("nan"), "max_overhead=nan"),
        (float("inf"), "max_overhead=inf"),
        (True, "max_overhead=True"),
        ("3%", "max_overhead='3%'"),
    ],
)
def test_a_budget_is_a_share(share: Any, words: str) -> None:
    with pytest.raises(SpecError) as raised:
        spile.Session(max_overhead=share)
    assert words in str(raised.value) and raised.value.path == "max_overhead"


@pytest.mark.parametrize(("share", "millionths"), [(0.03, 30_000), (1, 1_000_000), (1e-9, 1), (None, None)])
def test_a_spec_has_it_in_millionths(share: Any, millionths: int | None) -> None:
    session = spile.Session(max_overhead=share)
    session.tracepoint("sched:sched_switch").count()
    assert session.spec.limits.max_overhead == millionths


def test_systemtap_keeps_to_none() -> None:
    session = spile.Session(engine="systemtap", max_overhead=0.03)
    session.function("vfs_read").count()
    with pytest.raises(
        Unsupported, match="max_overhead=, for its probes have nothing that tells them what to leave out"
    ):
        session.script()


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (
            Step(1, "shed", 1, True, 0.05),
            "tracing took 5.00% of the CPUs' time, too much: from here on stacks are empty",
        ),
        (
            Step(1, "shed", 1024, True, 0.05),
            "tracing took 5.00% of the CPUs' time, too much: from here on one event of 1,024 is sent",
        ),
        (
            Step(1, "back", 1, False, 0.001),
            "tracing took 0.10% of the CPUs' time, again room: from here on nothing is left out",
        ),
        (
            Step(1, "spent", 0, True, 0.5),
            "tracing takes 50.00% of the CPUs' time, with nothing more to leave out: nothing is sent: tables and the "
            "ledger go on",
        ),
    ],
)
def test_steps_read_as_sentences(step: Step, text: str) -> None:
    assert str(step) == text


def test_the_ledger_balances_with_what_a_budget_left_out() -> None:
    row = {"probe": 0, "target": 0, "hits": 10, "delivered": 2, "budget_sampled": 3, "budget_counted": 5}
    losses = spile.losses.Losses([row | {"budget_stacks": 7}], ["x"])
    assert (losses.balance, losses.lost, losses.explain()) == (0, 0, "")
    assert losses.notes == [
        "x: 7 have empty stacks, to keep to max_overhead=",
        "x: 3 were left out of a sample, to keep to max_overhead=",
        "x: 5 were counted and not sent, to keep to max_overhead=",
    ]
