"""A folder of clips in the layout of DAVIS, or of still images in that of COCO: what is read, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Picture

from sam_core.build import build_predictor
from sam_core.training.tracking.coco import StillImage, find_images
from sam_core.training.tracking.davis import Video, find_videos
from sam_core.training.tracking.folder import find_clips, hold_out
from sam_core.training.tracking.pictures import PictureShape
from sam_core.training.tracking.settings import load_tracking_settings
from sam_core.training.tracking.task import TrackingTask
from sam_core.training.trainer import train

RED, BLUE, GREY = (0, 0, 255), (255, 0, 0), (90, 90, 90)  # in OpenCV's order


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Return a folder with the videos `cup`, with a palette and a frame without a mask, and `pen`, in grey."""
    for name in ("cup", "pen"):
        for kind in ("JPEGImages", "Annotations"):
            (tmp_path / kind / "480p" / name).mkdir(parents=True)
        for t in range(5):
            mask = np.zeros((48, 64), np.uint8)
            mask[10:30, 5 + 4 * t : 25 + 4 * t] = 7
            image = np.full((48, 64, 3), GREY, np.uint8)
            image[mask == 7] = RED
            mask[:3] = 255
            cv2.imwrite(str(tmp_path / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"), image)
            if (name, t) != ("cup", 3):
                picture = Picture.fromarray(mask)
                if name == "cup":
                    picture.putpalette([x for k in range(256) for x in (k, 255 - k, 0)])
                picture.save(tmp_path / "Annotations" / "480p" / name / f"{t:05d}.png")
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("pen\n")
    return tmp_path


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Return a folder of two images: a large square under a small one, as polygon and run lengths, and a crowd."""
    from pycocotools import mask as coco_mask

    (tmp_path / "images").mkdir()
    image = np.full((60, 80, 3), GREY, np.uint8)
    image[10:50, 10:60] = RED
    image[20:30, 20:30] = BLUE
    small = np.zeros((60, 80), np.uint8)
    small[20:30, 20:30] = 1
    runs = coco_mask.encode(np.asfortranarray(small))
    square = [[10, 10, 60, 10, 60, 50, 10, 50]]
    crowd = {"size": [60, 80], "counts": [0, 80 * 60]}
    for k in (1, 2):
        cv2.imwrite(str(tmp_path / "images" / f"{k}.png"), image)
    entries = [{"id": k, "file_name": f"{k}.png", "height": 60, "width": 80} for k in (1, 2, 3)]
    parts: list[tuple[int, int, Any]] = [
        (1, 0, {"size": [60, 80], "counts": runs["counts"].decode()}), (1, 0, square), (1, 1, crowd), (2, 0, square),
    ]  # fmt: skip
    annotations = [
        {"id": n, "image_id": image, "category_id": 1, "iscrowd": crowd, "segmentation": part, "bbox": [0, 0, 1, 1]}
        for n, (image, crowd, part) in enumerate(parts, 1)
    ]
    _write(tmp_path, {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]})
    return tmp_path


def _write(root: Path, content: Any) -> None:
    (root / "annotations.json").write_text(json.dumps(content))


def _read(root: Path) -> Any:
    return json.loads((root / "annotations.json").read_text())


def test_a_davis_folder_becomes_clips(davis: Path) -> None:
    cup, pen = find_clips(davis)
    assert isinstance(cup, Video)
    assert (cup.name, pen.name) == ("480p/cup", "480p/pen")
    assert len(cup.frames) == 4  # one frame has no mask
    for video in (cup, pen):
        clip = video.clip(np.random.default_rng(0), shape=PictureShape(64), frames=4, stride=3)
        assert clip.images.shape == (4, 64, 64, 3)
        assert (clip.objects, *np.unique(clip.labels)) == (1, 0, 1)
        red, _, blue = clip.images[clip.labels == 1].mean(0)
        assert red > 200
        assert blue < 60


def test_a_picture_is_stretched_or_keeps_its_aspect() -> None:
    image = np.full((48, 64, 3), 200, np.uint8)
    labels = np.zeros((48, 64), np.uint8)
    labels[40:, 32:] = 3
    stretched, numbers = PictureShape(96).fit(image, labels)
    assert (stretched == 200).all()
    assert (numbers == 3).sum() == 16 * 48
    kept, numbers = PictureShape(96, keep_aspect=True).fit(image, labels)
    assert kept.shape == (96, 96, 3)
    assert (kept[:72] == 200).all()
    assert (kept[72:] == (124, 116, 104)).all()  # the mean colour, which is 0 once normalised
    assert (numbers == 3).sum() == (numbers[60:72, 48:] == 3).sum() == 12 * 48
    upright, numbers = PictureShape(96, keep_aspect=True).fit(np.rot90(image), np.rot90(labels))
    assert (upright[:, 72:] == (124, 116, 104)).all()
    assert not numbers[:, 72:].any()


@pytest.mark.parametrize("model", ["sam2.1_micro", "sam_vit_micro"])
@pytest.mark.parametrize("size", [(50, 70), (300, 200)])
def test_pictures_are_resized_as_those_of_the_predictor(model: str, size: tuple[int, int]) -> None:
    network = build_predictor(model, None, device="cpu", dtype="float32").network
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    shape = PictureShape(network.image_size, keep_aspect=model == "sam_vit_micro")
    fitted, _ = shape.fit(image[:, ::-1], np.zeros(size, np.uint8))
    ours, theirs = (network.normalise(torch.from_numpy(x.copy())[None]) for x in (fitted, image[:, ::-1]))
    filled = theirs != 0  # padding
    assert torch.equal(ours[filled], theirs[filled])
    assert ours[~filled].abs().max() < 0.03 if not filled.all() else True


@pytest.mark.parametrize("side", [288, 128, 700])
def test_masks_stay_in_their_place(side: int) -> None:
    y, x = np.mgrid[:1000, :1000]
    labels = (np.hypot(x - 500, y - 420) < 300).astype(np.uint8)
    numbers = PictureShape(side).fit(np.zeros((1000, 1000, 3), np.uint8), labels)[1]
    for before, after in zip(labels.nonzero(), numbers.nonzero(), strict=True):
        assert (after.mean() + 0.5) / side == pytest.approx((before.mean() + 0.5) / 1000, abs=0.1 / side)


def test_a_folder_of_two_resolutions_is_refused(davis: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        shutil.copytree(davis / kind / "480p", davis / kind / "Full-Resolution")
    for split in (None, "2017/val"):
        with pytest.raises(ValueError, match="has the video cup twice, as 480p/cup and Full-Resolution/cup"):
            find_clips(davis, split)


def test_a_split_of_a_davis_folder(davis: Path) -> None:
    assert [video.name for video in find_clips(davis, "2017/val")] == ["480p/pen"]
    with pytest.raises(ValueError, match=r"no list of videos .*train.txt; beside it are val.txt"):
        find_videos(davis, "2017/train")
    (davis / "ImageSets" / "2017" / "val.txt").write_text("pen\nfork\n")
    with pytest.raises(ValueError, match="names videos without masks: fork"):
        find_videos(davis, "2017/val")


def test_polygons_and_run_lengths_become_objects_the_small_one_on_top(coco: Path) -> None:
    first, second = find_images(coco)  # the third image has no annotation
    image, labels = first.read()
    assert labels.shape == (60, 80)
    assert labels[:5].max() == 0  # the crowd is everywhere, and left out
    assert image[labels == 1].mean(0) == pytest.approx((255, 0, 0), abs=1)
    assert image[labels == 2].mean(0) == pytest.approx((0, 0, 255), abs=1)
    assert (labels == 2).sum() == 100
    assert second.read()[1].max() == 1


def test_a_still_image_alone_is_itself(coco: Path) -> None:
    still = find_images(coco)[0]
    clip = still.clip(np.random.default_rng(1), PictureShape(64), 1, 3)
    assert clip.images.shape == (1, 64, 64, 3)
    assert clip.objects == 2


def test_copies_of_a_still_image_move_with_their_masks(coco: Path) -> None:
    still = find_images(coco)[0]
    for seed in range(4):
        clip = still.clip(np.random.default_rng(seed), PictureShape(64), 6, 3)
        assert clip.images.shape == (6, 64, 64, 3)
        moved = [clip.labels[0] != clip.labels[t] for t in range(1, 6)]
        assert min(int(m.sum()) for m in moved) > 0
        for number, channel in ((1, 0), (2, 2)):
            inside = clip.images[clip.labels == number]
            assert inside[:, channel].mean() > 200, "the mask lies on the object in every copy"
        assert clip.images[clip.labels == 0].reshape(-1, 3)[:, 2].mean() < 130


def test_two_splits_of_a_coco_folder(coco: Path) -> None:
    content = _read(coco)
    (coco / "annotations.json").unlink()
    (coco / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (coco / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    (coco / "images").rename(coco / "val2017")
    assert [image.path.parent.name for image in find_images(coco, "val2017")] == ["val2017"] * 2
    with pytest.raises(ValueError, match="annotations of train2017, val2017: choose one with split=NAME"):
        find_clips(coco)
    with pytest.raises(ValueError, match=r"needs the images of instances_train2017.json in the folder train2017"):
        find_clips(coco, "train2017")
    with pytest.raises(ValueError, match="no annotations of the split 'test'"):
        find_clips(coco, "test")


@pytest.mark.parametrize("layout", ["davis", "coco"])
def test_a_folder_of_either_layout_trains(layout: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    torch.set_num_threads(1)
    folder = request.getfixturevalue(layout)
    overrides = [f"folder={folder}", f"output={tmp_path / 'run'}", "evaluate_clips=1"]
    run = train(TrackingTask(load_tracking_settings("micro", overrides)))
    assert run.stage == 2
    assert 0 <= run.history[-1]["eval_box_iou"] <= 1
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


def _damage_davis(kind: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        frame = root / "JPEGImages" / "480p" / "cup" / "00000.jpg"
        mask = root / "Annotations" / "480p" / "cup" / "00000.png"
        if kind == "frame":
            frame.write_bytes(b"no image")
        elif kind == "mask":
            mask.write_bytes(b"no image")
        elif kind == "size":
            Picture.new("L", (10, 10)).save(mask)
        elif kind == "colour":
            Picture.new("RGB", (64, 48)).save(mask)

    return damage


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("frame", "00000.jpg cannot be read as an image"),
        ("mask", "mask .*00000.png cannot be read as an image"),
        ("size", "differ in size: 10 x 10 px and 64 x 48 px"),
        ("colour", "must be an indexed or an 8-bit grey PNG, not RGB"),
    ],
)
def test_a_damaged_frame_is_named(kind: str, words: str, davis: Path) -> None:
    _damage_davis(kind)(davis)
    with pytest.raises(ValueError, match=words):
        find_videos(davis)[0].read(0)


def test_a_damaged_frame_ends_the_run_rather_than_being_passed_over(davis: Path, tmp_path: Path) -> None:
    for path in (davis / "JPEGImages").rglob("*.jpg"):
        path.write_bytes(b"no image")
    task = TrackingTask(load_tracking_settings("micro", [f"folder={davis}", f"output={tmp_path / 'run'}"]))
    with pytest.raises(ValueError, match="cannot be read as an image"):
        train(task)


def test_masks_without_objects_are_told(davis: Path, tmp_path: Path) -> None:
    for path in (davis / "Annotations").rglob("*.png"):
        Picture.new("L", (64, 48)).save(path)
    task = TrackingTask(load_tracking_settings("micro", [f"folder={davis}", f"output={tmp_path / 'run'}"]))
    with pytest.raises(ValueError, match="are the masks empty"):
        train(task)


def _change(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        content = _read(root)
        change(content)
        _write(root, content)

    return damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / "annotations.json").write_text("{"), "cannot be read as JSON"),
        (lambda root: (root / "annotations.json").write_text("[]"), "is no file of COCO's instances"),
        (_change(lambda c: c.pop("images")), "is no file of COCO's instances"),
        (_change(lambda c: c["images"][0].pop("file_name")), "is no file of COCO's instances: KeyError: 'file_name'"),
        (_change(lambda c: c["annotations"][0].update(image_id=77)), "images that it does not list, such as number 77"),
        (_change(lambda c: c.update(annotations=[])), "no image has an object with a segmentation"),
        (_change(lambda c: c["images"][0].update(file_name="9.png")), "1 of 2 images are not in .*, such as 9.png"),
        (lambda root: (root / "images").rename(root / "pictures"), "needs the images of annotations.json"),
    ],
)  # fmt: skip
def test_a_wrong_coco_folder_is_refused(damage: Callable[[Path], object], words: str, coco: Path) -> None:
    damage(coco)
    with pytest.raises(ValueError, match=words):
        find_clips(coco)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["images"][0].update(height=61), "is 80 x 60 px, but its annotations are for 80 x 61 px"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [60, 80]}), "a segmentation that is none"),
        (lambda c: c["annotations"][1].update(segmentation=[[1, 2]]), "a segmentation that is none"),
        (lambda c: c["annotations"][0]["segmentation"].update(size=[30, 160]), "is for .160, 30. px, the image is 80"),
    ],
)
def test_a_wrong_annotation_is_named(change: Callable[[Any], None], words: str, coco: Path) -> None:
    _change(change)(coco)
    with pytest.raises(ValueError, match=words):
        find_images(coco)[0].read()


def test_what_is_no_data_is_refused(davis: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no folder"):
        find_clips(tmp_path / "absent")
    with pytest.raises(ValueError, match="neither the folders JPEGImages and Annotations"):
        find_clips(davis / "ImageSets")
    _write(davis, {})
    with pytest.raises(ValueError, match="has both videos"):
        find_clips(davis)


def test_some_are_held_out_but_never_all() -> None:
    training, held_out = hold_out(range(20), 0.1, seed=1)
    assert len(held_out) == 2
    assert sorted(training + held_out) == list(range(20))
    assert hold_out(range(20), 0.1, seed=1)[1] == held_out
    assert hold_out(range(20), 0.1, seed=2)[1] != held_out
    assert hold_out(range(2), 0.1, seed=0)[1] != []
    assert hold_out(range(1), 0.1, seed=0) == ([0], [])
    assert hold_out(range(2), 0.9, seed=0)[0] != []
    assert hold_out(range(9), 0.0, seed=0)[1] == []


def test_more_objects_than_a_label_image_has_numbers(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "dots.png"), np.zeros((40, 80, 3), np.uint8))
    boxes = [[[x, y, x + 2, y, x + 2, y + 2, x, y + 2]] for x in range(0, 80, 3) for y in range(0, 40, 3)]
    large = [[0, 0, 40, 0, 40, 20, 0, 20]]
    labels = StillImage("dots.png", tmp_path / "dots.png", 40, 80, (*boxes, large)).read()[1]
    assert len(boxes) > 255
    assert len(np.unique(labels)) <= 256
    assert labels.max() == 255
    assert (labels == 1).sum() > 300  # the large one is kept
