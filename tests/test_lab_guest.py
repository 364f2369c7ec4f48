"""The lab's guests without a guest: a `vng` of the tests' own takes its place, well-behaved or not."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab import LabError, guest, kernels
from lab.__main__ import main

WELL_BEHAVED = 'for last; do :; done\necho "[ 0.1] booted"\neval "$last"\n'


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> kernels.Kernel:
    """A kernel in a cache of this test's own, which nothing can boot."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = kernels.Kernel("6.1", "6.1.0-0-test")
    made.image.parent.mkdir(parents=True)
    made.image.touch()
    (tmp_path / "spile-lab" / "kernel-6.1.json").write_text(json.dumps({"release": made.release}))
    monkeypatch.setattr("lab.packages.need", lambda *_: None)
    program(tmp_path, "virtiofsd", "exit 0")
    return made


def program(base: Path, name: str, text: str) -> None:
    """A shell script where the lab looks first for its programs."""
    path = base / "spile-lab" / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def run(kernel: kernels.Kernel, tmp_path: Path, vng: str, *command: str, limit: float = 60) -> guest.Ended:
    """A command in what this `vng` calls a guest."""
    program(tmp_path, "vng", vng)
    return guest.run(kernel, list(command), limit=limit, where=tmp_path)


def test_the_command_boots_the_kernel_and_shares_one_folder(kernel: kernels.Kernel) -> None:
    folder = Path("/cache/runs/x y")
    command = guest.boot_command(kernel, folder / "script", folder, 90)
    assert command[: command.index("vng")] == ["setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=5", "90"]
    options = command[command.index("vng") :]
    assert options[1:3] == ["--run", str(kernel.image)]
    assert "--disable-kvm" in options and "--rwdir=/cache/runs/x y" in options
    assert "--rw" not in options, "a guest must not write the host's files"
    assert options[-2:] == ["--", "sh '/cache/runs/x y/script'"]


def test_more_devices_are_qemus_options_with_the_others(kernel: kernels.Kernel) -> None:
    command = guest.boot_command(kernel, Path("/s"), Path("/"), 90, ["-device", "odd name"])
    (options,) = [word for word in command if word.startswith("--qemu-opts=")]
    assert shlex.split(options.removeprefix("--qemu-opts="))[-2:] == ["-device", "odd name"]


def test_output_and_status_come_back(kernel: kernels.Kernel, tmp_path: Path) -> None:
    ended = run(kernel, tmp_path, WELL_BEHAVED + "exit 255", "sh", "-c", "echo out; echo err >&2; pwd; exit 7")
    assert ended.status == 7
    assert ended.output == f"out\nerr\n{tmp_path}\n"
    assert "booted" in ended.console


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(st.text(st.characters(blacklist_characters="\0", codec="utf-8"), max_size=20), max_size=4))
def test_arguments_arrive_as_they_are(kernel: kernels.Kernel, tmp_path: Path, arguments: list[str]) -> None:
    code = "import sys, json, os; print(json.dumps([sys.argv[1:], os.environ['ODD']]))"
    odd = "".join(arguments)
    text = guest.guest_script([sys.executable, "-S", "-c", code, *arguments], {"ODD": odd}, tmp_path, tmp_path)
    subprocess.run(["sh", "-c", text], check=True, timeout=60)
    assert json.loads((tmp_path / "output").read_text()) == [arguments, odd]
    assert (tmp_path / "status").read_text() == "0\n"


@pytest.mark.parametrize(
    ("vng", "reason"),
    [
        ('echo "[ 1.0] Kernel panic - not syncing: test"; exit 0', "panicked"),
        ("echo no such machine; exit 1", r"ended without a result \(vng's status: 1\)"),
        ("kill -9 $$", r"ended without a result"),
        ("exit 0", r"ended without a result"),
    ],
)
def test_a_guest_that_dies_is_no_result(kernel: kernels.Kernel, tmp_path: Path, vng: str, reason: str) -> None:
    ended = run(kernel, tmp_path, vng, "true")
    assert ended.status is None
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(str(ended))


def test_the_console_s_end_is_in_the_message(kernel: kernels.Kernel, tmp_path: Path) -> None:
    ended = run(kernel, tmp_path, "seq 1 100000; echo the last words; exit 3", "true")
    assert "the last words" in str(ended) and len(str(ended)) < 10000
    assert str(ended.folder / "console") in str(ended)


def test_a_guest_that_hangs_is_ended_by_its_limit_with_all_its_processes(
    kernel: kernels.Kernel, tmp_path: Path
) -> None:
    before = time.monotonic()
    hangs = f"trap '' TERM\nsleep 1000 & echo $! >{tmp_path}/child\necho so far\nsleep 1000\nsleep 1000"
    ended = run(kernel, tmp_path, hangs, "true", limit=1)
    assert time.monotonic() - before < 30
    assert ended.status is None and "did not end within 1 s" in str(ended) and "so far" in str(ended)
    assert gone(int((tmp_path / "child").read_text()))


def test_a_guest_ends_with_whoever_started_it(kernel: kernels.Kernel, tmp_path: Path) -> None:
    program(tmp_path, "vng", f"echo $$ >{tmp_path}/vng.new; mv {tmp_path}/vng.new {tmp_path}/vng\nexec sleep 1000")
    code = "from lab import guest, kernels; guest.run(kernels.cached('6.1'), ['true'], limit=500)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(guest.__file__).parent.parent) as starter:
        deadline = time.monotonic() + 30
        while not (tmp_path / "vng").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        starter.kill()
    assert gone(int((tmp_path / "vng").read_text()))


def test_one_guest_at_a_time(kernel: kernels.Kernel, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program(tmp_path, "vng", WELL_BEHAVED)
    first = guest.Guest(kernel, guest.new_run(kernel), limit=60)
    with first:
        first.start(["sh", "-c", f"sleep 1; echo first >>{tmp_path}/order"], {}, tmp_path)
        command = ["sh", "-c", f"echo second >>{tmp_path}/order"]
        code = f"from lab import guest, kernels; guest.run(kernels.cached('6.1'), {command}, limit=60)"
        with subprocess.Popen([sys.executable, "-c", code], cwd=Path(guest.__file__).parent.parent) as second:
            while first.running:
                time.sleep(0.02)
            assert second.poll() is None
            first.__exit__()
            assert second.wait(30) == 0
    assert (tmp_path / "order").read_text() == "first\nsecond\n"
    assert f"waiting for the guest that process {os.getpid()} uses" in capfd.readouterr().err


def test_the_command_line_passes_status_and_output_on(
    kernel: kernels.Kernel, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    program(tmp_path, "vng", WELL_BEHAVED)
    assert main(["run", "6.1", "--", "sh", "-c", "printf 'a\\0b'; exit 3"]) == 3
    assert capfdbinary.readouterr().out == b"a\0b"
    program(tmp_path, "vng", "echo broken; exit 0")
    assert main(["run", "6.1", "--", "true"]) == 125
    said = capfdbinary.readouterr().err
    assert b"ended without a result" in said and b"broken" in said
    assert main(["run", "7.99", "--", "true"]) == 125
    assert b"no kernel '7.99'; it has 6.1, 6.12" in capfdbinary.readouterr().err


def test_without_vng_it_says_what_to_do(kernel: kernels.Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LabError, match=r"make guest-test"):
        guest.need_programs()


def gone(process: int) -> bool:
    """Whether a process ends soon."""
    for _ in range(400):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False
