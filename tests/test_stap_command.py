"""stap's command lines: what each option becomes, and that no word of a caller's is ever more than one argument."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spile import SpecError
from spile.systemtap.command import Needs, StapCommand, Target, compile_command, run_command, unload_command
from spile.systemtap.options import StapOptions


def words(**options: Any) -> list[str]:
    return list(run_command(StapOptions(**options)).arguments)


def test_the_usual_one() -> None:
    assert words() == ["stap", "-v", "--color=never", "--suppress-handler-errors", "-"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"buffer": 64}, ["-s", "64"]),
        ({"max_string": 512}, ["-DMAXSTRINGLEN=512"]),
        ({"max_action": 10_000}, ["-DMAXACTION=10000"]),
        ({"max_map_entries": 4096}, ["-DMAXMAPENTRIES=4096"]),
        ({"defines": {"MAXTRACE": 40, "STP_NO_OVERLOAD": None}}, ["-DMAXTRACE=40", "-DSTP_NO_OVERLOAD"]),
        ({"guru": True}, ["-g"]),
        ({"cache": False}, ["--disable-cache"]),
        ({"kernel": "6.1.0-32-amd64"}, ["-r", "6.1.0-32-amd64"]),
        ({"kernel": Path("/build/linux")}, ["-r", "/build/linux"]),
        ({"runtime": "/opt/runtime"}, ["-R", "/opt/runtime"]),
        ({"tapsets": ["/a", Path("/b")]}, ["-I", "/a", "-I", "/b"]),
        ({"make": {"CONFIG_DEBUG_INFO": "y"}}, ["-B", "CONFIG_DEBUG_INFO=y"]),
        ({"unwind": ["kernel", "/bin/ls"]}, ["-d", "kernel", "-d", "/bin/ls"]),
        ({"remote": "ssh://root@guest"}, ["--remote=ssh://root@guest"]),
        ({"stap": "/opt/bin/stap"}, ["/opt/bin/stap"]),
    ],
)
def test_what_an_option_becomes(options: dict[str, Any], expected: list[str]) -> None:
    made = words(**options)
    start = made.index(expected[0])
    assert made[start : start + len(expected)] == expected


def test_what_is_not_asked_for_is_not_there() -> None:
    assert "--suppress-handler-errors" not in words(suppress_errors=False)
    assert "-g" not in words()
    assert not any(word.startswith(("-D", "-s", "-r", "-b", "--remote")) for word in words())


def test_the_users_limits_win_over_the_scripts() -> None:
    options = StapOptions(max_action=5, defines={"MAXTRACE": 7})
    needs = Needs({"MAXACTION": 1, "MAXTRACE": 2, "MAXSTRINGLEN": 3}, buffer=4)
    made = run_command(options, needs).arguments
    assert made[3:5] == ("-s", "4")
    assert run_command(StapOptions(buffer=9), needs).arguments[3:5] == ("-s", "9")
    assert [word for word in made if word.startswith("-D")] == ["-DMAXACTION=5", "-DMAXSTRINGLEN=3", "-DMAXTRACE=7"]


def test_what_differs_from_run_to_run() -> None:
    made = run_command(StapOptions(), Needs(values={"tracer": 9})).arguments
    assert made[-3:] == ("-G", "tracer=9", "-")
    assert "-G" not in compile_command(StapOptions(), "x", Needs(values={"tracer": 9})).arguments


def test_targets() -> None:
    assert run_command(StapOptions(), target=Target(pid=42)).arguments[-3:] == ("-x", "42", "-")
    made = run_command(StapOptions(), target=Target(command=("sh", "-c", "echo $HOME 'x'"))).arguments
    assert made[-3] == "-c"
    assert shlex.split(made[-2]) == ["sh", "-c", "echo $HOME 'x'"]
    with pytest.raises(SpecError, match="one target"):
        Target(pid=1, command=("true",))


def test_bulk_has_a_place_for_its_files() -> None:
    made = run_command(StapOptions(bulk=True), output="/tmp/100%/cpu").arguments
    assert made[-4:] == ("-b", "-o", "/tmp/100%%/cpu", "-")  # staprun reads it as a date's format
    with pytest.raises(SpecError, match="bulk"):
        run_command(StapOptions(bulk=True))
    with pytest.raises(SpecError, match="bulk"):
        run_command(StapOptions(), output="/tmp/x")


def test_compile_here_run_there() -> None:
    compiled = compile_command(StapOptions(kernel="6.1.0-32-amd64", bulk=True), "spile_1")
    assert compiled.arguments[-6:] == ("--suppress-handler-errors", "-b", "-p4", "-m", "spile_1", "-")
    assert compiled.reads_script
    run = run_command(StapOptions(module="/m/spile_1.ko", buffer=8), Needs(values={"tracer": 9}), target=Target(pid=3))
    expected = ("staprun", "-R", "-C", "never", "-b", "8", "-x", "3", "/m/spile_1.ko", "tracer=9")
    assert run.arguments == expected
    assert not run.reads_script
    assert unload_command(StapOptions()).arguments == ("staprun", "-d")


@pytest.mark.parametrize("name", ["", "Spile", "a b", "a-b", "é", "x" * 56, "../x"])
def test_what_is_no_modules_name(name: str) -> None:
    with pytest.raises(SpecError, match="module's name"):
        compile_command(StapOptions(), name)


def test_the_environment() -> None:
    command = run_command(StapOptions(debuginfo=["/debug", Path("/more")]))
    made = command.environment({"PATH": "/bin", "LANGUAGE": "de", "LC_ALL": "de_DE.UTF-8", "SYSTEMTAP_COLORS": "x"})
    assert made == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "SYSTEMTAP_DEBUGINFO_PATH": "+/debug:/more:.debug:/usr/lib/debug:build",
    }


def test_as_one_would_type_it() -> None:
    command = run_command(StapOptions(debuginfo=["/my debug"], kernel="6.1"), target=Target(command=("echo", "a b")))
    text = str(command)
    assert text.startswith("SYSTEMTAP_DEBUGINFO_PATH='+/my debug:")
    assert tuple(shlex.split(text)[1:]) == command.arguments


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"buffer": 0}, "buffer"),
        ({"buffer": 4096}, "buffer"),
        ({"buffer": "16"}, "buffer"),
        ({"buffer": True}, "buffer"),
        ({"max_string": 1}, "max_string"),
        ({"max_action": 0}, "max_action"),
        ({"max_map_entries": -1}, "max_map_entries"),
        ({"defines": {"A B": 1}}, "defines"),
        ({"defines": {"A": "1;x"}}, "defines"),
        ({"defines": {"A\n": 1}}, "defines"),
        ({"defines": {"A": "1\n"}}, "defines"),
        ({"defines": {"A=1 -g": 1}}, "defines"),
        ({"make": {"A": ""}}, "make"),
        ({"make": {"A": "x\ny"}}, "make"),
        ({"kernel": "-g"}, "kernel"),
        ({"kernel": "6.1 -g"}, "kernel"),
        ({"runtime": "-g"}, "runtime"),
        ({"tapsets": "/one"}, "tapsets"),
        ({"tapsets": ["-g"]}, "tapsets"),
        ({"unwind": ["a\0b"]}, "unwind"),
        ({"debuginfo": ["/a:b"]}, "debuginfo"),
        ({"remote": "-x"}, "remote"),
        ({"stap": ""}, "stap"),
        ({"start_timeout": 0}, "start_timeout"),
        ({"start_timeout": float("nan")}, "start_timeout"),
        ({"module": "x.stp"}, "module"),
        ({"module": "x.ko", "max_action": 3}, "max_action"),
        ({"bulk": True, "remote": "ssh://a"}, "bulk"),
    ],
)
def test_what_is_refused_names_the_field(options: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecError) as refused:
        StapOptions(**options)
    assert str(refused.value.path).startswith(f"systemtap.{path}")


TEXT = st.text(max_size=12) | st.sampled_from(["-g", "--", "-e", "a b", "$(id)", "`id`", "a;b", "'", '"', "\n", "\0"])


@given(
    name=st.sampled_from(["kernel", "runtime", "stap", "remote", "module"]),
    value=TEXT,
    command=st.lists(TEXT.filter(lambda text: "\0" not in text), max_size=3),
)
def test_no_value_becomes_another_option(name: str, value: str, command: list[str]) -> None:
    """Whatever isn't refused stands in one argument: there is no guru mode and no other script but by its own name."""
    try:
        options = StapOptions(**{name: value})
    except SpecError:
        return
    made: StapCommand = run_command(options, target=Target(command=tuple(command)))
    plain = run_command(StapOptions(**({"module": "x.ko"} if name == "module" else {})))
    extra = len(made.arguments) - len(plain.arguments)
    assert extra == {"kernel": 2, "runtime": 2, "remote": 1}.get(name, 0) + (2 if command else 0)
    options_alone = list(made.arguments)
    if command:
        assert shlex.split(options_alone.pop(made.arguments.index("-c") + 1)) == command
    assert not {"-g", "-e"} & set(options_alone)
    assert shlex.split(str(made))[-len(made.arguments) :] == list(made.arguments)
