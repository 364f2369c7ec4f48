"""A session with a command, by stap itself in the guest: nobody names the program whose stacks are walked.

stap finds the module compiled; that, and parsing, still takes it its time there.
"""

from __future__ import annotations

import os

import pytest

import spile
from lab.prepared import Preparation, Prepared
from spile import ustack
from spile.systemtap import StapOptions

pytestmark = [pytest.mark.guest(kernels=("6.1",)), pytest.mark.slow]

PROGRAM = os.path.realpath("/usr/bin/python3")
READS = 40
WORKLOAD = f"import os\nzeros = os.open('/dev/zero', 0)\nfor _ in range({READS}): os.read(zeros, 1)"


def _declare() -> tuple[spile.Session, spile.Table[spile.Stack, int]]:
    # Without the kernel's debugging information, which would take stap minutes to read there.
    options = StapOptions(dwarf=False)
    session = spile.Session(
        engine="systemtap", systemtap=options, command=[PROGRAM, "-S", "-c", WORKLOAD], interval=0.5
    )
    return session, session.function("vfs_read", name="reads").count(by=ustack)


def prepare(lab: Preparation) -> None:
    """On the host: what the guest's stap finds compiled, by the same options but for those of one run."""
    session, _ = _declare()
    words = session.command_line()
    options = [word for word in words[1:-1] if word not in ("-v", "--color=never")]
    for name in ("-G", "-x"):
        at = options.index(name)
        del options[at : at + 2]
    lab.stap(session.script(), *options)


@pytest.mark.timeout(600)
def test_the_commands_own_stacks_are_walked(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in prepared.stap_variables.items():
        monkeypatch.setenv(name, value)
    session, counted = _declare()
    with session:
        session.wait(60)
    skipped = session.losses.beyond["skipped_hits"]
    stack, _ = counted.top(1)[0]
    addresses = {len(each) for each in counted}
    assert sum(counted.values()) >= READS - skipped, session.losses
    # Its names have gone with it; where it was is known all the same, and that it was walked to its start.
    assert stack.space == "user" and stack.pid > 0 and max(addresses) > 10, addresses
