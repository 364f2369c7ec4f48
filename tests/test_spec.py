"""The spec: round trips through JSON, paths in errors, and that the Rust side reads the same form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expr_strategies import CONDITIONS, VALUES
from spile import _native
from spile.errors import Error, SpecError
from spile.expr import arg, comm, kstack, pid
from spile.expr.node import ConditionNode, ValueNode
from spile.expr.operand import node_of
from spile.spec import (
    AGGREGATES,
    ATTACH,
    COUNT,
    AggregateFunction,
    AggregateSpec,
    Function,
    FunctionReturn,
    Limits,
    NamedExpr,
    ProbeSpec,
    Profile,
    RawTracepoint,
    SessionSpec,
    SpanSide,
    SpanSpec,
    TargetFilter,
    Tracepoint,
)

U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUE_NODES = VALUES.map(node_of)
TARGETS = st.builds(Tracepoint, TEXT, TEXT) | st.builds(RawTracepoint, TEXT) | st.builds(Profile, U64)
TARGETS |= st.builds(Function, TEXT) | st.builds(FunctionReturn, TEXT)
SIDES = st.lists(st.builds(SpanSide, U32, VALUE_NODES), max_size=2).map(tuple)
FUNCTIONS = st.sampled_from(sorted(AGGREGATES)).flatmap(
    lambda kind: st.tuples(
        *(st.integers(*bounds).map(lambda value, name=name: (name, value)) for name, bounds in AGGREGATES[kind].items())
    ).map(lambda parameters: AggregateFunction(kind, parameters))
)
AGGREGATED = st.builds(AggregateSpec, FUNCTIONS, st.lists(VALUE_NODES, max_size=2).map(tuple), st.none() | VALUE_NODES)
PROBES = st.builds(
    ProbeSpec,
    name=TEXT,
    targets=st.lists(TARGETS, max_size=3).map(tuple),
    capture=st.none() | st.lists(st.builds(NamedExpr, TEXT, VALUE_NODES), max_size=3).map(tuple),
    condition=st.none() | CONDITIONS.map(node_of),
    sample=U64,
    aggregates=st.lists(AGGREGATED, max_size=2).map(tuple),
    deliver=st.booleans(),
    declared_at=st.none() | TEXT,
    span=st.none() | st.builds(SpanSpec, SIDES, SIDES, st.booleans(), U32),
    attach=st.sampled_from(ATTACH),
)
SESSIONS = st.builds(
    SessionSpec,
    probes=st.lists(PROBES, max_size=2).map(tuple),
    target=st.builds(TargetFilter, st.none() | U32, st.booleans(), st.none() | U64, st.booleans()),
    limits=st.builds(
        Limits, U64, U64, U32, U32, on_full=st.sampled_from(["drop", "block", "sample"]), max_overhead=st.none() | U32
    ),
)


def _value(wrapper: Any) -> ValueNode:
    node = node_of(wrapper)
    assert isinstance(node, ValueNode)
    return node


def _condition(wrapper: Any) -> ConditionNode:
    node = node_of(wrapper)
    assert isinstance(node, ConditionNode)
    return node


def _good() -> SessionSpec:
    probe = ProbeSpec(
        name="sched_switch",
        targets=(Tracepoint("sched", "sched_switch"),),
        capture=(
            NamedExpr("pid", _value(pid)),
            NamedExpr("next", _value(arg.next_pid)),
            NamedExpr("k", _value(kstack)),
        ),
        condition=_condition((arg.prev_pid != 0) & (comm != "swapper")),
        aggregates=(AggregateSpec(COUNT, (_value(comm), _value(kstack[:8]))),),
        declared_at="script.py:3",
    )
    return SessionSpec(probes=(probe,))


@settings(deadline=None)
@given(SESSIONS)
def test_a_spec_comes_back_from_its_json(spec: SessionSpec) -> None:
    assert SessionSpec.from_json(spec.to_json()) == spec


@settings(deadline=None)
@given(SESSIONS)
def test_rust_reads_the_form_whatever_it_thinks_of_the_content(spec: SessionSpec) -> None:
    try:
        _native.verify_spec(spec.to_json())
    except Error as error:
        for text in (str(error), *error.errors):
            assert "'s form" not in text


def test_rust_takes_a_good_spec() -> None:
    _native.verify_spec(_good().to_json())


def test_defaults_are_what_rust_takes() -> None:
    probe = ProbeSpec("p", (Profile(99),), (NamedExpr("comm", _value(comm)),))
    _native.verify_spec(SessionSpec(probes=(probe,)).to_json())


def test_a_span_has_a_row_for_each_end_and_each_start() -> None:
    switch, wakeup = Tracepoint("sched", "sched_switch"), Tracepoint("sched", "sched_wakeup")
    woken = ProbeSpec("woken", (wakeup, Tracepoint("sched", "sched_wakeup_new")))
    sides = [SpanSide(index, node_of(arg.pid)) for index in range(3)]
    span = ProbeSpec("wait", (), span=SpanSpec(start=(sides[0], sides[1]), end=(sides[2],)))
    spec = SessionSpec((woken, ProbeSpec("preempted", (switch,)), ProbeSpec("switch", (switch,)), span))
    assert spec.rows(woken) == ["tracepoint:sched:sched_wakeup", "tracepoint:sched:sched_wakeup_new"]
    assert spec.rows(span) == [
        "end tracepoint:sched:sched_switch (switch)",
        "start tracepoint:sched:sched_wakeup (woken)",
        "start tracepoint:sched:sched_wakeup_new (woken)",
        "start tracepoint:sched:sched_switch (preempted)",
    ]


def test_the_form() -> None:
    form = json.loads(_good().to_json())
    assert form["version"] == 1
    assert form["target"] == {"pid": None, "follow": True, "cgroup": None, "exclude_self": True}
    (probe,) = form["probes"]
    assert list(probe) == [
        "name",
        "declared_at",
        "targets",
        "span",
        "attach",
        "capture",
        "where",
        "sample",
        "aggregates",
        "deliver",
    ]
    assert probe["targets"] == [{"kind": "tracepoint", "category": "sched", "name": "sched_switch"}]
    assert probe["capture"]["kind"] == "fields"
    assert probe["aggregates"][0]["function"] == {"kind": "count"}


def test_specs_are_hashable_and_frozen() -> None:
    assert hash(_good()) == hash(_good())
    with pytest.raises(AttributeError):
        _good().version = 2  # type: ignore[misc]


def test_spellings() -> None:
    assert Tracepoint("a", "b").spelling == "tracepoint:a:b"
    assert RawTracepoint("a").spelling == "raw_tracepoint:a"
    assert Profile(99).spelling == "profile:99"
    assert Function("a").spelling == "function:a"
    assert FunctionReturn("a").spelling == "function_return:a"


_DELETE = object()


@pytest.mark.parametrize(
    ("place", "value", "path", "message"),
    [
        (["version"], 2, "version", "has version 2, and this release reads version 1"),
        (["version"], "1", "version", "expected an integer, found a string"),
        (["version"], _DELETE, "version", "is missing"),
        (["more"], 1, "more", "no member 'more' here"),
        (["probes"], {}, "probes", "expected a list, found an object"),
        (["probes", 0], 5, "probes[0]", "expected an object, found an integer"),
        (["probes", 0, "name"], None, "probes[0].name", "expected a string, found nothing"),
        (["probes", 0, "deliver"], 1, "probes[0].deliver", "expected true or false"),
        (["probes", 0, "targets", 0, "kind"], "uprobe", "probes[0].targets[0].kind", "'uprobe' is none of"),
        (["probes", 0, "targets", 0, "hz"], 9, "probes[0].targets[0].hz", "no member 'hz'"),
        (["probes", 0, "capture", "kind"], "some", "probes[0].capture.kind", "none of fields, all"),
        (["probes", 0, "capture", "kind"], "all", "probes[0].capture.fields", "no member 'fields'"),
        (["probes", 0, "capture", "fields", 1, "expr", "op"], "call", "probes[0].capture.fields[1].expr.op", "none of"),
        (
            ["probes", 0, "capture", "fields", 1, "expr", "path"],
            [],
            "probes[0].capture.fields[1].expr.path",
            "one step",
        ),
        (
            ["probes", 0, "capture", "fields", 1, "expr", "path", 0],
            -1,
            "probes[0].capture.fields[1].expr.path[0]",
            "outside 0 …",
        ),
        (["probes", 0, "where", "terms", 0, "operator"], "=~", "probes[0].where.terms[0].operator", "'=~' is none of"),
        (
            ["probes", 0, "where", "terms", 0, "right", "value"],
            1 << 64,
            "probes[0].where.terms[0].right.value",
            "outside",
        ),
        (
            ["probes", 0, "where", "terms", 0, "right", "value"],
            True,
            "probes[0].where.terms[0].right.value",
            "a boolean",
        ),
        (
            ["probes", 0, "where", "terms", 1, "term", "choices", 0],
            [256],
            "probes[0].where.terms[1].term.choices[0][0]",
            "outside 0 … 255",
        ),
        (["probes", 0, "where", "terms", 1, "term"], _DELETE, "probes[0].where.terms[1].term", "is missing"),
        (["probes", 0, "aggregates", 0, "function"], "sum", "probes[0].aggregates[0].function", "found a str"),
        (
            ["probes", 0, "aggregates", 0, "function", "kind"],
            "mode",
            "probes[0].aggregates[0].function.kind",
            "none of",
        ),
        (["probes", 0, "aggregates", 0, "function", "size"], 5, "probes[0].aggregates[0].function.size", "no member"),
        (["probes", 0, "aggregates", 0, "value"], {"op": "no"}, "probes[0].aggregates[0].value.op", "none of"),
        (["probes", 0, "aggregates", 0, "by", 1, "depth"], 0, "probes[0].aggregates[0].by[1].depth", "outside 1 … 127"),
        (["limits", "buffer"], -1, "limits.buffer", "outside 0"),
        (["limits", "buffer"], 1.5, "limits.buffer", "found a float"),
        (["target", "pid"], 1 << 32, "target.pid", "outside 0"),
    ],
)
def test_errors_carry_the_path(place: list[Any], value: Any, path: str, message: str) -> None:
    form = json.loads(_good().to_json())
    *way, last = place
    inner = form
    for step in way:
        inner = inner[step]
    if value is _DELETE:
        del inner[last]
    else:
        inner[last] = value
    with pytest.raises(SpecError) as raised:
        SessionSpec.from_json(json.dumps(form))
    assert raised.value.path == path
    assert message in raised.value.message


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "[" * 100_000, "nul"])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(SpecError, match="not JSON"):
        SessionSpec.from_json(text)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["version", "probes", "op", "kind"]), inner),
    )
)
def test_arbitrary_json_only_ever_raises_spec_errors(form: Any) -> None:
    with pytest.raises(SpecError):
        SessionSpec.from_json(json.dumps(form))


def test_too_deep_a_tree_is_refused_when_it_is_read() -> None:
    form = json.loads(_good().to_json())
    deep: dict[str, Any] = {"op": "context", "name": "pid"}
    for _ in range(100):
        deep = {"op": "unary", "operator": "-", "operand": deep}
    form["probes"][0]["capture"]["fields"][0]["expr"] = deep
    with pytest.raises(SpecError, match="nested more than"):
        SessionSpec.from_json(json.dumps(form))
