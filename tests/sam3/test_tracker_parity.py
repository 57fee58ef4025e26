"""Our SAM 3 tracker against `transformers`' port on shared random weights, float32: its modules, and whole streams.

Modules: relative error at most 1e-5. Streams: mask logits at most 1e-4 at every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.reference.errors import relative_error
from benchmarks.reference.sam3_tracker import ReferenceStream, reference_tracker_config, toy_pair
from sam_core import Prompt, Stream
from sam_core.sam3.tracker import Sam3Tracker
from sam_core.streaming import StreamSettings

pytest.importorskip("transformers.models.sam3_tracker_video.modeling_sam3_tracker_video")

FRAMES = 26
SIDE = 112  # px, of the toy's input and of the camera: resizing is not compared
GRID, MASK = 8, 32
WIDTH, MEMORY = 128, 64
Figure = Callable[[str, float, float], None]


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    torch.manual_seed(1)
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def pair_of_networks() -> tuple[Sam3Tracker, Any]:
    torch.manual_seed(0)
    return toy_pair()


@pytest.fixture(scope="module", params=["as users run it", "plain"])
def networks(request: pytest.FixtureRequest, pair_of_networks: tuple[Sam3Tracker, Any]) -> tuple[Sam3Tracker, Any]:
    torch.manual_seed(0)
    return toy_pair(optimise=False) if request.param == "plain" else pair_of_networks


@pytest.fixture
def figure(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Figure:
    """Hold an error against its bound, and print it (`pytest -s` shows the table)."""

    def check(what: str, error: float, bound: float) -> None:
        record_property(what, error)
        print(f"{request.node.name}: {what} {error:.1e}")
        assert error <= bound, f"{what}: relative error {error:.2e}"

    return check


def flat(maps: Tensor) -> Tensor:
    """(B, C, h, w) as the reference has them, (h * w, B, C)."""
    return maps.flatten(2).permute(2, 0, 1)


# --- modules --------------------------------------------------------------------------------------------------------


def test_released_sizes_are_the_reference_s() -> None:
    """What shapes do not show: numbers of layers and heads, strides, bounds."""
    module = import_module("transformers.models.sam3_tracker_video.configuration_sam3_tracker_video")
    ours, theirs = reference_tracker_config("sam3").to_dict(), module.Sam3TrackerVideoConfig().to_dict()
    epsilons = [config["vision_config"]["backbone_config"].pop("layer_norm_eps") for config in (ours, theirs)]
    assert epsilons == [1e-5, 1e-6]  # Meta's trunk has PyTorch's default, which the port changed
    assert ours == theirs


def test_image_encoder(networks: Any, figure: Figure) -> None:
    ours, reference = networks
    images = torch.randn(2, 3, SIDE, SIDE)
    mine, theirs = ours.encode_image(images), reference.get_image_features(images)
    maps = zip((*mine.high_res, mine.embedding), theirs.fpn_hidden_states, strict=True)
    for level, (one, other) in enumerate(maps):
        figure(f"level {level}", relative_error(flat(one), other), 1e-5)
    position = theirs.fpn_position_encoding[-1]
    figure("position", relative_error(flat(mine.position.expand(2, -1, -1, -1)), position), 1e-5)


def test_memory_attention(networks: Any, figure: Figure) -> None:
    ours, reference = networks
    features = ours.encode_image(torch.randn(1, 3, SIDE, SIDE))
    memory = ours.assemble_memory(
        torch.randn(1, 4, MEMORY, GRID, GRID),
        torch.tensor([[0, 4, 5, 6]]),
        torch.randn(1, 6, WIDTH),
        torch.arange(6)[None].float(),
    )
    theirs = reference.memory_attention(
        current_vision_features=flat(features.embedding),
        current_vision_position_embeddings=flat(features.position),
        memory=memory.tokens.transpose(0, 1),
        memory_posision_embeddings=memory.position.transpose(0, 1),
        num_object_pointer_tokens=memory.num_unplaced_tokens,
    )
    mine = ours.embed_with_memory(features, memory)
    figure("memory attention", relative_error(flat(mine).flatten(), theirs.flatten()), 1e-5)


@pytest.mark.parametrize("from_prompt", [False, True])
def test_memory_encoder(networks: Any, from_prompt: bool, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, reference = networks
    features = ours.encode_image(torch.randn(2, 3, SIDE, SIDE))
    low_res = 4 * torch.randn(2, 1, MASK, MASK)
    score = torch.tensor([[3.0], [-3.0]])  # one visible, one absent
    full = F.interpolate(low_res, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    mine = ours.encode_memory(features, low_res, score, from_prompt)
    monkeypatch.setattr(torch, "bfloat16", torch.float32)  # the reference rounds its memories, ours rounds in the bank
    theirs, _ = reference._encode_new_memory(flat(features.embedding), full, score[:, None], from_prompt)
    figure("memory", relative_error(flat(mine), theirs), 1e-5)


def decode_reference(reference: Any, features: Any, points: Tensor, labels: Tensor, multimask: bool) -> Any:
    embedding = features.embedding + reference.no_memory_embedding[0, 0, :, None, None]
    return reference._single_frame_forward(
        input_points=points[:, None],
        input_labels=labels[:, None],
        image_embeddings=[*features.high_res, embedding],
        multimask_output=multimask,
    )


@pytest.mark.parametrize("multimask", [True, False], ids=["three-candidates", "one-mask"])
def test_mask_decoder_on_a_still_image(networks: Any, multimask: bool, figure: Figure) -> None:
    """Points and boxes on a single image: the decoder without memory."""
    ours, reference = networks
    features = ours.encode_image(torch.randn(1, 3, SIDE, SIDE))
    prompts = {
        "points": (SIDE * torch.rand(1, 3, 2), torch.tensor([[1, 0, 1]])),
        "box": (torch.tensor([[[30.0, 20.0], [90.0, 100.0]]]), torch.tensor([[2, 3]])),
    }
    for kind, (points, labels) in prompts.items():
        theirs = decode_reference(reference, features, points, labels, multimask)
        mine = ours.decode(ours.embed_without_memory(features), features, points, labels, multimask=multimask)
        figure(f"{kind}: mask", relative_error(mine.low_res, theirs.pred_masks), 1e-5)
        figure(f"{kind}: predicted IoU", relative_error(mine.ious, theirs.iou_scores[:, 0]), 1e-5)
        figure(f"{kind}: pointer", relative_error(mine.pointer, theirs.object_pointer[:, 0]), 1e-5)
        figure(f"{kind}: presence", relative_error(mine.object_score, theirs.object_score_logits[:, 0]), 1e-5)


def test_mask_as_output(networks: Any, figure: Figure) -> None:
    ours, reference = networks
    features = ours.encode_image(torch.randn(1, 3, SIDE, SIDE))
    for name, mask in (("disc", torch.from_numpy(disc(50, 70, 25))), ("empty", torch.zeros(SIDE, SIDE))):
        mask = mask.float()[None, None]
        theirs = reference._use_mask_as_output(features.embedding, list(features.high_res), mask)
        mine = ours.adopt_mask(features, mask)
        figure(f"{name}: mask", relative_error(mine.low_res, theirs.pred_masks), 1e-5)
        figure(f"{name}: to remember", relative_error(mine.to_remember, theirs.high_res_masks), 1e-5)
        figure(f"{name}: pointer", relative_error(mine.pointer, theirs.object_pointer[:, 0]), 1e-5)
        assert torch.equal(mine.object_score, theirs.object_score_logits[0])


# --- streams --------------------------------------------------------------------------------------------------------


def camera(count: int = FRAMES) -> Iterator[Tensor]:
    """Frames (SIDE, SIDE, 3) uint8: drifting noise."""
    side = SIDE + 4 * count
    texture = torch.randint(0, 256, (side, side, 3), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)
    for i in range(count):
        yield texture[2 * i : 2 * i + SIDE, 3 * i : 3 * i + SIDE]


def disc(x: int, y: int, radius: int) -> np.ndarray:
    ys, xs = np.mgrid[:SIDE, :SIDE]
    return (xs - x) ** 2 + (ys - y) ** 2 < radius**2


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keep memories in float32 on both sides: rounded to bfloat16, a difference of 1e-6 can become one of 1e-4."""
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    return {"memory_dtype": torch.float32}


