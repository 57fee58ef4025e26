"""Print the table of boxes in space: `python -m benchmarks.depth`."""

from __future__ import annotations

import argparse
import math
import time

import cv2
import numpy as np

from benchmarks.depth.geometry import camera_of, errors_of_rooms, up_of, velocity_errors
from benchmarks.depth.layouts import random_room
from benchmarks.depth.metrics import Errors
from benchmarks.depth.pairing import wrong_pairs
from sam_core.localization import LocalizerSettings, locate
from sam_core.streaming.cropped_mask import CroppedMask
from sam_core.synthetic.depth_noise import stereo_depth

SIZES = ((640, 480), (1280, 720))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth", description=__doc__)
    parser.add_argument("--rooms", type=int, default=40, help="random rooms of up to 8 objects (default: 40)")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=50, help="timed rounds (default: 50)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print("Masks are the truth's, or changed as the row says; depth has the noise of a structured-light camera.\n")
    print("| masks | objects | no box | centre, median / p95, of distance | size, median | IoU, median | yaw, median |")
    print("|---|---|---|---|---|---|---|")
    for name, (errors, missed) in errors_of_rooms(options.rooms, options.seed, LocalizerSettings()).items():
        print(row(name, errors, missed))
        if name == "exact":
            for shape in ("box", "cylinder", "sphere"):
                print(row(f"exact, {shape}", [error for error in errors if error.shape == shape], 0))
            for low, high in ((0.5, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 5.0)):
                near = [error for error in errors if low <= error.distance < high]
                print(row(f"exact, {low:g} to {high:g} m", near, 0))
    for rate in (30.0, 10.0):
        speeds = list(velocity_errors(rate, 1.0, 8))
        print(f"\nvelocity of the cart (0.5 m/s, 3.8 m away) after 1 s at {rate:g} Hz: "
              f"median error {np.median(speeds):.3f} m/s, largest {max(speeds):.3f} m/s")  # fmt: skip
    pairs, wrong, alone = wrong_pairs(10_000, dropped=0.2, late=0.1)
    print(f"\n10,000 images at 30 Hz, 20 % of depth lost, 10 % late: {pairs} pairs, {wrong} wrong, {alone} alone")
    for width, height in SIZES:
        wall, processor = times(width, height, options.repeats)
        print(f"\n8 objects, {width} x {height}: p50 {wall:.1f} ms, processor time {processor:.1f} ms")


def row(name: str, errors: list[Errors], missed: int) -> str:
    """Return a line of the table."""
    if not errors:
        return f"| {name} | 0 | {missed} | | | | |"
    centre = np.array([error.centre / error.distance for error in errors])
    yaws = [error.yaw for error in errors if not math.isnan(error.yaw)]
    yaw = f"{math.degrees(np.median(yaws)):.1f}°" if yaws else "–"
    size, iou = np.median([error.size for error in errors]), np.median([error.iou for error in errors])
    return (
        f"| {name} | {len(errors)} | {missed} | {np.median(centre):.2%} / {np.quantile(centre, 0.95):.2%} | "
        f"{size:.1%} | {iou:.2f} | {yaw} |"
    )


def times(width: int, height: int, repeats: int) -> tuple[float, float]:
    """Return the median wall and processor time of eight objects, ms."""
    rng = np.random.default_rng(5)
    scene = random_room(rng, width, height)
    while len(scene.objects) < 8:
        scene = random_room(rng, width, height)
    frame = scene.render(0)
    depth, camera, up = stereo_depth(frame.depth, scene.intrinsics[0, 0], rng), camera_of(scene), up_of(scene)
    masks = [CroppedMask.of(frame.labels == number) for number in range(1, 9)]
    settings, walls, processors = LocalizerSettings(), [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        for mask in masks:
            locate(mask, depth, camera, settings, up)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return float(np.median(walls)) * 1e3, float(np.median(processors)) * 1e3


if __name__ == "__main__":
    main()
