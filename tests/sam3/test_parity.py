"""Our detector against `transformers`' SAM 3 port on shared random weights, module by module and end to end."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.sam3 import ConceptDetector, Exemplars
from sam_core.sam3.geometry import GeometryPrompts
from sam_core.sam3.positions import centre_to_corners
from sam_core.sam3.preprocessing import prepare_image
from sam_core.sam3.text import PromptTokens
from sam_core.sam3.tokenizer import Tokenizer

TOLERANCE = 1e-4
PHRASES = ["yellow cup", "the person in a red rain coat", "wheel", "l'été, 3 cats & a dog!"]

Error = Callable[[Tensor, Tensor], float]


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.fixture
def report(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Callable[..., None]:
    """Check a figure and print it (`pytest -s` shows the table)."""

    def check(what: str, error: float) -> None:
        record_property(what, error)
        print(f"{request.node.name}: {what} {error:.2e}")
        assert error <= TOLERANCE

    return check


def batch_of_ids(phrases: list[str]) -> tuple[Tensor, Tensor]:
    """Token ids (B, 32) padded as the reference pads them (with the end token), and its attention mask."""
    ids = [torch.tensor(Tokenizer()(phrase).ids) for phrase in phrases]
    padded = torch.full((len(ids), 32), 49407)
    mask = torch.zeros(len(ids), 32, dtype=torch.long)
    for row, tokens in enumerate(ids):
        padded[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return padded, mask


def random_features(pair: Any, batch: int, seed: int = 0) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Random coarsest-level features (B, C, h, w), their position encoding, and (h, w)."""
    network = pair.network
    grid = network.backbone.vision_backbone.trunk.grid
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, network.geometry_encoder.channels, grid, grid, generator=generator)
    return features, network.backbone.vision_backbone.position_encoding(features), (grid, grid)


def random_prompt(pair: Any, batch: int, seed: int = 1) -> PromptTokens:
    """Random prompt tokens (B, 9, C) with padding of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, 9, pair.network.geometry_encoder.channels, generator=generator)
    valid = torch.arange(9)[None] < torch.tensor([9, 5, 2])[:batch, None]
    return PromptTokens(tokens, valid)


def test_released_sizes_are_the_reference_s(in_reference_words: Callable[..., Any]) -> None:
    """What shapes do not show (heads, windows, layers that repeat) must agree too."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("transformers.models.sam3")
    ours = in_reference_words("sam3").to_dict()
    # Meta's trunk was trained with PyTorch's default epsilon, which the port changed.
    assert ours["vision_config"]["backbone_config"].pop("layer_norm_eps") == 1e-5
    reference = transformers.Sam3Config().to_dict()
    assert reference["vision_config"]["backbone_config"].pop("layer_norm_eps") == 1e-6

    def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        nested = [flat(v, f"{prefix}{k}.") if isinstance(v, dict) else {f"{prefix}{k}": v} for k, v in values.items()]
        return {key: value for part in nested for key, value in part.items()}

    ours, reference = flat(ours), flat(reference)
    differing = {
        key: (ours.get(key), reference.get(key)) for key in ours | reference if ours.get(key) != reference.get(key)
    }
    assert not differing
    assert len(ours) > 60


