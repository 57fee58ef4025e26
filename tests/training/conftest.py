"""What the tests of training share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in the layout of DAVIS: three videos of two squares that move."""
    root = tmp_path_factory.mktemp("davis")
    for k in range(3):
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / f"clip{k}").mkdir(parents=True)
        for t in range(5):
            mask = np.zeros((96, 128), np.uint8)
            mask[20:50, 10 + 5 * t : 45 + 5 * t] = 1
            mask[50:85, 70 - 6 * k : 110 - 6 * k] = 2
            image = np.array([[30, 40, 50], [20, 40, 220], [200, 180, 30]], np.uint8)[mask]
            cv2.imwrite(str(root / "JPEGImages" / f"clip{k}" / f"{t:05d}.jpg"), image)
            cv2.imwrite(str(root / "Annotations" / f"clip{k}" / f"{t:05d}.png"), mask)
    return root
