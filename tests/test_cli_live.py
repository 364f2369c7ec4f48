"""The command against workloads that know their own numbers."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli_support import SPILE, getppid, python, spile, spile_json

pytestmark = pytest.mark.live

CALLS = 5000
GETPPID = "syscalls:sys_enter_getppid"


def test_a_count_is_the_workload_s() -> None:
    assert spile_json("count", GETPPID, "-c", getppid(CALLS)) == [{"by": {}, "count": CALLS}]


def test_counts_are_kept_apart_by_their_keys() -> None:
    two = python(f"import os\nfor _ in range({CALLS}): os.getppid()\nif os.fork():\n os.wait()\nelse:\n os.getppid()")
    rows = spile_json("count", GETPPID, "--by", "pid,comm", "-c", two)
    assert [row["count"] for row in rows] == [CALLS, 1]
    assert all(list(row["by"]) == ["pid", "comm"] for row in rows)
    assert rows[0]["by"]["pid"] != rows[1]["by"]["pid"]


def test_a_condition_is_the_kernel_s_business() -> None:
    number = 110  # getppid(2) on x86-64
    counted = spile_json("count", "raw_syscalls:sys_enter", "--where", f"arg.id == {number}", "-c", getppid(CALLS))
    assert counted == [{"by": {}, "count": CALLS}]
    none = spile_json("count", GETPPID, "--where", "comm == 'nobody' or cpu > 4000", "-c", getppid(10))
    assert none == [{"by": {}, "count": 0}]


def test_a_sample_says_what_one_stands_for() -> None:
    # The command may move from one CPU to another, each of which counts off by itself.
    cpus = os.cpu_count() or 1
    done = spile("count", GETPPID, "--sample", "10", "-c", getppid(CALLS))
    assert done.returncode == 0, done.stderr
    taken = int(done.stdout)
    assert CALLS / 10 - cpus < taken <= CALLS / 10
    assert "one counted stands for 10" in done.stderr
    assert f"{CALLS - taken:,} were left out by sample=10: one that was taken stands for 10" in done.stderr
    lines = spile("trace", GETPPID, "--capture", "pid", "--sample", "1000", "-c", getppid(CALLS)).stdout.splitlines()
    assert CALLS / 1000 - cpus < len(lines) <= CALLS / 1000
    refused = spile("count", GETPPID, "--sample", "0")
    assert refused.returncode == 2 and "--sample" in refused.stderr


@pytest.mark.parametrize("share", ["0.01%", "0.0001"])
def test_what_a_budget_leaves_out_is_told_at_the_end(share: str) -> None:
    # No number of calls, for what a fast machine does in a time may be too little: until it is enough.
    code = "import os, time\nend = time.monotonic() + 3\nwhile time.monotonic() < end: os.getppid()"
    done = spile("trace", GETPPID, "--capture", "kstack", "--max-overhead", share, "-c", python(code))
    assert done.returncode == 0, done.stderr
    assert "max_overhead: tracing took" in done.stderr and "from here on stacks are empty" in done.stderr
    assert "Warning" not in done.stderr and "(at " not in done.stderr
    assert "to keep to max_overhead=" in done.stderr


def test_a_budget_with_room_leaves_nothing_out() -> None:
    done = spile("count", GETPPID, "--max-overhead", "100%", "-c", getppid(CALLS))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == CALLS
    assert "max_overhead" not in done.stderr


def test_a_stack_as_key_is_a_list_of_frames() -> None:
    rows = spile_json("count", GETPPID, "--by", "kstack", "--top", "1", "-c", getppid(100))
    assert len(rows) == 1
    frames = rows[0]["by"]["kstack"]
    assert any("syscall" in frame for frame in frames), frames


def test_a_pipe_gets_lines_of_columns() -> None:
    done = spile("count", GETPPID, "--by", "comm", "-c", getppid(CALLS))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{CALLS}\tpython\S*\n", done.stdout)
    assert f"{CALLS:,} hits under 1 keys" in done.stderr


def test_a_process_is_traced_by_its_pid() -> None:
    code = "import os, time\nwhile True:\n os.getppid()\n time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        try:
            rows = spile_json("count", GETPPID, "--by", "pid", "-p", str(child.pid), "--duration", "500ms")
        finally:
            child.kill()
    assert [row["by"]["pid"] for row in rows] == [child.pid]
    assert 10 <= rows[0]["count"] <= 60


def test_each_event_is_a_line() -> None:
    opened = "/etc/hostname"
    rows = spile_json(
        "trace",
        "syscalls:sys_enter_openat",
        "--capture",
        "pid,comm,path=string(arg.filename)",
        "-c",
        python(f"open({opened!r})"),
    )
    assert opened in [row["fields"]["path"] for row in rows]
    assert all(list(row["fields"]) == ["pid", "comm", "path"] for row in rows)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert {row["probe"] for row in rows} == {"sys_enter_openat"}


def test_all_own_fields_come_without_asking() -> None:
    done = spile("trace", "syscalls:sys_enter_openat", "--limit", "1", "-c", python("open('/etc/hostname')"))
    assert done.returncode == 0, done.stderr
    assert re.match(r"\d\d:\d\d:\d\d\.\d{6} +\d+ sys_enter_openat .*flags=\d+", done.stdout)
    assert len(done.stdout.splitlines()) == 1


def test_a_stack_s_frames_stand_below_their_event() -> None:
    done = spile("trace", GETPPID, "--capture", "comm,trace=kstack", "--limit", "2", "-c", getppid(10))
    lines = done.stdout.splitlines()
    assert sum("sys_enter_getppid comm=" in line for line in lines) == 2
    assert lines[1] == "    trace:"
    assert lines[2].startswith("        ")


def test_a_timer_s_samples_say_who_was_interrupted() -> None:
    rows = spile_json("trace", "profile:997", "--limit", "5", "-c", python("while True: pass"))
    assert len(rows) == 5
    assert all(row["fields"]["comm"].startswith("python") for row in rows)


@pytest.mark.parametrize(("command", "status"), [("true", 0), ("sh -c 'exit 7'", 7), ("sh -c 'kill -KILL $$'", 137)])
def test_the_command_s_own_status_is_passed_on(command: str, status: int) -> None:
    assert spile("count", GETPPID, "-c", command).returncode == status


def test_the_limit_ends_a_command_without_an_error() -> None:
    began = time.monotonic()
    done = spile("trace", GETPPID, "--limit", "3", "-c", python("import os\nwhile True: os.getppid()"))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_in_order(number: signal.Signals) -> None:
    code = python("import os, time\nfor _ in range(7): os.getppid()\nprint('ready', flush=True)\ntime.sleep(60)")
    with subprocess.Popen(
        [*SPILE, "count", GETPPID, "--json", "-c", code], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(number)
        rest, _ = running.communicate(timeout=20)
    assert json.loads(rest) == {"by": {}, "count": 7}


def test_a_reader_that_goes_is_no_error() -> None:
    with subprocess.Popen(
        [*SPILE, "trace", GETPPID, "-c", python("import os\nwhile True: os.getppid()")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        errors = running.stderr.read()
        assert running.wait(20) == 0, errors
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["count", "sched:sched_swich"], ["sched_switch"]),
        (["count", "raw_tracepoint:sys_entr"], ["sys_enter"]),
        (["trace", "sched:sched_switch", "--capture", "arg.prev_pidd"], ["prev_pid"]),
        (["list", "sched:sched_swich"], ["sched_switch"]),
    ],
)
def test_unknown_names_have_neighbours(arguments: list[str], words: list[str]) -> None:
    done = spile(*arguments)
    assert done.returncode == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert "declared at" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["count", "sched:sched_switch", "--by", "prev_comm"], "did you mean arg.prev_comm? The probe's own fields"),
        (["count", "raw_tracepoint:sched_switch", "-w", "prev_state == 1"], "did you mean arg.prev_state?"),
        (["trace", "sched:sched_switch", "--capture", "comm,next_pdi"], "did you mean arg.next_pid"),
        (["count", "sched:no_such_probe", "--by", "prev_comm"], "nothing is called 'prev_comm' (column 1)"),
        (["count", "profile:99", "--by", "prev_comm"], "nothing is called 'prev_comm' (column 1)"),
    ],
)
def test_a_field_s_bare_name_is_told_to_be_one(arguments: list[str], words: str) -> None:
    done = spile(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_probes_are_listed_by_part_pattern_and_kind() -> None:
    assert "tracepoint:sched:sched_switch" in spile("list", "sched_swi").stdout.splitlines()
    assert "tracepoint:sched:sched_switch" in spile("list", "sched:*").stdout.splitlines()
    only = spile("list", "tracepoint:sched:*").stdout.splitlines()
    assert only
    assert all(line.startswith("tracepoint:sched:") for line in only)
    assert spile("list", "raw_tracepoint:sched_switch").stdout == "raw_tracepoint:sched_switch\n"


def test_fields_are_listed_with_their_types() -> None:
    (probe,) = spile_json("list", "tracepoint:sched:sched_switch", "--fields")
    assert {"name": "prev_pid", "type": "pid_t"} in probe["fields"]
    assert "    arg.prev_pid " in spile("list", "tracepoint:sched:sched_switch", "--fields").stdout


def test_the_doctor_says_what_each_thing_costs() -> None:
    features = spile_json("doctor")
    assert all(feature["feature"] and feature["detail"] for feature in features)
    assert all(feature["cost"] for feature in features if not feature["works"])
    assert len(spile("doctor").stdout.splitlines()) == len(features) + 1


def test_a_script_s_own_handlers_are_found(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, spile as sp\n"
        f"session = sp.Session(command={getppid(9)!r})\n"
        f"session.tracepoint({GETPPID!r}, capture={{'pid': sp.pid}})\n"
        "seen = 0\n"
        "def on_sys_enter_getppid(pid):\n    global seen\n    seen += 1\n"
        "def on_end_trace_session():\n    print(seen, *sys.argv[1:])\n"
    )
    done = spile("run", str(script), "--duration", "x")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "9 --duration x\n"


def test_a_script_s_mistake_is_a_message_and_its_bug_a_traceback(tmp_path: Path) -> None:
    mistake = tmp_path / "mistake.py"
    mistake.write_text("import spile as sp\nsession = sp.Session()\nsession.tracepoint('sched:nothing').count()\n")
    done = spile("run", str(mistake))
    assert done.returncode == 1
    assert "sched:nothing" in done.stderr
    assert f"{mistake}:3" in done.stderr
    assert "Traceback" not in done.stderr
    bug = tmp_path / "bug.py"
    bug.write_text("1 / 0\n")
    done = spile("run", str(bug))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "runpy" not in done.stderr
    assert "click" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["count", GETPPID, "--by", "comm"], ["count", "sched:sched_switch", "--by", "kstack"], ["doctor"]]
)
def test_a_terminal_gets_a_table(arguments: list[str]) -> None:
    ending = ["-d", "1", "-p", str(os.getpid())] if arguments[0] == "count" and arguments[1] == GETPPID else ["-d", "1"]
    text = on_a_terminal(*arguments, *(ending if arguments[0] == "count" else []))
    assert "Traceback" not in text
    assert ("count" if arguments[0] == "count" else "feature") in text


def on_a_terminal(*arguments: str) -> str:
    """What a terminal of the usual size would be sent."""
    keyboard, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen(
        [*SPILE, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    ) as child:
        os.close(terminal)
        sent = b""
        while True:
            try:
                part = os.read(keyboard, 4096)
            except OSError:
                break
            if not part:
                break
            sent += part
        assert child.wait(20) == 0, sent
    os.close(keyboard)
    return sent.decode(errors="replace")


@pytest.mark.parametrize("probe", ["sched:sched_switch", "raw_tracepoint:sys_enter", "profile:9"])
def test_a_missing_privilege_is_named(probe: str) -> None:
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run([*without, *SPILE, "count", probe, "-d", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"spile: .*CAP_BPF.*\n", done.stderr)


# Reads of these sizes, by a descriptor that nobody else has.
SIZES = [1] * 40 + [5, 6, 7] * 10 + [100] * 20 + [3000] * 10
READ = "syscalls:sys_enter_read"
ON_99 = ("--where", "arg.fd == 99")
READS = python(f"import os; os.dup2(os.open('/dev/zero', os.O_RDONLY), 99)\nfor n in {SIZES}: os.read(99, n)")


def one_row(*arguments: str) -> dict[str, Any]:
    (row,) = spile_json(*arguments, *ON_99, "-c", READS)
    assert row.pop("by") == {}
    return row


def test_numbers_are_the_workload_s() -> None:
    assert one_row("sum", READ, "arg.count") == {"sum": sum(SIZES)}
    assert one_row("stats", READ, "arg.count") == {
        "count": len(SIZES),
        "sum": sum(SIZES),
        "min": 1,
        "max": 3000,
        "avg": sum(SIZES) / len(SIZES),
    }
    assert one_row("max", READ, "arg.count") == {"max": 3000}


def test_histograms_are_the_workload_s() -> None:
    row = one_row("hist", READ, "arg.count")
    assert [tuple(each.values()) for each in row["bins"]] == [(1, 2, 40), (4, 8, 30), (64, 128, 20), (2048, 4096, 10)]
    row = one_row("lhist", READ, "arg.count", "0", "100", "50")
    assert [tuple(each.values()) for each in row["bins"]] == [(0, 50, 70), (100, None, 30)]
    row = one_row("quantiles", READ, "arg.count")
    assert (row["count"], row["min"], row["p50"]) == (100, 1, 5) and abs(row["max"] - 3000) <= 3000 / 128


def test_frequent_and_different_values_are_the_workload_s() -> None:
    row = one_row("top", READ, "arg.count", "--size", "2")
    assert row == {
        "hits": 100,
        "items": [{"item": 1, "count": 40, "error": 0}, {"item": 100, "count": 20, "error": 0}],
    }
    assert one_row("distinct", READ, "arg.count")["distinct"] == len(set(SIZES))


def test_a_histogram_prints_as_one() -> None:
    done = spile("hist", READ, "arg.count", "--by", "comm", "--unit", "bytes", *ON_99, "-c", READS)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith(":") and lines[1].startswith("[1B]") and lines[-1].startswith("[2KB, 4KB)")
    assert re.fullmatch(r"\[1B\] +40 \|@{40}\|", lines[1])


def test_columns_of_numbers_go_into_a_pipe() -> None:
    done = spile("stats", READ, "arg.count", "--by", "comm", *ON_99, "-c", READS)
    assert re.fullmatch(rf"100\t{sum(SIZES)}\t1\t3000\t\d+\.\d+\tpython\S*\n", done.stdout)


def test_values_that_are_no_numbers_are_refused() -> None:
    done = spile("sum", READ, "comm")
    assert done.returncode == 2 and "sum() takes a number" in done.stderr


def test_explain_says_where_counts_are_kept_and_why() -> None:
    done = spile("explain", "count", "raw_syscalls:sys_enter", "--by", "comm,kstack")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "tracepoint:raw_syscalls:sys_enter (probe sys_enter)"
    assert "  +16 by[0][0]: string" in rest
    kept = re.search(
        r"^aggregate 0 is kept in the kernel: .* slots of 40 bytes .* (\d+) bytes together$", done.stdout, re.M
    )
    assert kept is not None and 0 < int(kept[1]) <= 32 << 20
    assert "block0:" not in done.stdout
    with_code = spile("explain", "--code", "trace", GETPPID, "--capture", "pid").stdout
    assert "block0:" in with_code and "call bpf_" in with_code
    unbounded = spile("explain", "count", "sched:sched_process_exec", "--by", "arg.filename")
    assert "aggregate 0 is counted over the event stream: a string has no size" in unbounded.stdout


def test_explain_starts_no_script_s_session(tmp_path: Path) -> None:
    declared = "import spile\nsession = spile.Session()\nsession.tracepoint('sched:sched_switch').count()\n"
    for name, ending in (("left", ""), ("own", "session.run(duration=60)\nprint('never')\n")):
        script = tmp_path / f"{name}.py"
        script.write_text(declared + ending)
        done = spile("explain", "run", str(script))
        assert done.returncode == 0, done.stderr
        assert f"declared at {script}:3" in done.stdout and "kept in the kernel" in done.stdout
        assert "never" not in done.stdout


def test_explain_names_what_it_can_explain() -> None:
    done = spile("explain", "doctor")
    assert (
        done.returncode == 2 and "'doctor' is no command that can be explained; these can: avg, count," in done.stderr
    )


def test_an_error_of_the_command_line_names_no_file() -> None:
    done = spile("count", "sched:sched_switch", "--by", "arg.prev_pidd")
    assert done.returncode != 0 and ".py" not in done.stderr, done.stderr
