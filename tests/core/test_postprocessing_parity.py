"""Our non-overlapping masks and our hole filling against the official predictor's, on shared random weights, float32.

As in `test_stream_parity.py`: mask logits within a relative error of 1e-4 at every frame, for prompts and for tracking.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt
from sam_core.streaming.masks import logits_at
from sam_core.streaming.postprocessing import fill_holes
from tests.core.test_stream_parity import BOX, CLICK, Figure, Pair, camera, disc

pytest.importorskip("sam2.build_sam")

FRAMES = 25
AREA = 8  # Meta's builder sets it
MORE = {"points": np.array([[70.0, 50.0]], np.float32), "labels": np.array([1], np.int32)}


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.inference_mode():
        yield


def raise_contrast(pair: Pair) -> Pair:
    """Make mask logits 200 times as large in both: those of random weights are all near 0."""
    for model in (pair.model, pair.theirs.predictor):
        for mlp in model.sam_mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.mul_(200)
            mlp.layers[-1].bias.mul_(200)
    return pair


# --- Non-overlapping masks --------------------------------------------------------------------------------------------


class NonOverlapPair(Pair):
    """Both streams with non-overlapping masks.

    Pixels at which the two highest logits are equal to rounding may go to either object; `undecided` counts them.
    """

    def __init__(self) -> None:
        super().__init__(non_overlap="highest_score")
        raise_contrast(self)  # so that some logits are below those of the background, -10
        self.theirs.predictor.fill_hole_area = 0
        self.undecided = self.common = 0

    def compare(self, mine: Tensor, reference: Tensor) -> None:
        raw = logits_of_network(self)
        if self.theirs.predictor.non_overlap_masks and len(raw) > 1:
            first, second = raw.topk(2, dim=0).values
            decided = first - second > 1e-5 * raw.abs().max()
            self.undecided += int((~decided).sum())
            self.common += int(((raw > 0).sum(0) > 1).sum())
            assert raw.min() < -10
            assert ((mine > 0).sum(0) <= 1).all()
            mine, reference = mine[:, decided], reference[:, decided]
        super().compare(mine, reference)


def logits_of_network(pair: Pair) -> Tensor:
    """Return what our network said of all objects on the newest frame, (N, H, W) at the image's size."""
    frame = pair.ours.history.frame_at()
    return logits_at(torch.stack([known.low_res for known in frame.objects.values()]), frame.size)


def test_each_pixel_goes_to_the_highest_logit(figure: Figure) -> None:
    """Four objects that overlap, one of which comes later."""
    pair = NonOverlapPair()
    prompts = {0: [CLICK, BOX, {"mask": disc(50, 70, 25)}], 6: [{"mask": disc(80, 40, 30)}]}
    for i, image in enumerate(camera(FRAMES)):
        pair.theirs.predictor.non_overlap_masks = True
        pair.step(image)
        pair.theirs.predictor.non_overlap_masks = False  # ours answers a prompt with that one object alone
        for prompt in prompts.get(i, []):
            pair.prompt(**prompt)
    assert len(pair.ours.objects) == 4
    assert pair.common > 1000, "the masks hardly overlap"
    assert pair.undecided < 0.02 * FRAMES * 128**2
    figure("worst frame", pair.worst)


def test_masks_in_memory_may_overlap() -> None:
    """What is remembered is what the network says, with the option and without."""
    pair, plain = Pair(non_overlap="highest_score"), Pair()
    for i, image in enumerate(camera(6)):
        for stream in (pair.ours, plain.ours):
            result = stream.step(image)
            if i == 0:
                stream.add_prompt(Prompt(**CLICK))
                stream.add_prompt(Prompt(**BOX))
    assert (result.masks.sum(0) > 1).any()
    assert torch.equal(pair.ours._tracker.bank.spatial, plain.ours._tracker.bank.spatial)
    assert torch.equal(pair.ours._tracker.bank.pointers, plain.ours._tracker.bank.pointers)


# --- Holes ------------------------------------------------------------------------------------------------------------


