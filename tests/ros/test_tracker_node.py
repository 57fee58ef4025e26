"""The running tracker, seen from outside: a real process, real topics, real services."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PointStamped
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sam_msgs.msg import TrackedObject
from sam_msgs.srv import AddPrompt
from std_msgs.msg import Header

from sam_core.devices import resolve_dtype
from sam_ros.conversions.encodings import array_to_image, image_to_rgb
from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.dds import PROFILE_VARIABLE
from sam_ros.runtime.processes import Executable


def mask_of(item: TrackedObject, height: int = 96, width: int = 128) -> np.ndarray:
    """Put a cropped mask back into its image, bool (H, W)."""
    full = np.zeros((height, width), bool)
    box, mask = item.box, item.mask
    if box.width:
        crop = np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.width)
        full[box.y_offset : box.y_offset + box.height, box.x_offset : box.x_offset + box.width] = crop == 255
    return full


def test_every_output_carries_the_header_of_its_image(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    assert client.prompt((40, 45), label="square").success
    for i in range(1, 4):
        header = Header(stamp=client.header().stamp, frame_id=f"frame/{i}")
        stamp = stamp_of(header)
        objects = client.track(picture(i), header=header)
        client.until(
            lambda stamp=stamp: (
                stamp in client.detections and stamp in client.label_images and stamp in client.overlays
            ),
            "all outputs",
        )
        for message in (objects, client.detections[stamp], client.label_images[stamp], client.overlays[stamp]):
            assert message.header == header
        assert objects.objects[0].mask.header == header
        assert all(detection.header == header for detection in client.detections[stamp].detections)


def test_outputs_agree_with_each_other(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    first = client.prompt((40, 45), label="square").object_id
    second = client.call(AddPrompt, "add_prompt", box=[60.0, 10.0, 120.0, 90.0]).object_id
    objects = client.track(picture(1))
    stamp = stamp_of(objects.header)
    client.until(lambda: stamp in client.label_images and stamp in client.detections, "all outputs")
    assert [item.id for item in objects.objects] == [first, second]
    assert [item.label for item in objects.objects] == ["square", ""]
    masks = {item.id: mask_of(item) for item in objects.objects}
    for item in objects.objects:
        assert item.area == masks[item.id].sum()
        assert item.state == TrackedObject.TRACKED
        assert 0.5 < item.presence <= 1.0
        assert 0 < item.area < 96 * 128
        ys, xs = np.nonzero(masks[item.id])
        assert (item.box.x_offset, item.box.y_offset) == (xs.min(), ys.min())
        assert item.centroid_x == pytest.approx(xs.mean() + 0.5, abs=1e-2)
        assert item.centroid_y == pytest.approx(ys.mean() + 0.5, abs=1e-2)
    image = client.label_images[stamp]
    assert (image.encoding, image.height, image.width) == ("mono16", 96, 128)
    labels = np.frombuffer(image.data, np.uint16).reshape(96, 128)
    np.testing.assert_array_equal(labels > 0, masks[first] | masks[second])
    assert set(np.unique(labels)) <= {0, first, second}
    assert [detection.id for detection in client.detections[stamp].detections] == [str(first), str(second)]
    assert [d.results[0].hypothesis.class_id for d in client.detections[stamp].detections] == ["square", "object"]


def test_the_sequence_counts_processed_images(client: Any, picture: Callable[..., np.ndarray]) -> None:
    sequences = [client.track(picture(i)).sequence for i in range(4)]
    assert sequences == list(range(sequences[0], sequences[0] + 4))


def test_a_mask_prompt_comes_back(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    mask = np.zeros((96, 128), np.uint8)
    mask[30:60, 20:50] = 1
    answer = client.call(AddPrompt, "add_prompt", mask=array_to_image(mask, "mono8", Header()), label="given")
    assert answer.success, answer.message
    assert [(item.id, item.label) for item in client.list().objects] == [(answer.object_id, "given")]


def test_a_correction_keeps_the_object(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    object_id = client.prompt((40, 45), label="square").object_id
    client.track(picture(1))
    answer = client.prompt((42, 47), negative=((100, 80),), object_id=object_id)
    assert (answer.success, answer.object_id) == (True, object_id)
    assert [item.label for item in client.list().objects] == ["square"]


def test_remove_and_reset(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    ids = [client.prompt((20 + 10 * i, 40)).object_id for i in range(3)]
    assert client.remove(ids[1]).success
    assert [item.id for item in client.list().objects] == [ids[0], ids[2]]
    assert [item.id for item in client.track(picture(1)).objects] == [ids[0], ids[2]]
    assert client.reset().success
    assert client.list().objects == []
    assert client.track(picture(2)).objects == []
    assert client.prompt((40, 45)).object_id > ids[2], "ids are never used again"


def test_an_empty_mask_is_not_tracked(client: Any, picture: Callable[..., np.ndarray]) -> None:
    """A threshold that no pixel reaches is said in the prompt's answer, in each frame's state, and in the list."""
    client.track(picture(0))
    threshold = Parameter("mask_threshold", value=32.0).to_parameter_msg()
    usual = Parameter("mask_threshold", value=0.0).to_parameter_msg()
    client.call(SetParameters, "set_parameters", parameters=[threshold])
    try:
        answer = client.prompt((40, 45))
        assert answer.success
        assert answer.message.startswith("The network sees the object, but no pixel of its mask is above the threshold")
        (item,) = client.track(picture(1)).objects
        assert (item.state, item.area, item.box.width, item.mask.width) == (TrackedObject.NO_MASK, 0, 0, 0)
        assert item.presence > 0.5
        assert [info.state for info in client.list().objects] == [TrackedObject.NO_MASK]
    finally:
        client.call(SetParameters, "set_parameters", parameters=[usual])
    (item,) = client.track(picture(2)).objects
    assert item.state == TrackedObject.TRACKED
    assert item.area > 0


def test_a_mask_too_small_for_the_model_is_refused(client: Any) -> None:
    mask = np.zeros((1080, 1920), np.uint8)
    mask[500:506, 900:906] = 255
    client.track(np.zeros((1080, 1920, 3), np.uint8))
    answer = client.call(AddPrompt, "add_prompt", mask=array_to_image(mask, "mono8", Header()))
    assert not answer.success
    assert answer.message.startswith("The mask of 36 px is too small for this model: one place of its masks covers 60.")
    assert client.list().objects == []


def test_one_object_too_many_is_refused(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    answers = [client.prompt((20 + 10 * i, 40)) for i in range(5)]
    assert [answer.success for answer in answers] == [True] * 4 + [False]
    assert "4" in answers[4].message
    assert answers[4].object_id == 0


def test_a_click_starts_an_object_and_another_on_its_mask_corrects_it(
    client: Any, picture: Callable[..., np.ndarray]
) -> None:
    client.until(client.clicks.get_subscription_count, "the click subscription")
    client.track(picture(0))

    def click(x: float, y: float) -> None:
        client.clicks.publish(PointStamped(point=Point(x=float(x), y=float(y))))

    def ids() -> list[int]:
        return [item.id for item in client.list().objects]

    click(40, 45)
    first = client.until(ids, "the first object")
    covered = mask_of(client.track(picture(1)).objects[0])
    y, x = np.argwhere(~covered)[0]
    click(x, y)
    client.until(lambda: len(ids()) == 2, "a second object, outside the first")
    before = client.list().objects
    objects = client.track(picture(2)).objects
    y, x = np.argwhere(mask_of(objects[0]) & ~mask_of(objects[1]))[0]
    click(x, y)
    client.until(lambda: client.list().objects[0] != before[0], "a correction of the first")
    assert [item.id for item in before][:1] == first
    assert ids() == [item.id for item in before]


def test_a_click_of_rqt_image_view_means_the_newest_image(client: Any, picture: Callable[..., np.ndarray]) -> None:
    clicks = client.node.create_publisher(Point, "/tracker/overlay_mouse_left", 10)
    client.until(clicks.get_subscription_count, "the subscription")
    client.track(picture(0))
    clicks.publish(Point(x=40.0, y=45.0))
    client.until(lambda: client.list().objects, "the object")
    client.node.destroy_publisher(clicks)


def test_paused_images_are_dropped_and_counted(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    object_id = client.prompt((40, 45)).object_id
    client.until(lambda: client.diagnostics, "diagnostics")

    def dropped() -> int:  # of three at once, the middleware's queue of one may keep only the newest
        return client.dropped("paused") + client.dropped("replaced by a newer frame")

    before = dropped()
    assert client.pause(True).success
    stamps = [client.publish(picture(i)) for i in range(1, 4)]
    client.until(lambda: dropped() == before + 3, "three paused images")
    assert client.message == "paused"
    assert client.pause(False).success
    assert [item.id for item in client.track(picture(4)).objects] == [object_id]
    assert not any(stamp in client.objects for stamp in stamps)


def test_a_prompt_names_its_image_by_the_stamp(client: Any, picture: Callable[..., np.ndarray]) -> None:
    seen = client.track(picture(0)).header
    newest = client.track(picture(1)).header
    unknown = Time(sec=newest.stamp.sec + 1, nanosec=newest.stamp.nanosec)  # of an image that was never published
    answer = client.prompt((40, 45), stamp=unknown)
    assert not answer.success
    assert answer.stamp == Time()
    assert f"{newest.stamp.sec}.{newest.stamp.nanosec:09d}" in answer.message
    answer = client.prompt((40, 45), stamp=unknown, or_newest=True)
    assert (answer.success, answer.stamp) == (True, newest.stamp)
    answer = client.prompt((40, 45), stamp=newest.stamp)
    assert (answer.success, answer.stamp, answer.message) == (True, newest.stamp, "")
    rounded = Time(sec=seen.stamp.sec, nanosec=round(seen.stamp.nanosec, -6))  # as a bridge by JSON gives it
    answer = client.prompt((40, 45), stamp=rounded)
    assert (answer.success, answer.stamp) == (True, seen.stamp)
    assert f"{seen.stamp.sec}.{seen.stamp.nanosec:09d} s, the nearest one" in answer.message
    client.track(picture(2))
    assert answer.object_id in [item.id for item in client.track(picture(3)).objects], "it has caught up"


def test_a_recording_that_loops_is_tracked_and_reported(client: Any, picture: Callable[..., np.ndarray]) -> None:
    """A loop of a fifth of a second. Its stamps come again, and a prompt means the image that was seen last."""
    cause = "older than its predecessor"
    client.until(lambda: client.diagnostics, "diagnostics")
    before = client.dropped(cause), int(client.diagnostics["restarts of the images' stamps"])
    loop = [client.header() for _ in range(6)]
    for i, header in enumerate(loop):
        client.track(picture(i), header=header)
    assert client.call_prompt_with_mask().success
    client.objects.clear()
    for i, header in enumerate(loop[:2]):
        client.publish(picture(i), header=header)
        client.until(lambda late=before[0] + i + 1: client.dropped(cause) == late, "the drop in the diagnostics")
    again = client.track(picture(2), header=loop[2])
    assert again.header == loop[2], "stamps are the input's, unchanged"
    assert [stamp_of(header) in client.objects for header in loop[:2]] == [False, False]
    assert len(again.objects) == 1
    client.track(picture(3), header=loop[3])
    client.until(lambda: client.diagnostics["restarts of the images' stamps"] == str(before[1] + 1), "a report")
    answer = client.prompt((40, 45), stamp=loop[2].stamp)
    assert (answer.success, answer.stamp, answer.message) == (True, loop[2].stamp, "")
    assert answer.object_id in [item.id for item in client.track(picture(4), header=loop[4]).objects], (
        "it was one image behind, not the seven since the first round"
    )


def test_label_info_reaches_who_comes_late(
    client: Any, picture: Callable[..., np.ndarray], make_client: Callable[..., Any]
) -> None:
    client.track(picture(0))
    object_id = client.prompt((40, 45), label="square").object_id
    client.track(picture(1))
    late = make_client()
    name = f"object {object_id}: square"
    late.until(lambda: late.label_info and name in late.label_names(), "the label info")
    info = late.label_info
    assert {c.class_id: c.class_name for c in info.class_map} == {0: "background", object_id: name}
    assert client.remove(object_id).success
    client.track(picture(2))
    late.until(lambda: late.label_names() == ["background"], "the label info without the object")


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "rgba8", "bgra8"])
def test_encodings_mean_the_same_picture(client: Any, picture: Callable[..., np.ndarray], encoding: str) -> None:
    grey = picture(0)[..., 2:]  # one channel: every encoding can say it
    channels = {"mono8": 1, "rgba8": 4, "bgra8": 4}.get(encoding, 3)
    pixels = np.repeat(grey, channels, axis=2)
    stamp = client.publish(pixels[..., 0] if channels == 1 else pixels, encoding)
    client.until(lambda: stamp in client.overlays, "the overlay")
    np.testing.assert_array_equal(image_to_rgb(client.overlays[stamp]), np.repeat(grey, 3, axis=2))


def test_a_new_size_in_midstream(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    object_id = client.prompt((40, 45)).object_id
    objects = client.track(picture(1, height=60, width=200))
    assert [item.id for item in objects.objects] == [object_id]
    assert objects.objects[0].box.x_offset + objects.objects[0].box.width <= 200
    assert objects.objects[0].box.y_offset + objects.objects[0].box.height <= 60


def test_a_burst_keeps_order_and_every_image_is_accounted_for(client: Any, picture: Callable[..., np.ndarray]) -> None:
    """Publish far faster than the tracker is: the newest win, nothing comes out of order, and the counts add up."""
    client.track(picture(0))

    def accounted() -> int:
        """Return how many images were processed or dropped, as the next report tells."""
        client.diagnostics.clear()
        client.until(lambda: client.diagnostics, "diagnostics")
        dropped = sum(int(value) for key, value in client.diagnostics.items() if key.startswith("images dropped"))
        return dropped + int(client.diagnostics["images processed"])

    def at_rest() -> int | None:
        total = accounted()
        return total if total == accounted() else None

    first = stamp_of(client.track(picture(0)).header)
    seen = len(client.order)
    before = client.until(at_rest, "diagnostics at rest")
    big = picture(0, height=960, width=1280)
    stamps = [client.publish(big) for _ in range(30)]
    client.until(lambda: stamps[-1] in client.objects, "the newest image")
    client.until(lambda: accounted() == before + 30, "30 images accounted for")
    assert client.dropped("lost in transport") == 0
    order = client.order[seen:]
    assert order == sorted(order)
    assert order[0] > first
    assert set(order) <= set(stamps)


def test_a_camera_without_the_shared_memory_profile_is_recognised(
    make_process: Callable[..., Executable], make_client: Callable[..., Any], micro: dict[str, Any]
) -> None:
    names = {"__ns": "/lossy"}
    make_process("tracker", {**micro, "autostart": True}, remappings=names)
    client = make_client("/lossy/tracker", image="/lossy/image")
    make_process("camera", {"width": 1280, "height": 720}, remappings=names, without=[PROFILE_VARIABLE])
    client.until(lambda: PROFILE_VARIABLE in client.message, "the hint")
    assert client.level == b"\x01"


def test_many_services_at_once_are_all_answered_while_images_flow(
    client: Any, picture: Callable[..., np.ndarray]
) -> None:
    client.track(picture(0))
    service = client.client(AddPrompt, "add_prompt")
    futures = []
    for i in range(8):  # ROS keeps ten requests waiting
        client.publish(picture(i))
        request = AddPrompt.Request(box=[10.0, 10.0, 60.0 + i, 60.0])
        futures.append(service.call_async(request))
    client.until(lambda: all(future.done() for future in futures), "8 answers")
    answers = [future.result() for future in futures]
    assert sorted(answer.success for answer in answers) == [False] * 4 + [True] * 4
    assert client.track(picture(9)).objects


def test_real_scene_frames_go_through(client: Any) -> None:
    from sam_core.synthetic import DemoScene

    scene = DemoScene(width=320, height=240, seed=0, fps=30.0)
    labels = scene.render(0).labels
    client.track(np.ascontiguousarray(scene.render(0).image))
    ys, xs = np.nonzero(cv2.erode((labels == 1).astype(np.uint8), np.ones((5, 5))))
    middle = len(ys) // 2
    assert client.prompt((xs[middle], ys[middle]), label=scene.object_names[0]).success
    objects = client.track(np.ascontiguousarray(scene.render(1).image))
    assert objects.objects[0].label == scene.object_names[0]
    assert math.isfinite(objects.objects[0].predicted_iou)


def test_stamps_of_zero_are_tracked(client: Any, picture: Callable[..., np.ndarray]) -> None:
    """A camera without a clock is a camera."""
    client.track(picture(0), header=Header(frame_id="clockless"))
    assert client.objects[0].header == Header(frame_id="clockless")


def test_the_log_says_what_was_loaded(client: Any, running_tracker: Executable, micro: dict[str, Any]) -> None:
    client.track(np.zeros((8, 8, 3), np.uint8))
    text = running_tracker.output()
    dtype = resolve_dtype(None, torch.device("cpu"))
    assert f"sam2.1_micro at 128 px with weights from {micro['checkpoint']}, on cpu as {dtype}" in text
    assert "active: tracking in /image" in text
