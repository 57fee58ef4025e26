"""The localizer over real topics: boxes against the truth, pairs by stamp, transforms, and every kind of bad input."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TransformStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.duration import Duration
from sam_msgs.msg import LocalizedObject
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from sam_core.synthetic.depth_noise import stereo_depth
from sam_core.synthetic.room_scene import RoomFrame, RoomScene
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import stamp_of, to_time
from sam_ros.runtime.processes import Executable
from tests.ros.localizer_rig import FRAME, PARAMETERS, QOS, Rig

PERIOD = Duration(seconds=1 / 30)


@pytest.fixture(scope="module")
def localizer(tmp_path_factory: pytest.TempPathFactory, ros: None) -> Iterator[Executable]:
    log = tmp_path_factory.mktemp("localizer") / "log"
    with Executable("localizer", PARAMETERS, log=log) as process:
        yield process
        assert process.running, process.output()
    assert process.exit_code == 0, process.output()


@pytest.fixture(scope="module")
def rig(localizer: Executable) -> Iterator[Rig]:
    """One rig of all tests, in their order: the first ones show what is missing at the beginning."""
    rig = Rig()
    rig.until(rig.connected, "the localizer's subscriptions")
    yield rig
    rig.close()


def test_without_camera_info_nothing_is_published_and_diagnostics_say_so(rig: Rig) -> None:
    frame, header = rig.scene.render(0), rig.header()
    rig.publish_depth(frame.depth, header)
    rig.track(frame, header)

    assert "no camera_info has come yet" in rig.problem("no camera_info")
    assert not rig.results


def test_a_calibration_of_zeros_is_refused(rig: Rig) -> None:
    header = rig.header()
    rig.calibrate(header, k=[0.0] * 9)
    frame = rig.scene.render(0)
    rig.publish_depth(frame.depth, header)
    rig.track(frame, header)

    assert "not calibrated" in rig.problem("unusable camera_info")
    assert not rig.results


def test_a_frame_that_tf_does_not_know_is_named(rig: Rig) -> None:
    header = rig.header()
    rig.calibrate(header)
    frame = rig.scene.render(0)
    rig.publish_depth(frame.depth, header)
    rig.track(frame, header)

    assert "the frame 'map' is not known to tf" in rig.problem("no transform")
    assert not rig.results
    rig.place_camera()


@pytest.fixture
def ready(rig: Rig) -> Rig:
    """The rig, calibrated and placed."""
    rig.calibrate(rig.header())
    rig.place_camera()
    time.sleep(0.1)
    return rig


def test_boxes_are_where_the_objects_are(ready: Rig) -> None:
    rig = ready
    frame, answer = rig.show()

    assert answer.header.frame_id == "map"
    for item, pose, size in zip(answer.objects, frame.poses, rig.scene.sizes, strict=True):
        assert item.state == LocalizedObject.LOCALIZED, item.reason
        centre, found = item.pose.pose.position, item.size
        assert math.dist((centre.x, centre.y, centre.z), pose.centre) < 0.04
        assert sorted((found.x, found.y)) == pytest.approx(sorted(size[:2]), rel=0.2)
        assert found.z == pytest.approx(size[2], rel=0.2)
        assert item.upright
        assert item.depth_share > 0.95
    assert {item.label: item.shape for item in answer.objects}["yellow ball"] == LocalizedObject.SPHERE


def test_every_output_has_the_same_header_and_ids(ready: Rig) -> None:
    rig = ready
    detections = rig.watch(Detection3DArray, "/localizer/detections_3d")
    clouds, markers = rig.watch(PointCloud2, "/localizer/cloud"), rig.watch(MarkerArray, "/localizer/markers")
    poses = rig.watch(PoseStamped, "/localizer/pose")
    transforms: dict[int, TransformStamped] = {}
    rig.node.create_subscription(
        TFMessage, "/tf", lambda m: transforms.update({stamp_of(t.header): t for t in m.transforms}), QOS
    )

    def complete() -> Any:
        _, answer = rig.show()
        stamp = stamp_of(answer.header)
        rig.until(lambda: True, "", 1.0)
        end = time.monotonic() + 1.0
        while time.monotonic() < end and not all(
            stamp in store for store in (detections, clouds, markers, poses, transforms)
        ):
            rig.executor.spin_once(timeout_sec=0.02)
        return answer if all(stamp in store for store in (detections, clouds, markers, poses, transforms)) else None

    answer = rig.until(complete, "every output of one image")
    stamp = stamp_of(answer.header)
    assert detections[stamp].header == clouds[stamp].header == poses[stamp].header == answer.header
    assert [item.id for item in detections[stamp].detections] == [str(item.id) for item in answer.objects]
    points = np.frombuffer(clouds[stamp].data, np.dtype([("xyz", "<f4", 3), ("rgb", "<u4"), ("id", "<u4")]))
    assert set(points["id"]) == {item.id for item in answer.objects}
    for item in answer.objects:
        own = points["xyz"][points["id"] == item.id]
        assert len(own) == item.points
        centre = item.pose.pose.position
        assert np.linalg.norm(own.mean(axis=0) - (centre.x, centre.y, centre.z)) < 0.3
    kinds = {marker.ns for marker in markers[stamp].markers if marker.action == Marker.ADD}
    assert {"boxes", "labels", "shapes"} <= kinds
    assert transforms[stamp].child_frame_id.startswith("localizer/object_")


def test_pairs_are_right_although_depth_is_dropped_and_late(ready: Rig) -> None:
    """Each depth image is a wall whose distance tells its number, so a wrong pair shows in the box."""
    rig = ready
    rng = np.random.default_rng(3)
    count = 60

    def wall(number: int) -> float:
        return 0.5 * 1.04**number

    headers = [rig.header() for _ in range(count)]
    fate = rng.permutation(
        ["dropped"] * (count // 5) + ["late"] * (count // 10) + ["good"] * (count - count // 5 - count // 10)
    )
    before = rig.value("tracked objects without a depth image")
    mask = np.zeros((240, 320), np.uint8)
    mask[100:140, 140:180] = 1
    frame = RoomFrame(np.zeros((240, 320, 3), np.uint8), mask, np.zeros((240, 320), np.float32), (), ())
    late: list[tuple[int, int]] = []
    for number, header in enumerate(headers):
        due = [index for when, index in late if when <= number]
        late = [entry for entry in late if entry[0] > number]
        for index in [*([number] if fate[number] == "good" else []), *due]:
            rig.publish_depth(np.full((240, 320), wall(index), np.float32), headers[index])
        if fate[number] == "late":
            late.append((number + 4, number))
        rig.track(frame, header)
        rig.node.get_clock().sleep_for(PERIOD)
    for _, index in late:
        rig.publish_depth(np.full((240, 320), wall(index), np.float32), headers[index])

    expected = {stamp_of(header): i for i, header in enumerate(headers) if fate[i] != "dropped"}
    rig.until(lambda: set(expected) <= set(rig.results), "all pairs")
    # The same mask on a wall: everything grows with the distance, so the centre is at a constant share of it.
    camera = rig.scene.camera_pose
    shares = []
    for stamp, number in expected.items():
        (found, *_) = rig.results[stamp].objects
        assert found.state == LocalizedObject.LOCALIZED
        centre = np.array([found.pose.pose.position.x, found.pose.pose.position.y, found.pose.pose.position.z])
        shares.append(((centre - camera[:3, 3]) @ camera[:3, :3])[2] / wall(number))
    assert np.count_nonzero(np.abs(np.array(shares) / np.median(shares) - 1) > 0.015) == 0
    dropped = {stamp_of(header) for i, header in enumerate(headers) if fate[i] == "dropped"}
    assert not dropped & set(rig.results)
    rig.until(
        lambda: int(rig.value("tracked objects without a depth image") or 0) >= int(before or 0) + len(dropped),
        "the count of objects without depth",
    )


def test_velocity_of_the_cart(ready: Rig) -> None:
    rig = ready
    rng = np.random.default_rng(0)
    cart = rig.scene.object_names.index("purple cart")
    answer = None
    for index in range(0, 36, 2):
        frame, header = (
            rig.scene.render(index),
            Header(stamp=to_time(9000 * 10**9 + index * 10**9 // 30), frame_id=FRAME),
        )
        rig.publish_depth(stereo_depth(frame.depth, rig.scene.intrinsics[0, 0], rng), header)
        rig.track(frame, header)
        answer = rig.until(lambda: rig.results.get(stamp_of(header)), "the cart")  # noqa: B023

    assert answer is not None
    velocity = answer.objects[cart].velocity
    assert math.dist((velocity.x, velocity.y, velocity.z), (0.0, -0.5, 0.0)) < 0.15


def test_when_the_clock_goes_back_it_begins_anew(ready: Rig) -> None:
    rig = ready
    _, answer = rig.show()

    assert all(math.isnan(item.velocity.x) for item in answer.objects if item.state == LocalizedObject.LOCALIZED)
    rig.until(lambda: int(rig.value("clock jumps") or 0) == 1, "the clock jump in diagnostics")


@pytest.mark.parametrize(
    ("shape", "encoding", "cause"),
    [
        ((240, 240), np.uint16, "depth image of another size"),
        ((240, 320), np.uint8, "unreadable depth image"),
    ],
)
def test_depth_that_does_not_fit_is_refused(ready: Rig, shape: tuple[int, int], encoding: type, cause: str) -> None:
    rig = ready
    frame, header = rig.scene.render(0), rig.header()
    name = "16UC1" if encoding is np.uint16 else "mono8"
    rig.depths.publish(array_to_image(np.ones(shape, encoding), name, header))
    rig.track(frame, header)

    assert rig.problem(cause)
    assert stamp_of(header) not in rig.results


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0])
def test_a_mask_without_depth_has_no_box_and_says_why(ready: Rig, value: float) -> None:
    rig = ready
    frame, header = rig.scene.render(0), rig.header()
    rig.depths.publish(array_to_image(np.full((240, 320), value, np.float32), "32FC1", header))
    rig.track(frame, header)
    answer = rig.until(lambda: rig.results.get(stamp_of(header)), "the answer")

    assert {item.state for item in answer.objects} == {LocalizedObject.NO_DEPTH}
    assert all("no depth" in item.reason for item in answer.objects)
    rig.until(lambda: "no depth" in rig.value("newest reason for no box"), "the reason in diagnostics")


def test_objects_without_masks_say_which_parameter(ready: Rig) -> None:
    rig = ready
    frame, header = rig.scene.render(0), rig.header()
    rig.publish_depth(frame.depth, header)
    rig.track(frame, header, masks=False)
    answer = rig.until(lambda: rig.results.get(stamp_of(header)), "the answer")

    assert all("publish_masks" in item.reason for item in answer.objects)


def test_unregistered_compressed_depth(ros: None, make_process: Callable[..., Executable]) -> None:
    """Depth of a second camera, 5 cm to the left and with half the pixels, in compressedDepth."""
    name = "unregistered"
    parameters = {**PARAMETERS, "registered": False, "depth_transport": "compressedDepth", "gravity_frame": "map"}
    parameters["qos_overrides./depth/compressedDepth.subscription.reliability"] = "reliable"
    del parameters["qos_overrides./depth.subscription.reliability"]
    make_process("localizer", parameters, remappings={"__node": name})
    rig = Rig(name)
    depths = rig.node.create_publisher(CompressedImage, "/depth/compressedDepth", QOS)
    infos = rig.node.create_publisher(CameraInfo, "/depth/camera_info", QOS)
    try:
        rig.until(lambda: depths.get_subscription_count() and infos.get_subscription_count(), "the subscriptions")
        rig.place_camera()
        link = TransformStamped(child_frame_id="depth_optical_frame")
        link.header.frame_id, link.transform.translation.x, link.transform.rotation.w = FRAME, -0.05, 1.0
        rig.statics.publish(TFMessage(transforms=[link]))
        header = rig.header()
        rig.calibrate(header)
        depth_header = Header(stamp=header.stamp, frame_id="depth_optical_frame")
        second = RoomScene(160, 120)
        shifted = second.camera_pose[:3, 3] + 0.05 * np.array([0.0, 1.0, 0.0])
        second._origin, second.camera_pose[:3, 3] = shifted.astype(np.float32), shifted
        second._empty = second._render_room()
        k = second.intrinsics.ravel().tolist()
        infos.publish(CameraInfo(header=depth_header, width=160, height=120, k=k))
        time.sleep(0.5)
        samples = np.rint(second.render(0).depth * 1000).astype(np.uint16)
        png = cv2.imencode(".png", samples)[1].tobytes()
        packed = CompressedImage(header=depth_header, format="16UC1; compressedDepth png", data=bytes(12) + png)
        depths.publish(packed)
        frame = rig.scene.render(0)
        rig.track(frame, header)
        answer = rig.until(lambda: rig.results.get(stamp_of(header)), "the answer")

        near = [i for i, pose in enumerate(frame.poses) if pose.centre[0] < 2.5]
        for i in near:
            item = answer.objects[i]
            assert item.state == LocalizedObject.LOCALIZED, item.reason
            centre = item.pose.pose.position
            assert math.dist((centre.x, centre.y, centre.z), frame.poses[i].centre) < 0.06
    finally:
        rig.close()


def test_it_goes_through_its_lifecycle_and_works_again(ready: Rig) -> None:
    rig = ready
    client = rig.node.create_client(ChangeState, "/localizer/change_state")
    rig.until(client.service_is_ready, "the lifecycle service")

    def change(*transitions: int) -> None:
        for transition in transitions:
            future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
            rig.until(future.done, "a transition")
            assert future.result().success

    change(Transition.TRANSITION_DEACTIVATE)
    rig.until(lambda: rig.value("state") == "inactive", "the state in diagnostics")
    rig.until(lambda: not rig.objects.get_subscription_count(), "the end of the subscriptions")
    change(Transition.TRANSITION_CLEANUP, Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    rig.until(rig.connected, "the subscriptions")
    rig.until(lambda: rig.node.count_publishers("/localizer/objects"), "the publishers")
    rig.calibrate(rig.header())
    _, answer = rig.show()
    assert answer.objects[0].state == LocalizedObject.LOCALIZED