def test_image_trunk(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    images = torch.randn(2, 3, pair.network.image_size, pair.network.image_size)
    ours = pair.network.backbone.vision_backbone.trunk(images).flatten(2).transpose(1, 2)
    reference = pair.reference.vision_encoder.backbone(images).last_hidden_state
    report("trunk", relative_error(ours, reference))


def test_image_pyramid_and_positions(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    images = torch.randn(1, 3, pair.network.image_size, pair.network.image_size)
    ours = pair.network.encode_image(images)
    reference = pair.reference.vision_encoder(images)
    assert len(ours.levels) == 3  # the half-resolution level is dropped
    for level, expected in zip(ours.levels, reference.fpn_hidden_states[:3], strict=True):
        report(f"level {tuple(level.shape[-2:])}", relative_error(level, expected))
    report("position", relative_error(ours.position, reference.fpn_position_encoding[2]))


def test_text_encoder(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    ids, mask = batch_of_ids(PHRASES)
    reference = pair.reference.get_text_features(ids, mask).pooler_output
    ours = pair.network.encode_text(torch.where(mask.bool(), ids, 0))
    assert torch.equal(ours.valid, mask.bool())
    report("text", relative_error(ours.tokens[ours.valid], reference[mask.bool()]))


def test_text_encoder_needs_no_padding(pair: Any, relative_error: Error) -> None:
    ids, mask = batch_of_ids(PHRASES[:1])
    length = int(mask.sum())
    full = pair.network.encode_text(torch.where(mask.bool(), ids, 0)).tokens[:, :length]
    assert relative_error(pair.network.encode_text(ids[:, :length]).tokens, full) < 1e-6


def test_geometry_encoder(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    features, position, _ = random_features(pair, 1)
    boxes = torch.tensor([[[0.4, 0.5, 0.3, 0.2], [0.7, 0.3, 0.5, 0.6]], [[0.2, 0.8, 0.05, 0.1], [0.5, 0.5, 0.0, 0.0]]])
    labels = torch.tensor([[1, 0], [0, 0]])
    valid = torch.tensor([[True, True], [True, False]])
    none = GeometryPrompts.none(2, features.device)
    prompts = GeometryPrompts(none.points, none.point_labels, none.points_valid, boxes, labels, valid)
    ours = pair.network.geometry_encoder(prompts, features, position)
    reference = pair.reference.geometry_encoder(
        boxes, valid, labels, (features.expand(2, -1, -1, -1),), (position.expand(2, -1, -1, -1),)
    )
    # The reference packs valid tokens to the front; their order is the same.
    for row in range(2):
        expected = reference.last_hidden_state[row, reference.attention_mask[row]]
        report(f"exemplars {row}", relative_error(ours.tokens[row, ours.valid[row]], expected))


def test_fusion_encoder(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    features, position, _ = random_features(pair, 1)
    prompt = random_prompt(pair, 3)
    ours = pair.network.transformer.encoder(
        features.flatten(2).transpose(1, 2), position.flatten(2).transpose(1, 2), prompt
    )
    reference = pair.reference.detr_encoder(
        [features.expand(3, -1, -1, -1)], prompt.tokens, [position.expand(3, -1, -1, -1)], prompt.valid
    )
    report("fused image", relative_error(ours, reference.last_hidden_state))


@pytest.mark.parametrize("spread", [1, 20], ids=["boxes-inside", "boxes-at-the-limits"])
def test_decoder(pair: Any, relative_error: Error, report: Callable[..., None], spread: int) -> None:
    decoder, other = copy.deepcopy(pair.network.transformer.decoder), copy.deepcopy(pair.reference.detr_decoder)
    for module in (decoder, other):
        module.reference_points.weight.mul_(spread)
    features, position, grid = random_features(pair, 3)
    prompt = random_prompt(pair, 3)
    tokens, places = features.flatten(2).transpose(1, 2), position.flatten(2).transpose(1, 2)
    ours = decoder(tokens, places, prompt, grid)
    reference = other(tokens, prompt.tokens, places.expand(3, -1, -1), prompt.valid, torch.tensor([grid]))
    assert reference.presence_logits.abs().max() < 9.9  # the reference clamps at 10; SAM 3 does not
    report("queries", relative_error(ours.queries, reference.intermediate_hidden_states[-1]))
    report("presence", relative_error(ours.presence[:, None], reference.presence_logits[-1]))
    last = other.box_head(reference.intermediate_hidden_states[-1])
    before = torch.logit(reference.reference_boxes[-1], eps=1e-3)
    report("boxes", relative_error(ours.boxes, (last + before).sigmoid()))


def test_position_bias(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    boxes = torch.rand(2, 5, 4)
    ours = pair.network.transformer.decoder.position_bias(boxes, (6, 9))
    reference = pair.reference.detr_decoder._get_rpb_matrix(boxes, (torch.tensor(6), torch.tensor(9)))
    report("box position bias", relative_error(ours, reference))


def test_scoring(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    prompt = random_prompt(pair, 3)
    queries = torch.randn(3, 12, prompt.tokens.shape[-1])
    ours = pair.network.dot_prod_scoring(queries, prompt)
    reference = pair.reference.dot_product_scoring(queries[None], prompt.tokens, prompt.valid)[0, ..., 0]
    report("class logits", relative_error(ours, reference))
    assert 0 < reference.abs().max() < 12
    loud = pair.network.dot_prod_scoring(100 * queries, prompt)
    expected = pair.reference.dot_product_scoring(100 * queries[None], prompt.tokens, prompt.valid)[0, ..., 0]
    assert expected.abs().max() == 12  # the clamp of both
    report("clamped class logits", relative_error(loud, expected))


def test_segmentation_head(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    features, _, grid = random_features(pair, 1)
    prompt = random_prompt(pair, 3)
    channels = features.shape[1]
    levels = [torch.randn(1, channels, 4 * grid[0], 4 * grid[1]), torch.randn(1, channels, 2 * grid[0], 2 * grid[1])]
    levels.append(features)
    image = torch.randn(3, grid[0] * grid[1], channels)
    queries = torch.randn(3, 12, channels)
    pixels, semantic = pair.network.segmentation_head(levels, image, prompt)
    predictor = pair.network.segmentation_head.mask_predictor
    ours = torch.stack([predictor(queries[row], pixels[row]) for row in range(3)])
    reference = pair.reference.mask_decoder(
        queries, [level.expand(3, -1, -1, -1) for level in levels], image, prompt.tokens, prompt.valid
    )
    report("mask logits", relative_error(ours, reference.pred_masks))
    report("semantic logits", relative_error(semantic[:, None], reference.semantic_seg))


def padded_boxes(exemplars: list[Exemplars | None], image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes (B, K, 4) and labels (B, K) as the reference takes them: at least one row, padding labelled -10."""
    most = max(1, *(0 if item is None else len(np.asarray(item.boxes)) for item in exemplars))
    boxes = torch.zeros(len(exemplars), most, 4)
    labels = torch.full((len(exemplars), most), -10)
    height, width = image_size
    for row, item in enumerate(exemplars):
        if item is not None:
            for column, (x1, y1, x2, y2) in enumerate(np.asarray(item.boxes, dtype=np.float32)):
                boxes[row, column] = torch.tensor(
                    [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
                )
            given = np.ones(len(np.asarray(item.boxes))) if item.box_labels is None else np.asarray(item.box_labels)
            labels[row, : len(given)] = torch.from_numpy(given)
    return boxes, labels


POSITIVE = Exemplars(boxes=[[10, 5, 40, 32]])
MIXED = Exemplars(boxes=[[3, 4, 30, 40], [31.5, 2, 47, 19.25], [20, 20, 33, 28]], box_labels=[1, 0, 1])


@pytest.mark.parametrize("image_size", [(48, 64), (200, 50), (111, 333)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize(
    ("phrases", "exemplars"),
    [
        (["wheel"], [None]),
        (PHRASES, [None] * 4),
        (["visual"], [POSITIVE]),
        (PHRASES[:3], [POSITIVE, None, MIXED]),
    ],
    ids=["one-phrase", "four-phrases", "exemplar-alone", "phrases-and-exemplars"],
)
def test_end_to_end(
    pair: Any,
    relative_error: Error,
    report: Callable[..., None],
    image_size: tuple[int, int],
    phrases: list[str],
    exemplars: list[Exemplars | None],
) -> None:
    detector = ConceptDetector(pair.network, "toy")
    image = np.random.default_rng(image_size[0]).integers(0, 256, (*image_size, 3), dtype=np.uint8)
    pixels = prepare_image(image, detector.image_size, detector.device, detector.dtype)
    boxes, labels = padded_boxes(exemplars, image_size)
    ids, mask = batch_of_ids(phrases)
    reference = pair.reference(
        pixel_values=pixels.expand(len(phrases), -1, -1, -1),
        input_ids=ids,
        attention_mask=mask,
        input_boxes=boxes,
        input_boxes_labels=labels,
    )
    state = detector.encode_image(image)
    if phrases == ["visual"]:
        found = detector.detect(state, (), exemplars[0], threshold=0.0)
    else:
        found = detector.detect(state, phrases, exemplars, threshold=0.0)
    assert [item.phrase for item in found] == phrases
    height, width = image_size
    for row, ours in enumerate(found):
        scores = reference.pred_logits[row].sigmoid() * reference.presence_logits[row].sigmoid()
        order = scores.argsort(descending=True)
        assert abs(ours.presence - reference.presence_logits[row].sigmoid().item()) <= TOLERANCE
        report(f"{row} scores", relative_error(ours.scores, scores[order]))
        pixels_of_box = torch.tensor([width, height, width, height])
        report(f"{row} boxes", relative_error(ours.boxes, (reference.pred_boxes[row] * pixels_of_box)[order]))
        report(f"{row} mask logits", relative_error(ours.mask_logits, reference.pred_masks[row, order]))
        resized = F.interpolate(reference.pred_masks[row, order][None], image_size, mode="bilinear")[0]
        assert ours.masks.shape == resized.shape
        differing = ours.masks != (resized > 0)
        # Only a pixel whose logit is zero within the tolerance may fall on the other side.
        assert (resized[differing].abs() <= TOLERANCE * resized.abs().max()).all()


def test_threshold_keeps_what_the_reference_keeps(pair: Any) -> None:
    detector = ConceptDetector(pair.network, "toy")
    image = np.random.default_rng(48).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    ids, mask = batch_of_ids(PHRASES)
    boxes, labels = padded_boxes([None] * len(PHRASES), (48, 64))
    pixels = prepare_image(image, detector.image_size, detector.device, detector.dtype).expand(len(PHRASES), -1, -1, -1)
    reference = pair.reference(
        pixel_values=pixels, input_ids=ids, attention_mask=mask, input_boxes=boxes, input_boxes_labels=labels
    )
    scores = reference.pred_logits.sigmoid() * reference.presence_logits.sigmoid()
    assert (scores - 0.5).abs().min() > TOLERANCE  # no score is a matter of rounding
    kept = [len(item) for item in detector.detect(detector.encode_image(image), PHRASES)]
    assert kept == (scores > 0.5).sum(dim=1).tolist()
    assert sum(kept) > 0


def test_words_alone_as_the_reference_has_them(pair: Any, relative_error: Error, report: Callable[..., None]) -> None:
    """Without boxes the port leaves the geometry encoder out; SAM 3 keeps its CLS token. Both ways must agree."""
    images = torch.randn(1, 3, pair.network.image_size, pair.network.image_size)
    ids, mask = batch_of_ids(PHRASES[:1])
    reference = pair.reference(pixel_values=images, input_ids=ids, attention_mask=mask)
    features = pair.network.encode_image(images)
    ours = pair.network.ground_prompt(features, pair.network.encode_text(torch.where(mask.bool(), ids, 0)))
    report("class logits", relative_error(ours.logits, reference.pred_logits))
    report("boxes", relative_error(centre_to_corners(ours.boxes), reference.pred_boxes))
    report("presence", relative_error(ours.presence[:, None], reference.presence_logits))
    masks, semantic = pair.network.masks(features, ours, 0, torch.arange(ours.logits.shape[1]))
    report("masks", relative_error(masks[None], reference.pred_masks))
    report("semantic", relative_error(semantic[None, None], reference.semantic_seg))
    with_cls = pair.network.ground(
        features,
        pair.network.encode_text(torch.where(mask.bool(), ids, 0)),
        GeometryPrompts.none(1, images.device),
    )
    assert relative_error(with_cls.logits, reference.pred_logits) > TOLERANCE


def test_every_parameter_is_random(pair: Any) -> None:
    """A parameter left at zero would hide a wrong place in the network."""
    for name, parameter in pair.network.named_parameters():
        if name != "backbone.vision_backbone.trunk.pos_embed":  # its unused first row is zero
            assert (parameter != 0).all(), name
