"""Log images, masks, boxes and depth of a tracker for Rerun, with the stamps as timeline (`ros2 run sam_ros rerun`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sam_msgs.msg import TrackedObject, TrackedObjectArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_core import ImageError
from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.encodings import image_to_rgb
from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.errors import FatalError
from sam_ros.runtime.run import run
from sam_ros.runtime.stamp_matcher import StampMatcher
from sam_ros.runtime.texts import legible

__all__ = ["RerunNode", "main"]

IMAGE_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
RESULT_QOS = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)
MOST_IMAGE_BYTES = 128 * 2**20  # of images that wait for their result
MOST_RESULT_BYTES = 32 * 2**20  # of results that wait for their image
OVERHEAD, OVERHEAD_EACH = 4096, 1024  # bytes at most of an image's rows, and of one object's, besides the pixels
QUALITY = 85  # of JPEG
LARGEST_ID = 65535  # in a segmentation image
QUIET = 5.0  # s between two log lines of one kind


class RerunNode(Node):
    """Match images and results by stamp and write them, to a file or to a viewer.

    Subscribes to `image`, `objects` (remap it to the tracker's) and `depth`, where there is one.

    Args:
        **kwargs: Passed to `rclpy.node.Node`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("rerun", **kwargs)
        try:
            import rerun
        except ModuleNotFoundError:
            raise FatalError("Rerun is not installed: pip install -r requirements/viewers.txt") from None
        self._rerun = rerun
        file = self._text(
            "file",
            "tracking_%Y-%m-%d_%H-%M-%S.rrd",
            "File to write (.rrd); % and a letter stand for the time, as of strftime. One that exists is not "
            "overwritten. Empty: none, see viewer.",
        )
        viewer = self._text(
            "viewer", "", "Address of a running viewer, e.g. rerun+http://127.0.0.1:9876/proxy, instead of a file."
        )
        self._most_bytes = self._mebibytes() * 2**20
        self._sent = 0  # bytes, before they are compressed
        self._path: Path | None = None
        rerun.init("sam_ros")
        try:
            if viewer:
                rerun.connect_grpc(viewer)
            elif file:
                self._path = path_of(file)
                self._path.parent.mkdir(parents=True, exist_ok=True)
                rerun.save(self._path)
            else:
                raise FatalError("give a file, or the address of a viewer")
        except FatalError:
            raise
        except (OSError, RuntimeError, ValueError) as error:  # Rerun's own errors are RuntimeErrors
            raise FatalError(f"cannot log to {viewer or file}: {error}") from None
        self._matcher = StampMatcher[Image, TrackedObjectArray](
            image_bytes=MOST_IMAGE_BYTES, result_bytes=MOST_RESULT_BYTES
        )
        self._missed = 0  # results without an image that were told of
        self._named: dict[int, str] = {}  # labels as the file has them
        self._inputs = [
            self.create_subscription(Image, "image", self._on_image, IMAGE_QOS),
            self.create_subscription(Image, "depth", self._on_depth, IMAGE_QOS),
            self.create_subscription(TrackedObjectArray, "objects", self._on_objects, RESULT_QOS),
        ]
        self.get_logger().info(f"logging to {viewer or self._path}")

    def destroy_node(self) -> None:
        """Write what is still in memory, and leave the graph."""
        self._rerun.disconnect()
        super().destroy_node()

    def _text(self, name: str, default: str, description: str) -> str:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        return str(self.declare_parameter(name, default, descriptor).value)

    def _mebibytes(self) -> int:
        limits = [IntegerRange(from_value=1, to_value=1_000_000)]
        description = "Most MiB of the file, or sent to the viewer; then nothing more is logged."
        descriptor = ParameterDescriptor(description=description, read_only=True, integer_range=limits)
        return int(self.declare_parameter("max_mib", 2000, descriptor).value)

    def _on_image(self, message: Image) -> None:
        result = self._matcher.add_image(stamp_of(message.header), message, len(message.data))
        if result is not None:
            self._log(message, result)
        self._tell_missed()

    def _on_objects(self, message: TrackedObjectArray) -> None:
        size = sum(len(item.mask.data) for item in message.objects)
        image = self._matcher.add_result(stamp_of(message.header), message, size)
        if image is not None:
            self._log(image, message)
        self._tell_missed()

    def _tell_missed(self) -> None:
        if self._matcher.missed > self._missed:
            self._missed = self._matcher.missed
            self.get_logger().warning(
                f"{self._missed} results so far are not logged, as their images were lost or did not fit into memory",
                throttle_duration_sec=QUIET,
            )

    def _log(self, image: Image, message: TrackedObjectArray) -> None:
        """Log an image with its objects."""
        if not self._inputs:  # enough was logged
            return
        try:
            rgb = image_to_rgb(image)
        except ImageError as error:
            self.get_logger().warning(f"an image was left out: {error}", throttle_duration_sec=QUIET)
            return
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        labels = paint(message.objects, rgb.shape[:2])
        if not self._begin(message.header, jpeg.nbytes + labels.nbytes + OVERHEAD_EACH * len(message.objects)):
            return
        rerun = self._rerun
        rerun.log("camera/image", rerun.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))
        self._name(message.objects)
        rerun.log("camera/image/masks", rerun.SegmentationImage(labels))
        seen = [item for item in message.objects if item.box.width and item.id <= LARGEST_ID]
        corners = [(item.box.x_offset, item.box.y_offset, item.box.width, item.box.height) for item in seen]
        boxes = np.array(corners, np.float32).reshape(-1, 4)
        rerun.log(
            "camera/image/boxes",
            rerun.Boxes2D(array=boxes, array_format=rerun.Box2DFormat.XYWH, class_ids=[item.id for item in seen]),
        )
        for item in message.objects:
            rerun.log(f"objects/{item.id}/presence", rerun.Scalars(item.presence))
            rerun.log(f"objects/{item.id}/predicted_iou", rerun.Scalars(item.predicted_iou))

    def _on_depth(self, message: Image) -> None:
        """Log a depth image: 16UC1 in mm, or 32FC1 in m."""
        kinds = {"16UC1": (np.uint16, 1000.0), "mono16": (np.uint16, 1000.0), "32FC1": (np.float32, 1.0)}
        kind, meter = kinds.get(message.encoding, (np.uint8, 0.0))
        data, sample = np.frombuffer(message.data, np.uint8), np.dtype(kind).itemsize
        whole = 0 < message.width * sample <= message.step and 0 < data.size == message.height * message.step
        if not meter or message.is_bigendian or not whole or message.step % sample:
            self.get_logger().warning(
                f"a depth image in {legible(message.encoding, 40)} was left out", throttle_duration_sec=QUIET
            )
            return
        if self._begin(message.header, data.size):
            depth = data.view(kind).reshape(message.height, -1)[:, : message.width]
            self._rerun.log("camera/depth", self._rerun.DepthImage(depth, meter=meter))

    def _begin(self, header: Header, size: int) -> bool:
        """Set the time of what is logged next; end the log where there is no room for it.

        Args:
            header: Has the time.
            size: Bytes of the pixels before they are compressed.

        Returns:
            Whether there is room.
        """
        if not self._inputs:
            return False
        size += OVERHEAD
        if self._written() + size > self._most_bytes:
            self.get_logger().warning("max_mib is reached: nothing more is logged")
            for subscription in self._inputs:
                self.destroy_subscription(subscription)
            self._inputs.clear()
            self._matcher.clear()
            return False
        self._sent += size
        self._rerun.set_time("stamp", timestamp=np.datetime64(stamp_of(header), "ns"))
        return True

    def _written(self) -> int:
        """Return the bytes of the file, or what was sent to the viewer."""
        if self._path is None:
            return self._sent
        recording = self._rerun.get_global_data_recording()
        if recording is not None:
            recording.flush()
        return self._path.stat().st_size

    def _name(self, objects: Sequence[TrackedObject]) -> None:
        """Say what the values of masks and boxes mean, where that has changed."""
        named = {item.id: legible(f"{item.id} {item.label}".strip(), 80) for item in objects if item.id <= LARGEST_ID}
        if named == self._named:
            return
        self._named = named
        descriptions = [(object_id, name, colour_of(object_id)[::-1]) for object_id, name in named.items()]
        context = self._rerun.AnnotationContext([(0, "background", (0, 0, 0, 0)), *descriptions])
        self._rerun.log("camera/image", context)


def path_of(file: str) -> Path:
    """Return the path of a file to write, with the time in its name.

    Raises:
        FatalError: There is such a file already.
    """
    given = Path(file).expanduser()
    path = given.with_name(time.strftime(given.name))
    if path.exists():
        raise FatalError(f"{path} exists, and is not overwritten: name another file")
    return path


def paint(objects: Sequence[TrackedObject], size: tuple[int, ...]) -> NDArray[np.uint16]:
    """Paint the cropped masks of objects into an image of `size` (H, W): 0 is background, a value an object's id."""
    labels = np.zeros(size[:2], np.uint16)
    for item in objects:
        mask, box = item.mask, item.box
        data = np.frombuffer(mask.data, np.uint8)
        part = labels[box.y_offset : box.y_offset + box.height, box.x_offset : box.x_offset + box.width]
        if item.id <= LARGEST_ID and data.size == mask.height * mask.width == part.size and data.size:
            part[data.reshape(part.shape) > 0] = item.id
    return labels


def main(args: Sequence[str] | None = None) -> None:
    """Log until a signal ends it."""
    run(RerunNode, args)


if __name__ == "__main__":
    main()
