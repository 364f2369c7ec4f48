"""What real SystemTap 4.8 said (`data/stap/messages`), as typed errors and numbers; and what nobody ever said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spile import EngineError, Error, FieldNotFound, PrivilegeError, ProbeNotFound, Unsupported
from spile.systemtap.messages import Kind, Reader
from spile.systemtap.options import StapOptions
from spile.systemtap.problems import StapLosses, losses_of, problem_of, warnings_of
from spile.systemtap.process import Ended

FOLDER = Path(__file__).parent / "data/stap/messages"
RELEASE = "6.1.0-56-cloud-amd64"


def recorded(name: str) -> tuple[Reader, Ended]:
    head, _, said = (FOLDER / f"{name}.txt").read_bytes().partition(b"\n\n")
    status = re.search(rb"^# exit: (\d+)$", head, re.MULTILINE)
    assert status is not None
    reader = Reader()
    reader.feed(said)
    reader.close()
    return reader, Ended(int(status[1]), asked=False, passed=reader.passed)


def error(name: str) -> Error | None:
    reader, ended = recorded(name)
    return problem_of(reader, ended, StapOptions(kernel=RELEASE))


ERRORS: dict[str, tuple[type[Error], str]] = {
    "unknown-function": (ProbeNotFound, r"no function 'vfs_raed' to probe; did you mean vfs_read or .*line 1"),
    "two-unknown-functions": (ProbeNotFound, r"(?s)'vfs_raed'.*\n.*'vfs_wriet'"),
    "no-near-function": (ProbeNotFound, r"'qqqqqqqqqqqqqqqqqqqq' to probe \(line 1"),
    "unknown-kprobe-function": (ProbeNotFound, rf"'vfs_raed' to probe; stap found no table .* for {RELEASE}"),
    "unknown-probe-kind": (ProbeNotFound, r"no probe point with 'functoin'; did you mean function\?"),
    "unknown-module": (ProbeNotFound, "no module with debuginfo 'nosuchmod' to probe"),
    "unknown-program": (ProbeNotFound, "no program '/no/such/program' to probe"),
    "wildcard": (ProbeNotFound, r"'vfs_raed\*'"),
    "blocklisted": (ProbeNotFound, "the kernel lets nobody probe the function '_raw_spin_lock'"),
    "inlined-return": (ProbeNotFound, "'kmalloc' is inlined everywhere"),
    "unknown-variable": (FieldNotFound, r"no 'cuont' in vfs_read; did you mean count\? \(line 1"),
    "unknown-member": (FieldNotFound, r"no 'f_pahth' in struct file; did you mean f_path\?"),
    "unknown-script-function": (EngineError, r"no function 'printl' in its language; did you mean printk"),
    "wrong-arity": (EngineError, r"stap refuses the script \(line 1 .*arity mismatch"),
    "type-mismatch": (
        EngineError,
        r"stap refuses the script \(line 2 of the script\): .*type mismatch: expected string but found long",
    ),
    "parse-error": (EngineError, r"stap refuses the script \(line 1 of the script\): parse error: expected one of"),
    "needs-guru": (EngineError, r"need stap -g\n.*StapOptions\(guru=True\)"),
    "empty-script": (EngineError, "refuses its command line: .* is empty"),
    "no-such-script": (EngineError, "is missing"),
    "optional": (EngineError, "no probes found"),
    "untraceable": (EngineError, "no probes found; the kernel lets nobody probe"),
    "no-headers": (Unsupported, r"headers of kernel 6\.1\.0-99-cloud-amd64.*Debian: linux-headers-6\.1\.0-99-cloud-am"),
    "no-debuginfo": (Unsupported, rf"debuginfo of kernel {RELEASE}.*Debian: linux-image-{RELEASE}-dbg"),
    "no-debuginfo-for-a-variable": (ProbeNotFound, "'vfs_read' to probe; stap found no table"),
    "runtime-does-not-compile": (EngineError, rf"does not compile with the headers of kernel {RELEASE}.*task_work"),
    "define-does-not-compile": (EngineError, "refuses its command line: Safety pattern mismatch"),
    "unknown-option": (EngineError, "refuses its command line: stap: unrecognized option"),
    "no-compiler": (EngineError, r"ended with status 1 while it compiled \(pass 4\)"),
    "not-root": (PrivilegeError, r"be root, or join the group stapdev \(usermod -a -G stapdev,stapusr"),
    "not-root-staprun": (EngineError, "could not be loaded"),
    "staprun-no-module": (EngineError, "could not be loaded: .*No such file"),
    "staprun-no-such-module-to-unload": (EngineError, "not running"),
    "run-not-root": (PrivilegeError, "be root, or join the group stapdev"),
    "run-wrong-kernel": (EngineError, "the module was compiled for another kernel than .*: compile again"),
    "run-loaded-already": (EngineError, "could not be loaded: .*File exists"),
    "run-maxaction": (EngineError, r"too many statements \(MAXACTION exceeded near .*StapOptions\(max_action="),
    "run-array-overflow": (EngineError, r"a table of the script was full .*StapOptions\(max_map_entries="),
    "run-fault": (EngineError, "the script failed: kernel string copy fault at 0x1 near"),
    "run-division-by-zero": (EngineError, "the script failed: division by 0"),
    "run-overload": (EngineError, r"took too much of a CPU \(probe overhead \(739896924 .*STP_NO_OVERLOAD"),
    "run-overload-and-transport-failures": (EngineError, "took too much of a CPU"),
}
GOOD = {
    "unread-variable",
    "run-not-attached",
    "run-transport-failures",
    "run-array-overflow-suppressed",
    "run-skipped",
    "run-skipped-timed",
    "run-command-failed",
    "run-command-killed",
}


@pytest.mark.parametrize("name", ERRORS)
def test_each_mistake_is_a_typed_error(name: str) -> None:
    made = error(name)
    kind, message = ERRORS[name]
    assert type(made) is kind
    assert re.search(message, str(made)), str(made)


def test_debuginfo_is_that_of_the_kernel_that_stap_looked_for() -> None:
    """A remote kernel's, where the tree that was named is another one's; and a tree is no part of a package's name."""
    reader, ended = recorded("no-debuginfo")
    told = str(problem_of(reader, ended, StapOptions(kernel="/trees/other", remote="unix:/a")))
    assert f"linux-image-{RELEASE}-dbg" in told
    assert f"The remote kernel is {RELEASE}, and kernel='/trees/other' is for another one" in told
    said = reader.log().replace(f"/lib/modules/{RELEASE}/build", "/trees/other")
    reader = Reader()
    reader.feed(said.encode())
    reader.close()
    told = str(problem_of(reader, ended, StapOptions(kernel="/trees/other")))
    assert "kernel /trees/other, which is not here: put its vmlinux there" in told and "linux-image" not in told


