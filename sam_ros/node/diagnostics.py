"""From facts to a diagnostic message: what a robot's operator needs to know about the tracker."""

from __future__ import annotations

import math

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from sam_ros.conversions.stamps import to_time
from sam_ros.detection.detector_manager import DetectorReport
from sam_ros.node.checks import findings
from sam_ros.node.condition import Facts
from sam_ros.runtime.texts import legible

__all__ = ["device_memory", "diagnostic_array", "diagnostic_status"]


def device_memory(device: torch.device | None) -> tuple[str, float]:
    """Return the name and MiB of the memory in use: torch's on a GPU, the process's resident set on the CPU."""
    if device is not None and device.type == "cuda":
        return "device memory allocated by torch [MiB]", torch.cuda.memory_allocated(device) / 2**20
    with open("/proc/self/status", encoding="ascii") as status:
        resident = next(line for line in status if line.startswith("VmRSS"))
    return "host memory of the process [MiB]", int(resident.split()[1]) / 1024


def diagnostic_status(name: str, facts: Facts) -> DiagnosticStatus:
    """Report the tracker's condition: the worst level and all findings, the worst first.

    Args:
        name: Name of the node, as the report's name.
        facts: What it is judged by.
    """
    status = DiagnosticStatus(name=f"{name}: tracking", hardware_id=str(facts.condition.device or ""))
    found = findings(facts)
    status.level = found[0].level if found else DiagnosticStatus.OK
    status.message = "; also: ".join(finding.sentence for finding in found) or _all_is_well(facts)
    status.values = [KeyValue(key=key, value=value) for key, value in _values(facts)]
    return status


def diagnostic_array(status: DiagnosticStatus, now: int) -> DiagnosticArray:
    """Wrap a status for `/diagnostics`; `now` in ns."""
    message = DiagnosticArray(status=[status])
    message.header.stamp = to_time(now)
    return message


def _all_is_well(facts: Facts) -> str:
    condition = facts.condition
    if condition.active is None:
        return "paused" if condition.paused else condition.state
    objects = condition.stream.objects if condition.stream else 0
    return f"tracking {objects} objects at {facts.snapshot.rate_out:.1f} Hz"


def _values(facts: Facts) -> list[tuple[str, str]]:
    snapshot, condition = facts.snapshot, facts.condition

    def milliseconds(percentiles: tuple[float, float]) -> str:
        return "unknown" if math.isnan(percentiles[0]) else " / ".join(f"{part * 1e3:.1f}" for part in percentiles)

    def ago(seconds: float | None) -> str:
        return "never" if seconds is None else f"{seconds:.2f}"

    values = [
        ("state", condition.state + (", paused" if condition.paused else "")),
        ("image rate in [Hz]", f"{snapshot.rate_in:.1f}"),
        ("result rate out [Hz]", f"{snapshot.rate_out:.1f}"),
        ("newest image [s ago]", ago(snapshot.since_last_image)),
        ("newest result [s ago]", ago(snapshot.since_last_result)),
        ("latency stamp to publish p50 / p99 [ms]", milliseconds(snapshot.latency)),
        ("model time p50 / p99 [ms]", milliseconds(snapshot.model)),
        ("latency without model p50 / p99 [ms]", milliseconds(snapshot.overhead)),
        ("images received", str(snapshot.received)),
        ("images processed", str(snapshot.processed)),
    ]
    values += [(f"images dropped: {cause.value}", str(count)) for cause, count in snapshot.drops.items()]
    values.append(("results held back", f"{condition.held_back} of {facts.parameters.hold_back_frames}"))
    values.append(("restarts of the images' stamps", str(snapshot.restarts)))
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
        # And each for itself, as it is, so that it can be unfollowed: a phrase may hold a comma, and all together may
        # be cut. `check_phrase` has refused control characters and what is long.
        *((f"concept followed {i}", phrase) for i, phrase in enumerate(detector.followed, 1)),
    ]
