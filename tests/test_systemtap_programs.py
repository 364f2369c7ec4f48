"""Which programs' stacks SystemTap is told to walk: those that are named, and the one that is traced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import spile
from spile import ustack
from spile.systemtap import StapOptions
from spile.systemtap.programs import programs

PYTHON = os.path.realpath(sys.executable)


def test_the_traced_process_is_one_by_itself() -> None:
    assert programs(StapOptions(), os.getpid(), None) == (PYTHON,)
    assert programs(StapOptions(unwind=["/bin/ls", PYTHON]), os.getpid(), None) == ("/bin/ls", PYTHON)


def test_a_process_that_has_gone_has_none() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    assert programs(StapOptions(), child.pid, None) is None


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (f"#!{sys.executable} -S", PYTHON),
        ("#!/usr/bin/env python3", None),
        ("#!", None),
        ("#!/nowhere/at/all", None),
        ("no program", None),
    ],
)
def test_a_script_s_program_is_its_interpreter(tmp_path: Path, first: str, expected: str | None) -> None:
    script = tmp_path / "script"
    script.write_text(f"{first}\n")
    found = programs(StapOptions(), 1, str(script))
    if "env" in first:
        assert found is not None and Path(found[0]).name.startswith("python3")
    else:
        assert found == (None if expected is None else (expected,))


def test_a_module_has_its_own_and_nobody_names_any() -> None:
    assert programs(StapOptions(module="/a.ko"), None, None) == ()
    assert programs(StapOptions(), None, None) is None
    assert programs(StapOptions(), None, "/nowhere") is None


def _session(**target: object) -> spile.Session:
    session = spile.Session(engine="systemtap", **target)  # type: ignore[arg-type]
    session.function("vfs_read", capture={"stack": ustack})
    return session


@pytest.mark.parametrize("target", [{"pid": os.getpid()}, {"command": [sys.executable, "-c", ""]}])
def test_stap_is_told_the_traced_program_and_its_libraries(target: dict[str, object]) -> None:
    words = _session(**target).command_line()
    assert words[words.index("-d") + 1] == PYTHON and "--ldd" in words


def test_what_walks_no_user_stack_needs_no_program() -> None:
    session = spile.Session(engine="systemtap", command=["true"])
    session.function("vfs_read", capture={"stack": spile.kstack})
    assert not {"-d", "--ldd"} & set(session.command_line())


def test_system_wide_nobody_knows_which() -> None:
    with pytest.raises(spile.Unsupported, match="pid= or command="):
        _session().script()
