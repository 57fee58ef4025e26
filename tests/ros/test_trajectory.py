"""The trajectory of a thing against the truth, and the scoreboard of a phrase, on frames made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sam_core.synthetic import DemoScene, TwinScene
from sam_ros.demo.evaluation.scoreboard import Scoreboard, reunions_in
from sam_ros.demo.evaluation.trajectory import Reunion, Trajectory

SECOND = 10**9


def stamp(frame: int) -> int:
    return frame * SECOND // 10 + 5


def frames(trajectory: Trajectory | Scoreboard, ids: list[int], hidden: set[int], number: int = 1) -> None:
    """Add frames of 10 x 10 px, 10 a second: the thing is a 6 x 6 square unless hidden; ids are the objects on it."""
    for index, object_id in enumerate(ids):
        truth, labels = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint16)
        if index not in hidden:
            truth[2:8, 2:8] = number
        if object_id:
            labels[2:8, 2:7] = object_id  # 30 of 36 px
        trajectory.add(stamp(index), truth, labels)


def test_a_thing_that_is_found_hidden_and_found_again() -> None:
    trajectory = Trajectory("red ball", 1)
    frames(trajectory, [0, 0, 7, 7, 0, 0, 7, 0, 0, 7, 7], hidden={4, 5, 6, 7})
    assert trajectory.found is not None
    assert (trajectory.found.object_id, trajectory.found.stamp) == (7, stamp(2))
    assert trajectory.changes == 0
    (away,) = trajectory.returns()
    assert (away.hidden, away.back, away.found, away.frames) == (stamp(4), stamp(8), stamp(9), 1)
    assert (away.before, away.after, away.by_detector) == (7, 7, False)
    assert trajectory.absence == (4, 3), "in frame 6 the object is seen though the thing is hidden"
    # Visible from the first find on: frames 2, 3, 8, 9, 10, with a miss in frame 8.
    assert trajectory.mean_iou == pytest.approx(4 / 5 * 30 / 36)
    assert trajectory.summary() == [
        "red ball: tracked after 0.2 s as object 7, mean IoU 0.67 while visible, 0 changes of id",
        "red ball: wholly hidden in 4 frames, said to be absent in 75% of them",
        "red ball: hidden from 0.4 to 0.8 s, found again by the tracker's memory after 0.1 s, 1 frames, "
        "as object 7 (the same object)",
    ]


@pytest.mark.parametrize(
    ("object_id", "frame", "by_detector"),
    [(7, 8, True), (7, 4, True), (7, 3, False), (7, 9, False), (6, 8, False)],
)
def test_who_brought_it_back(object_id: int, frame: int, by_detector: bool) -> None:
    trajectory = Trajectory("red ball", 1)
    frames(trajectory, [7, 7, 7, 7, 0, 0, 0, 0, 0, 7, 7], hidden={4, 5, 6, 7})
    (away,) = trajectory.returns([Reunion(stamp(frame), object_id)])
    assert away.by_detector is by_detector


def test_another_object_or_none_afterwards_is_told() -> None:
    other, none, never = Trajectory("a", 1), Trajectory("b", 1), Trajectory("c", 1)
    frames(other, [4, 4, 0, 0, 0, 0, 5], hidden={2, 3, 4, 5})
    frames(none, [4, 4, 0, 0, 0, 0, 0], hidden={2, 3, 4, 5})
    frames(never, [0, 0, 0], hidden=set())
    assert (other.returns()[0].before, other.returns()[0].after) == (4, 5)
    assert other.changes == 1
    assert "object 4 before" in other.summary()[-1]
    assert none.returns()[0].found is None
    assert none.summary()[-1].endswith("not found again in 1 frames")
    assert never.summary() == ["c: never tracked in 3 frames"]
    assert (never.mean_iou, never.absence, never.changes) == (0.0, (0, 0), 0)
    assert never.figures()["found_s"] is None


def test_a_blink_is_no_absence() -> None:
    trajectory = Trajectory("a", 1)
    frames(trajectory, [4, 4, 4, 4], hidden={2})
    assert trajectory.returns() == []


def test_a_phrase_means_the_things_that_have_all_its_words() -> None:
    def numbers(phrase: str, names: tuple[str, ...]) -> list[int]:
        return [trajectory.number for trajectory in Scoreboard.of(phrase, names).trajectories]

    assert numbers("the red circle", DemoScene.object_names) == [1], "it is called a ball there"
    assert numbers("blue square", DemoScene.object_names) == [3]
    assert numbers("every object", DemoScene.object_names) == [1, 2, 3, 4]
    assert numbers("green turtle", TwinScene.object_names) == []
    assert numbers("every red ball", TwinScene.object_names) == [1, 2]


def test_a_detection_is_compared_with_the_truth() -> None:
    board = Scoreboard.of("cup", ["cup", "small cup", "plate"])
    truth = np.zeros((10, 10), np.uint8)
    truth[:4, :4], truth[6:, 6:], truth[:4, 6:] = 1, 2, 3
    half = truth == 1
    half[:, 3] = False
    board.detected(truth, [half, truth == 3])
    assert [trajectory.detected_iou for trajectory in board.trajectories] == [0.75, 0.0]
    assert board.false_alarms == 1
    board.detected(truth, [])
    assert ([trajectory.detected_iou for trajectory in board.trajectories], board.false_alarms) == ([0.0, 0.0], 0)


def test_objects_beside_what_is_meant_are_counted() -> None:
    board = Scoreboard.of("cup", ["cup", "plate"])
    frames(board, [4, 4], hidden=set())
    frames(board, [5, 5], hidden=set(), number=2)
    assert board.strays == {5: 2}
    assert board.summary()[-1] == "object 5: on none of them in 2 frames"
    assert [thing["name"] for thing in board.figures()["things"]] == ["cup"]


def test_reunions_are_read_from_the_log() -> None:
    log = (
        "[INFO] [1.5] [tracker]: following 'cup': object 1 is a new object, in the image of 1.400000000 s\n"
        "[INFO] [9.5] [tracker]: following 'cup': object 12 is an object that was lost, in the image of 9.000000007 s\n"
    )
    assert reunions_in(log) == [Reunion(9 * SECOND + 7, 12)]
