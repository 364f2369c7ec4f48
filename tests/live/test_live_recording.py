"""Recordings of the kernel that the tests run on: what was seen is seen again, whatever became of the recorder."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import spile
from spile import arg, comm, kstack, pid, tid, ustack
from workload import GETPPID, call, calls, eventually

pytestmark = pytest.mark.live

SWITCH = "sched:sched_switch"


def seen(event: spile.Event) -> tuple[Any, ...]:
    return (event.id, event.probe, event.time, event.cpu, tuple(event.items()))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "x.spile")


def test_a_replay_calls_handlers_as_the_session_did(path: str) -> None:
    session = spile.Session(command=calls(20_000, children=2))
    getppid = session.tracepoint(GETPPID, capture={"pid": pid, "name": comm})
    switches = session.tracepoint(SWITCH, capture=[arg.prev_pid, arg.next_comm, kstack])
    by_pid, by_stack = getppid.count(by=pid), switches.count(by=kstack)
    live: list[Any] = []
    stacks: list[str] = []
    moments: list[Any] = []

    @getppid.on_event
    def on_getppid(event: spile.Event) -> None:
        live.append(seen(event))

    @switches.on_event
    def on_switch(event: spile.Event, kstack: Any) -> None:
        live.append(seen(event))
        moments.append(event.datetime)
        if len(stacks) < 100:
            stacks.append(str(kstack))

    session.record(path)
    session.run()
    assert session.losses.lost == 0 == session.losses.balance and len(live) > 60_000
    replay = spile.replay(path)
    assert isinstance(replay, spile.Session)
    again: list[Any] = []
    stacks_again: list[str] = []
    moments_again: list[Any] = []

    def on_sched_switch(event: spile.Event, kstack: Any) -> None:
        again.append(seen(event))
        moments_again.append(event.datetime)
        if len(stacks_again) < 100:
            stacks_again.append(str(kstack))

    by_pid_again = replay["sys_enter_getppid"].count(by=pid)
    by_stack_again = replay["sched_switch"].count(by=kstack)
    replay.run(
        handlers={"on_sys_enter_getppid": lambda event: again.append(seen(event)), "on_sched_switch": on_sched_switch}
    )
    assert again == live and replay.ended_by == "end"
    assert dict(by_pid_again) == dict(by_pid) and sorted(by_pid.values()) == [20_000] * 3
    assert dict(by_stack_again) == dict(by_stack) and by_stack_again.total == by_stack.total
    assert dict(replay.losses) == dict(session.losses)
    assert stacks_again == stacks and any("schedule" in stack for stack in stacks)
    assert max(abs((one - other).total_seconds()) for one, other in zip(moments, moments_again, strict=True)) < 0.1


def test_a_stack_takes_its_recorded_names_along(path: str) -> None:
    session = spile.Session(command=calls(10))
    session.tracepoint(GETPPID, capture=[kstack])
    session.record(path)
    session.run()
    event = next(iter(replayed(path)))
    stack = event["kstack"]
    copy = pickle.loads(pickle.dumps(stack))
    assert str(copy) == str(stack) and [str(frame) for frame in copy] == [str(frame) for frame in stack]
    assert "syscall" in str(stack)


def replayed(path: str) -> list[spile.Event]:
    replay = spile.replay(path)
    with replay:
        return list(replay)


def test_nobody_replays_it_as_well(path: str) -> None:
    """An unprivileged user in a child, which may open neither the kernel's symbols nor its tracepoints."""
    session = spile.Session(command=calls(5000))
    counted = session.tracepoint(GETPPID, capture=[pid, kstack]).count(by=kstack)
    session.record(path)
    session.run()
    (stack,) = counted
    script = f"""
        import os, sys, json
        import spile
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        session = spile.replay({path!r})
        table = session["sys_enter_getppid"].count(by=spile.kstack)
        pids = set()
        session.run(handlers={{"on_sys_enter_getppid": lambda pid: pids.add(pid)}})
        (stack, count), = table.items()
        print(json.dumps([os.getuid(), len(pids), count, str(stack), session.losses.total.hits]))
    """
    Path(path).chmod(0o644)
    for folder in Path(path).parents:
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    uid, pids, count, text, hits = json.loads(done.stdout)
    assert (uid, pids, count, hits) == (65534, 1, 5000, session.losses.total.hits)
    assert text == str(stack)


