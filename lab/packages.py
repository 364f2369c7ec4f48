"""Debian's packages, unpacked and not installed.

In: a package's name. Out: its files in a folder, after their checksum proved to be what apt's signed index says. What
must be installed after all (QEMU, a compiler) goes through `.ci/need`. It never touches /boot or /lib/modules.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import LabError

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = 1 << 20


def need(test: str, *packages: str) -> None:
    """Installs packages where a shell command fails."""
    done = subprocess.run([ROOT / ".ci" / "need", test, *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(packages)} can't be installed: {(done.stdout + done.stderr).strip()}")


def depends(package: str, *, refresh: bool = False) -> str:
    """The package that a meta-package stands for; apt's lists are refreshed when asked, or where they don't know it."""
    for as_they_are in (False,) if refresh else (True, False):
        if not as_they_are:
            subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
        if found := re.search(r"^Depends: (linux-image-\S+)", _apt_cache("show", "--no-all-versions", package), re.M):
            return found.group(1)
    raise LabError(f"apt knows no package {package}: the lab needs Debian 12's sources, the security updates included")


def sha256(package: str) -> str:
    """What the package's file must be, by apt's index, whose signature apt has checked."""
    if found := re.search(r"^SHA256: ([0-9a-f]{64})$", _apt_cache("show", "--no-all-versions", package), re.M):
        return found.group(1)
    raise LabError(f"apt knows no checksum of {package}; try: apt-get update")


@contextmanager
def downloaded(package: str) -> Iterator[Path]:
    """The package's file, verified, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="spile-lab-") as folder:
        done = subprocess.run(
            ["apt-get", "download", "-q", package], cwd=folder, capture_output=True, text=True, check=False
        )
        files = list(Path(folder).glob("*.deb"))
        if done.returncode or len(files) != 1:
            raise LabError(
                f"{package} can't be downloaded (if apt's lists are old: apt-get update): {done.stderr.strip()}"
            )
        verify(files[0], sha256(package))
        yield files[0]


def verify(file: Path, expected: str) -> None:
    """Refuses a file that is not what it should be."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise LabError(f"{file.name} has the checksum {digest.hexdigest()}, and should have {expected}")


def unpack(file: Path, into: Path, *only: str) -> None:
    """Unpacks all of a package, or only some of its files: then reading stops at the last of them."""
    if not only:
        subprocess.run(["dpkg-deb", "-x", file, into], check=True)
        return
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as archive:
        done = subprocess.run(["tar", "-C", into, "-x", "--occurrence=1", *only], stdin=archive.stdout, check=False)
        assert archive.stdout is not None
        archive.stdout.close()
    if done.returncode:
        raise LabError(f"{file.name} has not all of {', '.join(only)}")


def _apt_cache(*arguments: str) -> str:
    try:
        return subprocess.run(["apt-cache", *arguments], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise LabError("the lab takes its kernels from Debian, and there is no apt-cache here") from None
