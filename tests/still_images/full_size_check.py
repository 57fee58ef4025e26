"""All masks of three photos by our generator and by the official one, on shared weights, at the released size.

`PYTHONPATH=. python tests/still_images/full_size_check.py`, and with `--model sam2.1_hiera_tiny --gain 30` on random
weights, which takes many minutes on a CPU. Random weights are sure of nothing, so the thresholds are low, and the
decoder's last layers are scaled until masks have edges.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks.reference.torchvision_stand_in import torchvision_stand_in
from benchmarks.speed.official import build_official
from benchmarks.speed.work import Work
from sam_core import AutomaticMasks, build_predictor

PHOTOS = ("astronaut", "coffee", "chelsea")
LOW = {"predicted_iou_threshold": 0.4, "stability_threshold": 0.6}
LEAST_IOU = 0.999


def photo(name: str) -> np.ndarray:
    """Return one of scikit-image's photos."""
    from skimage import data

    return np.ascontiguousarray(getattr(data, name)()[..., :3])


@torch.no_grad()
def scale_logits(model: Any, gain: float) -> None:
    """Multiply the mask logits of a model."""
    for heads in model.sam_mask_decoder.output_hypernetworks_mlps:
        for parameter in heads.layers[-1].parameters():
            parameter.mul_(gain)


def main() -> None:
    """Compare, print a row for each photo, and fail where they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--photos", nargs="+", default=PHOTOS, help="of scikit-image")
    parser.add_argument("--side", type=int, default=12, help="points along each side of the image")
    parser.add_argument("--crop-layers", type=int, default=0)
    parser.add_argument("--gain", type=float, default=1.0, help="factor of the mask logits, for random weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torchvision_stand_in():
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
    ours = build_predictor(arguments.model, device="cpu", dtype="float32")
    scale_logits(ours.network.model, arguments.gain)  # type: ignore[attr-defined]
    official = build_official(Work(arguments.model), ours.network.model)  # type: ignore[attr-defined]
    theirs = SAM2AutomaticMaskGenerator(
        official,
        points_per_side=arguments.side,
        pred_iou_thresh=LOW["predicted_iou_threshold"],
        stability_score_thresh=LOW["stability_threshold"],
        crop_n_layers=arguments.crop_layers,
    )
    side = ours.network.mask_size
    theirs.predictor._bb_feat_sizes = [(side, side), (side // 2, side // 2), (side // 4, side // 4)]
    masks = AutomaticMasks(ours, points_per_side=arguments.side, crop_layers=arguments.crop_layers, **LOW)
    print("| photo | masks, official | ours | mean IoU | official, s | ours, s |\n|---|---|---|---|---|---|")
    failed = False
    for name in arguments.photos:
        image, began = photo(name), time.process_time()
        reference = sorted(theirs.generate(image), key=lambda item: -item["predicted_iou"])
        between = time.process_time()
        found = masks.generate(image)
        ended = time.process_time()
        ious = [iou(item.rle.decode(), other["segmentation"]) for item, other in zip(found, reference, strict=False)]
        mean = float(np.mean(ious)) if ious else 0.0
        times = f"{between - began:.1f} | {ended - between:.1f}"
        print(f"| {name} | {len(reference)} | {len(found)} | {mean:.5f} | {times} |", flush=True)
        failed |= len(found) != len(reference) or mean < LEAST_IOU
    sys.exit(failed)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two masks."""
    return float((one & other).sum() / (one | other).sum())


if __name__ == "__main__":
    main()
