"""SAM 1 against PyPI `segment-anything` and `transformers`' `SamModel`, on shared random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.reference.errors import relative_error
from benchmarks.reference.sam1 import hugging_face_sam, official_sam
from benchmarks.reference.weights import randomise
from sam_core import CheckpointError, ImagePredictor, build_predictor, build_tracker
from sam_core.checkpoints.sam1 import as_sam1
from sam_core.sam1 import Sam1
from sam_core.sam1.build import build_sam1, sam1_names

pytestmark = pytest.mark.skipif(not find_spec("segment_anything"), reason="the reference is not installed")

MODULES, END_TO_END = 1e-5, 1e-4
MICRO = "sam_vit_micro"
SIZES = [(60, 90), (96, 96), (131, 47), (20, 200)]
POINTS = np.array([[12.0, 10.0], [30.0, 15.0], [5.5, 18.25]], np.float32)
BOX = np.array([4.0, 3.0, 35.0, 17.0], np.float32)


@pytest.fixture(scope="module")
def official() -> Any:
    torch.manual_seed(0)
    model = official_sam(MICRO)
    randomise(model)
    with torch.no_grad():
        for heads in model.mask_decoder.output_hypernetworks_mlps:
            heads.layers[-1].weight.mul_(30)  # so that masks are neither empty nor full
    return model.requires_grad_(False)


@pytest.fixture(scope="module", params=["plain", "for CPUs"])
def ours(request: pytest.FixtureRequest, official: Any, tmp_path_factory: pytest.TempPathFactory) -> ImagePredictor:
    path = tmp_path_factory.mktemp("weights") / "sam.pth"
    torch.save(official.state_dict(), path)
    if request.param == "plain":
        return ImagePredictor(build_sam1(MICRO, path).requires_grad_(False))
    return build_predictor(MICRO, path, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def hugging_face(official: Any) -> Any:
    """`SamModel` with the official weights: its own layout is loaded by us, and back into it from there."""
    pytest.importorskip("transformers.models.sam")
    model = hugging_face_sam(MICRO)
    names = {next(iter(as_sam1({**VISION, name: tensor}).keys() - VISION_AS_OURS)): name
             for name, tensor in model.state_dict().items() if not name.startswith("shared_image")}  # fmt: skip
    state = {names[name]: tensor for name, tensor in as_sam1(official.state_dict()).items()}
    matrix = state["prompt_encoder.shared_embedding.positional_embedding"]
    model.load_state_dict({**state, "shared_image_embedding.positional_embedding": matrix}, strict=True)
    return model.requires_grad_(False)


# A name that tells the Hugging Face layout, and what it becomes.
VISION = {"vision_encoder.layers.99.attn.qkv.weight": torch.zeros(1)}
VISION_AS_OURS = {"image_encoder.blocks.99.attn.qkv.weight"}


def input_of(ours: ImagePredictor, image: np.ndarray) -> torch.Tensor:
    return ours.network.normalise(torch.from_numpy(image)[None])


def test_modules(ours: ImagePredictor, official: Any) -> None:
    torch.manual_seed(1)
    network = ours.network
    assert isinstance(network, Sam1)
    with torch.inference_mode():
        images = torch.randn(2, 3, 96, 96)
        embedding = official.image_encoder(images)
        assert relative_error(network.encode_image(images).embedding, embedding) <= MODULES
        position = official.prompt_encoder.get_dense_pe()
        assert relative_error(network.prompt_encoder.dense_position(), position) <= MODULES
        points, labels = torch.rand(3, 4, 2) * 96, torch.tensor([[1, 0, 1, 1]] * 3)
        mask = torch.randn(3, 1, 48, 48)
        sparse, dense = official.prompt_encoder((points, labels), None, mask)
        assert relative_error(network.prompt_encoder.embed_points(points, labels), sparse) <= MODULES
        assert relative_error(network.prompt_encoder.embed_mask(mask), dense) <= MODULES
        for multimask in (True, False):
            mine = network.mask_decoder(embedding[:1], position, sparse, dense, multimask=multimask)
            theirs = official.mask_decoder(embedding[:1], position, sparse, dense, multimask)
            for one, other in zip(mine, theirs, strict=True):
                assert relative_error(one, other) <= MODULES


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_end_to_end_against_the_official_predictor(
    ours: ImagePredictor, official: Any, photo: Callable[[int, int], np.ndarray], size: tuple[int, int]
) -> None:
    import segment_anything

    image = photo(*size)
    ours.set_image(image)
    predictor = segment_anything.SamPredictor(official)
    levels = ours.network.resize(torch.from_numpy(image)[None])  # so that the comparison is of what comes after
    assert levels.shape[2:] == predictor.transform.get_preprocess_shape(*size, 96)
    predictor.set_torch_image(levels.float(), size)

    def check(result: Any, reference: tuple[np.ndarray, ...]) -> None:
        masks, scores, low_res = reference
        assert relative_error(result.low_res[0], torch.from_numpy(low_res)) <= END_TO_END
        assert relative_error(result.predicted_iou[0], torch.from_numpy(scores)) <= END_TO_END
        assert result.masks.shape[2:] == size
        assert (result.masks[0].numpy() != masks).mean() <= 1e-3
        assert 0 < masks.mean() < 1

    for multimask in (True, False):
        for points, box in ((POINTS[:1], None), (POINTS, None), (None, BOX), (POINTS, BOX)):
            labels = None if points is None else np.array([1, 0, 1])[: len(points)]
            check(
                ours.predict(points, labels, box, multimask=multimask),
                predictor.predict(points, labels, box, multimask_output=multimask),
            )
    earlier = ours.predict(POINTS, [1, 0, 1]).low_res[0, :1]
    check(
        ours.predict(POINTS[:1], [1], logits=earlier[0], multimask=False),
        predictor.predict(POINTS[:1], np.array([1]), mask_input=earlier.numpy(), multimask_output=False),
    )


def test_large_logits_are_refined_as_they_are(official: Any, photo: Callable[[int, int], np.ndarray]) -> None:
    import segment_anything

    network = copy.deepcopy(official)
    with torch.no_grad():
        for heads in network.mask_decoder.output_hypernetworks_mlps:
            heads.layers[-1].weight.mul_(400)
    ours = ImagePredictor(build_sam1(MICRO).requires_grad_(False))
    ours.network.load_state_dict(as_sam1(network.state_dict()))
    image = photo(96, 96)
    ours.set_image(image)
    predictor = segment_anything.SamPredictor(network)
    predictor.set_torch_image(torch.from_numpy(image).permute(2, 0, 1)[None].float(), (96, 96))

    first = ours.predict(POINTS[:1], [1], multimask=False)
    _, _, low_res = predictor.predict(POINTS[:1], np.array([1]), multimask_output=False)
    assert np.abs(low_res).max() > 100
    assert relative_error(first.low_res[0], torch.from_numpy(low_res)) <= END_TO_END
    second = ours.predict(POINTS[:2], [1, 0], logits=first.low_res[0], multimask=False)
    masks, _, low_res = predictor.predict(POINTS[:2], np.array([1, 0]), mask_input=low_res, multimask_output=False)
    assert relative_error(second.low_res[0], torch.from_numpy(low_res)) <= END_TO_END
    assert (second.masks[0].numpy() != masks).mean() <= 1e-3


@pytest.mark.parametrize("size", SIZES[:2], ids=str)
def test_end_to_end_against_transformers(
    ours: ImagePredictor, hugging_face: Any, photo: Callable[[int, int], np.ndarray], size: tuple[int, int]
) -> None:
    image = photo(*size)
    ours.set_image(image)
    network = ours.network
    points = network.points_to_input(torch.from_numpy(POINTS), size)

    result = ours.predict(POINTS, [1, 0, 1])

    with torch.inference_mode():
        theirs = hugging_face(
            pixel_values=input_of(ours, image),
            input_points=points[None, None],
            input_labels=torch.tensor([[[1, 0, 1]]]),
            multimask_output=True,
        )
    assert relative_error(result.low_res[0], theirs.pred_masks[0, 0]) <= END_TO_END
    assert relative_error(result.predicted_iou[0], theirs.iou_scores[0, 0]) <= END_TO_END


def test_the_padding_is_zero_and_cut_off(ours: ImagePredictor, photo: Callable[[int, int], np.ndarray]) -> None:
    network = ours.network
    assert isinstance(network, Sam1)
    pictures = input_of(ours, photo(60, 90))
    assert network.size_in_input((60, 90)) == (64, 96)
    assert not pictures[:, :, 64:].any()
    assert pictures[:, :, :64].any()
    logits = torch.full((1, 48, 48), 5.0)
    logits[:, 32:] = -5.0  # where the padding is
    assert (network.logits_to_image(logits, (60, 90)) > 0)[0, :58].all()
    mask = torch.zeros(60, 90, dtype=torch.bool)
    mask[:30, :45] = True
    assert torch.equal(network.mask_to_input(mask)[0] > 0, torch.arange(48)[:, None].lt(16) & torch.arange(48).lt(24))


def test_both_layouts_load_strictly(official: Any, hugging_face: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({name: tensor.clone() for name, tensor in hugging_face.state_dict().items()}, path)
    torch.save({"model": official.state_dict()}, tmp_path / "sam.pth")

    loaded = [build_sam1(MICRO, file).state_dict() for file in (path, tmp_path / "sam.pth")]

    for name, tensor in as_sam1(official.state_dict()).items():
        assert all(torch.equal(state[name], tensor) for state in loaded)


def test_a_file_that_does_not_fit_is_named(official: Any, tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    state = official.state_dict()
    torch.save(state, path)

    with pytest.raises(CheckpointError, match="is of sam_vit_micro"):
        build_predictor("sam_vit_b", path, device="cpu")
    with pytest.raises(CheckpointError, match="is of a SAM 1 model"):
        build_tracker("sam2.1_micro", path, device="cpu")
    state["mask_decoder.iou_token.weight"].fill_(float("nan"))
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        build_sam1(MICRO, path)


@pytest.mark.parametrize("name", sam1_names())
def test_every_configuration_has_the_names_and_shapes_of_both_layouts(name: str) -> None:
    pytest.importorskip("transformers.models.sam")
    with torch.device("meta"):
        ours, meta, hugging_face = build_sam1(name), official_sam(name), hugging_face_sam(name)

    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}
    assert {key: tensor.shape for key, tensor in as_sam1(meta.state_dict()).items()} == shapes
    assert {key: tensor.shape for key, tensor in as_sam1(hugging_face.state_dict()).items()} == shapes
