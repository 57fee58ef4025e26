"""Let camera and tracker run as two processes for a while, and account for every image.

    python -m benchmarks.node.soak --seconds 60 --model sam2.1_micro
    python -m benchmarks.node.soak --chaos --seconds 600

Checked: every result carries the header of a published image; results come in order; every published image is either
processed or counted as replaced by a newer one, and none is lost on the way. Measured: rates, and our own overhead, the
latency from the image's stamp to the publication of its objects minus the time inside the model; and what share of a
core the tracker's process takes beside the model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from sam_ros.runtime.domain import private_domain
from sam_ros.runtime.processes import Executable

TARGET_OVERHEAD = 4.0  # ms, p50, at 640 x 480; at 1920 x 1080 it is 12


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--source", default="scene", help="what the camera publishes")
    parser.add_argument("--rate", type=float, default=30.0, help="Hz; 0 for the source's own")
    parser.add_argument("--width", type=int, default=640, help="px; 0 for the source's own")
    parser.add_argument("--height", type=int, default=480, help="px; 0 for the source's own")
    parser.add_argument("--model", default="sam2.1_micro")
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="")
    parser.add_argument("--cpu-threads", type=int, default=1)
    parser.add_argument("--objects", type=int, default=1, help="objects to track")
    parser.add_argument("--logs", type=Path, default=Path("."), help="folder for the processes' logs")
    parser.add_argument("--target", type=float, default=TARGET_OVERHEAD, help="ms of overhead, p50, that are fine")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--chaos", action="store_true", help="let things go wrong instead; see benchmarks/node/chaos")
    parser.add_argument("--events", nargs="*", metavar="NAME", help="of --chaos; default: all")
    parser.add_argument("--report", type=Path, default=Path("chaos.md"), help="where --chaos writes what was seen")
    return parser.parse_args(args)


class Observer:
    """Receive what the camera says it published and what the tracker made of it."""

    def __init__(self, depth: int = 1000) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from lifecycle_msgs.srv import ChangeState
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile
        from sam_msgs.msg import TrackedObjectArray
        from sam_msgs.srv import AddPrompt
        from std_msgs.msg import Header

        self.node = rclpy.create_node("soak")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.published: list[tuple[int, int, str]] = []
        self.processed: list[tuple[int, int, str]] = []
        self.sequences: list[int] = []
        self.reports: list[dict[str, str]] = []
        self.levels: list[bytes] = []  # of the reports
        qos = QoSProfile(depth=depth)
        self.node.create_subscription(Header, "camera/header", lambda m: self.published.append(key(m)), qos)
        self.node.create_subscription(TrackedObjectArray, "tracker/objects", self._on_objects, qos)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.lifecycle = self.node.create_client(ChangeState, "tracker/change_state")
        self.add_prompt = self.node.create_client(AddPrompt, "tracker/add_prompt")

    def _on_objects(self, message: Any) -> None:
        self.processed.append(key(message.header))
        self.sequences.append(message.sequence)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.endswith("tracker: tracking"):
                self.reports.append({item.key: item.value for item in status.values})
                self.levels.append(status.level)

    def until(self, condition: Callable[[], Any], timeout: float = 180.0) -> Any:
        """Spin until a condition is true."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if condition():
                return
            self.executor.spin_once(timeout_sec=0.05)
        raise TimeoutError("the processes do not answer; see their logs")

    def spin_for(self, seconds: float) -> None:
        """Receive for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.05)

    def change_state(self, transition: int) -> None:
        """Lead the tracker to another lifecycle state."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        self.until(self.lifecycle.service_is_ready)
        future = self.lifecycle.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.until(future.done)
        if not future.result().success:
            raise RuntimeError("the tracker refused a transition; see its log")

    def prompt(self, x: float, y: float) -> None:
        """Click once."""
        from sam_msgs.msg import LabeledPoint
        from sam_msgs.srv import AddPrompt

        request = AddPrompt.Request(points=[LabeledPoint(x=x, y=y, label=LabeledPoint.POSITIVE)])
        self.until(self.add_prompt.service_is_ready)
        future = self.add_prompt.call_async(request)
        self.until(future.done)
        if not future.result().success:
            raise RuntimeError(f"the prompt was refused: {future.result().message}")


def key(header: Any) -> tuple[int, int, str]:
    """Make a header comparable."""
    return header.stamp.sec, header.stamp.nanosec, header.frame_id


def number(report: dict[str, str], name: str, place: int = 0) -> float:
    """Read a figure, or one of "p50 / p99"."""
    return float(report[name].split(" / ")[place])


