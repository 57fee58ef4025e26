"""The camera as a real process, and its sources."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sam_core.synthetic import DemoScene
from sam_ros.camera.sources import SourceError, open_source
from sam_ros.conversions.compressed import compressed_to_rgb
from sam_ros.conversions.encodings import image_to_rgb
from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.processes import Executable

BEST_EFFORT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)


def colours(count: int) -> list[np.ndarray]:
    """Return `count` pictures (48, 64, 3) BGR that codecs cannot mix up: each of one grey value."""
    return [np.full((48, 64, 3), 20 + 40 * i, np.uint8) for i in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, image in zip((1, 2, 10, 11), colours(4), strict=True):
        cv2.imwrite(str(folder / f"Frame{i}.png"), image)
    (folder / "notes.txt").write_text("no picture")
    (folder / "._Frame1.png").write_bytes(b"what macOS leaves beside a file")
    cv2.imwrite(str(folder / ".Frame0.png"), colours(1)[0] + 99)
    (folder / "Frame3.png").write_bytes(b"cut off")
    (folder / "Frame4.png").mkdir()
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (64, 48))
    for image in colours(5):
        writer.write(image)
    writer.release()
    return path


def greys(source: Any) -> list[float]:
    return [float(picture.image.mean()) for picture in source]


def test_the_shipped_clip() -> None:
    source = open_source("cup", width=0, height=0, rate=0.0)
    pictures = list(source)
    assert len(pictures) == 217
    assert pictures[0].image.shape == (480, 640, 3)
    assert source.rate == pytest.approx(26.777)


def test_a_folder_in_the_order_of_its_names(folder: Path) -> None:
    source = open_source(str(folder), width=0, height=0, rate=0.0)
    assert greys(source) == [20, 60, 100, 140]
    assert source.skipped.count == 1
    assert source.skipped.newest.endswith("Frame3.png is no image that OpenCV can read")
    assert greys(source) == [20, 60, 100, 140], "and again from the first"
    assert source.rate is None


def test_a_folder_without_a_readable_image_says_so(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"cut off")
    with pytest.raises(SourceError, match="none of the 2 images"):
        list(open_source(str(tmp_path), width=0, height=0, rate=0.0))


def test_a_video_with_its_rate(video: Path) -> None:
    source = open_source(str(video), width=0, height=0, rate=0.0)
    assert source.rate == 25.0
    assert np.abs(np.array(greys(source)) - [20, 60, 100, 140, 180]).max() < 6
    assert len(greys(source)) == 5


def test_the_scene_with_its_truth() -> None:
    source = open_source("scene", width=160, height=120, rate=5.0)
    pictures = list(source)
    scene = DemoScene(width=160, height=120, fps=5.0)
    assert len(pictures) == scene.length
    frame = scene.render(7)
    np.testing.assert_array_equal(pictures[7].image, frame.image[..., ::-1])
    np.testing.assert_array_equal(pictures[7].labels, frame.labels)


def test_what_is_no_source_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    for name, text in (
        (tmp_path / "empty", "holds no images"),
        (tmp_path / "text.mp4", "no video"),
        ("12", "webcam 12"),
        ("/dev/video63", "webcam 63"),
        ("rtsp://user:secret@127.0.0.1:9/stream", "^rtsp://127.0.0.1:9/stream is no video"),
        ("/dev/null", "neither a scene"),
    ):
        with pytest.raises(SourceError, match=text):
            open_source(str(name), width=0, height=0, rate=0.0)


class FakeCapture:
    """What OpenCV reads: None for a frame that it cannot."""

    def __init__(self, frames: Sequence[int | None]) -> None:
        self.frames = list(frames)

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, _: int) -> float:
        return 90000.0

    def set(self, *_: Any) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        value = self.frames.pop(0) if self.frames else None
        return value is not None, None if value is None else np.full((4, 4, 3), value, np.uint8)

    def release(self) -> None: ...


def test_a_webcam_is_opened_by_its_device_and_goes_on_after_bad_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def capture(name: Any) -> FakeCapture:
        opened.append(name)
        return FakeCapture([1, None, None, 2, *[None] * 9, 3])

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    source = open_source("/dev/video7", width=0, height=0, rate=0.0)
    assert opened == [7]
    assert greys(source) == [1, 2, 3]
    assert source.skipped.count == 11
    assert source.rate is None, "90 kHz is the clock of a network stream"


def test_a_stream_is_opened_by_its_address(video: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(video.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{video.name}"
        assert len(greys(open_source(address, width=0, height=0, rate=0.0))) == 5
        server.shutdown()


class Listener:
    """What a camera publishes."""

    def __init__(self, client: Any, space: str, compressed: bool = False) -> None:
        self.client = client
        self.images: list[Any] = []
        self.headers: list[Header] = []
        self.truths: dict[int, Image] = {}
        self.infos: dict[int, CameraInfo] = {}
        node = client.node
        kind, topic = (CompressedImage, "image/compressed") if compressed else (Image, "image")
        node.create_subscription(kind, f"{space}/{topic}", self.images.append, BEST_EFFORT)
        node.create_subscription(Header, f"{space}/camera/header", self.headers.append, 100)
        node.create_subscription(Image, f"{space}/camera/truth", self._on_truth, 100)
        node.create_subscription(CameraInfo, f"{space}/camera_info", self._on_info, 100)

    def _on_truth(self, message: Image) -> None:
        self.truths[stamp_of(message.header)] = message

    def _on_info(self, message: CameraInfo) -> None:
        self.infos[stamp_of(message.header)] = message

    def wait(self, count: int) -> list[Any]:
        self.client.until(lambda: len(self.images) >= count, f"{count} images")
        return self.images


@pytest.fixture
def listen(make_client: Callable[..., Any]) -> Callable[..., Listener]:
    return lambda space, **more: Listener(make_client(f"{space}/tracker"), space, **more)


def test_the_scene_is_published_with_truth_and_headers(
    listen: Callable[..., Listener], make_process: Callable[..., Executable]
) -> None:
    listener = listen("/scene")
    parameters = {"width": 160, "height": 120, "rate": 20, "frame_id": "eye", "encoding": "rgb8", "horizontal_fov": 1.5}
    make_process("camera", parameters, remappings={"__ns": "/scene"})
    listener.wait(10)
    listener.client.until(lambda: len(listener.truths) >= 5, "truths")
    image = next(image for image in listener.images if stamp_of(image.header) in listener.truths)
    truth = listener.truths[stamp_of(image.header)]
    assert image.header == truth.header
    assert (image.header.frame_id, image.encoding, image.width, image.height) == ("eye", "rgb8", 160, 120)
    assert (truth.encoding, truth.width, truth.height) == ("mono8", 160, 120)
    scene = DemoScene(width=160, height=120, fps=20.0)
    labels = np.frombuffer(truth.data, np.uint8).reshape(120, 160)
    index = next(i for i in range(scene.length) if np.array_equal(scene.render(i).labels, labels))
    np.testing.assert_array_equal(image_to_rgb(image), scene.render(index).image)
    info = next(
        info for stamp, info in listener.infos.items() if stamp in {stamp_of(i.header) for i in listener.images}
    )
    assert (info.header.frame_id, info.width, info.height) == ("eye", 160, 120)
    assert info.k[0] == pytest.approx(80 / np.tan(0.75))
    (publisher,) = listener.client.node.get_publishers_info_by_topic("/scene/image")
    assert publisher.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE
    stamps = [stamp_of(header) for header in listener.headers]
    assert stamps == sorted(set(stamps))
    now = listener.client.node.get_clock().now().nanoseconds
    assert 0 < now - stamps[-1] < 600 * 10**9, "stamps are the time of day"


def test_a_video_is_repeated(
    listen: Callable[..., Listener], make_process: Callable[..., Executable], video: Path
) -> None:
    listener = listen("/video")
    parameters = {"source": video, "rate": 50.0, "encoding": "mono8"}
    make_process("camera", parameters, remappings={"__ns": "/video"})
    images = listener.wait(12)
    assert all((image.encoding, image.width, image.height) == ("mono8", 64, 48) for image in images)
    values = [round(float(np.frombuffer(image.data, np.uint8).mean()) / 40 - 0.5) for image in images]
    assert set(values) <= {0, 1, 2, 3, 4}
    assert any(b < a for a, b in pairwise(values)), "the video began again"


@pytest.mark.parametrize(
    ("rate", "text"), [(-1, "rate out of range"), ("fast", "rate is 'fast', but must be a number")]
)
def test_a_rate_that_makes_no_sense_is_refused(make_process: Callable[..., Executable], rate: Any, text: str) -> None:
    process = make_process("camera", {"rate": rate})
    assert process.wait() == 1
    assert text in process.output()


def test_a_folder_is_published_once_and_resized(
    listen: Callable[..., Listener], make_process: Callable[..., Executable], folder: Path
) -> None:
    listener = listen("/folder")
    parameters = {"source": folder, "rate": 10.0, "loop": False, "width": 32, "height": 24}
    process = make_process("camera", parameters, remappings={"__ns": "/folder"})
    listener.client.until(lambda: "the source has ended" in process.output(), "the end of the folder")
    assert process.running, "the last image's subscribers may still want to see the node"
    assert "the source has ended; 1 pictures were skipped" in process.output()
    assert "Frame3.png is no image that OpenCV can read (1 skipped so far)" in process.output()
    assert all((image.width, image.height, image.step) == (32, 24, 96) for image in listener.images)
    assert all(info.k[0] == 0 and (info.width, info.height) == (32, 24) for info in listener.infos.values())
    assert len(listener.headers) <= 4
    assert process.stop(timeout=20) == 0, "a signal ends it, though no timer runs any more"


def test_the_first_image_waits_for_a_subscriber(
    listen: Callable[..., Listener],
    make_process: Callable[..., Executable],
    make_client: Callable[..., Any],
    folder: Path,
) -> None:
    client = make_client("/wait/tracker")
    parameters = {"source": folder, "rate": 20.0, "loop": False, "wait_for_subscriber": True}
    process = make_process("camera", parameters, remappings={"__ns": "/wait"})
    client.until(lambda: "publishing" in process.output(), "the camera to be ready")
    time.sleep(1.0)  # five times what the four images take
    assert "the source has ended" not in process.output()
    listener = listen("/wait")
    listener.client.until(lambda: "the source has ended" in process.output(), "the end of the folder")


@pytest.mark.parametrize("compression", ["jpeg", "png"])
def test_compressed_images_go_through_camera_and_tracker(
    listen: Callable[..., Listener],
    make_process: Callable[..., Executable],
    micro: dict[str, Any],
    folder: Path,
    compression: str,
) -> None:
    space = f"/{compression}"
    listener = listen(space, compressed=True)
    parameters = {"source": folder, "rate": 10.0, "compression": compression}
    make_process("camera", parameters, remappings={"__ns": space})
    limits = {"image_transport": "compressed", "autostart": True, "max_image_pixels": 64 * 48}
    tracker = make_process("tracker", {**micro, **limits}, remappings={"__ns": space})
    image = listener.wait(3)[0]
    assert image.format == compression
    value = float(compressed_to_rgb(image).mean())
    assert min(abs(value - grey) for grey in (20, 60, 100, 140)) < 3
    client = listener.client
    client.until(
        lambda: set(client.order) & {stamp_of(header) for header in listener.headers}, "results of published images"
    )
    assert client.prompt((30, 20)).success
    publisher = client.node.create_publisher(CompressedImage, f"{space}/image/compressed", BEST_EFFORT)
    large = cv2.imencode(".png", np.zeros((48, 65, 3), np.uint8))[1].tobytes()

    def refused() -> bool:
        stamp = client.node.get_clock().now().to_msg()  # as the camera's: not older than its images
        publisher.publish(CompressedImage(header=Header(stamp=stamp), format="png", data=large))
        return "65 x 48 px are more than 3072 (parameter max_image_pixels)" in tracker.output()

    client.until(refused, "the refusal of a large image")
    corrupt = CompressedImage(header=client.header(), format=compression, data=b"no image")

    def dropped() -> bool:
        publisher.publish(corrupt)  # best effort: until one arrives
        return client.dropped("unreadable image") + client.dropped("older than its predecessor") > 0

    client.until(dropped, "the drop of a corrupt image")
    count = len(client.order)
    client.until(lambda: len(client.order) > count and len(client.list().objects) == 1, "tracking that goes on")
