"""A command starts stopped, is released, ends and is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from spile import SpecError
from spile.command import Command, check_pid, has_ended


def executable(pid: int) -> str:
    return str(Path(f"/proc/{pid}/exe").readlink())


def test_born_stopped_and_executes_when_released() -> None:
    command = Command(["sleep", "10"])
    pid = command.spawn()
    try:
        time.sleep(0.05)
        assert executable(pid) == executable(os.getpid())  # not executed yet
        command.release()
        assert executable(pid).endswith(("sleep", "coreutils", "busybox"))
        assert command.poll() is None
    finally:
        command.end()
    assert command.returncode == -signal.SIGTERM


def test_returncode_as_in_subprocess() -> None:
    command = Command("sh -c 'exit 7'")
    command.spawn()
    command.release()
    assert command.wait(5) == 7
    killed = Command(["sh", "-c", "kill -9 $$"])
    killed.spawn()
    killed.release()
    assert killed.wait(5) == -9


def test_never_released_it_runs_nothing(tmp_path: Path) -> None:
    command = Command(["touch", str(tmp_path / "made")])
    pid = command.spawn()
    command.end()
    assert not (tmp_path / "made").exists()
    assert command.returncode is None
    assert has_ended(pid)


def test_one_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("spile.command._PATIENCE", 0.1)
    ready = tmp_path / "ready"
    command = Command(["sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done"])
    command.spawn()
    command.release()
    while not ready.exists():
        time.sleep(0.01)
    command.end()
    assert command.returncode == -signal.SIGKILL


def test_starts_as_from_a_shell() -> None:
    """Python ignores SIGPIPE; its children should not."""
    command = Command([sys.executable, "-c", "import signal, sys; sys.exit(signal.getsignal(signal.SIGUSR1) != 0)"])
    command.spawn()
    command.release()
    assert command.wait(10) == 0
    status = Command(["sh", "-c", "kill -PIPE $$; exit 3"])
    status.spawn()
    status.release()
    assert status.wait(5) == -signal.SIGPIPE


def test_what_cannot_be_executed_says_so(tmp_path: Path) -> None:
    script = tmp_path / "nonsense"
    script.write_bytes(b"\x7fELF nonsense")
    script.chmod(0o755)
    command = Command([script])
    command.spawn()
    with pytest.raises(OSError, match="Exec format error"):
        command.release()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "empty"), ("", "empty"), ("sh -c 'x", "split"), (7, "a list of strings"), ([None], "a list of strings")],
)
def test_what_is_no_command(arguments: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Command(arguments)  # type: ignore[arg-type]


def test_an_unknown_program() -> None:
    with pytest.raises(SpecError, match="no program 'no-such-program'"):
        Command("no-such-program --help").spawn()


def test_a_process_that_is_not_there() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(SpecError, match=f"no process {child.pid}"):
        check_pid(child.pid)
    check_pid(os.getpid())


def test_a_thread_is_no_process() -> None:
    number: list[int] = []
    done = threading.Event()

    def work() -> None:
        number.append(threading.get_native_id())
        done.wait(5)

    thread = threading.Thread(target=work)
    thread.start()
    while not number:
        time.sleep(0.001)
    try:
        with pytest.raises(SpecError, match=f"write pid={os.getpid()}"):
            check_pid(number[0])
    finally:
        done.set()
        thread.join()
