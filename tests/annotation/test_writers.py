"""Outputs are read back by the tools that people read them with."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader

from sam_core import ObjectState
from sam_ros.annotation.__main__ import main
from sam_ros.annotation.records import FrameRecord, ObjectRecord, decode_mask, encode_mask
from sam_ros.annotation.results import Results
from sam_ros.annotation.writers import WRITERS
from sam_ros.annotation.writers.davis import indexed_png, label_map
from sam_ros.annotation.writers.yolo import polygon_of

from .conftest import FRAMES, PROMPTS, _loaded

Annotate = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def run(bag: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every output."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "prompts.yaml").write_text(PROMPTS, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sam_ros.annotation.models.load_models", _loaded)
        arguments = ["track", bag, "-o", folder / "run", "--prompts", folder / "prompts.yaml", "--quiet", "--originals"]
        arguments += ["--write", *WRITERS, "--image-format", "png", "--threads", 1]
        arguments += ["--model", "sam2.1_micro", "--checkpoint", weights, "--device", "cpu", "--dtype", "float32"]
        assert main([str(one) for one in arguments]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def frames(run: Path) -> list[FrameRecord]:
    return list(Results.of_run(run).read())


def test_coco_is_read_by_pycocotools(run: Path, frames: list[FrameRecord], clip: NDArray[np.uint8]) -> None:
    from pycocotools.coco import COCO

    data = COCO(run / "coco" / "annotations.json")

    assert len(data.imgs) == FRAMES
    for record in frames:
        expected = {one.object_id: decode_mask(one.mask, record.size) for one in record.objects if one.area}
        found = data.loadAnns(data.getAnnIds(imgIds=[record.frame + 1]))
        assert {one["track_id"] for one in found} == set(expected)
        for one in found:
            assert (data.annToMask(one) == expected[one["track_id"]]).all()
            assert data.cats[one["category_id"]]["name"] == {1: "green", 2: "red"}[one["track_id"]]
        image = cv2.imread(str(run / "coco" / "images" / data.imgs[record.frame + 1]["file_name"]))
        assert (image[..., ::-1] == clip[record.frame]).all()


def test_yolo_is_a_data_set(run: Path, frames: list[FrameRecord]) -> None:
    content = yaml.safe_load((run / "yolo" / "data.yaml").read_text())

    assert content["names"] == {0: "green", 1: "red"}
    labels = {path.stem: path for path in (run / "yolo" / "labels").rglob("*.txt")}
    images = {path.stem: path for path in (run / "yolo" / "images").rglob("*.png")}
    assert labels.keys() == images.keys() == {f"{k:06d}" for k in range(FRAMES)}
    assert [path.parent.name for _, path in sorted(labels.items())] == ["train"] * 10 + ["val"] * 2
    for record in frames:
        lines = labels[f"{record.frame:06d}"].read_text().splitlines()
        assert len(lines) == sum(one.area > 2 for one in record.objects)
        masks = [decode_mask(one.mask, record.size) for one in record.objects if one.area > 2]
        for line, mask in zip(lines, masks, strict=True):
            numbers = np.array(line.split()[1:], float)
            assert len(numbers) % 2 == 0
            assert ((numbers >= 0) & (numbers <= 1)).all()
            filled = filled_by(numbers.reshape(-1, 2), mask.shape)
            pixel = np.ones((3, 3), np.uint8)
            assert not ((cv2.erode(mask, pixel) > 0) & (filled == 0)).any()
            beyond = (filled > 0) & (cv2.dilate(mask, pixel) == 0)
            parts = len(cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0])
            assert beyond.sum() <= (10 if parts > 1 else 0), "but for the lines that join holes and parts"


def filled_by(shares: NDArray[np.float64], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Fill an outline (K, 2), shares of the image's sides, as readers of the format do."""
    filled = np.zeros(size, np.uint8)
    cv2.fillPoly(filled, [(shares * np.array(size[::-1])).astype(np.int32)], 1)
    return filled


@pytest.mark.parametrize("seed", range(5))
def test_a_polygon_fills_to_its_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((90, 120), np.uint8)
    centre = tuple(int(value) for value in rng.integers(35, 55, 2))
    cv2.ellipse(mask, centre, (30, 22), float(rng.integers(180)), 0, 360, 1, -1)
    cv2.circle(mask, centre, 8, 0, -1)  # a hole
    cv2.rectangle(mask, (95, 5), (112, 22), 1, -1)  # a part of its own

    outline = polygon_of(mask)
    assert outline is not None
    again = filled_by(np.round((outline + 0.5) / np.array([120, 90]), 6), mask.shape)

    wrong = np.argwhere(again != mask)
    assert len(wrong) <= 60, "but for the one line that joins the parts"
    assert (mask[again == 0] == 0).all()
    assert polygon_of(np.zeros((5, 5), np.uint8)) is None


