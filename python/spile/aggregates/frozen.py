"""Objects that don't change. In: attributes, once. Out: an AttributeError for whoever sets one later."""

from __future__ import annotations

from typing import Any, NoReturn, Self


class Frozen:
    """What values and snapshots have in common."""

    __slots__ = ()

    def _set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} doesn't change: {name} can't be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} doesn't change: {name} can't be deleted")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
