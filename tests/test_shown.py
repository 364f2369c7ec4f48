"""Integers in keys that read as what they stand for, over a native table that counts in Python."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import spile
from spile import SpecError, cgroups, disk, inet, symbol
from spile.expr import arg, cgroup, comm, pid
from spile.expr.operand import node_of
from spile.expr.shown import form_of
from spile.probe import Probe
from spile.shown import Address, ControlGroup, Disk, Inet
from test_table import Native


def shown(by: Any, rows: dict[tuple[Any, ...], int]) -> spile.Table[Any, int]:
    """A table of counts by that key, with these rows."""
    probe: Probe[Any] = Probe(None, "tracepoint", "block:block_rq_issue")
    probe.session = type("Session", (), {"_must_be_declaring": lambda self: None})()
    table = probe.count(by=by)
    table._bind(probe._shown(0, Native(rows)), lambda now: None)  # type: ignore[arg-type]
    return table


def test_the_kernel_gets_the_number() -> None:
    for make, form in ((symbol, Address), (disk, Disk), (inet, Inet)):
        wrapped = make(arg.x)
        assert node_of(wrapped) == node_of(arg.x) and form_of(wrapped) is form
        assert form_of(pickle.loads(pickle.dumps(wrapped))) is form
        assert form_of(wrapped + 1) is None
        with pytest.raises(SpecError, match="is a string"):
            make(comm)  # type: ignore[arg-type]
        with pytest.raises(SpecError, match="takes a capture"):
            make(5)  # type: ignore[arg-type]
    assert form_of(cgroup) is ControlGroup and form_of(pid) is None


def test_keys_are_numbers_that_read_as_names() -> None:
    table = shown((inet(arg.to), pid), {(0x0100007F, 7): 3})
    ((address, number),) = table
    assert (address, number) == (0x0100007F, 7) and type(number) is int
    assert str(address) == "127.0.0.1" == f"{address}" and f"{address:x}" == "100007f"
    assert repr(address) == "<127.0.0.1: 16777343>"
    assert table[(0x0100007F, 7)] == 3 == table[(address, 7)]
    assert table.top(1) == [((0x0100007F, 7), 3)]
    assert pickle.loads(pickle.dumps(table.snapshot())) == {(address, 7): 3}
    assert table.take() == {(address, 7): 3} and len(table) == 0


def test_disks_have_the_names_that_the_system_gives_them() -> None:
    for link in sorted(Path("/sys/dev/block").iterdir())[:3]:
        major, minor = map(int, link.name.split(":"))
        assert str(Disk(major << 20 | minor)) == link.resolve().name
    assert str(Disk(4095 << 20 | 77)) == "4095:77" and Disk(8 << 20 | 1).major == 8


def test_addresses_are_symbols_where_the_kernel_tells() -> None:
    assert str(Address(1)) == "0x1" and Address(1).name is None
    symbols = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    text = [(int(address, 16), name) for address, kind, name, *module in symbols if kind == "T" and not module]
    if not text or not text[0][0]:
        pytest.skip("/proc/kallsyms hides addresses from this user")
    address = next(address for address, name in text if name == "do_sys_openat2" or name == "ksys_read")
    known = {name for at, name in text if at == address}
    assert str(Address(address + 4)).split("+")[0] in known


def test_cgroups_have_their_paths() -> None:
    paths = cgroups.cgroup_paths()
    if not paths:
        pytest.skip("no cgroup2 hierarchy is mounted here")
    ours = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))[3:]
    root = next(number for number, path in paths.items() if path == "/")
    assert str(ControlGroup(root)) == "/" and ControlGroup(1 << 60).name is None
    if ours in paths.values():
        assert str(ControlGroup(cgroups.cgroup_id(ours))) == ours
    assert all(path.startswith("/") for path in paths.values())


def test_values_of_lists_are_shown_too() -> None:
    probe: Probe[Any] = Probe(None, "tracepoint", "block:block_rq_issue")
    probe.session = type("Session", (), {"_must_be_declaring": lambda self: None})()
    cell = probe.top(inet(arg.to), size=2)
    native = Native({})
    native.rows[()] = (3, [(0x0100007F, 2, 0), ("unknown", 1, 0)])  # type: ignore[assignment]
    state = probe._shown(0, native).get(())  # type: ignore[arg-type]
    assert [str(item) for item, *_ in state[1]] == ["127.0.0.1", "unknown"] and state[0] == 3
    assert cell.function.kind == "top"


def test_captures_are_numbers_as_yet() -> None:
    with pytest.raises(SpecError, match=r"are for keys, and events carry numbers: capture arg\.x"):
        Probe(None, "tracepoint", "block:block_rq_issue", capture={"to": inet(arg.x)})
