"""Segment still images by prompts: encode an image once, then ask as often as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sam_core.devices import upload
from sam_core.errors import NoFrameError, PromptError
from sam_core.isolation import inference
from sam_core.still_images.at_size import masks_and_stability
from sam_core.still_images.encoded import EncodedImage
from sam_core.still_images.grouping import batches_of, ready_prompts
from sam_core.still_images.masks import ImageMasks
from sam_core.still_images.network import ImageNetwork, PromptBatch
from sam_core.streaming.images import image_tensor
from sam_core.streaming.mask_prompt import to_array
from sam_core.streaming.prompt import Prompt


class ImagePredictor:
    """Answer prompts on still images. Not thread-safe, but for `encode` and what is given an `EncodedImage`.

    Args:
        network: SAM 1, SAM 2, SAM 2.1 or SAM 3 as `ImageNetwork`, in evaluation mode, on its device.
        name: of its configuration.
        checkpoint: file of its weights; None for random ones.
        mask_threshold: a pixel belongs to a mask where its logit is above this.
        prompts_per_batch: most prompts that go through the network together; memory grows with them.
    """

    def __init__(
        self,
        network: ImageNetwork,
        name: str = "",
        checkpoint: Path | None = None,
        *,
        mask_threshold: float = 0.0,
        prompts_per_batch: int = 64,
    ) -> None:
        if prompts_per_batch < 1:
            raise ValueError(f"prompts_per_batch must be at least 1, not {prompts_per_batch}.")
        self.network = network
        self.name = name
        self.checkpoint = checkpoint
        self.mask_threshold = mask_threshold
        self.prompts_per_batch = prompts_per_batch
        self._image: EncodedImage | None = None

    # --- images ----------------------------------------------------------------------------------------------------

    @inference
    def encode(self, image: NDArray[np.uint8] | Tensor) -> EncodedImage:
        """Encode an image (H, W, 3) uint8 RGB of any size.

        Raises:
            ImageError: not such an image.
        """
        pixels = upload(image_tensor(image), self.network.device)
        features = self.network.encode_image(self.network.normalise(pixels[None]))
        return EncodedImage(features, (pixels.shape[0], pixels.shape[1]))

    def set_image(self, image: NDArray[np.uint8] | Tensor | EncodedImage) -> None:
        """Choose the image that the next predictions are on: an image, or one that is encoded already.

        Raises:
            ImageError: not such an image; the one before stays.
        """
        self._image = image if isinstance(image, EncodedImage) else self.encode(image)

    @property
    def image(self) -> EncodedImage:
        """The image that predictions are on.

        Raises:
            NoFrameError: none was set yet.
        """
        if self._image is None:
            raise NoFrameError("There is no image yet to apply a prompt to: call set_image first.")
        return self._image

    # --- prompts ---------------------------------------------------------------------------------------------------

    def predict(
        self,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        logits: ArrayLike | Tensor | None = None,
        *,
        multimask: bool = True,
    ) -> ImageMasks:
        """Answer N prompts of one shape on the image.

        Args:
            points: (K, 2) or (N, K, 2) xy in px of the image.
            labels: (K,) or (N, K) 1 for a positive point, 0 for a negative one; all positive where None.
            boxes: (4,) or (N, 4) x_min, y_min, x_max, y_max in px.
            logits: (m, m) or (N, m, m) mask logits of an earlier answer (a row of its `low_res`) to refine.
            multimask: three candidates for each prompt, in the order of the decoder, rather than one mask: for a lone
                point, which may mean a thing or a part of it.

        Returns:
            The masks; N is 1 for arrays without that axis.

        Raises:
            NoFrameError: no image was set.
            PromptError: the prompts make no sense on the image; a sentence says which.
        """
        stacks = {
            "points": _rows(points, 3, "points"),
            "labels": _rows(labels, 2, "labels"),
            "boxes": _rows(boxes, 2, "boxes"),
            "logits": _rows(logits, 3, "logits"),
        }
        counts = {name: len(rows) for name, rows in stacks.items() if rows is not None}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{count} of {name}" for name, count in counts.items())
            raise PromptError(f"Each prompt needs a row of every array that is given, but there are {said}.")
        count = next(iter(counts.values()), 1)
        rows = [{name: None if rows is None else rows[i] for name, rows in stacks.items()} for i in range(count)]
        prompts = [Prompt(points=row["points"], labels=row["labels"], box=row["boxes"]) for row in rows]
        earlier = [None if row["logits"] is None else torch.from_numpy(row["logits"]) for row in rows]
        return self.answer(prompts, earlier, multimask=multimask)

    @inference
    def answer(
        self,
        prompts: Sequence[Prompt],
        logits: Sequence[Tensor | None] | None = None,
        *,
        multimask: bool | None = None,
        image: EncodedImage | None = None,
    ) -> ImageMasks:
        """Answer any prompts on an image; a prompt does not affect the others.

        Prompts with equally many points are one batch. A mask prompt becomes logits that the decoder refines.

        Args:
            prompts: points and a box, or a mask, of one object each; stamps and frames mean nothing here.
            logits: of each prompt, mask logits (m, m) of an earlier answer to refine, or None.
            multimask: three candidates for each prompt in the order of the decoder (True) or its single mask (False).
                None gives one mask, chosen as where an object begins to be tracked: for a lone point it is the best of
                three, if the model does so.
            image: the image; None means that of `set_image`.

        Raises:
            NoFrameError: no image was set.
            PromptError: there is no prompt, or one makes no sense on the image; a sentence says which.
        """
        if not prompts:
            raise PromptError("There is no prompt: give at least one.")
        image = self.image if image is None else image
        ready = ready_prompts(self.network, prompts, logits or [None] * len(prompts), image.size)
        order: list[int] = []
        found: list[Tensor] = []
        scores: list[Tensor] = []
        for rows, batch in batches_of(self.network, ready, image.size, self.prompts_per_batch):
            chooses = multimask is None and self.network.uses_multimask(batch.points.shape[1], begins=True)
            logits_of, ious_of = self.decode(image, batch, multimask=bool(multimask) or chooses)
            if chooses:
                each, best = torch.arange(len(rows), device=ious_of.device), ious_of.argmax(dim=1)
                logits_of, ious_of = logits_of[each, best][:, None], ious_of[each, best][:, None]
            order += rows
            found.append(logits_of)
            scores.append(ious_of)
        asked = torch.tensor(order, device=self.network.device).argsort()
        low_res, ious = torch.cat(found)[asked], torch.cat(scores)[asked]
        masks, stable = masks_and_stability(self.network, low_res.flatten(0, 1), image.size, self.mask_threshold)
        return ImageMasks(
            masks.unflatten(0, ious.shape),
            ious,
            stable.view_as(ious),
            low_res.clamp(-self.network.logit_bound, self.network.logit_bound),
            tuple(remark for prompt in ready for remark in prompt.remarks),
        )

    @inference
    def decode(self, image: EncodedImage, prompts: PromptBatch, *, multimask: bool) -> tuple[Tensor, Tensor]:
        """Answer one batch of prompts in px of the network's input.

        Returns:
            (B, M, m, m) float32 logits as the decoder gives them, and (B, M) float32 predicted IoU.
        """
        return self.network.segment(image.features, prompts, multimask=multimask)


def _rows(values: ArrayLike | Tensor | None, dimensions: int, name: str) -> NDArray[np.float32] | None:
    """Return an array with an axis of prompts in front; None for nothing.

    Raises:
        PromptError: no numbers, or an array of another shape.
    """
    if values is None:
        return None
    try:
        array = np.asarray(to_array(values), np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"The {name} must be numbers, and rows of one length.") from error
    if array.ndim == dimensions - 1:
        array = array[None]
    if array.ndim != dimensions:
        shape = " × ".join(map(str, array.shape))
        raise PromptError(
            f"The {name} must have {dimensions - 1} or {dimensions} axes, but they are {shape or 'a number'}."
        )
    return array
