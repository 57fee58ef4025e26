"""From counts to a diagnostic message: what a robot's operator needs to know about the tracker."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from sam_core.streaming import StreamReport
from sam_ros.conversions.stamps import to_time
from sam_ros.detection.detector_manager import DetectorReport
from sam_ros.node.parameters import TrackerParameters
from sam_ros.runtime.texts import legible
from sam_ros.tracking.statistics import DropCause, Snapshot

__all__ = ["Condition", "device_memory", "diagnostic_array", "diagnostic_status"]

SHARED_MEMORY_HINT = (
    "Fast DDS loses large images with its default shared-memory segment: start the camera's process with "
    "FASTDDS_DEFAULT_PROFILES_FILE set to sam_ros' config/dds/fastdds_shm.xml"
)
EXPECTED_SHARE = 0.8  # of the expected rate: below it the operator is warned


@dataclass(frozen=True)
class Condition:
    """What the node knows at the moment of a report.

    Attributes:
        state: Lifecycle state, e.g. "active".
        paused: Whether `~/set_paused` holds the tracker.
        waiting: Seconds since the newest image, or since activation where none came yet; None unless
            images are expected.
        topic: Full name of the image topic.
        publishers: How many publishers the image topic has.
        device: Torch device of the model; None before configure.
        stream: What the stream holds; None before configure.
        detector: What the concept detector does; None where there is none.
    """

    state: str
    paused: bool
    waiting: float | None
    topic: str
    publishers: int
    device: torch.device | None
    stream: StreamReport | None
    detector: DetectorReport | None = None


def device_memory(device: torch.device | None) -> tuple[str, float]:
    """Return the name and MiB of the memory in use: torch's on a GPU, the process's resident set on the CPU."""
    if device is not None and device.type == "cuda":
        return "device memory allocated by torch [MiB]", torch.cuda.memory_allocated(device) / 2**20
    with open("/proc/self/status", encoding="ascii") as status:
        resident = next(line for line in status if line.startswith("VmRSS"))
    return "host memory of the process [MiB]", int(resident.split()[1]) / 1024


def diagnostic_status(
    name: str, snapshot: Snapshot, previous: Snapshot, condition: Condition, parameters: TrackerParameters
) -> DiagnosticStatus:
    """Judge the tracker's condition.

    Args:
        name: Name of the node, as the report's name.
        snapshot: The counts now.
        previous: The counts at the last report: what is new since then decides the level.
        condition: What else the node knows.
        parameters: Expectations of the user.
    """
    level, message = _judge(snapshot, previous, condition, parameters)
    status = DiagnosticStatus(name=f"{name}: tracking", hardware_id=str(condition.device or ""))
    status.level, status.message = level, message
    status.values = [KeyValue(key=key, value=value) for key, value in _values(snapshot, condition)]
    return status


def diagnostic_array(status: DiagnosticStatus, now: int) -> DiagnosticArray:
    """Wrap a status for `/diagnostics`; `now` in ns."""
    message = DiagnosticArray(status=[status])
    message.header.stamp = to_time(now)
    return message


def _judge(
    snapshot: Snapshot, previous: Snapshot, condition: Condition, parameters: TrackerParameters
) -> tuple[bytes, str]:
    def new(cause: DropCause) -> int:
        return snapshot.drops[cause] - previous.drops[cause]

    if condition.waiting is None:
        return DiagnosticStatus.OK, "paused" if condition.paused else condition.state
    if new(DropCause.ERROR):
        return DiagnosticStatus.ERROR, f"{new(DropCause.ERROR)} frames failed: {snapshot.last_error}"
    if parameters.image_timeout and condition.waiting > parameters.image_timeout:
        message = f"active, but no image on {condition.topic} for {condition.waiting:.1f} s: "
        if condition.publishers == 0:
            return DiagnosticStatus.WARN, message + "nobody publishes it"
        return DiagnosticStatus.WARN, message + (
            f"it has {condition.publishers} publisher(s), so check their QoS and transport. {SHARED_MEMORY_HINT}"
        )
    if new(DropCause.BAD_IMAGE):
        return DiagnosticStatus.WARN, f"{new(DropCause.BAD_IMAGE)} images dropped: {snapshot.last_error}"
    if new(DropCause.LOST):
        return DiagnosticStatus.WARN, f"{new(DropCause.LOST)} images lost in transport. {SHARED_MEMORY_HINT}"
    if snapshot.rate_in < EXPECTED_SHARE * parameters.expected_rate:
        message = f"images arrive at {snapshot.rate_in:.1f} Hz, expected are {parameters.expected_rate:.1f} Hz"
        return DiagnosticStatus.WARN, f"{message}. {SHARED_MEMORY_HINT}"
    objects = condition.stream.objects if condition.stream else 0
    return DiagnosticStatus.OK, f"tracking {objects} objects at {snapshot.rate_out:.1f} Hz"


def _values(snapshot: Snapshot, condition: Condition) -> list[tuple[str, str]]:
    def milliseconds(percentiles: tuple[float, float]) -> str:
        return f"{percentiles[0] * 1e3:.1f} / {percentiles[1] * 1e3:.1f}"

    values = [
        ("state", condition.state + (", paused" if condition.paused else "")),
        ("image rate in [Hz]", f"{snapshot.rate_in:.1f}"),
        ("result rate out [Hz]", f"{snapshot.rate_out:.1f}"),
        ("newest image [s ago]", "never" if snapshot.since_last_image is None else f"{snapshot.since_last_image:.2f}"),
        ("latency stamp to publish p50 / p99 [ms]", milliseconds(snapshot.latency)),
        ("model time p50 / p99 [ms]", milliseconds(snapshot.model)),
        ("latency without model p50 / p99 [ms]", milliseconds(snapshot.overhead)),
        ("images received", str(snapshot.received)),
        ("images processed", str(snapshot.processed)),
    ]
    values += [(f"images dropped: {cause.value}", str(count)) for cause, count in snapshot.drops.items()]
    values.append(("prompts refused", str(snapshot.refused_prompts)))
    if condition.stream is not None:
        stream = condition.stream
        values += [
            ("objects", f"{stream.objects} of {stream.max_objects}"),
            ("memory bank slots used", f"{stream.spatial_slots_used} of {stream.spatial_slots}"),
            ("images that a prompt may name", f"{stream.history_frames} of {stream.max_history_frames}"),
            ("memory bank and history [MiB]", f"{stream.bytes_allocated / 2**20:.1f}"),
        ]
    if condition.detector is not None:
        values += _detector_values(condition.detector)
    memory, mebibytes = device_memory(condition.device)
    values += [(memory, f"{mebibytes:.1f}"), ("last error", snapshot.last_error)]
    return values


def _detector_values(detector: DetectorReport) -> list[tuple[str, str]]:
    last = "never"
    if detector.last_seconds is not None and detector.last_age is not None:
        last = f"{detector.last_seconds:.2f} s, {detector.last_age:.0f} s ago"
    association = "never" if detector.association_seconds is None else f"{detector.association_seconds:.2f} s"
    return [
        ("detector", detector.state),
        ("detections", str(detector.detections)),
        ("detections waiting", f"{detector.waiting} of {detector.capacity}"),
        ("last detection", last),
        ("last association", association),
        ("searches failed", str(detector.failed)),
        ("searches dropped", str(detector.dropped)),
        ("concepts followed", legible(", ".join(detector.followed))),
    ]