def test_every_recorded_message_is_looked_at() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == ERRORS.keys() | GOOD


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_ended_well_is_no_error(name: str) -> None:
    assert error(name) is None


def test_several_errors_are_one_with_all_their_messages() -> None:
    made = error("two-unknown-functions")
    assert made is not None
    assert [re.findall("'(.*?)'", message)[0] for message in made.errors] == ["vfs_raed", "vfs_wriet"]


@pytest.mark.parametrize(
    ("name", "losses"),
    [
        ("run-transport-failures", StapLosses(transport=1)),
        ("run-overload-and-transport-failures", StapLosses(transport=1757, errors=1)),
        ("run-maxaction", StapLosses(errors=1)),
        ("run-array-overflow-suppressed", StapLosses(errors=1)),
        ("run-skipped", StapLosses(skipped=1179, errors=1179)),
        (
            "run-skipped-timed",
            StapLosses(
                skipped=1114,
                errors=1114,
                reasons={"missed kprobe on 'kernel.function(\"copy_from_kernel_nofault@mm/maccess.c:24\")'": 1114},
            ),
        ),
        ("unknown-function", StapLosses()),
    ],
)
def test_losses_are_numbers(name: str, losses: StapLosses) -> None:
    assert losses_of(recorded(name)[0]) == losses


