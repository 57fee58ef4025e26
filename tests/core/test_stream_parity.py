"""Our stream against the official video predictor, frame by frame, on shared random weights, float32.

Mask logits: relative error at most 1e-4 at every frame. Thresholded masks: identical but for pixels whose logits lie
within 1e-3 of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.reference.errors import relative_error
from benchmarks.reference.sam2 import OfficialStream, micro_pair
from sam_core import Prompt, Stream
from sam_core.streaming import StreamSettings

pytest.importorskip("sam2.build_sam")

FRAMES = 26
SIZE = (96, 120)  # the camera's; the model's is 128 × 128
Figure = Callable[[str, float], None]
TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.inference_mode():
        yield


def camera(count: int = FRAMES, side: int = 128) -> Iterator[Tensor]:
    """Frames (side, side, 3) uint8 at the model's size (resizing is not compared): drifting noise."""
    generator = torch.Generator().manual_seed(7)
    texture = torch.randint(0, 256, (side + 4 * count, side + 4 * count, 3), generator=generator, dtype=torch.uint8)
    for i in range(count):
        yield texture[2 * i : 2 * i + side, 3 * i : 3 * i + side]


class Pair:
    """Both streams, fed alike and compared at every frame."""

    def __init__(self, version: str = "sam2.1", object_score_bias: float | None = 5.0, **settings: Any) -> None:
        torch.manual_seed(0)
        self.model, predictor = micro_pair(version, object_score_bias)
        if settings.get("corrections_are_conditioning"):
            predictor.add_all_frames_to_correct_as_cond = True
        self.ours = Stream(self.model, StreamSettings(**settings))
        self.theirs = OfficialStream(predictor)
        self.worst = 0.0
        self.states: set[str] = set()

    def step(self, image: Tensor) -> None:
        mine = self.ours.step(image)
        reference = self.theirs.step(self.model.normalise(image[None])[0], (128, 128))
        self.states.update(mine.states)
        if reference is None:
            assert len(mine) == 0
        else:
            self.compare(mine.mask_logits, reference)

    def prompt(self, object_id: int | None = None, **prompt: Any) -> int:
        mine = self.ours.add_prompt(Prompt(**prompt), object_id=object_id)
        (assigned,) = mine.object_ids
        reference = self.theirs.prompt(assigned, **prompt)
        self.compare(mine.mask_logits[0], reference)
        return assigned

    def remove(self, object_id: int) -> None:
        self.ours.remove(object_id)
        self.theirs.remove(object_id)

    def compare(self, mine: Tensor, reference: Tensor) -> None:
        error = relative_error(mine, reference)
        self.worst = max(self.worst, error)
        assert error <= TOLERANCE, f"relative error {error:.2e} at frame {self.theirs.frame}"
        differs = (mine > 0) != (reference > 0)
        assert (reference[differs].abs() <= 1e-3).all()


CLICK = {"points": np.array([[40.0, 60.0]], np.float32), "labels": np.array([1], np.int32)}
BOX = {"box": np.array([30.0, 20.0, 90.0, 100.0], np.float32)}


def disc(x: int, y: int, radius: int) -> np.ndarray:
    ys, xs = np.mgrid[:128, :128]
    return (xs - x) ** 2 + (ys - y) ** 2 < radius**2


PROMPTS = {"click": CLICK, "box": BOX, "mask": {"mask": disc(50, 70, 25)}}


@pytest.mark.parametrize(
    ("version", "kind"),
    [("sam2", "click"), *(("sam2.1", kind) for kind in PROMPTS)]
    + [pytest.param("sam2", kind, marks=pytest.mark.slow) for kind in ("box", "mask")],
)
def test_one_object(version: str, kind: str, figure: Figure) -> None:
    pair = Pair(version)
    for i, image in enumerate(camera()):
        pair.step(image)
        if i == 0:
            pair.prompt(**PROMPTS[kind])
    assert pair.states == {"tracked"}
    figure("worst frame", pair.worst)


def test_object_that_comes_and_goes(figure: Figure) -> None:
    """Presence scores on both sides of 0, so that both branches (visible, absent) occur."""
    pair = Pair(object_score_bias=None)
    heads = [model.sam_mask_decoder.pred_obj_score_head.layers[-1] for model in (pair.model, pair.theirs.predictor)]
    for head in heads:
        head.weight.mul_(20)
    for _ in range(3):  # moving the bias changes the memories, and so the scores
        scores = sorted(presence_scores(pair.model))[10:30]
        gap = max(range(len(scores) - 1), key=lambda k: scores[k + 1] - scores[k])
        for head in heads:
            head.bias.sub_((scores[gap] + scores[gap + 1]) / 2)
    for i, image in enumerate(camera(40)):
        pair.step(image)
        if i == 0:
            pair.prompt(mask=disc(50, 70, 25))
    assert pair.states == {"tracked", "absent"}
    figure("worst frame", pair.worst)


