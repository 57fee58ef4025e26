"""The log for Rerun: masks painted as they are, and a file that Rerun reads."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rclpy.parameter import Parameter
from sam_msgs.msg import TrackedObject, TrackedObjectArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from sam_ros.rerun_log.rerun_node import RerunNode, paint, path_of
from sam_ros.runtime.errors import FatalError
from sam_ros.runtime.processes import Executable

ENOUGH = 50_000  # bytes: some images


def test_masks_are_painted_where_they_are_and_torn_ones_are_left_out() -> None:
    whole, torn, outside = TrackedObject(id=3), TrackedObject(id=4), TrackedObject(id=5)
    for item in (whole, torn, outside):
        item.box.x_offset, item.box.y_offset, item.box.width, item.box.height = 2, 1, 3, 2
        item.mask = array_to_image(np.full((2, 3), 255, np.uint8), "mono8", Header())
    torn.mask.data = torn.mask.data[:-1]
    outside.box.x_offset = 9

    labels = paint([whole, torn, outside], (6, 10))
    assert labels.dtype == np.uint16
    assert (labels == 3).sum() == 6
    assert labels[1, 2] == labels[2, 4] == 3
    assert set(np.unique(labels)) == {0, 3}


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    assert re.fullmatch(r"a_\d{4}\.rrd", path_of(str(tmp_path / "a_%Y.rrd")).name)
    assert path_of(str(tmp_path / "%Y" / "a.rrd")) == tmp_path / "%Y" / "a.rrd", "the time is in the name alone"
    (tmp_path / "a.rrd").touch()
    with pytest.raises(FatalError, match="not overwritten"):
        path_of(str(tmp_path / "a.rrd"))


@pytest.fixture
def make_node(ros: None, tmp_path: Path) -> Iterator[Callable[..., RerunNode]]:
    pytest.importorskip("rerun")
    nodes: list[RerunNode] = []

    def make(**parameters: Any) -> RerunNode:
        given = {"file": str(tmp_path / "log.rrd"), **parameters}
        nodes.append(RerunNode(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()]))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def noise(stamp: int, size: tuple[int, int] = (240, 320)) -> Image:
    pixels = np.random.default_rng(stamp).integers(0, 256, (*size, 3), np.uint8)
    return array_to_image(pixels, "rgb8", Header(stamp=to_time(stamp)))


def seen(stamp: int) -> TrackedObjectArray:
    return TrackedObjectArray(header=Header(stamp=to_time(stamp)), objects=[TrackedObject(id=1, label="cup")])


def written(node: RerunNode) -> int:
    return node._written()


def test_images_and_results_meet_whichever_comes_first(make_node: Callable[..., RerunNode]) -> None:
    node = make_node()
    sizes = [written(node)]
    node._on_objects(seen(1))
    sizes.append(written(node))
    node._on_image(noise(1))
    sizes.append(written(node))
    node._on_image(noise(2))
    node._on_objects(seen(2))
    sizes.append(written(node))
    assert sizes[0] == sizes[1] < sizes[2] < sizes[3]


def test_results_without_images_are_told_of(make_node: Callable[..., RerunNode]) -> None:
    node = make_node()
    told: list[int] = []
    node.get_logger().warning = lambda text, **_: told.append(int(text.split()[0]))  # type: ignore[method-assign]
    for stamp in range(1, 50):
        node._on_objects(seen(stamp))
    assert told
    assert told[-1] == 49 - 30, "thirty may still be early"


def test_the_log_ends_within_its_bound_and_the_node_stops_working(make_node: Callable[..., RerunNode]) -> None:
    node = make_node(max_mib=1)
    for stamp in range(1, 100):
        node._on_image(noise(stamp))
        node._on_objects(seen(stamp))
        assert written(node) <= 2**20
    assert written(node) > 2**19, "a good part of it was used"
    assert list(node.subscriptions) == []
    before = written(node)
    node._on_depth(array_to_image(np.ones((4, 6), np.uint16), "16UC1", Header()))
    assert written(node) == before


def test_depth_is_logged_with_its_width_and_nonsense_is_left_out(make_node: Callable[..., RerunNode]) -> None:
    node = make_node()
    shapes: list[tuple[int, ...]] = []
    node._rerun = SimpleNamespace(**vars(node._rerun))
    node._rerun.DepthImage = lambda depth, meter: shapes.append(depth.shape)
    node._rerun.log = lambda *_: None
    padded = array_to_image(np.ones((4, 8), np.uint16), "16UC1", Header())
    padded.width = 6
    for change in ({}, {"height": 0, "data": b""}, {"width": 0}, {"width": 9}, {"step": 15}, {"encoding": "\x1b"}):
        message = copy.deepcopy(padded)
        for name, value in change.items():
            setattr(message, name, value)
        node._on_depth(message)
    assert shapes == [(4, 6)]


def test_what_cannot_be_logged_to_ends_the_node_with_a_sentence(make_node: Callable[..., RerunNode]) -> None:
    for parameters in ({"file": "/proc/nothing/log.rrd"}, {"file": "/"}, {"file": "x" * 999}, {"viewer": "nonsense"}):
        with pytest.raises(FatalError, match="cannot log to"):
            make_node(**parameters)


@pytest.mark.slow
def test_a_log_is_read_by_rerun_and_has_the_images_stamps(
    make_process: Callable[..., Executable], make_client: Callable[..., Any], micro: dict[str, Any],
    picture: Callable[..., np.ndarray], tmp_path: Path,
) -> None:  # fmt: skip
    pytest.importorskip("rerun")
    file = tmp_path / "tracking.rrd"
    make_process("tracker", {**micro, "autostart": True, "qos_overrides./image.subscription.reliability": "reliable"})
    logger = make_process("rerun", {"file": str(file)}, remappings={"objects": "tracker/objects"})
    client = make_client()
    client.wait_until_active()
    client.until(lambda: client.images.get_subscription_count() >= 2, "tracker and logger")
    client.track(picture(0))
    assert client.prompt((40, 45), label="square").success
    numbers = iter(range(1, 200))

    def written() -> bool:
        client.track(picture(next(numbers)))
        return file.stat().st_size > ENOUGH

    client.until(written, "some images in the file")
    assert logger.stop() == 0, logger.output()

    command = [sys.executable, "-m", "rerun", "rrd", "print", "-vvv", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for entity in ("/camera/image", "/camera/image/masks", "/camera/image/boxes", "/objects/1/presence"):
        assert entity in done.stdout
    assert "stamp" in done.stdout, "the timeline"
