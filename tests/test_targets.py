"""Targets: spellings, patterns, names, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from spile.errors import ProbeNotFound, SpecError, Unsupported
from spile.spec import Function, FunctionReturn, Profile, RawTracepoint, Target, Tracepoint
from spile.targets import default_name, is_pattern, left_out, parse_probe, resolved, targets_of

SWITCH = Tracepoint("sched", "sched_switch")


@pytest.mark.parametrize(
    ("kind", "target", "targets"),
    [
        ("tracepoint", "sched:sched_switch", (SWITCH,)),
        ("tracepoint", "tracepoint:sched:sched_switch", (SWITCH,)),
        ("tracepoint", ["sched:sched_switch", "sched:sched_switch"], (SWITCH,)),
        ("tracepoint", ("irq:a", "irq:b"), (Tracepoint("irq", "a"), Tracepoint("irq", "b"))),
        ("tracepoint", "sched:sched_wak*", (Tracepoint("sched", "sched_wak*"),)),
        ("raw_tracepoint", "sched_switch", (RawTracepoint("sched_switch"),)),
        ("raw_tracepoint", "raw_tracepoint:sched_switch", (RawTracepoint("sched_switch"),)),
        ("profile", 99, (Profile(99),)),
        ("function", "vfs_read", (Function("vfs_read"),)),
        ("function", ["vfs_read", "function:vfs_read"], (Function("vfs_read"),)),
        ("function", "overlay:ovl_open", (Function("overlay:ovl_open"),)),
        ("function", "vfs_[a-r]*", (Function("vfs_[a-r]*"),)),
        ("function_return", "foo.constprop.0", (FunctionReturn("foo.constprop.0"),)),
    ],
)
def test_targets(kind: str, target: Any, targets: tuple[Target, ...]) -> None:
    assert targets_of(kind, target) == targets


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        ("tracepoint", "sched_switch", "has no category"),
        ("tracepoint", 5, "not 5"),
        ("tracepoint", [], "the list is empty"),
        ("tracepoint", [None], "not None"),
        ("tracepoint", "sched:", "is no name"),
        ("tracepoint", ":sched_switch", "is no name"),
        ("tracepoint", "sched:sched:switch", "is no name"),
        ("tracepoint", "sched:sched switch", "is no name"),
        ("tracepoint", "../x:y", "is no name"),
        ("tracepoint", "sched:a\0", "is no name"),
        ("raw_tracepoint", "sched:sched_switch", "say 'sched_switch'"),
        ("raw_tracepoint", "", "is no name"),
        ("profile", 0, "1 … 100000, not 0"),
        ("profile", -1, "not -1"),
        ("profile", 10**6, "not 1000000"),
        ("profile", True, "not True"),
        ("profile", 1.5, "not 1.5"),
        ("profile", "99", "not the string '99'"),
        ("uprob", "x", "did you mean uprobe"),
    ],
)
def test_what_can_not_be_a_target(kind: str, target: Any, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        targets_of(kind, target)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("tracepoint:sched:sched_switch", ("tracepoint", "sched:sched_switch")),
        ("sched:sched_switch", ("tracepoint", "sched:sched_switch")),
        (" syscalls:sys_enter_* ", ("tracepoint", "syscalls:sys_enter_*")),
        ("raw_tracepoint:sched_switch", ("raw_tracepoint", "sched_switch")),
        ("profile:999", ("profile", 999)),
        ("profile:hz:999", ("profile", 999)),
        ("profile", ("profile", 99)),
        ("function:vfs_read", ("function", "vfs_read")),
        ("function_return: vfs_*", ("function_return", "vfs_*")),
    ],
)
def test_spellings(text: str, parsed: tuple[str, Any]) -> None:
    assert parse_probe(text) == parsed
    assert targets_of(*parsed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no kind of probe"),
        ("sched_switch", "raw_tracepoint:sched_switch"),
        ("profil", "did you mean profile"),
        ("profile:", "not the string ''"),
        ("profile:x", "not the string 'x'"),
        ("profile:0", "not 0"),
        ("profile:9999999999999999999999", "not the string"),
        ("tracepont:sched:sched_switch", "did you mean tracepoint?"),
        ("a:b:c:d", "what can be probed now: tracepoint, raw_tracepoint, profile"),
        ("t:sched:sched_switch", "did you mean tracepoint:sched:sched_switch?"),
        ("kprobe:vfs_read", "no kind of probe called 'kprobe'; did you mean function:vfs_read?"),
        ("k:vfs_read", "did you mean function:vfs_read?"),
        ("kretprobe:vfs_read", "did you mean function_return:vfs_read?"),
        ("fexit:vfs_read", "did you mean function_return:vfs_read?"),
        ("kprobe", "did you mean function?"),
        ("function:", "is no function's name"),
        ("function:a b", "is no function's name"),
        ("span:x", "session.span(start, end)"),
        ("span", "session.span(start, end)"),
        ("raw_tracepoint:sched:sched_switch", "has no category"),
        ("tracepoint:sched_switch", "has no category"),
        (5, "not 5"),
    ],
)
def test_spellings_that_are_wrong(text: Any, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse_probe(text)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("syscall:openat", "take tracepoint:syscalls:sys_enter_<name>"),
        ("syscall_return:openat", "take tracepoint:syscalls:sys_exit_<name>"),
        ("uprobe:/bin/sh:main", "functions of programs"),
        ("usdt:/bin/sh:x:y", "static probes"),
        ("hardware:cache-misses:1", "hardware counters"),
    ],
)
def test_what_comes_later_names_what_is_there(text: str, message: str) -> None:
    with pytest.raises(Unsupported) as raised:
        parse_probe(text)
    assert message in str(raised.value)
    assert "what can be probed now: tracepoint, raw_tracepoint, profile" in str(raised.value)


def test_a_short_category_is_no_abbreviated_kind() -> None:
    with pytest.raises(SpecError, match="no category"):
        parse_probe("raw_tracepoint:a:b")
    assert parse_probe("irq:x") == ("tracepoint", "irq:x")


def test_patterns_are_resolved_by_who_knows() -> None:
    asked: list[tuple[str, str]] = []

    def resolve(kind: str, pattern: str) -> list[str]:
        asked.append((kind, pattern))
        return ["sched:sched_wakeup", "sched:sched_switch"] if kind == "tracepoint" else []

    targets = targets_of("tracepoint", ["sched:sched_switch", "sched:sched_*"])
    assert [is_pattern(target) for target in targets] == [False, True]
    assert resolved(targets, resolve) == (SWITCH, Tracepoint("sched", "sched_wakeup"))
    assert asked == [("tracepoint", "sched:sched_*")]
    with pytest.raises(ProbeNotFound, match=r"no raw_tracepoint matches 'x\*'"):
        resolved(targets_of("raw_tracepoint", "x*"), resolve)
    assert resolved((Profile(9),), resolve) == (Profile(9),)


def test_every_tracepoint_is_there_once() -> None:
    listed = ["raw_syscalls:sys_enter", "sched:sched_switch", "syscalls:sys_enter_read"]
    everything = targets_of("tracepoint", "*")
    assert everything == targets_of("tracepoint", "*:*") == (Tracepoint("*", "*"),)
    assert parse_probe("tracepoint:*") == ("tracepoint", "*:*")
    assert [target.spelling for target in resolved(everything, lambda *_: listed)] == [
        "tracepoint:raw_syscalls:sys_enter",
        "tracepoint:sched:sched_switch",
    ]
    assert left_out(everything) and not left_out((SWITCH,))
    # Said beside it, or where nothing else tells of system calls, they are there.
    both = targets_of("tracepoint", ["*", "syscalls:*"])
    assert len(resolved(both, lambda _, pattern: listed if pattern == "*:*" else listed[2:])) == 3
    assert len(resolved(everything, lambda *_: listed[1:])) == 2
    assert resolved(targets_of("tracepoint", "*:sys_*"), lambda *_: listed[2:]) == (
        Tracepoint("syscalls", "sys_enter_read"),
    )


@pytest.mark.parametrize(
    ("kind", "target", "name"),
    [
        ("tracepoint", "sched:sched_switch", "sched_switch"),
        ("tracepoint", ["sched:sched_wakeup", "sched:sched_wakeup_new"], "sched_wakeup"),
        ("tracepoint", "sched:sched_wakeup*", "sched_wakeup"),
        ("tracepoint", "syscalls:sys_*_open?at", "sys_open_at"),
        ("tracepoint", "sched:*", "sched"),
        ("tracepoint", "*:*", "tracepoint"),
        ("tracepoint", "x:[ab]cd", "cd"),
        ("tracepoint", "x:9p", "_9p"),
        ("raw_tracepoint", "sched_switch", "sched_switch"),
        ("profile", 99, "profile"),
    ],
)
def test_default_names(kind: str, target: Any, name: str) -> None:
    assert default_name(targets_of(kind, target)) == name
