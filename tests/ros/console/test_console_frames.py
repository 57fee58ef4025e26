"""Frames of the console: matched by stamp, bounded, hit-tested on the masks of the very frame; prompts and pictures."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import struct
import threading
import weakref
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Picture
from sam_msgs.msg import LabeledPoint, TrackedObject, TrackedObjectArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sam_core import ImageError
from sam_ros.console.ros.draft import Box, Draft, Point, Stroke, read_step
from sam_ros.console.ros.frames import Frame, FrameStore, SeenObject
from sam_ros.console.web.stream import LEVELS, Encoder, encode
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.outlines import outline_of
from sam_ros.conversions.stamps import to_time
from sam_ros.runtime.errors import RefusedError

SIZE = (40, 60)  # height, width
SECOND = 10**9


def header(stamp: int) -> Header:
    return Header(stamp=to_time(stamp), frame_id="camera")


def image(stamp: int, height: int = SIZE[0], width: int = SIZE[1]) -> Image:
    return array_to_image(np.full((height, width, 3), stamp % 200, np.uint8), "rgb8", header(stamp))


def tracked(object_id: int, mask: np.ndarray, x: int, y: int, label: str = "") -> TrackedObject:
    item = TrackedObject(id=object_id, label=label, state=TrackedObject.TRACKED, area=int(mask.sum()))
    item.box.x_offset, item.box.y_offset = x, y
    item.box.height, item.box.width = mask.shape
    item.mask = array_to_image(mask.astype(np.uint8) * 255, "mono8", Header())
    return item


def result(stamp: int, *objects: TrackedObject) -> TrackedObjectArray:
    return TrackedObjectArray(header=header(stamp), objects=list(objects))


def store(now: Any = lambda: 0.0, most_bytes: int = 2**20) -> FrameStore:
    return FrameStore(most_bytes, now)


def test_image_and_result_meet_by_their_stamp() -> None:
    frames = store()
    frames.add_result(result(1))  # nothing came before: images are shown as they come from here on only with results
    for stamp in (2, 3, 4):
        frames.add_image(image(stamp))
    frames.add_result(result(3, tracked(7, np.ones((4, 4), bool), 0, 0)))

    assert frames.newest is not None
    assert (frames.newest.stamp, frames.newest.tracked) == (3, True)
    assert [item.id for item in frames.newest.objects] == [7]
    frames.add_result(result(2))  # older than what was shown: its image is not kept
    assert frames.newest.stamp == 3
    frames.add_result(result(4))
    assert frames.newest.stamp == 4


def test_a_result_that_comes_first_waits_for_its_image() -> None:
    frames = store()
    frames.add_result(result(5))
    assert frames.newest is None
    frames.add_image(image(5))
    assert frames.newest is not None
    assert frames.newest.tracked


def test_without_results_images_are_shown_as_they_come() -> None:
    now = [0.0]
    frames = store(lambda: now[0])
    frames.add_image(image(1))
    assert frames.newest is not None
    assert not frames.newest.tracked
    frames.add_result(result(1))
    frames.add_image(image(2))
    assert frames.newest.stamp == 1, "results come: the next one is waited for"
    now[0] = 5.0
    frames.add_image(image(3))
    assert (frames.newest.stamp, frames.newest.tracked) == (3, False)


def test_stamps_may_go_back_and_repeat() -> None:
    """A recording that loops: the newest to arrive is shown, and a number means one frame for ever."""
    frames = store()
    for stamp in (10, 20, 5, 5):
        frames.add_result(result(stamp))
        frames.add_image(image(stamp))
    assert frames.newest is not None
    assert (frames.newest.number, frames.newest.stamp) == (4, 5)
    assert [frames.frame(number).stamp for number in (1, 2, 3, 4)] == [10, 20, 5, 5]  # type: ignore[union-attr]
    assert frames.frame_of(5) is frames.newest


def test_memory_is_bounded_in_bytes_and_in_frames() -> None:
    most = 20 * 3 * SIZE[0] * SIZE[1]  # twenty images
    frames = store(most_bytes=most)
    mask = np.ones(SIZE, bool)  # a third of an image
    for stamp in range(10, 3000, 10):
        frames.add_image(image(stamp))  # most of them never meet a result
        if stamp % 30 == 0:
            frames.add_result(result(stamp, *(tracked(i, mask, 0, 0) for i in range(3))))
        frames.add_result(result(stamp - 5, tracked(1, mask, 0, 0)))  # never meets an image
        kept = [frame for number in range(1, 400) if (frame := frames.frame(number)) is not None]
        sizes = [len(frame.image.data) + sum(len(item.message.mask.data) for item in frame.objects) for frame in kept]
        assert sum(sizes) + frames._matcher.size <= most
    assert len(kept) == 3, "with its three masks a frame takes the room of two images"
    frames.forget()
    assert (frames.newest, frames._matcher.size) == (None, 0)


def test_a_result_that_comes_later_than_the_images_fit_does_not_stop_the_pictures() -> None:
    """30 Hz and a result after 0.6 s, when 18 images are on their way and ten fit."""
    now = [0.0]
    frames = store(lambda: now[0], most_bytes=20 * 3 * SIZE[0] * SIZE[1])
    shown = set()
    for number in range(1, 301):  # ten seconds
        now[0] = number / 30
        if number > 18:
            frames.add_result(result((number - 18) * 33))
        frames.add_image(image(number * 33))
        assert frames.newest is not None
        if frames.newest.tracked:
            shown.add(frames.newest.stamp)
    assert len(shown) > 100


def test_results_whose_images_are_lost_do_not_stop_the_pictures() -> None:
    now = [0.0]
    frames = store(lambda: now[0])
    for number in range(1, 301):
        now[0] = number / 30
        frames.add_image(image(10 * number))
        frames.add_result(result(10 * number - 5))
    assert frames.newest is not None
    assert (frames.newest.stamp, frames.newest.tracked) == (3000, False)


def test_waiting_ends_with_the_next_frame_or_in_time() -> None:
    frames = store()

    async def run() -> tuple[Any, Any, Any]:
        nothing = await frames.newer(0, 0.01)
        waiting = asyncio.create_task(frames.newer(0, 5.0))
        await asyncio.sleep(0)
        await asyncio.to_thread(frames.add_image, image(1))  # as the ROS thread does
        return nothing, await waiting, await frames.newer(0, 5.0)

    nothing, first, again = asyncio.run(run())
    assert nothing is None
    assert first.stamp == 1
    assert again is first
    assert frames._waiting == []


def test_hit_test_is_on_the_masks_of_the_frame() -> None:
    ring = np.ones((20, 20), bool)
    ring[5:15, 5:15] = False
    big, small = tracked(1, ring, 10, 10), tracked(2, np.ones((6, 6), bool), 8, 8)
    frame = Frame(1, image(1), (SeenObject(big), SeenObject(small)), True)

    assert frame.object_at(11.5, 11.5).id == 2, "the smaller of two"  # type: ignore[union-attr]
    assert frame.object_at(28.5, 28.5).id == 1  # type: ignore[union-attr]
    assert frame.object_at(20.0, 20.0) is None, "in the hole"
    assert frame.object_at(0.0, 0.0) is None
    assert frame.object_at(1e4, 1e4) is None
    without = TrackedObject(id=3)  # publish_masks is off: only the box is known
    without.box.width = without.box.height = 10
    assert SeenObject(without).covers(9.9, 0.0)
    assert SeenObject(without).outline == ((0, 0, 10, 0, 10, 10, 0, 10),)
    torn = tracked(4, np.ones((6, 6), bool), 0, 0)
    torn.mask.data = torn.mask.data[:-1]
    assert SeenObject(torn).crop.size == 0


def test_an_outline_of_noise_is_bounded() -> None:
    noise = (np.random.default_rng(0).random((480, 640)) > 0.5).astype(np.uint8)
    outline = outline_of(noise, 0, 0)
    assert len(outline) <= 100
    assert 1000 < sum(map(len, outline)) / 2 <= 4000, "points of all its polygons"
    square = outline_of(np.ones((4, 4), np.uint8), 10, 20)
    assert {(square[0][i], square[0][i + 1]) for i in range(0, 8, 2)} == {
        (10.5, 20.5),
        (13.5, 20.5),
        (13.5, 23.5),
        (10.5, 23.5),
    }


def decoded(data: bytes) -> tuple[dict[str, Any], np.ndarray]:
    (length,) = struct.unpack_from("<I", data)
    return json.loads(data[4 : 4 + length]), cv2.imdecode(np.frombuffer(data[4 + length :], np.uint8), 1)


def test_a_picture_comes_with_its_stamp_and_its_objects() -> None:
    stamp = 1_795_920_709_941_264_482  # does not fit into a number of JavaScript
    item = tracked(3, np.ones((8, 8), bool), 4, 4, label="<b>\x1b\n" + "a" * 10_000)
    facts, picture = decoded(encode(Frame(9, image(stamp), (SeenObject(item),), True), 0))

    assert (facts["stamp"], facts["number"], facts["width"], facts["height"]) == (str(stamp), 9, 60, 40)
    assert picture.shape == (40, 60, 3)
    assert facts["objects"][0]["id"] == 3
    label = facts["objects"][0]["label"]
    assert label.startswith("<b>\\x1b\\n")
    assert len(label) < 150


def test_a_slow_browser_gets_smaller_pictures_in_the_same_pixels() -> None:
    frame = Frame(1, image(1, 1000, 2000), (), True)
    sizes = [decoded(encode(frame, level)) for level in range(len(LEVELS))]
    assert [max(picture.shape) for _, picture in sizes] == [1920, 1280, 960, 640]
    assert {(facts["width"], facts["height"]) for facts, _ in sizes} == {(2000, 1000)}


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (3, 4000)])
def test_a_narrow_image_gets_smaller_and_stays_an_image(size: tuple[int, int]) -> None:
    for level, (_, longest) in enumerate(LEVELS):
        _, picture = decoded(encode(Frame(1, image(1, *size), (), True), level))
        assert (min(picture.shape[:2]) >= 1, max(picture.shape)) == (True, longest)


def test_a_jpeg_passes_as_it_is_and_a_broken_image_is_refused() -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    compressed = CompressedImage(header=header(1), format="jpeg", data=jpeg)
    assert encode(Frame(1, compressed, (), True), 0).endswith(jpeg)
    mosaic = CompressedImage(header=header(1), format="bayer_rggb8; jpeg compressed ", data=jpeg)
    assert not encode(Frame(1, mosaic, (), True), 0).endswith(jpeg), "the tracker sees its colours"
    png = cv2.imencode(".png", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    _, picture = decoded(encode(Frame(1, CompressedImage(header=header(1), format="jpeg", data=png), (), True), 0))
    assert picture.shape == (40, 60, 3)
    assert b"PNG" not in encode(Frame(1, CompressedImage(header=header(1), format="jpeg", data=png), (), True), 0)
    for tags in ({"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}, {"icc_profile": b"any"}):
        file = io.BytesIO()
        Picture.new("RGB", (60, 40), "red").save(file, "jpeg", **tags)
        turned = CompressedImage(header=header(1), format="jpeg", data=file.getvalue())
        answer = encode(Frame(1, turned, (), True), 0)
        assert not any(mark in answer for mark in (b"Exif", b"ICC_PROFILE")), "a browser would turn or tint it"
        assert decoded(answer)[1].shape == (40, 60, 3)
    broken = image(2)
    broken.encoding = "nonsense"
    with pytest.raises(ImageError, match="nonsense"):
        encode(Frame(2, broken, (), True), 0)


def test_browsers_share_an_answer_and_it_does_not_keep_the_image() -> None:
    encoder = Encoder()

    def ask(tracker: str, frame: Frame, level: int = 0) -> bytes:
        return asyncio.run(encoder.encode(tracker, frame, level))

    frame = Frame(1, image(1), (), True)
    answer = ask("/a", frame)
    assert ask("/a", frame) is answer
    assert ask("/b", Frame(1, image(2), (), True)) != answer, "another tracker counts its frames, too"
    assert ask("/a", Frame(1, image(3), (), True)) != answer, "the tracker was found anew"
    assert ask("/a", frame, 1) != answer
    for number in range(2, 20):
        ask("/a", Frame(number, image(number), (), True))
    assert len(encoder._answers) == 6
    encoder.stop()
    gone = weakref.ref(frame)
    del frame
    gc.collect()
    assert gone() is None


def test_pages_share_the_pictures_of_objects_which_are_made_beside_the_web_server() -> None:
    threads: list[str] = []

    class Watched(Frame):
        def rgb(self) -> Any:
            threads.append(threading.current_thread().name)
            return super().rgb()

    objects = tuple(SeenObject(tracked(i, np.ones((8, 8), bool), x, 4)) for i, x in ((3, 4), (5, 100)))
    frame = Watched(1, image(1), objects, True)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(encoder.thumbnails(frame) for _ in range(3)))

    encoder = Encoder()
    pictures = asyncio.run(ask())
    encoder.stop()
    assert set(pictures[0]) == {3}, "the other is not in the image"
    assert pictures[0] is pictures[1] is pictures[2]
    (thread,) = threads
    assert thread.startswith("jpeg")


# --- Prompts ----------------------------------------------------------------------------------------------------------


def draft(*steps: Any) -> Draft:
    made = Draft(Frame(1, image(SECOND), (), True))
    for step in steps:
        made = made.with_step(step)
    return made


def test_a_draft_grows_step_by_step_and_back() -> None:
    made = draft(Point(1, 2, True), Box(0, 0, 5, 5), Point(3, 4, False), Box(1, 1, 9, 9))

    assert made.points == [LabeledPoint(x=1.0, y=2.0, label=1), LabeledPoint(x=3.0, y=4.0, label=0)]
    assert made.box == [1, 1, 9, 9], "the second box replaces the first"
    assert made.undone().box == []
    with pytest.raises(RefusedError, match="does not go together"):
        made.with_step(Stroke((1, 1), 2, False))
    with pytest.raises(RefusedError, match="at most 64"):
        draft(*(Point(1, 1, True) for _ in range(65)))


def test_a_brushed_mask_is_of_the_image_and_can_be_erased() -> None:
    made = draft(Stroke((10, 10, 30, 10), 4, False), Stroke((20, 10), 3, True))
    mask = made.mask(60, 40)
    assert mask.shape == SIZE
    assert mask[10, 10] == mask[10, 30] == 255
    assert mask[10, 20] == mask[30, 10] == 0
    assert (made.mask_message().width, made.mask_message().encoding) == (60, "mono8")
    with pytest.raises(RefusedError, match="Nothing is left"):
        draft(Stroke((10, 10), 4, False), Stroke((10, 10), 9, True)).mask_message()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("point", {"at": [1]}),
        ("point", {"at": [float("nan"), 1]}),
        ("point", {"at": [float("inf"), 1]}),
        ("point", {"at": [True, 1]}),
        ("point", {"at": ["1", 1]}),
        ("point", {"at": [1e9, 1]}),
        ("point", {"at": None}),
        ("point", {}),
        ("point", None),
        ("point", "x" * 100_000),
        ("box", {"at": [1, 1, 1.5, 9]}),
        ("box", {"at": [1, 1, 9]}),
        ("stroke", {"at": [1, 1, 2], "radius": 3}),
        ("stroke", {"at": [1, 1], "radius": -1}),
        ("stroke", {"at": [1, 1], "radius": 1e4}),
        ("stroke", {"at": [1, 1]}),
        ("stroke", {"at": [1.0] * 100_000, "radius": 3}),
        ("shout", {"at": [1, 1]}),
    ],
)
def test_what_no_browser_should_send_is_refused(kind: str, data: Any) -> None:
    with pytest.raises(RefusedError):
        read_step(kind, data)


def test_a_box_may_be_drawn_from_any_corner() -> None:
    assert read_step("box", {"at": [9, 8, 2, 1]}) == Box(2, 1, 9, 8)
