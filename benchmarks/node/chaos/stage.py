"""The real processes that events happen to, and a witness of what they publish."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.node.soak import Observer, key
from benchmarks.reference.weights import make_lively
from sam_core.build import build_model
from sam_core.sam3 import build_network
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from sam_ros.runtime.processes import Executable
from sam_ros.runtime.qos import SERVICE_QOS

LABELS = ("left", "right")
HEIGHT, WIDTH = 240, 320
PERIOD = 0.1  # s between two images of the witness
PATIENCE = 120.0  # s for what takes less than one on an idle machine
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Count:
    """What has been counted at one moment.

    Attributes:
        published: Images that camera or witness published.
        results: Results that arrived here.
        processed: Results that the tracker counted.
        drops: Images that the tracker counted as dropped, by cause.
    """

    published: int
    results: int
    processed: int
    drops: dict[str, int]


class Witness(Observer):
    """An observer that can be the camera, and call every service."""

    def __init__(self) -> None:
        from geometry_msgs.msg import PointStamped

        super().__init__(depth=4000)
        self._clients: dict[str, Any] = {}
        self._images: Any = None
        self.clicks = self.node.create_publisher(PointStamped, "tracker/click", 10)

    def client(self, name: str, kind: str) -> Any:
        """Return a client of a service; `kind` as in "sam_msgs/AddPrompt"."""
        if name not in self._clients:
            package, _, title = kind.partition("/")
            interface = getattr(import_module(f"{package}.srv"), title)
            self._clients[name] = self.node.create_client(interface, name, qos_profile=SERVICE_QOS)
        return self._clients[name]

    def join(self) -> None:
        """Become a publisher of images."""
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import Image

        if self._images is None:
            self._images = self.node.create_publisher(Image, "image", QoSProfile(depth=10))
            self.until(self._images.get_subscription_count, PATIENCE)
            self.spin_for(1.0)  # until the other side knows it, too

    def leave(self) -> None:
        """Publish no images any more."""
        if self._images is not None:
            self.node.destroy_publisher(self._images)
            self._images = None

    def publish(self, image: Any) -> None:
        """Publish an image message, and note its header as a camera does."""
        self.published.append(key(image.header))
        self._images.publish(image)


class Stage:
    """Camera and tracker as processes, which events may end and start again.

    Args:
        folder: For weights and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.detector_weights = folder / "chaos_detector.safetensors"
        self.witness = Witness()
        self.tracker = self._tracker(self._weights())
        self.camera = Executable(
            "camera", {"rate": 10.0, "width": WIDTH, "height": HEIGHT}, log=folder / "chaos_camera.log"
        )
        self.lives = 0  # of the tracker
        self.begin = Count(0, 0, 0, {})  # when the event at hand began, or the tracker's life if that is later

    def _weights(self) -> Path:
        model = build_model("sam2.1_micro")
        make_lively(model)
        path = self.folder / "chaos_tracker.safetensors"
        save_file(model.state_dict(), path)
        torch.manual_seed(0)
        save_file(build_network("sam3_toy").state_dict(), self.detector_weights)
        return path

    def _tracker(self, weights: Path) -> Executable:
        return Executable(
            "tracker",
            {
                "model": "sam2.1_micro",
                "checkpoint": weights,
                "device": "cpu",
                "cpu_threads": 1,
                "max_objects": 4,
                "history_frames": 16,
                "detector": "sam3_toy",
                "detector_checkpoint": self.detector_weights,
                "autostart": True,
            },
            log=self.folder / "chaos_tracker.log",
        )

    # --- Processes ----------------------------------------------------------------------------------------------------

    def start_tracker(self) -> None:
        """Start the tracker, and two objects with a label each once it sees images."""
        self.tracker.start()
        self.lives += 1
        self.begin = Count(len(self.witness.published), len(self.witness.processed), 0, {})
        self.witness.reports.clear()
        self.witness.until(lambda: self.witness.reports, PATIENCE)
        self.until_results(2)
        for label, share in zip(LABELS, (0.25, 0.75), strict=True):
            x = share * WIDTH
            box = [x - 60, 40.0, x + 60, 200.0]
            assert self.ask("add_prompt", "sam_msgs/AddPrompt", box=box, label=label).success
        self.until_results(10)  # until all caches are warm

    def restart_tracker(self, how: signal.Signals) -> int:
        """End the tracker by a signal, start a new one and return the exit code of the old one."""
        code = self.tracker.stop(how)
        self.start_tracker()
        return code

    def start_camera(self) -> None:
        """Start the camera and wait until its images are tracked."""
        self.camera.start()
        seen = len(self.witness.published)
        self.witness.until(lambda: len(self.witness.published) > seen, PATIENCE)
        self.until_results(2)

    def take_turns(self, *, camera: bool) -> None:
        """Let the camera publish images, or else the witness; never both, and nobody does afterwards."""
        if camera:
            self.witness.leave()
            if not self.camera.running:
                self.start_camera()
            self.pause()
        else:
            if self.camera.running:
                self.camera.stop()
            self.witness.join()

    def pause(self) -> None:
        """Stop the camera's process, if it runs, so that counts can be read."""
        if self.camera.running:
            self.camera.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the camera's process go on, if it runs."""
        if self.camera.running:
            self.camera.send(signal.SIGCONT)

    def memory(self) -> float:
        """Return the tracker's resident memory, MiB."""
        return int(Path(f"/proc/{self.tracker.pid}/statm").read_text().split()[1]) * PAGE / 2**20

    # --- Conversation -------------------------------------------------------------------------------------------------

    def ask(self, name: str, kind: str, **request: Any) -> Any:
        """Call a service and return its answer.

        Raises:
            TimeoutError: There is none.
        """
        client = self.witness.client(f"tracker/{name}", kind)
        self.witness.until(client.service_is_ready, PATIENCE)
        future = client.call_async(client.srv_type.Request(**request))
        self.witness.until(future.done, PATIENCE)
        return future.result()

    def objects(self) -> dict[int, str]:
        """Return ids and labels of the tracked objects."""
        answer = self.ask("list_objects", "sam_msgs/ListObjects")
        return {item.id: item.label for item in answer.objects}

    def until_results(self, count: int) -> None:
        """Wait for so many more results."""
        seen = len(self.witness.processed)
        self.witness.until(lambda: len(self.witness.processed) >= seen + count, PATIENCE)

    def publish(
        self, images: Sequence[np.ndarray], stamps: Sequence[int] | None = None, period: float = PERIOD
    ) -> None:
        """Be the camera for a while: publish arrays (H, W, 3), with stamps in ns or the time of publication."""
        from std_msgs.msg import Header

        for index, image in enumerate(images):
            stamp = time.time_ns() if stamps is None else stamps[index]
            header = Header(stamp=to_time(stamp), frame_id="witness")
            self.witness.publish(array_to_image(image, "rgb8", header))
            self.witness.spin_for(period)

    # --- Accounts -----------------------------------------------------------------------------------------------------

    def count(self) -> Count:
        """Return what is counted now, once the counts stand still."""
        self._settle()
        report = self.witness.reports[-1]
        drops = {name.partition(": ")[2]: int(n) for name, n in report.items() if name.startswith("images dropped")}
        return Count(len(self.witness.published), len(self.witness.processed), int(report["images processed"]), drops)

    def _settle(self) -> None:
        """Wait until two reports in a row say the same."""

        def counts() -> list[Any]:
            return [[v for k, v in r.items() if k.startswith("images")] for r in self.witness.reports[-2:]]

        def still() -> bool:
            seen = counts()
            return len(seen) == 2 and seen[0] == seen[1]

        self.witness.reports.clear()
        self.witness.until(still, PATIENCE)
        self.witness.spin_for(0.2)

    def close(self) -> None:
        """End both processes."""
        for process in (self.camera, self.tracker):
            if process.running:
                os.kill(process.pid, signal.SIGCONT)
                process.stop()


def pictures(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    """Return images (H, W, 3) of a pattern that moves."""
    ys, xs = np.mgrid[:height, :width]
    return [np.stack(((xs + 5 * i) % 256, ys % 256, (xs + ys) % 256), axis=-1).astype(np.uint8) for i in range(count)]
