"""How a tracker is: its diagnostics, now and over the last minutes."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from diagnostic_msgs.msg import DiagnosticStatus

__all__ = ["GONE_AFTER", "Health", "HealthHistory", "Sample"]

KEPT = 600  # samples: ten minutes at the tracker's one report a second
GONE_AFTER = 3.5  # s without a report, which comes every second in every state
LEVELS = {b"\x00": "ok", b"\x01": "warn", b"\x02": "error", b"\x03": "stale"}


@dataclass(frozen=True)
class Sample:
    """What is plotted of one report; NaN where it says nothing.

    Attributes:
        rate_in: Hz of the images.
        rate_out: Hz of the results.
        latency: p50 from stamp to publication, ms.
        memory: MiB.
        dropped: Images dropped since the previous report.
    """

    rate_in: float
    rate_out: float
    latency: float
    memory: float
    dropped: float


@dataclass(frozen=True)
class Health:
    """The newest report and what came before.

    Attributes:
        age: Seconds since the report; infinite where none ever came.
        level: "ok", "warn", "error" or "stale".
        message: The report in a sentence.
        values: Its figures by their names.
        device: Where the tracker computes.
        samples: The last reports, oldest first.
    """

    age: float = math.inf
    level: str = "stale"
    message: str = ""
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    device: str = ""
    samples: tuple[Sample, ...] = ()

    @property
    def present(self) -> bool:
        """Whether the tracker reports."""
        return self.age < GONE_AFTER

    @property
    def state(self) -> str:
        """The lifecycle state, e.g. "active"; empty where the tracker is not there."""
        return self.values.get("state", "").split(",")[0] if self.present else ""

    @property
    def paused(self) -> bool:
        """Whether images are ignored for now."""
        return "paused" in self.values.get("state", "")

    @property
    def detector(self) -> str:
        """State of the concept detector; empty where the tracker has none."""
        state = self.values.get("detector", "")
        return "" if state == "not configured" else state

    @property
    def followed(self) -> tuple[str, ...]:
        """The concepts that are followed."""
        return tuple(value for key, value in self.values.items() if key.startswith("concept followed "))


class HealthHistory:
    """Collect the reports of one tracker; one thread writes, any thread reads.

    Args:
        clock: Monotonic seconds; tests pass their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._dropped = math.nan  # in all, as of the newest report
        self._newest = Health()
        self._arrived = -math.inf

    def add(self, status: DiagnosticStatus) -> None:
        """Take a report."""
        values = {item.key: item.value for item in status.values}
        dropped = sum(_number(value) for key, value in values.items() if key.startswith("images dropped"))
        increase = dropped - self._dropped
        self._dropped = dropped
        memory = next((value for key, value in values.items() if "memory" in key and "bank" not in key), "")
        self._samples.append(
            Sample(
                rate_in=_number(values.get("image rate in [Hz]", "")),
                rate_out=_number(values.get("result rate out [Hz]", "")),
                latency=_number(values.get("latency stamp to publish p50 / p99 [ms]", "")),
                memory=_number(memory),
                dropped=increase if increase >= 0 else 0.0,  # fewer than before: another process
            )
        )
        level = LEVELS.get(bytes(status.level), "stale")
        shown = MappingProxyType(values)
        self._newest = Health(0.0, level, status.message, shown, status.hardware_id, tuple(self._samples))
        self._arrived = self._clock()

    def health(self) -> Health:
        """Return the newest report, with its age now."""
        newest, age = self._newest, self._clock() - self._arrived
        return Health(age, newest.level, newest.message, newest.values, newest.device, newest.samples)


def _number(text: str) -> float:
    """Read the first number of a text; NaN where there is none."""
    match = re.match(r"-?\d+(\.\d+)?", text)
    return float(match[0]) if match else math.nan
