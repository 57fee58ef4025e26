from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus

from sam_core import build_tracker
from sam_ros.detection.detector_manager import DetectorReport
from sam_ros.node.condition import Condition, Facts, ImageTopic
from sam_ros.node.diagnostics import device_memory, diagnostic_array, diagnostic_status
from sam_ros.node.parameters import TrackerParameters
from sam_ros.tracking.statistics import DropCause, Statistics, Timing

# A real report, whatever else it tells, with figures that are easy to recognise.
REPORT = replace(
    build_tracker("sam2.1_micro", device="cpu").open_stream().report(),
    objects=2,
    max_objects=16,
    spatial_slots_used=14,
    spatial_slots=112,
    bytes_allocated=3 * 2**20,
)
GOOD = Condition(
    state="active",
    paused=False,
    active=3.0,
    topic=ImageTopic("/camera/image", "sensor_msgs/msg/Image"),
    device=torch.device("cpu"),
    stream=REPORT,
)


@pytest.fixture
def statistics() -> Statistics:
    statistics = Statistics()
    for _ in range(3):
        statistics.image_received()
        statistics.frame_processed(Timing(latency=0.030, model=0.025))
    return statistics


def report(statistics: Statistics, condition: Condition = GOOD) -> DiagnosticStatus:
    facts = Facts(statistics.snapshot(), Statistics().snapshot(), condition, TrackerParameters())
    return diagnostic_status("/tracker", facts)


def test_all_is_well(statistics: Statistics) -> None:
    status = report(statistics)
    assert status.level == DiagnosticStatus.OK
    assert status.message.startswith("tracking 2 objects at ")
    assert (status.name, status.hardware_id) == ("/tracker: tracking", "cpu")
    values = {item.key: item.value for item in status.values}
    assert values["latency stamp to publish p50 / p99 [ms]"] == "30.0 / 30.0"
    assert values["model time p50 / p99 [ms]"] == "25.0 / 25.0"
    assert values["latency without model p50 / p99 [ms]"] == "5.0 / 5.0"
    assert values["images processed"] == "3"
    assert values["objects"] == "2 of 16"
    assert values["memory bank slots used"] == "14 of 112"
    assert values["memory bank and history [MiB]"] == "3.0"
    assert values["results held back"] == "0 of 0"
    assert values["last error"] == ""
    assert float(values["newest result [s ago]"]) < 60
    assert {f"images dropped: {cause.value}" for cause in DropCause} <= set(values)


def test_what_was_not_measured_is_unknown() -> None:
    values = {item.key: item.value for item in report(Statistics()).values}
    assert values["latency stamp to publish p50 / p99 [ms]"] == "unknown"
    assert values["newest image [s ago]"] == "never"


def test_each_followed_concept_is_reported_as_it_is() -> None:
    """So that it can be unfollowed by what the report says."""
    phrases = ("yellow\xa0cup, red", "x" * 256)
    detector = DetectorReport("idle", 0, 8, 0, None, None, followed=phrases)
    values = {item.key: item.value for item in report(Statistics(), replace(GOOD, detector=detector)).values}
    assert (values["concept followed 1"], values["concept followed 2"]) == phrases


def test_the_header_has_the_time(statistics: Statistics) -> None:
    message = diagnostic_array(report(statistics), 5 * 10**9 + 7)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 7)
    assert len(message.status) == 1


@pytest.mark.parametrize("state", ["unconfigured", "configuring", "inactive"])
def test_the_state_is_told(state: str) -> None:
    status = report(Statistics(), replace(GOOD, state=state, active=None, device=None, stream=None))
    assert (status.level, status.message) == (DiagnosticStatus.OK, state)


def test_who_is_paused_says_so() -> None:
    status = report(Statistics(), replace(GOOD, paused=True, active=None))
    assert (status.level, status.message) == (DiagnosticStatus.OK, "paused")


def test_the_worst_comes_first_and_nothing_is_left_out(statistics: Statistics) -> None:
    statistics.dropped(DropCause.BAD_IMAGE)
    statistics.dropped(DropCause.ERROR)
    statistics.error("out of memory")
    status = report(statistics)
    assert status.level == DiagnosticStatus.ERROR
    assert status.message == "1 frames failed: out of memory; also: 1 images dropped: out of memory"


def test_memory_of_the_process() -> None:
    name, mebibytes = device_memory(torch.device("cpu"))
    assert name == "host memory of the process [MiB]"
    assert 10 < mebibytes < 1e6
