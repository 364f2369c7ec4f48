"""Checks the rules of the structure (ARCHITECTURE.md): who may depend on whom, where `unsafe` lives, sizes and names.

In: cargo's own account of the dependencies, and the tree. Out: a line for each broken rule, and exit status 1.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# crate: what must not be among its normal dependencies, however far down.
FORBIDDEN = {
    "spile-core": {"spile-bpf", "spile-py", "pyo3", "pyo3-ffi", "aya-obj"},
    "spile-bpf": {"spile-py", "pyo3", "pyo3-ffi"},
}
# Names that say nothing about what is inside.
GRAB_BAGS = {"common", "helper", "helpers", "misc", "tools", "util", "utils"}
# Past this many lines a reader deserves a reason.
MOST_LINES = 500
LONGER_WITH_A_REASON: dict[str, str] = {}
UNSAFE_ALLOWED = (
    "rust/bpf/src/kernel/",  # the funnel to the kernel, and its shared memory
    "rust/py/src/",  # the buffer adapters
)
# Tests, wherever they are: `compile/fuzz.rs` sees what is private to the compiler.
TRIALS = ("tests/", "benches/", "rust/bpf/examples/", "rust/bpf/src/compile/fuzz.rs")
UNSAFE = re.compile(r"\bunsafe\s*(\{|fn\b|impl\b|extern\b)")


def dependencies() -> Iterator[str]:
    """Who depends on whom: by cargo's resolved graph, build and test dependencies left out."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    normal = {
        node["id"]: [
            dependency["pkg"]
            for dependency in node["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
        for node in metadata["resolve"]["nodes"]
    }
    for root, forbidden in FORBIDDEN.items():
        waiting = [identity for identity, name in names.items() if name == root]
        seen: set[str] = set()
        while waiting:
            identity = waiting.pop()
            if identity not in seen:
                seen.add(identity)
                waiting += normal[identity]
        for name in sorted({names[identity] for identity in seen} & forbidden):
            yield f"{root} depends on {name}, which it must not know"


def sources() -> Iterator[Path]:
    """The project's own Rust and Python files, as git knows them, those not yet added included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.rs", "*.py", "*.pyi"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        path = ROOT / line
        if path.is_file():
            yield path


def names_and_sizes() -> Iterator[str]:
    """Files whose names say nothing, files too long without a reason, `unsafe` outside its places."""
    for path in sources():
        relative = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        for part in path.relative_to(ROOT).with_suffix("").parts:
            if part in GRAB_BAGS:
                yield f"{relative}: '{part}' says nothing about what is inside; name the topic"
        length = text.count("\n")
        is_trial = any(part in relative for part in TRIALS)
        if length > MOST_LINES and not is_trial and relative not in LONGER_WITH_A_REASON:
            yield f"{relative}: {length} lines, more than {MOST_LINES}; split it, or give a reason in .ci/structure.py"
        own = text.partition("#[cfg(test)]")[0]
        if path.suffix == ".rs" and not is_trial and not relative.startswith(UNSAFE_ALLOWED) and UNSAFE.search(own):
            yield f"{relative}: unsafe lives in {' and '.join(UNSAFE_ALLOWED)} alone"


def main() -> int:
    """Prints each broken rule."""
    broken = [*dependencies(), *names_and_sizes()]
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
