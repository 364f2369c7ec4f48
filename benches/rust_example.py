"""What no Python can call, priced by examples of the Rust crate.

In: an example's name. Out: its binary, built first; or why there is none.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def built(name: str, *, tiny: bool = False) -> Path | str:
    """The binary, or the reason. A tiny run takes what is there, for building takes minutes."""
    binary = ROOT / "target" / "release" / "examples" / name
    if not tiny:
        command = ["cargo", "build", "--release", "--quiet", "--locked", "-p", "spile-core", "--example", name]
        try:
            subprocess.run(command, cwd=ROOT, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"its example can't be built: {error}"
    return binary if binary.exists() else f"{name} is not built: cargo build --release --example {name}"
