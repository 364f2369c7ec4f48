"""Expressions as text: the nodes of the operators, errors that point at the place, and nothing else ever."""

from __future__ import annotations

import string as letters
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from expr_strategies import EXPRESSIONS
from spile.errors import SpecError
from spile.expr import arg, between, comm, cpu, isin, kstack, ms, pid, startswith, string, ustack, utime
from spile.expr.operand import node_of
from spile.text import MAX_LENGTH, NAMES, expr


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("pid", pid),
        (" arg.count\t", arg.count),
        ("arg['from']", arg["from"]),
        ("arg[0].x[2]", arg[0].x[2]),
        ("arg.keys", arg.keys),
        ("arg._refcount", arg._refcount),
        ("kstack", kstack),
        ("kstack[:8]", kstack[:8]),
        ("ustack[0:8:1]", ustack[0:8:1]),
        ("string(arg.filename)", string(arg.filename)),
        ("string(arg.filename, limit=64)", string(arg.filename, limit=64)),
        ("string(arg.p + 8, 64)", string(arg.p + 8, 64)),
        ("utime // ms % 1000", utime // ms % 1000),
        ("-pid + ~arg.x", -pid + ~arg.x),
        ("1 << cpu", 1 << cpu),
        ("arg.flags & ~0xfff | 3 ^ arg.y", arg.flags & ~0xFFF | 3 ^ arg.y),
        ("2 * 3 + pid", 2 * 3 + pid),
        ("pid - 1_000", pid - 1_000),
        ("pid == 1", pid == 1),
        ("1 < pid", 1 < pid),
        ("pid < arg.x", pid < arg.x),
        ("arg.x & 3 != 0", (arg.x & 3) != 0),
        ("arg.flag == True", arg.flag == True),
        ("comm == 'cc1'", comm == "cc1"),
        ('comm != "cc1"', comm != "cc1"),
        ("comm == '\\udcff\\xe4'", comm == "\udcff\xe4"),
        ("comm == r'a'", comm == "a"),
        ("comm == '''a'b'''", comm == "a'b"),
        ("comm == 'it\\'s'", comm == "it's"),
        ("arg.count > 4096 and comm in ('cc1', 'as')", (arg.count > 4096) & isin(comm, "cc1", "as")),
        ("pid in [1, 2]", isin(pid, 1, 2)),
        ("pid in {2, 1}", isin(pid, 2, 1)),
        ("pid not in (1,)", ~isin(pid, 1)),
        ("not pid == 1", ~(pid == 1)),
        ("not (pid == 1 or cpu == 2)", ~((pid == 1) | (cpu == 2))),
        ("pid == 1 and cpu == 2 and arg.x == 3", (pid == 1) & (cpu == 2) & (arg.x == 3)),
        ("pid == 1 or cpu == 2 and arg.x == 3", (pid == 1) | (cpu == 2) & (arg.x == 3)),
        ("(pid == 1) & ~(cpu == 2) | (arg.x == 3)", (pid == 1) & ~(cpu == 2) | (arg.x == 3)),
        ("1 <= pid <= 9", between(pid, 1, 9)),
        ("1 < pid < arg.x != 3", (pid > 1) & (pid < arg.x) & (arg.x != 3)),
        ("isin(pid, 1, 2)", isin(pid, 1, 2)),
        ("between(pid, 1, 1 << 4)", between(pid, 1, 16)),
        ("startswith(comm, 'kworker/')", startswith(comm, "kworker/")),
        ("utime > 5 * ms", utime > 5 * ms),
        ("(pid ==\n 1)", pid == 1),
    ],
)
def test_text_and_operators_give_equal_nodes(text: str, made: Any) -> None:
    read = expr(text)
    assert type(read) is type(made)
    assert node_of(read) == node_of(made)


@settings(deadline=None)
@given(EXPRESSIONS)
def test_what_an_expression_is_written_as_reads_back(made: Any) -> None:
    text = repr(made)
    if len(text) <= MAX_LENGTH:
        assert node_of(expr(text)) == node_of(made)


