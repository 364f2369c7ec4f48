"""A session on the SystemTap engine, with a stap that does what the test says."""

from __future__ import annotations

from pathlib import Path

import pytest

import spile
from fake_stap import fake
from spile import arg, pid
from spile.systemtap import StapOptions

READY = (0x5053).to_bytes(2, "little") + b"\2\0" + b"\0\1" + (0x5350494C + 2 + 1).to_bytes(4, "little")
END = (0x5053).to_bytes(2, "little") + b"\2\0" + b"\0\5" + (0x5350494C + 2 + 5).to_bytes(4, "little")
PAD = b"\0" * 14


def _session(options: StapOptions) -> tuple[spile.Session, spile.Probe]:
    session = spile.Session(engine="systemtap", systemtap=options)
    return session, session.function("vfs_read", capture={"pid": pid}, where=arg.count == 1)


def test_it_starts_when_the_script_is_ready_and_stops_it(tmp_path: Path) -> None:
    body = f"out({READY + PAD!r})\nsignal.signal(2, lambda *_: (out({END + PAD!r}), os._exit(0)))\ntime.sleep(60)"
    session, reads = _session(fake(tmp_path, body))
    with session:
        assert session.running()
        session.stop()
        assert list(reads) == []
    assert session.ended_by == "stop"


def test_what_stap_says_is_the_session_s_error(tmp_path: Path) -> None:
    body = (
        "say('semantic error: while resolving probe point: identifier \\'kernel\\' at <input>:9:7\\n'"
        "'        source: probe kernel.function(\"vfs_raed\").call {\\n'"
        "'semantic error: no match (similar functions: vfs_read)\\n'); sys.exit(1)"
    )
    session, _ = _session(fake(tmp_path, body))
    with pytest.raises(spile.ProbeNotFound, match="vfs_read"):
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


def test_bulk_mode_is_for_files() -> None:
    session, _ = _session(StapOptions(bulk=True))
    with pytest.raises(spile.SpecError, match="bulk"):
        session.start()


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
