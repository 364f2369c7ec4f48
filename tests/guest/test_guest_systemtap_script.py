"""Generated scripts on a real kernel: what they print is held against workloads whose numbers are known."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from aggregate_states import log2
from lab.prepared import Preparation, Prepared
from spile.expr import arg, comm, isin, kstack, pid, startswith, string, tid
from spile.spec import Function, Profile
from spile.systemtap.script import Script, generate
from systemtap_arithmetic import cases, expected
from systemtap_arithmetic import script as arithmetic
from systemtap_frames import Stream, read
from systemtap_specs import (
    NAME,
    READ,
    READ_RETURN,
    accumulated,
    aggregate,
    at_start,
    elapsed,
    error,
    probe,
    ret,
    session,
    span,
)

pytestmark = pytest.mark.guest(kernels=("6.1",))

READS = 5000
RATE = 50  # samples a second
BURST = f"dd if=/dev/zero of=/dev/null bs=1 count={READS} status=none"
ODD_NAME = 'a"\\%s\n\x7fä'
CASES = cases(400)

IN_DD = (comm == "dd") & isin(arg.count, 1)
KEPT = session(
    accumulated(
        aggregate("stats", arg.count, comm, arg.count),
        aggregate("hist", arg.count, comm),
        aggregate("top", arg.count, comm, size=100),
        where=startswith(comm, "python"),
    )
)
SCRIPTS: dict[str, Script] = {
    "spile_events": generate(
        session(
            probe(READ, "reads", where=IN_DD, name=string(NAME, 64), count=arg.count, comm=comm, stack=kstack[:10]),
            probe(READ_RETURN, "returns", where=IN_DD, ret=ret, error=error, ns=elapsed, was=at_start(arg.count)),
        )
    ),
    "spile_tables": generate(
        session(
            probe(READ, "reads", by=(comm, arg.count), where=startswith(comm, "python")), probe(READ, "all", by=())
        ),
        entries=8,
    ),
    "spile_kept": generate(KEPT, entries=8),
    "spile_span": generate(span(where=comm == "dd", who=at_start(comm), count=at_start(arg.count), ns=elapsed)),
    "spile_strings": generate(
        session(
            probe(READ, "equal", where=comm == ODD_NAME),
            probe(READ, "begins", where=startswith(comm, ODD_NAME[:4])),
            probe(READ, "faults", where=(comm == ODD_NAME) & (string(arg.count) == "x")),
            probe(Function("do_sys_openat2"), "opens", where=comm == ODD_NAME, path=string(arg.filename, 20)),
        )
    ),
    "spile_followed": generate(session(probe(READ, "reads", where=arg.count == 1, tid=tid, comm=comm), pid=1)),
    "spile_profile": generate(session(probe(Profile(RATE), "samples", where=pid != 0, stack=kstack))),
}
#: What tables accumulate, where they don't count.
KINDS = {"spile_kept": {(0, 0): "stats", (0, 1): "hist", (0, 2): "top"}}


def prepare(lab: Preparation) -> None:
    """On the host: all modules."""
    for name, script in SCRIPTS.items():
        lab.module(script.text, name, *(f"-D{key}={value}" for key, value in script.definitions))
    lab.module(arithmetic(CASES), "spile_arithmetic", "-DMAXACTION=100000")


def run(prepared: Prepared, name: str, command: str, *options: str) -> Stream:
    """The stream of a script while a command runs.

    stapio looks for more to read, and then whether it is to stop: what comes between the two, on a busy machine, it
    leaves unread. A stream without its end was that, and is taken once more.
    """
    arguments = ["staprun", "-b", "4", *options, "-c", command, str(prepared.module(name))]
    for _ in range(3):
        done = subprocess.run(arguments, capture_output=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        assert b"transport failures" not in done.stderr and b"skipped" not in done.stderr, done.stderr
        (prepared.folder / f"{name}.stream").write_bytes(done.stdout)
        stream = read(done.stdout, SCRIPTS[name].schemas, KINDS.get(name))
        if stream.ended:
            break
    assert (stream.skipped, stream.gaps, stream.ended) == (0, 0, 1) and stream.ready
    counted = Counter(event for event, _ in stream.events)
    for event, (hits, filtered, delivered, faulted, others) in stream.ledger.items():
        assert counted[event] == delivered
        assert hits >= filtered + delivered + faulted + others
    return stream


def comm_of_python() -> bytes:
    """As the kernel calls it."""
    return Path(sys.executable).name.encode()[:15]


def test_arithmetic_is_pythons(prepared: Prepared) -> None:
    done = subprocess.run(
        ["staprun", prepared.module("spile_arithmetic")], capture_output=True, timeout=100, check=True
    )
    printed = struct.unpack(f"<{len(CASES)}Q", done.stdout)
    wrong = [(case, hex(got)) for case, got in zip(CASES, printed, strict=True) if got != expected(case)]
    assert not wrong


def test_a_burst_arrives_whole(prepared: Prepared) -> None:
    stream = run(prepared, "spile_events", BURST)
    reads = [record for event, record in stream.events if event == 1]
    returns = [record for event, record in stream.events if event == 2]
    assert len(reads) == len(returns) == READS
    assert {(record["name"], record["count"], record["comm"]) for record in reads} == {(b"zero", 1, b"dd")}
    assert {(record["ret"], record["error"], record["was"]) for record in returns} == {(1, 0, 1)}
    assert all(0 < record["ns"] < 10**9 for record in returns)
    symbols = (line.split() for line in Path("/proc/kallsyms").read_text().splitlines())
    address = next(int(symbol[0], 16) for symbol in symbols if symbol[2] == "vfs_read")
    assert {record["stack"][0] for record in reads} == {address}
    times = [record["spile_time"] for record in reads]
    assert times == sorted(times) and abs(times[-1] - time.monotonic_ns()) < 200 * 10**9


def test_a_table_grows_past_the_kernels(prepared: Prepared) -> None:
    """The kernel's has 8 rows; 50 sizes are read 20 times each."""
    code = "import os; f = os.open('/dev/zero', 0)\nfor _ in range(20):\n for n in range(9000, 9050): os.read(f, n)"
    stream = run(prepared, "spile_tables", f'{sys.executable} -S -c "{code}"')
    sizes = {key: count for key, count in stream.tables[0, 0].items() if 9000 <= key[1] < 9050}
    assert sizes == {(comm_of_python(), size): 20 for size in range(9000, 9050)}
    assert stream.rows[0, 0] > 8
    for table, rows in stream.tables.items():
        assert stream.dumps[table] == (stream.rows[table], sum(rows.values()))
    assert stream.ledger[2][0] == sum(stream.tables[1, 0].values())
    hits, filtered, *_ = stream.ledger[1]
    assert hits - filtered == sum(stream.tables[0, 0].values())


