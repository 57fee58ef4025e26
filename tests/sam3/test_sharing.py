"""SAM 3's tracker and detector on one trunk: one set of weights, one pass an image, the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sam_core import Tracker, build_tracker
from sam_core.build import build_model
from sam_core.sam3 import ConceptDetector, build_detector, build_network
from sam_core.streaming import Stream

IMAGE = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)


@pytest.fixture
def tracker() -> Tracker:
    return build_tracker("sam3_toy", device="cpu", dtype="float32")


def detector_beside(tracker: Tracker, **options: object) -> ConceptDetector:
    return build_detector("sam3_toy", device="cpu", dtype="float32", beside=tracker, **options)  # type: ignore[arg-type]


@contextmanager
def passes(trunk: nn.Module) -> Iterator[list[int]]:
    """Count the passes through a trunk."""
    count: list[int] = []
    hook = trunk.register_forward_hook(lambda *_: count.append(1))
    yield count
    hook.remove()


def newest(stream: Stream) -> torch.Tensor | None:
    frame = stream.history.newest
    assert frame is not None
    return frame.features.trunk


def test_one_set_of_weights(tracker: Tracker) -> None:
    detector = detector_beside(tracker)
    assert detector.shares_trunk
    assert detector.network.backbone.vision_backbone.trunk is tracker.model.trunk  # type: ignore[attr-defined]
    ours = set(detector.own_modules)
    assert not ours & set(tracker.model.modules())
    assert detector.network.transformer.decoder in ours


def test_one_pass_an_image_and_the_same_instances(tracker: Tracker) -> None:
    detector = detector_beside(tracker)
    stream = tracker.open_stream(max_objects=1)
    stream.keep_pictures = True
    with passes(detector.network.backbone.vision_backbone.trunk) as count:
        stream.step(IMAGE)
        trunk = newest(stream)
        assert trunk is not None
        (mine,) = detector.detect(detector.encode_trunk(trunk, (112, 112)), "cup", threshold=0.0)
        assert len(count) == 1
    (alone,) = detector.detect(detector.encode_image(IMAGE), "cup", threshold=0.0)
    torch.testing.assert_close(mine.scores, alone.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mine.mask_logits, alone.mask_logits, rtol=1e-4, atol=1e-4)


def test_only_the_newest_frame_keeps_the_map_and_only_for_a_detector(tracker: Tracker) -> None:
    stream = tracker.open_stream(max_objects=1, history_frames=4)
    stream.step(IMAGE)
    assert newest(stream) is None
    stream.keep_pictures = True
    for _ in range(3):
        stream.step(IMAGE)
    assert [frame.features.trunk is not None for frame in stream.history.frames] == [False, False, False, True]
    with_map = stream.history.nbytes
    stream.keep_pictures = False
    assert newest(stream) is None
    pictures = 3 * IMAGE.nbytes
    assert with_map - stream.history.nbytes - pictures == 48 * 8 * 8 * 4


def both_files(tmp_path: Path, *, frozen: bool) -> tuple[Path, Path]:
    """Write a tracker's file and a detector's, of one trunk or not."""
    tracker, detector = build_model("sam3_toy"), build_network("sam3_toy")
    if frozen:
        detector.backbone.vision_backbone.trunk.load_state_dict(tracker.image_encoder.trunk.state_dict())
    heads = {k: v for k, v in tracker.state_dict().items() if not k.startswith("image_encoder.")}
    vision = {
        k.replace("image_encoder.", "backbone.vision_backbone."): v
        for k, v in tracker.state_dict().items()
        if k.startswith("image_encoder.")
    }
    paths = tmp_path / "tracker.pt", tmp_path / "detector.pt"
    torch.save(heads | vision, paths[0])
    torch.save(detector.state_dict(), paths[1])
    return paths


@pytest.mark.parametrize("frozen", [True, False])
def test_only_a_trunk_of_the_same_numbers_is_shared(tmp_path: Path, frozen: bool) -> None:
    first, second = both_files(tmp_path, frozen=frozen)
    tracker = build_tracker("sam3_toy", first, "cpu", "float32")
    detector = build_detector("sam3_toy", second, "cpu", "float32", beside=tracker)
    assert detector.shares_trunk == frozen
    expected = torch.load(second)["backbone.vision_backbone.trunk.pos_embed"]
    assert torch.equal(detector.network.backbone.vision_backbone.trunk.pos_embed, expected)


def test_another_dtype_size_or_model_is_not_shared(tracker: Tracker) -> None:
    other_dtype = build_detector("sam3_toy", device="cpu", dtype="bfloat16", beside=tracker)
    other_size = detector_beside(tracker, overrides=["model.backbone.vision_backbone.trunk.window=2"])
    sam2 = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
    assert not any(d.shares_trunk for d in (other_dtype, other_size, detector_beside(sam2)))


def test_weights_in_memory_at_full_size() -> None:
    """Two thirds of both alone, and two fifths with the text encoder aside: float32, counted without allocating."""
    with torch.device("meta"):
        tracker, detector = build_model("sam3"), build_network("sam3")

    def size(*modules: nn.Module) -> int:
        weights = {id(t): t.nbytes for m in modules for t in (*m.parameters(), *m.buffers())}
        return sum(weights.values())

    apart = size(tracker) + size(detector)
    detector.backbone.vision_backbone.trunk = tracker.image_encoder.trunk  # type: ignore[assignment]
    shared, text = size(tracker, detector), size(detector.backbone.language_backbone)
    print(f"apart {apart / 1e9:.3f} GB, shared {shared / apart:.3f}, text aside {(shared - text) / apart:.3f}")
    assert shared / apart <= 0.7
    assert (shared - text) / apart <= 0.45


def test_text_encoder_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 there, whatever the network computes in; a phrase that is known does not ask it again."""
    detector = build_detector("sam3_toy", device="cpu", dtype="bfloat16", text_on_cpu=True)
    text = detector.network.backbone.language_backbone
    assert text.resizer.weight.dtype == torch.float32
    assert detector.dtype == torch.bfloat16
    with passes(text) as count:
        state = detector.encode_image(IMAGE)
        for phrase in ("cup", "cup", "plate", "cup"):
            (found,) = detector.detect(state, phrase, threshold=0.0)
            assert found.scores.isfinite().all()
    assert len(count) == 2
