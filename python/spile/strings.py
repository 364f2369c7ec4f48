"""Strings from the kernel: those that are longer than what was kept of them, and all of them on a terminal."""


class CutStr(str):
    """A captured string that was cut: the kernel had more of it than `limit`, or than the record had room for.

    Otherwise a `str` like any other; ``isinstance(value, spile.CutStr)`` tells.
    """

    __slots__ = ()


def printable(value: str) -> str:
    """Text from the kernel, in which a control sign can do a terminal no harm."""
    return value if value.isprintable() else value.encode("unicode_escape", "backslashreplace").decode("ascii")