def test_what_is_kept_of_values_grows_past_the_kernels_table(prepared: Prepared) -> None:
    """The kernel's have 8 rows; 50 sizes, of two bins, are read 20 times each. The stream stays, to be kept as data."""
    code = "import os; f = os.open('/dev/zero', 0)\nfor _ in range(20):\n for n in range(1000, 1050): os.read(f, n)"
    stream = run(prepared, "spile_kept", f'{sys.executable} -S -c "{code}"')
    (prepared.folder / "kept.json").write_text(KEPT.to_json())
    (prepared.folder / "kept.schemas").write_text(SCRIPTS["spile_kept"].schemas)
    name, sizes = comm_of_python(), range(1000, 1050)
    kept = {key[1]: numbers for key, numbers in stream.kept[0, 0].items() if key[1] in sizes}
    assert kept == {size: (20 * size, size, size) for size in sizes}
    assert {size: stream.tables[0, 2][name, size] for size in sizes} == dict.fromkeys(sizes, 20)
    # Its start reads files too, in sizes that are as well in the other tables.
    bins: Counter[int] = Counter()
    for (_, size), hits in stream.tables[0, 0].items():
        bins[log2(size)] += hits
    assert bins == {key[1]: hits for key, hits in stream.tables[0, 1].items()} and bins[11] >= 26 * 20
    for table, rows in stream.tables.items():
        assert stream.dumps[table] == (stream.rows[table], sum(rows.values()))
        assert sum(rows.values()) == stream.ledger[1][0] - stream.ledger[1][1]
    assert stream.rows[0, 0] > 50 and stream.rows[0, 2] > 50


