"""The Ray engine on this machine's processors: the same numbers as in one process, and failures that stay apart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sam_ros.annotation.command_line import _track_together
from sam_ros.annotation.engine import Engine
from sam_ros.annotation.local_engine import LocalEngine
from sam_ros.annotation.models import ModelSettings
from sam_ros.annotation.results import Results
from sam_ros.annotation.run import Request
from sam_ros.annotation.tracking import Interrupted

from .conftest import PROMPTS, write_bag

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Two processors, whatever the machine has."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="warning")
    yield
    ray.shutdown()


@pytest.fixture
def requests(messages: list[Any], weights: Path, tmp_path: Path) -> list[Request]:
    """Two recordings with different settings of the model, and one whose prompt is beyond its end."""
    (tmp_path / "prompts.yaml").write_text(PROMPTS, encoding="utf-8")
    model = ModelSettings("sam2.1_micro", str(weights), device="cpu", dtype="float32", threads=1)
    whole = write_bag(tmp_path / "whole", messages)
    short = write_bag(tmp_path / "short", messages[:10])
    cut = write_bag(tmp_path / "cut", messages[:9])
    request = Request(whole, Path(), prompts=tmp_path / "prompts.yaml", outputs=("csv",), model=model)
    return [
        request,
        replace(request, recording=short, model=replace(model, mask_threshold=-1.0)),
        replace(request, recording=cut, model=replace(model, checkpoint=str(tmp_path / "none.safetensors"))),
    ]


def track(requests: list[Request], folder: Path, engine: Engine) -> int:
    own = [replace(one, folder=folder / one.recording.name) for one in requests]
    return (
        sum(_track_together([one], engine, len(own), show=False) for one in own)
        if not engine.at_once
        else (_track_together(own, engine, len(own), show=False))
    )


def ray_engine(stopping: threading.Event) -> Engine:
    from sam_ros.annotation.ray_engine import RayEngine

    return RayEngine(stopping, workers=2, show=False)


def test_recordings_are_tracked_as_in_one_process(
    requests: list[Request], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = track(requests, tmp_path / "ray", ray_engine(threading.Event()))
    told = capsys.readouterr().err
    assert track(requests, tmp_path / "local", LocalEngine(threading.Event(), show=False)) == failed == 1

    assert "none.safetensors" in told
    assert "none.safetensors" in capsys.readouterr().err
    for name in ("whole", "short"):
        one, other = (tmp_path / engine / name / "boxes.csv" for engine in ("ray", "local"))
        assert one.read_bytes() == other.read_bytes()


def test_parts_are_joined_as_in_one_process(requests: list[Request], tmp_path: Path) -> None:
    parts = [replace(requests[0], parts=3, overlap=2)]

    assert track(parts, tmp_path / "ray", ray_engine(threading.Event())) == 0
    assert track(parts, tmp_path / "local", LocalEngine(threading.Event(), show=False)) == 0

    one, other = (list(Results.of_run(tmp_path / engine / "whole").read()) for engine in ("ray", "local"))
    assert one == other


def test_a_run_that_is_stopped_goes_on(requests: list[Request], tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()

    with pytest.raises(Interrupted):
        track(requests[:1], tmp_path / "run", ray_engine(stopping))
    assert track(requests[:1], tmp_path / "run", ray_engine(threading.Event())) == 0
    assert (tmp_path / "run" / "whole" / "boxes.csv").is_file()
