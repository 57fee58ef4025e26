"""What the diagnostics find, from facts: one row a finding. `test_diagnostics_live.py` asks the running node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus

from sam_ros.detection.detector_manager import DetectorReport
from sam_ros.node.checks import CHECKS, findings
from sam_ros.node.condition import Condition, Facts, ImageTopic, Publisher
from sam_ros.node.parameters import TrackerParameters
from sam_ros.runtime.dds import PROFILE_VARIABLE
from sam_ros.tracking.statistics import DropCause, Snapshot, Statistics

IMAGE = "sensor_msgs/msg/Image"
CAMERA = Publisher("/camera", IMAGE)
TOPIC = ImageTopic("/camera/image", IMAGE, (CAMERA,))
WELL = Condition(
    state="active",
    paused=False,
    active=60.0,
    topic=TOPIC,
    device=torch.device("cpu"),
    stream=None,
)
NOTHING = Statistics().snapshot()
RUNNING = replace(
    NOTHING,
    received=900,
    processed=900,
    rate_in=30.0,
    rate_out=30.0,
    latency=(0.03, 0.04),
    model=(0.02, 0.03),
    overhead=(0.01, 0.01),
    since_last_image=0.02,
    since_last_result=0.02,
)


def facts_of(
    condition: Condition = WELL, snapshot: Snapshot = RUNNING, previous: Snapshot = RUNNING, **parameters: Any
) -> Facts:
    return Facts(snapshot, previous, condition, TrackerParameters(**parameters))


def dropped(cause: DropCause, count: int = 2) -> Snapshot:
    return replace(RUNNING, drops={**RUNNING.drops, cause: count}, last_error="too dark")


def among(*publishers: Publisher, elsewhere: tuple[str, ...] = ()) -> Condition:
    return replace(WELL, active=3.1, topic=replace(TOPIC, publishers=publishers, elsewhere=elsewhere))


SILENT = replace(NOTHING, since_last_image=None)
REPORT = DetectorReport("unloaded", 0, 4, 0, None, None, (), failure="no such file")
ERROR, WARN = DiagnosticStatus.ERROR, DiagnosticStatus.WARN

FINDINGS = {
    "configure failed": (
        facts_of(replace(WELL, state="unconfigured", active=None, failure="no such file")),
        ERROR,
        "unconfigured, because a transition failed: no such file. Repair it",
    ),
    "detector failed": (
        facts_of(replace(WELL, detector=REPORT)),
        ERROR,
        "the detector cannot be loaded: no such file. Repair it and call ~/load_detector",
    ),
    "a frame hangs": (
        facts_of(replace(WELL, working=12.0), replace(RUNNING, since_last_result=12.0)),
        ERROR,
        "no result for 12.0 s: the inference thread works on one frame or command",
    ),
    "a command hangs while inactive": (
        facts_of(replace(WELL, state="inactive", active=None, working=12.0)),
        ERROR,
        "no result for 12.0 s: the inference thread works on one frame or command",
    ),
    "nothing comes of images": (
        facts_of(snapshot=replace(RUNNING, since_last_result=12.0)),
        ERROR,
        "no result for 12.0 s, though images arrive",
    ),
    "nothing ever came of images": (
        facts_of(replace(WELL, active=15.0), replace(RUNNING, since_last_result=None, processed=0)),
        ERROR,
        "no result for 15.0 s, though images arrive",
    ),
    "frames fail": (facts_of(snapshot=dropped(DropCause.ERROR)), ERROR, "2 frames failed: too dark"),
    "nobody publishes": (
        facts_of(among(), SILENT),
        WARN,
        "active, but no image on /camera/image for 3.1 s: nobody publishes it",
    ),
    "another topic has images": (
        facts_of(among(elsewhere=("/front/image_raw",)), SILENT),
        WARN,
        "nobody publishes it; sensor_msgs/msg/Image is published on /front/image_raw: remap `image`",
    ),
    "another type": (
        facts_of(among(Publisher("/driver", "sensor_msgs/msg/CompressedImage")), SILENT),
        WARN,
        "/driver publishes sensor_msgs/msg/CompressedImage there, but sensor_msgs/msg/Image is expected",
    ),
    "another quality of service": (
        facts_of(among(replace(CAMERA, mismatch="ERROR: Best effort publisher and reliable subscription;")), SILENT),
        WARN,
        "the quality of service of /camera does not fit: ERROR: Best effort publisher and reliable",
    ),
    "an old autosave": (
        facts_of(replace(WELL, autosave="2 objects of the last autosave are not tracked: …")),
        WARN,
        "2 objects of the last autosave",
    ),
    "images get lost": (facts_of(among(CAMERA), SILENT), WARN, PROFILE_VARIABLE),
    "the camera has stopped": (
        facts_of(snapshot=replace(RUNNING, since_last_image=3.1, since_last_result=3.0, rate_in=0.0)),
        WARN,
        "the camera has stopped. Its publisher (/camera) is still there",
    ),
    "two cameras": (
        facts_of(among(CAMERA, Publisher("/other", IMAGE))),
        WARN,
        "2 publishers share /camera/image (/camera, /other)",
    ),
    "bad images": (facts_of(snapshot=dropped(DropCause.BAD_IMAGE)), WARN, "2 images dropped: too dark"),
    "out of order": (facts_of(snapshot=dropped(DropCause.OUT_OF_ORDER)), WARN, "older than their predecessor"),
    "lost": (facts_of(snapshot=dropped(DropCause.LOST)), WARN, "2 images lost in transport. Fast DDS"),
    "a slow camera": (
        facts_of(snapshot=replace(RUNNING, rate_in=20.0, rate_out=20.0), expected_rate=30.0),
        WARN,
        "images arrive at 20.0 Hz, expected are 30.0 Hz",
    ),
    "a slow tracker": (
        facts_of(snapshot=replace(RUNNING, rate_out=4.0, model=(0.25, 0.3)), expected_rate=30.0),
        WARN,
        "results come at 4.0 Hz, images at 30.0 Hz, expected are 30.0 Hz: the model takes 250 ms on cpu",
    ),
    "no clock": (facts_of(replace(WELL, clock=False)), WARN, "use_sim_time is set, but no /clock has come"),
    "stamps ahead": (
        facts_of(snapshot=replace(RUNNING, latency=(-1.8e9, -1.8e9), overhead=(-1.8e9, -1.8e9))),
        WARN,
        "images are stamped 1800000000.0 s ahead of this node's clock",
    ),
    "stamps behind": (
        facts_of(snapshot=replace(RUNNING, latency=(100.0, 100.0), overhead=(99.9, 99.9))),
        WARN,
        "images are stamped 99.9 s before they arrive",
    ),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_what_is_wrong_is_said(case: str) -> None:
    facts, level, text = FINDINGS[case]
    (found,) = findings(facts)
    assert found.level == level
    assert text in found.sentence


def test_every_check_is_tested() -> None:
    found = {check for check in CHECKS for facts, _, _ in FINDINGS.values() if check.sentence(facts)}
    assert found == set(CHECKS)


WELL_ENOUGH = {
    "all is well": facts_of(),
    "not configured": facts_of(replace(WELL, state="unconfigured", active=None), NOTHING, NOTHING, expected_rate=30.0),
    "paused": facts_of(replace(WELL, paused=True, active=None), replace(RUNNING, since_last_image=100.0)),
    "just activated": facts_of(replace(WELL, active=0.1), NOTHING, NOTHING, expected_rate=30.0),
    "old drops": facts_of(snapshot=dropped(DropCause.ERROR), previous=dropped(DropCause.ERROR)),
    "replaced frames": facts_of(snapshot=dropped(DropCause.REPLACED)),
    "silence that is allowed": facts_of(among(), SILENT, image_timeout=0.0),
    "a slow model works": facts_of(
        replace(WELL, working=25.0), replace(RUNNING, since_last_result=25.0, model=(9.0, 10.0))
    ),
    "slowness that is allowed": facts_of(replace(WELL, working=99.0), result_timeout=0.0),
    "a camera that stopped, and no result since": facts_of(
        snapshot=replace(RUNNING, since_last_image=20.0, since_last_result=19.9), image_timeout=0.0
    ),
    "a misfit beside a camera that fits": facts_of(among(CAMERA, Publisher("/other", "std_msgs/msg/String"))),
    "no latency known": facts_of(snapshot=replace(RUNNING, latency=(float("nan"),) * 2, overhead=(float("nan"),) * 2)),
}


@pytest.mark.parametrize("case", WELL_ENOUGH)
def test_what_is_right_is_not_complained_of(case: str) -> None:
    assert findings(WELL_ENOUGH[case]) == []


def test_errors_come_first() -> None:
    both = facts_of(replace(WELL, failure="no such file", clock=False))
    assert [finding.level for finding in findings(both)] == [ERROR, WARN]


def test_results_that_are_still_held_back_are_not_missed() -> None:
    silent = replace(RUNNING, since_last_result=12.0)
    assert findings(facts_of(replace(WELL, held_back=14), silent, hold_back_frames=15)) == []
    (finding,) = findings(facts_of(replace(WELL, held_back=15), silent, hold_back_frames=15))
    assert "no result for 12.0 s" in finding.sentence
