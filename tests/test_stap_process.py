"""A stap's life, with a stand-in for stap: its start, its ends, good and bad, and nothing of it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fake_stap import fake
from spile import EngineError, ProbeNotFound, SpecError, StateError, Unsupported
from spile.command import has_ended
from spile.systemtap import supervise
from spile.systemtap.bulk import BulkPipes, online
from spile.systemtap.command import Needs, Target
from spile.systemtap.module import compile_module
from spile.systemtap.options import StapOptions
from spile.systemtap.process import StapProcess

ENDLESS = "out(str(os.getpid()).encode() + b'\\n')\nwhile True: time.sleep(0.05)\n"
STUBBORN = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ENDLESS


def read_all(process: StapProcess) -> bytes:
    with open(process.take_stdout(), "rb") as stream:  # noqa: PTH123 (a descriptor)
        return stream.read()


def first_number(descriptor: int) -> int:
    text = b""
    while not text.endswith(b"\n"):
        text += os.read(descriptor, 1)
    return int(text)


def wait_until(condition: object, seconds: float = 10) -> bool:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(condition())


def test_the_script_goes_in_and_the_stream_comes_out(tmp_path: Path) -> None:
    options = fake(tmp_path, "out(script().encode()); out(bytes(range(256)))")
    with StapProcess.start('probe begin { println("é") }', options) as process:
        assert read_all(process) == 'probe begin { println("é") }'.encode() + bytes(range(256))
        ended = process.wait(10)
        assert ended is not None
        assert (ended.returncode, ended.asked, ended.killed) == (0, False, False)
        assert process.error() is None
        with pytest.raises(StateError):
            process.take_stdout()


def test_the_arguments_and_the_language_of_messages(tmp_path: Path) -> None:
    options = fake(tmp_path, "out('\\n'.join([*args, os.environ['LC_ALL']]).encode())", buffer=32)
    with StapProcess.start("", options, Needs({"MAXSTRINGLEN": 512}), target=Target(pid=7)) as process:
        assert read_all(process).decode().split("\n") == [*process.command.arguments[1:], "C"]


def test_stop_asks_with_sigint_and_what_the_end_prints_arrives(tmp_path: Path) -> None:
    options = fake(
        tmp_path,
        """
        def end(number, frame):
            out(b"end of the tables")
            sys.exit(0)
        signal.signal(signal.SIGINT, end)
        out(b"ready ")
        while True: time.sleep(0.05)
        """,
    )
    with StapProcess.start("", options) as process:
        descriptor = process.take_stdout()
        assert os.read(descriptor, 6) == b"ready "
        process.ready()
        ended = process.stop()
        assert (ended.returncode, ended.asked, ended.killed) == (0, True, False), process.log
        assert os.read(descriptor, 100) == b"end of the tables"
        assert os.read(descriptor, 100) == b""
        os.close(descriptor)
        assert process.error() is None
        assert process.stop() == ended


def test_one_that_ignores_sigint_gets_sigterm(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + ENDLESS
    with StapProcess.start("", fake(tmp_path, body)) as process:
        first_number(process._stdout or 0)
        ended = process.stop((0.2, 10))
        assert (ended.returncode, ended.killed) == (-signal.SIGTERM, False)
        assert process.error() is None


def test_one_that_ignores_both_is_killed_with_its_children(tmp_path: Path) -> None:
    body = "child = subprocess.Popen(['sleep', '1000'])\nout(b'%d\\n' % child.pid)\n" + STUBBORN
    with StapProcess.start("", fake(tmp_path, body)) as process:
        descriptor = process.take_stdout()
        child, leader = first_number(descriptor), first_number(descriptor)
        ended = process.stop((0.2, 0.2))
        assert (ended.returncode, ended.killed) == (-signal.SIGKILL, True)
        assert has_ended(child)
        assert has_ended(leader)
        assert process.error() is None
        assert any("had to be killed" in text for text in process.warnings())
        os.close(descriptor)


def test_children_of_a_leader_that_was_killed_are_ended(tmp_path: Path) -> None:
    body = "child = subprocess.Popen(['sleep', '1000'])\nout(b'%d\\n' % child.pid)\n" + ENDLESS
    with StapProcess.start("", fake(tmp_path, body)) as process:
        descriptor = process.take_stdout()
        child, leader = first_number(descriptor), first_number(descriptor)
        os.kill(leader, signal.SIGKILL)
        ended = process.wait(10)
        assert ended is not None
        assert ended.returncode == -signal.SIGKILL
        assert has_ended(child)
        with pytest.raises(EngineError, match="killed by SIGKILL"):
            raise process.error() or AssertionError
        os.close(descriptor)


def test_what_a_good_leader_leaves_may_stay(tmp_path: Path) -> None:
    body = "child = subprocess.Popen(['sleep', '1000'], stdout=-3, stderr=-3)\nout(b'%d\\n' % child.pid)"
    with StapProcess.start("", fake(tmp_path, body)) as process:
        child = first_number(process._stdout or 0)
        ended = process.wait(10)
        assert ended is not None
        assert ended.returncode == 0
        assert not has_ended(child)
        os.kill(child, signal.SIGKILL)


def test_signals_that_the_caller_blocks_or_ignores_reach_it(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = StapProcess.start("", fake(tmp_path, ENDLESS))
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with process:
        first_number(process._stdout or 0)
        assert process.stop().returncode == -signal.SIGINT


def test_no_such_program_names_the_packages() -> None:
    with pytest.raises(Unsupported, match=r"no program 'no-such-stap'.*apt-get install systemtap gcc make linux-head"):
        StapProcess.start("", StapOptions(stap="no-such-stap"))


def test_one_that_cannot_be_executed(tmp_path: Path) -> None:
    program = tmp_path / "stap"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        StapProcess.start("", StapOptions(stap=str(program)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit(3)", r"ended with status 3 while it parsed the script \(pass 1\)"),
        ("say('Pass 1: parsed user script\\n'); sys.exit(1)", r"pass 2"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("out(b'SP\\x08\\x00half a rec'); time.sleep(0.1); os.kill(os.getpid(), 9)", "killed by SIGKILL"),
    ],
)
def test_one_that_dies_says_how(tmp_path: Path, body: str, message: str) -> None:
    with StapProcess.start("", fake(tmp_path, body)) as process:
        read_all(process)
        assert process.wait(10) is not None
        with pytest.raises(EngineError, match=message):
            raise process.error() or AssertionError


def test_what_stap_names_wrongly_is_a_typed_error(tmp_path: Path) -> None:
    said = (Path(__file__).parent / "data/stap/messages/unknown-function.txt").read_text().partition("\n\n")[2]
    with StapProcess.start("", fake(tmp_path, f"say({said!r}); sys.exit(1)")) as process:
        assert read_all(process) == b""
        process.wait(10)
        with pytest.raises(ProbeNotFound, match="no function 'vfs_raed' to probe; did you mean vfs_read"):
            raise process.error() or AssertionError


def test_a_flood_on_stderr_blocks_nothing_and_stays_bounded(tmp_path: Path) -> None:
    body = """
    line = "ERROR: kernel string copy fault at 0x0 near identifier 'kernel_string'\\n"
    for _ in range(400): say(line * 200)
    say("x" * (1 << 20))
    say("\\nWARNING: There were 763 transport failures. Try stap -s to increase the buffer size from 16.\\n")
    out(b"done")
    """
    with StapProcess.start("", fake(tmp_path, body)) as process:
        assert read_all(process) == b"done"
        process.wait(20)
        assert process.losses().transport == 763
        assert len(process.log) < 400 * 200
        assert "lines …" in process.log
        assert any("79001 messages were dropped" in text for text in process.warnings()), process.warnings()


def test_a_full_pipe_and_a_slow_reader(tmp_path: Path) -> None:
    body = "block = bytes(1 << 16)\nfor _ in range(64): out(block)\nout(b'last')"
    with StapProcess.start("", fake(tmp_path, body)) as process:
        time.sleep(0.5)
        assert process.poll() is None  # it waits for its reader
        data = read_all(process)
        assert (len(data), data[-4:]) == ((64 << 16) + 4, b"last")


def test_a_full_pipe_that_nobody_reads_hangs_nobody(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGINT, lambda *_: None)\nwhile True: out(bytes(1 << 16))"
    with StapProcess.start("", fake(tmp_path, body)) as process:
        time.sleep(0.3)
        began = time.monotonic()
        ended = process.stop((0.3, 0.3))
        assert time.monotonic() - began < 8
        assert ended.returncode == -signal.SIGTERM


def test_one_that_hangs_in_pass_2_is_ended(tmp_path: Path) -> None:
    body = "say('Pass 1: parsed user script and 484 library scripts\\n')\n" + ENDLESS
    with StapProcess.start("", fake(tmp_path, body, start_timeout=0.5)) as process:
        ended = process.wait(20)
        assert ended is not None
        assert ended.late
        with pytest.raises(EngineError, match=r"after 0.5 s, while it looked the probes up \(pass 2\)"):
            raise process.error() or AssertionError


def test_one_that_is_ready_may_take_its_time(tmp_path: Path) -> None:
    with StapProcess.start("", fake(tmp_path, ENDLESS, start_timeout=1.0)) as process:
        first_number(process._stdout or 0)
        process.ready()
        assert process.wait(1.5) is None
        assert not process.stop().late


PARENT = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from spile.systemtap.module import compile_module
from spile.systemtap.options import StapOptions
from spile.systemtap.process import StapProcess
import os
process = StapProcess.start("", StapOptions(stap={stap!r}))
{more}
descriptor = process.take_stdout()
print(os.read(descriptor, 100).decode().strip(), flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("more", ["", "os.fork() or time.sleep(1000)"], ids=["alone", "a child holds the pipe"])
@pytest.mark.parametrize("body", [ENDLESS, STUBBORN], ids=["willing", "stubborn"])
def test_nothing_survives_the_death_of_the_parent(
    tmp_path: Path, more: str, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = fake(tmp_path, body)
    # The real patience is for tables to be printed; here nobody prints any.
    text = PARENT.format(path=sys.path, stap=options.stap, more=more)
    text = text.replace("process = ", "import spile.systemtap.process as p\np.PATIENCE = (0.5, 0.5)\nprocess = ")
    parent = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    try:
        stap = int(parent.stdout.readline())
        supervisor = int(Path(f"/proc/{stap}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert wait_until(lambda: has_ended(stap))
        assert wait_until(lambda: has_ended(supervisor))
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if more else None
        parent.stdout.close()


def test_bulk_modes_pipes_have_names_for_as_long_as_somebody_wants_them(tmp_path: Path) -> None:
    pipes = BulkPipes()
    place = Path(pipes.output)
    body = f"""
    assert "-b" in args and args[args.index("-o") + 1] == {pipes.output!r}
    for cpu in {online(Path("/sys/devices/system/cpu/online").read_text())}:
        open(f"{pipes.output}_{{cpu}}", "wb").write(b"%d" % cpu)
    """
    assert place.parent.stat().st_mode & 0o777 == 0o700
    with StapProcess.start("", fake(tmp_path, body, bulk=True), output=pipes.output) as process:
        process.wait(10)
        cpus = [int(path.name.rpartition("_")[2]) for path in place.parent.iterdir()]
        assert [os.read(descriptor, 10) for descriptor in pipes.descriptors] == [b"%d" % cpu for cpu in sorted(cpus)]
    pipes.close()
    assert not place.parent.exists()


def test_cpus_are_read_as_the_kernel_writes_them() -> None:
    assert online("0-3,6,8-9\n") == [0, 1, 2, 3, 6, 8, 9]
    assert online("0\n") == [0]


def _unloader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int) -> tuple[supervise.Supervisor, Path]:
    """A supervisor whose module goes at so many tries to unload it."""
    log = tmp_path / "tries"
    log.write_text("")
    program = tmp_path / "unload"
    program.write_text(f'#!/bin/sh\necho "$@" >>{log}\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(supervise, "loaded", lambda: [] if len(log.read_text().split()) >= tries else ["spile_1"])
    plan = {"report": 1, "patience": [1], "unload": [str(program)], "module": "", "parent": 0, "script": None}
    return supervise.Supervisor({**plan, "timeout": 1, "staprun": str(program)}, []), log


def test_a_module_that_is_busy_is_unloaded_as_soon_as_it_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, log = _unloader(tmp_path, monkeypatch, tries=4)
    assert supervisor._unload("spile_1")
    assert log.read_text().split() == ["spile_1"] * 4


def test_a_module_that_never_lets_go_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "UNLOAD_PATIENCE", 0.5)
    supervisor, log = _unloader(tmp_path, monkeypatch, tries=10**6)
    assert not supervisor._unload("spile_1")
    assert log.read_text().split()


def test_stap_starts_the_staprun_of_the_options_with_its_own_arguments(tmp_path: Path) -> None:
    staprun = tmp_path / "staprun"
    staprun.write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 3\n")
    staprun.chmod(0o755)
    options = fake(tmp_path, "sys.exit(subprocess.run([os.environ['SYSTEMTAP_STAPRUN'], '-R', 'a  b', '']).returncode)")
    with StapProcess.start("", options) as process:
        assert read_all(process) == b"<-R><a  b><>"
        ended = process.wait(10)
        assert ended is not None and ended.returncode == 3


def test_the_module_of_a_staprun_that_nobody_ever_saw_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor, _ = _unloader(tmp_path, monkeypatch, tries=1)
    with supervisor._announcing() as environment:
        folder = Path(environment["SYSTEMTAP_STAPRUN"]).parent
        with subprocess.Popen([environment["SYSTEMTAP_STAPRUN"], "-R"]) as staprun:
            staprun.wait()
        supervisor._see_owners(staprun.pid)
        others = [f"stap_0123_{staprun.pid + 1}", f"stap_{staprun.pid}_7", "spile_1"]
        monkeypatch.setattr(supervise, "loaded", lambda: [*others, f"stap_0123_{staprun.pid}"])
        assert supervisor._modules() == [f"stap_0123_{staprun.pid}"]
    assert not folder.exists()


MODULE = """
assert "-p4" in args and args[-1] == "-"
name = args[args.index("-m") + 1]
open(name + ".ko", "w").write("module of " + script())
"""


def test_compile_here_run_there(tmp_path: Path) -> None:
    options = fake(tmp_path, MODULE)
    module = compile_module("probe begin {}", tmp_path / "spile_x.ko", options)
    assert module.read_text() == "module of probe begin {}"
    assert module.with_suffix(".stp").read_text() == "probe begin {}"
    Path(options.staprun).write_text('#!/bin/sh\necho "$@"')
    there = StapOptions(module=module, staprun=options.staprun)
    with StapProcess.start("probe begin {}", there, Needs(values={"tracer": 7})) as process:
        assert read_all(process).decode().split() == ["-R", "-C", "never", str(module), "tracer=7"]
    with pytest.raises(SpecError, match="another script than this session's"):
        StapProcess.start("probe end {}", there)
    with pytest.raises(SpecError, match="no module"):
        StapProcess.start("", StapOptions(module="/no/such.ko"))
    with pytest.raises(SpecError, match=r"called NAME\.ko"):
        compile_module("", tmp_path / "x.stp", options)


def test_a_module_that_does_not_compile_is_a_typed_error(tmp_path: Path) -> None:
    said = (Path(__file__).parent / "data/stap/messages/no-headers.txt").read_text().partition("\n\n")[2]
    with pytest.raises(Unsupported, match=r"headers of kernel 6\.1\.0-99"):
        compile_module("", tmp_path / "x.ko", fake(tmp_path, f"say({said!r}); sys.exit(1)"))
    assert not (tmp_path / "x.ko").exists()
    with pytest.raises(EngineError, match=r"made no module x\.ko"):
        compile_module("", tmp_path / "x.ko", fake(tmp_path, ""))


def test_the_terminals_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    with StapProcess.start("", fake(tmp_path, ENDLESS)) as process:
        stap = first_number(process._stdout or 0)
        assert os.getsid(stap) != os.getsid(0)
        assert process.stop().returncode == -signal.SIGINT


def test_dropped_descriptors_are_closed(tmp_path: Path) -> None:
    here = Path("/proc/self/fd")
    before = len(list(here.iterdir()))
    for _ in range(3):
        with StapProcess.start("", fake(tmp_path, "out(b'x')")) as process:
            process.wait(10)
    assert len(list(here.iterdir())) == before
