"""Generate messages and requests from their definitions, half of them plausible."""

from __future__ import annotations

import array
import re
from importlib import import_module
from typing import Any

import pytest

pytest.importorskip("hypothesis")

from hypothesis import strategies as st

_INTEGERS = {f"{sign}int{bits}": (sign, bits) for sign in ("", "u") for bits in (8, 16, 32, 64)}
_LONGEST = 4  # items of a sequence
signs = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_texts = st.one_of(st.just(""), st.just("cup"), st.text(signs, max_size=12), st.integers(200, 5000).map("x".__mul__))


def interface(name: str) -> Any:
    """Return the class of a message or service, e.g. "sam_msgs/srv/AddPrompt" or "std_msgs/Header"."""
    package, *kind, name = name.split("/")
    return getattr(import_module(".".join([package, *(kind or ["msg"])])), name)


def messages(kind: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Generate messages of a class.

    Args:
        kind: class of a message, or of a service's request.
        **fields: what goes into fields of these names, at any depth, instead of everything that their types allow.
    """
    types = kind.get_fields_and_field_types()
    return st.builds(kind, **{name: fields.get(name, _values(text, fields)) for name, text in types.items()})


def _values(kind: str, fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Generate values of a field by the name of its type."""
    if match := re.fullmatch(r"sequence<(.+?)(?:, (\d+))?>", kind):
        longest = min(_LONGEST, int(match[2] or _LONGEST))
        if match[1] == "uint8":
            return st.binary(max_size=64).map(lambda data: array.array("B", data))
        return st.lists(_values(match[1], fields), max_size=longest)
    if match := re.fullmatch(r"(.+)\[(\d+)\]", kind):
        return st.lists(_values(match[1], fields), min_size=int(match[2]), max_size=int(match[2]))
    if kind.startswith(("string", "wstring")):
        longest = int(kind.partition("<")[2].rstrip(">") or 0)
        return _texts.map(lambda text: text[: longest or None])
    if kind == "boolean":
        return st.booleans()
    if kind == "octet":
        return st.binary(min_size=1, max_size=1)
    if kind in ("float", "double"):
        width = 32 if kind == "float" else 64
        return st.one_of(st.floats(0, 128, width=width), st.floats(0, 1, width=width), st.floats(width=width))
    if kind in _INTEGERS:
        sign, bits = _INTEGERS[kind]
        least, most = (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return st.one_of(st.integers(0, 3), st.integers(least, most))
    return messages(interface(kind), **fields)
