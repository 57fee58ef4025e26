"""Detect concepts while a tracker runs: what it costs the tracking, and whether it changes a mask.

    python -m benchmarks.node.detection_load --rounds 6

Two processes: this one is the camera and the operator, the other is the tracker with a detector in it. The next image
is published as soon as the objects of the last one have come, so the tracking runs as fast as it can; with --rate,
images come at a camera's pace, whether the tracker keeps up or not. Rounds without and with a detection take turns, so
that what else the machine does meets both alike. Afterwards the images that were tracked are tracked again without ROS
and without a detector: every mask must be the same, also with --track, where found objects are carried to the newest
image and join the others for a while.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam_core import Prompt, build_tracker
from sam_core.build import build_model
from sam_core.synthetic import DemoScene
from sam_ros.runtime.domain import private_domain
from sam_ros.runtime.processes import Executable

TARGET_LOSS = 15.0  # % of the tracking rate
TARGET_SECONDS = 1.0  # least time of a detection

# A detector of SAM 3's structure that takes a CPU core one to two seconds.
DETECTOR = [
    "sizes.image_size=672",
    "sizes.channels=64",
    "sizes.hidden=256",
    "model.backbone.vision_backbone.trunk.width=256",
    "model.backbone.vision_backbone.trunk.depth=24",
    "model.backbone.vision_backbone.trunk.window=24",
    "model.backbone.vision_backbone.trunk.global_blocks=[5,11,17,23]",
]
PHRASES = ["red disc", "yellow cup"]


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6, help="rounds without and with a detection, each")
    parser.add_argument("--rate", type=float, default=0.0, help="images/s; 0: the next when the last is tracked")
    parser.add_argument("--track", action="store_true", help="track what is found, and so measure the catching up, too")
    parser.add_argument("--instances", type=int, default=2, help="most instances for each of two phrases")
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--checkpoint", default="", help="default: the weights that ship, else random ones")
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--detector", default="sam3_toy")
    parser.add_argument("--detector-checkpoint", default="")
    parser.add_argument("--detector-overrides", nargs="*", default=DETECTOR, metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cpu-threads", type=int, default=1, help="of the tracker; the detector has one")
    parser.add_argument("--objects", type=int, default=2, help="objects to track")
    parser.add_argument("--history", type=int, default=300, help="images that the tracker keeps for late prompts")
    parser.add_argument("--logs", type=Path, default=Path("."), help="folder for the tracker's log")
    return parser.parse_args(args)


@dataclass
class Window:
    """A stretch of the run.

    Attributes:
        frames: Images tracked in it.
        seconds: How long it took.
        detection: What the detector says it took, s; 0 without one.
    """

    frames: int
    seconds: float
    detection: float = 0.0

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.frames / self.seconds


@dataclass
class Run:
    """What happened.

    Attributes:
        windows: Without and with a detection, in turns.
        masks: By the number of the image, the mask of each object, bool (H, W) packed into bits.
        prompts: (number of the newest image, point (x, y) px) of each object, in the order of their ids.
        found: Instances that were tracked.
    """

    windows: list[Window] = field(default_factory=list)
    masks: dict[int, dict[int, NDArray[np.uint8]]] = field(default_factory=dict)
    prompts: dict[int, tuple[int, tuple[float, float]]] = field(default_factory=dict)
    found: int = 0


class Operator:
    """Publishes images one by one, and asks for detections."""

    def __init__(self, scene: DemoScene) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile
        from sam_msgs.msg import TrackedObjectArray
        from sam_msgs.srv import AddPrompt, DetectConcept, RemoveObject
        from sensor_msgs.msg import Image

        self.scene = scene
        self.node = rclpy.create_node("operator")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.images = self.node.create_publisher(Image, "image", QoSProfile(depth=10))
        self.node.create_subscription(TrackedObjectArray, "tracker/objects", self._on_objects, QoSProfile(depth=100))
        self.add_prompt = self.node.create_client(AddPrompt, "tracker/add_prompt")
        self.detect_concept = self.node.create_client(DetectConcept, "tracker/detect_concept")
        self.remove_object = self.node.create_client(RemoveObject, "tracker/remove_object")
        self.run = Run()
        self.sent = 0
        self.newest: dict[int, NDArray[np.uint8]] = {}
        self.period = 0.0  # s between two images; 0: the next when the last is tracked
        self.due = 0.0

    def _on_objects(self, message: Any) -> None:
        height, width = self.scene.height, self.scene.width
        masks = {}
        for item in message.objects:
            full = np.zeros((height, width), bool)
            if item.box.width:
                rows = slice(item.box.y_offset, item.box.y_offset + item.box.height)
                columns = slice(item.box.x_offset, item.box.x_offset + item.box.width)
                crop = np.frombuffer(item.mask.data, np.uint8).reshape(item.mask.height, item.mask.width)
                full[rows, columns] = crop == 255
            masks[item.id] = np.packbits(full)
        self.run.masks[message.header.stamp.sec - 1] = masks
        self.newest = masks

    def until(self, condition: Callable[[], Any], timeout: float = 300.0) -> None:
        """Spin until a condition is true."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("the tracker does not answer; see its log")
            self.executor.spin_once(timeout_sec=0.05)

    def track(self) -> None:
        """Publish the next image when its time has come, and wait for its objects or for the next one's time."""
        from std_msgs.msg import Header

        from sam_ros.conversions.encodings import array_to_image
        from sam_ros.conversions.stamps import to_time

        # Stamps of its own: the image's number, so that the run can be played again.
        header = Header(stamp=to_time((self.sent + 1) * 10**9), frame_id="camera")
        self.images.publish(array_to_image(picture(self.scene, self.sent), "rgb8", header))
        self.sent += 1
        if not self.period:
            self.until(lambda: len(self.run.masks) == self.sent)
            return
        self.due = max(self.due + self.period, time.monotonic())
        while (left := self.due - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def window(self, done: Callable[[], bool]) -> Window:
        """Track until something is done."""
        begin, first = time.monotonic(), len(self.run.masks)
        while not done() or len(self.run.masks) == first:
            self.track()
        return Window(len(self.run.masks) - first, time.monotonic() - begin)

    def ask(self, client: Any, request: Any) -> Any:
        """Call a service and wait for its answer."""
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        answer = future.result()
        if not answer.success:
            raise RuntimeError(f"the tracker refused: {answer.message}")
        return answer

    def prompt(self, point: tuple[float, float]) -> None:
        """Click an object once."""
        from sam_msgs.msg import LabeledPoint
        from sam_msgs.srv import AddPrompt

        clicked = LabeledPoint(x=point[0], y=point[1], label=LabeledPoint.POSITIVE)
        answer = self.ask(self.add_prompt, AddPrompt.Request(points=[clicked]))
        self.run.prompts[answer.object_id] = (self.sent - 1, point)

    def detect(self, *, track: bool, instances: int) -> Window:
        """Track until a detection has answered."""
        from sam_msgs.srv import DetectConcept, RemoveObject

        request = DetectConcept.Request(
            phrases=PHRASES, score_threshold=0.0, match_iou=1.0, max_instances=instances, action=int(track)
        )
        future = self.detect_concept.call_async(request)
        window = self.window(future.done)
        answer = future.result()
        if not answer.success:
            raise RuntimeError(f"the tracker refused: {answer.message}")
        window.detection = answer.duration
        if track:  # the window goes on until all have caught up
            ids = {item.object_id for item in answer.instances}
            rest = self.window(lambda: ids <= self.newest.keys())
            window = Window(window.frames + rest.frames, window.seconds + rest.seconds, window.detection)
            self.run.found += len(ids)
            for object_id in ids:
                self.ask(self.remove_object, RemoveObject.Request(object_id=object_id))
        return window


def picture(scene: DemoScene, index: int) -> NDArray[np.uint8]:
    """Return the image of a number."""
    return np.ascontiguousarray(scene.render(index % scene.length).image)


def run(options: argparse.Namespace) -> bool:
    """Run the tracker, print what was found, and return whether everything holds."""
    import rclpy

    torch.set_num_threads(options.cpu_threads)
    with tempfile.TemporaryDirectory() as folder:
        weights = options.checkpoint or shipped(options) or random_weights(options, Path(folder))
        parameters = {
            "autostart": True,
            "model": options.model,
            "checkpoint": weights,
            "overrides": [*options.overrides, ""],
            "device": options.device,
            "cpu_threads": options.cpu_threads,
            "history_frames": options.history,
            "detector": options.detector,
            "detector_checkpoint": options.detector_checkpoint,
            "detector_overrides": [*options.detector_overrides, ""],
            "qos_overrides./image.subscription.reliability": "reliable",
        }
        rclpy.init(args=[])
        operator = Operator(DemoScene())
        with Executable("tracker", parameters, log=options.logs / "detection_load_tracker.log"):
            operator.until(lambda: operator.images.get_subscription_count())
            operator.until(lambda: operator.node.count_publishers("tracker/objects"))
            operator.track()
            for number in range(options.objects):
                operator.prompt(middle(operator.scene, number + 1))
            operator.until(operator.detect_concept.service_is_ready)
            operator.period = 1 / options.rate if options.rate else 0.0
            warm_up = operator.detect(track=options.track, instances=options.instances)
            for _ in range(options.rounds):
                end = time.monotonic() + warm_up.seconds
                operator.run.windows.append(operator.window(lambda end=end: time.monotonic() > end))  # type: ignore[misc]
                operator.run.windows.append(operator.detect(track=options.track, instances=options.instances))
        rclpy.try_shutdown()
        return judge(operator, compare(operator, options, weights), options)


def shipped(options: argparse.Namespace) -> str:
    """Return the package's own weights for the model; empty if there are none."""
    from sam_core.build import shipped_weights

    return str(shipped_weights(options.model) or "")


def random_weights(options: argparse.Namespace, folder: Path) -> str:
    """Write random weights, so that both sides have the same."""
    torch.manual_seed(0)
    torch.save({"model": build_model(options.model, options.overrides).state_dict()}, folder / "random.pt")
    return str(folder / "random.pt")


def middle(scene: DemoScene, number: int) -> tuple[float, float]:
    """Return a point (x, y) px on an object of the first image."""
    ys, xs = np.nonzero(scene.render(0).labels == number)
    return float(xs[len(xs) // 2]), float(ys[len(ys) // 2])


def compare(operator: Operator, options: argparse.Namespace, weights: str) -> tuple[int, int, int]:
    """Track all images again without ROS and detector.

    Returns:
        The numbers of masks, of those that differ, and of pixels by which one differs at worst.
    """
    tracker = build_tracker(options.model, weights, device=options.device, overrides=options.overrides)
    stream = tracker.open_stream()
    compared = different = worst = 0
    for index, masks in sorted(operator.run.masks.items()):
        result = stream.step(picture(operator.scene, index), index)
        for object_id, mask in zip(result.object_ids, result.masks.cpu().numpy(), strict=True):
            compared += 1
            pixels = int(np.unpackbits(np.packbits(mask) ^ masks[object_id]).sum())
            different += pixels > 0
            worst = max(worst, pixels)
        for newest, point in operator.run.prompts.values():
            if newest == index:
                stream.add_prompt(Prompt(points=[point]))
    return compared, different, worst


def judge(operator: Operator, masks: tuple[int, int, int], options: argparse.Namespace) -> bool:
    """Print the figures and return whether the targets are met."""
    without, with_ = operator.run.windows[::2], operator.run.windows[1::2]
    print("| round | without [Hz] | with [Hz] | loss [%] | detection [s] |")
    print("|---|---|---|---|---|")
    losses = [100 * (1 - b.rate / a.rate) for a, b in zip(without, with_, strict=True)]
    for i, (a, b, loss) in enumerate(zip(without, with_, losses, strict=True), 1):
        print(f"| {i} | {a.rate:.1f} | {b.rate:.1f} | {loss:.1f} | {b.detection:.2f} |")
    compared, different, worst = masks
    shortest = min(window.detection for window in with_)
    total = 100 * (1 - overall(with_) / overall(without))
    checks = [
        (f"least time of a detection in s (target {TARGET_SECONDS})", round(shortest, 2), shortest >= TARGET_SECONDS),
        (f"loss of tracking rate in %, median of rounds (target {TARGET_LOSS})", *judged(median(losses))),
        (f"loss of tracking rate in %, all rounds together (target {TARGET_LOSS})", *judged(total)),
        (f"masks of {compared} that differ from those without a detector", different, compared and not different),
        ("pixels by which they differ at worst", worst, not worst),
    ]
    for what, value, good in checks:
        print(f"{'ok  ' if good else 'FAIL'}  {what}: {value}")
    print(f"mean rates: {mean(w.rate for w in without):.1f} Hz without, {mean(w.rate for w in with_):.1f} Hz with")
    if options.track:
        print(f"instances tracked from the image that they were found in: {operator.run.found}")
    return all(good for *_, good in checks)


def overall(windows: Sequence[Window]) -> float:
    """Return the rate over several windows in Hz."""
    return sum(window.frames for window in windows) / sum(window.seconds for window in windows)


def judged(loss: float) -> tuple[float, bool]:
    """Round a loss in %, and say whether it is small enough."""
    return round(loss, 1), loss <= TARGET_LOSS


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    options = parse(args)
    with private_domain():
        return 0 if run(options) else 1


if __name__ == "__main__":
    sys.exit(main())
