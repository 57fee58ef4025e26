"""The saved state of a pass: it comes back as it was, and a file of a stranger runs nothing."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sam_core import Prompt, build_tracker
from sam_core.association import ConceptTracker, FollowedConcept, FrameDetector
from sam_core.association.snapshot import take_snapshot
from sam_core.sam3.build import build_detector
from sam_core.streaming import POLICIES
from sam_core.synthetic import TwinScene
from sam_ros.annotation.state_file import StateFileError, read_state, state_bytes

CPU = torch.device("cpu")


def assert_same(one: Any, other: Any) -> None:
    """Compare values bit for bit, with the order of tensors in memory."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
        assert other.is_contiguous() == one.is_contiguous()
    elif isinstance(one, np.ndarray):
        assert (one == other).all()
    elif is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one == other


@pytest.mark.parametrize("policy", POLICIES)
def test_a_state_comes_back_as_it_was(policy: str, tmp_path: Path) -> None:
    tracker = build_tracker("sam2_nano", overrides=["model.image_size=64"])
    detect = FrameDetector(build_detector("sam3_nano", beside=tracker))
    stream = tracker.open_stream(max_objects=6, policy=POLICIES[policy](), reconditioning=True, history_frames=2)
    stream.keep_pictures = True
    session, scene = ConceptTracker(stream), TwinScene(320, 240)
    for k in range(3):
        session.step(scene.render(k).image, k, concepts=(FollowedConcept("red circle"),), detect=detect)
        if not k:
            stream.add_prompt(Prompt(mask=scene.render(k).labels == 5))
    stream.add_prompt(Prompt(points=[[60.0, 90.0]], labels=[1]), stream.objects[0].object_id)
    stream.add_prompt(Prompt(mask=scene.render(2).labels == 3))
    snapshot = take_snapshot(session)
    assert len(stream.objects) > 1, "a concept was found"
    state = {
        "stream": snapshot,
        "ids": {1: 2},
        "withdrawn": {3},
        "lost": frozenset({"a"}),
        "seconds": 0.1,
        "none": None,
    }
    path = tmp_path / "state.safetensors"

    path.write_bytes(state_bytes((7, state)))

    assert_same(read_state(path, CPU), (7, state))


class Unsaved:
    """What a state cannot hold."""


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold a Unsaved"):
        state_bytes({"a": Unsaved()})


STRANGE: dict[str, tuple[Any, str]] = {
    "a class of another package": (["object", "subprocess:Popen", {"args": "true"}], "no class that a state holds"),
    "a class that is no dataclass": (["object", "sam_core.streaming.stream:Stream", {}], "no class that a state holds"),
    "a module that is not loaded": (["object", "sam_core.nothing:Thing", {}], "holds no state"),
    "another version": (["object", "sam_core.streaming.state:StreamState", {"gone": 1}], "another version"),
    "an unknown kind": (["call", "print"], "something unknown"),
    "a tensor that is not there": (["tensor", "0", [0], True], "holds no state"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_file_is_refused(name: str, tmp_path: Path) -> None:
    content, said = STRANGE[name]
    path = tmp_path / "state.safetensors"
    save_file({}, path, metadata={"state": json.dumps(content)})

    with pytest.raises(StateFileError, match=said):
        read_state(path, CPU)


def test_a_pickle_is_no_state(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(pickle.dumps({"a": 1}))

    with pytest.raises(StateFileError, match="holds no state"):
        read_state(path, CPU)
