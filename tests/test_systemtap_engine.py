"""A session on the SystemTap engine, with a stap that does what the test says."""

from __future__ import annotations

import os
import struct
import tempfile
import time
from pathlib import Path

import pytest

import spile
from fake_stap import fake
from spile import arg, pid
from spile.systemtap import StapOptions, engine

READY = (0x5053).to_bytes(2, "little") + b"\2\0" + b"\0\1" + (0x5350494C + 2 + 1).to_bytes(4, "little")
END = (0x5053).to_bytes(2, "little") + b"\2\0" + b"\0\5" + (0x5350494C + 2 + 5).to_bytes(4, "little")
PAD = b"\0" * 14


def _session(options: StapOptions, interval: float = 1.0) -> tuple[spile.Session, spile.Probe]:
    session = spile.Session(engine="systemtap", systemtap=options, interval=interval)
    return session, session.function("vfs_read", capture={"pid": pid}, where=arg.count == 1)


def test_it_starts_when_the_script_is_ready_and_stops_it(tmp_path: Path) -> None:
    body = f"out({READY + PAD!r})\nsignal.signal(2, lambda *_: (out({END + PAD!r}), os._exit(0)))\ntime.sleep(60)"
    session, reads = _session(fake(tmp_path, body))
    with session:
        assert session.running()
        session.stop()
        assert list(reads) == []
    assert session.ended_by == "stop"


def test_a_good_end_whose_last_words_did_not_arrive_is_told(tmp_path: Path) -> None:
    body = f"signal.signal(2, lambda *_: os._exit(0))\nout({READY + PAD!r})\ntime.sleep(60)"
    session, _ = _session(fake(tmp_path, body))
    with pytest.warns(spile.LossWarning, match="last words did not arrive"), session:
        pass


def test_what_stap_says_is_the_session_s_error(tmp_path: Path) -> None:
    body = (
        "say('semantic error: while resolving probe point: identifier \\'kernel\\' at <input>:9:7\\n'"
        "'        source: probe kernel.function(\"vfs_raed\").call {\\n'"
        "'semantic error: no match (similar functions: vfs_read)\\n'); sys.exit(1)"
    )
    session, _ = _session(fake(tmp_path, body))
    with pytest.raises(spile.ProbeNotFound, match="vfs_read"):
        session.start()


def _refusing(tmp_path: Path, word: str, cause: str) -> StapOptions:
    """A stap that finds fault with the line of the script that has that word."""
    body = f"""
        lines = script().split("\\n")
        number = next(at for at, line in enumerate(lines, 1) if {word!r} in line)
        say(f"semantic error: {cause} at <input>:{{number}}:1\\n        source: {{lines[number - 1]}}\\n")
        sys.exit(1)
    """
    return fake(tmp_path, body)


