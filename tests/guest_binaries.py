"""The engine's own tests, built on the host for a guest, where nothing is compiled.

In: names of test binaries of `spile-bpf`. Out: links to them in the folder that the guest sees.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lab.prepared import Preparation

_ROOT = Path(__file__).parents[1]


def build(lab: Preparation, *binaries: str) -> None:
    """Builds the engine's tests of these names, where the guest sees them."""
    tests = [option for name in binaries for option in ("--test", name)]
    # Emulated, what isn't optimised takes minutes; overflows and assertions are checked all the same.
    optimised = ["--config", "profile.dev.opt-level=1"]
    command = ["cargo", "test", *optimised, "-p", "spile-bpf", *tests, "--no-run", "--message-format=json"]
    built = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    artifacts = [json.loads(line) for line in built.stdout.splitlines() if '"executable":"' in line]
    for name in binaries:
        paths = [found["executable"] for found in artifacts if found["target"]["name"] == name]
        path = lab.folder / name
        path.unlink(missing_ok=True)
        path.symlink_to(paths[-1])
