"""``capture=`` in its four forms, and what is refused, with the path."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

import spile
from spile.capture import HEADERS, collect, default_name
from spile.errors import SpecError
from spile.expr import arg, comm, cpu, kstack, pid, string, utime
from spile.expr.operand import node_of


def _nodes(capture: Any) -> list[tuple[str, Any]]:
    named, _ = collect(capture)
    assert not isinstance(named, str)
    return [(name, node_of(expr)) for name, expr in named]


def test_a_dict_names_its_expressions_in_order() -> None:
    assert _nodes({"b": utime, "a": arg.count + 1}) == [("b", node_of(utime)), ("a", node_of(arg.count + 1))]
    assert _nodes({}) == []


def test_a_list_takes_the_names_that_expressions_have() -> None:
    captures = [utime, arg.count, arg[0], arg["from"], kstack[:8], string(arg.filename), arg.args[2], arg[1].x[0]]
    names = ["utime", "count", "arg0", "from", "kstack", "filename", "args_2", "x_0"]
    assert [name for name, _ in _nodes(captures)] == names
    assert _nodes((utime,)) == [("utime", node_of(utime))]


def test_star_is_every_field() -> None:
    assert collect("*") == ("*", None)


def test_a_class_gives_its_fields_bases_first() -> None:
    class Task(spile.Event):
        pid, comm = pid, comm

    class Open(Task):
        path = string(arg.filename)
        comm = kstack
        limit: ClassVar[int]
        _private: int

        def shown(self) -> str:
            return f"{self.pid} {self.path}"

    assert collect(Open)[1] is Open
    assert _nodes(Open) == [("pid", node_of(pid)), ("comm", node_of(kstack)), ("path", node_of(string(arg.filename)))]
    event = Open("openat", {"pid": 1, "comm": "x", "path": "/etc"})
    assert (event.pid, event.shown()) == (1, "1 /etc")
    assert Open.pid is pid


def test_a_subclass_can_drop_a_field() -> None:
    class Task(spile.Event):
        pid, comm = pid, comm

    class Shorter(Task):
        comm = None

    assert [name for name, _ in _nodes(Shorter)] == ["pid"]


def test_the_fact_of_a_headers_own_name_may_be_captured() -> None:
    assert _nodes([cpu, arg.id, comm]) == [("cpu", node_of(cpu)), ("id", node_of(arg.id)), ("comm", node_of(comm))]
    assert _nodes({"cpu": cpu, "time": arg.time}) == [("cpu", node_of(cpu)), ("time", node_of(arg.time))]


@pytest.mark.parametrize("name", HEADERS)
def test_a_headers_name_is_taken(name: str) -> None:
    with pytest.raises(SpecError, match=f"every event has its {name} already") as raised:
        collect({name: utime})
    assert raised.value.path == f"capture[{name!r}]"
    with pytest.raises(SpecError, match="would hide what every event has"):
        collect(type("Bad", (spile.Event,), {name: utime}))


def _annotated() -> type[Any]:
    class Open(spile.Event):
        pid: int
        comm = comm

    return Open


def _conditional() -> type[Any]:
    class Open(spile.Event):
        big = arg.count > 1

    return Open


@pytest.mark.parametrize(
    ("capture", "path", "message"),
    [
        (5, "capture", "not 5"),
        ("utime", "capture", "say [utime]"),
        (utime, "capture", "say capture=[utime]"),
        (arg.x, "capture", "say capture=[arg.x]"),
        (pid == 1, "capture", "not a Condition"),
        ([1], "capture[0]", "not 1"),
        ([utime, "comm"], "capture[1]", "say expr('comm')"),
        ([pid == 1], "capture[0]", "give it to where="),
        ([arg], "capture[0]", "arg alone"),
        ([utime + 1], "capture", "say capture={'name': utime + 1}"),
        ([arg.a.id, arg.b.id], "capture[1]", "both called 'id'"),
        ([arg["a b"]], "capture[0]", "no name that a handler could bind"),
        ({1: utime}, "capture", "a string, not 1"),
        ({"": utime}, "capture['']", "an identifier"),
        ({"a b": utime}, "capture['a b']", "an identifier"),
        ({"a": 5}, "capture['a']", "not 5"),
        ({"a": "arg.x"}, "capture['a']", "say expr('arg.x')"),
        ({"a": pid == 1}, "capture['a']", "give it to where="),
        ({"a": arg}, "capture['a']", "arg alone"),
        (spile.Event, "capture", "Event declares no field"),
        (int, "capture", "int declares no field"),
        (_annotated(), "capture['pid']", "has a type but no expression: say pid = arg.pid"),
        (_conditional(), "capture['big']", "give it to where="),
        (type("Bad", (spile.Event,), {"items": arg.items}), "capture['items']", "would hide what every event has"),
    ],
)
def test_what_is_refused(capture: Any, path: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        collect(capture)
    assert message in str(raised.value)
    assert raised.value.path == path


def test_default_names() -> None:
    assert default_name(string(arg.filename, 64)) == "filename"
    assert default_name(arg[3][4]) == "arg3_4"
    with pytest.raises(SpecError, match="has no name by itself"):
        default_name(-pid)
