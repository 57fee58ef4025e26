"""Shared by the tests of still images: small networks with fixed random weights, and the official ones beside them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def official_sam2() -> Any:
    """Return the modules of PyPI `sam2` for still images: `predictor` and `masks`."""
    pytest.importorskip("sam2.build_sam")
    from benchmarks.reference.torchvision_stand_in import torchvision_stand_in

    with torchvision_stand_in():
        import sam2.automatic_mask_generator as masks
        import sam2.sam2_image_predictor as predictor
        import sam2.utils.amg as helpers
    return SimpleNamespace(predictor=predictor, masks=masks, helpers=helpers)


@pytest.fixture(scope="session")
def pair(official_sam2: Any) -> tuple[Any, Any]:
    """Return our predictor and the official one on the same small network."""
    from benchmarks.reference.sam2 import micro_pair
    from sam_core.still_images import ImagePredictor, Sam2Images

    torch.manual_seed(0)
    ours, model = micro_pair(optimise=False)
    official = official_sam2.predictor.SAM2ImagePredictor(model)
    official._bb_feat_sizes = [(32, 32), (16, 16), (8, 8)]  # the official code has those of 1024 px as constants
    return ImagePredictor(Sam2Images(ours)), official


@pytest.fixture(scope="session")
def trained_pair(official_sam2: Any) -> tuple[Any, Any]:
    """Return our predictor and the official one with the weights of `sam2_nano`, whose masks look like things."""
    from benchmarks.speed.official import build_official
    from benchmarks.speed.work import Work
    from sam_core import build_predictor

    ours = build_predictor("sam2_nano", device="cpu", dtype="float32")
    official = official_sam2.predictor.SAM2ImagePredictor(build_official(Work("sam2_nano"), ours.network.model))
    official._bb_feat_sizes = [(72, 72), (36, 36), (18, 18)]
    return ours, official


@pytest.fixture(scope="session")
def photo() -> Callable[[int, int], np.ndarray]:
    """Return a function that makes an image (H, W, 3) with shapes and texture."""

    def make(height: int, width: int) -> np.ndarray:
        ys, xs = np.mgrid[:height, :width]
        image = np.stack((xs * 255 // width, ys * 255 // height, (xs * 7 + ys * 3) % 256), axis=-1).astype(np.uint8)
        image[height // 4 : height // 2, width // 3 : width // 2] = (250, 40, 30)
        image[(ys - height * 0.7) ** 2 + (xs - width * 0.7) ** 2 < (min(height, width) / 6) ** 2] = (20, 60, 240)
        return image

    return make