def test_a_span_pairs_and_balances(prepared: Prepared) -> None:
    stream = run(prepared, "spile_span", BURST)
    spans = [record for event, record in stream.events if event == 3]
    # dd's own beginning reads too, in other sizes.
    assert sum(record["count"] == 1 for record in spans) == READS
    assert {record["who"] for record in spans} == {b"dd"}
    end, start = stream.spans[2, 0], stream.spans[2, 1]
    assert (start["open_full"], start["faulted"], end["faulted"]) == (0, 0, 0)
    assert stream.ledger[1][0] == start["opened"] and stream.ledger[3][0] <= start["opened"] - start["overwritten"]
    assert stream.ledger[2][0] == stream.ledger[3][0] + end["unmatched"]


def test_strings_mean_what_they_say(prepared: Prepared) -> None:
    code = (
        "import os\n"
        f"open('/proc/self/comm', 'wb').write({ODD_NAME.encode()!r})\n"
        "f = os.open('/dev/zero', 0)\n"
        "for _ in range(30): os.read(f, 1)\n"
        "os.open('/etc/../etc/./../etc/hostname', 0)\n"
    )
    file = Path(os.environ["TMPDIR"]) / "odd.py"
    file.write_text(code, encoding="utf-8")
    stream = run(prepared, "spile_strings", f"{sys.executable} -S {file}")
    counted = Counter(event for event, _ in stream.events)
    assert counted[1] >= 30 and counted[2] == counted[1] and counted[3] == 0
    assert stream.ledger[3][3] == counted[1], "each read of an address such as 1 faults"
    assert b"/etc/../etc/./../et" in {record["path"] for event, record in stream.events if event == 4}


def test_children_are_followed_and_strangers_not(prepared: Prepared) -> None:
    """With -c the command is the target; its children are born after the start."""
    command = f"sh -c '{BURST}; {BURST}; sleep 0.1'"
    # Slowly: at full speed it can run into the probe while that is being written into the kernel's code, and QEMU's
    # emulation of two CPUs does not survive that.
    code = "import os, time; f = os.open('/dev/zero', 0)\nwhile True: os.read(f, 1); time.sleep(0.005)"
    stranger = subprocess.Popen([sys.executable, "-S", "-c", code])
    try:
        stream = run(prepared, "spile_followed", command)
    finally:
        stranger.kill()
        stranger.wait()
    by_task = Counter((record["comm"], record["tid"]) for _, record in stream.events)
    assert stranger.pid not in {task for _, task in by_task}
    assert sorted(count for (name, _), count in by_task.items() if name == b"dd") == [READS, READS]


def test_a_timer_samples_every_cpu(prepared: Prepared) -> None:
    spin = f"{sys.executable} -S -c 'import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass'"
    began = time.monotonic()
    stream = run(prepared, "spile_profile", f'sh -c "{spin} & {spin} & wait"')
    took = time.monotonic() - began
    samples = [record for _, record in stream.events]
    assert {record["spile_cpu"] for record in samples} == {0, 1}
    # At least while both spin, and at most so often on each CPU as it was asked for.
    assert 60 <= len(samples) <= 2 * RATE * took
