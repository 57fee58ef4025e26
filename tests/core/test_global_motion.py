"""How the image moved: known shifts, nothing that moves, nothing in common; and what a motion makes of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Tracker
from sam_core.streaming import FifoPolicy, SamuraiPolicy
from sam_core.streaming.global_motion import measure_movement, shift_between, spectrum_of
from tests.core.pattern import frame
from tests.core.test_policy_samurai import Course, at, output

SIDE = 256  # 4 px a place


def scene(seed: int = 0) -> Tensor:
    """A smooth random world that is larger than the image."""
    noise = torch.rand(3, SIDE + 64, SIDE + 64, generator=torch.Generator().manual_seed(seed))
    world = torch.nn.functional.avg_pool2d(noise[None], 9, 1, 4)[0]
    return (world - world.mean()) / world.std() * 50 + 128


def view(world: Tensor, x: int = 0, y: int = 0) -> Tensor:
    return world[:, 32 - y : 32 - y + SIDE, 32 - x : 32 - x + SIDE]


@pytest.mark.parametrize("moved", [(0, 0), (8, 0), (0, -12), (-20, 16), (6, 3)], ids=str)
def test_a_known_shift_is_found(moved: tuple[int, int]) -> None:
    world = scene()
    x, y, reliable = shift_between(spectrum_of(view(world)), spectrum_of(view(world, *moved))).tolist()
    assert reliable == 1
    assert (x * SIDE, y * SIDE) == pytest.approx(moved, abs=1.5)


def test_what_moves_in_front_of_a_resting_background_is_not_taken_for_the_camera() -> None:
    world = scene()
    one, other = view(world).clone(), view(world).clone()
    one[:, 60:110, 60:110], other[:, 60:110, 100:150] = 255.0, 255.0
    shift = shift_between(spectrum_of(one), spectrum_of(other))
    assert shift.tolist() == pytest.approx([0, 0, 1], abs=0.004)


def test_images_without_anything_in_common_have_no_reliable_shift() -> None:
    for seed in range(4):
        assert shift_between(spectrum_of(view(scene())), spectrum_of(view(scene(seed + 1))))[2] == 0
    flat = spectrum_of(torch.full((3, SIDE, SIDE), 90.0))
    assert torch.isfinite(shift_between(flat, flat)).all()


def test_the_first_frame_has_no_shift() -> None:
    first = measure_movement(None, scene())
    assert first.shift is None
    assert measure_movement(first, scene()).shift is not None


def test_a_stream_measures_only_for_a_policy_that_asks(micro_tracker: Tracker) -> None:
    for policy, measures in (
        (FifoPolicy(), False),
        (SamuraiPolicy(), True),
        (SamuraiPolicy(follow_camera=False), False),
    ):
        stream = micro_tracker.open_stream(policy=policy)
        stream.step(frame(0))
        stream.add_prompt(Prompt(points=[[60, 45]], labels=[1]))
        stream.step(frame(1))
        newest = stream.history.newest
        assert newest is not None
        assert (newest.movement is not None) == measures
        assert newest.movement is None or newest.movement.shift is not None


@pytest.mark.parametrize(("shift", "taken"), [(None, 1), ([16 / 64, 0, 1], 0), ([0.5, 0, 0], 1)], ids=str)
def test_a_prediction_follows_the_camera(shift: list[float] | None, taken: int) -> None:
    """The camera turns by 16 places: the object is there, and a look-alike where it was.

    Without the shift the look-alike fits. Where no shift was found, the higher predicted IoU decides.
    """
    course = Course(SamuraiPolicy())
    for _ in range(15):
        course.see(output([at(2), None], [0.9, 0.5]))
    moved = None if shift is None else torch.tensor(shift)
    assert course.see(output([at(18), at(2)], [0.7, 0.72]), moved) == taken
