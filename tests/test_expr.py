"""Expressions: the nodes that operators make, and the traps, each with its remedy."""

from __future__ import annotations

import copy
import enum
import pickle
import signal
from collections.abc import Callable
from typing import Any

import pytest

from spile.errors import SpecError
from spile.expr import (
    arg,
    between,
    comm,
    cpu,
    isin,
    kstack,
    ms,
    pid,
    probe_name,
    s,
    startswith,
    string,
    task,
    tid,
    us,
    ustack,
    utime,
)
from spile.expr.binary import Binary
from spile.expr.compare import Compare
from spile.expr.context import Context
from spile.expr.field import Field
from spile.expr.integer import Integer
from spile.expr.is_in import IsIn
from spile.expr.logic import And, Not, Or
from spile.expr.node import MAX_DEPTH, Kind
from spile.expr.operand import node_of
from spile.expr.read import read_condition, read_value
from spile.expr.stack import StackTrace
from spile.expr.starts_with import StartsWith
from spile.expr.string import String
from spile.expr.string_in import StringIn
from spile.expr.unary import Unary
from spile.expr.wrapper import Condition, Expr
from spile.reader import Reader

PID, COMM, COUNT = Context("pid"), Context("comm"), Field(("count",))


@pytest.mark.parametrize(
    ("made", "node"),
    [
        (arg.count, COUNT),
        (arg["from"], Field(("from",))),
        (arg[0], Field((0,))),
        (arg.file.f_inode["i_ino"], Field(("file", "f_inode", "i_ino"))),
        (arg.args[2].x, Field(("args", 2, "x"))),
        (arg._refcount, Field(("_refcount",))),
        (arg.__count, Field(("__count",))),
        (kstack, StackTrace("kernel")),
        (ustack[:8], StackTrace("user", 8)),
        (kstack[:8][:16], StackTrace("kernel", 8)),
        (kstack[:], StackTrace("kernel")),
        (pid + 1, Binary("+", PID, Integer(1))),
        (1 + pid, Binary("+", Integer(1), PID)),
        (pid - 1, Binary("-", PID, Integer(1))),
        (1 - pid, Binary("-", Integer(1), PID)),
        (pid * 2, Binary("*", PID, Integer(2))),
        (2 * pid, Binary("*", Integer(2), PID)),
        (utime // ms, Binary("//", Context("utime"), Integer(1_000_000))),
        (7 // pid, Binary("//", Integer(7), PID)),
        (pid % 2, Binary("%", PID, Integer(2))),
        (7 % pid, Binary("%", Integer(7), PID)),
        (pid << 1, Binary("<<", PID, Integer(1))),
        (1 << cpu, Binary("<<", Integer(1), Context("cpu"))),
        (pid >> 1, Binary(">>", PID, Integer(1))),
        (1 >> pid, Binary(">>", Integer(1), PID)),
        (pid & 0xFF, Binary("&", PID, Integer(255))),
        (0xFF & pid, Binary("&", Integer(255), PID)),
        (pid | 1, Binary("|", PID, Integer(1))),
        (1 | pid, Binary("|", Integer(1), PID)),
        (pid ^ 1, Binary("^", PID, Integer(1))),
        (1 ^ pid, Binary("^", Integer(1), PID)),
        (-pid, Unary("-", PID)),
        (~arg.count, Unary("~", COUNT)),
        (string(arg.filename), String(Field(("filename",)), 4096)),
        (string(arg.p + 8, 64), String(Binary("+", Field(("p",)), Integer(8)), 64)),
    ],
)
def test_values(made: Expr[Any], node: object) -> None:
    assert node_of(made) == node


@pytest.mark.parametrize(
    ("made", "node"),
    [
        (pid == 1, Compare("==", PID, Integer(1))),
        (pid != 1, Compare("!=", PID, Integer(1))),
        (pid < 1, Compare("<", PID, Integer(1))),
        (pid <= 1, Compare("<=", PID, Integer(1))),
        (pid > 1, Compare(">", PID, Integer(1))),
        (pid >= 1, Compare(">=", PID, Integer(1))),
        (1 < pid, Compare(">", PID, Integer(1))),
        (1 == pid, Compare("==", PID, Integer(1))),
        (pid < arg.count, Compare("<", PID, COUNT)),
        (arg.count < pid, Compare("<", COUNT, PID)),
        (pid == arg.count, Compare("==", PID, COUNT)),
        (arg.flag == True, Compare("==", Field(("flag",)), Integer(1))),
        (arg.sig == signal.SIGKILL, Compare("==", Field(("sig",)), Integer(9))),
        (comm == "cc1", StringIn(COMM, (b"cc1",))),
        ("cc1" == comm, StringIn(COMM, (b"cc1",))),
        (comm != "cc1", Not(StringIn(COMM, (b"cc1",)))),
        (comm == "gr\udcfcn", StringIn(COMM, (b"gr\xfcn",))),
        (comm == "grün", StringIn(COMM, ("grün".encode(),))),
        (arg.name == "eth0", StringIn(Field(("name",)), (b"eth0",))),
        (string(arg.p) == "/etc", StringIn(String(Field(("p",))), (b"/etc",))),
        (comm == "123456789012345", StringIn(COMM, (b"123456789012345",))),
        (isin(pid, 1, 2, 1), IsIn(PID, (1, 2))),
        (
            isin(arg.newstate, "TCP_SYN_SENT", "TCP_CLOSE"),
            StringIn(Field(("newstate",)), (b"TCP_SYN_SENT", b"TCP_CLOSE")),
        ),
        (between(pid, 1, 9), And((Compare(">=", PID, Integer(1)), Compare("<=", PID, Integer(9))))),
        (between(pid, arg.a, arg.b), And((Compare(">=", PID, Field(("a",))), Compare("<=", PID, Field(("b",)))))),
        (startswith(comm, "kworker/"), StartsWith(COMM, b"kworker/")),
        (~(pid == 1), Not(Compare("==", PID, Integer(1)))),
        ((pid == 1) & (pid < 1) & (pid > 1), And(tuple(Compare(o, PID, Integer(1)) for o in ("==", "<", ">")))),
        ((pid == 1) | ((pid < 1) | (pid > 1)), Or(tuple(Compare(o, PID, Integer(1)) for o in ("==", "<", ">")))),
    ],
)
def test_conditions(made: Condition, node: object) -> None:
    assert node_of(made) == node


def test_units() -> None:
    assert (us, ms, s) == (1_000, 1_000_000, 1_000_000_000)


@pytest.mark.parametrize("value", [-(1 << 63), -1, 0, (1 << 63), (1 << 64) - 1])
def test_literals_have_64_bits(value: int) -> None:
    assert node_of(pid == value) == Compare("==", PID, Integer(value))


Trap = Callable[[], object]


def _both(left: Any, right: Any) -> object:
    return left and right


def _either(left: Any, right: Any) -> object:
    return left or right


TRAPS: list[tuple[str, Trap, str]] = [
    ("and", lambda: _both(pid == 1, cpu == 2), "& | ~"),
    ("or", lambda: _either(pid == 1, cpu == 2), "& | ~"),
    ("not", lambda: not (pid == 1), "& | ~"),
    ("if", lambda: 1 if pid == 1 else 2, "where="),
    ("chained", lambda: 1 < pid < 5, "between"),
    ("in a list", lambda: pid in [1, 2], "isin"),
    ("max", lambda: max(pid, arg.x), "no truth"),
    ("bool", lambda: bool(pid), "no truth"),
    ("bool of a path", lambda: bool(arg.x), "no truth"),
    ("in a string", lambda: "x" in comm, "startswith(x, prefix)"),  # type: ignore[operator]
    ("in a path", lambda: 1 in arg.x, "isin(x"),
    ("in a condition", lambda: 1 in (pid == 1), "isin(x"),  # type: ignore[operator]
    ("a method", lambda: arg.name.startswith("x"), "arg.name.startswith is a field path, not a method"),  # type: ignore[operator]
    ("a call", lambda: arg.count(), "arg.count is a field path, not a method"),  # type: ignore[operator]
    ("a capture called", lambda: pid(), "leave the parentheses out"),  # type: ignore[operator]
    ("assignment", lambda: setattr(arg, "x", 1), "never writes"),
    ("deletion", lambda: delattr(arg, "x"), "can't be changed"),
    ("length", lambda: len(arg.x), "no length"),  # type: ignore[arg-type]
    ("int", lambda: int(arg.x), "no number"),  # type: ignore[call-overload]
    ("index", lambda: [1][arg.x], "no number"),  # type: ignore[call-overload]
    ("round", lambda: round(utime), "no number"),  # type: ignore[call-overload]
    ("/", lambda: utime / 2, "utime // 2"),  # type: ignore[operator]
    ("reflected /", lambda: 2 / utime, "2 // utime"),  # type: ignore[operator]
    ("**", lambda: pid**2, "x * x"),  # type: ignore[operator]
    ("reflected **", lambda: 2**pid, "1 << x"),  # type: ignore[operator]
    ("divmod", lambda: divmod(pid, 2), "x // y and x % y"),  # type: ignore[operator]
    ("@", lambda: pid @ pid, "x * y"),  # type: ignore[operator]
    ("+x", lambda: +pid, "leave the sign out"),  # type: ignore[operator]
    ("abs", lambda: abs(pid), "leave the sign out"),  # type: ignore[arg-type]
    ("arg alone", lambda: arg == 1, "name a field or an argument"),
    ("arg alone in arithmetic", lambda: arg + 1, "name a field or an argument"),
    ("a negative position", lambda: arg[-1], "positions count from 0"),
    ("a huge position", lambda: arg[1 << 32], "positions count from 0"),
    ("a slice of arg", lambda: arg[:2], "a field's name or a position"),  # type: ignore[index]
    ("an empty field", lambda: arg[""], "a field has a name"),
    ("a stack's frame", lambda: kstack[0], "cut from its outer end"),  # type: ignore[index]
    ("a stack's inside", lambda: kstack[2:4], "cut from its outer end"),
    ("no frames", lambda: kstack[:0], "within 1 … 127"),
    ("too many frames", lambda: kstack[:128], "within 1 … 127"),
    ("frames from the end", lambda: kstack[:-1], "within 1 … 127"),
    # Conditions are no values.
    ("precedence", lambda: arg.count > 4096 & (comm == "x"), "put each comparison in parentheses"),  # type: ignore[operator]
    ("a value & a condition", lambda: arg.flags & (pid == 1), "put each comparison in parentheses"),  # type: ignore[operator]
    ("a condition & a value", lambda: (pid == 1) & arg.flags, "arg.flags != 0"),  # type: ignore[operator]
    ("a condition & an int", lambda: (pid == 1) & 1, "put each comparison in parentheses"),  # type: ignore[operator]
    ("a condition | a bool", lambda: (pid == 1) | True, "Python has compared"),  # type: ignore[operator]
    ("conditions compared", lambda: (pid == 1) == (cpu == 1), "not a value"),
    ("a condition compared", lambda: (pid == 1) < 1, "not a value"),  # type: ignore[operator]
    ("a condition added", lambda: (pid == 1) + 1, "not a value"),  # type: ignore[operator]
    ("a condition called", lambda: (pid == 1)(), "not a function"),  # type: ignore[operator]
    ("conditions xored", lambda: (pid == 1) ^ (cpu == 1), "not a value"),  # type: ignore[operator]
    # Types.
    ("a number with a str", lambda: pid == "1", "pid is an integer"),  # type: ignore[operator]
    ("a str with a number", lambda: comm == 1, "wants a string literal"),  # type: ignore[operator]
    ("a str with bytes", lambda: comm == b"x", "'x'"),  # type: ignore[operator]
    ("a str ordered", lambda: comm < "x", "is a string"),  # type: ignore[operator]
    ("strings compared", lambda: comm == arg.comm, "compares with a literal"),  # type: ignore[operator]
    ("a sum with a str", lambda: pid + "1", "is a string"),  # type: ignore[operator]
    ("comm in a sum", lambda: comm + 1, "comm is a string"),  # type: ignore[misc]
    ("a pointer with a str", lambda: (arg.p + 1) == "x", "string(arg.p + 1)"),  # type: ignore[operator]
    ("a float", lambda: utime > 1.5, "nanoseconds"),  # type: ignore[operator]
    ("None", lambda: pid == None, "not None"),  # type: ignore[operator]  # noqa: E711
    ("a list", lambda: pid == [1], "not a list"),  # type: ignore[operator]
    ("a stack compared", lambda: kstack == 1, "kstack is a stack"),  # type: ignore[operator]
    ("a stack with a str", lambda: kstack == "x", "kstack is a stack"),  # type: ignore[operator]
    ("a stack in a sum", lambda: kstack + 1, "kstack is a stack"),  # type: ignore[misc]
    ("probe_name decides", lambda: probe_name == "x", "decides nothing"),
    ("a long comm", lambda: comm == "1234567890123456", "'123456789012345'"),
    ("a long comm in isin", lambda: isin(comm, "a", "1234567890123456"), "16 bytes"),
    ("a long comm prefix", lambda: startswith(comm, "1234567890123456"), "16 bytes"),
    ("NUL", lambda: comm == "a\0", "NUL"),
    ("a lone surrogate", lambda: comm == "\ud800", "stands for no byte"),
    ("too big", lambda: pid == 1 << 64, "does not fit 64 bits"),
    ("too small", lambda: pid == -(1 << 63) - 1, "does not fit 64 bits"),
    ("far too big", lambda: pid == 1 << 20_000, "of 20001 bits"),
    ("too big in a sum", lambda: pid + (1 << 64), "does not fit 64 bits"),
    # Functions.
    ("isin of nothing", lambda: isin(pid), "at least one"),
    ("isin of a list", lambda: isin(pid, [1, 2]), "isin(pid, *values)"),  # type: ignore[call-overload]
    ("isin mixed", lambda: isin(arg.x, 1, "a"), "all of one type"),  # type: ignore[call-overload]
    ("isin mixed the other way", lambda: isin(arg.x, "a", 1), "wants a string literal"),  # type: ignore[call-overload]
    ("isin of captures", lambda: isin(pid, tid), "join comparisons by |"),  # type: ignore[call-overload]
    ("isin str of a number", lambda: isin(pid, "a"), "pid is an integer"),  # type: ignore[call-overload]
    ("isin int of a string", lambda: isin(comm, 1), "wants a string literal"),  # type: ignore[call-overload]
    ("isin of a stack", lambda: isin(kstack, 1), "kstack is a stack"),  # type: ignore[call-overload]
    ("isin of a literal", lambda: isin(1, 1), "not 1"),  # type: ignore[call-overload]
    ("between swapped", lambda: between(pid, 9, 1), "swap the bounds"),
    ("between of a str", lambda: between(comm, 1, 2), "comm is a string"),  # type: ignore[arg-type]
    ("startswith nothing", lambda: startswith(comm, ""), "every string"),
    ("startswith of a number", lambda: startswith(pid, "x"), "pid is an integer"),  # type: ignore[arg-type]
    ("startswith of a condition", lambda: startswith(pid == 1, "x"), "is a condition"),  # type: ignore[arg-type]
    ("string of a string", lambda: string(comm), "comm is a string"),  # type: ignore[arg-type]
    ("string of a literal", lambda: string(5), "not 5"),  # type: ignore[arg-type]
    ("string without room", lambda: string(arg.p, 0), "within 1 … 16384"),
    ("a huge string", lambda: string(arg.p, 16385), "within 1 … 16384"),
]


@pytest.mark.parametrize(("trap", "remedy"), [trap[1:] for trap in TRAPS], ids=[trap[0] for trap in TRAPS])
def test_traps_fail_loudly_and_name_the_remedy(trap: Trap, remedy: str) -> None:
    with pytest.raises(SpecError) as raised:
        trap()
    assert remedy in str(raised.value)


def test_only_arg_has_fields() -> None:
    with pytest.raises(AttributeError, match=r"only arg has fields, such as arg.count"):
        pid.count  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"say startswith\(comm, …\)"):
        comm.startswith("x")  # type: ignore[attr-defined]
    assert not hasattr(kstack, "_repr_pretty_")


@pytest.mark.parametrize("wrapper", [pid, arg, arg.x, kstack, pid == 1])
def test_wrappers_are_neither_hashable_nor_iterable(wrapper: Any) -> None:
    for use in (hash, iter, list, lambda value: {value: 1}, lambda value: {value}):
        with pytest.raises(TypeError):
            use(wrapper)


def test_nodes_are_hashable_and_compare_by_structure() -> None:
    assert node_of(arg.count > 4096) == node_of(arg.count > 4096)
    assert hash(node_of(arg.count > 4096)) == hash(node_of(arg.count > 4096))
    assert node_of(arg.count > 4096) != node_of(arg.count > 4097)
    assert len({node_of(arg.a), node_of(arg.a), node_of(arg.b)}) == 2


def test_kinds() -> None:
    kinds = [(arg.x, Kind.FIELD), (pid, Kind.INT), (comm, Kind.STRING), (kstack, Kind.STACK), (pid + 1, Kind.INT)]
    for wrapper, kind in [*kinds, (string(arg.x), Kind.STRING), (-pid, Kind.INT), (task, Kind.INT)]:
        node = node_of(wrapper)
        assert node is not None
        assert node.kind is kind  # type: ignore[attr-defined]


def test_a_tree_is_never_deeper_than_json_allows() -> None:
    deep: Any = pid
    for _ in range(MAX_DEPTH - 2):
        deep = deep + 1
    read_condition(Reader(_json(deep == 1)))
    with pytest.raises(SpecError, match="nested more than"):
        (deep + 1) == 1
    wide = pid == 0
    for number in range(1000):
        wide = wide | (pid == number)
    assert len(node_of(wide).terms) == 1001  # type: ignore[union-attr]


def _json(wrapper: Any) -> dict[str, Any]:
    node = node_of(wrapper)
    assert node is not None
    return node.to_json()


@pytest.mark.parametrize(
    ("wrapper", "form"),
    [
        (arg.a["b"][3], {"op": "field", "path": ["a", "b", 3]}),
        (comm, {"op": "context", "name": "comm"}),
        (kstack, {"op": "stack", "space": "kernel", "depth": None}),
        (ustack[:5], {"op": "stack", "space": "user", "depth": 5}),
        (-pid, {"op": "unary", "operator": "-", "operand": {"op": "context", "name": "pid"}}),
        (string(arg.p), {"op": "string", "pointer": {"op": "field", "path": ["p"]}, "limit": 4096}),
        (
            pid // 2,
            {
                "op": "binary",
                "operator": "//",
                "left": {"op": "context", "name": "pid"},
                "right": {"op": "int", "value": 2},
            },
        ),
    ],
)
def test_json_of_values(wrapper: Any, form: dict[str, Any]) -> None:
    assert _json(wrapper) == form
    assert read_value(Reader(form)) == node_of(wrapper)


@pytest.mark.parametrize(
    ("wrapper", "form"),
    [
        (comm == "ab", {"op": "string_in", "value": {"op": "context", "name": "comm"}, "choices": [[97, 98]]}),
        (startswith(comm, "a"), {"op": "starts_with", "value": {"op": "context", "name": "comm"}, "prefix": [97]}),
        (isin(pid, 1, 2), {"op": "is_in", "value": {"op": "context", "name": "pid"}, "choices": [1, 2]}),
        (
            (pid == 1) & ~(pid < 2),
            {
                "op": "and",
                "terms": [
                    {
                        "op": "compare",
                        "operator": "==",
                        "left": {"op": "context", "name": "pid"},
                        "right": {"op": "int", "value": 1},
                    },
                    {
                        "op": "not",
                        "term": {
                            "op": "compare",
                            "operator": "<",
                            "left": {"op": "context", "name": "pid"},
                            "right": {"op": "int", "value": 2},
                        },
                    },
                ],
            },
        ),
    ],
)
def test_json_of_conditions(wrapper: Any, form: dict[str, Any]) -> None:
    assert _json(wrapper) == form
    assert read_condition(Reader(form)) == node_of(wrapper)


@pytest.mark.parametrize(
    ("wrapper", "text"),
    [
        (arg["from"], "arg['from']"),
        (arg.a[0].b, "arg.a[0].b"),
        (arg["a b"], "arg['a b']"),
        ((pid + 1) * -2, "(pid + 1) * (-2)"),
        (~(arg.x & 3), "~(arg.x & 3)"),
        ((pid == 1) & ~(comm == "a'b"), '(pid == 1) & ~(comm == "a\'b")'),
        (isin(comm, "a", "b") | startswith(comm, "ä"), "isin(comm, 'a', 'b') | startswith(comm, '\\xe4')"),
        (kstack[:3], "kstack[:3]"),
    ],
)
def test_repr_is_python(wrapper: Any, text: str) -> None:
    assert repr(wrapper) == text


@pytest.mark.parametrize("wrapper", [pid, arg.a[0], kstack[:8], (pid == 1) & (comm == "x")])
def test_copies(wrapper: Any) -> None:
    assert copy.copy(wrapper) is wrapper
    assert copy.deepcopy(wrapper) is wrapper
    again = pickle.loads(pickle.dumps(wrapper))
    assert type(again) is type(wrapper)
    assert node_of(again) == node_of(wrapper)


def test_python_itself_sees_its_own_attributes_of_a_path() -> None:
    assert arg.x.__class__.__name__ == "Path"
    assert not hasattr(arg.x, "__length_hint__")
    assert callable(arg.x) and callable(pid)


class _Color(enum.IntEnum):
    RED = 3


def test_enums_are_integers_and_their_nodes_hold_plain_ones() -> None:
    node = node_of(arg.color == _Color.RED)
    assert isinstance(node, Compare)
    assert isinstance(node.right, Integer)
    assert type(node.right.value) is int


def test_a_typed_field_of_an_event() -> None:
    class Open(dict[str, Any]):
        pid = pid
        thread = tid
        first = arg[0]
        alias = pid

    event = Open(pid=1, thread=2, first="x", alias=1)
    assert (event.pid, event.thread, event.first, event.alias) == (1, 2, "x", 1)
    assert Open.pid is pid
