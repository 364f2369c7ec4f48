"""What is compiled. In: a folder. Out: a tree that can be built again and again, each time from the same beginning.

The kernel's is Debian's linux-source-6.1 in its tiniest configuration; what its build needs once is built once.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TARBALL = "linux-source-6.1.tar.xz"


@dataclass(frozen=True, slots=True)
class Build:
    """One build's cost, in seconds."""

    wall: float
    #: Of all its processes; what interrupts and probes take of them is in it.
    cpu: float


@dataclass(frozen=True)
class Tree:
    """A folder with a Makefile, and the targets that are built of it."""

    folder: Path
    targets: Sequence[str]
    jobs: int

    def build(self) -> Build:
        """Builds what `clean` removed."""
        command = ["make", "--silent", f"--jobs={self.jobs}", *_ARCHITECTURE, *self.targets]
        before = time.perf_counter()
        with Path(self.folder, ".build.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed: see {log.name}")
        return Build(wall, usage.ru_utime + usage.ru_stime)

    def clean(self) -> None:
        """Removes what `build` makes, and nothing else."""
        for target in self.targets:
            for path in list(Path(self.folder, target).rglob("*")):
                if path.suffix in (".o", ".a", ".cmd", ".d") or path.name.endswith((".o.cmd", "modules.order")):
                    path.unlink(missing_ok=True)


_ARCHITECTURE = ("ARCH=x86_64",) if os.uname().machine == "x86_64" else ()


def kernel(work: Path, targets: Sequence[str], jobs: int) -> Tree:
    """The kernel's tree, unpacked and prepared in `work` unless it is there already."""
    folder, done = work / "linux-source-6.1", work / "linux-source-6.1" / ".prepared"
    if not done.exists():
        print(f"Unpacking and preparing the kernel's source in {folder} (some minutes, once)", flush=True)
        subprocess.run(["tar", "xf", f"/usr/src/{TARBALL}", "-C", work], check=True)
        for target in ("tinyconfig", "prepare"):
            quietly = ["make", "--silent", f"--jobs={jobs}", *_ARCHITECTURE, target]
            subprocess.run(quietly, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        done.touch()
    return Tree(folder, targets, jobs)


def small(work: Path, jobs: int, files: int = 4) -> Tree:
    """A few files of C, for trying the bench itself."""
    folder = work / "small"
    sources = folder / "src"
    sources.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        text = (
            f'#include <stdio.h>\n#include <stdlib.h>\nint f{number}(int x) {{ return printf("%d", x + {number}); }}\n'
        )
        (sources / f"f{number}.c").write_text(text)
    objects = " ".join(f"src/f{number}.o" for number in range(files))
    (folder / "Makefile").write_text(f"src/: {objects}\n\t@true\n.PHONY: src/\n%.o: %.c\n\t$(CC) -O2 -c -o $@ $<\n")
    return Tree(folder, ["src/"], jobs)
