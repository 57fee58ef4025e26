"""A DDS domain of the tests' own, a client to talk to nodes, and one running tracker that many tests share."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("rclpy") is None:  # ROS-free environments test sam_core alone
    collect_ignore_glob = ["*"]
else:
    from sam_ros.runtime.domain import private_domain
    from sam_ros.runtime.processes import Executable

    _DOMAIN = private_domain()  # before rclpy is imported; the lock is held until the session ends

    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from geometry_msgs.msg import PointStamped
    from lifecycle_msgs.srv import GetState
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
    from sam_msgs.msg import LabeledPoint, TrackedObjectArray
    from sam_msgs.srv import AddPrompt, ListObjects, RemoveObject
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header
    from std_srvs.srv import SetBool, Trigger
    from vision_msgs.msg import Detection2DArray, LabelInfo

    from sam_ros.conversions.encodings import array_to_image
    from sam_ros.conversions.stamps import stamp_of, to_time

PATIENCE = 10.0  # s after which a question is asked again
TIMEOUT = 60.0  # s: how long a loaded machine may take for what takes milliseconds
_NUMBERS = itertools.count()  # of the clients' nodes: names are unique
# Tests publish images one by one and want each to arrive; a real camera's newest one is enough.
RELIABLE_IMAGES = {"qos_overrides./image.subscription.reliability": "reliable"}


class Client:
    """The other side of a tracker: publishes images and prompts, collects what comes back."""

    _stamps = itertools.count(1000 * 10**9, 33_333_333)  # time goes on from test to test

    def __init__(
        self, node: Node, executor: SingleThreadedExecutor, tracker: str = "/tracker", image: str = "/image"
    ) -> None:
        self.node = node
        self.tracker = tracker
        self._executor = executor
        self._clients: dict[str, Any] = {}
        self.objects: dict[int, TrackedObjectArray] = {}
        self.detections: dict[int, Detection2DArray] = {}
        self.label_images: dict[int, Image] = {}
        self.overlays: dict[int, Image] = {}
        self.order: list[int] = []
        self.label_info: LabelInfo | None = None
        self.diagnostics: dict[str, str] = {}
        self.level = b""
        self.message = ""
        reliable = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.images = node.create_publisher(Image, image, reliable)
        self.clicks = node.create_publisher(PointStamped, f"{tracker}/click", 10)
        for kind, topic, store in (
            (TrackedObjectArray, "objects", self.objects),
            (Detection2DArray, "detections", self.detections),
            (Image, "label_image", self.label_images),
            (Image, "overlay", self.overlays),
        ):
            node.create_subscription(kind, f"{tracker}/{topic}", self._keep(store), reliable)
        for kind, name in ((AddPrompt, "add_prompt"), (ListObjects, "list_objects"), (RemoveObject, "remove_object")):
            self._clients[name] = node.create_client(kind, f"{tracker}/{name}")
        node.create_subscription(LabelInfo, f"{tracker}/label_info", self._on_label_info, latched)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _keep(self, store: dict[int, Any]) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            store[stamp_of(message.header)] = message
            if store is self.objects:
                self.order.append(stamp_of(message.header))

        return keep

    def _on_label_info(self, message: LabelInfo) -> None:
        self.label_info = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self.tracker}: tracking":
                self.level, self.message = status.level, status.message
                self.diagnostics = {item.key: item.value for item in status.values}

    def until(self, condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
        """Spin until a condition is true and return its value; raise TimeoutError after `timeout` s."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            self._executor.spin_once(timeout_sec=0.05)
        raise TimeoutError(f"waited {timeout} s for {what}")

    def client(self, kind: type, name: str) -> Any:
        """Return a client whose service is there; `name` is relative to the tracker unless it begins with a slash."""
        if name not in self._clients:
            full = name if name.startswith("/") else f"{self.tracker}/{name}"
            self._clients[name] = self.node.create_client(kind, full)
        client = self._clients[name]
        self.until(client.service_is_ready, f"service {name}")
        return client

    def call(self, kind: type, name: str, /, **request: Any) -> Any:
        """Call a service and return its response."""
        client = self.client(kind, name)
        give_up = time.monotonic() + TIMEOUT
        # A service is "ready" once this side knows it; until it knows this side, its answer is lost (rmw_fastrtps).
        # Asking again is harmless for all but add_prompt, which no test calls first.
        while True:
            future = client.call_async(kind.Request(**request))
            try:
                self.until(future.done, f"an answer of {name}", TIMEOUT if kind is AddPrompt else PATIENCE)
            except TimeoutError:
                if kind is AddPrompt or time.monotonic() > give_up:
                    raise
            else:
                return future.result()

    def header(self) -> Header:
        """Return a header with a new stamp, a 30th of a second after the previous one."""
        return Header(stamp=to_time(next(self._stamps)), frame_id="test_camera")

    def publish(self, pixels: np.ndarray, encoding: str = "rgb8", header: Header | None = None) -> int:
        """Publish an image and return its stamp."""
        image = array_to_image(pixels, encoding, self.header() if header is None else header)
        self.images.publish(image)
        return stamp_of(image.header)

    def track(self, pixels: np.ndarray, encoding: str = "rgb8", header: Header | None = None) -> TrackedObjectArray:
        """Publish an image and return the objects found in it."""
        self.until(self.connected, "the tracker's subscription and publishers")
        stamp = self.publish(pixels, encoding, header)
        return self.until(lambda: self.objects.get(stamp), f"the objects of image {stamp}")

    def wait_until_active(self) -> None:
        """Wait until the tracker, which may have been started just now, is active."""
        self.until(lambda: self.call(GetState, "get_state").current_state.label == "active", "the tracker to be active")

    def connected(self) -> bool:
        """Say whether images reach the tracker and its objects reach us."""
        publishers = self.node.count_publishers(f"{self.tracker}/objects")
        return self.images.get_subscription_count() > 0 and publishers > 0

    def prompt(self, *points: tuple[float, float], negative: tuple[tuple[float, float], ...] = (), **more: Any) -> Any:
        """Call add_prompt with points."""
        clicks = [LabeledPoint(x=float(x), y=float(y), label=LabeledPoint.POSITIVE) for x, y in points]
        clicks += [LabeledPoint(x=float(x), y=float(y), label=LabeledPoint.NEGATIVE) for x, y in negative]
        return self.call(AddPrompt, "add_prompt", points=clicks, **more)

    def call_prompt_with_mask(self) -> Any:
        """Start an object with the square of `draw_picture(0)` as its mask."""
        mask = np.zeros((96, 128), np.uint8)
        mask[30:60, 20:50] = 255
        return self.call(AddPrompt, "add_prompt", mask=array_to_image(mask, "mono8", Header()))

    def list(self) -> Any:
        """Call list_objects."""
        return self.call(ListObjects, "list_objects")

    def remove(self, object_id: int) -> Any:
        """Call remove_object."""
        return self.call(RemoveObject, "remove_object", object_id=object_id)

    def reset(self) -> Any:
        """Call reset."""
        return self.call(Trigger, "reset")

    def pause(self, on: bool) -> Any:
        """Call set_paused."""
        return self.call(SetBool, "set_paused", data=on)

    def label_names(self) -> list[str]:
        """Return the class names of the newest label info."""
        return [] if self.label_info is None else [entry.class_name for entry in self.label_info.class_map]

    def dropped(self, cause: str) -> int:
        """Return a count of dropped images as the newest diagnostics give it."""
        return int(self.diagnostics.get(f"images dropped: {cause}", 0))