def _line_of(word: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(at for at, line in enumerate(lines, 1) if line.endswith(f"# {word}"))


def test_an_error_names_the_users_line_and_not_the_scripts(tmp_path: Path) -> None:
    options = _refusing(tmp_path, "$cuont", "unable to find local 'cuont' (alternatives: $count)")
    session = spile.Session(engine="systemtap", systemtap=options)
    session.function("vfs_write", capture={"pid": pid})
    session.function("vfs_read", capture={"pid": pid}, where=arg.cuont == 1)  # the wrong one
    with pytest.raises(spile.FieldNotFound) as raised:
        session.start()
    place = f"{__file__}:{_line_of('the wrong one')}"
    assert str(raised.value) == f"there is no 'cuont'; did you mean count? (probe vfs_read, declared at {place})"


def test_of_a_span_what_it_captures_is_its_own(tmp_path: Path) -> None:
    session = spile.Session(engine="systemtap", systemtap=_refusing(tmp_path, "$pso", "unable to find local 'pso'"))
    start, end = session.function("vfs_read"), session.function("rw_verify_area")
    session.span(start, end, key=spile.task, capture={"x": arg.pso}, name="wait")  # the span
    with pytest.raises(spile.FieldNotFound, match=rf"probe wait, declared at .*:{_line_of('the span')}\)"):
        session.start()


def test_a_stap_that_dies_later_ends_the_session_with_its_error(tmp_path: Path) -> None:
    session, reads = _session(fake(tmp_path, f"out({READY + PAD!r}); time.sleep(0.3); os.kill(os.getpid(), 9)"))
    session.start()
    with pytest.raises(spile.EngineError, match="SIGKILL"):
        list(reads)


def test_no_stap_names_the_packages() -> None:
    session, _ = _session(StapOptions(stap="stap-that-is-not-there"))
    with pytest.raises(spile.Unsupported, match="systemtap"):
        session.start()


def _event(time: int, cpu: int, pid: int) -> bytes:
    """An event of the session above, written from the form in docs/adr/0011-systemtap-frames.md."""
    payload = struct.pack("<BQHI", 1, time, cpu, pid)
    check = 0x5350494C + len(payload) + 1 + time + cpu + pid
    frame = b"SP" + struct.pack("<H", len(payload)) + payload + struct.pack("<I", check & 0xFFFFFFFF)
    return frame + bytes(-(8 + len(frame)) % 16)


def _print(number: int, data: bytes) -> bytes:
    return struct.pack("<II", number, len(data)) + data


BULK = """
from pathlib import Path
name = args[args.index("-o") + 1]
assert "-b" in args
first, *others = sorted(Path(name).parent.glob("cpu_*"), key=lambda path: int(path.name.rpartition("_")[2]))
opened = [open(path, "wb", buffering=0) for path in (first, *others)]
one, two = opened[0], opened[-1]
{writes}
signal.signal(2, lambda *_: (one.write({end!r}), os._exit(0)))
time.sleep(60)
"""


def _bulk(tmp_path: Path, writes: list[tuple[str, bytes]]) -> StapOptions:
    lines = "\n".join(f"{file}.write({data!r}); time.sleep(0.01)" for file, data in writes)
    return fake(tmp_path, BULK.format(writes=lines, end=_print(100, END + PAD)), bulk=True)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU, so one file: nothing to put in order")
def test_bulk_modes_streams_are_put_in_order_while_they_run(tmp_path: Path) -> None:
    """Prints are numbered over all CPUs: the last is the 100th, and one is missing."""
    times = [10**9 + 1000 * step for step in range(97)]
    writes = [("one", _print(1, READY + PAD))]
    # The second half of each ten comes first.
    order = [
        at for ten in range(0, 97, 10) for at in (*range(ten + 5, min(ten + 10, 97)), *range(ten, min(ten + 5, 97)))
    ]
    for at in order:
        late = at % 10 >= 5
        writes.append(("two" if late else "one", _print(2 + at, _event(times[at], int(late), at))))
    folders = set(Path(tempfile.gettempdir()).glob("spile-stap-*"))
    session, reads = _session(_bulk(tmp_path, writes))
    seen = []
    with pytest.warns(spile.LossWarning, match="1 prints that SystemTap numbered"), session:
        assert set(Path(tempfile.gettempdir()).glob("spile-stap-*")) == folders, "nothing is left to clean away"
        for event in reads:
            seen.append((event.time, event.cpu, event.pid))
            if len(seen) == 97:
                session.stop()
    assert seen == [(time, int(at % 10 >= 5), at) for at, time in enumerate(times)]
    losses = session.losses
    assert (losses.total.delivered, losses.total.late, losses.beyond["missing"]) == (97, 0, 1)


def test_events_of_one_cpu_do_not_wait_for_the_others_to_say_something(tmp_path: Path) -> None:
    writes = [("one", _print(98, READY + PAD)), ("one", _print(99, _event(10**9, 0, 7)))]
    session, reads = _session(_bulk(tmp_path, writes))
    with pytest.warns(spile.LossWarning, match="97 prints"), session:
        assert next(iter(reads)).pid == 7
        assert session.running()


def test_a_module_without_bulk_mode_is_no_hang(tmp_path: Path) -> None:
    body = 'open(args[args.index("-o") + 1], "wb").write(b"x"); time.sleep(60)'
    session, _ = _session(fake(tmp_path, body, bulk=True))
    with pytest.raises(spile.EngineError, match="without bulk mode"):
        session.start()


def test_a_script_elsewhere_has_no_targets_and_no_stacks_of_here(tmp_path: Path) -> None:
    options = fake(tmp_path, f"out({READY + PAD!r}); time.sleep(60)", remote="unix:/nowhere")
    for target in ({"pid": 1}, {"command": ["true"]}, {"cgroup": "/a"}):
        with pytest.raises(spile.SpecError, match="this machine"):
            spile.Session(engine="systemtap", systemtap=options, **target)  # type: ignore[arg-type]
    session = spile.Session(engine="systemtap", systemtap=options)
    session.function("vfs_read").count(by=spile.kstack)
    with pytest.raises(spile.Unsupported, match="named by this machine"):
        session.start()


def _numbers(event: int) -> bytes:
    """That an event had no hits."""
    payload = bytes([0, 2, event]) + b"\0" * 40
    check = (0x5350494C + len(payload) + 2 + event).to_bytes(4, "little")
    return b"SP" + len(payload).to_bytes(2, "little") + payload + check + b"\0" * (-len(payload) % 16)


def test_a_remote_session_reads_its_stream_and_names_no_process_of_here(tmp_path: Path) -> None:
    """stap loses what such a script prints at its end: nothing that happened before a stop may be left until then."""
    later = [_event(time, 0, 43) + _numbers(1) for time in range(6, 300)]
    body = (
        "assert '--remote=unix:/nowhere' in args and '-G' not in args\n"
        f"signal.signal(2, lambda *_: os._exit(0))\nout({READY + PAD + _event(5, 0, 42)!r})\n"
        f"for each in {later!r}: time.sleep(0.05); out(each)"
    )
    session, reads = _session(fake(tmp_path, body, remote="unix:/nowhere"))
    with session:
        first = next(iter(reads))
        session.stop()
        assert first.pid == 42
        assert {event.pid for event in reads} == {43}
    assert session.losses.beyond["gaps"] == 0


@pytest.mark.parametrize(("interval", "then"), [(0.1, "time.sleep(60)"), (60.0, "time.sleep(0.5)")])
def test_a_remote_script_that_falls_silent_or_ends_is_waited_for_no_longer(
    interval: float, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_ON_THE_WAY", 0.3)
    body = f"signal.signal(2, lambda *_: os._exit(0))\nout({READY + PAD + _event(5, 0, 42)!r})\n{then}"
    session, reads = _session(fake(tmp_path, body, remote="unix:/nowhere"), interval)
    with session:
        assert next(iter(reads)).pid == 42
        begin = time.monotonic()
        session.stop()
        assert time.monotonic() - begin < 30


def test_descriptors_are_given_back() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        session, _ = _session(StapOptions(stap="stap-that-is-not-there"))
        with pytest.raises(spile.Unsupported):
            session.start()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_script_and_command_line_need_no_kernel() -> None:
    session, _ = _session(StapOptions(guru=False, max_action=77))
    assert 'kernel.function("vfs_read").call' in session.script()
    words = session.command_line()
    assert words[0] == "stap" and "-DMAXACTION=77" in words and words[-1] == "-"


def test_it_explains_where_aggregates_are_kept() -> None:
    session = spile.Session(engine="systemtap")
    reads = session.function("vfs_read", name="reads")
    reads.hist(arg.count, by=pid)
    session.function("vfs_write", capture={"pid": pid}, name="writes").sum(arg.count)
    first, second, command, *_ = session.explain().splitlines()
    assert first == (
        "# probe reads, aggregate 0, hist(), is kept in the kernel: an array of 4096 rows by key and bin; a hit that "
        "finds it full is sent as a row of its own"
    )
    assert second.startswith("# probe writes, aggregate 0, sum(), is counted over the event stream: the probe sends")
    assert command.startswith("# stap ")


def test_missed_hits_are_the_probes_where_stap_says_whose(tmp_path: Path) -> None:
    """What SystemTap 4.8 said with -t (data/stap/messages), of a function that one probe is at, and of one with two."""
    said = "".join(
        f"WARNING: Skipped due to missed kprobe on 'kernel.function(\"{name}@fs/a.c:24\").call': {count}\n"
        for name, count in (("vfs_read", 30), ("vfs_write", 12))
    )
    said += "WARNING: Number of errors: 0, skipped probes: 45\n"
    body = f"""
        assert "-t" in args
        out({READY + PAD!r})
        signal.signal(2, lambda *_: (out({END + PAD!r} + b"----- probe hit report: \\n"), say({said!r}), os._exit(0)))
        time.sleep(60)
    """
    session, reads = _session(fake(tmp_path, body, timing=True))
    session.function("vfs_write", capture={"pid": pid})
    session.function("vfs_write", capture={"tid": spile.tid}, name="again")
    with pytest.warns(spile.LossWarning, match="15 hits were skipped"), session:
        session.stop()
    losses = session.losses
    assert (losses[reads.name].missed, losses[reads.name].hits, losses.balance) == (30, 30, 0)
    assert (losses["vfs_write"].missed, losses["again"].missed) == (0, 0)
    assert (losses.beyond["skipped_hits"], losses.beyond["gaps"]) == (15, 0)
