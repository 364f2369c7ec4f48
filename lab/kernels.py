"""The kernels that guests boot.

In: a series ("6.1"). Out: Debian's newest cloud image of it, unpacked in the cache, its modules indexed. A series that
is in the cache stays at its release until somebody asks for a newer one: SystemTap's part for it is hundreds of
megabytes.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import LabError, cache, packages

# series: the meta-package that stands for its newest release.
SERIES = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache."""

    series: str
    release: str

    @property
    def folder(self) -> Path:
        """Where its package is unpacked."""
        return cache.folder() / "kernels" / self.release

    @property
    def image(self) -> Path:
        """What QEMU boots."""
        return self.folder / "boot" / f"vmlinuz-{self.release}"


def known(series: str) -> str:
    """The series, where the lab has it."""
    if series not in SERIES:
        raise LabError(f"the lab has no kernel {series!r}; it has {', '.join(SERIES)}")
    return series


def cached(series: str) -> Kernel | None:
    """The kernel of a series that was fetched before."""
    try:
        release = json.loads(_record(series).read_text(encoding="utf-8"))["release"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    kernel = Kernel(series, str(release))
    return kernel if kernel.image.is_file() else None


def fetch(series: str, *, newest: bool = False) -> Kernel:
    """The kernel of a series, downloaded where it isn't there (or, when asked, where Debian has a newer one)."""
    known(series)
    with cache.lock("cache"):
        found = cached(series)
        if found and not newest:
            return found
        package = packages.depends(SERIES[series], refresh=newest)
        kernel = Kernel(series, package.removeprefix("linux-image-"))
        if not kernel.image.is_file():
            packages.need("command -v depmod", "kmod")
            _unpack(package, kernel)
        _record(series).write_text(json.dumps({"release": kernel.release, "package": package}), encoding="utf-8")
        return kernel


def _unpack(package: str, kernel: Kernel) -> None:
    with packages.downloaded(package) as file, cache.complete(kernel.folder) as folder:
        packages.unpack(file, folder)
        subprocess.run(["depmod", "-b", folder, kernel.release], check=True)


def _record(series: str) -> Path:
    return cache.folder() / f"kernel-{series}.json"
