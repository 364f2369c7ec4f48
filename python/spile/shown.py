"""Integers in keys as people know them: addresses as symbols, devices and cgroups by name, IPv4 addresses.

In: the raw keys of a native table, and for each part the class that shows it. Out: the same rows with integers that
know what they stand for. The kernel counts by the number; a name is looked up when somebody reads it.
"""

from __future__ import annotations

import functools
import ipaddress
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _native
from .cgroups import cgroup_paths

if TYPE_CHECKING:
    from ._native import NativeTable

#: What makes an object of a number.
Form = Callable[[int], "Shown"]


class Shown(int):
    """An `int` in everything, a key too, that reads as what it stands for; `name` is None where that isn't known."""

    @property
    def name(self) -> str | None:
        """What it stands for, looked up now."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.name or int.__repr__(self)

    def __repr__(self) -> str:
        name = self.name
        return int.__repr__(self) if name is None else f"<{name}: {int.__repr__(self)}>"

    def __format__(self, spec: str, /) -> str:
        is_numeric = bool(spec) and spec[-1] in "bcdeEfFgGnoxX%"
        return int.__format__(self, spec) if is_numeric or self.name is None else format(self.name, spec)


class Address(Shown):
    """A kernel address: ``vfs_read+0x12``."""

    @property
    def name(self) -> str | None:
        return _symbol(int(self))

    def __str__(self) -> str:
        return self.name or f"0x{int(self):x}"


class Disk(Shown):
    """A block device's number, as the kernel has it: ``sda1``, or ``8:1`` where it has no name here."""

    @property
    def major(self) -> int:
        """The driver's number."""
        return int(self) >> 20

    @property
    def minor(self) -> int:
        """The device's number with its driver."""
        return int(self) & 0xFFFFF

    @property
    def name(self) -> str:
        try:
            return Path(f"/sys/dev/block/{self.major}:{self.minor}").readlink().name
        except OSError:
            return f"{self.major}:{self.minor}"


class Inet(Shown):
    """An IPv4 address as the kernel has it, in the order of the network: ``127.0.0.1``."""

    @property
    def name(self) -> str:
        return str(self.address)

    @property
    def address(self) -> ipaddress.IPv4Address:
        """For whoever calculates with it."""
        return ipaddress.IPv4Address((int(self) & 0xFFFF_FFFF).to_bytes(4, "little"))


class ControlGroup(Shown):
    """A cgroup's id: ``/system.slice/cron.service``, its path in the hierarchy."""

    @property
    def name(self) -> str | None:
        return _cgroups(int(time.monotonic())).get(int(self))


@functools.lru_cache(maxsize=65_536)
def _symbol(address: int) -> str | None:
    (spelled,) = _native.symbolize([address])
    return None if spelled.startswith("0x") else spelled


@functools.lru_cache(maxsize=1)
def _cgroups(second: int) -> dict[int, str]:
    """Paths by id, read at most once a second."""
    return cgroup_paths()


class ShownTable:
    """A native table whose keys, and the values of lists in it, are shown. `forms` are those of a key's parts."""

    def __init__(self, native: NativeTable, forms: Sequence[Form | None], item: Form | None) -> None:
        self._native, self._forms, self._item = native, forms, item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def __len__(self) -> int:
        return len(self._native)

    def get(self, key: tuple[Any, ...], /) -> Any:
        """What a key has: a number that is shown is found by the number."""
        state = self._native.get(key)
        return None if state is None else self._state(state)

    def items(self) -> list[tuple[tuple[Any, ...], Any]]:
        """One consistent view."""
        return self._rows(self._native.items())

    def top(self, n: int) -> list[tuple[tuple[Any, ...], Any]]:
        """The `n` keys of which there is most."""
        return self._rows(self._native.top(n))

    def take(self) -> list[tuple[tuple[Any, ...], Any]]:
        """Reads and resets."""
        return self._rows(self._native.take())

    def _rows(self, rows: list[tuple[tuple[Any, ...], Any]]) -> list[tuple[tuple[Any, ...], Any]]:
        return [(tuple(map(_shown, self._forms, key)), self._state(state)) for key, state in rows]

    def _state(self, state: Any) -> Any:
        if self._item is None:
            return state
        hits, items = state
        return hits, [(_shown(self._item, item), *counts) for item, *counts in items]


def _shown(form: Form | None, part: Any) -> Any:
    return part if form is None or not isinstance(part, int) else form(part)
