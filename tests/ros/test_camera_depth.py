"""The camera's depth over real topics: the rendered room with its truth, and a folder in TUM RGB-D's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from sam_ros.camera.depth_sources import TumSource
from sam_ros.camera.pictures import SourceError
from sam_ros.camera.sources import open_source
from sam_ros.conversions.encodings import image_to_rgb
from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.processes import Executable

QOS = QoSProfile(depth=50)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def tum(tmp_path: Path) -> Path:
    """Five pictures at 10 Hz; the third has no depth image near, the last one's cannot be read."""
    for name in ("rgb", "depth"):
        (tmp_path / name).mkdir()
    pictures, depths = ["# colour images"], ["# depth maps"]
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"rgb/{i}.png"), np.full((48, 64, 3), 20 + 40 * i, np.uint8))
        pictures.append(f"{100 + i / 10:.3f} rgb/{i}.png")
        if i != 2:
            cv2.imwrite(str(tmp_path / f"depth/{i}.png"), np.full((48, 64), 5000 + 2500 * i, np.uint16))
            depths.append(f"{100 + i / 10 + 0.01:.3f} depth/{i}.png")
    (tmp_path / "depth/4.png").write_bytes(b"cut off")
    (tmp_path / "rgb.txt").write_text("\n".join(pictures))
    (tmp_path / "depth.txt").write_text("\n".join(depths))
    return tmp_path


def test_tum_folder_pairs_by_stamp(tum: Path) -> None:
    source = open_source(str(tum), width=0, height=0, rate=0.0)
    pictures = list(source)

    assert isinstance(source, TumSource)
    assert source.rate == pytest.approx(10.0)
    assert [picture.depth is None for picture in pictures] == [False, False, True, False, True]
    assert pictures[1].depth is not None
    assert pictures[1].depth[0, 0] == pytest.approx(1.5)  # m, of 5000 units each
    assert pictures[1].depth_delay == pytest.approx(0.01, abs=1e-4)
    assert "4.png" in source.skipped.newest


def test_a_list_that_makes_no_sense_is_named(tum: Path) -> None:
    (tum / "depth.txt").write_text("now depth/0.png")

    with pytest.raises(SourceError, match=r"depth\.txt is no list of stamps and files"):
        open_source(str(tum), width=0, height=0, rate=0.0)


def collect(client: Any, **topics: type) -> dict[str, dict[int, Any]]:
    """Collect messages of topics (slashes written as __) by their stamps."""
    stores: dict[str, dict[int, Any]] = {name: {} for name in topics}
    for name, kind in topics.items():

        def keep(message: Any, store: dict[int, Any] = stores[name]) -> None:
            store[stamp_of(message.header)] = message

        client.node.create_subscription(kind, "/" + name.replace("__", "/"), keep, QOS)
    return stores


def test_room_publishes_image_depth_and_truth_of_one_moment(
    make_process: Callable[..., Executable], make_client: Callable[..., Any]
) -> None:
    client = make_client()
    stores = collect(
        client, image=Image, depth=Image, camera_info=CameraInfo, depth__camera_info=CameraInfo,
        camera__truth_3d=Detection3DArray, camera__truth=Image,
    )  # fmt: skip
    statics: list[TFMessage] = []
    client.node.create_subscription(TFMessage, "/tf_static", statics.append, LATCHED)
    make_process("camera", {"source": "room", "width": 160, "height": 120, "wait_for_subscriber": True})

    def moment() -> int | None:
        common = set.intersection(*(set(store) for store in stores.values()))
        return max(common) if common and statics else None

    stamp = client.until(moment, "everything of one moment")
    info = stores["camera_info"][stamp]
    assert list(info.k) == list(stores["depth__camera_info"][stamp].k)
    assert info.k[0] > 0
    assert stores["image"][stamp].header == stores["depth"][stamp].header
    depth = np.frombuffer(stores["depth"][stamp].data, np.uint16).reshape(120, 160)
    labels = image_to_rgb(stores["camera__truth"][stamp])[..., 0]
    truth = stores["camera__truth_3d"][stamp]
    (transform,) = statics[0].transforms
    assert (transform.header.frame_id, truth.header.frame_id) == ("map", "map")
    place = transform.transform.translation
    for detection in truth.detections:
        seen = depth[(labels == int(detection.id)) & (depth > 0)] * 1e-3
        at = detection.bbox.center.position
        distance = np.linalg.norm((at.x - place.x, at.y - place.y, at.z - place.z))
        assert 0.75 < np.median(seen) / distance < 1.02  # along the axis, of the visible side