class Pair:
    """Both streams, fed alike and compared at every frame."""

    def __init__(self, networks: tuple[Sam3Tracker, Any], **settings: Any) -> None:
        self.model, reference = networks
        self.ours = Stream(self.model, StreamSettings(**settings))
        conditioning = settings.get("corrections_are_conditioning", False)
        self.theirs = ReferenceStream(reference, corrections_are_conditioning=conditioning)
        self.worst = 0.0
        self.states: set[str] = set()

    def step(self, image: Tensor) -> None:
        mine = self.ours.step(image)
        reference = self.theirs.step(self.model.normalise(image[None])[0])
        self.states.update(mine.states)
        for object_id, logits in zip(mine.object_ids, mine.mask_logits, strict=True):
            self.compare(logits, reference[object_id])

    def prompt(self, object_id: int | None = None, **prompt: Any) -> int:
        mine = self.ours.add_prompt(Prompt(**prompt), object_id=object_id)
        (assigned,) = mine.object_ids
        if "mask" in prompt:
            reference = self.theirs.prompt(assigned, mask=torch.from_numpy(prompt["mask"]))
        else:
            box = torch.tensor(prompt["box"]).view(-1, 2) if "box" in prompt else torch.zeros(0, 2)
            points = torch.cat((box, torch.tensor(prompt.get("points", [])).view(-1, 2)))
            labels = torch.tensor([2, 3][: len(box)] + prompt.get("labels", []))
            reference = self.theirs.prompt(assigned, points, labels)
        self.compare(mine.mask_logits[0], reference)
        return assigned

    def compare(self, mine: Tensor, low_res: Tensor) -> None:
        reference = F.interpolate(low_res[None, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[0, 0]
        error = relative_error(mine, reference)
        self.worst = max(self.worst, error)
        assert error <= 1e-4, f"relative error {error:.2e} at frame {self.theirs.frame}"
        differs = (mine > 0) != (reference > 0)
        assert (reference[differs].abs() <= 1e-3).all()


CLICK = {"points": [[40.0, 60.0]], "labels": [1]}
BOX = {"box": [30.0, 20.0, 90.0, 100.0]}
PROMPTS: dict[str, dict[str, Any]] = {"click": CLICK, "box": BOX, "mask": {"mask": disc(50, 70, 25)}}


@pytest.mark.parametrize("kind", PROMPTS)
def test_one_object(pair_of_networks: Any, kind: str, figure: Figure) -> None:
    pair = Pair(pair_of_networks)
    for i, image in enumerate(camera()):
        pair.step(image)
        if i == 0:
            pair.prompt(**PROMPTS[kind])
    assert pair.states == {"tracked"}
    figure("worst frame", pair.worst, 1e-4)


def test_three_objects_that_come_and_go(figure: Figure, exact: dict[str, Any]) -> None:
    """One is added and one removed on the way; presence lies on both sides of 0, so that both branches occur."""
    networks = toy_pair(object_score_bias=None)
    pair = Pair(networks, **exact)
    heads = (networks[0].sam_mask_decoder.pred_obj_score_head.layers[-1], networks[1].mask_decoder.pred_obj_score_head)
    with torch.no_grad():
        centre_presence(networks[0], (heads[0], heads[1].proj_out))
    first = second = 0
    for i, image in enumerate(camera()):
        pair.step(image)
        if i == 0:
            first, second = pair.prompt(mask=disc(50, 70, 25)), pair.prompt(mask=disc(30, 30, 20))
        if i == 8:
            third = pair.prompt(mask=disc(80, 40, 20))
        if i == 15:
            pair.ours.remove(first)
    assert [o.object_id for o in pair.ours.objects] == [second, third]
    assert pair.states == {"tracked", "absent"}
    figure("worst frame", pair.worst, 1e-4)


def centre_presence(model: Sam3Tracker, heads: tuple[Any, Any]) -> None:
    """Widen the presence scores, and move the heads' last bias into the widest gap of the scores of a stream."""
    for head in heads:
        head.weight.mul_(20)
    for _ in range(2):  # moving the bias changes the memories, and so the scores
        stream, scores = Stream(model, StreamSettings()), []
        for i, image in enumerate(camera()):
            result = stream.step(image)
            scores += torch.logit(result.presence.double()).tolist()
            if i == 0:
                stream.add_prompt(Prompt(mask=disc(50, 70, 25)))
                stream.add_prompt(Prompt(mask=disc(30, 30, 20)))
        scores = sorted(scores)[len(scores) // 4 : -len(scores) // 4]
        gap = max(range(len(scores) - 1), key=lambda k: scores[k + 1] - scores[k])
        for head in heads:
            head.bias.sub_((scores[gap] + scores[gap + 1]) / 2)


@pytest.mark.parametrize("conditioning", [False, True], ids=["ordinary", "conditioning"])
def test_corrections(pair_of_networks: Any, conditioning: bool, figure: Figure, exact: dict[str, Any]) -> None:
    pair = Pair(pair_of_networks, **exact, corrections_are_conditioning=conditioning)
    target = 0
    for i, image in enumerate(camera()):
        pair.step(image)
        if i == 0:
            target = pair.prompt(**CLICK)
            pair.prompt(**BOX)
        if i in (10, 13):
            pair.prompt(target, points=[[70.0, 50.0]], labels=[0])
        if i == 13:  # a second click on the same frame sees the first one
            pair.prompt(target, points=[[20.0, 30.0]], labels=[1])
        if i == 17:
            pair.prompt(target, mask=disc(64, 64, 30))
    figure("worst frame", pair.worst, 1e-4)


def test_the_nearest_conditioning_frames_stay(pair_of_networks: Any, figure: Figure, exact: dict[str, Any]) -> None:
    """Six of them, of which four are attended to."""
    pair = Pair(pair_of_networks, **exact, corrections_are_conditioning=True, pin_first_frame=False)
    for i, image in enumerate(camera()):
        pair.step(image)
        if i % 4 == 0:
            pair.prompt(1 if i else None, points=[[40.0 + i, 60.0]], labels=[1])
    assert pair.ours._state.objects[1].latest.index.conditioning.before(FRAMES) == [12, 16, 20, 24]
    figure("worst frame", pair.worst, 1e-4)


def test_comparison_notices_a_memory_of_another_size(pair_of_networks: Any) -> None:
    """The tests above would fail if the mask that becomes a memory were not resized twice, as the reference does."""
    ours, _ = pair_of_networks
    features = ours.encode_image(torch.randn(1, 3, SIDE, SIDE))
    low_res = 4 * torch.randn(1, 1, MASK, MASK)
    once = F.interpolate(low_res, size=(GRID * 16, GRID * 16), mode="bilinear", align_corners=False)
    mask = once.sigmoid() * 20 - 10
    mine = ours.encode_memory(features, low_res, torch.ones(1, 1), from_prompt=False)
    assert relative_error(ours.memory_encoder(features.embedding, mask), mine) > 1e-3
