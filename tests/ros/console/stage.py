"""Everything that a browser test of the console needs, running: camera, tracker, console, Chromium, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import Image

from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.processes import Executable
from tests.ros.console.browser_rig import UNDER_TEST, Page, address_of, browser

SIZE = (320, 240)
BACKGROUND, BLUE = 0, 4  # the blue circle's number in the truth: it never leaves the picture and nothing hides it
ENOUGH = 0.7  # IoU


@dataclass
class Stage:
    """Processes, a client that knows the truth, and a browser."""

    client: Any
    tracker: Executable
    console: Executable
    chromium: Any
    address: str
    folder: Path
    truths: dict[int, np.ndarray] = field(default_factory=dict)

    def open(self, **context: Any) -> Page:
        """Open the console in a browser of its own, and wait for its first picture."""
        page = Page(self.chromium.new_context(**context).new_page(), self.address)
        page.wait_for_picture()
        return page

    def truth(self, stamp: int) -> np.ndarray:
        """Return the truth of an image."""
        self.client.until(lambda: stamp in self.truths, f"the truth of {stamp}")
        return self.truths[stamp]

    def middle_of(self, number: int, stamp: int) -> tuple[float, float]:
        """Return the point of a thing that is farthest from its edge, px."""
        own = np.pad((self.truth(stamp) == number).astype(np.uint8)[1:-1, 1:-1], 1)  # away from the border, too
        x, y = cv2.minMaxLoc(cv2.distanceTransform(own, cv2.DIST_L2, 3))[3]
        return x + 0.5, y + 0.5

    def ious(self, object_id: int, number: int, count: int) -> list[float]:
        """Return the IoU of an object with the truth in the next `count` images in which it is listed."""
        seen: dict[int, float] = {}

        def look() -> bool:
            for stamp, labels in list(self.client.label_images.items()):
                result = self.client.objects.get(stamp)
                listed = {item.id for item in result.objects} if result is not None else set()
                if stamp not in seen and stamp in self.truths and object_id in listed:
                    ours = np.frombuffer(labels.data, np.uint16).reshape(SIZE[::-1]) == object_id
                    real = self.truths[stamp] == number
                    seen[stamp] = float((ours & real).sum() / max(1, (ours | real).sum()))
            return len(seen) >= count

        self.client.label_images.clear()
        self.client.until(look, f"{count} results with object {object_id}")
        return list(seen.values())

    def ids(self) -> set[int]:
        """Return the objects that are tracked now, as the tracker says: results may wait here since before."""
        return {item.id for item in self.client.list().objects}


@contextmanager
def running_stage(make_client: Callable[..., Any], folder: Path, **tracking: Any) -> Iterator[Stage]:
    """Run everything, the tracker with these parameters besides; the console must end well.

    Args:
        make_client: Makes a client of the tracker.
        folder: For the processes' logs.
        **tracking: Parameters of the tracker.
    """
    beside = {"autostart": True, "device": "cpu", "cpu_threads": 1, "history_frames": 200, "max_objects": 4}
    tracker = Executable("tracker", {**beside, **tracking}, log=folder / "tracker.log")
    scene = {"source": "twins", "rate": 3.0, "width": SIZE[0], "height": SIZE[1]}
    camera = Executable("camera", scene, log=folder / "camera.log")
    console = Executable("console", {"port": 0}, without=UNDER_TEST, log=folder / "console.log")
    with tracker, camera, console, browser() as chromium:
        client = make_client()
        stage = Stage(client, tracker, console, chromium, address_of(console), folder)

        def keep(message: Image) -> None:
            stage.truths[stamp_of(message.header)] = np.frombuffer(message.data, np.uint8).reshape(SIZE[::-1])

        client.node.create_subscription(Image, "/camera/truth", keep, 100)
        client.wait_until_active()
        yield stage
    assert console.exit_code == 0, console.output()
