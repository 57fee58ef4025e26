"""Concept detection on one image: `encode_image` once, then `detect` as often as needed."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sam_core.isolation import inference
from sam_core.sam3.checkpoint import LoadReport
from sam_core.sam3.detections import Detections, suppress_same_masks
from sam_core.sam3.errors import ExemplarError, PhraseError
from sam_core.sam3.exemplars import Exemplars, batch_exemplars
from sam_core.sam3.neck import ImageFeatures
from sam_core.sam3.network import ConceptNetwork, Grounding
from sam_core.sam3.positions import centre_to_corners
from sam_core.sam3.preprocessing import prepare_image
from sam_core.sam3.text import PromptTokens
from sam_core.sam3.tokenizer import CLIP_VOCABULARY_SIZE, PADDING, TokenizedPhrase, Tokenizer

_log = logging.getLogger(__name__)

EXEMPLARS_ALONE = "visual"  # the words that stand for "what the exemplars show"


@dataclass(frozen=True, eq=False)
class ImageState:
    """An encoded image.

    Attributes:
        features: the vision backbone's.
        image_size: (height, width) of the picture in pixels.
    """

    features: ImageFeatures
    image_size: tuple[int, int]


class ConceptDetector:
    """SAM 3's detector with its weights and its cache of phrases. One thread at a time may use it.

    Args:
        network: the network, on its device, in evaluation mode.
        name: of the model.
        context_length: most tokens of a phrase, start and end included.
        vocabulary_size: number of token ids.
        phrases_per_batch: phrases that go through the network together; more are worked off in turn.
        cached_phrases: phrases whose features are kept; the one unused for longest leaves first.
        load_report: what was loaded; None for random weights.
        shares_trunk: whether the trunk is a tracker's. Then the features of a frame that the tracker has seen come from
            `encode_trunk`.
    """

    def __init__(
        self,
        network: ConceptNetwork,
        name: str = "sam3",
        *,
        context_length: int = 32,
        vocabulary_size: int = CLIP_VOCABULARY_SIZE,
        phrases_per_batch: int = 8,
        cached_phrases: int = 256,
        load_report: LoadReport | None = None,
        shares_trunk: bool = False,
    ) -> None:
        if phrases_per_batch < 1 or cached_phrases < 0:
            raise ValueError("phrases_per_batch must be at least 1 and cached_phrases at least 0.")
        self.network = network
        self.name = name
        self.load_report = load_report
        self.shares_trunk = shares_trunk
        self.tokenizer = Tokenizer(context_length, vocabulary_size)
        self._phrases_per_batch = phrases_per_batch
        self._cache_size = cached_phrases
        self._text_cache: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that images are resized to."""
        return self.network.image_size

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self.network.parameters()).dtype

    @property
    def own_modules(self) -> list[nn.Module]:
        """The network's modules, without a trunk that is a tracker's."""
        vision = self.network.backbone.vision_backbone
        shared = set(vision.trunk.modules()) if self.shares_trunk else set()
        return [module for module in self.network.modules() if module not in shared]

    @property
    def supports_points(self) -> bool:
        """Whether the loaded weights know exemplar points (the Hugging Face layout leaves them out)."""
        return self.load_report is None or self.load_report.has_points

    @inference
    def encode_image(self, image: NDArray[np.uint8] | Tensor) -> ImageState:
        """Encode a picture, for any number of calls of `detect`.

        Args:
            image: (H, W, 3) uint8 RGB, any size, any strides.

        Raises:
            ImageError: not such a picture.
        """
        pixels = prepare_image(image, self.image_size, self.device, self.dtype)
        return ImageState(self.network.encode_image(pixels), (int(image.shape[0]), int(image.shape[1])))

    @inference
    def encode_trunk(self, trunk: Tensor, image_size: tuple[int, int]) -> ImageState:
        """Go on from what a tracker on the same trunk has computed of a picture.

        Args:
            trunk: (1, width, h, w), `trunk` of the tracker's features.
            image_size: (height, width) of the picture in pixels.
        """
        return ImageState(self.network.backbone.vision_backbone.levels(trunk.to(self.dtype)), image_size)

    def detect(
        self,
        state: ImageState,
        phrases: Sequence[str] | str = (),
        exemplars: Exemplars | Sequence[Exemplars | None] | None = None,
        threshold: float = 0.5,
        max_instances: int | None = None,
        nms_iou: float | None = None,
    ) -> list[Detections]:
        """Find every instance of each phrase.

        Args:
            state: the encoded image.
            phrases: short noun phrases; none at all to search by exemplars alone.
            exemplars: shared by all phrases, or one entry for each.
            threshold: instances must score above it.
            max_instances: return at most so many for each phrase, the best.
            nms_iou: drop an instance whose mask overlaps a better one's by more; off where None, as in the reference.

        Returns:
            One `Detections` for each phrase, in their order; one in all for exemplars without phrases.

        Raises:
            PhraseError: an empty phrase, or neither phrases nor exemplars.
            ExemplarError: an exemplar that does not fit the image.
            ValueError: a threshold outside [0, 1], or a limit that makes no sense.
        """
        return list(self.detect_each(state, phrases, exemplars, threshold, max_instances, nms_iou))

    @inference
    def detect_each(
        self,
        state: ImageState,
        phrases: Sequence[str] | str = (),
        exemplars: Exemplars | Sequence[Exemplars | None] | None = None,
        threshold: float = 0.5,
        max_instances: int | None = None,
        nms_iou: float | None = None,
    ) -> Iterator[Detections]:
        """Do the same as `detect`, and yield the instances of each phrase as they are found: for many phrases."""
        _check_limits(threshold, max_instances, nms_iou)
        words = [phrases] if isinstance(phrases, str) else list(phrases)
        if not words:
            if exemplars is None:
                raise PhraseError("A detection needs a phrase, or exemplars to search by.")
            words = [EXEMPLARS_ALONE]
        shown = self._exemplars_of(words, exemplars)
        tokenized = [self._tokenize(phrase) for phrase in words]
        for part in self._batches(len(words)):
            grounding = self._ground(state, tokenized[part], shown[part])
            for index, phrase in enumerate(words[part]):
                cut = tokenized[part][index].cut
                yield self._select(grounding, index, state, phrase, cut, threshold, max_instances, nms_iou)

    @inference
    def _ground(
        self, state: ImageState, phrases: Sequence[TokenizedPhrase], exemplars: Sequence[Exemplars | None]
    ) -> Grounding:
        geometry = batch_exemplars(exemplars, state.image_size, self.device)
        return self.network.ground(state.features, self._encode_phrases(phrases), geometry)

    def _batches(self, count: int) -> Iterator[slice]:
        return (slice(start, start + self._phrases_per_batch) for start in range(0, count, self._phrases_per_batch))

    def _exemplars_of(
        self, phrases: Sequence[str], exemplars: Exemplars | Sequence[Exemplars | None] | None
    ) -> list[Exemplars | None]:
        """Give each phrase its exemplars."""
        if exemplars is None or isinstance(exemplars, Exemplars):
            shown: list[Exemplars | None] = [exemplars] * len(phrases)
        else:
            shown = list(exemplars)
        if len(shown) != len(phrases):
            raise ExemplarError(f"{len(phrases)} phrase(s) need as many sets of exemplars, not {len(shown)}.")
        if not self.supports_points and any(item is not None and np.size(item.points) for item in shown):
            raise ExemplarError(
                "The loaded checkpoint (Hugging Face layout) has no weights for exemplar points; use boxes."
            )
        return shown

    def _tokenize(self, phrase: str) -> TokenizedPhrase:
        tokenized = self.tokenizer(phrase)
        if not tokenized.text:
            raise PhraseError(f'The phrase {phrase!r} is empty: name a concept, for instance "yellow cup".')
        if tokenized.cut:
            _log.warning(
                "The phrase %r is longer than %d tokens; cut off: %r.",
                phrase,
                self.tokenizer.context_length,
                tokenized.cut,
            )
        return tokenized

    def _encode_phrases(self, phrases: Sequence[TokenizedPhrase]) -> PromptTokens:
        """Encode phrases, those not in the cache as one batch."""
        features = {phrase.ids: self._text_cache.get(phrase.ids) for phrase in phrases}
        fresh = [ids for ids, tokens in features.items() if tokens is None]
        if fresh:
            where = self.network.backbone.language_backbone.resizer.weight.device  # possibly the CPU
            encoded = self.network.encode_text(
                self._padded([torch.tensor(ids, device="cpu") for ids in fresh]).to(where)
            )
            for ids, tokens in zip(fresh, encoded.tokens, strict=True):
                features[ids] = tokens[: len(ids)].to(device=self.device, dtype=self.dtype, copy=True)
        for ids, kept in features.items():
            assert kept is not None
            self._text_cache[ids] = kept
            self._text_cache.move_to_end(ids)
        while len(self._text_cache) > self._cache_size:
            self._text_cache.popitem(last=False)
        tokens = self._padded([kept for phrase in phrases if (kept := features[phrase.ids]) is not None])
        ids_of_all = self._padded([torch.tensor(phrase.ids, device="cpu") for phrase in phrases])
        return PromptTokens(tokens, (ids_of_all != PADDING).to(self.device))

    @staticmethod
    def _padded(rows: list[Tensor]) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)

    @inference
    def _select(
        self,
        grounding: Grounding,
        index: int,
        state: ImageState,
        phrase: str,
        cut: str,
        threshold: float,
        max_instances: int | None,
        nms_iou: float | None,
    ) -> Detections:
        """Pick the instances of one phrase above the threshold, best first, and make their masks."""
        scores = grounding.scores()[index]
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] > threshold]
        if nms_iou is None:
            order = order[:max_instances]
        logits = self._mask_logits(state, grounding, index, order)
        if nms_iou is not None:
            kept = suppress_same_masks(logits > 0, nms_iou)[:max_instances]
            order, logits = order[kept], logits[kept]
        height, width = state.image_size
        scale = logits.new_tensor([width, height, width, height])
        return Detections(
            phrase=phrase,
            image_size=state.image_size,
            scores=scores[order],
            boxes=centre_to_corners(grounding.boxes[index, order]) * scale,
            mask_logits=logits,
            presence=grounding.presence[index].sigmoid().item(),
            cut=cut,
        )

    def _mask_logits(self, state: ImageState, grounding: Grounding, index: int, order: Tensor) -> Tensor:
        """Make the masks (N, h, w) of one phrase's instances, float32; without instances there is nothing to do."""
        if len(order) == 0:
            return torch.zeros((0, *state.features.levels[0].shape[-2:]), dtype=torch.float32, device=self.device)
        return self.network.masks(state.features, grounding, index, order)[0].float()


def _check_limits(threshold: float, max_instances: int | None, nms_iou: float | None) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"The score threshold must be within [0, 1], not {threshold}.")
    if max_instances is not None and max_instances < 1:
        raise ValueError(f"The number of instances must be at least 1, not {max_instances}.")
    if nms_iou is not None and not 0 <= nms_iou <= 1:
        raise ValueError(f"The mask IoU of the suppression must be within [0, 1], not {nms_iou}.")