def test_probes_that_were_not_attached_are_warnings() -> None:
    reader, ended = recorded("run-not-attached")
    assert [text.partition(" (")[0] for text in warnings_of(reader, ended)] == [
        'WARNING: probe kprobe.function("asm_exc_int3")',
        'WARNING: probe kprobe.function("poke_int3_handler")',
    ]


def test_passes_are_followed() -> None:
    assert recorded("unknown-option")[0].passed == 0
    assert recorded("unknown-function")[0].passed == 1
    assert recorded("runtime-does-not-compile")[0].passed == 3
    running = Reader()
    running.feed(b"Pass 4: using cached /root/.systemtap/cache/99/stap_99.ko\nPass 5: starting run.\n")
    assert running.passed == 4


def test_killed_by_our_own_end_is_no_error_but_a_warning() -> None:
    reader = Reader()
    reader.close()
    ended = Ended(-9, asked=True, killed=True, passed=4, module=("spile_x",))
    assert problem_of(reader, ended, StapOptions()) is None
    assert [text.partition(":")[0] for text in warnings_of(reader, ended)] == [
        "stap had to be killed",
        "the kernel module spile_x is still loaded",
    ]


SAID = b"".join(path.read_bytes().partition(b"\n\n")[2] for path in sorted(FOLDER.glob("*.txt")))


@settings(deadline=None)  # a busy machine takes its time
@given(st.lists(st.integers(0, len(SAID)), max_size=30))
def test_pieces_of_any_size_say_the_same(cuts: list[int]) -> None:
    whole, pieces = Reader(), Reader()
    whole.feed(SAID)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(SAID)], strict=True):
        pieces.feed(SAID[start:end])
    for reader in (whole, pieces):
        reader.close()
    assert pieces.messages() == whole.messages()
    assert pieces.log() == whole.log()


WORDS = st.sampled_from(
    [
        b"semantic error: ",
        b"while resolving probe point",
        b"no match (similar",
        b": ",
        b" at <input>:1:7\n",
        b"\n",
        b" ",
    ]
)


@settings(deadline=None)
@given(st.lists(WORDS | st.binary(max_size=20), max_size=40))
def test_nothing_that_it_says_breaks_the_reader(parts: list[bytes]) -> None:
    reader = Reader()
    for part in parts:
        reader.feed(part)
    reader.close()
    made = problem_of(reader, Ended(1, asked=False), StapOptions())
    assert isinstance(made, Error)
    assert str(made)


def test_a_line_without_end_takes_no_memory() -> None:
    reader = Reader()
    for _ in range(100):
        reader.feed(b"x" * (1 << 16))
    reader.feed(b"\nERROR: division by 0 near operator '/' at <input>:2:25\n")
    reader.close()
    assert len(reader.log()) < 2 * Reader.LONGEST_LINE
    assert [message.kind for message in reader.messages()] == [Kind.OTHER, Kind.FAILED]


def test_of_a_flood_the_counts_are_kept() -> None:
    reader = Reader()
    reader.feed(b"ERROR: division by 0 near operator '/' at <input>:2:25\n" * 5000)
    reader.feed(b"WARNING: Number of errors: 5000, skipped probes: 12\nWARNING: There were 3 transport failures.\n")
    reader.close()
    assert len(reader.messages()) == Reader.MOST_MESSAGES + 2
    assert losses_of(reader) == StapLosses(transport=3, skipped=12, errors=5000)
    assert reader.log().count("\n") == 2 * Reader.MOST_LINES


def test_with_timing_stap_says_whose_hits_were_missed() -> None:
    reader, _ = recorded("run-skipped-timed")
    assert losses_of(reader).missed == {("copy_from_kernel_nofault", False): 1114}
    assert losses_of(recorded("run-skipped")[0]).missed == {}


def test_a_returns_missed_hits_are_the_returns() -> None:
    place = 'kernel.function("vfs_read@fs/read_write.c:450").return'
    reader = Reader()
    reader.feed(f"WARNING: Skipped due to missed kretprobe/2 on '{place}': 7\n".encode())
    reader.close()
    assert losses_of(reader).missed == {("vfs_read", True): 7}
