"""One forward pass of the released size on random weights, by hand: time, peak memory, difference to the reference.

    PYTHONPATH=. python tests/sam3/full_size_check.py [--threads N] [--no-reference]

Needs about 5 GB of memory and some minutes on a CPU; therefore it is no test that runs every day. The reference is
`transformers`' port, whose parameters are views of ours.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.reference.sam3 import randomise, reference_config, reference_roi_align
from sam_core.sam3 import ConceptDetector, ConceptNetwork, Exemplars, build_network
from sam_core.sam3.hugging_face import _SPLIT, _TEXT, _TRUNK, _rename
from sam_core.sam3.preprocessing import prepare_image

PHRASES = ["yellow cup", "the person in a red rain coat"]
EXEMPLARS = [None, Exemplars(boxes=[[100, 50, 300, 400], [10, 20, 60, 90]], box_labels=[1, 0])]
SIZE = (480, 640)


@contextmanager
def timed(what: str) -> Iterator[None]:
    start, busy = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {wall:.1f} s ({cpu:.1f} s of CPU), peak {peak:.2f} GiB so far", flush=True)


def reference_with_views(network: ConceptNetwork) -> Any:
    """Build the reference without memory of its own: each parameter is a view of ours."""
    modeling: Any = import_module("transformers.models.sam3.modeling_sam3")
    modeling.torchvision = SimpleNamespace(ops=SimpleNamespace(roi_align=reference_roi_align))
    with torch.device("meta"):
        reference = modeling.Sam3Model(reference_config("sam3")).eval()
    ours = network.state_dict()
    state: dict[str, Tensor] = {}
    for name in reference.state_dict():
        renamed = _rename(name)
        if match := _SPLIT.match(renamed):
            joint = match["head"] + (".qkv." if match["kind"] == "qkv" else ".in_proj_") + match["leaf"]
            state[name] = ours[joint].chunk(3)["qkv".index(match["part"])]
        elif renamed == f"{_TEXT}.encoder.text_projection":
            state[name] = ours[renamed].t()
        elif renamed == f"{_TRUNK}.pos_embed":
            state[name] = ours[renamed][:, 1:]
        else:
            state[name] = ours[renamed]
    reference.load_state_dict(state, strict=True, assign=True)
    for module in reference.modules():  # buffers that are computed, not loaded
        if hasattr(module, "precompute_positions"):
            module.position_ids = module.precompute_positions(module.config, module.window_size)
        if hasattr(module, "compute_axial_rope_parameters"):
            module.inv_freq = module.compute_axial_rope_parameters(module.config)[0]
        if isinstance(getattr(module, "position_embedding", None), nn.Embedding):
            module.position_ids = torch.arange(module.position_embedding.num_embeddings)[None]
    assert not any(tensor.is_meta for tensor in [*reference.parameters()])
    return reference


def error(ours: Tensor, reference: Tensor) -> str:
    assert ours.shape == reference.shape
    return f"{((ours - reference).abs().max() / reference.abs().max()).item():.2e}"


@torch.inference_mode()
def main() -> None:
    """Run ours, then the reference, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-reference", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.INFO)

    with timed("build and randomise"):
        network = build_network("sam3").requires_grad_(False)
        randomise(network, seed=1)
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    detector = ConceptDetector(network)
    with timed("encode_image"):
        state = detector.encode_image(image)
    with timed("detect, two phrases, one with exemplars, all queries' masks"):
        found = detector.detect(state, PHRASES, EXEMPLARS, threshold=0.0)
    with timed("detect again, phrases cached, nothing above the threshold"):
        detector.detect(state, PHRASES, EXEMPLARS, threshold=1.0)
    for item in found:
        print(f"{item.phrase!r}: {len(item)} queries, best score {item.scores[0]:.3f}, presence {item.presence:.3f}")
    if options.no_reference:
        return

    with timed("build the reference on views"):
        reference = reference_with_views(network)
    pixels = prepare_image(image, detector.image_size, detector.device, detector.dtype)
    with timed("reference: image"):
        vision = reference.vision_encoder(pixels)
    for index, level in enumerate(state.features.levels):
        print(f"  level {index} {tuple(level.shape)}: {error(level, vision.fpn_hidden_states[index])}")
    height, width = SIZE
    for item, exemplars in zip(found, EXEMPLARS, strict=True):
        boxes, labels = torch.zeros(1, 1, 4), torch.tensor([[-10]])
        if exemplars is not None:
            unit = exemplars.normalised(SIZE)
            boxes, labels = unit.boxes[None], unit.box_labels[None]
        ids = torch.tensor([detector.tokenizer(item.phrase).ids])
        with timed(f"reference: {item.phrase!r}"):
            output = reference(
                vision_embeds=vision,
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                input_boxes=boxes,
                input_boxes_labels=labels,
            )
        scores = (output.pred_logits.sigmoid() * output.presence_logits.sigmoid())[0]
        order = scores.argsort(descending=True, stable=True)
        corners = output.pred_boxes[0, order] * torch.tensor([width, height, width, height])
        print(f"  scores {error(item.scores, scores[order])}")
        print(f"  boxes {error(item.boxes, corners)}")
        print(f"  mask logits {error(item.mask_logits, output.pred_masks[0, order])}")


if __name__ == "__main__":
    main()
