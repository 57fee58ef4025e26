"""The backend for CPUs: the same numbers as plain PyTorch, for every dtype, and after every change of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.reference.errors import relative_error
from benchmarks.reference.weights import make_lively
from sam_core import Tracker
from sam_core.backends.cpu import optimise_for_cpu
from sam_core.backends.cpu.attention import BlockedAttention, RawValueAttention
from sam_core.backends.cpu.linear import PackedLinear, PaddedMLP
from sam_core.backends.cpu.weight_cache import replace
from sam_core.build import build_model
from sam_core.edgetam.repvit import ConvNorm, TokenMixer
from sam_core.layers import MLP, DotProductAttention, LayerNorm2d, RotaryAttention, axial_rotations
from sam_core.sam2 import Sam2

TOLERANCE = 1e-5


MODELS = ["sam2.1_micro", "edgetam_micro"]


def plain_model(name: str) -> Sam2:
    torch.manual_seed(0)
    model = build_model(name).requires_grad_(False)
    make_lively(model)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_parameters_keep_their_names(name: str) -> None:
    model = plain_model(name)
    before = model.state_dict()
    after = optimise_for_cpu(model).state_dict()
    assert after.keys() == before.keys()
    assert all(after[name].data_ptr() == before[name].data_ptr() for name in before)
    kinds = {type(module) for module in model.modules()}
    assert not kinds & {nn.Linear, MLP, DotProductAttention, RotaryAttention, LayerNorm2d, ConvNorm, TokenMixer}


@pytest.mark.parametrize("name", MODELS)
def test_optimised_and_plain_networks_agree(name: str) -> None:
    model = plain_model(name)
    with torch.inference_mode():
        plain = one_frame(model)
        fast = one_frame(optimise_for_cpu(model))
    for part, value in plain.items():
        assert relative_error(fast[part], value) <= TOLERANCE, part
    assert any(not torch.equal(fast[part], plain[part]) for part in plain)


def test_a_packed_linear_layer_follows_its_weight() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(48, 160), torch.randn(2, 100, 48)
    replace(layer, PackedLinear)

    def plain(of: nn.Linear) -> Tensor:
        return F.linear(x, of.weight, of.bias)

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_an_mlp_do_not_depend_on_each_other(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mlp, x = MLP(64, 256, 32, num_layers=3).to(dtype), torch.randn(21, 64, dtype=dtype)
    with torch.no_grad():
        plain = mlp(x)
        replace(mlp, PaddedMLP)
        together = mlp(x)
        assert relative_error(together.float(), plain.float()) <= (TOLERANCE if dtype == torch.float32 else 0.02)
        for count in (1, 2, 7, 8, 9):
            assert torch.equal(mlp(x[:count]), together[:count])
        assert mlp(x[:0]).shape == (0, 32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_in_blocks(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_core.backends.cpu.attention._SCORES_OF_ONE", 700)
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, n, c) for n, c in ((50, 16), (70, 16), (70, 8)))
    reference = F.scaled_dot_product_attention(q, k, v)
    with torch.no_grad():
        mine = BlockedAttention()(q.to(dtype), k.to(dtype), v.to(dtype))
    assert mine.dtype == dtype
    assert relative_error(mine.float(), reference) <= (TOLERANCE if dtype == torch.float32 else 0.02)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("grid", [(4, 6), (8, 10)])  # few tokens, which are not packed, and many
def test_values_may_be_projected_after_averaging(heads: int, grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    attention = RotaryAttention(64, heads, kv_in_dim=16)
    count = grid[0] * grid[1]
    q, memory = torch.randn(1, count, 64), torch.randn(3, 2 * count + 5, 16)
    keys = memory + torch.randn(1, 2 * count + 5, 16)
    rotations = axial_rotations(64 // heads, *grid, 10000.0, q.device)
    with torch.no_grad():
        plain = attention(q, keys, memory, rotations, num_unrotated_keys=5)
        replace(attention, RawValueAttention)
        replace(attention.attend, BlockedAttention)
        assert relative_error(attention(q, keys, memory, rotations, num_unrotated_keys=5), plain) <= TOLERANCE


def one_frame(model: Sam2) -> dict[str, Tensor]:
    """Run every network once, three objects."""
    torch.manual_seed(5)
    images = torch.randint(0, 255, (1, model.image_size, model.image_size, 3), dtype=torch.uint8)
    features = model.encode_image(model.normalise(images))
    t_pos, ages = torch.tensor([[0, 4, 5, 6]]), torch.arange(6)[None]
    spatial = torch.randn(3, 4, *model.memory_shape)
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
    """An optimised network can be trained: with gradients it computes the plain way, and every weight gets one."""
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
