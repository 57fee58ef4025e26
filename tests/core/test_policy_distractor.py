"""DAM4SAM's rules against sequences worked out by hand: which frames enter, and which are attended to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_core.sam2 import SamOutput
from sam_core.streaming import DistractorPolicy, Observation
from sam_core.streaming.memory import MemoryIndex

SIDE = 64
Box = tuple[int, int, int, int]
OBJECT: Box = (10, 10, 30, 30)
TWIN: Box = (40, 10, 60, 30)  # the box around both is 50 × 20, of which the object's is 0.4
NEAR: Box = (30, 10, 38, 30)  # 28 × 20: 0.714


def candidates(*boxes: Box | None, iou: float = 0.9) -> SamOutput:
    """Return one object's candidates, of which the first is taken."""
    masks = torch.full((1, len(boxes), SIDE, SIDE), -10.0)
    for k, box in enumerate(boxes):
        if box is not None:
            masks[0, k, box[1] : box[3], box[0] : box[2]] = 10.0
    ious = torch.tensor([[iou, *(0.1 for _ in boxes[1:])]])
    return SamOutput(
        masks, masks, ious, torch.zeros(1, dtype=torch.long), masks[:, :1],
        torch.zeros(1, 4), torch.tensor([[5.0 if boxes[0] else -5.0]]), torch.zeros(1, 1, 4),
    )  # fmt: skip


class Course:
    """One object from its prompt on frame 0, with the index that a stream would keep."""

    def __init__(self, policy: DistractorPolicy | None = None) -> None:
        self.policy = policy or DistractorPolicy()
        slots = self.policy.conditioning_frames
        index = MemoryIndex.empty(slots, 7 + self.policy.spare_memories, 16, spare_conditioning=1)
        self.index, _ = index.remember(0, conditioning=True, spatial=True)
        self.seen = Observation(0, 1.0, 5.0, prompted=True)
        self.seen = replace(self.seen, policy_state=self.policy.note_prompt(self.seen))
        self.entered: list[int] = []

    def see(self, output: SamOutput, times: int = 1) -> None:
        """Show frames that are alike."""
        for _ in range(times):
            (evidence,) = self.policy.examine(output, [self.seen], None).evidence.numpy()
            seen = Observation(self.seen.frame + 1, float(output.ious[0, 0]), float(output.object_score), False)
            seen = replace(seen, policy_state=self.policy.note(seen, self.seen, evidence, None))
            enters, spatial = self.policy.makes_conditioning(seen), self.policy.admits(seen)
            self.index, _ = self.index.remember(
                seen.frame,
                conditioning=enters,
                spatial=spatial,
                pointer=self.policy.keeps_pointer(seen),
                dropped=self.policy.passing(self.seen) if spatial and not enters else None,
            )
            self.entered += [seen.frame] if enters else []
            self.seen = seen

    def attended(self) -> list[tuple[int, int]]:
        now = self.seen.frame + 1
        return self.policy.attend(now, self.index.conditioning.before(now), self.index.recent.before(now), 7)


ALONE = candidates(OBJECT, None, None)
BESIDE = candidates(OBJECT, TWIN, None)
GONE = candidates(None, None, None)


def test_the_recent_memory_is_the_newest_frame_and_every_fifth() -> None:
    """Frame 33 is the newest of 0 … 33; of 7 places the first frame takes one."""
    course = Course()
    course.see(ALONE, 33)
    assert course.entered == []
    assert course.attended() == [(0, 0), (10, 1), (15, 2), (20, 3), (25, 4), (30, 5), (33, 6)]
    course.see(ALONE, 2)
    assert course.attended() == [(0, 0), (10, 1), (15, 2), (20, 3), (25, 4), (30, 5), (35, 6)]


def test_while_it_is_young_few_frames_are_attended_to() -> None:
    course = Course()
    assert course.attended() == [(0, 0)]
    course.see(ALONE, 3)
    assert course.attended() == [(0, 0), (3, 6)]
    course.see(ALONE, 4)
    assert course.attended() == [(0, 0), (5, 5), (7, 6)]


def test_frames_without_the_object_are_never_in_memory() -> None:
    """It is away on frames 13 … 27; the newest frame with it stays until it is back."""
    course = Course()
    course.see(ALONE, 12)
    course.see(GONE, 15)
    assert course.attended() == [(0, 0), (5, 4), (10, 5), (12, 6)]
    assert course.index.pointers.before(28) == list(range(1, 13))
    course.see(ALONE)
    assert course.attended() == [(0, 0), (5, 4), (10, 5), (28, 6)]
    course.see(ALONE, 3)
    assert course.attended() == [(0, 0), (5, 3), (10, 4), (30, 5), (31, 6)]


