"""Recordings: every kind is read in any order; what is damaged costs a sentence, and the rest is read."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from sam_core import ImageError
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.sources import FrameSource, InputSettings, Window, open_source

from .conftest import FRAMES, IMAGE, PERIOD, START, image_message, typestore, write_bag

STRING = "std_msgs/msg/String"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
ORDERS = (list(range(FRAMES)), list(reversed(range(FRAMES))), [7, 2, 11, 0])


def opened(path: Path, **settings: Any) -> FrameSource:
    return open_source(path, InputSettings(**settings))


def assert_holds(source: FrameSource, clip: NDArray[np.uint8], tolerance: int = 0) -> None:
    assert len(source.index) == FRAMES
    for order in ORDERS:
        for k in order:
            difference = np.abs(source.image(k).astype(int) - clip[k])
            assert difference.mean() <= tolerance, k
    source.close()


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda one: one.name.lower())
@pytest.mark.parametrize("mode", list(CompressionMode), ids=lambda one: one.name.lower())
def test_bags_of_every_kind(
    plugin: StoragePlugin, mode: CompressionMode, messages: list[Any], clip: NDArray[np.uint8], tmp_path: Path
) -> None:
    if plugin is StoragePlugin.SQLITE3 and mode is CompressionMode.STORAGE:
        pytest.skip("sqlite3 has no chunks")
    path = write_bag(tmp_path / "bag", messages, plugin=plugin, mode=mode)

    source = opened(path)

    assert source.index.header(3) == (START + 3 * PERIOD, "camera")
    assert int(source.index.times[3]) == START + 3 * PERIOD + 10**6
    assert source.problems.texts == []
    assert_holds(source, clip)


def test_a_split_bag_and_one_of_its_files(messages: list[Any], clip: NDArray[np.uint8], tmp_path: Path) -> None:
    first, second = write_bag(tmp_path / "a", messages[:5]), write_bag(tmp_path / "b", messages[5:])
    name_files(first, "a.mcap", "b.mcap")
    shutil.copy(second / "b.mcap", first)

    assert_holds(opened(first), clip)
    assert len(opened(second / "b.mcap").index) == FRAMES - 5


def test_compressed_images(clip: NDArray[np.uint8], tmp_path: Path) -> None:
    make = typestore().types[COMPRESSED]
    messages = []
    for k, image in enumerate(clip):
        header = image_message(image, START + k * PERIOD).header
        data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].reshape(-1)
        messages.append((START + k, make(header=header, format="png", data=data)))

    assert_holds(opened(write_bag(tmp_path / "bag", messages, kind=COMPRESSED)), clip)


def test_a_folder_of_images(clip: NDArray[np.uint8], tmp_path: Path) -> None:
    for k, image in enumerate(clip):
        cv2.imwrite(str(tmp_path / f"{k}.{'png' if k % 2 else 'bmp'}"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    source = opened(tmp_path, rate=10.0, frame_id="left")

    assert source.index.header(11) == (11 * PERIOD, "left"), "2 comes before 10"
    assert_holds(source, clip)


def test_a_video(clip: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, clip.shape[2:0:-1])
    for image in clip:
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    video.release()
    source = opened(path)
    again = np.stack([source.image(k) for k in range(FRAMES)])

    assert np.diff(source.index.stamps).tolist() == [PERIOD] * (FRAMES - 1)
    assert_holds(source, again)  # any order gives the same
    assert np.abs(again.astype(int) - clip).mean() < 40


def test_backward_through_every_nth_image_of_a_video(
    clip: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, clip.shape[2:0:-1])
    for k in range(120):
        video.write(cv2.cvtColor(clip[k % FRAMES], cv2.COLOR_RGB2BGR))
    video.release()
    every = opened(path)
    source = opened(path, window=Window(0, 100, 2))
    monkeypatch.setattr(type(source), "_rewind", lambda self: pytest.fail("it was read from its beginning again"))

    for k in reversed(range(60)):
        assert (source.image(k) == every.image(2 * k)).all()


def test_a_range_and_every_nth_image(bag: Path, clip: NDArray[np.uint8]) -> None:
    source = opened(bag, window=Window(0.2, 0.9, 3))

    assert [(int(stamp) - START) // PERIOD for stamp in source.index.stamps] == [2, 5, 8]
    assert (source.image(1) == clip[5]).all()


# --- what is damaged --------------------------------------------------------------------------------------------------


def name_files(path: Path, *names: str) -> None:
    content = yaml.safe_load((path / "metadata.yaml").read_text())
    content["rosbag2_bagfile_information"]["relative_file_paths"] = list(names)
    (path / "metadata.yaml").write_text(yaml.safe_dump(content))


def cut(path: Path) -> None:
    file = path / "clip.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def drop_metadata(path: Path) -> None:
    (path / "metadata.yaml").unlink()


def spoil_metadata(path: Path) -> None:
    (path / "metadata.yaml").write_text("a: [")


def lose_a_file(path: Path) -> None:
    name_files(path, "clip.mcap", "more.mcap")


def flip_a_bit(path: Path) -> None:
    """Give each chunk its checksum, as recorders do and rosbags does not, then change a pixel."""
    file = path / "clip.mcap"
    data = bytearray(file.read_bytes())
    place = 8
    while data[place] != 0x0F:  # the end of the data
        op, length = struct.unpack_from("<BQ", data, place)
        if op == 0x06:
            records = slice(place + 9 + 40, place + 9 + length)
            assert struct.unpack_from("<I", data, place + 9 + 28)[0] == 0, "not compressed"
            struct.pack_into("<I", data, place + 9 + 24, crc32(data[records]))
        place += 9 + length
    data[place // 2] ^= 1
    file.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], None], str, bool]] = {  # what is done, what is said, whether all is read
    "cut short": (cut, "is cut short", False),
    "no metadata": (drop_metadata, "has no metadata.yaml", True),
    "bad metadata": (spoil_metadata, "cannot be read", True),
    "a file is lost": (lose_a_file, "lacks its file more.mcap", True),
    "bad checksum": (flip_a_bit, "wrong checksum", False),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_bag_costs_a_sentence(
    name: str, messages: list[Any], clip: NDArray[np.uint8], tmp_path: Path
) -> None:
    damage, said, whole = DAMAGE[name]
    # Some megabytes: several chunks.
    path = write_bag(tmp_path / "clip", [one for one in messages for _ in range(30)])
    count = len(opened(path).index)
    damage(path)

    source = opened(path)

    assert [text for text in source.problems.texts if said in text], source.problems.texts
    assert (len(source.index) == count) is whole
    assert len(source.index) > count // 4
    for k in range(0, len(source.index), 7):
        frame = (int(source.index.stamps[k]) - START) // PERIOD
        assert (source.image(k) == clip[frame]).all()


def test_a_damaged_database_costs_a_sentence(messages: list[Any], tmp_path: Path) -> None:
    path = write_bag(tmp_path / "clip", messages * 4, plugin=StoragePlugin.SQLITE3)
    file = path / "clip.db3"
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300_000] = bytes(300_000)
    file.write_bytes(data)

    source = opened(path)

    assert source.problems.texts
    assert len(source.index) > 0


def test_images_out_of_order_are_left_out_as_by_the_node(messages: list[Any], tmp_path: Path) -> None:
    order = [0, 1, 3, 2, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3]

    source = opened(write_bag(tmp_path / "bag", [messages[k] for k in order]))

    taken = [(int(stamp) - START) // PERIOD for stamp in source.index.stamps]
    assert taken == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3], "the third older image in a row begins a new run"
    assert source.problems.count == 3
    assert "older than its predecessor" in source.problems.texts[0]


def test_an_image_that_cannot_be_decoded_has_a_reason(
    messages: list[Any], clip: NDArray[np.uint8], tmp_path: Path
) -> None:
    odd = image_message(clip[1], START + PERIOD, encoding="rgb99")
    short = image_message(clip[2], START + 2 * PERIOD)
    short.data = short.data[:100]

    source = opened(write_bag(tmp_path / "bag", [messages[0], (START + 1, odd), (START + 2, short), messages[3]]))

    with pytest.raises(ImageError, match="unknown encoding 'rgb99'"):
        source.image(1)
    with pytest.raises(ImageError):
        source.image(2)
    assert (source.image(3) == clip[3]).all()


def test_a_large_image_of_any_format_is_refused(tmp_path: Path) -> None:
    for name in ("a.bmp", "b.png", "c.ppm"):
        cv2.imwrite(str(tmp_path / name), np.zeros((100, 100, 3), np.uint8))
    source = opened(tmp_path, max_pixels=100)

    for k in range(3):
        with pytest.raises(ImageError, match="100"):
            source.image(k)


def test_rows_of_a_database_that_are_no_messages_are_left_out(
    messages: list[Any], clip: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = write_bag(tmp_path / "clip", messages, plugin=StoragePlugin.SQLITE3)
    with sqlite3.connect(path / "clip.db3") as database:
        database.execute("UPDATE messages SET data = 'text' WHERE id IN (3, 4)")
    database.close()

    source = opened(path)

    assert len(source.index) == FRAMES - 2
    assert (source.image(2) == clip[4]).all()


def test_a_database_with_a_row_of_a_huge_number_is_refused(messages: list[Any], tmp_path: Path) -> None:
    path = write_bag(tmp_path / "clip", messages, plugin=StoragePlugin.SQLITE3)
    with sqlite3.connect(path / "clip.db3") as database:
        database.execute("UPDATE messages SET id = 1 << 60 WHERE id = 4")
    database.close()

    with pytest.raises(AnnotationError, match="is damaged"):
        opened(path)


def test_what_a_database_has_not_taken_in_is_told(messages: list[Any], tmp_path: Path) -> None:
    path = write_bag(tmp_path / "clip", messages, plugin=StoragePlugin.SQLITE3)
    (path / "clip.db3-wal").write_bytes(b"rows of a recorder that was killed")

    assert "was not closed by its recorder" in opened(path).problems.texts[0]


def test_a_wrong_schema_is_a_reason(tmp_path: Path) -> None:
    text = typestore().types[STRING](data="no image at all, but long enough for a header")
    path = write_bag(tmp_path / "bag", [(START, text)], kind=STRING)
    file = path / "bag.mcap"
    assert len(STRING) + 2 == len(IMAGE)
    file.write_bytes(file.read_bytes().replace(STRING.encode(), IMAGE.encode()[: len(STRING)]))

    with pytest.raises(AnnotationError, match="has the type sensor_msgs/msg/Ima"):
        opened(path, topic="/image")


REFUSED: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "nothing": (lambda path: path / "none", {}, "does not exist"),
    "an empty folder": (lambda path: path, {}, "holds no images"),
    "no video": (lambda path: _written(path / "a.mp4", b"no video"), {}, "is no video"),
    "no mcap": (lambda path: _written(path / "a.mcap", b"no bag"), {}, "does not begin as one"),
    "no database": (lambda path: _written(path / "a.db3", b"no bag"), {}, "no readable rosbag2 database"),
    "another topic": (lambda path: _bag(path), {"topic": "/other"}, "topics of images are: /image"),
    "a topic of texts": (lambda path: _bag(path, STRING), {"topic": "/image"}, "is no topic of images"),
    "no topic of images": (lambda path: _bag(path, STRING), {}, "0 topics of images"),
    "a range beyond it": (lambda path: _bag(path), {"window": Window(50, 60)}, "no image in the range"),
}


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _bag(path: Path, kind: str = IMAGE) -> Path:
    image = np.zeros((4, 4, 3), np.uint8)
    message = image_message(image, START) if kind == IMAGE else typestore().types[STRING](data="x" * 40)
    return write_bag(path / "bag", [(START, message)], kind=kind)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    make, settings, said = REFUSED[name]

    with pytest.raises(AnnotationError, match=said):
        opened(make(tmp_path), **settings)


@pytest.mark.parametrize("window", [(5.0, 5.0, 1), (-1.0, 2.0, 1), (0.0, 1.0, 0)])
def test_a_window_without_images_is_refused(window: tuple[float, float, int]) -> None:
    with pytest.raises(AnnotationError):
        Window(*window)


def test_random_bytes_never_crash_the_reader(bag: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sound = (bag / "clip.mcap").read_bytes()
    for k in range(60):
        data = bytearray(sound)
        for place in rng.integers(8, len(data), 4 + k):
            data[place] = int(rng.integers(256))
        struct.pack_into("<Q", data, int(rng.integers(8, len(data) - 8)), int(rng.integers(2**62)))
        path = tmp_path / "a.mcap"
        path.write_bytes(data)
        try:
            source = opened(path)
        except AnnotationError:
            continue
        for frame in range(len(source.index)):
            try:
                source.image(frame)
            except ImageError:
                continue
        source.close()
