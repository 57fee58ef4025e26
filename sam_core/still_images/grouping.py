"""Prompts of a call, checked and grouped: those of equal shape go through the network as one batch.

Padding prompts to one length would let an additional token change their masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_core.errors import PromptError
from sam_core.still_images.network import ImageNetwork, PromptBatch
from sam_core.streaming.clicks import Clicks
from sam_core.streaming.prompt import Prompt, check_prompt


@dataclass(frozen=True, eq=False)
class ReadyPrompt:
    """A prompt that was checked, on the host.

    Attributes:
        clicks: points and box, in px of the image.
        logits: (1, m, m) mask logits; None without a mask.
        remarks: what was changed to make it fit the image.
    """

    clicks: Clicks
    logits: Tensor | None
    remarks: tuple[str, ...] = ()

    @property
    def kind(self) -> tuple[int, bool, bool]:
        """What prompts of one batch have in common: number of points, whether there is a box, whether a mask."""
        has_box = self.clicks.box is not None
        return len(self.clicks.points) + 2 * has_box, has_box, self.logits is not None


def ready_prompts(
    network: ImageNetwork, prompts: Sequence[Prompt], logits: Sequence[Tensor | None], size: tuple[int, int]
) -> list[ReadyPrompt]:
    """Check prompts against an image of `size` (H, W) in px.

    Args:
        network: says how large mask logits are.
        prompts: the prompts; one with logits may be empty otherwise.
        logits: of each prompt, (m, m) or (1, m, m) mask logits of an earlier answer, or None.
        size: of the image.

    Raises:
        PromptError: a sentence that says which prompt is wrong, and how.
    """
    ready = []
    for number, (prompt, earlier) in enumerate(zip(prompts, logits, strict=True), 1):
        try:
            ready.append(_ready(network, prompt, earlier, size))
        except PromptError as error:
            text = f"Prompt {number} of {len(prompts)}: {error}" if len(prompts) > 1 else str(error)
            raise PromptError(text) from error
    return ready


def _ready(network: ImageNetwork, prompt: Prompt, earlier: Tensor | None, size: tuple[int, int]) -> ReadyPrompt:
    kept = None if earlier is None else _check_logits(earlier, network.mask_size, network.logit_bound)
    if kept is not None and prompt.points is None and prompt.box is None and prompt.mask is None:
        return ReadyPrompt(Clicks(), kept)
    checked = check_prompt(prompt, *size)
    if checked.mask is not None:
        if kept is not None:
            raise PromptError("Give a mask or logits, not both.")
        kept = network.mask_to_input(torch.from_numpy(checked.mask))
    return ReadyPrompt(Clicks(checked.points, checked.labels, checked.box), kept, checked.remarks)


def _check_logits(logits: Tensor, side: int, bound: float) -> Tensor:
    if logits.numel() != side * side or logits.shape[-2:] != (side, side):
        raise PromptError(
            f"Mask logits of this model are {side} × {side}, not {' × '.join(map(str, logits.shape))}: give a row of "
            "`low_res` of an earlier answer."
        )
    logits = logits.float().view(1, side, side)
    if not bool(logits.isfinite().all()):
        raise PromptError("The mask logits contain a value that is not finite (NaN or infinity).")
    return logits.clamp(-bound, bound)


def batches_of(
    network: ImageNetwork, prompts: Sequence[ReadyPrompt], size: tuple[int, int], most: int
) -> list[tuple[list[int], PromptBatch]]:
    """Group prompts by kind into batches of at most `most`, on the network's device.

    Returns:
        Which prompts they are, and the batch.
    """
    groups: dict[tuple[int, bool, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(prompt.kind, []).append(index)
    result = []
    for rows in groups.values():
        for start in range(0, len(rows), most):
            part = rows[start : start + most]
            result.append((part, _batch(network, [prompts[index] for index in part], size)))
    return result


def _batch(network: ImageNetwork, prompts: Sequence[ReadyPrompt], size: tuple[int, int]) -> PromptBatch:
    clicks = [prompt.clicks.as_points() for prompt in prompts]
    points, labels = (torch.from_numpy(np.stack(parts)).to(network.device) for parts in zip(*clicks, strict=True))
    masks = [prompt.logits.to(network.device) for prompt in prompts if prompt.logits is not None]
    return PromptBatch(
        network.points_to_input(points, size),
        labels,
        has_box=prompts[0].clicks.box is not None,
        logits=torch.stack(masks) if masks else None,
    )
