"""The camera: publishes a video, a folder of images, a webcam or a built-in scene as a ROS camera would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sam_ros.camera.calibration import load_calibration, pinhole, resized
from sam_ros.camera.depth_publisher import DEPTH_ENCODINGS, DepthPublisher
from sam_ros.camera.depth_sources import RoomSource, TumSource
from sam_ros.camera.sources import Picture, SourceError, open_source, without_password
from sam_ros.conversions.encodings import array_to_image, to_bytes
from sam_ros.runtime.run import run

__all__ = ["CameraNode", "main"]

DEFAULT_RATE = 30.0  # Hz, for a source that has no rate of its own
# REP 2003: drivers publish reliably, and each subscriber chooses; a slow one loses old images and delays nobody.
IMAGE_QOS = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
QUIET = 5.0  # s between two log lines of one kind
ARRIVAL = Duration(seconds=1)  # is waited for at most
CHECK_QOS = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)

_ENCODE: dict[str, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
    "bgr8": lambda image: image,
    "rgb8": lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2RGB),
    "bgra8": lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2BGRA),
    "rgba8": lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2RGBA),
    "mono8": lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY),
}
_COMPRESSIONS = ("none", "jpeg", "png")


class CameraNode(Node):
    """Publish pictures at a steady rate, each with the time at which it was ready as its stamp.

    Publishes `image` (or `image/compressed`), `camera_info` beside it, depth where the source has it, `~/header` (the
    header of each published image, for checks that must not lose one) and, with a scene, `~/truth` (mono8: 0
    background, k object k). All have the header of their image.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("camera", **kwargs)
        self._headers: Any = None  # until there is something to publish
        source = self._text(
            "source",
            "scene",
            "cup, scene, twins, room (with depth), a video file, a folder of images or in TUM RGB-D's layout (with "
            "depth), or a webcam's number.",
        )
        rate = self._number("rate", 0.0, 1000.0, "Images per second. 0: the source's own rate, or 30.")
        width = self._count("width", "Width of the images in px. 0: the source's own, 640 for a scene.")
        height = self._count("height", "Height of the images in px. 0: the source's own, 480 for a scene.")
        self._loop = self._flag("loop", True, "Begin again after the last image.")
        self._wait = self._flag(
            "wait_for_subscriber", False, "Begin with the first image once somebody subscribes to the images."
        )
        self._frame_id = self._text("frame_id", "camera_optical_frame", "The images' coordinate frame.")
        self._encoding = self._text("encoding", "bgr8", "Encoding of `image`.", tuple(_ENCODE))
        self._compression = self._text(
            "compression", "none", "Publish `image/compressed` in this format instead of `image`.", _COMPRESSIONS
        )
        fov = "Horizontal field of view in rad, for an ideal `camera_info`. 0: unknown, K is zero."
        self._fov = self._number("horizontal_fov", 0.0, 3.1, fov)
        encoding = self._text("depth_encoding", "16UC1", "Encoding of `depth`: 16UC1 is mm, 32FC1 m.", DEPTH_ENCODINGS)
        url = self._text("camera_info_url", "", "Calibration file (YAML of camera_calibration) for `camera_info`.")
        self._calibration = load_calibration(url) if url else None
        self._told = 0  # skipped pictures that were logged
        self._source = open_source(source, width=width, height=height, rate=rate)
        self._size = (width, height) if width and height else None
        self._pictures: Iterator[Picture] = iter(self._source)
        options = QoSOverridingOptions.with_default_policies()
        raw = self._compression == "none"
        self._images = self.create_publisher(
            Image if raw else CompressedImage,
            "image" if raw else self.resolve_topic_name("image") + "/compressed",
            IMAGE_QOS,
            qos_overriding_options=options,
        )
        beside = self.resolve_topic_name("image").rpartition("/")[0] + "/camera_info"  # as image_transport looks for it
        self._infos = self.create_publisher(CameraInfo, beside, IMAGE_QOS, qos_overriding_options=options)
        self._headers = self.create_publisher(Header, "~/header", CHECK_QOS)
        self._truth = self.create_publisher(Image, "~/truth", CHECK_QOS)
        self._depth: DepthPublisher | None = None
        if isinstance(self._source, (RoomSource, TumSource)):
            if self._calibration is None and not self._fov:
                self._calibration = self._source.calibration
            self._depth = DepthPublisher(self, IMAGE_QOS, encoding, self._frame_id, self._source.camera_pose)
        rate = rate or self._source.rate or DEFAULT_RATE
        self._timer = self.create_timer(1.0 / rate, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"publishing {without_password(source)} at {rate:.1f} Hz on {self._images.topic_name}")

    def destroy_node(self) -> None:
        """Leave the graph once the headers have arrived: what is under way when a publisher vanishes can get lost."""
        try:
            if self._headers is not None:
                self._headers.wait_for_all_acked(ARRIVAL)
        finally:
            super().destroy_node()

    def _text(self, name: str, default: str, description: str, choices: tuple[str, ...] = ()) -> str:
        limits = "one of " + ", ".join(choices) if choices else ""
        descriptor = ParameterDescriptor(description=description, additional_constraints=limits, read_only=True)
        # A webcam's number arrives from the command line as an integer.
        descriptor.dynamic_typing = True
        value = str(self.declare_parameter(name, default, descriptor).value)
        if choices and value not in choices:
            raise SourceError(f"{name} is '{value}', but must be {limits}")
        return value

    def _number(self, name: str, least: float, most: float, description: str) -> float:
        descriptor = ParameterDescriptor(
            description=description,
            floating_point_range=[FloatingPointRange(from_value=least, to_value=most)],
            integer_range=[IntegerRange(from_value=int(least), to_value=int(most))],
            read_only=True,
            dynamic_typing=True,  # 30 is a number, too
        )
        value = self.declare_parameter(name, least, descriptor).value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SourceError(f"{name} is {value!r}, but must be a number")
        return float(value)

    def _count(self, name: str, description: str) -> int:
        limits = [IntegerRange(from_value=0, to_value=16384)]
        descriptor = ParameterDescriptor(description=description, integer_range=limits, read_only=True)
        return int(self.declare_parameter(name, 0, descriptor).value)

    def _flag(self, name: str, default: bool, description: str) -> bool:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        return bool(self.declare_parameter(name, default, descriptor).value)

    def _next_picture(self) -> Picture | None:
        picture = next(self._pictures, None)
        if picture is None and self._loop:
            self._pictures = iter(self._source)
            picture = next(self._pictures, None)
        skipped = self._source.skipped
        if skipped.count > self._told:
            self._told = skipped.count
            text = f"skipped: {skipped.newest} ({skipped.count} skipped so far)"
            self.get_logger().warning(text, throttle_duration_sec=QUIET)
        return picture

    def _camera_info(self, header: Header, width: int, height: int) -> CameraInfo:
        if self._calibration is None:
            info = pinhole(width, height, self._fov)
        else:
            info = resized(self._calibration, width, height)
        info.header = header
        return info

    def _publish(self) -> None:
        if self._wait and not self._images.get_subscription_count():
            return
        self._wait = False
        picture = self._next_picture()
        if picture is None:
            skipped = self._source.skipped.count
            self.get_logger().info("the source has ended" + (f"; {skipped} pictures were skipped" if skipped else ""))
            self._timer.cancel()
            return
        image, labels = picture.image, picture.labels
        if self._size is not None and image.shape[1::-1] != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        if self._compression == "none":
            pixels = _ENCODE[self._encoding](image)
            header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)
            self._images.publish(array_to_image(pixels, self._encoding, header))
        else:
            _, data = cv2.imencode("." + self._compression, image)
            header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)
            self._images.publish(CompressedImage(header=header, format=self._compression, data=to_bytes(data)))
        info = self._camera_info(header, image.shape[1], image.shape[0])
        self._infos.publish(info)
        if self._depth is not None:
            self._depth.publish(picture, header, info)
        self._headers.publish(header)
        if labels is not None and self._truth.get_subscription_count():
            self._truth.publish(array_to_image(labels, "mono8", header))


def main(args: Sequence[str] | None = None) -> None:
    """Run the camera until a signal ends it."""
    run(CameraNode, args)


if __name__ == "__main__":
    main()
