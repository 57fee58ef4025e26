from __future__ import annotations

import numpy as np
import pytest

from sam_core.synthetic import DemoScene


@pytest.fixture(scope="module")
def scene() -> DemoScene:
    return DemoScene(width=320, height=240, fps=15.0)


def test_demo_scene_is_deterministic_and_loops(scene: DemoScene) -> None:
    again = DemoScene(width=320, height=240, fps=15.0)
    frame, same = scene.render(37), again.render(37)
    assert np.array_equal(frame.image, same.image)
    assert np.array_equal(frame.labels, same.labels)
    assert np.array_equal(scene.render(scene.length + 37).image, frame.image)
    assert frame.image.shape == (240, 320, 3)
    assert frame.image.dtype == np.uint8
    assert frame.labels.shape == (240, 320)


def test_demo_scene_has_the_promised_events(scene: DemoScene) -> None:
    labels = np.stack([scene.render(t).labels for t in range(scene.length)])
    counts = np.stack([(labels == k + 1).sum((1, 2)) for k in range(len(scene.object_names))])
    assert len(scene.object_names) >= 3
    assert (counts[:, 0] > 100).all(), "every object shows on the first frame"
    ball, turtle = counts[0], counts[3]
    assert (ball == 0).sum() >= 10, "the ball is hidden completely"
    assert ball[-1] > 100
    assert (turtle == 0).sum() >= 5, "the turtle leaves the picture"
    assert turtle.max() > 3 * turtle[turtle > 300].min(), "the turtle comes closer"

    def touch(t: int) -> bool:
        star = labels[t] == 2
        grown = star.copy()
        grown[1:] |= star[:-1]
        grown[:, 1:] |= star[:, :-1]
        return bool((grown & (labels[t] == 3)).any())

    assert sum(touch(t) for t in range(scene.length)) >= 10, "star and box cross"


def test_demo_scene_draws_what_it_labels(scene: DemoScene) -> None:
    frame = scene.render(0)
    star = frame.image[frame.labels == 2].mean(0)
    box = frame.image[frame.labels == 3].mean(0)
    assert star[0] > 200
    assert star[2] < 120  # yellow
    assert box[2] > 1.5 * box[0]  # blue


def test_demo_scene_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="fps"):
        DemoScene(fps=0)
