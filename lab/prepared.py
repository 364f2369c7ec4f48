"""What is made on the host for tests in a guest: SystemTap modules, files.

In: on the host, the calls of a test module's `prepare(lab)`. Out: in the guest, the paths, by name. A guest compiles
nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from lab import LabError
from lab.kernels import Kernel
from lab.systemtap import Compiler

_MODULES = "modules.json"
_STAP = "stap.json"


class Preparation:
    """The host's end: what `prepare(lab)` gets."""

    def __init__(self, kernel: Kernel, folder: Path) -> None:
        """For a guest of this kernel, whose run has this folder."""
        self.kernel = kernel
        # The guest sees this folder at the same place, and may write there.
        self.folder = folder
        self._modules: dict[str, str] = {}

    def module(self, script: str, name: str, *options: str, limit: float = 300) -> Path:
        """Compiles a SystemTap script into the module `name`, or takes it from the cache."""
        path = Compiler.of(self.kernel).module(script, name, *options, limit=limit)
        if self._modules.setdefault(name, str(path)) != str(path):
            raise LabError(f"two scripts are called {name!r}; in a guest each module needs its own name")
        (self.folder / _MODULES).write_text(json.dumps(self._modules), encoding="utf-8")
        return path

    def stap(self, script: str, *options: str, limit: float = 300) -> None:
        """Makes `stap` itself bearable in the guest, for this script on its standard input, with these options.

        It still parses and analyses there, which takes half a minute; then it finds the module compiled.
        """
        compiler = Compiler.of(self.kernel)
        compiler.fill(script, *options, into=self.folder / "stap", limit=limit)
        variables = {"SYSTEMTAP_DIR": str(self.folder / "stap"), "SYSTEMTAP_RUNTIME": str(compiler.runtime)}
        (self.folder / _STAP).write_text(json.dumps(variables), encoding="utf-8")


class Prepared:
    """The guest's end: the fixture `prepared`."""

    def __init__(self, folder: Path) -> None:
        """What was prepared in this run's folder."""
        self.folder = folder

    def module(self, name: str) -> Path:
        """The module's file, for `staprun`."""
        modules = self._read(_MODULES)
        if name not in modules:
            raise LabError(f"no module {name!r} was prepared on the host; prepare(lab) made {sorted(modules)}")
        return Path(modules[name])

    @property
    def stap_variables(self) -> dict[str, str]:
        """The environment variables with which `stap` finds here what was compiled for it."""
        return self._read(_STAP)

    def _read(self, name: str) -> dict[str, str]:
        path = self.folder / name
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
