"""Strings that were longer than what was kept of them."""


class CutStr(str):
    """A captured string that was cut: the kernel had more of it than `limit`, or than the record had room for.

    Otherwise a `str` like any other; ``isinstance(value, spile.CutStr)`` tells.
    """

    __slots__ = ()
