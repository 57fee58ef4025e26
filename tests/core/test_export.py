"""The plain networks can be exported and compiled: one graph of the encoder, one of a tracking step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from benchmarks.reference.errors import relative_error
from benchmarks.reference.weights import make_lively
from sam_core.backends.cpu import optimise_for_cpu
from sam_core.build import build_model
from sam_core.sam2 import ImageFeatures, Sam2

TOLERANCE = 1e-5
OBJECTS, MAPS, POINTERS = 2, 4, 6


class Encoder(nn.Module):
    """Image encoder as a function of tensors."""

    def __init__(self, model: Sam2) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.model.encode_image(images)
        return features.embedding, *features.high_res


class Step(nn.Module):
    """Memory attention, mask decoder and memory encoder as one function of tensors."""

    def __init__(self, model: Sam2) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        embedding: Tensor,
        fine: Tensor,
        middle: Tensor,
        spatial: Tensor,
        t_pos: Tensor,
        pointers: Tensor,
        distances: Tensor,
    ) -> tuple[Tensor, ...]:
        model = self.model
        features = ImageFeatures(embedding, (fine, middle), model.image_position(embedding))
        conditioned = model.embed_with_memory(features, model.assemble_memory(spatial, t_pos, pointers, distances))
        output = model.decode(conditioned, features, multimask=True)
        memory = model.encode_memory(features, output.low_res, output.object_score, from_prompt=False)
        return output.low_res, output.ious, output.object_score, output.pointer, memory


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "optimised"])
def model(request: pytest.FixtureRequest) -> Sam2:
    """Return the test model; the CPU backend is bypassed while a network is traced."""
    torch.manual_seed(0)
    model = build_model("sam2.1_micro").requires_grad_(False)
    make_lively(model)
    return optimise_for_cpu(model) if request.param else model


@pytest.fixture(params=["encoder", "step"])
def network(model: Sam2, request: pytest.FixtureRequest) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a part of the network with inputs."""
    torch.manual_seed(1)
    images = torch.randn(1, 3, model.image_size, model.image_size)
    if request.param == "encoder":
        return Encoder(model), (images,)
    side = model.feature_size
    return Step(model), (
        *Encoder(model)(images),
        torch.randn(OBJECTS, MAPS, model.memory_dim, side, side),
        torch.tensor([[0, 4, 5, 6]]),
        torch.randn(OBJECTS, POINTERS, model.d_model),
        torch.arange(POINTERS)[None],
    )


def assert_same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    assert len(found) == len(expected)
    for mine, reference in zip(found, expected, strict=True):
        assert relative_error(mine, reference) <= TOLERANCE


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_export(network: tuple[nn.Module, tuple[Tensor, ...]], strict: bool) -> None:
    module, inputs = network
    expected = module(*inputs)
    program = torch.export.export(module.eval(), inputs, strict=strict)
    assert_same(program.module()(*inputs), expected)
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not [name for name in operators if name.startswith("mkldnn") or "complex" in name]
    assert_same(module(*inputs), expected)  # tracing leaves nothing behind


def test_compile(network: tuple[nn.Module, tuple[Tensor, ...]]) -> None:
    module, inputs = network
    expected = module(*inputs)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert_same(compiled(*inputs), expected)