def run(options: argparse.Namespace) -> bool:
    """Run both processes and print what was found; return whether everything holds."""
    import rclpy
    from lifecycle_msgs.msg import Transition

    tracker = Executable(
        "tracker",
        {
            "model": options.model,
            "checkpoint": options.checkpoint,
            "overrides": [*options.overrides, ""],
            "device": options.device,
            "cpu_threads": options.cpu_threads,
        },
        log=options.logs / "soak_tracker.log",
    )
    camera = Executable(
        "camera",
        {"source": options.source, "rate": options.rate, "width": options.width, "height": options.height},
        log=options.logs / "soak_camera.log",
    )
    rclpy.init(args=[])
    observer = Observer()
    with tracker:
        with camera:
            observer.until(lambda: observer.published and observer.reports)
            # All know each other before the first image is taken: so the account is complete.
            observer.change_state(Transition.TRANSITION_CONFIGURE)
            observer.until(lambda: observer.node.count_publishers("tracker/objects"))
            observer.spin_for(2.0)
            observer.change_state(Transition.TRANSITION_ACTIVATE)
            observer.until(lambda: len(observer.processed) > 2)
            for i in range(options.objects):
                share = (i + 1) / (options.objects + 1)
                observer.prompt(share * (options.width or 320), (options.height or 240) / 2)
            observer.spin_for(3.0)  # until all caches are warm
            begin, first_report, busy = len(observer.processed), len(observer.reports), cpu_seconds(tracker.pid)
            observer.spin_for(options.seconds)
            window = Window(
                seconds=options.seconds,
                results=len(observer.processed) - begin,
                busy=cpu_seconds(tracker.pid) - busy,
                reports=observer.reports[first_report:],
            )
        # What was under way still arrives and is counted; if the account does not balance by then, judge() says so.
        with suppress(TimeoutError):
            observer.until(lambda: account(observer).unaccounted == 0, timeout=60.0)
        observer.spin_for(2.0)
    rclpy.try_shutdown()
    if options.json is not None:
        options.json.write_text(json.dumps(window.figures(), indent=1) + "\n")
    return judge(observer, window, options.target)


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process has taken so far, s."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc(5)


@dataclass(frozen=True)
class Window:
    """What was seen of the tracker while it was measured.

    Attributes:
        seconds: How long.
        results: How many arrived.
        busy: Processor time of the tracker's process, s.
        reports: Its diagnostics, one a second.
    """

    seconds: float
    results: int
    busy: float
    reports: list[dict[str, str]]

    def figures(self) -> dict[str, float]:
        """Return rates in Hz, times in ms (p50, median over the reports), shares of a core.

        Of the overhead also p50 in the calmest report, where nothing else took the cores, and p99 in the worst.

        The share beside the model is all processor time less the model's time, in which it keeps one core busy.
        """
        names = {
            "latency": "latency stamp to publish p50 / p99 [ms]",
            "model": "model time p50 / p99 [ms]",
            "overhead": "latency without model p50 / p99 [ms]",
        }
        found = {name: median(number(report, label) for report in self.reports) for name, label in names.items()}
        calmest = min(number(report, names["overhead"]) for report in self.reports)
        worst = max(number(report, names["overhead"], 1) for report in self.reports)
        model = 1e-3 * found["model"] * self.results
        return {
            "results per second": self.results / self.seconds,
            **found,
            "overhead in the calmest": calmest,
            "overhead p99": worst,
            "cpu": self.busy / self.seconds,
            "cpu beside the model": (self.busy - model) / self.seconds,
        }


@dataclass(frozen=True)
class Account:
    """What became of the images that were published from the first processed one on."""

    published: int
    processed: int  # results that arrived here
    counted: int  # results that the tracker counted
    replaced: int
    lost: int
    other: int

    @property
    def unaccounted(self) -> int:
        """Images of which nothing is known."""
        return self.published - self.processed - self.replaced - self.lost - self.other


def account(observer: Observer) -> Account:
    """Compare what was published with what arrived and with what the newest report counts."""
    report = observer.reports[-1]
    drops = {name: int(count) for name, count in report.items() if name.startswith("images dropped")}
    replaced = drops.pop("images dropped: replaced by a newer frame")
    lost = drops.pop("images dropped: lost in transport")
    before = observer.published.index(observer.processed[0]) if observer.processed[0] in observer.published else 0
    return Account(
        published=len(observer.published) - before,
        processed=len(observer.processed),
        counted=int(report["images processed"]),
        replaced=replaced,
        lost=lost,
        other=sum(drops.values()),
    )


def judge(observer: Observer, window: Window, target: float) -> bool:
    """Print the account and return whether it balances."""
    order = {header: i for i, header in enumerate(observer.published)}
    places = [order.get(header, -1) for header in observer.processed]
    foreign = places.count(-1)
    unordered = sum(b <= a for a, b in pairwise(places))
    a, figures = account(observer), window.figures()
    checks = [
        ("results with the header of no published image", foreign, foreign == 0),
        ("results out of order", unordered, unordered == 0),
        ("images lost in transport", a.lost, a.lost == 0),
        ("images dropped for another reason than a newer one", a.other, a.other == 0),
        ("images unaccounted for", a.unaccounted, a.unaccounted == 0),
        (
            "results that the tracker counted, but that did not arrive",
            a.counted - a.processed,
            a.counted == a.processed,
        ),
        (f"overhead p50 in ms (target {target})", round(figures["overhead"], 2), figures["overhead"] <= target),
    ]
    print(
        f"published {a.published} = processed {a.processed} + replaced by a newer one {a.replaced} + {a.lost + a.other}"
    )
    print(
        f"measured for {window.seconds:.0f} s: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
    )
    for text, value, good in checks:
        print(f"{'ok  ' if good else 'FAIL'} {text}: {value}")
    return all(good for *_, good in checks)


def main(args: Sequence[str] | None = None) -> int:
    """Run the soak test and return its exit code."""
    options = parse(args)
    options.logs.mkdir(parents=True, exist_ok=True)
    with private_domain():
        if options.chaos:
            from benchmarks.node.chaos.run import run as run_chaos  # needs rclpy in this domain

            return 0 if run_chaos(options.seconds, options.logs, options.report, options.events) else 1
        return 0 if run(options) else 1


if __name__ == "__main__":
    sys.exit(main())