def test_user_frames_keep_their_names(path: str) -> None:
    session = spile.Session(
        command=[sys.executable, "-S", "-c", "import time\nt=time.time()+2.5\nwhile time.time()<t: pass"]
    )
    session.profile(200, capture=[pid, ustack])
    session.record(path)
    session.run()
    stacks = [event["ustack"] for event in replayed(path) if event["ustack"]]
    assert len(stacks) >= 10
    named = [frame for stack in stacks for frame in stack if frame.symbol is not None]
    assert any("Py" in (frame.symbol or "") for frame in named) and all(frame.module for frame in named)
    mappings = json.loads(spile._native.Recording(path).facts()["mappings"])
    assert any("python" in mapping["path"] and mapping["build_id"] for mapping in mappings), mappings


def test_events_without_a_handler_are_recorded_and_never_queued(path: str) -> None:
    session = spile.Session(command=calls(200_000), queue=1 << 16)
    probe = session.tracepoint(GETPPID, capture=[pid])
    session.record(path)
    with session:
        for loop in (lambda: next(iter(session)), lambda: next(iter(probe)), session.batches):
            with pytest.raises(spile.StateError, match=r"into the recording alone.*replay"):
                loop()
        assert session.wait(30)
    assert session.losses.total.dropped == 0 == session.losses.lost
    assert len(replayed(path)) == 200_000


def test_what_is_counted_meanwhile_is_counted_in_full(path: str) -> None:
    """Nobody reads an event while it is recorded: of some there are rows, of others nothing, and the file has all."""
    session = spile.Session(command=calls(20_000, children=2))
    counted = session.tracepoint(GETPPID, capture=[pid, kstack])
    session.tracepoint(GETPPID.replace("enter", "exit"), capture=[pid], name="left")
    by_pid, by_stack = counted.count(by=pid), counted.count(by=kstack)
    session.record(path)
    session.run()
    assert sorted(by_pid.values()) == [20_000] * 3 and by_stack.total == 60_000
    replay = spile.replay(path)
    again = replay["sys_enter_getppid"]
    by_pid_again, by_stack_again = again.count(by=pid), again.count(by=kstack)
    left = replay["left"].count()
    replay.run()
    assert dict(by_pid_again) == dict(by_pid) and left.value == 60_000
    assert {str(stack): count for stack, count in by_stack_again.items()} == {
        str(stack): count for stack, count in by_stack.items()
    }
    assert dict(replay.losses) == dict(session.losses)


def test_a_probe_that_captures_nothing_can_be_recorded(path: str) -> None:
    session = spile.Session(command=calls(50))
    session.tracepoint(GETPPID)
    session.record(path)
    session.run()
    events = replayed(path)
    assert len(events) == 50 and dict(events[0]) == {}


def test_spans_and_groups_are_replayed(path: str) -> None:
    session = spile.Session(command=calls(300))
    enter = session.tracepoint(GETPPID)
    leave = session.tracepoint(GETPPID.replace("enter", "exit"))
    span = session.span(enter, leave, capture={"ns": spile.elapsed}, name="took")
    group = session.tracepoint([GETPPID, GETPPID.replace("enter", "exit")], capture="*", name="both")
    live: list[Any] = []
    span.on_event(lambda event: live.append(seen(event)))
    group.on_event(lambda event: live.append(seen(event)))
    session.record(path)
    session.run()
    assert len(live) == 900
    replay = spile.replay(path)
    again: list[Any] = []
    replay.run(
        handlers={
            "on_took": lambda event: again.append(seen(event)),
            "on_both": lambda event: again.append(seen(event)),
        }
    )
    assert again == live and dict(replay.losses) == dict(session.losses)


