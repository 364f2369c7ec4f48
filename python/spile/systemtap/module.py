"""Compile here, run there: a script's kernel module, and the script beside it.

In: a script and `StapOptions`. Out: ``NAME.ko`` and, so that nobody decodes the stream of one script as another's,
``NAME.stp``. Nothing is loaded here.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ..errors import EngineError, SpecError
from .command import Needs, compile_command
from .options import StapOptions
from .process import StapProcess


def compile_module(
    script: str, path: Path | str, options: StapOptions | None = None, needs: Needs | None = None
) -> Path:
    """Compiles the script into the module `path` (``NAME.ko``), at most ``options.start_timeout`` seconds long.

    Copy it to where it shall run, together with the script beside it, and run it there with
    ``StapOptions(module=...)``. Raises what a start on this machine would raise.
    """
    module, chosen = Path(path).absolute(), options or StapOptions()
    if module.suffix != ".ko":
        raise SpecError(f"a kernel module is called NAME.ko; not {module.name!r}", "systemtap.module")
    command = compile_command(chosen, module.stem, needs)
    with tempfile.TemporaryDirectory(prefix="spile-stap-") as folder:
        with StapProcess(command, chosen, script, where=Path(folder)) as process:
            ended = process.wait()
            if (error := process.error()) is not None:
                raise error
        made = Path(folder) / module.name
        if ended is None or not made.exists():
            raise EngineError(f"stap made no module {module.name}", process.log)
        shutil.move(made, module)
    module.with_suffix(".stp").write_text(script, encoding="utf-8")
    return module
