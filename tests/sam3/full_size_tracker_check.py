"""SAM 3's tracker and detector at the released size on random weights, by hand: time, memory, parity.

    PYTHONPATH=. python tests/sam3/full_size_tracker_check.py [--threads N] [--frames N] [--thin] [--no-reference]

Both networks share one trunk. It prints the time of a frame with tracking alone, and with the detection of one phrase.
Needs about 6 GB of memory and some minutes on a CPU; therefore it is no test that runs every day. With `--thin` the
trunk has one narrow layer, and all else its released size. The reference is `transformers`' port, whose parameters are
views of ours.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.reference.errors import relative_error
from benchmarks.reference.sam3 import randomise
from benchmarks.reference.sam3_tracker import ReferenceStream, reference_tracker_config
from benchmarks.reference.weights import make_lively
from sam_core import Prompt, Tracker
from sam_core.backends.cpu import optimise_for_cpu
from sam_core.build import build_model
from sam_core.checkpoints.hugging_face import rename_hugging_face_sam2
from sam_core.sam3 import ConceptDetector, build_network
from sam_core.sam3.hugging_face import rename_hugging_face_detector
from sam_core.sam3.sharing import share_trunk
from sam_core.sam3.tracker import Sam3Tracker

PHRASE = "yellow cup"
CLICK = [500.0, 400.0]
_TRUNK = "model.backbone.vision_backbone.trunk"
THIN = (f"{_TRUNK}.depth=1", f"{_TRUNK}.width=64", f"{_TRUNK}.num_heads=4", f"{_TRUNK}.global_blocks=[]")


def build(overrides: tuple[str, ...]) -> tuple[Tracker, ConceptDetector]:
    """Build both networks on one trunk, without a second one in memory."""
    model = build_model("sam3", overrides).requires_grad_(False)
    assert isinstance(model, Sam3Tracker)
    make_lively(model)
    randomise(model.image_encoder, seed=1)
    with torch.device("meta"):
        network = build_network("sam3", overrides)
    share_trunk(network, model.trunk, weights_matter=False)
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_meta:
                setattr(module, name, torch.nn.Parameter(torch.empty(parameter.shape), requires_grad=False))
    vision = network.backbone.vision_backbone
    for part in (vision.convs, network.backbone.language_backbone, network.geometry_encoder, network.transformer):
        randomise(part, seed=2)
    for part in (network.segmentation_head, network.dot_prod_scoring):
        randomise(part, seed=3)
    optimise_for_cpu(model)
    return Tracker(model, "sam3"), ConceptDetector(network, shares_trunk=True)


def reference_with_views(ours: Sam3Tracker, overrides: tuple[str, ...]) -> Any:
    """Build the reference without memory of its own: its parameters are views of ours, but for the point embeddings."""
    module: Any = import_module("transformers.models.sam3_tracker_video.modeling_sam3_tracker_video")
    config = reference_tracker_config("sam3", overrides)
    reference = _on_meta(module, config)
    values = ours.state_dict()
    layout = reference.state_dict()
    heads = {name: tensor for name, tensor in layout.items() if not name.startswith("vision_encoder.")}
    names = {id(tensor): name for name, tensor in rename_hugging_face_sam2(heads).items()}
    points = [values[f"sam_prompt_encoder.point_embeddings.{kind}.weight"] for kind in range(4)]
    state: dict[str, Tensor] = {}
    for name, tensor in layout.items():
        if name == "prompt_encoder.point_embed.weight":
            state[name] = torch.cat(points)
        elif name == "shared_image_embedding.positional_embedding":
            state[name] = values["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
        elif name in heads:
            state[name] = values[names[id(tensor)]]
        else:
            state[name] = _view(values, name)
    reference.load_state_dict(state, strict=True, assign=True)
    return reference


def _on_meta(module: Any, config: Any) -> Any:
    """Build the reference on the meta device; buffers that are computed, not loaded, stay real."""
    with torch.device("meta"):
        reference = module.Sam3TrackerVideoModel(config).eval()
    for part in reference.modules():
        if hasattr(part, "precompute_positions"):
            arguments = (part.config, part.window_size) if hasattr(part, "window_size") else (part.config,)
            part.position_ids = part.precompute_positions(*arguments)
        if hasattr(part, "compute_axial_rope_parameters"):
            part.inv_freq = part.compute_axial_rope_parameters(part.config)[0]
    return reference


def _view(values: dict[str, Tensor], name: str) -> Tensor:
    """Find one of the reference's vision parameters in ours."""
    source = name.replace("vision_encoder.neck.", "tracker_neck.")
    (renamed,) = rename_hugging_face_detector({source: torch.zeros(1, 2, 1)})
    renamed, _, part = renamed.partition(" (")
    value = values[renamed.replace("backbone.vision_backbone.", "image_encoder.")]
    if part:  # a third of a joint projection
        return value.chunk(3)["qkv".index(part[0])]
    return value[:, 1:] if renamed.endswith("pos_embed") else value


def peak() -> str:
    return f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB so far"


@torch.inference_mode()
def main() -> None:
    """Run ours, then the reference, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--thin", action="store_true")
    parser.add_argument("--no-reference", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.INFO)

    overrides = THIN if options.thin else ()
    tracker, detector = build(overrides)
    weights = {id(w): w.nbytes for n in (tracker.model, detector.network) for w in (*n.parameters(), *n.buffers())}
    print(f"weights of both {sum(weights.values()) / 1e9:.2f} GB; {peak()}", flush=True)
    images = torch.randint(0, 256, (1100, 1100, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    frames = [images[3 * i : 3 * i + 1008, 2 * i : 2 * i + 1008] for i in range(options.frames)]
    stream = tracker.open_stream(max_objects=1, history_frames=2)
    stream.keep_pictures = True
    shown, tracking, detecting = [], [], []
    for i, image in enumerate(frames):
        start, busy = time.perf_counter(), time.process_time()
        result = stream.step(image)
        if i == 0:
            result = stream.add_prompt(Prompt(points=[CLICK], labels=[1]))
        tracking.append(time.process_time() - busy)
        shown.append(result.mask_logits[0])
        frame = stream.history.newest
        assert frame is not None
        assert frame.features.trunk is not None
        middle = time.process_time()
        detector.detect(detector.encode_trunk(frame.features.trunk, frame.size), PHRASE, threshold=0.999)
        detecting.append(time.process_time() - middle)
        wall = time.perf_counter() - start
        times = f"tracking {tracking[-1]:.1f} s, detection {detecting[-1]:.1f} s of CPU ({wall:.1f} s)"
        print(f"frame {i}: {times}; {peak()}", flush=True)
    alone, both = np.median(tracking[1:]), np.median(np.add(tracking[1:], detecting[1:]))
    print(f"a frame with tracking and one phrase / with tracking alone: {both / alone:.3f}", flush=True)
    if options.no_reference:
        return

    assert isinstance(tracker.model, Sam3Tracker)
    reference = ReferenceStream(reference_with_views(tracker.model, overrides))
    for i, image in enumerate(frames):
        start = time.perf_counter()
        outputs = reference.step(tracker.model.normalise(image[None])[0])
        low_res = outputs[1] if i else reference.prompt(1, torch.tensor([CLICK]), torch.tensor([1]))
        logits = torch.nn.functional.interpolate(low_res[None, None], (1008, 1008), mode="bilinear")[0, 0]
        error = relative_error(shown[i], logits)
        print(f"frame {i}: mask logits {error:.2e} ({time.perf_counter() - start:.1f} s); {peak()}", flush=True)


if __name__ == "__main__":
    main()
