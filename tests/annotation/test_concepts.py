"""Phrases and exemplars find objects in a recording, with the networks that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sam_core.synthetic import TwinScene
from sam_ros.annotation import store, tracking
from sam_ros.annotation.__main__ import main
from sam_ros.annotation.records import FrameRecord, decode_mask
from sam_ros.annotation.results import Results

from .conftest import PERIOD, START, image_message, write_bag

FRAMES = 10
CIRCLES = (1, 2)  # the red circles' numbers in the truth
MODEL = ("--model", "sam2_nano", "--overrides", "model.image_size=128", "--device", "cpu", "--threads", 1)

Truth = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Two red circles, a red triangle, a blue circle and a star: a bag, and the labels of its frames."""
    scene = TwinScene(320, 240, fps=10.0)
    frames = [scene.render(k) for k in range(FRAMES)]
    stamps = [START + k * PERIOD for k in range(FRAMES)]
    messages = [(stamp, image_message(one.image, stamp)) for stamp, one in zip(stamps, frames, strict=True)]
    path = write_bag(tmp_path_factory.mktemp("twins") / "twins", messages)
    return path, [one.labels for one in frames]


def track(*arguments: Any) -> int:
    return main([str(one) for one in ("track", *arguments, *MODEL, "--write", "csv", "--quiet")])


def found_objects(frame: FrameRecord, labels: NDArray[np.uint8]) -> dict[int, int]:
    """Return which objects of the truth the objects on a frame are: from id to number, by an IoU above one half."""
    found = {}
    for one in frame.objects:
        mask = decode_mask(one.mask, frame.size) > 0
        for number in range(1, int(labels.max()) + 1):
            real = labels == number
            if (mask & real).sum() > 0.5 * (mask | real).sum():
                found[one.object_id] = number
    return found


def frames_of(run: Path) -> list[FrameRecord]:
    return list(Results.of_run(run).read())


def test_a_phrase_finds_and_tracks(twins: tuple[Path, Truth], tmp_path: Path) -> None:
    bag, truth = twins

    assert track(bag, "-o", tmp_path / "run", "--phrase", "red circle", "--every", 4) == 0

    assert dict(Results.of_run(tmp_path / "run").labels) == {1: "red circle", 2: "red circle"}
    for frame, labels in zip(frames_of(tmp_path / "run"), truth, strict=True):
        assert set(found_objects(frame, labels).values()) == set(CIRCLES)
        assert {one.concept for one in frame.objects} == {"red circle"}


def box(mask: NDArray[np.bool_]) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


@pytest.mark.parametrize("parts", [1, 2])
def test_exemplars_find_what_is_like_them(parts: int, twins: tuple[Path, Truth], tmp_path: Path) -> None:
    bag, truth = twins
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(
        f"""
objects: [{{label: star, prompts: [{{frame: 0, box: {box(truth[0] == 5)}}}]}}]
concepts:
  - phrase: circle
    frame: 3
    exemplars: [{{box: {box(truth[3] == 1)}}}, {{box: {box(truth[3] == 3)}, label: 0}}]
  - {{phrase: triangle, frame: 3, exemplars: [{{box: {box(truth[3] == 3)}}}]}}
""",
        encoding="utf-8",
    )

    assert track(bag, "-o", tmp_path / "run", "--prompts", prompts, "--parts", parts, "--overlap", 2) == 0

    frames = frames_of(tmp_path / "run")
    labels = Results.of_run(tmp_path / "run").labels
    assert all(set(found_objects(frame, truth[k])) <= {1} for k, frame in enumerate(frames[:3]))
    for frame, real in zip(frames[3:], truth[3:], strict=True):
        found = found_objects(frame, real)
        assert found[1] == 5
        called = {number: labels[object_id] for object_id, number in found.items()}
        assert called[5] == "star"
        assert called[1] == called[2] == "circle"
        assert called[3] == "triangle", "which is no example of a circle"
        assert sorted(found) == list(range(1, len(labels) + 1)), "the same ids on both sides of a cut"


def test_a_run_with_concepts_goes_on_where_it_was(
    twins: tuple[Path, Truth], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag, truth = twins
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(
        f"""
concepts:
  - {{phrase: red circle, every: 4}}
  - {{phrase: star, frame: 2, exemplars: [{{box: {box(truth[2] == 5)}}}]}}
""",
        encoding="utf-8",
    )

    def request(run: Path) -> int:
        return track(bag, "-o", run, "--prompts", prompts)

    assert request(tmp_path / "whole") == 0
    monkeypatch.setattr(store, "_FRAMES", 2)
    step, seen = tracking._step, 0

    def failing(*arguments: Any) -> FrameRecord:
        nonlocal seen
        seen += 1
        if seen == 6:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(tracking, "_step", failing)
    with pytest.raises(KeyboardInterrupt):
        request(tmp_path / "cut")
    assert list((tmp_path / "cut").rglob("state.safetensors"))
    assert request(tmp_path / "cut") == 0

    assert seen < FRAMES + 6, "it went on from where it was"
    assert frames_of(tmp_path / "cut") == frames_of(tmp_path / "whole")
    assert (tmp_path / "cut" / "boxes.csv").read_bytes() == (tmp_path / "whole" / "boxes.csv").read_bytes()


REFUSED = {
    "exemplars again and again": (
        "concepts: [{phrase: a, every: 2, frame: 0, exemplars: [{box: [1, 1, 9, 9]}]}]",
        (),
        "names every",
    ),
    "exemplars outside": ("concepts: [{frame: 0, exemplars: [{box: [900, 900, 990, 990]}]}]", (), "on frame 0"),
    "backward": ("concepts: [{phrase: a}]", ("--direction", "backward"), "looked for going forward"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_a_sentence(
    name: str, twins: tuple[Path, Truth], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, arguments, said = REFUSED[name]
    (tmp_path / "prompts.yaml").write_text(text, encoding="utf-8")

    assert track(twins[0], "-o", tmp_path / "run", "--prompts", tmp_path / "prompts.yaml", *arguments) == 2
    assert said in capsys.readouterr().err
