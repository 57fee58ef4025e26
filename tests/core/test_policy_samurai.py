"""SAMURAI's rules against numbers computed by hand, and its filter against the full one of eight states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core.sam2 import SamOutput
from sam_core.streaming import Observation, SamuraiPolicy
from sam_core.streaming.memory.box_filter import BoxFilter, box_iou, centred
from sam_core.streaming.memory.policies.samurai import SamuraiState

SIDE = 64
Box = tuple[int, int, int, int]


def output(boxes: list[Box | None], ious: list[float], score: float = 5.0) -> SamOutput:
    """Return candidates of one object whose masks are rectangles xyxy."""
    masks = torch.full((1, len(boxes), SIDE, SIDE), -10.0)
    for k, box in enumerate(boxes):
        if box is not None and score > 0:
            masks[0, k, box[1] : box[3], box[0] : box[2]] = 10.0
    quality = torch.tensor([ious])
    best = quality.argmax(1)
    return SamOutput(
        masks, masks, quality, best, masks[:, best], torch.zeros(1, 4), torch.tensor([[score]]), torch.zeros(1, 1, 4)
    )


class Course:
    """One object, frame by frame."""

    def __init__(self, policy: SamuraiPolicy) -> None:
        self.policy = policy
        self.seen = Observation(0, 1.0, 5.0, prompted=True)

    def see(self, candidates: SamOutput, shift: Tensor | None = None) -> int:
        """Show a frame; returns which candidate is taken."""
        examined = self.policy.examine(candidates, [self.seen], shift)
        assert examined.best is not None
        best = int(examined.best[0])
        seen = Observation(self.seen.frame + 1, float(candidates.ious[0, best]), float(candidates.object_score), False)
        state = self.policy.note(seen, self.seen, examined.evidence[0].numpy(), examined.states[0])
        self.seen = replace(seen, policy_state=state)
        return best

    @property
    def stable(self) -> int:
        return int(self.seen.policy_state.motion[20])


def at(x: int) -> Box:
    return (x, 10, x + 20, 30)


def test_the_filter_is_that_of_eight_states() -> None:
    """Against the equations of a Kalman filter with full matrices, over a course of boxes, in float64."""
    rng = np.random.default_rng(0)
    motion, seen = np.eye(8) + np.eye(8, k=4), np.eye(4, 8)
    boxes = np.array([[30, 30, 0.8, 20]]) + rng.normal(size=(12, 4)).cumsum(0) * [1, 1, 0.01, 0.5]

    def deviations(height: float, position: float, ratio: float) -> np.ndarray:
        return np.array([position * height, position * height, ratio, position * height])

    height = boxes[0, 3]
    mean = np.concatenate((boxes[0], np.zeros(4)))
    cov = np.diag(np.concatenate((deviations(height, 2 / 20, 1e-2), deviations(height, 10 / 160, 1e-5))) ** 2)
    ours = BoxFilter.begun(torch.tensor(boxes[:1]))
    for box in boxes[1:]:
        noise = np.concatenate((deviations(mean[3], 1 / 20, 1e-2), deviations(mean[3], 1 / 160, 1e-5)))
        mean, cov = motion @ mean, motion @ cov @ motion.T + np.diag(noise**2)
        total = seen @ cov @ seen.T + np.diag(deviations(mean[3], 1 / 20, 1e-1) ** 2)
        gain = cov @ seen.T @ np.linalg.inv(total)
        mean, cov = mean + gain @ (box - seen @ mean), cov - gain @ total @ gain.T
        ours = ours.predicted().updated(torch.tensor(box[None]))
        assert np.allclose(torch.cat((ours.mean, ours.velocity), 1)[0], mean, rtol=1e-9, atol=1e-9)
        assert np.allclose(ours.variance[0], np.diag(cov)[:4], rtol=1e-9)
        assert np.allclose(ours.velocity_variance[0], np.diag(cov)[4:], rtol=1e-9)
        assert np.allclose(ours.covariance[0], np.diag(cov[:4, 4:]), rtol=1e-9)


def test_boxes_and_their_overlap() -> None:
    assert centred(torch.tensor([[10.0, 20, 40, 40]])).tolist() == [[25, 30, 1.5, 20]]
    assert centred(torch.tensor([[0.0, 0, 0, 0]])).tolist() == [[0, 0, 0, 1]]
    one = torch.tensor([[0.0, 0, 10, 10]])
    others = torch.tensor([[[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]]])
    assert box_iou(one, others)[0].tolist() == pytest.approx([1, 1 / 3, 0, 0])


def test_motion_counts_once_it_was_stable_for_fifteen_frames() -> None:
    """A look-alike at the far side has 0.2 more predicted IoU: 0.75 · 0.9 = 0.675 < 0.25 · 1 + 0.75 · 0.7 = 0.775."""
    course = Course(SamuraiPolicy())
    both = output([at(2), at(40)], [0.7, 0.9])
    for frame in range(1, 16):
        assert course.see(output([at(2), None], [0.9, 0.5])) == 0
        assert course.stable == frame
        assert course.seen.policy_state.motion_score is None
    assert course.see(both) == 0
    assert course.seen.policy_state.motion_score == pytest.approx(1.0)
    assert course.stable == 15
    early = Course(SamuraiPolicy())
    for _ in range(14):
        early.see(output([at(2), None], [0.9, 0.5]))
    assert early.see(both) == 1, "on frame 15 the motion is not stable yet"


def test_a_look_alike_that_is_better_by_more_than_a_third_is_taken() -> None:
    """0.75 · 0.95 = 0.7125 > 0.25 + 0.75 · 0.6 = 0.7."""
    course = Course(SamuraiPolicy())
    for _ in range(15):
        course.see(output([at(2), None], [0.9, 0.5]))
    assert course.see(output([at(2), at(40)], [0.6, 0.95])) == 1
    assert course.seen.policy_state.motion_score == 0.0
    assert not SamuraiPolicy().retains(course.seen), "a frame that does not fit the motion leaves no memory"


def test_the_prediction_moves_on_with_the_object() -> None:
    """The object moves by one place a frame; its twin waits where it was before."""
    course = Course(SamuraiPolicy())
    for frame in range(20):
        course.see(output([at(frame), None], [0.9, 0.5]))
    assert course.see(output([at(20), at(8)], [0.7, 0.75])) == 0
    assert course.seen.policy_state.motion_score > 0.9


@pytest.mark.parametrize("iou", [0.3, 0.1])
def test_a_poor_mask_ends_a_motion(iou: float) -> None:
    course = Course(SamuraiPolicy())
    for _ in range(15):
        course.see(output([at(2), None], [0.9, 0.0]))
    course.see(output([at(2), None], [iou - 1e-4, 0.0]))
    assert course.stable == 0
    course.see(output([at(30), None], [0.9, 0.0]))
    assert course.stable == 1, "it begins anew with the next mask"
    assert course.seen.policy_state.motion[:4].tolist() == [40, 20, 1, 20]


def test_absence_ends_a_motion_and_begins_none() -> None:
    course = Course(SamuraiPolicy())
    for _ in range(15):
        course.see(output([at(2), None], [0.9, 0.0]))
    for _ in range(3):
        course.see(output([at(2), None], [0.9, 0.0], score=-1.0))
        assert course.stable == 0
    course.see(output([None, None], [0.9, 0.0]))
    assert course.stable == 0, "an empty mask has no box"


def test_memories_need_three_scores() -> None:
    policy = SamuraiPolicy()

    def seen(iou: float, score: float, motion: float | None) -> Observation:
        return Observation(5, iou, score, False, policy_state=SamuraiState(torch.zeros(21), motion))

    assert policy.retains(seen(0.51, 0.1, None))
    assert policy.retains(seen(0.51, 0.1, 0.01))
    assert not policy.retains(seen(0.5, 0.1, 0.01))
    assert not policy.retains(seen(0.51, 0.0, 0.01))
    assert not policy.retains(seen(0.51, 0.1, 0.0))
    assert policy.retains(Observation(5, 0.0, -1.0, prompted=True))
    assert policy.passing(seen(0.1, 0.1, None)) == 5, "the previous frame serves the next one in any case"
    assert policy.passing(seen(0.9, 0.1, None)) is None


def test_the_newest_six_that_qualify_are_attended_to() -> None:
    stored = [3, 40, 41, 42, 50, 90, 99]
    assert SamuraiPolicy().attend(100, [0], stored, 7) == [
        (0, 0), (40, 1), (41, 2), (42, 3), (50, 4), (90, 5), (99, 6)
    ]  # fmt: skip
    assert SamuraiPolicy(reach=15).attend(100, [0], stored, 7) == [(0, 0), (90, 5), (99, 6)]


@pytest.mark.parametrize(
    "settings", [{"alpha": 1.1}, {"stable_iou": -0.1}, {"stable_frames": 0}, {"reach": 0}], ids=str
)
def test_bad_settings(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SamuraiPolicy(**settings)


def test_objects_do_not_depend_on_each_other() -> None:
    """Bit for bit, whatever the batch."""
    generator = torch.Generator().manual_seed(0)
    policy, last = SamuraiPolicy(), [Observation(0, 1.0, 5.0, prompted=True)] * 5
    alone = last[2]

    def part(tensor: Tensor) -> Tensor:
        return tensor[2:3]

    for frame in range(1, 24):
        masks = torch.nn.functional.avg_pool2d(torch.randn(5, 3, SIDE, SIDE, generator=generator), 9, 1, 4) - 0.1
        ious, score = torch.rand(5, 3, generator=generator) * 0.5 + 0.4, torch.randn(5, 1, generator=generator) + 3
        best = ious.argmax(1)
        rest = (masks[:, :1], torch.zeros(5, 4), score, torch.zeros(5, 1, 4))
        many = policy.examine(SamOutput(masks, masks, ious, best, *rest), last, None)
        one = policy.examine(
            SamOutput(part(masks), part(masks), part(ious), part(best), *map(part, rest)), [alone], None
        )
        assert torch.equal(many.states[2], one.states[0])
        assert torch.equal(many.evidence[2], one.evidence[0])
        last = [
            Observation(frame, 0.9, 1.0, False, policy_state=policy.note(seen, seen, evidence, state))
            for seen, evidence, state in zip(last, many.evidence.numpy(), many.states, strict=True)
        ]
        alone = last[2]
    assert any(seen.policy_state.motion[20] > 10 for seen in last)
