"""The command without tracing anything: help, usage, messages, exit statuses."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest

from cli_support import SPILE, spile

COMMANDS = ["run", "list", "doctor", "count", "hist", "lhist", "top", "stats", "distinct", "trace"]


def test_the_help_names_every_command() -> None:
    done = spile("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help(command: str) -> None:
    done = spile(command, "-h")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage:")


def test_the_version_is_the_package_s() -> None:
    assert version("spile") in spile("--version").stdout


def test_the_installed_command_is_this_one() -> None:
    (script,) = entry_points(group="console_scripts", name="spile")
    assert script.value == "spile.cli:main"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["cuont"], "No such command"),
        (["count"], "Missing argument"),
        (["count", "sched:sched_switch", "--duration", "soon"], "no length of time"),
        (["count", "sched:sched_switch", "--duration", "0"], "no length of time"),
        (["count", "sched:sched_switch", "-c", "true", "-p", "1"], "different targets"),
        (["trace", "sched:sched_switch", "--limit", "0"], "--limit"),
        (["count", "sched:sched_switch", "--max-overhead", "0"], "no share of the CPUs' time"),
        (["trace", "sched:sched_switch", "--max-overhead", "3"], "write 3% or 0.03"),
        (["record", "sched:sched_switch", "--max-overhead", "101%"], "no share of the CPUs' time"),
        (["hist", "sched:sched_switch", "arg.prev_pid", "--max-overhead", "little"], "no share of the CPUs' time"),
    ],
)
def test_wrong_usage_is_status_2_and_a_message(arguments: list[str], word: str) -> None:
    done = spile(*arguments)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["count", "sched:sched_switch", "--where", "arg.prev_pid"], "--where wants a condition"),
        (["count", "sched:sched_switch", "--by", "pid,,comm"], "missing between the commas"),
        (["count", "sched:sched_switch", "--by", "print(1)"], "print"),
        (["count", "sched:sched_switch", "-c", "'unclosed"], "unclosed"),
        (["count", "sched:sched_switch", "-c", "no-such-program-anywhere"], "no-such-program-anywhere"),
        (["trace", "sched:sched_switch", "--capture", "arg.prev_pid + 1"], "name"),
        (["trace", "sched:sched_switch", "--capture", "x=1 +"], "1 +"),
    ],
)
def test_a_description_that_is_none_is_status_2_and_a_message(arguments: list[str], words: str) -> None:
    done = spile(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 3


def test_a_function_is_refused_by_what_works_instead() -> None:
    done = spile("count", "function:vfs_read", "--by", "ret")
    assert done.returncode != 0
    assert "take session.function_return" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_loads_no_library_of_the_command_s() -> None:
    code = "import sys, spile; print(*sorted({'click', 'rich', 'spile.cli'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_help_is_the_same_by_either_name() -> None:
    assert SPILE[1:] == ["-m", "spile"]
    installed = subprocess.run([str(script_path()), "--help"], capture_output=True, text=True, check=True)
    assert installed.stdout.split("\n", 2)[2] == spile("--help").stdout.split("\n", 2)[2]


def script_path() -> str:
    """The installed command, beside the interpreter."""
    from pathlib import Path

    return str(Path(sys.executable).with_name("spile"))


def test_systemtap_s_script_and_command_are_printed_and_nothing_runs() -> None:
    arguments = ["trace", "function:vfs_read", "--capture", "pid", "--where", "arg.count == 7"]
    done = spile(*arguments, "--engine", "systemtap", "--print-script", "--print-command")
    assert done.returncode == 0, done.stderr
    command, *script = done.stdout.splitlines()
    assert command.startswith("stap ") and command.endswith(" -")
    assert any(line.startswith('probe kernel.function("vfs_read").call') for line in script)
    assert any("$count == 7" in line for line in script)


def test_what_systemtap_has_no_words_for_is_refused_in_words() -> None:
    done = spile("count", "sched:sched_switch", "--by", "arg.prev_pid", "--print-script")
    assert done.returncode == 1 and "engine='bpf' can" in done.stderr and "Traceback" not in done.stderr
