from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from sam_core.training.mask_losses import dice_loss, focal_loss, mask_iou
from sam_core.training.tracking.losses import LossWeights, frame_loss, grid_loss
from sam_core.training.tracking.prompts import sample_boxes, sample_clicks, sample_corrections


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])  # probabilities 0.5, 0.75
    target = torch.tensor([[1.0, 0.0]])
    # 0.25 * 0.5^2 * ln 2 and 0.75 * 0.75^2 * ln 4
    expected = (0.25 * 0.25 * math.log(2) + 0.75 * 0.5625 * math.log(4)) / 2
    assert focal_loss(logits, target, alpha=0.25, gamma=2.0).item() == pytest.approx(expected, rel=1e-5)
    plain = (math.log(2) + math.log(4)) / 2
    assert focal_loss(logits, target, alpha=-1, gamma=0.0).item() == pytest.approx(plain, rel=1e-5)


def test_dice_loss_by_hand() -> None:
    logits = torch.tensor([[100.0, -100.0], [100.0, -100.0]])
    target = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    # p = [1 0; 1 0], t = [1 1; 0 0]: 1 - (2 * 1 + 1) / (2 + 2 + 1)
    assert dice_loss(logits, target).item() == pytest.approx(0.4)
    assert dice_loss(logits, (logits > 0).float()).item() == pytest.approx(0.0)


def test_mask_iou_by_hand() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0]])
    assert mask_iou(logits, torch.tensor([[1.0, 0.0, 1.0]])).item() == pytest.approx(1 / 3)
    assert mask_iou(-torch.ones(1, 3), torch.zeros(1, 3)).item() == 1.0


def _frame(masks: torch.Tensor, logit: float, visible: bool, **weights: float) -> tuple[torch.Tensor, torch.Tensor]:
    masks = masks.clone().requires_grad_()
    target = torch.zeros(1, 4, 4)
    target[:, :2] = 1
    loss = frame_loss(
        masks, torch.full((1, masks.shape[1]), 0.5), torch.tensor([[logit]]), target, torch.tensor([visible]),
        torch.tensor([True]), LossWeights(**weights),
    )  # fmt: skip
    loss.total.backward()
    assert masks.grad is not None
    return loss.total.detach(), masks.grad


def test_only_the_best_of_three_masks_is_supervised() -> None:
    good = torch.full((4, 4), -2.0)
    good[:2] = 2.0
    masks = torch.stack([-good, good, torch.zeros(4, 4)])[None]
    _, gradient = _frame(masks, 3.0, True)
    assert gradient[0, 1].abs().sum() > 0
    assert gradient[0, 0].abs().sum() == 0
    assert gradient[0, 2].abs().sum() == 0


def test_an_absent_object_has_only_a_score_loss() -> None:
    total, gradient = _frame(torch.ones(1, 3, 4, 4), 0.7, False)
    assert gradient.abs().sum() == 0
    assert total.item() == pytest.approx(math.log(1 + math.exp(0.7)), rel=1e-5)
    twice, _ = _frame(torch.ones(1, 3, 4, 4), 0.7, False, absent=2.0)
    assert twice.item() == pytest.approx(2 * total.item(), rel=1e-5)
    seen, seen_twice = (_frame(torch.ones(1, 3, 4, 4), 0.7, True, absent=w)[0].item() for w in (1.0, 2.0))
    assert seen == seen_twice


def test_weights_scale_the_parts() -> None:
    masks = torch.linspace(-1, 1, 16).view(1, 1, 4, 4)
    parts = {}
    for name in ("focal", "dice", "iou", "score"):
        parts[name], _ = _frame(masks, 1.0, True, **{k: float(k == name) for k in ("focal", "dice", "iou", "score")})
    total, _ = _frame(masks, 1.0, True)
    assert total.item() == pytest.approx(
        (20 * parts["focal"] + parts["dice"] + parts["iou"] + parts["score"]).item(), rel=1e-5
    )


def test_grid_loss_prefers_the_truth() -> None:
    target = torch.zeros(1, 8, 8)
    target[:, :4] = 1
    right = torch.full((1, 2, 2), -6.0)
    right[:, 0] = 6.0
    assert grid_loss(right, target) < 0.1
    assert grid_loss(-right, target) > 3


def _square() -> torch.Tensor:
    masks = torch.zeros(2, 48, 48)
    masks[0, 8:20, 4:24] = 1
    masks[1, 30:40, 30:46] = 1
    return masks


def test_clicks_fall_inside() -> None:
    masks = _square()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        points = sample_clicks(masks, 96, generator)
        index = ((points[:, 0] + 0.5) / 2).long()
        assert points.shape == (2, 1, 2)
        assert all(masks[o, index[o, 1], index[o, 0]] == 1 for o in range(2))


def test_boxes_enclose_the_object() -> None:
    boxes = sample_boxes(_square(), 96, jitter=0.0)
    assert boxes[0].tolist() == [[8.0, 16.0], [48.0, 40.0]]
    loose = sample_boxes(_square(), 96, jitter=0.1, generator=torch.Generator().manual_seed(0))
    assert (loose - boxes).abs().max() <= 0.1 * 40 + 1e-4


def test_corrections_answer_the_larger_error() -> None:
    masks = _square()
    missing = torch.where(masks > 0, -5.0, -5.0)
    points, labels = sample_corrections(missing, masks, 48, torch.Generator().manual_seed(0))
    assert labels.flatten().tolist() == [1, 1]
    everywhere = torch.full_like(masks, 5.0)
    points, labels = sample_corrections(everywhere, masks, 48, torch.Generator().manual_seed(0))
    assert labels.flatten().tolist() == [0, 0]
    index = (points[:, 0] + 0.5).long()
    assert all(masks[o, index[o, 1], index[o, 0]] == 0 for o in range(2))
    _, labels = sample_corrections(masks * 10 - 5, masks, 48)
    assert labels.flatten().tolist() == [1, 1]


class _LikeCuda(TorchFunctionMode):
    """Refuse what CUDA refuses: to draw from a generator of the CPU on another device."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if (generator := (kwargs or {}).get("generator")) is not None:
            assert result.device == generator.device, f"{function} draws on {result.device}"
        return result


def test_prompts_are_drawn_for_masks_on_any_device() -> None:
    masks, generator = _square().to("meta"), torch.Generator().manual_seed(0)
    with _LikeCuda():
        points, labels = sample_corrections(masks, masks, 96, generator)
        drawn = (sample_clicks(masks, 96, generator), sample_boxes(masks, 96, 0.1, generator), points, labels)
    assert {x.device.type for x in drawn} == {"meta"}


def test_clicks_are_drawn_by_weight() -> None:
    masks = torch.zeros(1, 1, 4)
    masks[0, 0, 1:3] = 1
    points = sample_clicks(masks.expand(4000, 1, 4), 4, torch.Generator().manual_seed(0))[:, 0, 0]
    assert set(points.tolist()) == {1.0, 2.0}
    assert points.mean().item() == pytest.approx(1.5, abs=0.03)