def draw_picture(index: int, height: int = 96, width: int = 128) -> np.ndarray:
    """Return one of endlessly many pictures (H, W, 3) RGB: a bright square that moves over a pattern."""
    ys, xs = np.mgrid[:height, :width]
    image = np.stack((xs * 2 % 256, ys * 2 % 256, (xs + ys) % 256), axis=-1).astype(np.uint8)
    left = 20 + 3 * index % 60
    image[30:60, left : left + 30] = (250, 240, 230)
    return image


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """Give the tests their pictures."""
    return draw_picture


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Parameters of a tracker that is quick, always the same, and sees something: masks of about half the picture."""
    import torch
    from safetensors.torch import save_file

    from sam_core.build import build_model

    with torch.random.fork_rng():
        torch.manual_seed(10)
        weights = build_model("sam2.1_micro").state_dict()
    weights["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(6.0)  # objects are always there
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    save_file(weights, path)
    return {"model": "sam2.1_micro", "checkpoint": path, "device": "cpu", "cpu_threads": 1, "max_objects": 4}


@pytest.fixture(scope="session")
def ros() -> Iterator[None]:
    rclpy.init()
    yield
    rclpy.try_shutdown()


def _clients() -> Iterator[Callable[..., Client]]:
    executor = SingleThreadedExecutor()
    nodes: list[Node] = []

    def make(tracker: str = "/tracker", image: str = "/image") -> Client:
        nodes.append(Node(f"test_client_{next(_NUMBERS)}"))
        executor.add_node(nodes[-1])
        return Client(nodes[-1], executor, tracker, image)

    yield make
    for node in nodes:
        executor.remove_node(node)
        node.destroy_node()
    executor.shutdown()


@pytest.fixture
def make_client(ros: None) -> Iterator[Callable[..., Client]]:
    """Make clients that vanish with the test."""
    yield from _clients()


@pytest.fixture(scope="module")
def make_lasting_client(ros: None) -> Iterator[Callable[..., Client]]:
    """Make clients that vanish with the module."""
    yield from _clients()


@pytest.fixture(scope="package")
def make_package_client(ros: None) -> Iterator[Callable[..., Client]]:
    """Make clients that stay for the tests of all modules."""
    yield from _clients()


@pytest.fixture(scope="session")
def running_tracker(tmp_path_factory: pytest.TempPathFactory, ros: None, micro: dict[str, Any]) -> Iterator[Executable]:
    """Run one tracker process for all tests that leave it as they found it."""
    log = tmp_path_factory.mktemp("tracker") / "log"
    with Executable(
        "tracker", {**micro, **RELIABLE_IMAGES, "autostart": True, "overlay_clicks": True}, log=log
    ) as process:
        yield process
        assert process.running, process.output()
    assert process.exit_code == 0, process.output()


@pytest.fixture(scope="session")
def _shared_client(running_tracker: Executable) -> Iterator[Client]:
    clients = _clients()
    client = next(clients)()
    client.wait_until_active()
    yield client
    clients.close()


@pytest.fixture
def client(_shared_client: Client, running_tracker: Executable) -> Client:
    """A client of the shared tracker, which holds no objects and is not paused."""
    _shared_client.pause(False)
    assert _shared_client.reset().success, running_tracker.output()
    return _shared_client


@pytest.fixture
def make_process(tmp_path: Path) -> Iterator[Callable[..., Executable]]:
    """Start processes that end with the test."""
    running: list[Executable] = []

    def make(name: str, parameters: dict[str, Any] | None = None, **more: Any) -> Executable:
        running.append(Executable(name, parameters, log=tmp_path / f"{name}_{len(running)}.log", **more))
        running[-1].start()
        return running[-1]

    yield make
    for process in running:
        process.stop()
        print(f"--- {process.log}, ended with {process.exit_code}\n{process.output()}")  # seen where a test fails
