"""What the lab fetches and compiles: verified, complete or not there, refused with a reason. No network, no stap."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from lab import LabError, cache, kernels, packages, systemtap
from lab.kernels import Kernel


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a folder of programs of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def program(home: Path, name: str, text: str) -> None:
    """A shell script that is found before the real program."""
    path = home / "bin" / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def package(home: Path, name: str, files: dict[str, str]) -> Path:
    """A Debian package, built here."""
    tree = home / "tree"
    for path, text in {
        "DEBIAN/control": f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n",
        **files,
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", tree, home / f"{name}.deb"], check=True, capture_output=True
    )
    return home / f"{name}.deb"


def archive(home: Path, release: str) -> None:
    """An archive with one kernel in it, in place of Debian's."""
    files = {f"boot/vmlinuz-{release}": "a kernel", f"lib/modules/{release}/modules.order": ""}
    made = package(home, f"linux-image-{release}", files)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    meta = f"*cloud-amd64) printf 'Package: x\\nDepends: linux-image-{release}\\nSHA256: {digest}\\n';;"
    program(home, "apt-cache", f"for last; do :; done; case $last in {meta} *) printf 'SHA256: {digest}\\n';; esac")
    program(home, "apt-get", f"echo $* >>{home}/asked; case $1 in download) cp {made} .;; esac")


def test_a_kernel_is_fetched_once(home: Path) -> None:
    archive(home, "6.1.0-1-cloud-amd64")
    kernel = kernels.fetch("6.1")
    assert kernel.release == "6.1.0-1-cloud-amd64" and kernel.image.read_text() == "a kernel"
    assert (kernel.folder / "lib/modules" / kernel.release / "modules.dep").exists()
    assert kernels.fetch("6.1") == kernel
    assert (home / "asked").read_text().count("download") == 1


def test_a_newer_one_is_fetched_when_asked_for(home: Path) -> None:
    archive(home, "6.1.0-1-cloud-amd64")
    kernels.fetch("6.1")
    archive(home, "6.1.0-2-cloud-amd64")
    assert kernels.fetch("6.1").release == "6.1.0-1-cloud-amd64"
    assert "update" not in (home / "asked").read_text()
    assert kernels.fetch("6.1", newest=True).release == "6.1.0-2-cloud-amd64"
    assert kernels.fetch("6.1").release == "6.1.0-2-cloud-amd64"
    assert (home / "asked").read_text().count("update") == 1


def test_a_file_that_is_not_what_the_index_says_is_refused_and_leaves_nothing(home: Path) -> None:
    archive(home, "6.1.0-1-cloud-amd64")
    with (home / "linux-image-6.1.0-1-cloud-amd64.deb").open("ab") as made:
        made.write(b"more")
    with pytest.raises(LabError, match=r"has the checksum [0-9a-f]{64}, and should have [0-9a-f]{64}"):
        kernels.fetch("6.1")
    assert kernels.cached("6.1") is None
    assert not list((cache.folder() / "kernels").glob("*"))


def test_apt_that_knows_nothing_or_fails_is_told(home: Path) -> None:
    program(home, "apt-cache", "exit 100")
    program(home, "apt-get", "echo nothing works >&2; exit 100")
    with pytest.raises(LabError, match="apt knows no package linux-image-cloud-amd64"):
        kernels.fetch("6.1")
    program(home, "apt-cache", "echo 'Depends: linux-image-9'; echo SHA256: " + "0" * 64)
    with pytest.raises(LabError, match=r"linux-image-9 can't be downloaded .*: nothing works"):
        kernels.fetch("6.1")


@pytest.mark.parametrize("record", ["", "[]", "{}", "nonsense", json.dumps({"release": "../../etc"})])
def test_a_spoilt_record_is_no_kernel(home: Path, record: str) -> None:
    cache.folder().mkdir(parents=True)
    (cache.folder() / "kernel-6.1.json").write_text(record)
    assert kernels.cached("6.1") is None


def test_only_the_wanted_files_are_unpacked(home: Path) -> None:
    made = package(home, "x", {"a/one": "1", "a/two": "2", "b/three": "3" * 1000000})
    (home / "into").mkdir()
    packages.unpack(made, home / "into", "./a/one")
    assert [path.name for path in (home / "into").rglob("*") if path.is_file()] == ["one"]
    with pytest.raises(LabError, match=r"x.deb has not all of ./a/none"):
        packages.unpack(made, home / "into", "./a/none")


