from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus

from sam_core import build_tracker
from sam_ros.node.diagnostics import Condition, device_memory, diagnostic_array, diagnostic_status
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
    waiting=0.03,
    topic="/camera/image",
    publishers=1,
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


def judge(statistics: Statistics, condition: Condition = GOOD, previous: Statistics | None = None, **parameters: float):
    before = (previous or Statistics()).snapshot()
    return diagnostic_status("/tracker", statistics.snapshot(), before, condition, TrackerParameters(**parameters))


def test_all_is_well(statistics: Statistics) -> None:
    status = judge(statistics)
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
    assert values["last error"] == ""
    assert {f"images dropped: {cause.value}" for cause in DropCause} <= set(values)


def test_the_header_has_the_time(statistics: Statistics) -> None:
    message = diagnostic_array(judge(statistics), 5 * 10**9 + 7)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 7)
    assert len(message.status) == 1


@pytest.mark.parametrize("state", ["unconfigured", "inactive"])
def test_who_is_not_active_expects_nothing(state: str) -> None:
    status = judge(Statistics(), replace(GOOD, state=state, waiting=None, device=None, stream=None), expected_rate=30.0)
    assert (status.level, status.message) == (DiagnosticStatus.OK, state)


def test_who_is_paused_expects_nothing() -> None:
    status = judge(Statistics(), replace(GOOD, paused=True, waiting=None))
    assert (status.level, status.message) == (DiagnosticStatus.OK, "paused")


def test_silence_with_a_publisher_hints_at_shared_memory() -> None:
    status = judge(Statistics(), replace(GOOD, waiting=3.14))
    assert status.level == DiagnosticStatus.WARN
    assert "no image on /camera/image for 3.1 s: it has 1 publisher(s)" in status.message
    assert "FASTDDS_DEFAULT_PROFILES_FILE" in status.message


def test_silence_without_a_publisher_says_that() -> None:
    status = judge(Statistics(), replace(GOOD, waiting=3.14, publishers=0))
    assert status.level == DiagnosticStatus.WARN
    assert status.message.endswith("nobody publishes it")


def test_silence_can_be_allowed() -> None:
    assert judge(Statistics(), replace(GOOD, waiting=3.14), image_timeout=0.0).level == DiagnosticStatus.OK


@pytest.mark.parametrize(
    ("cause", "level", "text"),
    [
        (DropCause.ERROR, DiagnosticStatus.ERROR, "1 frames failed: out of memory"),
        (DropCause.BAD_IMAGE, DiagnosticStatus.WARN, "1 images dropped: out of memory"),
        (DropCause.LOST, DiagnosticStatus.WARN, "1 images lost in transport"),
        (DropCause.REPLACED, DiagnosticStatus.OK, "tracking"),
        (DropCause.OUT_OF_ORDER, DiagnosticStatus.OK, "tracking"),
    ],
)
def test_new_drops_decide_the_level_and_old_ones_do_not(
    statistics: Statistics, cause: DropCause, level: bytes, text: str
) -> None:
    statistics.dropped(cause)
    statistics.error("out of memory")
    status = judge(statistics)
    assert status.level == level
    assert status.message.startswith(text)
    assert judge(statistics, previous=statistics).level == DiagnosticStatus.OK


def test_too_slow_a_camera_is_told(statistics: Statistics) -> None:
    status = judge(statistics, expected_rate=1e9)
    assert status.level == DiagnosticStatus.WARN
    assert "expected are 1000000000.0 Hz" in status.message


def test_memory_of_the_process() -> None:
    name, mebibytes = device_memory(torch.device("cpu"))
    assert name == "host memory of the process [MiB]"
    assert 10 < mebibytes < 1e6
