"""The scene of the twins: its promised events, its loop, its truth."""

from __future__ import annotations

import numpy as np
import pytest

from sam_core.synthetic import SCENES, TwinScene
from sam_core.training.concepts.vocabulary import COLOURS, HELD_OUT, SHAPES

FPS = 10.0


@pytest.fixture(scope="module")
def scene() -> TwinScene:
    return TwinScene(width=320, height=240, fps=FPS)


@pytest.fixture(scope="module")
def areas(scene: TwinScene) -> np.ndarray:
    """Visible pixels of every object in every frame, (frames, objects)."""
    frames = (scene.render(i).labels for i in range(scene.length))
    return np.stack([np.bincount(labels.ravel(), minlength=6)[1:] for labels in frames])


def spells(hidden: np.ndarray) -> list[float]:
    """Return how long each spell of a looping sequence of flags lasts, s."""
    start = int(np.flatnonzero(~hidden)[0])
    rolled = np.append(np.roll(hidden, -start), False).astype(int)
    begins, ends = np.flatnonzero(np.diff(rolled) == 1), np.flatnonzero(np.diff(rolled) == -1)
    return [float(seconds) for seconds in (ends - begins) / FPS]


def test_it_is_deterministic_and_loops(scene: TwinScene) -> None:
    again = TwinScene(width=320, height=240, fps=FPS)
    for index in (0, 77):
        for part in ("image", "labels"):
            frame = getattr(scene.render(index), part)
            np.testing.assert_array_equal(frame, getattr(again.render(index), part))
            np.testing.assert_array_equal(frame, getattr(scene.render(index + scene.length), part))
    assert SCENES["twins"] is TwinScene


def test_one_hides_twice_and_the_other_leaves_once(areas: np.ndarray) -> None:
    hiding, leaving = (areas[:, k] == 0 for k in (0, 1))
    assert len(spells(hiding)) == 2
    assert min(spells(hiding)) > 1.5
    assert len(spells(leaving)) == 1
    assert spells(leaving)[0] > 4.0
    assert not (hiding & leaving).any(), "one of them is always there"
    assert (areas[:, 2:] > 0.7 * areas[:, 2:].max(axis=0)).all(), "the others never go"
    assert (areas[0] > 0).all()


def test_its_names_are_words_that_the_detector_learns(scene: TwinScene) -> None:
    looks = [tuple(name.split()[-2:]) for name in scene.object_names]
    assert looks.count(("red", "circle")) == 2
    for colour, shape in looks:
        assert colour in COLOURS
        assert shape in SHAPES
        assert (colour, shape) not in HELD_OUT


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="fps > 0"):
        TwinScene(fps=0)
