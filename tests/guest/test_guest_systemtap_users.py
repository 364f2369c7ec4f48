"""User stacks on the SystemTap engine, in a real process: one of Python's, whose code has no frame pointers.

In: a module of the very script that the session here makes, with the unwind data of Python and its libraries. Out: that
a stack begins where the embedded engine's does, and goes on to where the process began.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

import spile
from lab.prepared import Preparation, Prepared
from spile import arg, startswith, string, ustack
from spile.systemtap import StapOptions
from spile.systemtap.engine import made, needs

pytestmark = [pytest.mark.guest(kernels=("6.1",))]

PROGRAM = os.path.realpath("/usr/bin/python3")
READS, SIZE = 50, 4321
INTERVAL = 0.2
#: Reads once it is told to, and stays while its stacks get their names.
WORKLOAD = f"""
import os, sys
zeros = os.open("/dev/zero", 0)
sys.stdin.readline()
for _ in range({READS}): os.read(zeros, {SIZE})
print("done", flush=True)
sys.stdin.read()
"""


@dataclass
class Traced:
    """What a session had of the workload."""

    process: int
    stacks: list[spile.Stack]
    names: list[str]
    counts: dict[Any, int]
    session: spile.Session


def _declare(engine: str, options: StapOptions | None = None) -> tuple[spile.Session, spile.Table[Any, int]]:
    session = spile.Session(engine=engine, systemtap=options, interval=INTERVAL)
    name = string(arg.file.f_path.dentry.d_name.name, 16)
    where = (arg.count == SIZE) & (name == "zero") & startswith(spile.comm, "python")
    session.function("vfs_read", capture={"stack": ustack}, where=where, name="reads")
    return session, session.function("vfs_read", where=where, name="counted").count(by=ustack)


def prepare(lab: Preparation) -> None:
    """On the host: the module."""
    options = StapOptions(unwind=(PROGRAM,))
    script = made(_declare("systemtap", options)[0].spec, options, INTERVAL)
    wanted = needs(script, options)
    unwound = [word for name in wanted.unwind for word in ("-d", name)] + ["--ldd"] * wanted.ldd
    defined = [f"-D{key}={value}" for key, value in script.definitions]
    lab.module(script.text, "spile_users", *defined, *unwound, "--suppress-handler-errors")


def _traced(engine: str, options: StapOptions | None) -> Traced:
    session, counted = _declare(engine, options)
    arguments = [PROGRAM, "-S", "-c", WORKLOAD]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        with session:
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "done\n"
            session.wait(3 * INTERVAL)
            session.stop()
            stacks = [event["stack"] for event in session]
        names = [str(frame) for frame in stacks[0]]
        child.stdin.close()
        return Traced(child.pid, stacks, names, dict(counted.items()), session)


@pytest.mark.timeout(400)
def test_a_users_stack_goes_from_the_call_to_the_start(prepared: Prepared) -> None:
    walked = _traced("systemtap", StapOptions(module=prepared.module("spile_users")))
    assert walked.session.losses.lost == walked.session.losses.balance == 0, walked.session.losses
    skipped = walked.session.losses.beyond["skipped_hits"]
    assert READS - skipped <= len(walked.stacks) <= READS
    # Python's interpreter calls otherwise once it knows a loop: the way there differs, its ends don't.
    different = set(walked.stacks)
    assert len(different) < READS // 4
    assert {(stack.space, stack.pid) for stack in different} == {("user", walked.process)}
    assert len({(stack.addresses[0], stack.addresses[-1]) for stack in different}) == 1
    functions = [name.split("+")[0] for name in walked.names]
    assert functions[0].endswith("read") and "_Py_read" in functions[1]
    assert functions.index("Py_RunMain") < functions.index("Py_BytesMain") < functions.index("_start")
    assert set(walked.counts) == different and READS - skipped <= sum(walked.counts.values()) <= READS
    # By frame pointers, which this program has not: how far it comes does not matter, where it begins does.
    pointed = _traced("bpf", None)
    assert pointed.stacks[0].pid == pointed.process
    assert pointed.names[0] == walked.names[0]
