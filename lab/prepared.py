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

_LIST = "modules.json"


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
        (self.folder / _LIST).write_text(json.dumps(self._modules), encoding="utf-8")
        return path


class Prepared:
    """The guest's end: the fixture `prepared`."""

    def __init__(self, folder: Path) -> None:
        """What was prepared in this run's folder."""
        self.folder = folder

    def module(self, name: str) -> Path:
        """The module's file, for `staprun`."""
        listed = self.folder / _LIST
        modules = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else {}
        if name not in modules:
            raise LabError(f"no module {name!r} was prepared on the host; prepare(lab) made {sorted(modules)}")
        return Path(modules[name])
