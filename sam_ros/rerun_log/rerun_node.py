"""Log images, masks, boxes and depth of a tracker for Rerun, with the stamps as timeline (`ros2 run sam_ros rerun`)."""

from __future__ import annotations

from collections import OrderedDict
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
from sam_ros.runtime.texts import legible

__all__ = ["RerunNode", "main"]

IMAGE_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
RESULT_QOS = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)
WAITING = 60  # images that may wait for their result
MOST_WAITING = 128 * 2**20  # bytes of them
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
        file = self._text("file", "tracking.rrd", "File to write (.rrd). Empty: none, see viewer.")
        viewer = self._text(
            "viewer", "", "Address of a running viewer, e.g. rerun+http://127.0.0.1:9876/proxy, instead of a file."
        )
        self._most_bytes = self._mebibytes() * 2**20
        self._written = 0
        self._path = Path(file).expanduser() if not viewer else None
        rerun.init("sam_ros")
        if viewer:
            rerun.connect_grpc(viewer)
        elif self._path is not None and file:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            rerun.save(self._path)
        else:
            raise FatalError("give a file, or the address of a viewer")
        self._images: OrderedDict[int, Image] = OrderedDict()  # by stamp, in the order of their arrival
        self._named: dict[int, str] = {}  # labels as the file has them
        self.create_subscription(Image, "image", self._on_image, IMAGE_QOS)
        self.create_subscription(Image, "depth", self._on_depth, IMAGE_QOS)
        self.create_subscription(TrackedObjectArray, "objects", self._on_objects, RESULT_QOS)
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
        description = "Most MiB to log; then it ends, so that no disk fills up."
        descriptor = ParameterDescriptor(description=description, read_only=True, integer_range=limits)
        return int(self.declare_parameter("max_mib", 2000, descriptor).value)

    def _on_image(self, message: Image) -> None:
        self._images[stamp_of(message.header)] = message
        while len(self._images) > 1 and (
            len(self._images) > WAITING or sum(len(image.data) for image in self._images.values()) > MOST_WAITING
        ):
            self._images.popitem(last=False)

    def _on_objects(self, message: TrackedObjectArray) -> None:
        """Log an image with its objects."""
        image = self._images.pop(stamp_of(message.header), None)
        if image is None:
            return
        try:
            rgb = image_to_rgb(image)
        except ImageError as error:
            self.get_logger().warning(f"an image was left out: {error}", throttle_duration_sec=QUIET)
            return
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not self._begin(message.header, jpeg.nbytes):
            return
        rerun = self._rerun
        rerun.log("camera/image", rerun.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))
        self._name(message.objects)
        rerun.log("camera/image/masks", rerun.SegmentationImage(paint(message.objects, rgb.shape[:2])))
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
        kind, meter = kinds.get(message.encoding, (None, 0.0))
        data = np.frombuffer(message.data, np.uint8)
        if kind is None or message.is_bigendian or data.size != message.height * message.step:
            self.get_logger().warning(f"a depth image in {message.encoding} was left out", throttle_duration_sec=QUIET)
            return
        if message.step % np.dtype(kind).itemsize or not self._begin(message.header, data.size):
            return
        depth = data.view(kind).reshape(message.height, -1)[:, : message.width]
        self._rerun.log("camera/depth", self._rerun.DepthImage(depth, meter=meter))

    def _begin(self, header: Header, size: int) -> bool:
        """Set the time of what is logged next; return whether there is room for it (bytes)."""
        if self._written + size > self._most_bytes:
            self.get_logger().warning("max_mib is reached: nothing more is logged", throttle_duration_sec=60.0)
            return False
        self._written += size
        self._rerun.set_time("stamp", timestamp=np.datetime64(stamp_of(header), "ns"))
        return True

    def _name(self, objects: Sequence[TrackedObject]) -> None:
        """Say what the values of masks and boxes mean, where that has changed."""
        named = {item.id: legible(f"{item.id} {item.label}".strip(), 80) for item in objects if item.id <= LARGEST_ID}
        if named == self._named:
            return
        self._named = named
        descriptions = [(object_id, name, colour_of(object_id)[::-1]) for object_id, name in named.items()]
        context = self._rerun.AnnotationContext([(0, "background", (0, 0, 0, 0)), *descriptions])
        self._rerun.log("camera/image", context)


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
