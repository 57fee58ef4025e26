"""`model: sam3…` with `detector: sam3…` in the node: one backbone, and one pass an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from sam_core import Prompt
from sam_core.association import FollowedConcept
from sam_core.build import build_model
from sam_core.sam3 import ConceptDetector, build_network
from sam_core.streaming import Frame
from sam_ros.detection.findings import find
from sam_ros.detection.search import Search
from sam_ros.node.tracker_node import TrackerNode
from sam_ros.tracking.session import Session

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
SEARCH = Search(("cup",), None, 0.0, 3, None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file of tracker and detector, as `transformers`' `Sam3Video` and Meta's file are: one trunk for both."""
    torch.manual_seed(0)
    tracker, detector = build_model("sam3_toy").state_dict(), build_network("sam3_toy").state_dict()
    trunk = "backbone.vision_backbone.trunk."
    vision = {
        k.replace("image_encoder.", "backbone.vision_backbone."): v for k, v in tracker.items() if "image_enc" in k
    }
    heads = {f"tracker.{k}": v for k, v in tracker.items() if "image_enc" not in k}
    detector |= {k: v for k, v in vision.items() if k.startswith(trunk)}
    path = tmp_path_factory.mktemp("weights") / "sam3.pt"
    torch.save({f"detector.{k}": v for k, v in {**vision, **detector}.items()} | heads, path)
    return path


@pytest.fixture
def node(ros: None, checkpoint: Path) -> Iterator[TrackerNode]:
    values = {"model": "sam3_toy", "checkpoint": str(checkpoint), "detector": "sam3_toy", "device": "cpu"}
    node = TrackerNode("shared", parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    yield node
    node.destroy_node()


def step(node: TrackerNode, stamp: int) -> tuple[int, Frame]:
    """Track an image in the inference thread; return the number of objects and the frame."""

    def track(session: Session) -> tuple[int, Frame]:
        result = session.stream.step(IMAGE, stamp)
        frame = session.stream.history.newest
        assert frame is not None
        return len(result), frame

    assert node._inference is not None
    return node._inference.submit(track).result(60.0)


def detector_thread(node: TrackerNode) -> Any:
    detector = node._detections._detector.now
    assert detector is not None
    return detector.thread


def test_one_backbone_one_pass_an_image_and_tracking_goes_on_alone(node: TrackerNode) -> None:
    assert detector_thread(node).facts.shares_trunk

    def count_passes(detector: ConceptDetector) -> list[int]:
        count: list[int] = []
        trunk = detector.network.backbone.vision_backbone.trunk
        trunk.register_forward_hook(lambda *_: count.append(1))
        return count

    count = detector_thread(node).submit(count_passes).result(60.0)
    _, frame = step(node, 1)
    findings, _ = detector_thread(node).submit(lambda detector: find(detector, frame, SEARCH)).result(60.0)
    assert len(count) == 1
    assert len(findings) == 3
    _, newer = step(node, 2)
    assert newer.features.trunk is not None
    earlier = node._inference.history.frame_at(1)  # type: ignore[union-attr]
    again, _ = detector_thread(node).submit(lambda detector: find(detector, earlier, SEARCH)).result(60.0)
    assert len(count) == 3, "an earlier image is encoded once more"
    scores = [item.instance.score for item in findings]
    assert [item.instance.score for item in again] == pytest.approx(
        scores, abs=1e-2
    )  # resized apart, to within a level

    # A concept that counts images is searched for in the image's own step.
    redetector = node._detections._detector.now.redetector  # type: ignore[union-attr]
    redetector.follow(FollowedConcept("cup", every_n_frames=1))
    outcome = node._inference.submit(lambda session: session.step(IMAGE, 3, None)).result(60.0)  # type: ignore[union-attr]
    assert outcome.searched == ("cup",)
    assert len(count) == 4
    assert redetector.unfollow("")

    # Tracking goes on when the detector ends.
    prompt = Prompt(box=[20, 20, 60, 70])
    node._inference.submit(lambda session: session.stream.add_prompt(prompt)).result(60.0)  # type: ignore[union-attr]
    detector = detector_thread(node)
    detector.stop()
    assert detector.join(60.0)
    assert step(node, 4)[0] == 1