def test_a_distractor_takes_an_entry_every_six_frames() -> None:
    """The first tracked frame cannot enter: one area has no median to compare with. Then 2, 8, 14 … do."""
    course = Course()
    course.see(BESIDE, 30)
    assert course.entered == [2, 8, 14, 20, 26]


def test_both_memories_fill_seven_places() -> None:
    """The first frame and the three newest entries; the others go to frames that did not enter."""
    course = Course()
    course.see(BESIDE, 33)
    assert course.entered == [2, 8, 14, 20, 26, 32]
    assert course.attended() == [(0, 0), (20, 0), (26, 0), (32, 0), (25, 4), (30, 5), (33, 6)]


def test_a_frame_that_enters_is_recent_for_the_next_one() -> None:
    course = Course()
    course.see(BESIDE, 32)
    assert course.entered[-1] == 32
    assert course.attended() == [(0, 0), (14, 0), (20, 0), (26, 0), (25, 4), (30, 5), (32, 6)]
    course.see(GONE)
    assert course.attended() == [(0, 0), (20, 0), (26, 0), (32, 0), (25, 4), (30, 5), (31, 6)], "31 was the last"


@pytest.mark.parametrize(
    ("output", "enters"),
    [
        (BESIDE, True),
        (candidates(OBJECT, None, TWIN), True),
        (ALONE, False),
        (candidates(OBJECT, NEAR, None), False),
        (candidates(OBJECT, (30, 10, 39, 30), None), True),  # 29 × 20: 0.69
        (candidates(OBJECT, (12, 12, 28, 28), OBJECT), False),  # alternatives inside of the mask
        (candidates(OBJECT, TWIN, None, iou=0.79), False),
        (candidates(OBJECT, TWIN, None, iou=0.81), True),
        (candidates((10, 10, 30, 34), TWIN, None), True),  # 480 of 400: 1.2
        (candidates((10, 10, 30, 35), TWIN, None), False),
        (candidates((10, 10, 30, 26), TWIN, None), True),  # 320 of 400: 0.8
        (candidates((10, 10, 30, 25), TWIN, None), False),
        (candidates(None, TWIN, None), False),
    ],
)
def test_what_lets_a_frame_enter(output: SamOutput, enters: bool) -> None:
    course = Course()
    course.see(ALONE, 20)
    course.see(output)
    assert course.entered == ([21] if enters else [])


def test_only_the_largest_part_of_an_alternative_counts() -> None:
    """A speck at the far corner is not the largest part outside of the mask."""
    output = candidates(OBJECT, NEAR, None)
    output.masks[0, 1, 60:63, 60:63] = 10.0
    course = Course()
    course.see(ALONE, 20)
    course.see(output)
    assert course.entered == []


def test_the_median_is_that_of_the_last_ten_frames_with_the_object() -> None:
    """Ten frames of 600 places after twenty of 400: the median has followed."""
    large = (10, 10, 30, 40)
    course = Course()
    course.see(ALONE, 20)
    course.see(candidates(large, TWIN, None), 4)
    assert course.entered == []
    course.see(candidates(large, TWIN, None), 6)
    assert course.entered == [25], "of 10 areas 5 are 400 and 5 are 600: 600 of 500 is 1.2"


def test_a_prompt_begins_anew() -> None:
    policy, course = DistractorPolicy(), Course()
    course.see(BESIDE, 8)
    state = policy.note_prompt(course.seen)
    assert (state.areas, state.entered, state.frames) == ((), None, 0)
    prompted = Observation(9, 0.1, -1.0, prompted=True, policy_state=state)
    assert policy.makes_conditioning(prompted)
    assert policy.admits(prompted)
    assert policy.keeps_pointer(prompted)


def test_state_is_bounded() -> None:
    course = Course()
    course.see(BESIDE, 700)
    assert len(course.seen.policy_state.areas) == 10
    assert course.index.conditioning.used == course.policy.conditioning_frames == 8
    assert course.index.recent.used == 10
    course.see(GONE, 301)
    course.see(ALONE)
    assert [frame for frame, _ in course.seen.policy_state.areas] == [1002], "older than 300 frames"


def test_evidence_is_a_bit_a_candidate() -> None:
    evidence = DistractorPolicy().examine(BESIDE, [Observation(0, 1.0, 5.0, False)], None).evidence.numpy()
    assert evidence.dtype == np.uint8
    assert evidence.shape == (1, 1 + SIDE * SIDE)
    bits = evidence[0, 1:].reshape(SIDE, SIDE)
    assert (bits[15, 15], bits[15, 50], bits[50, 50]) == (1, 2, 0)


@pytest.mark.parametrize(
    "settings", [{"stride": 0}, {"resolving": 0}, {"gap": -1}, {"least_iou": 2.0}, {"size_range": (1.2, 0.8)}], ids=str
)
def test_bad_settings(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        DistractorPolicy(**settings)
