"""Stamps: nanoseconds as an integer, as a message and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # any object with the message's fields will do, so it works without ROS
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

__all__ = ["format_stamp", "nanoseconds", "stamp_of", "to_time"]


def nanoseconds(time: Time) -> int:
    """Return a message's time in nanoseconds."""
    return time.sec * 10**9 + time.nanosec


def stamp_of(header: Header) -> int:
    """Return a header's stamp in nanoseconds."""
    return nanoseconds(header.stamp)


def to_time(stamp: int) -> Time:
    """Return nanoseconds as a message."""
    from builtin_interfaces.msg import Time

    return Time(sec=stamp // 10**9, nanosec=stamp % 10**9)


def format_stamp(stamp: int) -> str:
    """Write nanoseconds as ROS tools show a stamp: seconds with nine decimals."""
    return f"{stamp // 10**9}.{stamp % 10**9:09d} s"