def test_the_error_points_at_the_place() -> None:
    with pytest.raises(SpecError) as raised:
        expr("comm == 'ä' and coom == 'ö'")
    assert str(raised.value).splitlines() == [
        "nothing is called 'coom'; did you mean comm? (column 17)",
        "    comm == 'ä' and coom == 'ö'",
        "                    ^^^^",
    ]
    with pytest.raises(SpecError) as raised:
        expr("pid == 1 and\\\n  cput == 2")
    assert str(raised.value).splitlines() == [
        "nothing is called 'cput'; did you mean cpu? (line 2, column 3)",
        "      cput == 2",
        "      ^^^^",
    ]


def test_a_long_line_is_shown_around_the_place() -> None:
    with pytest.raises(SpecError) as raised:
        expr(" or ".join(["pid == 1"] * 200) + " or pdi == 2")
    first, shown, caret = str(raised.value).splitlines()
    assert "did you mean pid" in first
    assert len(shown) < 120
    assert shown[caret.index("^") :].startswith("pdi")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("pid == 'x'", 1, "pid is an integer"),
        ("comm == 1", 1, "wants a string literal"),
        ("1 == 1 and pid == 2", 1, "compares two literals"),
        ("'a' < 'b'", 1, "compares two literals"),
        ("pid is 1", 1, "say == or !="),
        ("pid == 1 and cpu", 14, "say cpu != 0"),
        ("not cpu", 5, "say cpu != 0"),
        ("not 1", 5, "not 1"),
        ("pid and cpu == 1", 1, "say pid != 0"),
        ("pid / 2", 1, "say //"),
        ("pid ** 2", 1, "the operators are"),
        ("pid @ 2", 1, "the operators are"),
        ("+pid", 1, "leave the sign out"),
        ("-'a' == pid", 1, "no sign"),
        ("'a' + comm", 1, "is a string"),
        ("'%s' % pid", 1, "is a string"),
        ("1 // 0 == pid", 1, "zero"),
        ("1 << 99999999999 == pid", 1, "at most 64 bits"),
        ("1 << -1 == pid", 1, "negative shift count"),
        ("2 * 9223372036854775808 == pid", 1, "does not fit 64 bits"),
        ("pid == 99999999999999999999", 8, "does not fit 64 bits"),
        ("pid == 1.5", 8, "no literal here"),
        ("pid == None", 8, "no literal here"),
        ("pid == b'x'", 8, "no literal here"),
        ("pid == 1j", 8, "no literal here"),
        ("pid == ...", 8, "no literal here"),
        ("comm == 'a' 'b'", 9, "side by side"),
        ("comm == 'a'\\\n'b'", 9, "side by side"),
        ("comm in ('a' 'b', 'c')", 10, "side by side"),
        ("comm == f'{pid}'", 9, "an f-string"),
        ("arg.x.foo()", 1, "not a method"),
        ("pid()", 1, "leave the parentheses out"),
        ("us()", 1, "no function"),
        ("(pid == 1)()", 1, "not a function"),
        ("len(comm)", 1, "nothing is called 'len'"),
        ("isin", 1, "a literal alone"),
        ("isin == 1", 1, "isin is a function: call it"),
        ("isin.x", 1, "isin is a function"),
        ("startswith(isin, 'a')", 12, "isin is a function"),
        ("isin(*pid)", 6, "one by one"),
        ("isin(**pid)", 8, "one by one"),
        ("string(arg.p, size=3)", 1, "unexpected keyword"),
        ("startswith(comm)", 1, "missing 1 required"),
        ("isin(pid)", 1, "at least one"),
        ("pid.count", 1, "only arg has"),
        ("pid[0]", 1, "takes no [ ]"),
        ("'abc'[0] == comm", 1, "takes no [ ]"),
        ("arg[pid]", 5, "a position is a literal"),
        ("arg[-1]", 1, "positions count from 0"),
        ("arg[1:2]", 1, "a field's name or a position"),
        ("arg[True]", 1, "a field's name or a position"),
        ("kstack[1:2]", 1, "outer end"),
        ("kstack[0]", 1, "outer end"),
        ("kstack[:pid]", 1, "keeps n frames"),
        ("kstack == 1", 1, "is a stack"),
        ("pid in 5", 8, "literals in parentheses"),
        ("'x' in comm", 8, "literals in parentheses"),
        ("1 in (1, 2)", 1, "the left side of `in`"),
        ("pid in (1, 2) == cpu", 1, "can't be chained"),
        ("pid in (tid,)", 1, "join comparisons by |"),
        ("pid in ()", 1, "at least one"),
        ("(pid, cpu)", 1, "a tuple"),
        ("[pid]", 1, "a list"),
        ("{pid: 1}", 1, "a dict"),
        ("lambda: pid", 1, "a lambda"),
        ("pid if cpu else 1", 1, "`if … else`"),
        ("(x := pid)", 2, "`:=`"),
        ("[x for x in arg]", 1, "a comprehension"),
        ("arg", 1, "arg alone is no value"),
        ("5", 1, "a literal alone"),
        ("'pid'", 1, "a literal alone"),
        ("elapse > 1", 1, "nothing is called 'elapse'; did you mean elapsed"),
        ("__import__('os')", 1, "nothing is called"),
        ("pid ==", 7, "not Python's grammar"),
        ("pid = 1", 5, "not Python's grammar"),
        ("pid == 1; cpu", 9, "not Python's grammar"),
        ("import os", 1, "not Python's grammar"),
        # Where is the interpreter's to say: at the quote, or since 3.14 at the escape.
        ("comm == '\\d'", 9 if sys.version_info < (3, 14) else 10, "invalid escape"),
        ("(pid", 1, "never closed"),
        ("pid == 1 & cpu == 2", 1, "1 & cpu"),
    ],
)
def test_everything_else_is_refused_where_it_stands(text: str, column: int, message: str) -> None:
    if message == "1 & cpu":  # precedence as in Python: a chain, which is legal
        assert node_of(expr(text)) == node_of((pid == (1 & cpu)) & ((1 & cpu) == 2))
        return
    with pytest.raises(SpecError) as raised:
        expr(text)
    shown = str(raised.value)
    assert message in shown
    assert f"column {column})" in shown, shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        ("pid" + " " * MAX_LENGTH + "+ 1", "at most 4096"),
        ("\0", "null bytes"),
        ("\ud800 == 1", "surrogates"),
        ("(" * 1000 + "pid" + ")" * 1000, "too many nested parentheses"),
        ("-" * 3000 + "pid", "too deeply"),
        ("pid" + "+pid" * 900, "deep"),
        ("pid" + "+1" * 60, "nested more than"),
        ("arg" + ".a" * 2000, "too deeply"),
    ],
)
def test_absurd_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        expr(text)
    assert message in str(raised.value)
    assert len(str(raised.value)) < 500


