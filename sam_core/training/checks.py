"""Settings from plain values, checked against the annotations of their dataclasses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

__all__ = ["Amount", "Count", "Share", "Whole", "Within", "checked", "make"]

T = TypeVar("T")


@dataclass(frozen=True)
class Within:
    """An annotation: the range of a number, both ends included."""

    low: float = -math.inf
    high: float = math.inf

    def check(self, value: float, name: str) -> None:
        """Refuse a number outside of the range, and NaN.

        Raises:
            ValueError: see the message.
        """
        if not self.low <= value <= self.high:
            if math.isinf(self.high):
                raise ValueError(f"{name} must be {self.low:g} or more, not {value}.")
            between = f"{self.high:g} or less" if math.isinf(self.low) else f"{self.low:g} to {self.high:g}"
            raise ValueError(f"{name} must be {between}, not {value}.")


Count = Annotated[int, Within(1)]
Whole = Annotated[int, Within(0)]
Amount = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def make(kind: type[T], values: Any, where: str = "") -> T:
    """Make the settings that a dataclass describes; those inside of it are made from groups of values, too.

    Args:
        kind: a dataclass whose fields have types that `checked` knows.
        values: plain values by field. One that is already of the field's dataclass is taken as it is.
        where: the group's place, such as ``stages.0``, for the messages.

    Raises:
        ValueError: a value is unknown, missing, of another type or out of its range; the sentence names it.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where or 'A run'} is a group of settings, not {values!r}.")
    places = {field.name: f"{where}.{field.name}" if where else field.name for field in fields(cast(Any, kind))}
    for key in values:
        if key not in places:
            raise ValueError(f"There is no setting {key!r} in {where or 'a run'}; known are {', '.join(places)}.")
    for field in fields(cast(Any, kind)):
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"The setting {places[field.name]} is missing.")
    types = get_type_hints(kind, include_extras=True)
    return kind(**{key: checked(types[key], value, places[key]) for key, value in values.items()})


def checked(kind: Any, value: Any, name: str) -> Any:
    """Return a value as its type has it: a list as a tuple, a path's text as a path, a whole number as a float.

    Args:
        kind: bool, int, float, str, Path, a tuple, a dataclass, a union of them or with None, or any of them with a
            range as `Annotated`.
        value: plain, as YAML gives it.
        name: of the setting, for the message.

    Raises:
        ValueError: the value is of another type or out of its range; the sentence names the setting.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        found = checked(arguments[0], value, name)
        for rule in arguments[1:]:
            rule.check(found, name)
        return found
    if origin in (Union, UnionType):
        return _one_of(arguments, value, name)
    if origin is tuple:
        return _row(arguments, value, name)
    if is_dataclass(kind):
        return value if isinstance(value, cast(type, kind)) else make(cast(type, kind), value, name)
    right = isinstance(value, {float: (int, float), Path: (str, Path)}.get(kind, kind))
    if not right or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} is {_WORDS[kind]}, not {value!r}.")
    return kind(value) if kind in (float, Path) else value


def _one_of(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    for kind in others:
        try:
            return checked(kind, value, name)
        except ValueError:
            if len(others) == 1:
                raise
    raise ValueError(f"{name} is {' or '.join(_WORDS[kind] for kind in others)}, not {value!r}.")


def _row(kinds: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} is a list such as [a,b], not {value!r}.")
    each = (kinds[0],) * len(value) if kinds[-1] is Ellipsis else kinds
    if len(value) != len(each):
        raise ValueError(f"{name} is a list of {len(each)} values, not {value!r}.")
    return tuple(checked(kind, item, f"{name}.{k}") for k, (kind, item) in enumerate(zip(each, value, strict=True)))
