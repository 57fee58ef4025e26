"""What goes wrong: each event is a function of the stage that returns what it saw, and raises where that is wrong."""

from __future__ import annotations

import array
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.node.chaos.stage import HEIGHT, WIDTH, Stage, pictures

MS = 1_000_000  # ns
TRIGGER = "std_srvs/Trigger"


@dataclass(frozen=True)
class Event:
    """Something that happens.

    Attributes:
        name: What the report calls it.
        happen: Lets it happen and returns what was seen.
        source: Whether the camera runs meanwhile; otherwise the event publishes images itself.
        lives: Whether the tracker's process lives through it.
        may_miss: Images that may be unaccounted for, because new processes find each other meanwhile.
        may_end: Whether the tracker's process may end, as the middleware's threads do not survive everything.
    """

    name: str
    happen: Callable[[Stage], str]
    source: bool = True
    lives: bool = True
    may_miss: int = 0
    may_end: bool = False


def calm(stage: Stage) -> str:
    """Nothing goes wrong."""
    stage.until_results(15)
    return "results come"


def camera_killed(stage: Stage) -> str:
    """The camera is killed, and a new one comes."""
    stage.until_results(5)
    stage.camera.stop(signal.SIGKILL)
    stage.witness.spin_for(1.0)
    started = time.monotonic()
    stage.start_camera()
    stage.until_results(5)
    return f"results again {time.monotonic() - started:.1f} s after the new camera's start"


def camera_stalls(stage: Stage) -> str:
    """The camera stands still; the operator is told."""
    from diagnostic_msgs.msg import DiagnosticStatus

    stage.until_results(5)
    stage.camera.send(signal.SIGSTOP)
    stage.witness.levels.clear()
    stage.witness.until(lambda: stage.witness.levels and stage.witness.levels[-1] != DiagnosticStatus.OK)
    stage.camera.send(signal.SIGCONT)
    stage.until_results(5)
    return "diagnostics warned, then results came again"


def tracker_stalls(stage: Stage) -> str:
    """The tracker stands still, as under a debugger; afterwards it works on the newest image, not on old ones."""
    stage.until_results(5)
    stage.tracker.send(signal.SIGSTOP)
    stage.witness.spin_for(2.0)
    begin = len(stage.witness.processed)
    stage.tracker.send(signal.SIGCONT)
    stage.until_results(5)
    sec, nanosec, _ = stage.witness.processed[begin + 2]
    age = time.time() - sec - 1e-9 * nanosec
    if age > 2.0:
        raise AssertionError(f"the third result was {age:.1f} s old")
    return f"the third result afterwards was {age:.2f} s old"


def tracker_ended(how: signal.Signals, code: int) -> Callable[[Stage], str]:
    """Return an event that ends the tracker by a signal and starts it again."""

    def happen(stage: Stage) -> str:
        stage.until_results(5)
        started = time.monotonic()
        found = stage.restart_tracker(how)
        if found != code:
            raise AssertionError(f"exit code {found}, not {code}")
        return f"exit code {found}; both objects tracked again after {time.monotonic() - started:.1f} s"

    return happen


def stamps_backwards(stage: Stage) -> str:
    """Stamps step back by a little and by much, as of a bag that loops."""
    now = time.time_ns()
    steps = [0, 100, 200, 150, 250, 350, 450, 300, 500, 600, 700, 800]
    stage.publish(pictures(len(steps)), [now + step * MS for step in steps])
    stage.publish(pictures(10), [now + (step * 100 - 60_000) * MS for step in range(10)])
    stage.publish(pictures(10))
    return "two small steps back, one of a minute"


def sizes_change(stage: Stage) -> str:
    """Every image has another size."""
    for height, width in ((HEIGHT, WIDTH), (480, 640), (17, 33), (720, 1280), (1, 1), (WIDTH, HEIGHT), (HEIGHT, WIDTH)):
        stage.publish(pictures(3, height, width), period=0.3)
    return "1 x 1 to 1280 x 720 px"


def bad_images(stage: Stage) -> str:
    """Images that cannot be read come in between."""
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from sam_ros.conversions.stamps import to_time

    good = pictures(12)
    for index, image in enumerate(good):
        stage.publish([image])
        bad = Image(width=8, height=8, encoding=("rgb7", "rgb8", "mono16")[index % 3], step=index)
        bad.data = array.array("B", bytes(3 * index))
        bad.header = Header(stamp=to_time(time.time_ns()), frame_id="witness")
        stage.witness.publish(bad)
        stage.witness.spin_for(0.1)
    stage.publish(good[:2])
    return f"{len(good)} unreadable images"


def image_flood(stage: Stage) -> str:
    """Images come as fast as they can be published."""
    begin = len(stage.witness.processed)
    stage.publish(pictures(300), period=0.0)
    stage.publish(pictures(5))
    return f"305 images, {len(stage.witness.processed) - begin} results"


def prompt_flood(stage: Stage) -> str:
    """150 prompts at once, and a query behind them."""
    client = stage.witness.client("tracker/add_prompt", "sam_msgs/AddPrompt")
    request = client.srv_type.Request(box=[10.0, 10.0, 90.0, 90.0], label="flood")
    begin = len(stage.witness.processed)
    futures = [client.call_async(request) for _ in range(150)]
    asked = time.monotonic()
    stage.objects()
    seconds, results = time.monotonic() - asked, len(stage.witness.processed) - begin
    stage.witness.until(lambda: all(future.done() for future in futures), 180.0)
    answers = [future.result() for future in futures]
    if not all(answer.success or answer.message for answer in answers):
        raise AssertionError("a prompt was neither taken nor refused")
    for object_id, label in stage.objects().items():
        if label == "flood":
            stage.ask("remove_object", "sam_msgs/RemoveObject", object_id=object_id)
    taken = sum(answer.success for answer in answers)
    return (
        f"{taken} taken, {150 - taken} refused; list_objects answered after {seconds:.1f} s, {results} results before"
    )


