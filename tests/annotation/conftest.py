"""Shared by the tests of `sam_ros.annotation`: a short clip, its bags, and small weights that are always the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from safetensors.torch import save_file

from benchmarks.reference.weights import make_lively
from sam_core.build import build_model
from sam_ros.annotation.__main__ import main
from sam_ros.annotation.models import Models, ModelSettings, load_models
from sam_ros.annotation.typestore import typestore

torch.set_num_threads(1)

FRAMES, HEIGHT, WIDTH = 12, 96, 128
START, PERIOD = 1_700_000_000_000_000_000, 100_000_000  # ns
IMAGE = "sensor_msgs/msg/Image"


@pytest.fixture(scope="session")
def clip() -> NDArray[np.uint8]:
    """(T, H, W, 3) RGB: two squares move over noise."""
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 90, (1, HEIGHT, WIDTH, 3), dtype=np.uint8), FRAMES, 0)
    for k in range(FRAMES):
        images[k, 20:50, 10 + 4 * k : 40 + 4 * k] = (220, 60, 40)
        images[k, 55:85, 80 - 3 * k : 110 - 3 * k] = (40, 200, 90)
    return images


def image_message(image: NDArray[Any], stamp: int, encoding: str = "rgb8", frame_id: str = "camera") -> Any:
    """Return an image as rosbags holds it."""
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    header = types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)
    step = image.nbytes // image.shape[0]
    size = {"height": image.shape[0], "width": image.shape[1], "step": step}
    data = np.ascontiguousarray(image).reshape(-1).view(np.uint8)
    return types[IMAGE](header=header, encoding=encoding, is_bigendian=0, data=data, **size)


def write_bag(
    path: Path,
    messages: list[tuple[int, Any]],
    *,
    topic: str = "/image",
    kind: str = IMAGE,
    plugin: StoragePlugin = StoragePlugin.MCAP,
    mode: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write messages of one topic; the first of each pair is when it was recorded, ns."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    if mode is not CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(topic, kind, typestore=typestore())
        for time, message in messages:
            writer.write(connection, time, typestore().serialize_cdr(message, kind))
    return path


@pytest.fixture(scope="session")
def messages(clip: NDArray[np.uint8]) -> list[tuple[int, Any]]:
    """The clip as messages, each recorded a millisecond after its stamp."""
    stamps = [START + k * PERIOD for k in range(FRAMES)]
    return [(stamp + 10**6, image_message(image, stamp)) for stamp, image in zip(stamps, clip, strict=True)]


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory, messages: list[tuple[int, Any]]) -> Path:
    """The clip as a bag."""
    return write_bag(tmp_path_factory.mktemp("bags") / "clip", messages)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the small model, always the same."""
    torch.manual_seed(0)
    model = build_model("sam2.1_micro")
    make_lively(model)
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path


@pytest.fixture(autouse=True)
def _models_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_ros.annotation.models.load_models", _loaded)


@cache
def _loaded(settings: ModelSettings, *, with_concepts: bool) -> Models:
    return load_models(settings, with_concepts=with_concepts)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A box on frame 4, a correction of it on frame 8, and a click on frame 0."""
    path = tmp_path / "prompts.yaml"
    path.write_text(PROMPTS, encoding="utf-8")
    return path


PROMPTS = """
objects:
  - label: green
    prompts:
      - {stamp: 1700000000.02, points: [[95, 70]]}
  - label: red
    prompts:
      - {frame: 4, box: [26, 20, 56, 50]}
      - {frame: 8, points: [[57, 35], [5, 5]], labels: [1, 0]}
"""


@pytest.fixture
def annotate(weights: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Return a function that runs `sam-annotate track` with the small model, and returns status and texts."""

    def call(*arguments: Any) -> SimpleNamespace:
        model = ("--model", "sam2.1_micro", "--checkpoint", weights, "--device", "cpu", "--dtype", "float32")
        if "--write" not in arguments:
            model = ("--write", "csv", *model)
        status = main([str(part) for part in ("track", *arguments, *model, "--quiet", "--threads", 1)])
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return call
