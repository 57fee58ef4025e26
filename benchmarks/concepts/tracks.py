"""From words to tracks: HOTA and IDF1 of a followed phrase, of this version and of an earlier one.

    pip install --no-deps -r requirements/benchmark.txt
    python -m benchmarks.concepts.tracks --against 35ce883
    python -m benchmarks.concepts.tracks --against 35ce883 --scene busy --fps 4 --every 1 --late 1 [--detector noisy]

The scene of the twins: two red circles among things that share their colour or their shape; one is hidden for a while,
the other leaves the picture and comes back. The busy scene has more to decide on (`busy_scene.py`). Tracker and
detector have the weights of the package; with `--detector noisy` detections are made from the truth, with the faults of
a detector (`noisy_detector.py`). A seed changes the surroundings and the noise.

Each library searches the same frames. *Later*: detections arrive `--late` frames after their frame, as from the
detector's thread. *In the step*: with their frame, as where detector and tracker share a trunk; an earlier version
cannot. *Held back*: the same run, published `--held` frames later without what was withdrawn meanwhile.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.concepts.busy_scene import BusyScene
from sam_core.synthetic import TwinScene

ROOT = Path(__file__).resolve().parents[2]
MEANT = {"twins": (1, 2), "busy": BusyScene.meant}  # the red circles' numbers in the truth
SCENES: dict[str, type[TwinScene] | type[BusyScene]] = {"twins": TwinScene, "busy": BusyScene}


def extracted(commit: str, folder: Path) -> Path:
    """Write the library of a commit below a folder."""
    archive = subprocess.run(
        ["git", "archive", commit, "sam_core", "config"], cwd=ROOT, check=True, capture_output=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def followed(library: Path, output: Path, options: list[str]) -> Any:
    """Run `follow.py` with a library; return what it wrote."""
    script = ROOT / "benchmarks" / "concepts" / "follow.py"
    environment = {**os.environ, "PYTHONPATH": f"{library}{os.pathsep}{ROOT}"}
    subprocess.run([sys.executable, str(script), str(output), *options], env=environment, check=True)
    return np.load(output)


def scores(tracked: Any, scene: TwinScene | BusyScene, meant: tuple[int, ...], kind: str = "") -> dict[str, float]:
    """Return the figures of one run.

    An object counts on a frame where it has a mask; what is similar is mask IoU.

    Args:
        tracked: What `follow.py` wrote.
        scene: What it followed in.
        meant: Numbers of the things that should be tracked.
        kind: Which of the results: "" as published at once, "held_" as held back.
    """
    from trackeval.metrics import HOTA, Identity

    truth, found, similar = [], [], []
    names: dict[int, int] = {}
    for number in range(int(tracked["frames"])):
        labels = scene.render(number).labels
        real = [i for i in meant if (labels == i).any()]
        masks = np.unpackbits(tracked[f"{kind}masks{number}"], axis=1, count=labels.size).reshape(-1, *labels.shape) > 0
        seen = [k for k in range(len(masks)) if masks[k].any()]
        ids = tracked[f"{kind}ids{number}"]
        truth.append(np.array([meant.index(i) for i in real], int))
        found.append(np.array([names.setdefault(int(ids[k]), len(names)) for k in seen], int))
        similar.append(_ious([labels == i for i in real], [masks[k] for k in seen]))
    data = {
        "num_timesteps": len(truth),
        "num_gt_ids": len(meant),
        "num_tracker_ids": len(names),
        "num_gt_dets": sum(map(len, truth)),
        "num_tracker_dets": sum(map(len, found)),
        "gt_ids": truth,
        "tracker_ids": found,
        "similarity_scores": similar,
    }
    hota = HOTA().eval_sequence(data)
    identity = Identity({"PRINT_CONFIG": False}).eval_sequence(data)
    return {
        "HOTA": float(np.mean(hota["HOTA"])),
        "DetA": float(np.mean(hota["DetA"])),
        "AssA": float(np.mean(hota["AssA"])),
        "IDF1": float(identity["IDF1"]),
        "objects": float(len(names)),
    }


def _ious(ones: list[NDArray[np.bool_]], others: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    ious = np.zeros((len(ones), len(others)))
    for i, one in enumerate(ones):
        for k, other in enumerate(others):
            ious[i, k] = (one & other).sum() / ((one | other).sum() or 1)
    return ious


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concepts.tracks", description=__doc__)
    parser.add_argument("--against", default="", help="a commit whose library is run, too")
    parser.add_argument("--seeds", type=int, default=1, help="scenes")
    parser.add_argument("--scene", choices=SCENES, default="twins")
    parser.add_argument("--detector", choices=("sam3_nano", "noisy"), default="sam3_nano")
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--least", type=float, default=0.5, help="above which a detection counts")
    parser.add_argument("--score", type=float, default=0.5, help="from which a detection starts an object")
    parser.add_argument("--every", type=int, default=4, help="frames from one detection to the next")
    parser.add_argument("--late", type=int, default=2, help="frames until a detection is handed over")
    parser.add_argument("--held", type=int, default=15, help="frames by which results are held back")
    arguments = parser.parse_args()
    if arguments.detector == "noisy" and arguments.scene != "busy":
        parser.error("--detector noisy needs --scene busy")
    names = ("scene", "detector", "fps", "least", "score", "every", "late", "held")
    options = [f"--{name}={getattr(arguments, name)}" for name in names]
    rows: dict[str, list[dict[str, float]]] = {}
    print("| library | seed | HOTA | DetA | AssA | IDF1 | objects |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        runs = [("now, later", ROOT, []), ("now, in the step", ROOT, ["--in-step"])]
        if arguments.against:
            runs.insert(0, (arguments.against, extracted(arguments.against, Path(folder)), []))
        for seed in range(arguments.seeds):
            scene = SCENES[arguments.scene](width=320, height=240, seed=seed, fps=arguments.fps)
            for name, library, more in runs:
                tracked = followed(library, Path(folder) / "tracked.npz", [*options, f"--seed={seed}", *more])
                for kind in [kind for kind in ("", "held_") if f"{kind}ids0" in tracked]:
                    what = f"{name}, held back {arguments.held}" if kind else name
                    rows.setdefault(what, []).append(scores(tracked, scene, MEANT[arguments.scene], kind))
                    print(_row(what, str(seed), rows[what][-1]), flush=True)
    for what, figures in rows.items():
        print(_row(what, "mean", {key: float(np.mean([one[key] for one in figures])) for key in figures[0]}))


def _row(what: str, seed: str, figures: dict[str, float]) -> str:
    cells = [f"{figures[key]:.3f}" for key in ("HOTA", "DetA", "AssA", "IDF1")]
    return f"| {what} | {seed} | {' | '.join(cells)} | {figures['objects']:.1f} |"


if __name__ == "__main__":
    main()
