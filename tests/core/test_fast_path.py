"""What is computed in a cheaper way gives the same numbers as the plain way."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.reference.errors import relative_error
from sam_core import Prompt, Tracker, build_tracker
from sam_core.layers import (
    Attention,
    DoublingConv2d,
    LayerNorm,
    Linear,
    PointwiseConv2d,
    RotaryAttention,
    attend,
    nest,
    unnest,
)
from sam_core.layers.linear import Activation
from sam_core.sam2 import Sam2
from sam_core.sam2.pixels import resized
from sam_core.sam2.two_way_transformer import ImageToTokenAttention, TokenToImageAttention
from sam_core.streaming import FifoPolicy
from sam_core.streaming.bank import Places
from sam_core.streaming.describe import count_pixels
from sam_core.streaming.graphs import FrameGraphs
from sam_core.streaming.masks import logits_at, masks_at

TOLERANCE = 1e-5


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_a_packed_linear_layer_follows_its_weight(activation: Activation) -> None:
    torch.manual_seed(0)
    layer, x = Linear(48, 160, activation), torch.randn(2, 100, 48)

    def plain(of: nn.Linear) -> Tensor:
        y = F.linear(x, of.weight, of.bias)
        return {"none": y, "relu": F.relu(y), "gelu": F.gelu(y)}[activation]

    with torch.no_grad():
        assert relative_error(layer(x), plain(layer)) <= TOLERANCE
        layer.weight.mul_(2)
        assert relative_error(layer(x), plain(layer)) <= TOLERANCE
        copied = copy.deepcopy(layer)
        copied.weight.add_(1)
        assert relative_error(copied(x), plain(copied)) <= TOLERANCE
        layer.load_state_dict(copied.state_dict())
        assert relative_error(layer(x), plain(copied)) <= TOLERANCE
        rounded = layer.to(torch.bfloat16).to(torch.float32)
        assert relative_error(rounded(x), plain(rounded)) <= TOLERANCE


@pytest.mark.parametrize("channels", [24, 32])
def test_layer_norm_of_narrow_tokens(channels: int) -> None:
    """In bfloat16, whichever kernel computes it, the result is bfloat16 and near that of float32."""
    torch.manual_seed(0)
    norm, x = LayerNorm(channels), torch.randn(2, 50, channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        exact = F.layer_norm(x, (channels,), norm.weight, norm.bias, norm.eps)
        assert torch.equal(norm(x), exact)
        half = norm.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert relative_error(half.float(), exact) < 0.02


def test_convolutions_that_are_linear_maps() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 24, 6, 10)
    point, double = PointwiseConv2d(24, 80), DoublingConv2d(24, 12)
    with torch.no_grad():
        assert relative_error(point(x), F.conv2d(x, point.weight, point.bias)) <= TOLERANCE
        reference = F.conv_transpose2d(x, double.weight, double.bias, stride=2)
        tokens = double(x.flatten(2).transpose(1, 2))
        assert relative_error(tokens, nest(reference, 1)) <= TOLERANCE
        again = F.conv_transpose2d(reference, torch.ones(12, 3, 2, 2), stride=2)
        assert torch.equal(unnest(nest(again, 2).transpose(1, 2), (6, 10), 2), again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_in_blocks(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_core.layers.attention._SCORES_OF_ONE", 700)
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, n, c) for n, c in ((50, 16), (70, 16), (70, 8)))
    reference = F.scaled_dot_product_attention(q, k, v)
    with torch.no_grad():
        mine = attend(q.to(dtype), k.to(dtype), v.to(dtype))
    assert mine.dtype == dtype
    assert relative_error(mine.float(), reference) <= (TOLERANCE if dtype == torch.float32 else 0.02)


@pytest.mark.parametrize("heads", [1, 2])
def test_values_may_be_projected_after_averaging(heads: int) -> None:
    torch.manual_seed(0)
    attention = RotaryAttention(64, heads, kv_in_dim=16)
    q, memory = torch.randn(1, 24, 64), torch.randn(3, 2 * 24 + 5, 16)
    keys = memory + torch.randn(1, 53, 16)
    plain = attention(q, keys, memory, (4, 6), num_unrotated_keys=5).detach()
    with torch.no_grad():
        assert relative_error(attention(q, keys, memory, (4, 6), num_unrotated_keys=5), plain) <= TOLERANCE


@pytest.mark.parametrize("heads", [1, 2])
def test_queries_and_keys_of_the_same_tokens_are_projected_at_once(heads: int) -> None:
    torch.manual_seed(0)
    attention, x = RotaryAttention(64, heads), torch.randn(2, 24, 64)
    plain = attention(x, x, x, (4, 6)).detach()
    with torch.no_grad():
        assert relative_error(attention.attend_to_itself(x, (4, 6)), plain) <= TOLERANCE


@pytest.mark.parametrize(
    ("kind", "queries", "keys"), [(TokenToImageAttention, 9, 70), (ImageToTokenAttention, 70, 9)], ids=["ask", "answer"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_and_image_meet_without_projecting_the_image(
    kind: type[Attention], queries: int, keys: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    exact = kind(64, 4, downsample_rate=2)
    attention = copy.deepcopy(exact).to(dtype)
    q, k, v = (torch.randn(3, n, 64) for n in (queries, keys, keys))
    tolerance = TOLERANCE if dtype == torch.float32 else 0.02
    for changed, parameter in zip(exact.parameters(), attention.parameters(), strict=True):
        with torch.no_grad():
            attention(q.to(dtype), k.to(dtype), v.to(dtype))
            changed.copy_(parameter.add_(torch.randn_like(parameter) * 0.2))
            fast = attention(q.to(dtype), k.to(dtype), v.to(dtype)).float()
            assert attention(*(t[:0].to(dtype) for t in (q, k, v))).shape == (0, queries, 64)
        assert relative_error(fast, exact(q, k, v).detach()) <= tolerance


def one_frame(model: Sam2) -> dict[str, Tensor]:
    """Run every network once, three objects."""
    torch.manual_seed(5)
    side = model.feature_size
    images = torch.randint(0, 255, (1, model.image_size, model.image_size, 3), dtype=torch.uint8)
    features = model.encode_image(model.normalise(images))
    t_pos, ages = torch.tensor([[0, 4, 5, 6]]), torch.arange(6)[None]
    spatial = torch.randn(3, 4, model.memory_dim, side, side)
    pointers = torch.randn(3, 6, model.d_model)
    embedding = model.embed_with_memory(features, model.assemble_memory(spatial, t_pos, pointers, ages))
    output = model.decode(embedding, features, multimask=True)
    memory, prompted = (
        model.encode_memory(features, output.low_res, output.object_score, from_prompt=p) for p in (False, True)
    )
    return {
        "features": features.embedding,
        "embedding": embedding,
        "masks": output.masks,
        "memory": memory,
        "prompted memory": prompted,
    }


def test_with_gradients_and_without(micro_tracker: Tracker) -> None:
    """Training computes the plain way, and every weight that tracking uses gets a gradient."""
    model = copy.deepcopy(micro_tracker.model).requires_grad_(True).eval()
    slow = one_frame(model)
    with torch.inference_mode():
        fast = one_frame(model)
    for name, value in slow.items():
        assert relative_error(fast[name], value.detach()) <= TOLERANCE, name
    sum(value.float().square().mean() for value in slow.values()).backward()
    parts = (model.image_encoder, model.memory_attention, model.memory_encoder, model.sam_mask_decoder.conv_s0)
    assert all(p.grad is not None and p.grad.isfinite().all() for part in parts for p in part.parameters())


@pytest.mark.parametrize("gradient", [False, True])
def test_networks_run_under_autocast(micro_tracker: Tracker, gradient: bool) -> None:
    with torch.no_grad():
        exact = one_frame(micro_tracker.model)
    with torch.set_grad_enabled(gradient), torch.autocast("cpu", torch.bfloat16):
        rounded = one_frame(micro_tracker.model)
    for name, value in exact.items():
        bound = 0.2 if name == "prompted memory" else 0.1
        assert 0 < relative_error(rounded[name].detach().float(), value) < bound, name


def test_a_network_may_change_its_precision_after_use(micro_tracker: Tracker) -> None:
    """Nothing that was computed from float32 weights outlives them; phases of positions stay float32."""
    model = copy.deepcopy(micro_tracker.model)
    with torch.inference_mode():
        exact = one_frame(model)
        used = one_frame(model.to(torch.bfloat16))
        fresh = one_frame(copy.deepcopy(micro_tracker.model).to(torch.bfloat16))
    assert model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.dtype == torch.float32
    for name, value in fresh.items():
        assert torch.equal(used[name], value), name
        bound = 0.2 if name == "prompted memory" else 0.1  # of masks of two values: pixels near the threshold change
        assert relative_error(value.float(), exact[name]) < bound, name


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (300, 64), (9, 2100)])
def test_pixels_are_counted_in_eights(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    masks = torch.stack((torch.rand(size) > 0.5, torch.ones(size, dtype=torch.bool), torch.zeros(size).bool()))
    columns, rows = count_pixels(masks)
    assert torch.equal(columns, masks.sum(1))
    assert torch.equal(rows, masks.sum(2))


@pytest.mark.parametrize("size", [(480, 640), (45, 61), (48, 48), (1, 1)])
@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.5])
def test_masks_are_resized_where_objects_can_be(size: tuple[int, int], threshold: float) -> None:
    torch.manual_seed(0)
    smooth = F.interpolate(torch.randn(3, 1, 7, 9), size=(48, 48), mode="bilinear")[:, 0]
    dot, corner, nothing = torch.full((3, 48, 48), -3.0)
    dot[17, 30], corner[-1, 0] = 8.0, 2.0
    low_res = torch.cat((smooth, torch.stack((dot, corner, nothing))))
    logits = logits_at(low_res, size)
    differs = masks_at(low_res, size, threshold) != (logits > threshold)
    assert (logits - threshold)[differs].abs().max().item() < 1e-5 if differs.any() else True
    assert not masks_at(low_res[-1:], size, threshold).any()


def test_resizing_rounds_to_whole_levels() -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 90, 120), dtype=torch.uint8)
    exact = F.interpolate(image.float(), size=(64, 64), mode="bilinear", antialias=True)
    assert (resized(image, 64).float() - exact).abs().max() <= 1
    assert resized(image[:, :, :64, :64], 64).data_ptr() == image.data_ptr()


def picture(number: int) -> np.ndarray:
    image = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.roll(image.repeat(8, 0)[:120].repeat(8, 1)[:, :160], 2 * number, axis=1))


def box(k: int) -> Prompt:
    return Prompt(box=np.array([10.0 + 30 * k, 20, 40 + 30 * k, 70]))


@pytest.mark.parametrize("conditioning", [False, True])
def test_keys_may_be_kept(conditioning: bool) -> None:
    """Objects of different ages, one of them corrected on an earlier frame: copied rows and prompts in the past."""
    tracker = build_tracker("sam2_nano", device="cpu", dtype="float32")
    settings = {"max_objects": 3, "corrections_are_conditioning": conditioning, "memory_dtype": torch.float32}
    keeping, projecting = (tracker.open_stream(key_bytes=size, **settings) for size in (2**27, 0))
    assert keeping._bank.keys is not None
    assert projecting._bank.keys is None
    for i in range(20):
        kept, projected = (stream.step(picture(i), i) for stream in (keeping, projecting))
        assert kept.object_ids == projected.object_ids
        if len(kept):
            assert relative_error(kept.low_res, projected.low_res) <= 1e-3
        for stream in (keeping, projecting):
            if i in (0, 4):
                stream.add_prompt(box(len(stream.objects)))
            if i == 10:
                stream.add_prompt(replace(box(0), stamp=7), object_id=1)
            if i == 12:
                stream.add_prompt(replace(box(2), stamp=9))
    assert len(kept) == 3


@pytest.mark.parametrize("dtype", ["float32", None])  # None: bfloat16 where the CPU is fast at it
@pytest.mark.parametrize("key_bytes", [0, 2**27])
@pytest.mark.parametrize(("others", "joins"), [(1, 0), (1, 3), (2, 3), (3, 0)])
def test_an_object_that_joins_changes_no_bit_of_the_others(
    others: int, joins: int, key_bytes: int, dtype: str | None
) -> None:
    tracker = build_tracker("sam2_nano", device="cpu", dtype=dtype)
    # With `overlaps="look"` others do change what is shown, not what is remembered: see test_overlaps.py.
    calm, joined = (tracker.open_stream(max_objects=4, key_bytes=key_bytes, overlaps="keep") for _ in range(2))
    for i in range(22):
        before, after = (stream.step(picture(i)) for stream in (calm, joined))
        assert torch.equal(before.low_res, after.low_res[:others])
        if i == 0:
            for stream in (calm, joined):
                for k in range(others):
                    stream.add_prompt(box(k))
        if i == joins:
            joined.add_prompt(box(others))
    assert len(after) == others + 1


class Replay:
    """What a CUDA graph does to its callers, on a CPU: it owns its inputs, and computes from those alone."""

    recorded: ClassVar[list[tuple[torch.Size, ...]]] = []

    def __init__(self, function: Any, inputs: tuple[Tensor, ...]) -> None:
        self.function, self.inputs = function, tuple(x.clone() for x in inputs)
        self.recorded.append(tuple(x.shape for x in inputs))

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for kept, new in zip(self.inputs, inputs, strict=True):
            kept.copy_(new)
        return self.function(*self.inputs)


@pytest.mark.parametrize("key_bytes", [0, 2**27])  # on a GPU no keys are kept
def test_recorded_steps_give_the_same_masks(monkeypatch: pytest.MonkeyPatch, key_bytes: int) -> None:
    """Batches are filled up to 1, 2 or 4 objects, and what is replayed equals what is computed object by object."""
    tracker = build_tracker("sam2_nano", device="cpu", dtype="float32")
    settings = {"max_objects": 3, "key_bytes": key_bytes, "policy": FifoPolicy()}  # whose banks fill soonest
    plain, graphed = (tracker.open_stream(**settings) for _ in range(2))
    assert (graphed._bank.keys is None) == (key_bytes == 0)
    monkeypatch.setattr(Replay, "recorded", [])
    with torch.inference_mode():
        graphs = FrameGraphs(tracker.model, graphed._bank, 3, enabled=True, record=Replay)
    graphed._graphs = graphs
    assert len(Replay.recorded) == 1 + (1 + 2 + 2)  # the encoder; one age or several, for 1, 2 and 4 objects
    replayed = 0
    is_recorded = graphs._track.is_recorded

    def count(*inputs: Tensor) -> bool:
        nonlocal replayed
        replayed += is_recorded(*inputs)
        return is_recorded(*inputs)

    monkeypatch.setattr(graphs._track, "is_recorded", count)
    for i in range(45):
        one, other = (stream.step(picture(i)) for stream in (plain, graphed))
        assert torch.equal(one.low_res, other.low_res), i
        assert torch.equal(one.predicted_iou, other.predicted_iou)
        if i in (0, 1, 22):
            for stream in (plain, graphed):
                stream.add_prompt(box(len(stream.objects)))
    assert replayed >= 10
    assert len(Replay.recorded) == 6  # none while tracking


def test_what_cannot_be_recorded_is_computed(caplog: pytest.LogCaptureFixture) -> None:
    tracker = build_tracker("sam2_nano", device="cpu", dtype="float32")

    def fail(*_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    with torch.inference_mode():
        stream = tracker.open_stream(max_objects=1)
        stream._graphs = FrameGraphs(tracker.model, stream._bank, 1, enabled=True, record=fail)
    assert "not permitted when stream is capturing" in caplog.text
    assert len(stream.step(picture(0))) == 0
    stream.add_prompt(box(0))
    assert len(stream.step(picture(1))) == 1


def test_filling_up_a_batch_repeats_the_last_object() -> None:
    places = Places(*(torch.arange(rows * 3).view(rows, 3) for rows in (2, 2, 1, 2, 2)))
    filled = places.padded(4)
    assert torch.equal(filled.rows[1:], places.rows[[1, 1, 1]])
    assert torch.equal(filled.t_pos, places.t_pos)
    assert places.padded(2) == places
