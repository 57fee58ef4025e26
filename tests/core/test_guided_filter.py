"""Mask refinement by a guided filter: against the truth, the equations, and for what it must leave alone."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core import Prompt, Stream, Tracker, build_tracker
from sam_core.streaming.masks import logits_at
from sam_core.streaming.postprocessing import guided_filter
from sam_core.streaming.postprocessing.guided_filter import Guide, refine
from tests.core.pattern import HEIGHT, WIDTH, frame

GRID, SIDE = 24, 96


def scene(corners: list[list[float]], noise: float = 6.0) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a polygon: its mask (SIDE, SIDE), its image (3, SIDE, SIDE), and coarse logits (GRID, GRID) of it."""
    rng = np.random.default_rng(0)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [np.array(corners, np.int32)], 1)
    image = np.where(mask[..., None] > 0, (200, 90, 40), (60, 110, 120)) + rng.normal(0, noise, (SIDE, SIDE, 3))
    truth = torch.from_numpy(mask).bool()
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 4.0)
    coarse = F.avg_pool2d(torch.from_numpy(blurred)[None], SIDE // GRID)[0]
    levels = torch.from_numpy(image.clip(0, 255).astype(np.uint8)).permute(2, 0, 1)
    return truth, levels, (coarse - 0.5) * 12


def iou(mask: Tensor, truth: Tensor) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


def stretched(low_res: Tensor) -> Tensor:
    return logits_at(low_res, (SIDE, SIDE))


STAR = [[20, 20], [75, 30], [50, 45], [78, 80], [40, 60], [15, 78]]
SMALL = [[36, 38], [60, 42], [50, 62]]


@pytest.mark.parametrize("corners", [STAR, SMALL], ids=["star", "small triangle"])
@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_masks_come_closer_to_the_truth(corners: list[list[float]], threshold: float) -> None:
    truth, image, coarse = scene(corners)
    before = iou(stretched(coarse[None])[0] > 0, truth)
    after = iou(refine(coarse[None] + threshold, image, threshold)[0] > threshold, truth)
    assert after > before + 0.4 * (1 - before), (before, after)


def test_only_pixels_near_the_edge_change() -> None:
    _, image, coarse = scene(STAR)
    size = 2 * guided_filter._BAND + 1
    mask = (coarse > 0).float()[None]
    far = F.max_pool2d(mask, size, 1, guided_filter._BAND) == -F.max_pool2d(-mask, size, 1, guided_filter._BAND)
    far = far.repeat_interleave(SIDE // GRID, 1).repeat_interleave(SIDE // GRID, 2)
    result = refine(coarse[None], image, 0.0)
    assert result.shape == (1, SIDE, SIDE)
    assert torch.equal(result[far], stretched(coarse[None])[far])
    assert not torch.equal(result[~far], stretched(coarse[None])[~far])


def test_a_mask_that_would_vanish_stays() -> None:
    """A faint mask of something that does not stand out from a patterned ground, and no mask at all."""
    _, image, _ = scene(STAR)
    faint, none = torch.full((2, GRID, GRID), -6.0)
    faint[2:4, 19] = 0.1
    result = refine(torch.stack((faint, none)), image, 0.0)
    assert torch.equal(result, stretched(torch.stack((faint, none))))


def test_levels_may_be_bytes_or_floats() -> None:
    _, image, coarse = scene(STAR)
    assert torch.equal(refine(coarse[None], image.float(), 0.0), refine(coarse[None], image, 0.0))


def test_the_fit_is_ridge_regression_in_every_square() -> None:
    """Guided filter, equations 13 to 16: solved window by window, with NumPy's solver."""
    rng = np.random.default_rng(1)
    height, width = 9, 11
    colours, share = rng.random((3, height, width)), rng.random((height, width))
    lines = np.zeros((height, width, 4))
    for y in range(height):
        for x in range(width):
            rows = slice(max(0, y - guided_filter._RADIUS), y + guided_filter._RADIUS + 1)
            columns = slice(max(0, x - guided_filter._RADIUS), x + guided_filter._RADIUS + 1)
            inside, values = colours[:, rows, columns].reshape(3, -1), share[rows, columns].ravel()
            centred = inside - inside.mean(1, keepdims=True)
            system = centred @ centred.T / inside.shape[1] + guided_filter._NOISE * np.eye(3)
            slopes = np.linalg.solve(system, centred @ (values - values.mean()) / inside.shape[1])
            lines[y, x] = *slopes, values.mean() - slopes @ inside.mean(1)
    expected = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            rows = slice(max(0, y - guided_filter._RADIUS), y + guided_filter._RADIUS + 1)
            columns = slice(max(0, x - guided_filter._RADIUS), x + guided_filter._RADIUS + 1)
            line = lines[rows, columns].reshape(-1, 4).mean(0)
            expected[y, x] = line[:3] @ colours[:, y, x] + line[3]
    image = torch.from_numpy(colours).float()
    guide = Guide(image)
    mine = guide.apply(guide.fit(torch.from_numpy(share).float()[None]))[0]
    np.testing.assert_allclose(mine.numpy(), expected, atol=2e-4)


def run(open_stream: Callable[..., Stream], chosen: str) -> tuple[Stream, list[Tensor]]:
    stream = open_stream(max_objects=2, mask_refinement=chosen)
    stream.step(frame(0))
    answers = [stream.add_prompt(Prompt(box=[10, 10, 50, 50])).masks]
    answers += [stream.add_prompt(Prompt(points=[[WIDTH / 2, HEIGHT / 2]], labels=[1])).masks]
    for t in range(1, 10):
        result = stream.step(frame(t))
        assert torch.equal(result.masks, result.mask_logits > 0)
        answers.append(result.masks)
    return stream, answers


def test_memory_does_not_change(micro_tracker: Tracker) -> None:
    kept, masks = run(micro_tracker.open_stream, "none")
    guided, shown = run(micro_tracker.open_stream, "guided_filter")
    assert torch.equal(kept._tracker.bank.spatial, guided._tracker.bank.spatial)
    assert torch.equal(kept._tracker.bank.pointers, guided._tracker.bank.pointers)
    for one, other in zip(kept.history.frames, guided.history.frames, strict=True):
        assert one.objects.keys() == other.objects.keys()
        assert all(torch.equal(known.low_res, other.objects[i].low_res) for i, known in one.objects.items())
    assert any(not torch.equal(a, b) for a, b in zip(masks, shown, strict=True))


def test_a_prompt_on_an_earlier_frame_is_refined_with_the_image_of_that_frame(micro_tracker: Tracker) -> None:
    late, timely = (micro_tracker.open_stream(mask_refinement="guided_filter") for _ in range(2))
    timely.step(frame(0), "then")
    expected = timely.add_prompt(Prompt(box=[10, 10, 50, 50]))
    for t in range(8):
        late.step(frame(t), "then" if t == 0 else "later")
    answer = late.add_prompt(Prompt(box=[10, 10, 50, 50], stamp="then"))
    assert torch.equal(answer.masks, expected.masks)
    assert answer.low_res.shape[1:] == (micro_tracker.image_size,) * 2


def test_a_model_names_its_mask_refinement(micro_tracker: Tracker) -> None:
    chosen = build_tracker("sam2_nano", device="cpu")
    assert chosen.open_stream(mask_refinement=None)._settings.mask_refinement == "guided_filter"
    assert chosen.open_stream(mask_refinement="none")._settings.mask_refinement == "none"
    assert micro_tracker.open_stream(mask_refinement=None)._settings.mask_refinement == "none"
    without = build_tracker("sam2_nano", device="cpu", overrides=["mask_refinement=none"])
    assert without.choices["mask_refinement"] == "none"
    with pytest.raises(ValueError, match="mask_refinement must be one of none, guided_filter, not 'sharp'"):
        micro_tracker.open_stream(mask_refinement="sharp")


def test_masks_do_not_depend_on_what_is_refined_beside_them() -> None:
    """Not a bit: five objects of several sizes, together and one by one."""
    image = scene(STAR)[1]
    corners = [STAR, SMALL, [[2, 2], [20, 4], [9, 24]], [[70, 60], [95, 70], [72, 95]], [[60, 5], [90, 9], [75, 40]]]
    low_res = torch.stack([scene(shape)[2] for shape in corners])
    together = refine(low_res, image, 0.0)
    for k, logits in enumerate(low_res):
        assert torch.equal(refine(logits[None], image, 0.0)[0], together[k])