def presence_scores(model: Any) -> Iterator[float]:
    stream = Stream(model, StreamSettings())
    for i, image in enumerate(camera(40)):
        result = stream.step(image)
        if i == 0:
            stream.add_prompt(Prompt(mask=disc(50, 70, 25)))
        else:
            yield torch.logit(result.presence.double()).item()


def test_three_objects_one_added_one_removed(figure: Figure) -> None:
    pair = Pair()
    first = second = 0
    for i, image in enumerate(camera()):
        pair.step(image)
        if i == 0:
            first = pair.prompt(**CLICK)
            second = pair.prompt(**BOX)
        if i == 8:
            third = pair.prompt(mask=disc(80, 40, 20))
            assert len({first, second, third}) == 3
        if i == 15:
            pair.remove(first)
    assert [o.object_id for o in pair.ours.objects] == [second, third]
    figure("worst frame", pair.worst)


@pytest.mark.parametrize(
    ("label", "conditioning"),
    [
        pytest.param(1, False, id="positive-ordinary"),
        pytest.param(0, True, id="negative-conditioning"),
        pytest.param(1, True, id="positive-conditioning", marks=pytest.mark.slow),
        pytest.param(0, False, id="negative-ordinary", marks=pytest.mark.slow),
    ],
)
def test_correction_click(label: int, conditioning: bool, figure: Figure) -> None:
    pair = Pair(corrections_are_conditioning=conditioning)
    target = 0
    for i, image in enumerate(camera()):
        pair.step(image)
        if i == 0:
            target = pair.prompt(**CLICK)
            pair.prompt(**BOX)
        if i in (10, 13):
            pair.prompt(target, points=np.array([[70.0, 50.0]], np.float32), labels=np.array([label], np.int32))
        if i == 13:  # a second click on the same frame sees the first one
            pair.prompt(target, points=np.array([[20.0, 30.0]], np.float32), labels=np.array([1], np.int32))
    figure("worst frame", pair.worst)


@pytest.mark.parametrize("clicks", [True, False])
def test_one_mask_for_tracking(figure: Figure, clicks: bool) -> None:
    """Three candidates for a first click alone, or, as `sam2_nano` is configured, always one mask, stable or not."""
    pair = Pair()
    official = pair.theirs.predictor
    pair.model.multimask_for_tracking = official.multimask_output_for_tracking = False
    pair.model.multimask_for_clicks = official.multimask_output_in_sam = clicks
    pair.model.sam_mask_decoder.stability_fallback = False
    official.sam_mask_decoder.dynamic_multimask_via_stability = False
    asked: list[bool] = []
    decode = pair.model.decode
    pair.model.decode = lambda *args, **more: asked.append(more["multimask"]) or decode(*args, **more)  # type: ignore
    for i, image in enumerate(camera(16)):
        pair.step(image)
        if i == 0:
            target = pair.prompt(**CLICK)
        if i == 8:
            pair.prompt(target, points=np.array([[70.0, 50.0]], np.float32), labels=np.array([1], np.int32))
    assert asked == [clicks] + [False] * (len(asked) - 1)
    assert len(asked) == 17
    figure("worst frame", pair.worst)


def test_several_prompts_before_tracking(figure: Figure) -> None:
    """Clicks on the first frame add up; a mask replaces them; a click after a mask refines it."""
    pair = Pair()
    for i, image in enumerate(camera(12)):
        pair.step(image)
        if i == 0:
            target = pair.prompt(**BOX)
            pair.prompt(target, points=np.array([[60.0, 60.0]], np.float32), labels=np.array([1], np.int32))
            other = pair.prompt(mask=disc(80, 40, 20))
            pair.prompt(other, **CLICK)
        if i == 5:
            pair.prompt(target, mask=disc(64, 64, 30))
    figure("worst frame", pair.worst)


def test_short_offline_video_differs() -> None:
    """The documented difference: a video of fewer than 16 frames measures pointers' ages by its own length."""
    worst = []
    for num_frames in (8, 16):
        pair = Pair()
        errors = []
        for i, image in enumerate(camera(8)):
            mine = pair.ours.step(image)
            reference = pair.theirs.step(pair.model.normalise(image[None])[0], (128, 128))
            pair.theirs.state["num_frames"] = num_frames
            if i == 0:
                pair.prompt(**CLICK)
            elif reference is not None:
                errors.append(relative_error(mine.mask_logits, reference))
        worst.append(max(errors))
    assert worst[0] > TOLERANCE >= worst[1]


def test_comparison_notices_a_wrong_memory() -> None:
    """The tests above would fail if places in time were mixed up."""
    pair = Pair()
    pair.model.maskmem_tpos_enc.data = pair.model.maskmem_tpos_enc.flip(0)
    errors = []
    for i, image in enumerate(camera(10)):
        mine = pair.ours.step(image)
        reference = pair.theirs.step(pair.model.normalise(image[None])[0], (128, 128))
        if i == 0:
            pair.prompt(**CLICK)
        elif reference is not None:
            errors.append(relative_error(mine.mask_logits, reference))
    assert max(errors) > 50 * TOLERANCE
