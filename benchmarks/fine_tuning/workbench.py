"""A small set of clips as a user would have them: the same six things on the same bench, elsewhere in every clip.

``python -m benchmarks.fine_tuning.workbench FOLDER`` writes them in the layout of DAVIS. They are drawn, because no
package that we know of ships clips with masks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Picture

from sam_core.training.generator import Clip, draw_frame
from sam_core.training.photos import HELD_OUT_PHOTOS
from sam_core.training.scenes import Actor, SceneSettings, curve, random_sprite, random_texture

__all__ = ["make_workbench_clip", "write_workbench"]

# Textures and photos that no training configuration draws.
_LOOK = SceneSettings(textures=("cells", "rings", "planks"), photos=HELD_OUT_PHOTOS, photo_share=0.3, contrast=60.0)
_THINGS, _SHOWN, _SEED = 6, 3, 4021


def make_workbench_clip(seed: int, frames: int = 12, size: int = 256) -> Clip:
    """Return clip number ``seed``, always the same: three of the six things cross a bench, and cover each other.

    Args:
        seed: number of the clip.
        frames: length.
        size: side of the square pictures, px.
    """
    look, rng = np.random.default_rng(_SEED), np.random.default_rng([_SEED, seed])
    background = random_texture(look, _LOOK, size * 3 // 2, size * 3 // 2)
    mean = background.reshape(-1, 3).mean(0)
    sprites = [random_sprite(look, _LOOK, mean, k / _THINGS) for k in range(_THINGS)]
    background = np.rot90(background, int(rng.integers(4))).copy()
    cast = []
    for label, k in enumerate(rng.permutation(_THINGS)[:_SHOWN], 1):
        centre = rng.uniform(0.2, 0.8, 2) + curve(rng, frames, 0.1)
        radius = rng.uniform(0.12, 0.22) * np.exp(curve(rng, frames, 0.1, 1)[:, 0])
        angle = rng.uniform(0, 2 * np.pi) + curve(rng, frames, 0.3, 1)[:, 0]
        cast.append(Actor(sprites[k], 1 - np.abs(1 - np.abs(centre) % 2), radius, angle, 1.0, None, label))
    images = np.empty((frames, size, size, 3), np.uint8)
    labels = np.zeros((frames, size, size), np.uint8)
    shift = curve(rng, frames, 0.02)
    for t in range(frames):
        draw_frame(images[t], labels[t], background, cast, np.column_stack([np.eye(2), shift[t]]), t)
    return Clip(images, labels, _SHOWN)


def write_workbench(folder: Path, training: int = 20, held_out: int = 8, frames: int = 12) -> None:
    """Write clips in the layout of DAVIS, with the splits ``train`` and ``val``.

    Args:
        folder: where.
        training: clips of the split ``train``.
        held_out: clips of the split ``val``.
        frames: length of each.
    """
    names = [f"bench_{seed:03d}" for seed in range(training + held_out)]
    for seed, name in enumerate(names):
        clip = make_workbench_clip(seed, frames)
        pictures, masks = folder / "JPEGImages" / name, folder / "Annotations" / name
        pictures.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        for t, (image, labels) in enumerate(zip(clip.images, clip.labels, strict=True)):
            cv2.imwrite(str(pictures / f"{t:05d}.jpg"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            indexed = Picture.fromarray(labels, "P")
            indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
            indexed.save(masks / f"{t:05d}.png")
    (folder / "ImageSets").mkdir(exist_ok=True)
    for split, part in (("train", names[:training]), ("val", names[training:])):
        (folder / "ImageSets" / f"{split}.txt").write_text("\n".join(part) + "\n", encoding="utf-8")


def main() -> None:
    """Write the clips into the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tuning.workbench", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write_workbench(folder)
    print(f"{folder}: 20 clips in the split train, 8 in val")


if __name__ == "__main__":
    main()
