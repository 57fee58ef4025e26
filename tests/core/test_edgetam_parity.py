"""EdgeTAM against `transformers`' port on shared random weights, float32: its modules, and whole streams.

Modules: relative error at most 1e-5. Streams: mask logits at most 1e-4 at every frame.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.reference.edgetam import LIKE_REFERENCE, EdgeTamStream, edgetam_pair, edgetam_reference
from benchmarks.reference.errors import relative_error
from sam_core import Prompt, Stream, build_tracker
from sam_core.backends.cpu import optimise_for_cpu
from sam_core.build import build_model, model_names
from sam_core.checkpoints.hugging_face import rename_hugging_face_sam2
from sam_core.edgetam import EdgeTam
from sam_core.streaming import StreamSettings

pytest.importorskip("transformers")

Networks = tuple[EdgeTam, Any]
Figure = Callable[[str, float], None]
NAME = "edgetam_micro"
FRAMES, SIDE, GRID, WIDTH, MEMORY = 26, 128, 8, 128, 64


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    torch.manual_seed(1)
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def plain() -> Networks:
    torch.manual_seed(0)
    return edgetam_pair()


@pytest.fixture(scope="module")
def optimised(plain: Networks) -> Networks:
    ours = copy.deepcopy(plain[0])
    optimise_for_cpu(ours)
    return ours, plain[1]


@pytest.fixture(params=["optimised", "plain"])
def networks(request: pytest.FixtureRequest) -> Networks:
    return request.getfixturevalue(request.param)


def check(figure: Figure, what: str, mine: Tensor, reference: Tensor, bound: float = 1e-5) -> None:
    """Record an error in the test report and hold it against its bound."""
    error = relative_error(mine, reference)
    figure(what, error)
    assert error <= bound, f"{what}: relative error {error:.2e}"


def flat(maps: Tensor) -> Tensor:
    """(B, C, h, w) as the reference has them, (h * w, B, C)."""
    return maps.flatten(2).permute(2, 0, 1)


# --- modules --------------------------------------------------------------------------------------------------------


def test_image_encoder(networks: Networks, figure: Figure) -> None:
    ours, reference = networks
    images = torch.randn(2, 3, SIDE, SIDE)
    for level, stage in zip(
        ours.image_encoder.trunk(images), reference.vision_encoder.backbone(images)[0], strict=True
    ):
        check(figure, f"trunk {level.shape[-1]}", level, stage)
    mine, theirs = ours.encode_image(images), reference.get_image_features(images)
    for one, other in zip((*mine.high_res, mine.embedding), theirs.fpn_hidden_states, strict=True):
        check(figure, f"level {one.shape[-1]}", flat(one), other)


def test_perceiver(networks: Networks, figure: Figure) -> None:
    ours, reference = networks
    memory = torch.randn(1, MEMORY, GRID, GRID)
    theirs, position = reference.spatial_perceiver(memory, ours.memory_position(memory))
    mine = ours.spatial_perceiver(memory)
    check(figure, "latents", mine.transpose(1, 2), theirs)
    perceiver = ours.spatial_perceiver
    grid = ours.memory_position(torch.empty(1, 1, perceiver.grid_size, perceiver.grid_size))
    check(figure, "position", grid.flatten(2).transpose(1, 2), position[:, perceiver.num_global :])
    assert not position[:, : perceiver.num_global].any()


@pytest.mark.parametrize("from_prompt", [False, True])
def test_memory_encoder(networks: Networks, from_prompt: bool, figure: Figure) -> None:
    ours, reference = networks
    features = ours.encode_image(torch.randn(1, 3, SIDE, SIDE))
    low_res = 4 * torch.randn(1, 1, 4 * GRID, 4 * GRID)
    full = torch.nn.functional.interpolate(low_res, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    theirs, _ = reference._encode_new_memory(flat(features.embedding), full, torch.ones(1, 1, 1), from_prompt)
    mine = ours.encode_memory(features, low_res, torch.ones(1, 1), from_prompt)
    assert mine.shape[1:] == ours.memory_shape
    check(figure, "memory", mine.transpose(1, 2), theirs)


def test_memory_attention(networks: Networks, figure: Figure) -> None:
    """The reference reads a memory's global latents before its grid, and ours all grids first: the same set of keys."""
    ours, reference = networks
    features = ours.encode_image(torch.randn(1, 3, SIDE, SIDE))
    spatial, pointers = torch.randn(1, 4, *ours.memory_shape), torch.randn(1, 6, WIDTH)
    t_pos = torch.tensor([[0, 4, 5, 6]])
    mine = ours.embed_with_memory(features, ours.assemble_memory(spatial, t_pos, pointers, torch.arange(6)[None]))
    side, latents = ours.spatial_perceiver.grid_size, ours.spatial_perceiver.num_global
    grid = ours.memory_position(torch.empty(1, 1, side, side)).flatten(2).transpose(1, 2)
    place = torch.cat((torch.zeros(1, latents, MEMORY), grid), dim=1)
    offsets = [ours.num_memories - int(t) if t else 0 for t in t_pos[0]]
    time = [reference.memory_temporal_positional_encoding[offset - 1] for offset in offsets]
    tokens = torch.cat((spatial.transpose(2, 3).flatten(1, 2), pointers.view(1, -1, MEMORY)), dim=1)
    position = torch.cat([*(place + t for t in time), torch.zeros(1, 6 * WIDTH // MEMORY, MEMORY)], dim=1)
    theirs = reference.memory_attention(
        current_vision_features=flat(features.embedding),
        current_vision_position_embeddings=flat(features.position),
        memory=tokens.transpose(0, 1),
        memory_posision_embeddings=position.transpose(0, 1),
        num_object_pointer_tokens=6 * WIDTH // MEMORY,
        num_spatial_memory_tokens=4,
    )
    check(figure, "memory attention", flat(mine).flatten(), theirs.flatten())


# --- streams --------------------------------------------------------------------------------------------------------


def camera() -> Iterator[Tensor]:
    """Frames (SIDE, SIDE, 3) uint8: drifting noise. Resizing is not compared."""
    side = SIDE + 4 * FRAMES
    texture = torch.randint(0, 256, (side, side, 3), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)
    for i in range(FRAMES):
        yield texture[2 * i : 2 * i + SIDE, 3 * i : 3 * i + SIDE]


def disc(x: int, y: int, radius: int) -> np.ndarray:
    ys, xs = np.mgrid[:SIDE, :SIDE]
    return (xs - x) ** 2 + (ys - y) ** 2 < radius**2


class Pair:
    """Both streams, fed alike and compared at every frame."""

    def __init__(self, networks: Networks) -> None:
        self.model, reference = networks
        self.ours = Stream(self.model, StreamSettings(memory_dtype=torch.float32))  # the reference does not round
        self.theirs = EdgeTamStream(reference)
        self.worst = 0.0

    def step(self, image: Tensor) -> None:
        mine = self.ours.step(image)
        reference = self.theirs.step(self.model.normalise(image[None])[0])
        for object_id, logits in zip(mine.object_ids, mine.mask_logits, strict=True):
            self.compare(logits, reference[object_id])

    def prompt(self, object_id: int | None = None, **prompt: Any) -> int:
        mine = self.ours.add_prompt(Prompt(**prompt), object_id=object_id)
        (assigned,) = mine.object_ids
        if "mask" in prompt:
            reference = self.theirs.prompt(assigned, mask=torch.from_numpy(prompt["mask"]))
        else:
            points = torch.tensor(prompt.get("box", prompt.get("points"))).view(-1, 2)
            labels = torch.tensor([2, 3] if "box" in prompt else prompt["labels"])
            reference = self.theirs.prompt(assigned, points=points, labels=labels)
        self.compare(mine.mask_logits[0], reference)
        return assigned

    def compare(self, mine: Tensor, reference: Tensor) -> None:
        reference = torch.nn.functional.interpolate(reference[None, None], size=mine.shape, mode="bilinear")[0, 0]
        error = relative_error(mine, reference)
        self.worst = max(self.worst, error)
        assert error <= 1e-4, f"relative error {error:.2e} at frame {self.theirs.frame}"


def test_a_click_a_box_and_a_mask_with_a_correction(optimised: Networks, figure: Figure) -> None:
    pair = Pair(optimised)
    for i, image in enumerate(camera()):
        pair.step(image)
        if i == 0:
            first = pair.prompt(points=[[40.0, 60.0]], labels=[1])
            pair.prompt(box=[30.0, 20.0, 90.0, 100.0])
        if i == 8:
            pair.prompt(mask=disc(80, 40, 20))
        if i == 14:
            pair.prompt(first, points=[[70.0, 50.0]], labels=[0])
    assert len(pair.ours.objects) == 3
    figure("worst frame", pair.worst)


# --- checkpoints ----------------------------------------------------------------------------------------------------


def test_both_layouts_load_strictly(tmp_path: Path) -> None:
    """The Hugging Face layout as the port writes it, and Meta's names, which are ours."""
    theirs = {name: tensor.clone() for name, tensor in edgetam_reference(NAME, LIKE_REFERENCE).state_dict().items()}
    save_file(theirs, tmp_path / "model.safetensors")
    renamed = rename_hugging_face_sam2(theirs)
    torch.save({"model": renamed}, tmp_path / "meta.pt")
    for file in ("model.safetensors", "meta.pt"):
        tracker = build_tracker(NAME, tmp_path / file, "cpu", "float32", LIKE_REFERENCE)
        loaded = tracker.model.state_dict()
        assert loaded.keys() == renamed.keys()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in renamed.items())


def test_full_size_has_the_published_number_of_weights_and_the_reference_s_layout() -> None:
    assert "edgetam" in model_names()
    ours = build_model("edgetam")
    assert sum(parameter.numel() for parameter in ours.parameters()) == 13_895_794  # 13.9 M in the paper
    with torch.device("meta"):
        renamed = rename_hugging_face_sam2(edgetam_reference("edgetam").state_dict())
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert {name: tensor.shape for name, tensor in renamed.items()} == shapes
    assert "image_encoder.trunk.body.stages_2.blocks.13.token_mixer.conv1.bn.running_var" in shapes
    assert "spatial_perceiver.layers.1.self_ff.3.weight" in shapes


# --- the same as with SAM 2 -----------------------------------------------------------------------------------------


def test_memories_are_tokens_and_nothing_grows() -> None:
    torch.manual_seed(0)
    stream = build_tracker(NAME, device="cpu", dtype="float32").open_stream(max_objects=1, history_frames=4)
    bank, sizes = stream._tracker.bank, []
    for i, image in enumerate(camera()):
        stream.step(image)
        if i == 0:
            stream.add_prompt(Prompt(points=[[40.0, 60.0]], labels=[1]))
        sizes.append((bank.nbytes, stream._state.history.nbytes))
    assert bank.spatial.shape[2:] == (12 + 16, 16)
    assert len(set(sizes[16:])) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.memory_attention.memory_grid=8"], "memory attention needs memory_grid=4"),
        (["model.spatial_perceiver.num_latents_2d=15"], "15 latents make no square grid"),
        (["model.image_size=160"], "4 windows do not tile a feature grid of 10"),
        (["model.image_encoder.trunk.depths=[1,1]"], "4 stages of channels and 2 depths do not match"),
    ],
)
def test_sizes_that_make_no_sense(overrides: list[str], message: str) -> None:
    with pytest.raises(Exception, match=message):
        build_model(NAME, overrides)