def test_what_was_not_captured_is_named(path: str) -> None:
    session = spile.Session(command=calls(5))
    session.tracepoint(GETPPID, capture=[pid, comm])
    session.tracepoint(SWITCH, capture="*")
    session.record(path)
    session.run()
    replay = spile.replay(path)
    with pytest.raises(spile.FieldNotFound, match=r"tid was not recorded by probe 'sys_enter_getppid'.*: comm, pid"):
        replay["sys_enter_getppid"].count(by=tid)
    with pytest.raises(spile.FieldNotFound, match=r"arg\.nothing was not recorded.*arg\.prev_pid"):
        replay["sched_switch"].count(by=arg.nothing)
    with pytest.raises(spile.StateError, match=r"that were recorded.*: sys_enter_getppid, sched_switch"):
        replay.tracepoint(GETPPID)
    with pytest.raises(spile.StateError, match="copy the file"):
        replay.record("y")
    with pytest.raises(spile.SpecError, match=r"'tid' of .* is not captured"):
        replay.run(handlers={"on_sys_enter_getppid": lambda tid: None})
    again = spile.replay(path)
    table = again["sched_switch"].count(by=arg.prev_pid)
    again.run()
    assert table.total > 0


def test_it_is_declared_before_the_start_and_once(path: str) -> None:
    session = spile.Session(pid=os.getpid())
    session.tracepoint(GETPPID, capture=[pid])
    session.record(path)
    with pytest.raises(spile.StateError, match="already"):
        session.record(path)
    with session, pytest.raises(spile.StateError, match="before it starts"):
        session.record(path)
    with pytest.raises(spile.Unsupported, match="SystemTap"):
        spile.Session(engine="systemtap").record(path)
    nowhere = spile.Session(pid=os.getpid())
    nowhere.tracepoint(GETPPID, capture=[pid])
    nowhere.record("/no/such/folder/x.spile")
    with pytest.raises(FileNotFoundError, match="/no/such/folder"):
        nowhere.start()
    nowhere.stop()


KILLED = """
    import os, sys, threading
    import spile
    session = spile.Session(pid=os.getpid())
    session.tracepoint({probe!r}, capture=[spile.pid, spile.kstack])
    session.record({path!r})
    session.start()
    print("ready", flush=True)
    while True: os.getppid()
"""


def test_what_a_killed_recorder_wrote_is_there(path: str) -> None:
    script = textwrap.dedent(KILLED.format(probe=GETPPID, path=path))
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    # It can be looked at while it is written.
    assert eventually(
        lambda: Path(path).stat().st_size > 0 and spile._native.Recording(path).facts()["symbols"] > 0, 60
    )
    time.sleep(0.5)
    child.kill()
    killed_at = time.monotonic_ns()
    child.wait()
    child.stdout.close()
    replay = spile.replay(path)
    last, count = 0, 0
    with pytest.warns(spile.LossWarning, match=r"was not closed: it ends at byte \d+"), replay:
        for event in replay:
            assert event.time >= last
            last, count = event.time, count + 1
    assert count > 10_000 and killed_at - last < 1e9
    assert "syscall" in str(event["kstack"]), "names are written each second"
    size = Path(path).stat().st_size
    assert spile._native.Recording(path).facts()["length"] <= size


