"""A user's own still images: instances in the layout of COCO.

``annotations/instances_<split>.json`` with the images in ``<split>/`` or ``images/``, or one ``annotations.json``
beside ``images/``, as ``sam-annotate`` writes it. A still image becomes a clip by copies of it that move: SAM 2 trains
on images and videos jointly (Ravi et al., 2024, appendix D.2), and moved copies give the memory something to learn.
"""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic.sprites import Image
from sam_core.training.generator import Clip
from sam_core.training.scenes import curve
from sam_core.training.tracking.pictures import PictureShape, compact, read_image

__all__ = ["StillImage", "annotation_files", "find_images"]

_MOST_OBJECTS = 255  # of a label image; the largest are kept
_TURN, _SHEAR, _SHIFT, _ZOOM = 0.25, 0.15, 0.12, 0.2  # typical change over a clip: radians, share, sides, log scale


@dataclass(frozen=True)
class StillImage:
    """One annotated image.

    Attributes:
        name: of the image's file.
        path: the file.
        height: of the image, px.
        width: of the image, px.
        segmentations: one an object: polygons, or run lengths of ``pycocotools``.
    """

    name: str
    path: Path
    height: int
    width: int
    segmentations: tuple[Any, ...]

    def clip(self, rng: np.random.Generator, shape: PictureShape, frames: int, stride: int) -> Clip:
        """Return copies of the image that move smoothly: they turn, shear, shift and zoom; some are mirrored.

        Args:
            rng: source of randomness.
            shape: of the pictures.
            frames: pictures in the clip; a clip of one is the image itself.
            stride: not used; of `Video.clip`.

        Raises:
            ValueError: the image cannot be read, or its size or an annotation is wrong.
        """
        image, labels = self.read()
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        image, labels = shape.fit(image, labels)
        if frames == 1:
            return compact(image[None], labels[None])
        around = tuple(float(x) for x in image.reshape(-1, 3).mean(0))
        moved, truth = [], []
        side = (shape.side, shape.side)
        for matrix in _motion(rng, frames, shape.side):
            moved.append(cv2.warpAffine(image, matrix, side, flags=cv2.INTER_LINEAR, borderValue=around))
            truth.append(cv2.warpAffine(labels, matrix, side, flags=cv2.INTER_NEAREST))
        return compact(np.stack(moved).astype(np.uint8), np.stack(truth).astype(np.uint8))

    def read(self) -> tuple[Image, Image]:
        """Read the image, uint8 RGB (H, W, 3), and draw its objects, uint8 (H, W): where they overlap, the smaller.

        Raises:
            ValueError: the image cannot be read, or its size or an annotation is wrong.
        """
        image = read_image(self.path)
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"{self.path} is {image.shape[1]} x {image.shape[0]} px, but its annotations are for "
                f"{self.width} x {self.height} px."
            )
        masks = [self._mask(segmentation) for segmentation in self.segmentations]
        masks = sorted(masks, key=lambda mask: int(mask.sum()), reverse=True)[:_MOST_OBJECTS]
        labels = np.zeros(image.shape[:2], np.uint8)
        for number, mask in enumerate(masks, 1):
            labels[mask] = number
        return image, labels

    def _mask(self, segmentation: Any) -> NDArray[np.bool_]:
        from pycocotools import mask as coco_mask

        try:
            if isinstance(segmentation, list):
                runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, self.height, self.width))
            elif isinstance(segmentation["counts"], list):
                runs = coco_mask.frPyObjects(segmentation, self.height, self.width)
            else:
                runs = segmentation
            mask = np.asarray(coco_mask.decode(runs), bool)
        except Exception as error:  # pycocotools raises many kinds, also plain ones
            raise ValueError(f"An annotation of {self.name} has a segmentation that is none: {error}.") from error
        if mask.shape != (self.height, self.width):
            raise ValueError(
                f"An annotation of {self.name} is for {mask.shape[::-1]} px, the image is {self.width} x {self.height}."
            )
        return mask


def _motion(rng: np.random.Generator, frames: int, size: int) -> list[NDArray[np.float64]]:
    """Return one 2x3 map a frame from image to picture, px; the first one, too, is changed."""
    turn = curve(rng, frames, _TURN / 3, 1)[:, 0] + rng.normal(0, _TURN / 2)
    shear = curve(rng, frames, _SHEAR / 3, 1)[:, 0]
    zoom = np.exp(curve(rng, frames, _ZOOM / 3, 1)[:, 0] + rng.normal(0, _ZOOM / 2))
    shift = (curve(rng, frames, _SHIFT / 3) + rng.normal(0, _SHIFT / 2, 2)) * size
    middle = np.full(2, (size - 1) / 2)
    maps = []
    for t in range(frames):
        c, s = np.cos(turn[t]) * zoom[t], np.sin(turn[t]) * zoom[t]
        linear = np.array([[c, -s], [s, c]]) @ np.array([[1.0, shear[t]], [0.0, 1.0]])
        maps.append(np.column_stack([linear, middle + shift[t] - linear @ middle]))
    return maps


def annotation_files(root: Path) -> dict[str, Path]:
    """Return the files of instances under ``root`` by split; the split of an ``annotations.json`` is empty."""
    found = {
        path.stem.removeprefix("instances").removeprefix("_"): path
        for path in sorted((root / "annotations").glob("instances*.json"))
    }
    plain = root / "annotations.json"
    return {**found, "": plain} if plain.is_file() else found


def find_images(root: Path, split: str | None = None) -> list[StillImage]:
    """List the images under ``root`` that have an annotated object; crowds are left out.

    Args:
        root: see the module.
        split: which annotations; may be None where there is one file of them.

    Raises:
        ValueError: no such split, no annotations, or images that are not there.
    """
    files = annotation_files(root)
    if split is None and len(files) > 1:
        raise ValueError(f"{root} has annotations of {', '.join(sorted(files))}: choose one with split=NAME.")
    name = split if split is not None else next(iter(files), "")
    if name not in files:
        raise ValueError(
            f"{root} has no annotations of the split {name!r}; it has {', '.join(sorted(files)) or 'none'}."
        )
    index = _read_index(files[name])
    folder = next((root / place for place in (name, "images") if place and (root / place).is_dir()), None)
    if folder is None:
        raise ValueError(f"{root} needs the images of {files[name].name} in the folder {name or 'images'}.")
    images = []
    for image_id in sorted(index.imgs):
        entry = index.imgs[image_id]
        parts = [a.get("segmentation") for a in index.imgToAnns[image_id] if not a.get("iscrowd")]
        if parts := [part for part in parts if part]:
            path = folder / entry["file_name"]
            images.append(StillImage(entry["file_name"], path, int(entry["height"]), int(entry["width"]), tuple(parts)))
    if not images:
        raise ValueError(f"{files[name]}: no image has an object with a segmentation.")
    missing = [image.name for image in images if not image.path.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} of {len(images)} images are not in {folder}, such as {missing[0]}.")
    return images


def _read_index(path: Path) -> Any:
    """Read a file of instances with ``pycocotools``, which prints while it does."""
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise ValueError("A folder in the layout of COCO needs pycocotools: pip install pycocotools.") from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            index = COCO(str(path))
        for entry in index.dataset["images"]:
            _ = entry["id"], entry["file_name"], int(entry["height"]), int(entry["width"])
        strangers = {a["image_id"] for a in index.dataset["annotations"]} - index.imgs.keys()
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}.") from error
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"{path} is no file of COCO's instances: {type(error).__name__}: {error}.") from error
    if strangers:
        raise ValueError(f"{path} has annotations of images that it does not list, such as number {min(strangers)}.")
    return index
