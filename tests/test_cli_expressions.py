"""The command line's lists of expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spile
from spile.cli import expressions

NAMES = st.from_regex(r"[a-z_][a-z_0-9]{0,8}", fullmatch=True)
BODIES = st.sampled_from(
    ["pid", "arg.count", "string(arg.path, 20)", "isin(arg.x, 1, 2)", '"a,b"', "kstack[:8]", "f('it\\'s, ')"]
)


@given(st.lists(BODIES, min_size=1, max_size=6))
def test_commas_within_brackets_and_quotes_belong_to_their_expression(bodies: list[str]) -> None:
    assert expressions.split(" , ".join(bodies)) == bodies


@given(st.lists(st.tuples(NAMES, BODIES), min_size=1, max_size=6, unique_by=lambda pair: pair[0]))
def test_names_and_texts_come_back(pairs: list[tuple[str, str]]) -> None:
    assert expressions.named(",".join(f"{name}={body}" for name, body in pairs)) == pairs


@pytest.mark.parametrize(
    ("text", "name"),
    [("pid", "pid"), ("arg.prev_pid", "prev_pid"), ("kstack[:8]", "kstack"), ("arg.a.b", "b")],
)
def test_a_field_alone_is_named_after_its_last_part(text: str, name: str) -> None:
    assert expressions.named(text) == [(name, text)]


def test_a_comparison_is_no_name() -> None:
    with pytest.raises(spile.SpecError, match="needs a name of its own"):
        expressions.named("arg.x==3")


@pytest.mark.parametrize("text", ["", "pid,", ",pid", "pid,,comm"])
def test_a_missing_expression_is_named(text: str) -> None:
    with pytest.raises(spile.SpecError, match="missing between the commas"):
        expressions.named(text)


def test_two_of_one_name_are_refused_with_the_remedy() -> None:
    with pytest.raises(spile.SpecError, match=r"two captures are named 'pid'.*other=arg.pid"):
        expressions.named("pid,arg.pid")


def test_values_and_conditions_are_told_apart() -> None:
    with pytest.raises(spile.SpecError, match="--where wants a condition"):
        expressions.condition("arg.count")
    with pytest.raises(spile.SpecError, match="conditions go into --where"):
        expressions.captures("big=arg.count > 4096")


def test_all_fields_have_a_sign() -> None:
    assert expressions.captures(" * ") == "*"


@given(st.text(max_size=40))
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        parts = expressions.split(text)
    except spile.SpecError:
        return
    assert parts
    assert all(parts)
