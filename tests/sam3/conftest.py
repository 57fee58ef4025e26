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
from torch import Tensor, nn

from sam_core.configuration import load_config
from sam_core.sam3 import ConceptDetector, ConceptNetwork, build_network
from sam_core.sam3.attention import PackedAttention
from sam_core.sam3.geometry import GeometryPrompts
from sam_core.sam3.hugging_face import rename_hugging_face_detector
from sam_core.sam3.roi_align import roi_align

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


def randomise(module: nn.Module, seed: int) -> None:
    """Fill every parameter so that signals keep their scale and no zero or constant hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for _, part in sorted(module.named_modules()):
        for name, parameter in sorted(part.named_parameters(recurse=False)):
            noise = torch.randn(parameter.shape, generator=generator)
            if isinstance(part, (nn.LayerNorm, nn.GroupNorm)):
                noise = 0.2 * noise + (1.0 if name == "weight" else 0.0)
            elif isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, PackedAttention)) and parameter.dim() > 1:
                noise *= 1.2 / parameter[0].numel() ** 0.5
            else:
                noise *= 0.5
            parameter.data.copy_(noise)


def presence_layer(network: ConceptNetwork) -> nn.Linear:
    """Return the layer that makes the presence logit."""
    layer = network.transformer.decoder.presence_token_head.layers[-1]
    assert isinstance(layer, nn.Linear)
    return layer


@torch.no_grad()
def let_some_pass(network: ConceptNetwork) -> None:
    """Bias presence and class so that about half of the queries of any phrase score above 0.5."""
    presence_layer(network).weight.mul_(0.2)
    presence_layer(network).bias.fill_(3.0)
    scoring = network.dot_prod_scoring
    scoring.prompt_proj.weight.mul_(0.2)  # the prompt moves the scores, its bias rules them
    scoring.hs_proj.weight.mul_(4.0)
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(1, 3, network.image_size, network.image_size, generator=generator)
    text = network.encode_text(torch.tensor([[49406, 4481, 1937, 49407], [49406, 6744, 5392, 49407]]))
    logits = network.ground(network.encode_image(image), text, GeometryPrompts.none(2, image.device)).logits
    direction = scoring.prompt_proj.bias
    shift = (0.3 - logits.median()) * direction.numel() ** 0.5 / direction.square().sum()
    scoring.hs_proj.bias.add_(shift * direction)


def reference_config(name: str, overrides: list[str] | tuple[str, ...] = ()) -> Any:
    """Describe one of our configurations in the reference's words."""
    from transformers.models.sam3 import configuration_sam3 as c

    config = load_config("models", name, overrides)
    sizes, model = config.sizes, config.model
    trunk = model.backbone.vision_backbone.trunk
    text = model.backbone.language_backbone.encoder
    common = {"hidden_size": sizes.channels, "num_attention_heads": sizes.num_heads}
    feed = {**common, "intermediate_size": sizes.hidden}
    return c.Sam3Config(
        vision_config={
            "model_type": "sam3_vision_model",
            "fpn_hidden_size": sizes.channels,
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": trunk.width,
                "intermediate_size": int(trunk.width * trunk.mlp_ratio),
                "num_hidden_layers": trunk.depth,
                "num_attention_heads": trunk.num_heads,
                "image_size": sizes.image_size,
                "patch_size": trunk.patch_size,
                "window_size": trunk.window,
                "global_attn_indexes": list(trunk.global_blocks),
                "pretrain_image_size": trunk.pretrain_image_size,
                "layer_norm_eps": trunk.norm_eps,
            },
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": text.vocabulary_size,
            "hidden_size": text.width,
            "intermediate_size": int(text.width * text.mlp_ratio),
            "projection_dim": text.output_dim,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.num_heads,
            "max_position_embeddings": config.detector.context_length,
            "hidden_act": "gelu",
        },
        geometry_encoder_config={**feed, "num_layers": model.geometry_encoder.num_layers},
        detr_encoder_config={**feed, "num_layers": model.transformer.encoder.num_layers},
        detr_decoder_config={
            **feed,
            "num_layers": model.transformer.decoder.num_layers,
            "num_queries": model.transformer.decoder.num_queries,
        },
        mask_decoder_config={**common, "num_upsampling_stages": model.segmentation_head.num_stages},
    )


def _reference_roi_align(features: Tensor, boxes: list[Tensor], output_size: int) -> Tensor:
    """Stand in for torchvision's function, which has no CPU build here; ours has its own test by hand."""
    return roi_align(features, torch.stack(list(boxes)), output_size).flatten(0, 1)


def fill_from_reference(network: ConceptNetwork, reference: nn.Module) -> None:
    """Load the reference's weights; what its layout leaves out keeps our own."""
    state = rename_hugging_face_detector(reference.state_dict())
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert {name.split(".")[-2 if name.endswith(("weight", "bias")) else -1] for name in missing} == {
        "freqs_cis",
        "points_direct_project",
        "points_pool_project",
        "points_pos_enc_project",
    }


@pytest.fixture(scope="session", params=list(CONFIGS), ids=lambda name: name.replace(" ", "-"))
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The reference and our network with the same random weights."""
    modeling = pytest.importorskip("transformers.models.sam3.modeling_sam3")
    overrides = CONFIGS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        stub = SimpleNamespace(ops=SimpleNamespace(roi_align=_reference_roi_align))
        patch.setattr(modeling, "torchvision", stub, raising=False)
        reference = modeling.Sam3Model(reference_config("sam3_toy", overrides)).eval()
        randomise(reference, seed=7)
        network = build_network("sam3_toy", overrides)
        randomise(network, seed=11)
        fill_from_reference(network, reference)
        let_some_pass(network)
        with torch.no_grad():  # the same in the reference
            reference.detr_decoder.presence_head.layer3.load_state_dict(presence_layer(network).state_dict())
            reference.dot_product_scoring.query_proj.load_state_dict(network.dot_prod_scoring.hs_proj.state_dict())
            reference.dot_product_scoring.text_proj.load_state_dict(network.dot_prod_scoring.prompt_proj.state_dict())
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
    """Largest difference over the largest value of the reference."""

    def measure(ours: Tensor, reference: Tensor) -> float:
        assert ours.shape == reference.shape
        assert torch.isfinite(reference).all()
        return ((ours - reference).abs().max() / reference.abs().max()).item()

    return measure
