"""The real stap, as far as it gets without loading anything: what it refuses, its end while it compiles."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from spile import EngineError, ProbeNotFound, Unsupported
from spile.systemtap.options import StapOptions
from spile.systemtap.process import StapProcess

pytestmark = pytest.mark.skipif(shutil.which("stap") is None, reason="there is no stap here")


@pytest.fixture
def headers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The build tree of some kernel; stap's cache and temporary files in a folder of the test's."""
    trees = [tree for tree in Path("/lib/modules").glob("*/build") if (tree / ".config").exists()]
    if not trees:
        pytest.skip("there are no kernel headers here")
    if Path("/sys/kernel/security/lockdown").exists():
        pytest.skip("this kernel is locked down, and stap looks at that first")
    monkeypatch.setenv("SYSTEMTAP_DIR", str(tmp_path / "home"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return trees[0]


def ended_with(script: str, options: StapOptions) -> BaseException:
    with StapProcess.start(script, options) as process:
        assert process.wait(100) is not None
        return process.error() or AssertionError(process.log)


def test_wrong_headers() -> None:
    with pytest.raises(Unsupported, match=r"headers of kernel 1\.2\.3-nothing, .*linux-headers-1\.2\.3-nothing"):
        raise ended_with("probe begin {}", StapOptions(kernel="1.2.3-nothing"))


def test_a_script_that_it_refuses(headers: Path) -> None:
    with pytest.raises(EngineError, match=r"refuses the script \(line 2 of the script\): parse error"):
        raise ended_with("# the second line is wrong\nprobe begin { println(1 }\n", StapOptions(kernel=headers))


def test_unknown_probes(headers: Path) -> None:
    with pytest.raises(ProbeNotFound, match=r"'functoin'; did you mean function\? \(line 3"):
        raise ended_with('\n\nprobe kernel.functoin("vfs_read") {}\n', StapOptions(kernel=headers))


def test_stopped_while_it_compiles(headers: Path, tmp_path: Path) -> None:
    script = 'probe begin { printf("%d", 1) exit() }'
    with StapProcess.start(script, StapOptions(kernel=headers, cache=False)) as process:
        until = time.monotonic() + 60
        while process.passed < 3 and time.monotonic() < until:
            time.sleep(0.05)
        assert process.passed == 3
        ended = process.stop()
        assert not ended.killed
        assert process.error() is None
    assert list((tmp_path / "temporary").iterdir()) == []
