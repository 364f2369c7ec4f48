"""Guest tests as pytest on the host shows them, where a stand-in for vng runs the tests on the host, or fails to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import guest

# Runs the guest's script here, whose scratch folder belongs to the test.
STAND_IN = """
for last; do :; done
export STAND_IN=$$
sed -i "s,/dev/shm,$XDG_CACHE_HOME," "${last#sh }"
eval "$last"
"""
TESTS = """
import os, signal, time
from pathlib import Path
import pytest

pytestmark = pytest.mark.guest

def test_good(guest_kernel):
    assert guest_kernel == os.environ["SPILE_LAB_KERNEL"]

def test_bad(guest_kernel):
    print("said before")
    assert guest_kernel == "6.12", "only there"

@pytest.mark.guest(kernels=("6.12",))
@pytest.mark.parametrize("number", [1, 2])
def test_there(number):
    pass

def test_skips():
    pytest.skip("not today")

@pytest.mark.xfail(reason="known")
def test_expected():
    assert False

def test_on_the_host_too():
    pass
"""


@pytest.fixture
def tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with the lab's plugin, two kernels that nothing can boot, and the stand-in."""
    cache = pytester.path / "cache" / "spile-lab"
    for series in ("6.1", "6.12"):
        image = cache / "kernels" / f"{series}.0-test" / "boot" / f"vmlinuz-{series}.0-test"
        image.parent.mkdir(parents=True)
        image.touch()
        (cache / f"kernel-{series}.json").write_text(json.dumps({"release": f"{series}.0-test"}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    monkeypatch.setenv("PYTHONPATH", str(Path(guest.__file__).parent.parent))
    monkeypatch.setattr("lab.packages.need", lambda *_: None)
    for name in ("SPILE_CI", "SPILE_LAB_KERNEL", "SPILE_LAB_RUN"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeconftest("pytest_plugins = ['lab.plugin']")
    stand_in(pytester, STAND_IN)
    stand_in(pytester, "", "virtiofsd")
    return pytester


def stand_in(pytester: pytest.Pytester, text: str, name: str = "vng") -> None:
    """A shell script in place of one of the lab's programs."""
    path = pytester.path / "cache" / "spile-lab" / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """The tests of one file, in this process, as `pytest` with these options runs them."""
    pytester.makepyfile(test_inner=tests)
    return pytester.runpytest_inprocess("-v", "-p", "no:cacheprovider", *options)


def test_without_the_option_they_skip_and_say_why(tests: pytest.Pytester) -> None:
    result = run(tests, TESTS, "-rs")
    result.assert_outcomes(skipped=14 - 2)
    result.stdout.fnmatch_lines("*runs in a guest of the kernel lab: make guest-test*")


def test_one_result_for_each_test_and_kernel(tests: pytest.Pytester) -> None:
    result = run(tests, TESTS, "--lab", "6.12", "--lab", "6.1")
    result.assert_outcomes(passed=7, failed=1, skipped=2, xfailed=2)
    result.stdout.fnmatch_lines(
        [
            "*::test_good?6.1? PASSED*",
            "*::test_bad?6.1? FAILED*",
            "*::test_good?6.12? PASSED*",
            "*::test_there?6.12-1? PASSED*",
            "*only there*",
            "*said before*",
        ]
    )


def test_one_kernel_and_some_of_the_tests(tests: pytest.Pytester) -> None:
    result = run(tests, TESTS, "--lab", "6.1", "-k", "good or bad")
    result.assert_outcomes(passed=1, failed=1, deselected=10)


def test_other_tests_run_on_the_host_and_first(tests: pytest.Pytester) -> None:
    mixed = TESTS + "\ndef test_a(): pass\n"
    tests.makepyfile(test_other="def test_host(tmp_path): assert tmp_path.exists()")
    result = run(tests, mixed.replace("pytestmark", "unused"), "--lab", "6.12", "-k", "host or there")
    result.assert_outcomes(passed=4, deselected=5)


BESIDE = """
import os
import pytest
from lab import LabError

@pytest.mark.guest(kernels=("6.12", "6.1"))
def test_inside(guest_kernel):
    assert os.environ["SPILE_LAB_KERNEL"] == guest_kernel

@pytest.mark.guest(kernels=("6.1",), beside=True)
def test_beside(remote_guest, guest_kernel):
    assert "SPILE_LAB_KERNEL" not in os.environ, "this runs on the host"
    assert remote_guest.run("sh", "-c", "echo $SPILE_LAB_KERNEL 'a  b'") == "6.1 a  b\\n"
    with pytest.raises(LabError, match="status 3"):
        remote_guest.run("sh", "-c", "exit 3")
    addresses = {remote_guest.address() for _ in range(8)}
    assert len(addresses) == 8 and all(address.startswith("unix:/") for address in addresses)
    with pytest.raises(LabError, match="all 8 ports"):
        remote_guest.address()
"""


def test_a_test_beside_a_guest_runs_here_and_its_commands_there(tests: pytest.Pytester) -> None:
    stand_in(tests, STAND_IN.replace("eval", 'sed -i s/PORTS=8/PORTS=0/ "${last#sh }"\neval'))
    result = run(tests, BESIDE, "--lab", "6.1", "--lab", "6.12")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_beside?6.1? PASSED*", "*::test_inside?6.1? PASSED*"])


def test_a_guest_that_does_not_come_to_listen_is_an_error_with_its_console(tests: pytest.Pytester) -> None:
    stand_in(tests, "echo no such machine; exit 1\n")
    result = run(tests, BESIDE, "--lab", "6.1", "-k", "beside")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ended without a result*", "*no such machine*"])


PANICS = """
import os, signal, pytest
pytestmark = pytest.mark.guest(kernels=("6.1",))
def test_before(): pass
def test_panics():
    os.killpg(0, signal.SIGKILL)
def test_after(): pass
"""


def test_a_guest_that_dies_fails_the_test_that_ran_with_its_console(tests: pytest.Pytester) -> None:
    stand_in(tests, 'echo "BUG: unable to handle page fault"\necho "Kernel panic - not syncing"\n' + STAND_IN)
    result = run(tests, PANICS, "--lab", "6.1")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "while this test ran, the guest (6.1.0-test) panicked",
            "*the end of its console*",
            "BUG: unable to handle page fault",
            "not run: in *::test_panics?6.1?, the guest (6.1.0-test) panicked",
        ]
    )


def test_a_hung_guest_fails_the_test_in_time(tests: pytest.Pytester) -> None:
    hangs = "import time, signal, pytest\n@pytest.mark.guest(kernels=('6.1',))\ndef test_hangs():\n"
    hangs += "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(1000)\n"
    before = time.monotonic()
    result = run(tests, hangs, "--lab", "6.1", "--lab-stall", "4")
    assert time.monotonic() - before < 60
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("while this test ran, the guest (6.1.0-test) was ended: nothing came from it in 4 s")


def test_a_guest_that_does_not_boot_fails_its_tests_and_the_next_kernel_s_run(tests: pytest.Pytester) -> None:
    stand_in(tests, 'case "$*" in *6.12.0-test*) ;; *) echo no such machine; exit 1;; esac\n' + STAND_IN)
    result = run(tests, TESTS, "--lab", "6.1", "--lab", "6.12", "-k", "good")
    result.assert_outcomes(passed=1, failed=1, deselected=10)
    result.stdout.fnmatch_lines(["not run: *6.1.0-test*ended without a result*", "no such machine"])


def test_a_bad_end_after_the_last_test_is_an_error(tests: pytest.Pytester) -> None:
    stand_in(tests, STAND_IN + 'echo Kernel panic at the very end\nrm "$(dirname "${last#sh }")/status"')
    result = run(tests, TESTS, "--lab", "6.12", "-k", "good")
    result.assert_outcomes(passed=1, errors=1, deselected=11)
    result.stdout.fnmatch_lines("after the last test, the guest (6.12.0-test) panicked")


def test_a_file_that_can_t_be_imported_in_the_guest_fails_with_what_pytest_said(tests: pytest.Pytester) -> None:
    result = run(tests, "import os\nassert 'STAND_IN' not in os.environ\n" + TESTS, "--lab", "6.1", "-k", "good")
    result.assert_outcomes(failed=1, deselected=11)
    result.stdout.fnmatch_lines(["not run: the command ended with status *", "*AssertionError*"])


def test_what_prepare_makes_on_the_host_is_in_the_guest(tests: pytest.Pytester) -> None:
    prepared = """
import os, pytest
pytestmark = pytest.mark.guest
def prepare(lab):
    assert "STAND_IN" not in os.environ
    (lab.folder / "made").write_text(lab.kernel.series)
    if lab.kernel.series == "6.12":
        raise ValueError("not for this one")
def test_made(prepared, guest_kernel):
    assert (prepared.folder / "made").read_text() == guest_kernel
    with pytest.raises(Exception, match="no module 'x' was prepared"):
        prepared.module("x")
"""
    tests.makepyfile(test_other="import pytest\n@pytest.mark.guest\ndef test_fine(): pass\n")
    result = run(tests, prepared, "--lab", "6.1", "--lab", "6.12")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines("test_inner.py: prepare(6.12) failed: ValueError: not for this one")


def test_an_unknown_kernel_is_refused(tests: pytest.Pytester) -> None:
    result = run(tests, "import pytest\n@pytest.mark.guest(kernels=('5.4',))\ndef test_old(): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*the lab has no kernel '5.4'; it has 6.1, 6.12*")


def test_ctrl_c_leaves_no_guest_behind(tests: pytest.Pytester) -> None:
    tests.makepyfile(test_inner="import time, pytest\n@pytest.mark.guest\ndef test_long(): time.sleep(1000)\n")
    stand_in(tests, f"echo $$ >{tests.path}/pid.new; mv {tests.path}/pid.new {tests.path}/pid\nexec sleep 1000")
    pytest_here = (
        "import lab.packages, pytest, sys\nlab.packages.need = lambda *_: None\nsys.exit(pytest.main(['--lab=6.1']))"
    )
    with subprocess.Popen([sys.executable, "-c", pytest_here], stdout=subprocess.DEVNULL) as session:
        deadline = time.monotonic() + 60
        while not (tests.path / "pid").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        session.send_signal(signal.SIGINT)
        assert session.wait(60) == pytest.ExitCode.INTERRUPTED
    assert not Path(f"/proc/{int((tests.path / 'pid').read_text())}").exists()


def test_the_host_s_limit_of_time_is_not_the_guest_s(tests: pytest.Pytester) -> None:
    slow = "import time, pytest\n@pytest.mark.guest(kernels=('6.1',))\n@pytest.mark.timeout(100)\n"
    result = run(tests, slow + "def test_slow(): time.sleep(2)\n", "--lab", "6.1", "--timeout", "1")
    result.assert_outcomes(passed=1)
