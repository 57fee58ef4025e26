"""Shared random weights: `transformers`' SAM 3 port as the reference, and our network filled from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.reference import errors
from benchmarks.reference.sam3 import (
    let_some_pass,
    randomise,
    reference_config,
    reference_roi_align,
    share_random_weights,
)
from sam_core.sam3 import ConceptDetector, ConceptNetwork, build_network

MANIFESTS = Path(__file__).resolve().parents[3] / "shared" / "manifests"

# The toy's grid of 8 patches is two windows; the other one's 9 patches need padded windows and tile evenly.
CONFIGS: dict[str, list[str]] = {
    "even windows": [],
    "padded windows": ["sizes.image_size=126", "sizes.channels=64", "sizes.num_heads=8", "sizes.text_width=48"],
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Pair:
    """The reference and our network on the same weights."""

    reference: Any
    network: ConceptNetwork


@pytest.fixture(scope="session", params=list(CONFIGS), ids=lambda name: name.replace(" ", "-"))
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The reference and our network with the same random weights."""
    modeling = pytest.importorskip("transformers.models.sam3.modeling_sam3")
    overrides = CONFIGS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        stub = SimpleNamespace(ops=SimpleNamespace(roi_align=reference_roi_align))
        patch.setattr(modeling, "torchvision", stub, raising=False)
        reference = modeling.Sam3Model(reference_config("sam3_toy", overrides)).eval()
        network = build_network("sam3_toy", overrides)
        share_random_weights(network, reference)
        yield Pair(reference, network)


@pytest.fixture
def in_reference_words() -> Callable[..., Any]:
    """Describe one of our configurations as the reference's."""
    return reference_config


@cache
def toy_network(overrides: tuple[str, ...]) -> ConceptNetwork:
    """Build a toy network on random weights under which instances pass the threshold; tests must not change it."""
    network = build_network("sam3_toy", overrides).requires_grad_(False)
    randomise(network, seed=3)
    let_some_pass(network)
    return network


@pytest.fixture
def make_detector() -> Callable[..., ConceptDetector]:
    """Build a toy detector; detectors with the same overrides share their weights."""

    def make(overrides: tuple[str, ...] = (), **options: Any) -> ConceptDetector:
        return ConceptDetector(toy_network(overrides), "sam3_toy", **options)

    return make


@pytest.fixture
def manifest() -> Callable[[str], dict[str, list[int]]]:
    """Read names and shapes of an official checkpoint."""

    def read(name: str) -> dict[str, list[int]]:
        path = MANIFESTS / f"{name}.json"
        if not path.is_file():
            pytest.skip(f"{path.name} is not here")
        return json.loads(path.read_text())

    return read


@pytest.fixture(scope="session")
def relative_error() -> Callable[[Tensor, Tensor], float]:
    """Return the measure of parity."""
    return errors.relative_error
