"""Detection by phrases: our detector beside `transformers`' `Sam3Model`, same random weights, one image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.reference.peers import MissingPeerError, required
from benchmarks.reference.sam3 import reference_config, share_random_weights
from benchmarks.speed.report import Section
from benchmarks.speed.timing import Meter, tell
from benchmarks.speed.work import frames
from sam_core.sam3 import ConceptDetector, build_network
from sam_core.sam3.preprocessing import prepare_image

__all__ = ["SMALL", "detection_times"]

SIZE = (640, 480)  # px of the image
# SAM 3's structure at a size that a CPU takes a fraction of a second for.
SMALL = (
    "sizes.image_size=336",
    "sizes.channels=64",
    "sizes.num_heads=8",
    "sizes.hidden=256",
    "model.backbone.vision_backbone.trunk.width=256",
    "model.backbone.vision_backbone.trunk.num_heads=8",
    "model.backbone.vision_backbone.trunk.depth=12",
    "model.backbone.vision_backbone.trunk.window=12",
    "model.backbone.vision_backbone.trunk.global_blocks=[2,5,8,11]",
)
WORDS = ("yellow cup", "the red ball", "wheel", "a wooden floor")


def detection_times(
    model: str, overrides: Sequence[str], counts: Sequence[int], meter: Meter, *, rounds: int
) -> Section:
    """Time image and words → instances, in turns, for several numbers of phrases.

    Every turn encodes a new image and all phrases: our caches of image features and phrases are not used.
    """
    section = Section(
        "detect",
        f"Detection by words, {model}{' reduced' if overrides else ''}, {SIZE[0]} × {SIZE[1]} px image",
        {"phrases": "phrases", "contender": "contender", "ms": "ms", "over transformers": "over transformers"},
    )
    device = meter.device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    network = build_network(model, list(overrides)).requires_grad_(False)
    try:
        reference = _reference(model, overrides, network).to(device=device, dtype=dtype)
    except MissingPeerError as error:
        reference = None
        section.notes.append(f"transformers takes no part: {error}.")
    detector = ConceptDetector(network.to(device=device, dtype=dtype), model, cached_phrases=0, phrases_per_batch=8)
    images = frames(*SIZE, count=8)
    for count in counts:
        phrases = [WORDS[k % len(WORDS)] for k in range(count)]
        tokens = [detector.tokenizer(phrase).ids for phrase in phrases]
        ids, mask = _padded(tokens, device)

        def ours(image: Any, phrases: Sequence[str] = phrases) -> None:
            for found in detector.detect_each(detector.encode_image(image), phrases, threshold=0.5):
                list(found.masks_in_parts())  # made on demand, and part of what is timed

        def theirs(image: Any, ids: torch.Tensor = ids, mask: torch.Tensor = mask) -> None:
            _detect_with_reference(reference, image, ids, mask, detector.image_size, dtype)

        tell(f"{count} phrases: timing")
        runs: dict[str, Callable[[Any], None]] = {"ours": ours} | ({"transformers": theirs} if reference else {})
        times = _interleave(runs, images, meter, rounds)
        tell("timed")
        for name, seconds in times.items():
            row: dict[str, Any] = {"phrases": count, "contender": f"{name}, {str(dtype).removeprefix('torch.')}"}
            row["ms"] = 1000 * median(seconds)
            if name == "ours" and "transformers" in times:
                row["over transformers"] = median(a / b for a, b in zip(seconds, times["transformers"], strict=True))
            section.rows.append(row)
    return section


@torch.inference_mode()
def _detect_with_reference(
    reference: Any, image: Any, ids: torch.Tensor, mask: torch.Tensor, side: int, dtype: torch.dtype
) -> None:
    """Detect with the reference: resize, encode the image once, ground each phrase, masks of scores above 0.5."""
    pixels = prepare_image(image, side, ids.device, dtype)
    vision = reference.vision_encoder(pixels)
    for row in range(len(ids)):
        found = reference(vision_embeds=vision, input_ids=ids[row : row + 1], attention_mask=mask[row : row + 1])
        scores = found.pred_logits[0].sigmoid() * found.presence_logits[0].sigmoid()
        kept = found.pred_masks[0, scores > 0.5].float()
        if len(kept):
            F.interpolate(kept[None], (image.shape[0], image.shape[1]), mode="bilinear").gt(0)


def _interleave(
    runs: dict[str, Callable[[Any], None]], images: Sequence[Any], meter: Meter, rounds: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            begin = meter.read()
            run(images[turn % len(images)])
            elapsed = meter.read() - begin
            if turn:
                times[name].append(elapsed)
    return times


def _padded(tokens: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids (B, 32), padded as the reference pads them (with the end token), and its attention mask."""
    ids = torch.full((len(tokens), 32), 49407)
    mask = torch.zeros(len(tokens), 32, dtype=torch.long)
    for row, values in enumerate(tokens):
        ids[row, : len(values)] = torch.tensor(values)
        mask[row, : len(values)] = 1
    return ids.to(device), mask.to(device)


def _reference(model: str, overrides: Sequence[str], network: Any) -> Any:
    """Build `Sam3Model` at our configuration's sizes, both on the same random weights."""
    modeling = required("transformers.models.sam3.modeling_sam3")
    reference = modeling.Sam3Model(reference_config(model, list(overrides))).eval().requires_grad_(False)
    share_random_weights(network, reference)
    return reference
