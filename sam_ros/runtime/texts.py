"""Make text of clients fit for logs and diagnostics."""

from __future__ import annotations

__all__ = ["LONGEST_LINE", "legible"]

LONGEST_LINE = 400  # characters of a log line or a diagnostic value


def legible(text: str, limit: int = LONGEST_LINE) -> str:
    r"""Escape what is not printable, and cut what is longer than `limit` characters.

    An escape sequence of a terminal, or a line break that imitates a log line of its own, thus shows as `\x1b`, `\n`.
    """
    left = len(text) - limit
    kept = text[:limit] if left > 0 else text
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in kept)
    return f"{shown} … ({left} more characters)" if left > 0 else shown
