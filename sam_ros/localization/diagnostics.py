"""From the localizer's counts to a diagnostic message."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sam_ros.localization.counts import Counts
from sam_ros.localization.matching import MatchCounts

__all__ = ["Condition", "Reporter"]


@dataclass(frozen=True)
class Condition:
    """What the node knows at the moment of a report.

    Attributes:
        state: Lifecycle state.
        silent: Topics that have been silent for longer than `input_timeout`; empty unless active.
        waiting: Messages of tracked objects that wait for their depth image.
        free: Why boxes are free although they should be upright; empty where they are not.
    """

    state: str
    silent: tuple[str, ...]
    waiting: int
    free: str


class Reporter:
    """Judge the localizer's condition; what is new since the last report decides the level."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def status(self, name: str, counts: Counts, matches: MatchCounts, condition: Condition) -> DiagnosticStatus:
        """Return the report of a node called `name`."""
        problems = dict(counts.refused)
        problems["tracked objects without a depth image"] = matches.left_alone
        problems["clock jumps"] = matches.jumps
        problems["objects without a box"] = counts.without_box
        new = {cause: count - self._seen.get(cause, 0) for cause, count in problems.items()}
        self._seen = problems
        status = DiagnosticStatus(name=f"{name}: localization", level=DiagnosticStatus.OK, message=condition.state)
        if condition.state == "active":
            status.level, status.message = self._judge(new, counts, condition)
        p50, p99 = counts.milliseconds
        values = {
            "state": condition.state,
            "depth images received": counts.depth_images,
            "tracked objects received": counts.object_messages,
            "pairs": matches.pairs,
            "pairs localized": counts.located,
            "pairs waiting": condition.waiting,
            "tracked objects without a depth image": matches.left_alone,
            "depth images without tracked objects": matches.right_alone,
            "clock jumps": matches.jumps,
            "boxes": counts.boxes,
            "objects without a box": counts.without_box,
            "newest reason for no box": counts.why_no_box,
            **{f"pairs refused: {cause}": count for cause, count in counts.refused.items()},
            "time of a pair p50 / p99 [ms]": f"{p50:.1f} / {p99:.1f}",
            "boxes are": condition.free or "as the parameter boxes says",
            "last problem": counts.problem,
        }
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return status

    @staticmethod
    def _judge(new: dict[str, int], counts: Counts, condition: Condition) -> tuple[bytes, str]:
        if new.pop("clock jumps", 0):
            return DiagnosticStatus.WARN, "the clock went back: what waited and all motion was forgotten"
        if condition.silent:
            return DiagnosticStatus.WARN, "; ".join(condition.silent)
        alone = new.pop("tracked objects without a depth image", 0)
        boxless = new.pop("objects without a box", 0)
        refused = sum(new.values())
        if refused:
            return DiagnosticStatus.WARN, f"{refused} pairs could not be localized: {counts.problem}"
        if alone:
            return DiagnosticStatus.WARN, (
                f"{alone} messages of tracked objects found no depth image with their stamp: check stamp_tolerance, "
                "partner_timeout and queue, and that depth and image come from one camera"
            )
        if boxless:
            return DiagnosticStatus.WARN, f"{boxless} objects got no box, the newest because {counts.why_no_box}"
        return DiagnosticStatus.OK, f"localizing; {counts.boxes} boxes so far"