class Holes:
    """Stands in for the official CUDA extension, and counts what it finds."""

    def __init__(self) -> None:
        self.filled = 0  # places in holes that are small enough

    def components(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels and the areas, both (N, 1, H, W), of connected regions with eight neighbours a place."""
        labels, areas = [], []
        for one in mask[:, 0].numpy().astype(np.uint8):
            _, label, regions, _ = cv2.connectedComponentsWithStats(one, connectivity=8)
            labels.append(label)
            areas.append(regions[:, cv2.CC_STAT_AREA][label] * one)
        self.filled += sum(int(((area > 0) & (area <= AREA)).sum()) for area in areas)
        return torch.from_numpy(np.stack(labels))[:, None], torch.from_numpy(np.stack(areas))[:, None]


@pytest.fixture
def holes(monkeypatch: pytest.MonkeyPatch) -> Holes:
    found = Holes()
    monkeypatch.setattr("sam2.utils.misc.get_connected_components", found.components)
    return found


def pair_that_fills_holes(area: int = AREA) -> Pair:
    """Both streams with hole filling; the same noise is added to both decoders' masks, which else have few holes."""
    pair = raise_contrast(Pair(fill_hole_area=area))
    pair.theirs.predictor.fill_hole_area = AREA
    side = pair.model.mask_size
    noise = 12 + 10 * torch.randn(side, side, generator=torch.Generator().manual_seed(1))
    pair.model.sam_mask_decoder.register_forward_hook(
        lambda module, inputs, decoded: replace(decoded, masks=decoded.masks + noise)
    )
    pair.theirs.predictor.sam_mask_decoder.register_forward_hook(
        lambda module, inputs, decoded: (decoded[0] + noise, *decoded[1:])
    )
    return pair


def ring(x: int, y: int, radius: int) -> np.ndarray:
    """A disc with a hole of 2 × 2 places of the network's mask."""
    mask = disc(x, y, radius)
    mask[y - 4 : y + 4, x - 4 : x + 4] = False
    return mask


@pytest.mark.parametrize("kind", ["click", "click and a second one", "box", "mask", "mask and a click"])
def test_holes_are_filled(kind: str, holes: Holes, figure: Figure) -> None:
    """In the answer to a prompt, in what goes back in with the next click, in memory, and on every frame after that."""
    prompts = {
        "click": [CLICK],
        "click and a second one": [CLICK, MORE],
        "box": [BOX],
        "mask": [{"mask": ring(48, 72, 26)}],
        "mask and a click": [{"mask": ring(48, 72, 26)}, MORE],
    }[kind]
    pair = pair_that_fills_holes()
    counts = []
    for i, image in enumerate(camera(FRAMES)):
        pair.step(image)
        if i == 0:
            target = None
            for prompt in prompts:
                target = pair.prompt(target, **prompt)
            counts.append(holes.filled)
    assert holes.filled > counts[0], "tracking filled none"
    assert counts[0] > 0, "the prompt filled none"
    figure("worst frame", pair.worst)


def test_corrections_fill_holes(holes: Holes, figure: Figure) -> None:
    """A correction starts from the mask without holes that the object had on that frame."""
    pair = pair_that_fills_holes()
    for i, image in enumerate(camera(FRAMES)):
        pair.step(image)
        if i == 0:
            target = pair.prompt(**CLICK)
        if i == 10:
            before = holes.filled
            tracked = pair.ours.history.frame_at().objects[target].low_res[None]
            assert (fill_holes(tracked, AREA) != tracked).any()
            pair.prompt(target, **MORE)
            pair.prompt(target, points=np.array([[20.0, 30.0]], np.float32), labels=np.array([0], np.int32))
            corrected = holes.filled - before
    assert corrected > 0
    figure("worst frame", pair.worst)


def test_the_comparison_notices_holes(holes: Holes) -> None:
    """The tests above would fail if ours did not fill them."""
    pair = pair_that_fills_holes(area=0)
    pair.step(next(camera(1)))
    with pytest.raises(AssertionError, match="relative error"):
        pair.prompt(mask=ring(48, 72, 26))
    assert holes.filled > 0


@pytest.mark.parametrize(("area", "filled"), [(0, 0), (1, 1), (3, 4), (4, 4), (200, 64)])
def test_a_hole_is_background_of_eight_neighbours(area: int, filled: int) -> None:
    """One place alone, three that touch at corners, and a background of 60 places: everything else is mask."""
    logits = torch.full((2, 1, 16, 16), 3.0)
    holes = torch.zeros(16, 16, dtype=torch.bool)
    holes[2, 2] = holes[10, 2] = holes[11, 3] = holes[12, 2] = True
    holes[2:12, 6:12] = True
    logits[1, 0][holes] = -2.0
    result = fill_holes(logits, area)
    changed = result != logits
    assert not changed[0].any()
    assert int(changed.sum()) == filled
    assert (result[changed] == 0.1).all()
    assert changed[1, 0, 2, 2] == (area >= 1)


def test_holes_of_a_threshold_and_of_no_mask() -> None:
    """A place at 0 is background; a mask that covers nothing is one large region."""
    assert (fill_holes(torch.zeros(3, 4, 4), 15) == 0).all()
    assert (fill_holes(torch.zeros(3, 4, 4), 16) == 0.1).all()
    assert fill_holes(torch.zeros(0, 4, 4), 8).shape == (0, 4, 4)
