"""Declare parameters so that start values and live ones are taken as people write them: `2` is the number 2.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

__all__ = ["declare"]


def declare(node: Node, defaults: Mapping[str, Any], descriptors: Mapping[str, ParameterDescriptor]) -> None:
    """Declare parameters of which those that are floating-point numbers take integers too, now and later.

    Args:
        node: The node.
        defaults: Value of each parameter where none is given at start. A list must not be empty: it has no type then.
        descriptors: Description of each parameter.

    Raises:
        rclpy.exceptions.InvalidParameterTypeException: A value given at start has another type.
        rclpy.exceptions.InvalidParameterValueException: A value given at start is out of range.
    """
    numbers = frozenset(name for name, default in defaults.items() if isinstance(default, float))

    def with_whole_numbers(parameters: list[Parameter]) -> list[Parameter]:
        return [
            Parameter(parameter.name, value=float(parameter.value))
            if parameter.name in numbers and parameter.type_ is Parameter.Type.INTEGER
            else parameter
            for parameter in parameters
        ]

    node.add_pre_set_parameters_callback(with_whole_numbers)
    for name, default in defaults.items():
        meant = _meant_by(node._parameter_overrides.get(name), default)  # rclpy has no public name for it
        value = default if meant is None else meant
        node.declare_parameter(name, value, descriptors[name], ignore_override=meant is not None)


def _meant_by(given: Parameter | None, default: Any) -> Any:
    """Return what a start value means where rclpy would refuse it; None where it is to be taken, or refused, as it is.

    `2` is the number 2.0, and an empty list, which comes without a type, the default.
    """
    if given is None:
        return None
    if isinstance(default, list) and not given.value:
        return default
    return float(given.value) if isinstance(default, float) and given.type_ is Parameter.Type.INTEGER else None