def test_no_python_is_reached() -> None:
    for name in ("__class__", "__init__", "__globals__", "__dict__", "__spile_node__"):
        assert node_of(expr(f"arg.x.{name}")) == node_of(arg.x[name])
        for base in ("pid", "isin", "us", "kstack", "(pid == 1)"):
            with pytest.raises(SpecError):
                expr(f"{base}.{name}")
    with pytest.raises(SpecError, match="takes a string, not 5"):
        expr(5)  # type: ignore[arg-type]


def _survives(text: str) -> None:
    try:
        read = expr(text)
    except SpecError as error:
        str(error).encode("utf-8", "backslashreplace")
    else:
        assert node_of(read) is not None


@settings(deadline=None)
@given(st.text())
@example("\x0c pid")
@example("pid\x0c==\x0ccom")
@example("pid\r== com")
@example("(pid\u2028== com)")
@example("\ufeffpid")
@example("pid # com")
@example("`pid`")
def test_arbitrary_text_only_ever_raises_spec_errors(text: str) -> None:
    _survives(text)


_WORDS = [
    *NAMES,
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "lambda",
    "True",
    "None",
    "0",
    "1",
    "18446744073709551616",
]
_WORDS += ["'a'", "'''", '"', "(", ")", "[", "]", "{", "}", ",", ":", ".", "..", "=", "==", "!=", "<", "<=", ">", "**"]
_WORDS += [
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "<<",
    ">>",
    "&",
    "|",
    "^",
    "~",
    "@",
    ":=",
    "\n",
    "\\",
    "#",
    "f'{pid}'",
    "b''",
    "1.5",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(_WORDS) | st.text(letters.printable, max_size=3), max_size=24))
def test_arbitrary_words_only_ever_raise_spec_errors(words: list[str]) -> None:
    _survives(" ".join(words))


@settings(deadline=None)
@given(EXPRESSIONS.map(repr), st.data())
def test_a_slip_in_a_good_text_only_ever_raises_spec_errors(text: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 5)))
    _survives(text[:begin] + data.draw(st.sampled_from(["", *_WORDS])) + text[end:])
