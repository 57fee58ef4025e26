"""Files of images: their suffixes and their order."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["IMAGE_SUFFIXES", "image_files", "natural_order"]

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in the order of their names; hidden files are left out."""
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        ),
        key=natural_order,
    )


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Return a key to sort by, where numbers count as numbers: 2 comes before 10.

    Texts and numbers alternate, so that like is compared with like.
    """
    parts = re.split(r"(\d+)", path.name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name
