"""The exceptions: what their text shows, what they carry, that they survive a pickle."""

from __future__ import annotations

import pickle
import warnings

import pytest

import spile
from spile import errors


def test_a_spec_error_shows_path_and_place() -> None:
    error = errors.SpecError("no such thing", "probes[0].where", "script.py:12")
    assert str(error) == "no such thing (at probes[0].where, declared at script.py:12)"
    assert (error.message, error.path, error.declared_at) == ("no such thing", "probes[0].where", "script.py:12")


@pytest.mark.parametrize(
    ("path", "declared_at", "text"),
    [
        (None, None, "wrong"),
        ("where", None, "wrong (at where)"),
        (None, "script.py:3", "wrong (declared at script.py:3)"),
    ],
)
def test_what_is_not_known_is_not_shown(path: str | None, declared_at: str | None, text: str) -> None:
    assert str(errors.SpecError("wrong", path, declared_at)) == text


def test_other_texts() -> None:
    assert str(errors.ProbeNotFound("no x")) == "no x"
    assert str(errors.EngineError("refused")) == "refused"
    assert str(errors.EngineError("refused", "0: r0 = 1\n")) == "refused\n0: r0 = 1"
    assert str(errors.StreamError("unknown id", 12)) == "at byte 12: unknown id"
    assert str(errors.PrivilegeError("CAP_BPF is missing")) == "CAP_BPF is missing"


def test_one_hierarchy() -> None:
    for name in vars(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning):
            assert issubclass(kind, errors.Error)
            assert getattr(spile, name) is kind
    assert issubclass(errors.PrivilegeError, PermissionError)
    with pytest.warns(errors.LossWarning):
        warnings.warn("3 events", errors.LossWarning, stacklevel=1)


@pytest.mark.parametrize(
    "error",
    [
        errors.Error("a", errors=("b", "c")),
        errors.SpecError("a", "path", "file:1", errors=("b",)),
        errors.FieldNotFound("a"),
        errors.Unsupported("a"),
        errors.PrivilegeError("a"),
        errors.StateError("a"),
        errors.EngineError("a", "log"),
        errors.StreamError("a", 7),
        errors.RecordingError("a", 9),
    ],
)
def test_a_pickle_keeps_everything(error: errors.Error) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_several_errors_are_listed() -> None:
    assert errors.Error("one").errors == ()
    assert errors.Error("two", errors=("a", "b")).errors == ("a", "b")
