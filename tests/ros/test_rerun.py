"""The log for Rerun: masks painted as they are, and a file that Rerun reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam_msgs.msg import TrackedObject
from std_msgs.msg import Header

from sam_ros.conversions.encodings import array_to_image
from sam_ros.rerun_log.rerun_node import paint
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