def test_a_full_disk_ends_the_session_in_order(tmp_path: Path) -> None:
    path = str(tmp_path / "x.spile")
    script = f"""
        import os, resource, spile
        session = spile.Session(pid=os.getpid())
        session.tracepoint({GETPPID!r}, capture=[spile.pid, spile.comm])
        session.record({path!r}, compress=False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
        try:
            with session:
                while session.running():
                    for _ in range(1000): os.getppid()
        except spile.RecordingError as error:
            print(error, session.ended_by, session.losses.balance, sep="|")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    message, ended_by, balance = done.stdout.strip().split("|")
    assert f"writing the recording {path}: {os.strerror(errno.EFBIG)}" in message and (ended_by, balance) == (
        "error",
        "0",
    )
    assert Path(path).stat().st_size <= 3 << 20
    replay = spile.replay(path)
    with pytest.warns(spile.LossWarning, match=r"ended early, at byte \d+: writing"), replay:
        assert sum(1 for _ in replay) > 50_000


def test_a_full_file_system(tmp_path: Path) -> None:
    """No limit, but no room: a file system of one megabyte."""
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    try:
        path = str(tmp_path / "x.spile")
        session = spile.Session(pid=os.getpid())
        session.tracepoint(GETPPID, capture=[pid, comm])
        session.record(path, compress=False)
        with (
            pytest.raises(spile.RecordingError, match=rf"writing the recording {path}: {os.strerror(errno.ENOSPC)}"),
            session,
        ):
            while session.running():
                call(1000)
        replay = spile.replay(path)
        with pytest.warns(spile.LossWarning, match="ended early"), replay:
            pass
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_damaged_recording_gives_what_is_sound_and_then_its_error(path: str) -> None:
    session = spile.Session(command=calls(150_000))
    session.tracepoint(GETPPID, capture=[pid, comm])
    session.record(path, compress=False)
    session.run()
    whole = Path(path).read_bytes()
    middle = len(whole) // 2
    Path(path).write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    replay = spile.replay(path)
    count = replay["sys_enter_getppid"].count()
    got: list[int] = []
    with pytest.raises(spile.RecordingError, match=r"damaged from here on") as caught:
        replay.run(handlers={"on_sys_enter_getppid": lambda time: got.append(time)})
    assert 0 < caught.value.offset <= middle
    assert 10_000 < len(got) == count.value < 150_000 and got == sorted(got)
    assert f"{len(got)} events were read all the same, and of {150_000 - len(got)}" in str(caught.value)
    assert replay.ended_by == "error"


def test_two_recordings_at_once(tmp_path: Path) -> None:
    sessions = []
    for name in "ab":
        session = spile.Session(pid=os.getpid())
        session.tracepoint(GETPPID, capture=[tid])
        session.record(tmp_path / name)
        sessions.append(session)
    with sessions[0], sessions[1]:
        threads = [threading.Thread(target=call, args=(20_000,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    one, other = (replayed(str(tmp_path / name)) for name in "ab")
    assert len(one) == len(other) == 60_000
    # Each session takes its own time of a hit: two CPUs' hits may come in another order, one CPU's can't.
    for cpu in {event.cpu for event in one}:
        of_cpu = [[event["tid"] for event in events if event.cpu == cpu] for events in (one, other)]
        assert of_cpu[0] == of_cpu[1]


def test_two_replays_of_one_file_at_once(path: str) -> None:
    session = spile.Session(command=calls(3000))
    session.tracepoint(GETPPID, capture=[pid])
    session.record(path)
    session.run()
    first, second = spile.replay(path), spile.replay(path)
    with first, second:
        pairs = list(zip(first, second, strict=True))
    assert len(pairs) == 3000 and all(one == other for one, other in pairs)


def test_a_replay_can_be_left_and_ticks_to_its_end(path: str) -> None:
    session = spile.Session(command=calls(100_000))
    session.tracepoint(GETPPID, capture=[pid])
    session.record(path)
    session.run()
    left = spile.replay(path)
    with left:
        for _ in left:
            break
    assert left.ended_by == "stop"
    ticking = spile.replay(path)
    count = ticking["sys_enter_getppid"].count()
    with ticking:
        ticks = list(ticking.every(0.05))
    assert ticks and count.value == 100_000 and ticking.ended_by == "end"


REPLAYED = """
    import resource, spile
    session = spile.replay({path!r})
    count = session["sys_enter_getppid"].count()
    seen = 0
    def on_sys_enter_getppid(time):
        global seen
        seen += 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    session._queue = 1 << 20
    session.run(handlers={{"on_sys_enter_getppid": on_sys_enter_getppid}})
    print(seen, count.value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_replay_takes_little_memory_and_drops_nothing(path: str) -> None:
    """The events take more than the bound, and the handlers are slower than the file."""
    number = 1_000_000
    session = spile.Session(command=calls(number), buffer=16 << 20)
    session.tracepoint(GETPPID, capture=[pid, tid, comm])
    session.record(path)
    session.run()
    delivered = session.losses.total.delivered
    assert delivered + session.losses.lost == number
    # 40 bytes and an entry each, at least, in the memory of whoever held them all.
    script = textwrap.dedent(REPLAYED.format(path=path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen, counted, kilobytes = map(int, done.stdout.split())
    assert seen == counted == delivered
    assert kilobytes < 20_000 < 40 * delivered / 1024, f"{kilobytes} kB for {delivered} events"


def test_the_size_is_bounded(path: str) -> None:
    """Uncompressed no more than the records and a little: half a time, id, nulls and two integers are 16 bytes."""
    sizes = {}
    for compress in (False, True):
        session = spile.Session(command=calls(200_000))
        session.tracepoint(GETPPID, capture=[pid, tid])
        session.record(path, compress=compress)
        session.run()
        sizes[compress] = Path(path).stat().st_size / session.losses.total.delivered
    assert sizes[False] < 17 and sizes[True] < 10, sizes


def test_a_slow_disk_is_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody reads for a while: the kernel's buffer fills, the ledger says so, and nothing else is lost."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    kept = tmp_path / "x.spile"
    script = f"""
        import time
        with open({str(fifo)!r}, "rb") as reader, open({str(kept)!r}, "wb") as file:
            time.sleep(1.5)
            while piece := reader.read(1 << 20):
                file.write(piece)
    """
    reader = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    session = spile.Session(command=calls(1_500_000), buffer=1 << 20)
    session.tracepoint(GETPPID, capture=[pid, comm])
    session.record(fifo, compress=False)
    session.run()
    assert reader.wait(30) == 0
    row = session.losses.total
    assert row.hits == 1_500_000 and row.ring_full > 0 and row.dropped == 0 and session.losses.balance == 0
    replay = spile.replay(kept)
    count = replay["sys_enter_getppid"].count()
    replay.run()
    assert count.value == row.delivered and replay.losses.total == row


def test_a_recorder_leaves_nothing_behind(path: str) -> None:
    session = spile.Session(command=calls(10))
    session.tracepoint(GETPPID, capture=[pid])
    session.record(path)
    session.run()

    def threads() -> list[str]:
        return [entry.joinpath("comm").read_text().strip() for entry in Path("/proc/self/task").iterdir()]

    assert eventually(lambda: not any(name.startswith("spile-") for name in threads())), threads()
    assert not [link for link in Path("/proc/self/fd").iterdir() if link.exists() and str(link.resolve()) == path]
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_the_command_records_and_replays(tmp_path: Path) -> None:
    from cli_support import getppid, spile_json
    from cli_support import spile as run

    path = str(tmp_path / "c.spile")
    done = run("record", "-c", getppid(500), "-o", path, GETPPID, "--capture", "pid,comm,kstack")
    assert done.returncode == 0 and f"{path}: 500 events" in done.stderr, done.stderr
    assert len(spile_json("replay", path)) == 500
    (row,) = spile_json("replay", path, "--by", "comm")
    assert row["count"] == 500
    (told,) = spile_json("replay", path, "--info")
    assert told["events"] == 500 and told["probes"] == {"sys_enter_getppid": ["pid", "comm", "kstack"]}
    assert told["machine"]["kernel"] == os.uname().release and told["warnings"] == []
    handlers = tmp_path / "h.py"
    handlers.write_text(
        "n = 0\ndef on_sys_enter_getppid(pid):\n global n\n n += 1\ndef on_end_trace_session():\n print(n)\n"
    )
    assert run("replay", path, "--handlers", str(handlers)).stdout == "500\n"
    wrong = run("replay", str(handlers))
    assert wrong.returncode == 1 and "at byte 0: this is no recording of spile's" in wrong.stderr


def test_a_signal_closes_a_recording_in_order(path: str) -> None:
    from cli_support import SPILE

    child = subprocess.Popen([*SPILE, "record", "-o", path, SWITCH], stderr=subprocess.PIPE, text=True)
    assert eventually(lambda: Path(path).exists() and Path(path).stat().st_size > 0, 20)
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 0 and "events" in said, said
    assert spile._native.Recording(path).facts()["warnings"] == []
