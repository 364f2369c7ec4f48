"""Which function is called for which event, with what."""

from __future__ import annotations

import types
from typing import Any

import pytest

import spile
from spile import SpecError
from spile.handlers import Candidate, Found, bind, call_end, discover, plan

FIELDS = ["utime", "trace", "size"]
SESSION = object()
ONE = [Candidate(0, "vfs_read", "vfs_read", ("vfs_read",))]


def arguments(function: Any, fields: list[str] = FIELDS, **options: Any) -> list[Any]:
    return bind(function, fields, SESSION, probe="vfs_read", **options)[1]


# Binding


def test_by_name_in_any_order() -> None:
    def on_x(size: int, event: Any, cpu: int, session: Any, utime: int) -> None: ...

    assert arguments(on_x) == [2, "event", "cpu", (SESSION,), 0]


def test_a_capture_of_a_header_s_name_goes_first() -> None:
    def on_x(time: int, id: int, probe: str, session: Any) -> None: ...

    assert arguments(on_x, ["session", "time"]) == [1, "id", "probe", 0]


def test_an_annotation_makes_it_the_event() -> None:
    class Open(spile.Event):
        pass

    def on_x(e: spile.Event) -> None: ...
    def on_y(utime: int, o: Open) -> None: ...
    def on_z(size: "Event") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037

    assert arguments(on_x) == ["event"]
    assert arguments(on_y) == [0, "event"]
    assert arguments(on_z) == ["event"]


def test_positional_only_and_star_are_filled_as_in_2008() -> None:
    def two(number: int, time_used: int, /) -> None: ...
    def rest(*values: Any) -> None: ...
    def mixed(size: int, *values: Any) -> None: ...

    assert arguments(two) == ["id", 0]
    assert arguments(rest) == ["id", 0, 1, 2]
    assert arguments(mixed) == [2, "id", 0, 1]
    assert arguments(print) == ["id", 0, 1, 2]


def test_more_positions_than_captures() -> None:
    def many(a: int, b: int, c: int, d: int, e: int, /) -> None: ...
    def optional(a: int, b: int, c: int, d: int, e: int = 5, /) -> None: ...

    with pytest.raises(SpecError, match="takes more than the id and the 3 captures"):
        arguments(many)
    assert arguments(optional) == ["id", 0, 1, 2]


def test_defaults_and_keywords() -> None:
    calls: list[Any] = []

    def on_x(utime: int, other: int = 7, *, size: int, quiet: bool = True, **more: Any) -> None:
        calls.append((utime, other, size, quiet, more))

    function, wanted = bind(on_x, FIELDS, SESSION)
    assert wanted == [0, (7,), 2, 1]
    function(1, 7, 3, "stack")
    assert calls == [(1, 7, 3, True, {"trace": "stack"})]


def test_an_unknown_name_is_an_error_with_a_neighbour() -> None:
    def on_x(utme: int) -> None: ...

    with pytest.raises(SpecError, match=r"parameter 'utme' of on_x is not captured .*did you mean utime\?") as caught:
        arguments(on_x)
    assert caught.value.declared_at is not None and "test_handlers.py" in caught.value.declared_at


def test_methods_partials_and_callable_objects() -> None:
    import functools

    class Thing:
        def on_x(self, size: int) -> None: ...
        def __call__(self, utime: int) -> None: ...

    def with_prefix(prefix: str, size: int) -> None: ...

    assert arguments(Thing().on_x) == [2]
    assert arguments(Thing()) == [0]
    assert arguments(functools.partial(with_prefix, ">")) == [2]


def test_2008_fills_by_position_unless_all_names_are_captures() -> None:
    def original(id: int, utime: int, stacktrace: Any) -> None: ...
    def named(trace: Any, utime: int) -> None: ...

    assert arguments(original, ["utime", "trace"], positional=True) == ["id", 0, 1]
    assert arguments(named, ["utime", "trace"], positional=True) == [1, 0]


def test_more_parameters_than_rust_passes() -> None:
    fields = [f"f{number}" for number in range(20)]
    namespace: dict[str, Any] = {}
    exec(f"def on_x({', '.join(fields)}): seen.append(({', '.join(fields)}))", namespace)
    namespace["seen"] = []
    function, wanted = bind(namespace["on_x"], fields, SESSION)
    assert wanted == ["event"]
    function({name: number for number, name in enumerate(fields)})
    assert namespace["seen"] == [tuple(range(20))]


