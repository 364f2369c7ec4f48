"""Scripts for SystemTap, as text: what is written, what is refused, and that a decoder knows what they print."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spile
from spile import _native
from spile.expr import arg, comm, cpu, isin, kstack, pid, string, task, ustack
from spile.spec import Function, ProbeSpec, Profile, SessionSpec, Target
from spile.systemtap import frames, quoting
from spile.systemtap.script import generate
from systemtap_specs import FEATURES, GOLDEN, READ, SWITCH, accumulated, aggregate, at_start, probe, session, span

DATA = Path(__file__).parent / "data" / "systemtap"
TABLE = Path(__file__).parent.parent / "docs" / "systemtap.md"
#: Features that SystemTap's engine refuses, and a word of each reason.
REFUSED = {
    "max_overhead=": "nothing that tells them what to leave out",
    "sample=": "the sample would not be exact",
    "tracepoint, its fields": "raw_tracepoint",
    "tracepoint of syscalls": "raw_syscalls",
    "arg[0]": "arg.name",
    "string() of more than 8 KB": "limit=",
    "~ of a field": "wide",
    'attach="fentry"': "kprobes",
}


#: What the kernel's BTF says of a function.
ARGUMENTS = {"vfs_read": ["file", "buf", "count", "pos"]}


def arguments(target: Target) -> list[str]:
    """Without a kernel."""
    return ARGUMENTS[target.spelling.partition(":")[2]]


def _engine(spec: SessionSpec) -> _native.Engine:
    """A decoder of what the script for a spec prints."""
    with Path(os.devnull).open("rb") as nothing:
        schemas = generate(spec, arguments=arguments, programs=()).schemas
        return _native.Engine.systemtap(spec.to_json(), schemas, [nothing.fileno()])


def documented() -> dict[str, str]:
    """Each feature of the documentation's table, and whether SystemTap has it."""
    rows = re.findall(r"^\| (.+?) \| yes \| (yes|no) \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name.replace("`", "").replace("\\|", "|"): answer for name, answer in rows}


@pytest.mark.parametrize("name", GOLDEN)
def test_scripts_are_stable(name: str) -> None:
    """SPILE_WRITE_GOLDEN=1 writes them anew; the difference is for a reader to judge."""
    script = generate(GOLDEN[name]())
    text = f"# stap {' '.join(script.arguments)}\n{script.text}"
    file = DATA / f"{name}.stp"
    if os.environ.get("SPILE_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_is_written_or_refused_as_the_documentation_says(feature: str) -> None:
    assert documented()[feature] == ("no" if feature in REFUSED else "yes")
    if feature in REFUSED:
        with pytest.raises(spile.Unsupported, match=re.escape(REFUSED[feature])) as caught:
            generate(FEATURES[feature](), arguments=arguments, programs=["/bin/true"])
        assert "engine='bpf' can" in str(caught.value)
    else:
        text = generate(FEATURES[feature](), arguments=arguments, programs=["/bin/true"]).text
        assert "probe kernel." in text or feature == "profile"


def test_the_table_of_features_is_complete() -> None:
    assert set(documented()) == set(FEATURES)


@pytest.mark.parametrize("feature", sorted(set(FEATURES) - set(REFUSED)))
def test_a_decoder_takes_the_schemas(feature: str) -> None:
    spec = FEATURES[feature]()
    schemas = json.loads(generate(spec, arguments=arguments, programs=()).schemas)
    assert [event["id"] for event in _engine(spec).events()] == [schema["id"] for schema in schemas]


def test_time_and_cpu_come_first() -> None:
    (schema,) = json.loads(generate(session(probe(READ, x=pid))).schemas)
    assert [field["role"] for field in schema["fields"]] == ["time", "cpu", "capture"]


def test_nothing_of_a_run_is_in_the_script() -> None:
    """So that SystemTap's cache of modules finds it again."""
    first, second = (generate(session(probe(READ, pid=pid), pid=number)) for number in (12345, 54321))
    assert first.text == second.text
    assert first.arguments[-2:] == ["-x", "12345"]


def test_everything_that_is_refused_is_told_at_once() -> None:
    spec = session(probe(READ, "a", x=~arg.count), probe(Profile(9), "b", x=arg.y), probe(READ, "c", x=pid))
    with pytest.raises(spile.Unsupported) as caught:
        generate(spec)
    assert len(caught.value.errors) == 2
    assert "probe a" in caught.value.errors[0] and "probe b" in caught.value.errors[1]


def test_a_probe_that_sends_keeps_no_table() -> None:
    """Its events carry the keys, so that nothing is counted twice."""
    both = ProbeSpec("p", (READ,), aggregates=probe(READ, by=(comm,)).aggregates)
    script = generate(SessionSpec((both,)))
    assert "table_" not in script.text
    assert json.loads(script.schemas)[0]["keys"] == [[2]]


def test_without_debugging_information_arguments_have_positions() -> None:
    text = generate(session(probe(READ, x=arg[2])), debuginfo=False).text
    assert 'kprobe.function("vfs_read")' in text and "long_arg(3)" in text
    with pytest.raises(spile.Unsupported, match="debugging information"):
        generate(session(probe(READ, x=arg.count)), debuginfo=False)


def test_without_debugging_information_a_stack_has_its_function_once() -> None:
    assert "= spile_backtrace()" in generate(session(probe(READ, x=kstack)), debuginfo=False).text
    assert "spile_backtrace" not in generate(session(probe(READ, x=kstack))).text


def test_sizes_follow_what_is_asked_for() -> None:
    plain, deep = (dict(generate(session(probe(READ, x=x))).definitions) for x in (pid, kstack))
    assert plain["MAXSTRINGLEN"] == 512 and "MAXBACKTRACE" not in plain
    assert deep["MAXBACKTRACE"] == 128 and deep["MAXSTRINGLEN"] >= 19 * 128
    assert dict(generate(session(probe(READ, x=string(arg.p, 4096)))).definitions)["MAXSTRINGLEN"] == 4096


def test_what_is_tested_against_several_is_computed_once() -> None:
    text = generate(session(probe(READ, where=isin(string(arg.p), "a", "b") & isin(arg.n, 1, 2)))).text
    assert text.count("spile_string($p") == text.count("$n") == 1


def test_open_spans_with_strings_take_a_bounded_memory() -> None:
    spec = span(who=at_start(comm), stack=at_start(kstack))
    (begin, check, wait) = spec.probes
    assert wait.span is not None
    wide = replace(wait, span=replace(wait.span, max_open=1 << 20))
    text = generate(SessionSpec((begin, check, wide))).text
    room = int(re.search(r"starts_2%\[(\d+)\]", text)[1])  # type: ignore[index]
    assert 1024 <= room < (64 << 20) // 2433


def test_more_targets_than_a_byte_has_numbers() -> None:
    many = ProbeSpec("p", tuple(Function(f"f{number}") for number in range(256)))
    with pytest.raises(spile.Unsupported, match="255"):
        generate(SessionSpec((many,)))


@given(st.integers(0, 9000))
def test_frames_never_leave_a_rest_that_the_transport_trips_over(payload: int) -> None:
    size = frames.padded(payload)
    assert (8 + size) % 16 == 0
    assert 0 <= size - 8 - payload < 16


def test_records_that_a_print_cannot_hold_are_refused() -> None:
    for spec in (probe(READ, a=string(arg.a), b=string(arg.b)), probe(READ, by=(string(arg.a), string(arg.b)))):
        with pytest.raises(spile.Unsupported, match=r"probe p: .* limit="):
            generate(session(spec))


def test_events_of_more_values_than_a_record_has_are_refused() -> None:
    most, more = ({f"v{at}": arg[f"a{at}"] for at in range(count)} for count in (14, 15))
    _engine(session(probe(READ, **most)))
    with pytest.raises(spile.Unsupported, match="15 values"):
        generate(session(probe(READ, **more)))


def test_keys_of_more_parts_than_a_row_has_are_refused() -> None:
    """A record has 16 columns: of a row's, hits and what is kept take some; of an event's, time and CPU two."""
    parts = [arg[f"a{part}"] for part in range(15)]
    with pytest.raises(spile.Unsupported, match="15 values"):
        generate(session(probe(READ, by=parts)))
    for kind, most in (("stats", 12), ("sum", 14), ("hist", 14), ("distinct", 14)):
        one = aggregate(kind, parts[0], *parts[:most])
        _engine(session(accumulated(one)))
        more = aggregate(kind, parts[0], *parts[: most + 1])
        with pytest.raises(spile.Unsupported, match=rf"{most + 1} parts for {kind}\(\), where {most} are|15 values"):
            generate(session(accumulated(more)))


@given(st.binary().filter(lambda words: b"\0" not in words))
def test_strings_are_quoted_so_that_c_reads_them_back(words: bytes) -> None:
    text = quoting.text(words)
    assert text.isascii() and text.isprintable()
    plain = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text[1:-1])
    assert plain.encode("latin-1") == words
    assert not re.search(r'["%]|\\(?![0-7]{3})', text[1:-1])


def test_a_string_with_a_nul_is_refused() -> None:
    with pytest.raises(spile.SpecError, match="NUL"):
        quoting.text(b"a\0b")


@pytest.mark.parametrize("name", ["", "a b", 'x").call{}#', "vfs_*", "a@b", "x\n", "ä", "a?", "f{a,b}"])
def test_names_that_mean_more_than_one_function_are_refused(name: str) -> None:
    with pytest.raises(spile.SpecError, match="function's name"):
        generate(session(probe(Function(name), x=pid)))


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_numbers_keep_their_bits(value: int) -> None:
    written = eval(quoting.number(value))
    assert (written - value) % (1 << 64) == 0


def test_a_span_takes_its_starts_values_along() -> None:
    text = generate(span(who=at_start(comm))).text
    assert "saved_2_0[key] = s2_0" in text and "c3_0 = s2_0" in text


def test_everything_is_what_the_kernel_says_a_function_is_called_with() -> None:
    wildcard = SessionSpec((ProbeSpec("p", (READ,), capture=None), ProbeSpec("q", (Profile(9),), capture=None)))
    first, second = json.loads(generate(wildcard, arguments=arguments).schemas)
    assert [field["name"] for field in first["fields"]] == ["spile_time", "spile_cpu", "file", "buf", "count", "pos"]
    assert [field["name"] for field in second["fields"]] == ["spile_time", "spile_cpu"]
    for options, refusal in (
        ({}, "name them"),
        ({"arguments": arguments, "debuginfo": False}, "debugging information"),
    ):
        with pytest.raises(spile.Unsupported, match=refusal):
            generate(wildcard, **options)  # type: ignore[arg-type]
    with pytest.raises(spile.Unsupported, match="raw_tracepoint"):
        generate(SessionSpec((ProbeSpec("p", (SWITCH,), capture=None),)), arguments=arguments)


def test_values_are_kept_once_for_each_key_and_a_cell_by_statistics() -> None:
    text = generate(session(accumulated(aggregate("stats", arg.count, comm), aggregate("avg", arg.count)))).text
    (declared,) = (line for line in text.splitlines() if "table_0_0[" in line and line.startswith("global"))
    names = ["table", "size", "direct", "hits", "total", "least", "greatest"]
    assert [name.split("_")[0] for name in declared.removeprefix("global ").split(", ")] == names
    assert "cell_0_1 <<< c1_1" in text and "@sum(cell_0_1)" in text and "@min(cell_0_1)" not in text


def test_what_would_take_a_sum_past_64_bits_goes_as_a_row_of_its_own() -> None:
    aggregates = [aggregate("sum", value, *by) for value in (arg.count, task, pid) for by in ((comm,), ())]
    text = generate(session(accumulated(*aggregates))).text
    assert "if (slot && spile_sum_fits(total_0_0[slot], c1_1)) {" in text
    assert "if (slot && spile_unsigned_sum_fits(total_0_2[slot], c1_2)) {" in text
    assert "if (c1_1 >> 32 == 0 || c1_1 >> 32 == -1) cell_0_1 <<< c1_1" in text
    assert "if (c1_2 >> 32 == 0) cell_0_3 <<< c1_2" in text and "direct_0_3 <<< 1" in text
    # Of 32 bits nobody sees so many between two dumps.
    assert "\n    cell_0_5 <<< c1_3\n" in text and "sum_fits(total_0_4" not in text


def test_what_has_no_sign_is_ordered_without() -> None:
    """SystemTap compares with a sign: of pointers the greater half would come before the lesser."""
    keyed, cell = aggregate("min", task, pid), aggregate("max", task)
    text = generate(session(accumulated(keyed, cell))).text
    assert "if (spile_below(c1_1, least_0_0[slot])) least_0_0[slot] = c1_1" in text
    assert "cell_0_1 <<< c1_1 ^ (1 << 63)" in text and "greatest = @max(cell_0_1) ^ (1 << 63)" in text
    plain = generate(session(accumulated(aggregate("min", pid, comm), aggregate("max", cpu)))).text
    assert "spile_below" not in plain and "^ (1 << 63)" not in plain


def test_events_carry_what_is_accumulated_over_them() -> None:
    script = generate(session(accumulated(aggregate("count", None), aggregate("sum", arg.count, comm), deliver=True)))
    (schema,) = json.loads(script.schemas)
    assert (schema["keys"], schema["values"]) == ([[], [2]], [None, 3])
    assert "table_" not in script.text and "the probe sends its events" in script.kept[1]


def test_where_aggregates_are_kept_is_told() -> None:
    kinds = [aggregate("top", comm, pid, size=3), aggregate("hist", arg.count), aggregate("max", pid)]
    kept = generate(session(accumulated(*kinds)), entries=77).kept
    assert "p, aggregate 0, top(), is kept in the kernel: an array of 77 rows by key and value" in kept[0]
    assert "by key and bin" in kept[1] and "statistics" in kept[2]


def test_user_stacks_are_those_of_programs_that_somebody_named() -> None:
    spec = session(probe(READ, x=ustack))
    with pytest.raises(spile.Unsupported, match=r"nobody named.*StapOptions\(unwind=.*engine='bpf' can"):
        generate(spec)
    script = generate(spec, programs=["/bin/a", "/bin/b"])
    assert script.unwind == ("/bin/a", "/bin/b")
    assert "= spile_ubacktrace()" in script.text and "spile_user_frames(c1_0, 127)" in script.text
    assert dict(script.definitions)["MAXSTRINGLEN"] >= 19 * 128
    # The process is printed, too.
    assert "spile_user_frames(c1_0, 9)" in generate(session(probe(READ, x=ustack[:8])), programs=()).text
    assert generate(session(probe(READ, x=kstack)), programs=["/bin/a"]).unwind == ()
