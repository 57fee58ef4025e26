"""A small set of still images that a package ships: nuclei under a microscope, each with its mask.

``pip install --no-deps stardist==0.9.2`` and ``python -m benchmarks.fine_tuning.nuclei FOLDER`` write them in the
layout of COCO. The package ("Cell Detection with Star-convex Polygons", Schmidt et al., 2018; BSD licence) holds one
image of 512 x 512 px, which is cut into tiles. It is only read, not imported.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np

__all__ = ["write_nuclei"]

_TILE = 128  # px
_LEAST = 40  # px of a nucleus; what the cut leaves of others is not annotated
_HELD_OUT = (1, 6, 11, 12)  # tiles of the split val: one of each row and column


def write_nuclei(folder: Path) -> dict[str, int]:
    """Write tiles and masks, with the splits ``train`` and ``val``; returns the number of nuclei of each.

    Raises:
        ValueError: the package is not installed.
    """
    from pycocotools import mask as coco_mask

    image, labels = _read("img2d.tif"), _read("mask2d.tif")
    low, high = np.percentile(image, (1, 99.8))
    grey = ((image - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
    splits: dict[str, tuple[list[object], list[object]]] = {"train": ([], []), "val": ([], [])}
    for k, (y, x) in enumerate((y, x) for y in range(0, 512, _TILE) for x in range(0, 512, _TILE)):
        split = "val" if k in _HELD_OUT else "train"
        images, annotations = splits[split]
        name = f"{k:02d}.png"
        (folder / split).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / split / name), grey[y : y + _TILE, x : x + _TILE])
        images.append({"id": k, "file_name": name, "height": _TILE, "width": _TILE})
        tile = labels[y : y + _TILE, x : x + _TILE]
        for number in np.unique(tile[tile > 0]):
            mask = np.asfortranarray(tile == number, np.uint8)
            if mask.sum() < _LEAST:
                continue
            runs = coco_mask.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": k,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int(mask.sum()),
                    "bbox": coco_mask.toBbox(runs).tolist(),
                    "segmentation": {"size": [_TILE, _TILE], "counts": runs["counts"].decode()},
                }
            )
    (folder / "annotations").mkdir(exist_ok=True)
    for split, (images, annotations) in splits.items():
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "nucleus"}]}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return {split: len(annotations) for split, (_, annotations) in splits.items()}


def _read(name: str) -> np.ndarray:
    spec = importlib.util.find_spec("stardist")
    if spec is None or spec.origin is None:
        raise ValueError("The images are in the package stardist: pip install --no-deps stardist==0.9.2")
    picture = cv2.imread(str(Path(spec.origin).parent / "data" / "images" / name), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError(f"This version of stardist has no {name}: pip install --no-deps stardist==0.9.2")
    return np.asarray(picture)


def main() -> None:
    """Write the images into the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tuning.nuclei", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        counts = write_nuclei(folder)
    except ValueError as error:
        parser.exit(1, f"{error}\n")
    print(f"{folder}: 12 images with {counts['train']} nuclei in the split train, 4 with {counts['val']} in val")


if __name__ == "__main__":
    main()