# Finding


def test_in_a_module_an_object_and_a_dict() -> None:
    def on_vfs_read() -> None: ...

    module = types.ModuleType("script")
    module.on_vfs_read = on_vfs_read  # type: ignore[attr-defined]
    module.on_speed = 5  # type: ignore[attr-defined]  # no function

    class Tracer:
        def on_vfs_read(self) -> None: ...
        def on_end_trace_session(self) -> None: ...

    tracer = Tracer()
    assert discover(module, ONE).probes == {0: [on_vfs_read]}
    assert discover({"on_vfs_read": on_vfs_read, 3: 4}, ONE).probes == {0: [on_vfs_read]}
    found = discover(tracer, ONE)
    assert found.probes == {0: [tracer.on_vfs_read]} and found.end == tracer.on_end_trace_session
    assert found.indexes == {0}
    with pytest.raises(SpecError, match=r"pass an object: handlers=Tracer\(\)"):
        discover(Tracer, ONE)
    assert discover(None, ONE).indexes == set()


def test_unmatched_names_neighbours() -> None:
    with pytest.raises(SpecError, match=r"on_vfs_raed fits no probe; did you mean on_vfs_read\?"):
        discover({"on_vfs_raed": lambda: None}, ONE)
    with pytest.raises(SpecError, match="has no handler; a handler is a function called on_vfs_read"):
        discover({"vfs_read": print}, ONE)


def test_two_probes_of_one_tracepoint_are_ambiguous() -> None:
    both = [Candidate(0, "sched_switch", "sched_switch"), Candidate(1, "sched_switch_2", "sched_switch", (), "x.py:3")]
    with pytest.raises(SpecError, match=r"fits probe 'sched_switch' and probe 'sched_switch_2' .*x.py:3.* by name="):
        discover({"on_sched_switch": print}, both)
    assert discover({"on_sched_switch_2": print}, both).probes == {1: [print]}


def test_a_member_s_handler_beats_its_group_s() -> None:
    group = [Candidate(0, "wakes", "wakes", ("sched_wakeup", "sched_wakeup_new"))]

    def on_wakes() -> None: ...
    def on_sched_wakeup_new() -> None: ...

    found = discover({"on_wakes": on_wakes, "on_sched_wakeup_new": on_sched_wakeup_new}, group)
    events = [
        {"id": 1, "probe": 0, "target": 0, "name": "sched_wakeup", "fields": []},
        {"id": 2, "probe": 0, "target": 1, "name": "sched_wakeup_new", "fields": []},
    ]
    made = plan(events, [[("event", print)]], found, SESSION, names=["wakes"])
    assert [function for function, _ in made.calls[1]] == [print, on_wakes]  # registered ones first
    assert [function for function, _ in made.calls[2]] == [on_sched_wakeup_new]
    assert made.handled == {1, 2}


def test_a_group_called_like_its_first_member() -> None:
    group = [Candidate(0, "sched_wakeup", "sched_wakeup", ("sched_wakeup", "sched_wakeup_new"))]
    assert discover({"on_sched_wakeup": print}, group).probes == {0: [print]}


def test_each_member_binds_its_own_fields() -> None:
    def on_all(comm: str) -> None: ...

    events = [
        {"id": 1, "probe": 0, "target": 0, "fields": [("pid", "u32"), ("comm", "string")]},
        {"id": 2, "probe": 0, "target": 1, "fields": [("comm", "string")]},
    ]
    made = plan(events, [[("event", on_all)]], Found(), SESSION, names=["all"])
    assert made.calls == {1: [(on_all, [1])], 2: [(on_all, [0])]}


def test_batch_handlers_take_one_argument() -> None:
    events = [{"id": 1, "probe": 0, "target": 0, "fields": []}]
    made = plan(events, [[("batch", print)]], Found(), SESSION, names=["x"])
    assert made.batches == [(frozenset({1}), print)] and made.handled == {1}
    with pytest.raises(SpecError, match="takes one argument, the batch"):
        plan(events, [[("batch", lambda: None)]], Found(), SESSION, names=["x"])


def test_the_end_handler_takes_nothing_or_the_session() -> None:
    seen: list[Any] = []
    call_end(lambda: seen.append(None), 5)
    call_end(seen.append, 5)
    call_end(lambda session: seen.append(session), 5)
    call_end(lambda *, session: seen.append(session), 5)
    assert seen == [None, 5, 5, 5]
