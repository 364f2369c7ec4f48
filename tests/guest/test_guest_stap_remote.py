"""Sessions on the host whose scripts run in a guest: the real `stap --remote`, compiling here, with a stapsh there.

In: workloads in the guest that know their own numbers. Out: that each hit of theirs arrives here, as an event or in a
table, though stap drops what a script prints at its end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

import spile
from lab.remote import RemoteGuest
from lab.systemtap import PATIENCE, Compiler
from spile import arg, comm, pid
from spile.systemtap import StapOptions

pytestmark = [
    pytest.mark.guest(kernels=("6.1",), beside=True),
    pytest.mark.timeout(600),  # it compiles here
]

READS, SIZE = 300, 4321
INTERVAL = 0.5
WORKLOAD = f"""
import os
print(os.getpid())
with open("/dev/zero", "rb", buffering=0) as zeros:
    for _ in range({READS}): zeros.read({SIZE})
"""


@pytest.fixture
def options(remote_guest: RemoteGuest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StapOptions]:
    """What compiles for the guest's kernel and runs there, with a guest's patience for locks."""
    compiler = Compiler.of(remote_guest.kernel)
    monkeypatch.setenv("SYSTEMTAP_DIR", str(compiler.cache))
    name, _, value = PATIENCE.removeprefix("-D").partition("=")
    yield StapOptions(
        remote=remote_guest.address(),
        kernel=compiler.build,
        runtime=compiler.runtime,
        defines={name: int(value)},
        start_timeout=500,
    )
    assert "stap_" not in remote_guest.run("cat", "/proc/modules"), "a module stayed behind"


def work(guest: RemoteGuest) -> int:
    """Runs the workload there; gives its process id there."""
    return int(guest.run(sys.executable, "-S", "-c", WORKLOAD))


def test_each_hit_arrives_as_an_event_and_in_a_table(remote_guest: RemoteGuest, options: StapOptions) -> None:
    session = spile.Session(engine="systemtap", systemtap=options, interval=INTERVAL)
    mine = arg.count == SIZE
    reads = session.function("vfs_read", capture={"pid": pid, "size": arg.count, "comm": comm}, where=mine)
    counted = session.function("vfs_read", where=mine, name="counted").count(by=(pid, comm))
    with session:
        child = work(remote_guest)
        # At once: what the script still holds then must arrive all the same.
        session.stop()
        events = list(reads)
    name = sys.executable.rpartition("/")[2][:15]
    assert [(event.pid, event.size, event.comm) for event in events] == [(child, SIZE, name)] * READS
    assert dict(counted) == {(child, name): READS}
    assert session.losses.lost == 0, session.losses


def test_a_name_that_is_not_there_is_told_as_here(options: StapOptions) -> None:
    session = spile.Session(engine="systemtap", systemtap=options)
    session.function("vfs_raed", name="misspelt").count()
    with pytest.raises(spile.ProbeNotFound, match=r"did you mean vfs_read.*misspelt"):
        session.start()
    # Its stapsh has served its connection: what stands in the port is its goodbye, or nothing ever comes.
    refuses_in_time(replace(options, start_timeout=10))


def test_an_address_where_nobody_listens_is_an_error_and_no_hang(options: StapOptions) -> None:
    refuses_in_time(replace(options, remote=f"{options.remote}.gone"), r"connecting to socket .*\.gone")


def refuses_in_time(options: StapOptions, why: str | None = None) -> None:
    session = spile.Session(engine="systemtap", systemtap=options)
    session.function("vfs_read").count()
    begin = time.monotonic()
    with pytest.raises(spile.EngineError, match=why):
        session.start()
    assert time.monotonic() - begin < 60
