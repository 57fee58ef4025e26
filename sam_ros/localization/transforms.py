"""Transforms between coordinate frames at a stamp: by tf2 where ROS has it, else by what /tf and /tf_static say.

tf2 is not on PyPI. The pip environment has our small buffer: a tree of frames, interpolation between two samples,
and no guess beyond the newest or before the oldest one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from sam_ros.conversions.rotations import matrix_of
from sam_ros.conversions.stamps import format_stamp, stamp_of

try:
    import tf2_ros
except ImportError:  # not on PyPI: the pip environment never has it
    tf2_ros = None

__all__ = ["TransformBuffer", "TransformError", "Transforms", "open_transforms"]

TF_QOS = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
STATIC_QOS = QoSProfile(
    depth=100, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
)
_SAMPLES = 1000  # of a frame's motion
_FRAMES = 2000
_REMEMBERED = 10 * 10**9  # ns
_DEPTH = 100  # frames from one to the root


class TransformError(LookupError):
    """A transform that is not known; the text says why."""


class Transforms(Protocol):
    """Where frames are."""

    def lookup(self, target: str, source: str, stamp: int) -> NDArray[np.float64]:
        """Return the transform (4, 4) that takes points from `source` to `target` at `stamp` (ns).

        Raises:
            TransformError: It is not known.
        """

    def clear(self) -> None:
        """Forget what moves: the clock has jumped."""

    def close(self) -> None:
        """Stop listening."""


def open_transforms(node: Node) -> Transforms:
    """Return tf2's buffer where ROS has it, else ours; the log says which."""
    if tf2_ros is not None:
        return _Tf2(node)
    node.get_logger().info("tf2_ros is not installed: /tf and /tf_static are read by a buffer of our own")
    return _Listener(node)


class TransformBuffer:
    """A tree of frames whose edges move. Bounded in frames and in samples."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._static: dict[str, NDArray[np.float64]] = {}
        self._samples: dict[str, list[tuple[int, tuple[float, ...]]]] = {}

    def add(self, message: TFMessage, *, static: bool) -> None:
        """Take transforms; those with numbers that are not finite, or a quaternion of length 0, are left out."""
        for item in message.transforms:
            child, parent = item.child_frame_id.lstrip("/"), item.header.frame_id.lstrip("/")
            move, turn = item.transform.translation, item.transform.rotation
            numbers = (move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w)
            length = float(np.linalg.norm(numbers[3:]))
            known = child in self._parents
            if not (np.isfinite(numbers).all() and length > 1e-3 and child and parent and child != parent):
                continue
            if not known and len(self._parents) >= _FRAMES:
                continue
            if known and self._parents[child] != parent:
                self._samples.pop(child, None)
            self._parents[child] = parent
            self._static.pop(child, None)  # the newest message says whether the frame moves
            if static:
                self._static[child] = _matrix(numbers)
                continue
            samples = self._samples.setdefault(child, [])
            insort(samples, (stamp_of(item.header), numbers))
            while len(samples) > _SAMPLES or samples[-1][0] - samples[0][0] > _REMEMBERED:
                del samples[0]

    def clear(self) -> None:
        """Forget what moves."""
        self._samples.clear()

    def lookup(self, target: str, source: str, stamp: int) -> NDArray[np.float64]:
        """See `Transforms.lookup`."""
        target, source = target.lstrip("/"), source.lstrip("/")
        if target == source:
            return np.eye(4)
        for frame in (target, source):
            if frame not in self._parents and frame not in self._parents.values():
                raise TransformError(f"the frame '{frame}' is not known to tf")
        from_source, from_target = self._chain(source), self._chain(target)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is None:
            raise TransformError(f"the frames '{source}' and '{target}' are not connected in tf")
        return np.linalg.inv(self._to(common, from_target, stamp)) @ self._to(common, from_source, stamp)

    def _chain(self, frame: str) -> list[str]:
        chain = [frame]
        while chain[-1] in self._parents and len(chain) < _DEPTH:
            chain.append(self._parents[chain[-1]])
        return chain

    def _to(self, ancestor: str, chain: list[str], stamp: int) -> NDArray[np.float64]:
        total = np.eye(4)
        for frame in chain[: chain.index(ancestor)]:
            total = self._edge(frame, stamp) @ total
        return total

    def _edge(self, child: str, stamp: int) -> NDArray[np.float64]:
        if child in self._static:
            return self._static[child]
        samples = self._samples.get(child)
        if not samples or not samples[0][0] <= stamp <= samples[-1][0]:
            known = (
                f"known from {format_stamp(samples[0][0])} to {format_stamp(samples[-1][0])}" if samples else "unknown"
            )
            raise TransformError(f"the transform from '{child}' to '{self._parents[child]}' is {known}, not at "
                                 f"{format_stamp(stamp)}")  # fmt: skip
        after = bisect_left(samples, (stamp,))
        if samples[after][0] == stamp or after == 0:
            return _matrix(samples[after][1])
        (t0, one), (t1, two) = samples[after - 1], samples[after]
        return _matrix(_between(np.array(one), np.array(two), (stamp - t0) / (t1 - t0)))


class _Listener(TransformBuffer):
    """Our buffer, fed from /tf and /tf_static."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._subscriptions = [
            node.create_subscription(TFMessage, topic, partial(self.add, static=static), qos)
            for topic, static, qos in (("/tf", False, TF_QOS), ("/tf_static", True, STATIC_QOS))
        ]

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


class _Tf2:
    """tf2's buffer and listener."""

    def __init__(self, node: Node) -> None:
        self._buffer: Any = tf2_ros.Buffer()
        self._listener: Any = tf2_ros.TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str, stamp: int) -> NDArray[np.float64]:
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp)).transform
        except tf2_ros.TransformException as error:
            raise TransformError(str(error)) from error
        move, turn = found.translation, found.rotation
        return _matrix((move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w))

    def clear(self) -> None:
        self._buffer.clear()

    def close(self) -> None:
        self._listener.unregister()


def _matrix(numbers: Any) -> NDArray[np.float64]:
    """Return (x, y, z, qx, qy, qz, qw) as a transform (4, 4)."""
    transform = np.eye(4)
    transform[:3, 3], transform[:3, :3] = numbers[:3], matrix_of(np.asarray(numbers[3:]))
    return transform


def _between(one: NDArray[np.float64], two: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Interpolate: positions linearly, rotations along the great arc (Shoemake, 1985)."""
    first, second = (part[3:] / np.linalg.norm(part[3:]) for part in (one, two))
    cosine = float(first @ second)
    if cosine < 0:
        second, cosine = -second, -cosine
    angle = float(np.arccos(min(cosine, 1.0)))
    if angle < 1e-6:
        turn = first
    else:
        turn = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / np.sin(angle)
    return np.concatenate((one[:3] + share * (two[:3] - one[:3]), turn))
