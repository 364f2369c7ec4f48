"""Stacks in keys as folded lines, for flame graphs. In: a key. Out: its line, or a TypeError if it has no stack."""

from __future__ import annotations

from typing import Any


def fold(key: tuple[Any, ...]) -> str:
    """The key's other parts, the user stack, the kernel's, outermost frame first."""
    labels: list[str] = []
    user: list[str] = []
    kernel: list[str] = []
    for part in key:
        if hasattr(part, "folded"):
            (user if part.space == "user" else kernel).append(part.folded())
        else:
            labels.append(str(part).replace(";", ":").replace("\n", " "))
    if not user and not kernel:
        raise TypeError("a flame graph needs a stack in the key: count(by=kstack), or by=(comm, kstack)")
    return ";".join(part for part in labels + user + kernel if part)
