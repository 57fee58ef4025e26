"""Each network against the official code on shared random weights, float32: relative error at most 1e-5."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.reference.errors import relative_error
from benchmarks.reference.sam2 import OFFICIAL_CONFIGS, micro_pair, official_predictor
from benchmarks.reference.weights import randomise
from sam_core.build import build_model
from sam_core.sam2 import Sam2

pytest.importorskip("sam2.build_sam")

Figure = Callable[[str, float], None]
TOLERANCE = 1e-5
Pair = tuple[Sam2, Any]


@pytest.fixture(scope="module", params=["sam2", "sam2.1", "sam2.1-plain"])
def pair(request: pytest.FixtureRequest) -> Pair:
    torch.manual_seed(0)
    version, _, plain = request.param.partition("-")
    return micro_pair(version, optimise=not plain)


@pytest.fixture(autouse=True)
def _no_grad() -> Any:
    torch.manual_seed(1)
    with torch.inference_mode():
        yield


def check(record: Figure, **errors: float) -> None:
    """Record the errors in the test report and hold each against the tolerance."""
    for name, error in errors.items():
        record(name, error)
        assert error <= TOLERANCE, f"{name}: relative error {error:.2e}"


def test_image_encoder(pair: Pair, figure: Figure) -> None:
    ours, official = pair
    images = torch.randn(2, 3, 128, 128)
    features = ours.encode_image(images)
    reference = official.forward_image(images)
    check(
        figure,
        embedding=relative_error(features.embedding, reference["backbone_fpn"][2]),
        stride_8=relative_error(features.high_res[1], reference["backbone_fpn"][1]),
        stride_4=relative_error(features.high_res[0], reference["backbone_fpn"][0]),
        position=relative_error(features.position.expand(2, -1, -1, -1), reference["vision_pos_enc"][2]),
    )


@pytest.mark.parametrize("shared_image", [False, True])
def test_memory_attention(pair: Pair, shared_image: bool, figure: Figure) -> None:
    ours, official = pair
    batch, maps, pointers = 3, 4, 6
    features = ours.encode_image(torch.randn(1 if shared_image else batch, 3, 128, 128))
    memory = ours.assemble_memory(
        torch.randn(batch, maps, 16, 8, 8),
        torch.tensor([[0, 4, 5, 6]]),
        torch.randn(batch, pointers, 32),
        torch.arange(pointers)[None].float(),
    )
    mine = ours.embed_with_memory(features, memory)
    wide = features.expand(batch) if shared_image else features
    theirs = official.memory_attention(
        curr=wide.embedding.flatten(2).permute(2, 0, 1),
        curr_pos=wide.position.expand(batch, -1, -1, -1).flatten(2).permute(2, 0, 1),
        memory=memory.tokens.transpose(0, 1),
        memory_pos=memory.position.expand(batch, -1, -1).transpose(0, 1),
        num_obj_ptr_tokens=memory.num_unplaced_tokens,
    )
    check(figure, memory_attention=relative_error(mine.flatten(2).permute(2, 0, 1), theirs))


@pytest.mark.parametrize("from_prompt", [False, True])
def test_memory_encoder(pair: Pair, from_prompt: bool, figure: Figure) -> None:
    ours, official = pair
    features = ours.encode_image(torch.randn(2, 3, 128, 128))
    low_res = 4 * torch.randn(2, 1, 32, 32)
    score = torch.tensor([[3.0], [-3.0]])  # one visible, one absent
    mine = ours.encode_memory(features, low_res, score, from_prompt)
    high_res = torch.nn.functional.interpolate(low_res, size=(128, 128), mode="bilinear", align_corners=False)
    theirs, position = official._encode_new_memory(
        [features.embedding.flatten(2).permute(2, 0, 1)], [(8, 8)], high_res, score, from_prompt
    )
    check(
        figure,
        memory=relative_error(mine, theirs),
        position=relative_error(ours.memory_position(mine).expand(2, -1, -1, -1), position[0]),
    )


def test_prompt_encoder(pair: Pair, figure: Figure) -> None:
    ours, official = pair
    points = 128 * torch.rand(2, 5, 2)
    labels = torch.tensor([[2, 3, 1, 0, -1], [1, 1, 0, -1, -1]])
    mask = torch.randn(2, 1, 32, 32)
    mine = ours.sam_prompt_encoder(points, labels, mask)
    theirs = official.sam_prompt_encoder(points=(points, labels), boxes=None, masks=mask)
    _, mine_dense = ours.sam_prompt_encoder(points, labels)
    _, their_dense = official.sam_prompt_encoder(points=(points, labels), boxes=None, masks=None)
    check(
        figure,
        points=relative_error(mine[0], theirs[0]),
        mask=relative_error(mine[1], theirs[1]),
        no_mask=relative_error(mine_dense.expand(2, -1, 8, 8), their_dense),
        grid=relative_error(ours.sam_prompt_encoder.dense_position(), official.sam_prompt_encoder.get_dense_pe()),
    )


def decode_both(pair: Pair, multimask: bool, seed: int = 3) -> tuple[Any, Any]:
    ours, official = pair
    torch.manual_seed(seed)
    features = ours.encode_image(torch.randn(2, 3, 128, 128))
    points, labels = 128 * torch.rand(2, 2, 2), torch.tensor([[1, 0], [1, 1]])
    embedding = ours.embed_without_memory(features)
    mine = ours.decode(embedding, features, points, labels, multimask=multimask)
    theirs = official._forward_sam_heads(
        embedding,
        point_inputs={"point_coords": points, "point_labels": labels},
        high_res_features=list(features.high_res),
        multimask_output=multimask,
    )
    return mine, theirs


def decoder_errors(mine: Any, theirs: Any) -> dict[str, float]:
    masks, _, ious, low_res, _, pointer, score = theirs
    return {
        "masks": relative_error(mine.masks, masks),
        "ious": relative_error(mine.ious, ious),
        "best_mask": relative_error(mine.low_res, low_res),
        "pointer": relative_error(mine.pointer, pointer),
        "object_score": relative_error(mine.object_score, score),
    }


def test_mask_decoder_three_candidates(pair: Pair, figure: Figure) -> None:
    mine, theirs = decode_both(pair, multimask=True)
    assert mine.masks.shape == (2, 3, 32, 32)
    check(figure, **decoder_errors(mine, theirs))


@pytest.mark.parametrize("threshold", [0.0, 2.0], ids=["stable", "fall-back"])
def test_mask_decoder_one_mask(pair: Pair, threshold: float, figure: Figure, monkeypatch: Any) -> None:
    ours, official = pair
    monkeypatch.setattr(ours.sam_mask_decoder, "stability_threshold", threshold)
    monkeypatch.setattr(official.sam_mask_decoder, "dynamic_multimask_stability_thresh", threshold)
    mine, theirs = decode_both(pair, multimask=False)
    assert mine.masks.shape == (2, 1, 32, 32)
    check(figure, **decoder_errors(mine, theirs))
    candidates, _ = decode_both(pair, multimask=True)
    falls_back = torch.equal(mine.ious[:, 0], candidates.best_iou)
    assert falls_back == (threshold > 1)


def test_mask_as_output(pair: Pair, figure: Figure) -> None:
    ours, official = pair
    features = ours.encode_image(torch.randn(2, 3, 128, 128))
    mask = torch.zeros(2, 1, 128, 128)
    mask[0, 0, 20:70, 30:90] = 1  # the second mask stays empty: absent
    mine = ours.adopt_mask(features, mask)
    theirs = official._use_mask_as_output(features.embedding, list(features.high_res), mask)
    check(figure, **decoder_errors(mine, theirs))


def test_absent_object() -> None:
    pair = micro_pair(object_score_bias=-50.0)
    mine, theirs = decode_both(pair, multimask=True)
    assert (mine.low_res == -1024).all()
    assert torch.equal(mine.pointer, pair[0].no_obj_ptr.expand(2, -1))
    for error in decoder_errors(mine, theirs).values():
        assert error <= TOLERANCE


@pytest.mark.parametrize(
    "name",
    [
        name if name.endswith(("tiny", "large")) else pytest.param(name, marks=pytest.mark.slow)
        for name in OFFICIAL_CONFIGS
    ],
)
def test_state_dicts_load_both_ways(name: str) -> None:
    overrides = ("model.image_size=256",)
    ours = build_model(name, overrides)
    official = official_predictor(name, ("++model.image_size=256",))
    randomise(ours)
    official.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(official.state_dict(), strict=True)
    image = torch.randn(1, 3, 256, 256)
    mine = ours.encode_image(image).embedding
    theirs = official.forward_image(image)["backbone_fpn"][2]
    assert relative_error(mine, theirs) <= TOLERANCE


def test_tiny_at_full_size(figure: Figure) -> None:
    ours = build_model("sam2.1_hiera_tiny")
    randomise(ours)
    official = official_predictor("sam2.1_hiera_tiny")
    official.load_state_dict(ours.state_dict(), strict=True)
    image = torch.randn(1, 3, 1024, 1024)
    features = ours.encode_image(image)
    reference = official.forward_image(image)
    check(
        figure,
        embedding=relative_error(features.embedding, reference["backbone_fpn"][2]),
        stride_4=relative_error(features.high_res[0], reference["backbone_fpn"][0]),
    )