def test_a_folder_is_complete_or_not_there(home: Path) -> None:
    wanted = home / "wanted"
    with pytest.raises(ZeroDivisionError), cache.complete(wanted) as half:
        (half / "file").touch()
        raise ZeroDivisionError
    assert not wanted.exists() and not list(home.glob(".wanted*"))
    with cache.complete(wanted) as half:
        (half / "file").touch()
        assert not wanted.exists()
    assert (wanted / "file").exists()


STAP = """
case $1 in --version) echo "Systemtap 4.8 (a stand-in)"; exit;; esac
echo "$@" >>"$CALLS"
while [ $# -gt 0 ]; do case $1 in -m) name=$2;; esac; shift; done
"""


@pytest.fixture
def compiler(home: Path, monkeypatch: pytest.MonkeyPatch) -> systemtap.Compiler:
    """A compiler whose stap the test writes."""
    monkeypatch.setenv("CALLS", str(home / "calls"))
    program(home, "stap", STAP + 'echo made >"$name.ko"')
    return systemtap.Compiler(Kernel("6.1", "6.1.0-1-cloud-amd64"))


def test_a_script_is_compiled_once(home: Path, compiler: systemtap.Compiler) -> None:
    path = compiler.module("probe begin {}", "one", "-DX=1")
    assert path.name == "one.ko" and path.with_suffix(".stp").read_text() == "probe begin {}"
    assert compiler.module("probe begin {}", "one", "-DX=1") == path
    (call,) = (home / "calls").read_text().splitlines()
    assert call == f"-R {compiler.runtime} -r {compiler.build} -p4 -m one -DX=1 {systemtap.PATIENCE} one.stp"
    others = {
        compiler.module("probe end {}", "one", "-DX=1"),
        compiler.module("probe begin {}", "two", "-DX=1"),
        compiler.module("probe begin {}", "one"),
    }
    assert len(others | {path}) == 4


def test_a_refused_script_says_what_stap_said_and_leaves_nothing(home: Path, compiler: systemtap.Compiler) -> None:
    program(home, "stap", STAP + "echo 'parse error: unexpected x' >&2; exit 1")
    with pytest.raises(LabError, match=r"stap refused one \(status 1\):\nparse error: unexpected x"):
        compiler.module("x", "one")
    assert not list((cache.folder() / "modules").glob("*"))


def test_a_stap_that_makes_nothing_has_refused(home: Path, compiler: systemtap.Compiler) -> None:
    program(home, "stap", STAP)
    with pytest.raises(LabError, match="stap refused one"):
        compiler.module("x", "one")


def test_a_stap_that_hangs_is_killed_and_its_cache_removed(home: Path, compiler: systemtap.Compiler) -> None:
    spoilt = Path(compiler.cache)
    spoilt.mkdir(parents=True)
    program(home, "stap", STAP + "trap '' TERM INT\nsleep 1000\nsleep 1000")
    before = time.monotonic()
    with pytest.raises(LabError, match=r"stap did not compile one within 0\.5 s"):
        compiler.module("x", "one", limit=0.5)
    assert time.monotonic() - before < 20
    assert not spoilt.exists()


@pytest.mark.parametrize("name", ["", "a-b", "../x", "Big", "x" * 56, "-m", "a b"])
def test_a_name_that_can_t_be_a_module_s_is_refused(compiler: systemtap.Compiler, name: str) -> None:
    with pytest.raises(LabError, match="can't be a module's name"):
        compiler.module("probe begin {}", name)


def test_there_is_no_systemtap_for_other_kernels() -> None:
    with pytest.raises(LabError, match=r"does not compile for 6\.12"):
        systemtap.Compiler.of(Kernel("6.12", "6.12.1"))


def test_a_guest_s_stap_gets_a_copy_of_what_was_compiled_for_it(home: Path, compiler: systemtap.Compiler) -> None:
    program(home, "unshare", f'echo "$@" >{home}/mounted; while [ "$1" != stap ]; do shift; done; exec "$@"')
    program(home, "stap", STAP + 'mkdir -p "$SYSTEMTAP_DIR"; cat >"$SYSTEMTAP_DIR/script"')
    compiler.fill("probe begin {}", "-DX=1", "-c", "a 'b c'", into=home / "for the guest")
    assert (home / "for the guest" / "script").read_text() == "probe begin {}"
    release = compiler.kernel.release
    assert f"{compiler.kernel.folder}/lib/modules/{release} /lib/modules/{release}" in (home / "mounted").read_text()
    assert (home / "calls").read_text() == f"-r {release} -p4 -DX=1 -c a 'b c' -\n"
