"""A user's own videos: a folder of frames and masks in the layout of DAVIS.

``JPEGImages/<resolution>/<video>/00000.jpg`` (or .png) and ``Annotations/<resolution>/<video>/00000.png``; the
``<resolution>`` level may be missing. Masks are indexed or grey images: 0 is background, k the pixels of object k,
255 is ignored as background. Frames without a mask are skipped. ``ImageSets/<split>.txt`` may list the videos of a
split, one a line, as ``ImageSets/2017/train.txt`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from sam_core.synthetic.sprites import Image
from sam_core.training.generator import Clip
from sam_core.training.tracking.pictures import PictureShape, compact, read_image

__all__ = ["Video", "find_videos", "read_mask"]

_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Video:
    """One annotated video.

    Attributes:
        name: its folder, below that of all masks.
        frames: pairs of frame and mask files in order.
        images: the files of all frames in order, with a mask or without.
    """

    name: str
    frames: tuple[tuple[Path, Path], ...]
    images: tuple[Path, ...]

    def clip(self, rng: np.random.Generator, shape: PictureShape, frames: int, stride: int) -> Clip:
        """Cut a random clip out of the video; some are mirrored or run backwards.

        Args:
            rng: source of randomness.
            shape: of the pictures.
            frames: pictures in the clip; a short video repeats its last frame.
            stride: largest step between two frames.

        Raises:
            ValueError: a file cannot be read, or a mask has another size than its frame.
        """
        length = len(self.frames)
        step = int(rng.integers(1, max(1, min(stride, (length - 1) // max(frames - 1, 1))) + 1))
        first = int(rng.integers(0, max(length - step * (frames - 1), 1)))
        chosen = [min(first + step * t, length - 1) for t in range(frames)]
        if rng.random() < 0.5:
            chosen.reverse()
        mirrored = rng.random() < 0.5
        images = np.empty((frames, shape.side, shape.side, 3), np.uint8)
        labels = np.empty((frames, shape.side, shape.side), np.uint8)
        for t, k in enumerate(chosen):
            image, mask = self.read(k)
            if mirrored:
                image, mask = image[:, ::-1], mask[:, ::-1]
            images[t], labels[t] = shape.fit(image, mask)
        return compact(images, labels)

    def read(self, index: int) -> tuple[Image, Image]:
        """Read an annotated frame: uint8 RGB (H, W, 3), and uint8 object numbers (H, W).

        Raises:
            ValueError: a file cannot be read, or the mask has another size than its frame.
        """
        frame, path = self.frames[index]
        image, mask = read_image(frame), read_mask(path)
        if mask.shape != image.shape[:2]:
            sizes = " and ".join(f"{x.shape[1]} x {x.shape[0]} px" for x in (mask, image))
            raise ValueError(f"The mask {path} and its frame {frame.name} differ in size: {sizes}.")
        return image, mask


def find_videos(root: Path, split: str | None = None) -> list[Video]:
    """List the annotated videos under ``root``.

    Args:
        root: holds ``JPEGImages`` and ``Annotations``.
        split: of ``ImageSets``, such as ``2017/train``; None for all videos.

    Raises:
        ValueError: no frame has a mask, two videos have one name, or the split is not there or names a video that is
            not.
    """
    masks, images = root / "Annotations", root / "JPEGImages"
    videos = []
    for folder in sorted({p.parent for p in masks.rglob("*.png")}):
        pictures = {p.stem: p for p in sorted((images / folder.relative_to(masks)).glob("*")) if p.suffix in _SUFFIXES}
        pairs = [(pictures[m.stem], m) for m in sorted(folder.glob("*.png")) if m.stem in pictures]
        if pairs:
            videos.append(Video(folder.relative_to(masks).as_posix(), tuple(pairs), tuple(pictures.values())))
    if not videos:
        raise ValueError(f"{root}: no frame in JPEGImages has a mask of the same name in Annotations.")
    _refuse_copies(videos, root)
    return videos if split is None else _of_split(videos, root, split)


def _refuse_copies(videos: list[Video], root: Path) -> None:
    """Refuse a folder of several resolutions: one would be held out, and trained on in the other."""
    seen: dict[str, str] = {}
    for video in videos:
        name = video.name.rpartition("/")[2]
        if name in seen:
            raise ValueError(
                f"{root} has the video {name} twice, as {seen[name]} and {video.name}: keep one resolution in the "
                "folder, or give different videos different names."
            )
        seen[name] = video.name


def _of_split(videos: list[Video], root: Path, split: str) -> list[Video]:
    path = root / "ImageSets" / f"{split}.txt"
    if not path.is_file():
        beside = ", ".join(sorted(p.name for p in path.parent.glob("*.txt"))) or "none"
        raise ValueError(f"There is no list of videos {path}; beside it are {beside}.")
    names = path.read_text(encoding="utf-8").split()
    chosen = [video for video in videos if video.name.rpartition("/")[2] in names]
    missing = sorted(set(names) - {video.name.rpartition("/")[2] for video in chosen})
    if missing or not names:
        what = f"names videos without masks: {', '.join(missing[:5])}" if missing else "is empty"
        raise ValueError(f"The split {path} {what}.")
    return chosen


def read_mask(path: Path) -> Image:
    """Read an indexed or grey mask as uint8 (H, W) of object numbers.

    Raises:
        ValueError: it cannot be read, or is a colour image, whose colours are not numbers.
    """
    try:
        with Picture.open(path) as picture:
            if picture.mode not in ("P", "L", "1"):
                raise ValueError(f"The mask {path} must be an indexed or an 8-bit grey PNG, not {picture.mode}.")
            labels = np.array(picture, np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"The mask {path} cannot be read as an image.") from error
    labels[labels == 255] = 0
    return labels
