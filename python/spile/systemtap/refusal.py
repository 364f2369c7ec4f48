"""What SystemTap has no words for. In: the reason. Out: an Unsupported that names the engine that can."""

from __future__ import annotations

from typing import NoReturn

from spile.errors import Unsupported


def refuse(reason: str, remedy: str = "engine='bpf' can") -> NoReturn:
    """Raises Unsupported."""
    raise Unsupported(f"the SystemTap engine can't: {reason}; {remedy}")
