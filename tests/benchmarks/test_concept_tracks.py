"""From words to tracks: what is measured on, and with what."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.concepts.busy_scene import BusyScene
from benchmarks.concepts.noisy_detector import NoisyDetector
from benchmarks.concepts.tracks import scores


@pytest.fixture(scope="module")
def scene() -> BusyScene:
    return BusyScene(160, 120, fps=2)


def test_every_library_gets_the_same_detections_and_every_seed_others(scene: BusyScene) -> None:
    labels = scene.render(3).labels

    def found(seed: int, number: int) -> list[float]:
        detector = NoisyDetector(scene.meant, scene.clutter, seed)
        return [one.score for one in detector.detect(labels, number, 0.0)]

    assert found(0, 3) == found(0, 3)
    assert found(0, 3) != found(1, 3)
    assert found(0, 3) != found(0, 4)


def test_without_faults_the_detector_finds_what_is_meant_and_nothing_else(scene: BusyScene) -> None:
    detector = NoisyDetector(scene.meant, scene.clutter, missed=0, doubled=0, united=0, false_alarms=0)
    for number in range(0, scene.length, 5):
        labels = scene.render(number).labels
        seen = [i for i in scene.meant if (labels == i).sum() > 60]
        found = [one.mask for one in detector.detect(labels, number, 0.0)]
        hits = {int(np.bincount(labels[mask]).argmax()) for mask in found}
        assert set(seen) <= hits <= set(scene.meant)


def test_figures_of_the_truth_itself_and_of_ids_that_change(scene: BusyScene) -> None:
    pytest.importorskip("trackeval")

    def tracked(renamed: int) -> dict[str, object]:
        made: dict[str, object] = {"frames": scene.length}
        for number in range(scene.length):
            masks = np.stack([scene.render(number).labels == i for i in scene.meant])
            ids = [i + renamed * (number >= scene.length // 2) for i in scene.meant]
            made |= {f"ids{number}": np.array(ids), f"masks{number}": np.packbits(masks.reshape(4, -1), axis=1)}
        return made

    perfect, changed = (scores(tracked(renamed), scene, scene.meant) for renamed in (0, 10))
    assert (perfect["HOTA"], perfect["IDF1"], perfect["objects"]) == (1.0, 1.0, 4)
    assert changed["DetA"] == 1.0
    assert changed["IDF1"] < 0.8
