"""The console's parameters. All are fixed while it runs."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name

from sam_ros.runtime.declaration import declare
from sam_ros.runtime.errors import FatalError

__all__ = ["ConsoleParameters", "declare_parameters", "is_loopback"]

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
HOST = re.compile(r"(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(:\d{1,5})?", re.ASCII)  # what a browser sends as Host
TOKEN = re.compile(r"[\w.~-]{8,200}", re.ASCII)  # what an address and a cookie can carry


@dataclass(frozen=True)
class ConsoleParameters:
    """The values of all parameters; the defaults here are the parameters' defaults."""

    host: str = "127.0.0.1"
    port: int = 8088
    token: str = ""
    hosts: tuple[str, ...] = ()
    read_only: bool = False
    trackers: tuple[str, ...] = ()
    image: str = ""
    max_browsers: int = 16
    memory_mib: int = 128

    @property
    def open_to_others(self) -> bool:
        """Whether other computers can reach the console."""
        return not is_loopback(self.host)

    @property
    def needs_token(self) -> bool:
        """Whether others can reach the console, at its address or at another name, e.g. through a proxy."""
        return self.open_to_others or bool(self.hosts)

    def allowed_hosts(self, port: int) -> frozenset[str]:
        """Return the names under which the console may be addressed; empty: any, where others can reach it."""
        names = {*self.hosts, *(f"{name}:{port}" for name in (*LOCAL_NAMES, self.host))}
        return frozenset() if self.open_to_others else frozenset(name.lower() for name in names)


_LISTS = ("hosts", "trackers")


def _fixed(description: str, least: int | None = None, most: int | None = None) -> ParameterDescriptor:
    ranges = [IntegerRange(from_value=least, to_value=most)] if least is not None and most is not None else []
    return ParameterDescriptor(description=description, integer_range=ranges, read_only=True)


_DESCRIPTORS = {
    "host": _fixed("Address to listen at. Other than this computer's own (127.0.0.1), a token is required."),
    "port": _fixed("TCP port; 0: any that is free.", 0, 65535),
    "token": _fixed(
        "Secret that a browser must know: 8 to 200 letters, digits and -._~. Empty: none on this computer alone; on "
        "other addresses, and where there are hosts, a new one, which is printed. Every node of the graph can read "
        "this parameter."
    ),
    "hosts": _fixed(
        "Names under which browsers may reach the console besides its address, e.g. robot.local:8088, or a proxy's, as "
        "browsers send them: without http://, with the port unless it is 80 or 443. With one, a token is required."
    ),
    "read_only": _fixed("Show everything, change nothing: for displays."),
    "trackers": _fixed("Full names of the trackers' nodes, e.g. /robot/tracker. Empty: every one that is found."),
    "image": _fixed(
        "Topic of the images, e.g. /camera/image/compressed. Empty: the one that the tracker subscribes to."
    ),
    "max_browsers": _fixed("Most pages that are open at once.", 1, 100),
    "memory_mib": _fixed(
        "Memory in MiB for images and masks of each tracker that is watched. What pages freeze or search comes on top.",
        16,
        4096,
    ),
}


def is_loopback(host: str) -> bool:
    """Return whether an address reaches this computer alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def declare_parameters(node: Node) -> ConsoleParameters:
    """Declare all parameters and return their values.

    Raises:
        FatalError: A value makes no sense.
        rclpy.exceptions.InvalidParameterValueException: A value is out of range.
    """
    # An empty list has no type in rclpy; [""] is a list of strings that says nothing.
    defaults: dict[str, Any] = {
        field.name: [""] if field.name in _LISTS else field.default for field in fields(ConsoleParameters)
    }
    declare(node, defaults, _DESCRIPTORS)
    values: dict[str, Any] = {name: node.get_parameter(name).value for name in defaults}
    for name in _LISTS:
        values[name] = tuple(text for text in values[name] if text)
    for host in values["hosts"]:
        if not HOST.fullmatch(host):
            raise FatalError(
                f"hosts holds {host!r}: a name such as robot.local:8088 is meant, without http:// and path"
            )
    values["trackers"] = tuple(_full_name(node, "trackers", name) for name in values["trackers"])
    if values["image"]:
        _full_name(node, "image", values["image"])
    if values["token"] and not TOKEN.fullmatch(values["token"]):
        raise FatalError("token must have 8 to 200 letters, digits and -._~")
    return ConsoleParameters(**values)


def _full_name(node: Node, parameter: str, name: str) -> str:
    """Return the full name of a node or topic; a relative one is of the console's namespace.

    Raises:
        FatalError: It is none.
    """
    try:
        full = str(expand_topic_name(name, node.get_name(), node.get_namespace()))
        validate_full_topic_name(full)
    except (ValueError, InvalidTopicNameException) as error:
        raise FatalError(f"{parameter} holds {name!r}, which is no name in ROS") from error
    return full