def click_flood(stage: Stage) -> str:
    """200 clicks at once on a place where nothing is allowed to begin."""
    from geometry_msgs.msg import Point, PointStamped

    for _ in range(200):
        stage.witness.clicks.publish(PointStamped(point=Point(x=-500.0, y=1.0)))
    stage.until_results(10)
    return "200 clicks beside the image"


def paused(stage: Stage) -> str:
    """Tracking is paused for a while."""
    stage.ask("set_paused", "std_srvs/SetBool", data=True)
    stage.witness.spin_for(1.0)
    stage.ask("set_paused", "std_srvs/SetBool", data=False)
    stage.until_results(5)
    return "paused and resumed"


def deactivated(stage: Stage) -> str:
    """A lifecycle manager deactivates and activates the tracker."""
    from lifecycle_msgs.msg import Transition

    stage.until_results(5)
    stage.witness.change_state(Transition.TRANSITION_DEACTIVATE)
    stage.witness.spin_for(1.0)
    stage.witness.change_state(Transition.TRANSITION_ACTIVATE)
    stage.until_results(5)
    return "objects stayed"


def detections(stage: Stage) -> str:
    """Concepts are detected and followed, and left again."""
    kind = "sam_msgs/DetectConcept"
    found = stage.ask("detect_concept", kind, phrases=["cup"], score_threshold=0.0, max_instances=2)
    if not found.success:
        raise AssertionError(found.message)
    followed = stage.ask(
        "follow_concept", "sam_msgs/FollowConcept", phrase="cup", period=0.2, score_threshold=0.99, new_score=1.0
    )
    if not followed.success:
        raise AssertionError(followed.message)
    stage.until_results(10)
    stage.ask("unfollow_concept", "sam_msgs/UnfollowConcept")
    return f"{len(found.instances)} instances found; followed for 10 results"


def detector_fails(stage: Stage) -> str:
    """The detector is loaded again while its file is damaged, and once more when it is whole."""
    whole = stage.detector_weights.read_bytes()
    stage.ask("unload_detector", TRIGGER)
    stage.detector_weights.write_bytes(whole[:1000])
    refused = stage.ask("load_detector", TRIGGER)
    stage.detector_weights.write_bytes(whole)
    if refused.success or not refused.message:
        raise AssertionError("a damaged file was loaded")
    stage.until_results(5)
    again = stage.ask("load_detector", TRIGGER)
    if not again.success:
        raise AssertionError(again.message)
    return f"refused: {refused.message[:60]} …; loaded from the whole file"


@contextmanager
def _limited(stage: Stage, what: int, value: int) -> Iterator[None]:
    """Lower a limit of the tracker's process for a while."""
    before = resource.prlimit(stage.tracker.pid, what)
    resource.prlimit(stage.tracker.pid, what, (value, before[1]))
    try:
        yield
    finally:
        if stage.tracker.running:
            resource.prlimit(stage.tracker.pid, what, before)


def disk_full(stage: Stage) -> str:
    """Not one byte more fits into any file that the tracker writes: its logs."""
    with _limited(stage, resource.RLIMIT_FSIZE, 0):
        for _ in range(5):
            stage.ask("remove_object", "sam_msgs/RemoveObject", object_id=4_000_000)  # a refusal is logged
        stage.until_results(10)
    size = stage.tracker.log.stat().st_size if stage.tracker.log is not None else 0
    stage.ask("remove_object", "sam_msgs/RemoveObject", object_id=4_000_000)
    return f"results came on while the log could not grow beyond {size} bytes"


def out_of_memory(stage: Stage) -> str:
    """The process may take hardly more memory, and large images come; later it may again."""
    status = Path(f"/proc/{stage.tracker.pid}/statm").read_text().split()
    stage.publish(pictures(2))
    with _limited(stage, resource.RLIMIT_AS, int(status[0]) * resource.getpagesize() + 24 * 2**20):
        stage.publish(pictures(4, 2160, 3840), period=1.0)
    stage.publish(pictures(5), period=0.3)
    return "images of 3840 x 2160 px with 24 MiB left"


EVENTS = (
    Event("calm", calm),
    Event("camera killed (-9)", camera_killed, may_miss=20),
    Event("camera stalls", camera_stalls),
    Event("tracker stalls", tracker_stalls),
    Event("stamps step back", stamps_backwards, source=False),
    Event("sizes change", sizes_change, source=False),
    Event("unreadable images", bad_images, source=False),
    Event("flood of images", image_flood, source=False),
    Event("flood of prompts", prompt_flood),
    Event("flood of clicks", click_flood),
    Event("pause", paused),
    Event("deactivate, activate", deactivated, may_miss=60),  # it does not listen meanwhile
    Event("detect, follow, unfollow", detections),
    Event("detector fails", detector_fails),
    Event("disk full", disk_full),
    Event("out of memory", out_of_memory, source=False, may_end=True),
    Event("tracker SIGTERM", tracker_ended(signal.SIGTERM, 0), lives=False, may_miss=20),
    Event("tracker SIGINT", tracker_ended(signal.SIGINT, 0), lives=False, may_miss=20),
    Event("tracker killed (-9)", tracker_ended(signal.SIGKILL, -9), lives=False, may_miss=20),
)
