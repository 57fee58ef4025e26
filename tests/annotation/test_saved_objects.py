"""Objects that were saved in a live stream, as the console does it, are found again in a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from sam_core import Prompt, build_tracker
from sam_core.saved_objects import save_object
from sam_ros.annotation.__main__ import main
from sam_ros.annotation.records import decode_mask
from sam_ros.annotation.results import Results

from .conftest import FRAMES

MODEL = ("--model", "sam2_nano", "--overrides", "model.image_size=128", "--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def saved(clip: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The red square, saved from a stream that has seen the clip's last image."""
    tracker = build_tracker("sam2_nano", device="cpu", overrides=["model.image_size=128"])
    stream = tracker.open_stream(max_objects=1)
    stream.step(clip[-1], 0)
    x = 10 + 4 * (FRAMES - 1)
    stream.add_prompt(Prompt(box=[x, 20, x + 30, 50]), label="red")
    path = tmp_path_factory.mktemp("saved") / "red.safetensors"
    save_object(path, tracker, stream, 1)
    return path


def track(bag: Path, folder: Path, objects: list[dict[str, object]], *more: str) -> int:
    prompts = folder / "prompts.yaml"
    prompts.write_text(yaml.safe_dump({"objects": objects}), encoding="utf-8")
    request = ["track", str(bag), "-o", str(folder / "run"), "--prompts", str(prompts), "--write", "csv", "--quiet"]
    return main([*request, *MODEL, *more])


@pytest.mark.parametrize("parts", [1, 2])
def test_a_saved_object_is_found(parts: int, saved: Path, bag: Path, tmp_path: Path) -> None:
    objects = [{"saved": str(saved)}, {"label": "green", "prompts": [{"frame": 0, "box": [80, 55, 110, 85]}]}]

    assert track(bag, tmp_path, objects, "--parts", str(parts), "--overlap", "4") == 0

    results = Results.of_run(tmp_path / "run")
    assert dict(results.labels) == {1: "red", 2: "green"}, "the file has the label"
    seen = 0
    for frame in results.read():
        red = next(one for one in frame.objects if one.object_id == 1)
        if red.area:
            x = 10 + 4 * frame.frame
            mask = decode_mask(red.mask, frame.size) > 0
            real = np.zeros_like(mask)
            real[20:50, x : x + 30] = True
            assert (mask & real).sum() > 0.7 * (mask | real).sum(), frame.frame
            seen += 1
    assert seen >= FRAMES - 2, "it is lost until it was seen on two frames in a row"


def test_another_file_is_another_object(saved: Path, bag: Path, tmp_path: Path) -> None:
    assert track(bag, tmp_path, [{"label": "a", "saved": str(saved)}]) == 0
    other = tmp_path / "other.safetensors"
    other.write_bytes(saved.read_bytes().replace(b'"label":"red"', b'"label":"blu"'))

    assert track(bag, tmp_path, [{"label": "a", "saved": str(other)}]) == 2, "a run of other prompts"


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        ({"saved": "none.safetensors"}, (), "There is no such file"),
        ({"saved": "prompts.yaml"}, (), "cannot be used"),
        ({}, ("--model", "sam2.1_micro", "--overrides", "model.image_size=128"), "saved with the model sam2_nano"),
        ({}, ("--direction", "backward"), "looked for going forward"),
    ],
)
def test_what_cannot_be_looked_for_is_a_sentence(
    content: dict[str, object],
    more: tuple[str, ...],
    said: str,
    saved: Path,
    bag: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert track(bag, tmp_path, [{"saved": str(saved), **content}], *more) == 2
    assert said in capsys.readouterr().err
