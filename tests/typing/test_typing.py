"""The public types, as mypy and pyright see them.

``accepted.py`` must pass both; in ``refused.py.txt`` each must find an error on every line that says ``expect-error``,
and on no other.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PYTHON = ROOT / "python"


def mypy(file: Path, folder: Path) -> set[int]:
    """The lines on which mypy finds an error."""
    config = folder / "mypy.ini"
    config.write_text(f"[mypy]\nstrict = True\nmypy_path = {PYTHON}\ncache_dir = {folder / 'cache'}\n")
    options = ["--config-file", str(config), "--no-error-summary", "--hide-error-context", "--show-absolute-path"]
    out = _run([sys.executable, "-m", "mypy", *options, str(file)], folder)
    return {int(line) for line in re.findall(rf"^{re.escape(str(file))}:(\d+): error:", out, re.MULTILINE)}


def pyright(file: Path, folder: Path) -> set[int]:
    """The lines on which pyright finds an error."""
    config = folder / "pyrightconfig.json"
    options = {"include": [str(file)], "extraPaths": [str(PYTHON)], "typeCheckingMode": "strict"}
    # Bare expressions are what the refused file is made of.
    options |= dict.fromkeys(["reportUnusedExpression", "reportUnusedVariable", "reportUnknownMemberType"], "none")
    options |= dict.fromkeys(["reportUnknownVariableType", "reportUnknownArgumentType"], "none")
    config.write_text(json.dumps(options))
    out = _run([sys.executable, "-m", "pyright", "--outputjson", "--project", str(config)], folder)
    found = json.loads(out[out.index("{") :])["generalDiagnostics"]
    return {item["range"]["start"]["line"] + 1 for item in found if item["severity"] == "error"}


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


CHECKERS = [
    pytest.param(
        check,
        id=check.__name__,
        marks=pytest.mark.skipif(
            not importlib.util.find_spec(check.__name__), reason=f"{check.__name__} isn't installed"
        ),
    )
    for check in (mypy, pyright)
]
Checker = Callable[[Path, Path], set[int]]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKERS)
def test_what_is_right_is_accepted(check: Checker, tmp_path: Path) -> None:
    file = shutil.copy(HERE / "accepted.py", tmp_path / "accepted.py")
    assert check(Path(file), tmp_path) == set()


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKERS)
def test_what_is_wrong_is_refused_on_its_line(check: Checker, tmp_path: Path) -> None:
    file = Path(shutil.copy(HERE / "refused.py.txt", tmp_path / "refused.py"))
    lines = file.read_text().splitlines()
    marks = ("# expect-error", f"# expect-error: {check.__name__}")
    expected = {number for number, line in enumerate(lines, 1) if line.endswith(marks)}
    found = check(file, tmp_path)
    assert {number: lines[number - 1] for number in expected ^ found} == {}
