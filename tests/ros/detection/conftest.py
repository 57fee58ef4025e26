"""A running tracker with a detector that the tests of this folder share; random weights find arbitrary instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sam_msgs.srv import UnfollowConcept

from benchmarks.reference.weights import make_lively
from sam_core import build_tracker
from sam_core.sam3 import build_network
from sam_ros.runtime.processes import Executable
from tests.ros.detection.asking import parameters


@pytest.fixture(scope="package")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write weights: of a detector that finds much, of a tracker that sees everything, and of one that sees nothing."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = build_network("sam3_toy")
    with torch.no_grad():
        network.transformer.decoder.presence_token_head.layers[-1].bias.fill_(5.0)
    torch.save(network.state_dict(), folder / "detector.pt")
    for name, bias in (("tracker", 5.0), ("blind", -5.0)):
        torch.manual_seed(0)
        model = build_tracker("sam2.1_micro", device="cpu").model
        make_lively(model, object_score_bias=bias)
        torch.save({"model": model.state_dict()}, folder / f"{name}.pt")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="package")
def process(weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, ros: None) -> Iterator[Executable]:
    log = tmp_path_factory.mktemp("finder") / "log"
    names = {"__node": "finder", "image": "/seen"}
    with Executable("tracker", parameters(weights), remappings=names, log=log) as process:
        yield process
        assert process.running, process.output()
    assert process.exit_code == 0, process.output()


@pytest.fixture(scope="package")
def lasting_client(process: Executable, make_package_client: Callable[..., Any]) -> Any:
    client = make_package_client("/finder", image="/seen")
    client.wait_until_active()
    return client


@pytest.fixture
def finder(process: Executable, lasting_client: Any) -> Any:
    """A client of a tracker with a detector, which holds no objects and follows nothing."""
    client = lasting_client
    client.diagnostics.clear()
    client.call(UnfollowConcept, "unfollow_concept")
    assert client.reset().success, process.output()
    return client
