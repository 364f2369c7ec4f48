"""Which engine runs a session. In: its name, and a spec. Out: the engine, with everything attached that can be undone.

Here and nowhere else an engine is chosen: what comes after knows one shape, that of `_native.Engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import Error, PrivilegeError, SpecError, Unsupported
from .near import tracepoints_like
from .spec import Function

if TYPE_CHECKING:
    from ._native import Engine
    from .spec import SessionSpec


def checked(name: str) -> str:
    """The name, if an engine is called so. Raises SpecError or Unsupported."""
    if name == "systemtap":
        raise Unsupported("the SystemTap engine is not there yet; engine='bpf' needs nothing to be installed")
    if name not in ("auto", "bpf"):
        raise SpecError(f"there is no engine {name!r}; the engines are 'auto' and 'bpf'", "engine")
    return name


def make(name: str, spec: SessionSpec, classes: Sequence[type[Any] | None]) -> Engine:
    """The engine called `name`, ready to start; `classes` are those of each probe's events."""
    from . import _native

    try:
        return _native.Engine.bpf(spec.to_json(), list(classes) if any(classes) else None)
    except (Unsupported, PrivilegeError) as error:
        _name_what_works(error, spec)
        raise


def _name_what_works(error: Error, spec: SessionSpec) -> None:
    """Where functions can't be probed, adds the tracepoints that are most like them."""
    targets = [target for probe in spec.probes for target in probe.targets]
    functions = [target.name for target in targets if isinstance(target, Function)]
    # Of a pattern's many matches the first tell enough.
    if functions and any(function in error.message for function in functions):
        error.message += tracepoints_like(functions[:8])
