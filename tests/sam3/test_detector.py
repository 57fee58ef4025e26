"""The detector as a caller sees it: phrases, exemplars, limits, cache, errors."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core.sam3 import (
    ConceptDetector,
    Detections,
    ExemplarError,
    Exemplars,
    ImageError,
    PhraseError,
    build_detector,
)
from sam_core.sam3.detections import suppress_same_masks
from sam_core.sam3.preprocessing import prepare_image

Make = Callable[..., ConceptDetector]


@pytest.fixture
def image() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def assert_same(a: Detections, b: Detections, atol: float = 1e-4) -> None:
    torch.testing.assert_close(a.scores, b.scores, atol=atol, rtol=1e-4)
    torch.testing.assert_close(a.boxes, b.boxes, atol=100 * atol, rtol=1e-4)
    scale = a.mask_logits.abs().max().item()
    torch.testing.assert_close(a.mask_logits, b.mask_logits, atol=atol * scale, rtol=0)


def test_result_has_the_promised_shapes(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    found = detector.detect(detector.encode_image(image), ["yellow cup", "wheel"], threshold=0.0)
    assert [item.phrase for item in found] == ["yellow cup", "wheel"]
    for item in found:
        assert len(item) == 12
        assert item.image_size == (60, 90)
        assert item.scores.shape == (12,)
        assert item.boxes.shape == (12, 4)
        assert (item.masks.shape, item.masks.dtype) == ((12, 60, 90), torch.bool)
        assert item.mask_logits.shape == (12, 32, 32)
        assert item.scores.dtype == item.boxes.dtype == item.mask_logits.dtype == torch.float32
        assert (item.scores.diff() <= 0).all()
        assert 0 < item.presence < 1
        assert item.cut == ""
        assert item.masks.any()
        assert not item.masks.all()
        with pytest.raises(FrozenInstanceError):
            item.phrase = "other"  # type: ignore[misc]


def test_a_single_phrase_may_be_a_string(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    state = detector.encode_image(image)
    (found,) = detector.detect(state, "yellow cup")
    assert found.phrase == "yellow cup"
    assert_same(found, detector.detect(state, ["yellow cup"])[0], atol=0)


def test_phrases_do_not_influence_each_other(make_detector: Make, image: Any) -> None:
    detector = make_detector(phrases_per_batch=3)
    state = detector.encode_image(image)
    phrases = ["yellow cup", "the long red truck over there", "wheel", "yellow cup", "a"]
    shown = [
        None,
        Exemplars(boxes=[[1, 2, 30, 40], [5, 5, 9, 50]], box_labels=[1, 0]),
        None,
        Exemplars(points=[[4, 5]]),
        None,
    ]
    together = detector.detect(state, phrases, shown, threshold=0.0)
    for phrase, exemplars, found in zip(phrases, shown, together, strict=True):
        fresh = make_detector()
        (alone,) = fresh.detect(fresh.encode_image(image), [phrase], exemplars, threshold=0.0)
        assert_same(found, alone)
    assert (together[0].mask_logits - together[3].mask_logits).abs().max() > 0.1  # the exemplar matters


def test_an_image_is_encoded_once_for_any_number_of_detections(
    make_detector: Make, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = make_detector()
    calls = []
    encode = detector.network.encode_image
    monkeypatch.setattr(detector.network, "encode_image", lambda *a, **k: calls.append(1) or encode(*a, **k))
    state = detector.encode_image(image)
    first = detector.detect(state, ["cup"], threshold=0.0)[0]
    detector.detect(state, ["wheel"], Exemplars(boxes=[[0, 0, 90, 60]]))
    assert_same(detector.detect(state, ["cup"], threshold=0.0)[0], first, atol=0)
    assert len(calls) == 1


def test_phrases_are_cached_and_the_cache_is_bounded(
    make_detector: Make, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = make_detector(cached_phrases=2)
    encoded: list[int] = []
    encode = detector.network.encode_text
    monkeypatch.setattr(detector.network, "encode_text", lambda ids: encoded.append(len(ids)) or encode(ids))
    state = detector.encode_image(image)

    def count(*phrases: str) -> int:
        encoded.clear()
        detector.detect(state, list(phrases))
        return sum(encoded)

    assert count("cup", "wheel", "cup") == 2  # the same phrase twice is one
    assert count("Wheel ", "CUP") == 0  # cleaning makes them the same; cup is now the newest
    assert count("truck") == 1  # pushes wheel out
    assert count("cup") == 0
    assert count("wheel") == 1
    assert count("a", "b", "c", "d") == 4  # more than the cache holds
    assert len(detector._text_cache) == 2


def test_a_token_with_the_padding_s_id_does_not_count(make_detector: Make) -> None:
    """SAM 3 tells padding by the id 0, which "!" has inside a run of punctuation."""
    detector = make_detector()
    tokenized = [detector.tokenizer(phrase) for phrase in ("cup !\u2600", "a big wheel over there")]
    assert tokenized[0].ids[2] == 0
    valid = detector._encode_phrases(tokenized).valid
    assert valid.tolist() == [[True, True, False, True, True, False, False], [True] * 7]


def test_no_cache_at_all(make_detector: Make, image: Any) -> None:
    detector = make_detector(cached_phrases=0)
    state = detector.encode_image(image)
    first = detector.detect(state, ["cup"], threshold=0.0)[0]
    assert_same(detector.detect(state, ["cup"], threshold=0.0)[0], first, atol=0)
    assert not detector._text_cache


def test_exemplars_alone_search_for_what_they_show(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    state = detector.encode_image(image)
    exemplars = Exemplars(boxes=[[10, 10, 30, 30]])
    (alone,) = detector.detect(state, exemplars=exemplars, threshold=0.0)
    assert alone.phrase == "visual"
    assert_same(alone, detector.detect(state, ["visual"], exemplars, threshold=0.0)[0], atol=0)


def test_labels_and_places_of_exemplars_matter(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    state = detector.encode_image(image)

    def scores(exemplars: Exemplars | None) -> Tensor:
        return detector.detect(state, ["cup"], exemplars, threshold=0.0)[0].mask_logits

    variants = [
        scores(None),
        scores(Exemplars(boxes=[[10, 10, 30, 30]])),
        scores(Exemplars(boxes=[[10, 10, 30, 30]], box_labels=[0])),
        scores(Exemplars(boxes=[[50, 10, 70, 30]])),
        scores(Exemplars(points=[[20, 20]])),
        scores(Exemplars(points=[[20, 20]], point_labels=[0])),
        scores(Exemplars(points=[[60, 20]])),
    ]
    for index, one in enumerate(variants):
        for other in variants[:index]:
            assert (one - other).abs().max() > 1e-3


def test_order_of_exemplars_does_not_matter(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    state = detector.encode_image(image)
    boxes, points = np.array([[3, 4, 30, 40], [50, 2, 80, 19], [20, 20, 33, 28]]), np.array([[5, 6], [70, 40]])
    forward = Exemplars(boxes=boxes, box_labels=[1, 0, 1], points=points, point_labels=[0, 1])
    backward = Exemplars(boxes=boxes[::-1], box_labels=[1, 0, 1], points=points[::-1], point_labels=[1, 0])
    a, b = detector.detect(state, ["cup"] * 2, [forward, backward], threshold=0.0)
    assert_same(a, b)


def test_threshold_and_limit_keep_the_best(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    state = detector.encode_image(image)
    (everything,) = detector.detect(state, ["cup"], threshold=0.0)
    middle = everything.scores[5:7].mean().item()
    (above,) = detector.detect(state, ["cup"], threshold=middle)
    assert len(above) == 6
    assert torch.equal(above.boxes, everything.boxes[:6])
    (few,) = detector.detect(state, ["cup"], threshold=middle, max_instances=2)
    assert torch.equal(few.masks, everything.masks[:2])
    (none,) = detector.detect(state, ["cup"], threshold=1.0)
    assert len(none) == 0
    assert none.masks.shape == (0, 60, 90)
    assert none.boxes.shape == (0, 4)


def test_suppression_is_off_by_default_and_drops_doubles(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    state = detector.encode_image(image)
    (everything,) = detector.detect(state, ["cup"], threshold=0.0)
    (untouched,) = detector.detect(state, ["cup"], threshold=0.0, nms_iou=1.0)
    assert torch.equal(untouched.boxes, everything.boxes)
    (apart,) = detector.detect(state, ["cup"], threshold=0.0, nms_iou=0.3)
    assert 0 < len(apart) < len(everything)
    assert apart.scores[0] == everything.scores[0]
    flat = (apart.mask_logits > 0).flatten(1).float()
    inter = flat @ flat.t()
    iou = inter / (flat.sum(1)[:, None] + flat.sum(1)[None] - inter).clamp(min=1)
    assert iou.fill_diagonal_(0).max() <= 0.3
    (two,) = detector.detect(state, ["cup"], threshold=0.0, nms_iou=0.3, max_instances=1)
    assert len(two) == 1


def test_suppression_by_hand() -> None:
    masks = torch.zeros(4, 1, 10, dtype=torch.bool)
    masks[0, 0, :4] = True
    masks[1, 0, 1:5] = True  # IoU 3 / 5 with the first
    masks[2, 0, 2:6] = True  # 2 / 6 with the first, 3 / 5 with the second
    assert suppress_same_masks(masks, 0.5) == [0, 2, 3]  # the dropped second suppresses nothing; empty masks stay
    assert suppress_same_masks(masks, 0.6) == [0, 1, 2, 3]
    assert suppress_same_masks(masks, 0.0) == [0, 3]


@pytest.mark.parametrize("phrases", [[""], ["  \n"], ["cup", ""], "", ["&nbsp;"]])
def test_empty_phrases_are_refused(make_detector: Make, image: Any, phrases: Any) -> None:
    detector = make_detector()
    with pytest.raises(PhraseError, match="is empty"):
        detector.detect(detector.encode_image(image), phrases)


STRANGE = ["🟡 cup", "كوب", "c\x00p", "\ue000\uffff", "\ud800 cup", "\u202ecup", "e\u0301" * 300, "<|endoftext|>"]


@pytest.mark.parametrize("phrase", STRANGE, ids=ascii)
def test_characters_that_the_vocabulary_does_not_know_are_a_phrase(
    make_detector: Make, image: Any, phrase: str
) -> None:
    """They are bytes to the tokenizer, also a lone surrogate, or a text that looks like a token of its own."""
    detector = make_detector()
    (found,) = detector.detect(detector.encode_image(image), [phrase], threshold=0.0)
    assert len(found) == 12
    assert found.scores.isfinite().all()
    (other,) = detector.detect(detector.encode_image(image), ["cup"], threshold=0.0)
    assert not torch.equal(found.scores, other.scores)


def test_nothing_to_search_for_is_refused(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    with pytest.raises(PhraseError, match="needs a phrase, or exemplars"):
        detector.detect(detector.encode_image(image))


def test_a_long_phrase_is_cut_and_says_so(make_detector: Make, image: Any, caplog: pytest.LogCaptureFixture) -> None:
    detector = make_detector()
    state = detector.encode_image(image)
    phrase = "cat " * 28 + "13 DOGS on Mars"
    with caplog.at_level(logging.WARNING):
        (found,) = detector.detect(state, [phrase], threshold=0.0)
    assert found.cut == "dogs on mars"
    assert found.phrase == phrase
    assert "cut off: 'dogs on mars'" in caplog.text
    (kept,) = detector.detect(state, ["cat " * 28 + "13"], threshold=0.0)
    assert kept.cut == ""
    assert_same(found, kept, atol=0)


@pytest.mark.parametrize(
    ("exemplars", "message"),
    [
        (Exemplars(boxes=[[10, 10, 95, 30]]), r"box 0 \(10, 10, 95, 30\) reaches outside the image of 90 x 60 px"),
        (Exemplars(boxes=[[1, 1, 9, 9], [-5, 0, 5, 5]]), r"box 1 \(-5, 0, 5, 5\) reaches outside"),
        (Exemplars(boxes=[[10, 10, 10, 30]]), "is empty"),
        (Exemplars(boxes=[[10, 30, 20, 10]]), "is empty"),
        (Exemplars(boxes=[[10, 10, float("nan"), 30]]), "finite"),
        (Exemplars(boxes=[10, 10, 20, 30]), r"shape \(N, 4\)"),
        (Exemplars(boxes=[["a", "b", "c", "d"]]), "must be numbers"),
        (Exemplars(boxes=[[1, 1, 9, 9]], box_labels=[1, 0]), "as many labels"),
        (Exemplars(boxes=[[1, 1, 9, 9]], box_labels=[2]), "is 1 .* or 0"),
        (Exemplars(points=[[94, 5]]), r"point 0 \(94, 5\) is outside the image of 90 x 60 px"),
        (Exemplars(points=[[5, -4.5]]), "outside the image"),
        (Exemplars(points=[[5, 6, 7]]), r"shape \(N, 2\)"),
        ([None, None], "1 phrase.* need as many sets of exemplars, not 2"),
    ],
)
def test_bad_exemplars_are_refused(make_detector: Make, image: Any, exemplars: Any, message: str) -> None:
    detector = make_detector()
    with pytest.raises(ExemplarError, match=message):
        detector.detect(detector.encode_image(image), ["cup"], exemplars)


def test_an_exemplar_may_touch_the_border(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    exemplars = Exemplars(boxes=[[0, 0, 90, 60]], points=[[0, 0], [89.9, 59.9]])
    assert len(detector.detect(detector.encode_image(image), ["cup"], exemplars, threshold=0.0)[0]) == 12


@pytest.mark.parametrize(
    "limits",
    [
        {"threshold": -0.1},
        {"threshold": 1.1},
        {"threshold": float("nan")},
        {"max_instances": 0},
        {"nms_iou": 2.0},
    ],
)
def test_senseless_limits_are_refused(make_detector: Make, image: Any, limits: Any) -> None:
    detector = make_detector()
    with pytest.raises(ValueError, match="must be"):
        detector.detect(detector.encode_image(image), ["cup"], **limits)


def test_images_come_in_any_memory_layout(make_detector: Make, image: Any) -> None:
    detector = make_detector()
    expected = detector.encode_image(image).features.levels[0]
    readonly = image.copy()
    readonly.flags.writeable = False
    mirrored_twice = np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1]
    wide = np.zeros((60, 200, 4), dtype=np.uint8)
    wide[:, 30:120, :3] = image
    for variant in (readonly, mirrored_twice, wide[:, 30:120, :3], torch.from_numpy(image)):
        assert torch.equal(detector.encode_image(variant).features.levels[0], expected)
    assert not torch.equal(detector.encode_image(image[::-1]).features.levels[0], expected)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
        torch.zeros(3, 10, 10, dtype=torch.uint8),
        torch.zeros(10, 10, 3),
        "picture.png",
    ],
)
def test_other_images_are_refused(make_detector: Make, bad: Any) -> None:
    with pytest.raises(ImageError):
        make_detector().encode_image(bad)


@pytest.mark.parametrize("size", [(37, 200), (300, 41), (48, 48)])
def test_resizing_is_pillow_s_within_a_grey_level(size: tuple[int, int]) -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    ours = prepare_image(image, 96, torch.device("cpu"), torch.float32)
    expected = np.asarray(pillow.fromarray(image).resize((96, 96), pillow.Resampling.BILINEAR), dtype=np.float32)
    grey = (ours[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(grey - expected).max() <= 1.001
    np.testing.assert_allclose(grey, np.round(grey), atol=1e-4)


def test_an_image_of_the_network_s_size_is_only_normalised() -> None:
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    ours = prepare_image(image, 32, torch.device("cpu"), torch.float32)
    expected = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    torch.testing.assert_close(ours, expected)


def test_half_precision_stays_close(make_detector: Make, image: Any, recwarn: pytest.WarningsRecorder) -> None:
    detector = make_detector()
    exemplars = Exemplars(boxes=[[10, 10, 30, 30]], points=[[50, 50]])
    (full,) = detector.detect(detector.encode_image(image), ["cup"], exemplars, threshold=0.0)
    detector = ConceptDetector(copy.deepcopy(detector.network).bfloat16())
    attention = detector.network.backbone.vision_backbone.trunk.blocks[0].attn
    assert attention.freqs_cis.dtype == torch.complex64
    assert detector.dtype == torch.bfloat16
    (half,) = detector.detect(detector.encode_image(image), ["cup"], exemplars, threshold=0.0)
    assert half.scores.dtype == half.boxes.dtype == torch.float32
    assert abs(half.presence - full.presence) < 0.02
    scale = full.boxes.abs().max()
    assert (half.boxes.mean(0) - full.boxes.mean(0)).abs().max() < 0.05 * scale
    assert not [warning for warning in recwarn if "complex" in str(warning.message)]


def test_built_by_name_with_random_weights(caplog: pytest.LogCaptureFixture, image: Any) -> None:
    with caplog.at_level(logging.WARNING):
        detector = build_detector("sam3_toy", device="cpu", overrides=["detector.phrases_per_batch=2"])
    assert "random weights" in caplog.text
    assert (detector.name, detector.image_size, detector.device.type) == ("sam3_toy", 112, "cpu")
    assert detector.load_report is None
    assert detector.supports_points
    assert not any(parameter.requires_grad for parameter in detector.network.parameters())
    found = detector.detect(detector.encode_image(image), ["a", "b", "c"], threshold=0.0)
    assert all(torch.isfinite(item.scores).all() for item in found)