def test_davis_masks_are_read_by_its_metric(run: Path, frames: list[FrameRecord]) -> None:
    from PIL import Image
    from vos_benchmark.evaluator import Evaluator

    (sequence,) = (run / "davis" / "Annotations").iterdir()
    evaluator = Evaluator()
    for record in frames:
        image = Image.open(sequence / f"{record.frame:06d}.png")
        assert image.mode == "P"
        assert image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
        labels = np.asarray(image)
        assert (labels == label_map(record)).all()
        evaluator.feed_frame(labels, label_map(record).astype(np.uint8))
    assert all(iou == 1 for ious in evaluator.object_iou.values() for iou in ious)
    small = Image.open(BytesIO(indexed_png(np.arange(6, dtype=np.uint8)[None])))
    assert np.asarray(small).tolist() == [list(range(6))]


def test_a_pixel_goes_to_the_object_that_owns_it() -> None:
    """Whatever the scores: the better one is painted last, but only where it owns the pixels."""
    wide, left, right = (np.zeros((2, 10), np.uint8) for _ in range(3))
    wide[:, 3:], left[:, :6], right[:, 6:] = 1, 1, 1

    def seen(object_id: int, score: float, mask: NDArray[np.uint8], owned: str | None = None) -> ObjectRecord:
        area = int(mask.sum())
        state = ObjectState.TRACKED
        return ObjectRecord(object_id, state, (0, 0, 10, 2), area, (5, 1), score, 1.0, encode_mask(mask), owned)

    record = FrameRecord(0, (2, 10), (seen(1, 0.5, left), seen(2, 0.9, wide, encode_mask(right))))

    assert label_map(record).tolist() == [[1] * 6 + [2] * 4] * 2


def test_yolo_finds_its_images_from_its_own_folder(run: Path) -> None:
    content = yaml.safe_load((run / "yolo" / "data.yaml").read_text())

    assert "path" not in content, "a relative one would begin at the data folder of the reader's settings"
    for name in ("train", "val"):
        assert list((run / "yolo" / content[name]).iterdir())


def test_an_output_that_cannot_begin_leaves_nothing(
    annotate: Annotate, clip: NDArray[np.uint8], prompts: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    for k, image in enumerate(clip):
        cv2.imwrite(str(tmp_path / "images" / f"{k}.png"), image)
    prompts.write_text("objects: [{prompts: [{frame: 0, box: [10, 20, 40, 50]}]}]", encoding="utf-8")
    request = (tmp_path / "images", "-o", tmp_path / "run", "--prompts", prompts)

    assert annotate(*request, "--write", "bag", "--originals").status == 2  # a folder has no messages

    assert not list((tmp_path / "run").glob("*.partial"))


def test_the_table_has_a_line_for_each_object(run: Path, frames: list[FrameRecord]) -> None:
    with (run / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))

    expected = [(record.frame, one) for record in frames for one in record.objects]
    assert len(rows) == len(expected)
    for row, (frame, one) in zip(rows, expected, strict=True):
        assert (int(row["frame"]), int(row["object_id"]), int(row["area"])) == (frame, one.object_id, one.area)
        assert float(row["predicted_iou"]) == one.predicted_iou


def test_the_bag_has_the_recording_too(run: Path, bag: Path) -> None:
    with Reader(bag) as reader:
        original = [bytes(data) for _, _, data in reader.messages()]
    with Reader(run / "bag") as reader:
        copied = [bytes(data) for connection, _, data in reader.messages() if connection.topic == "/image"]
        topics = set(reader.topics)

    assert copied == original
    assert topics == {
        "/image",
        *(f"/tracker/{name}" for name in ("objects", "detections", "label_image", "label_info")),
    }


def test_pictures_and_report(run: Path) -> None:
    video = cv2.VideoCapture(str(run / "overlay.mp4"))
    count = 0
    while video.grab():
        count += 1
    assert count == FRAMES
    assert cv2.imread(str(run / "sheet.jpg")).shape == (3 * 240, 4 * 320, 3)
    text = (run / "report" / "report.md").read_text()
    assert "12 images over 1.1 s, 12 of them usable; 2 objects; 0 problems." in text
    assert "| 2 red |" in text
    for name in ("seen", "scores", "areas"):
        assert f"![{name}]({name}.png)" in text
        assert cv2.imread(str(run / "report" / f"{name}.png")) is not None


def test_nothing_partial_is_left(run: Path) -> None:
    assert not list(run.rglob("*partial*"))
    assert set(json.loads((run / "run.json").read_text())["written"]) == set(WRITERS)


def test_a_run_compared_with_itself_is_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(run), str(run)]) == 0
    assert "12 frames in both, mean IoU 1.0000" in capsys.readouterr().out
    assert main(["compare", str(run), str(run / "nothing")]) == 2


def test_nothing_is_overwritten(annotate: Annotate, bag: Path, prompts: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    request = (bag, "-o", tmp_path / "run", "--prompts", prompts)

    answer = annotate(*request)

    assert answer.status == 2
    assert "nothing is overwritten" in answer.err
    (tmp_path / "run" / "mine.txt").unlink()
    assert annotate(*request).status == 0
    answer = annotate(*request, "--stride", 2, "--update")
    assert answer.status == 2
    assert "frame" in answer.err or "another choice of its images" in answer.err
