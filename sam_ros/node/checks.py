"""What can be wrong with the tracker: one small check each, in the order of a table.

A check takes the facts and returns a sentence that says what is wrong and what to do, or nothing. A new check is a
function and an entry of `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus

from sam_ros.node.condition import Facts
from sam_ros.runtime.dds import PROFILE_VARIABLE
from sam_ros.tracking.statistics import WINDOW, DropCause

__all__ = ["CHECKS", "Check", "Finding", "findings"]

EXPECTED_SHARE = 0.8  # of the expected rate: below it the operator is warned
FUTURE = 0.1  # s that a stamp may lie ahead of the node's clock
PAST = 10.0  # s that an image may be old beyond the model's time
SHARED_MEMORY_HINT = (
    "Fast DDS loses large images with its default shared-memory segment: start the camera's process with "
    f"{PROFILE_VARIABLE} set to sam_ros' config/dds/fastdds_shm.xml"
)
SAME_CLOCK_HINT = "synchronise the clocks (chrony); with a simulator or a bag (--clock) set use_sim_time here and there"


@dataclass(frozen=True)
class Check:
    """An entry of the table.

    Attributes:
        level: Of `DiagnosticStatus`, where the check finds something.
        sentence: Returns what it finds; empty where all is well.
    """

    level: bytes
    sentence: Callable[[Facts], str]


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    level: bytes
    sentence: str


def findings(facts: Facts) -> list[Finding]:
    """Return what all checks find, errors first, otherwise in the order of the table."""
    found = [Finding(check.level, text) for check in CHECKS if (text := check.sentence(facts))]
    return sorted(found, key=lambda finding: -finding.level[0])


# --- In every state ---------------------------------------------------------------------------------------------------


def transition_failed(facts: Facts) -> str:
    """A transition failed, and none has succeeded since."""
    state, failure = facts.condition.state, facts.condition.failure
    return f"{state}, because a transition failed: {failure}. Repair it and try again" if failure else ""


def autosave_failed(facts: Facts) -> str:
    """Objects of the last autosave are not tracked, or objects cannot be saved."""
    return facts.condition.autosave


def detector_failed(facts: Facts) -> str:
    """The detector could not be loaded."""
    failure = facts.condition.detector.failure if facts.condition.detector else ""
    return f"the detector cannot be loaded: {failure}. Repair it and call ~/load_detector" if failure else ""


def inference_stuck(facts: Facts) -> str:
    """One frame or command takes for ever."""
    working = facts.condition.working
    if working is None or working < facts.patience:
        return ""
    return (
        f"no result for {working:.1f} s: the inference thread works on one frame or command. The model is too slow for "
        f"{facts.condition.device}, or its driver hangs: restart the node"
    )


def no_clock(facts: Facts) -> str:
    """Simulated time stands still."""
    if facts.condition.clock:
        return ""
    return (
        "use_sim_time is set, but no /clock has come: latencies are unknown. Start the simulator, or play the bag with "
        "--clock"
    )


# --- While images are expected ----------------------------------------------------------------------------------------


def no_results(facts: Facts) -> str:
    """Images come, but nothing comes of them."""
    age, silence = facts.without_result, facts.silence
    if facts.condition.held_back < facts.parameters.hold_back_frames:
        return ""  # the first results are still held back
    if age is None or silence is None or age < facts.patience or silence >= age or inference_stuck(facts):
        return ""
    return f"no result for {age:.1f} s, though images arrive: all are dropped, see the counts of dropped images"


def frames_failed(facts: Facts) -> str:
    """The model raised an exception."""
    count = facts.new(DropCause.ERROR)
    return f"{count} frames failed: {facts.snapshot.last_error}" if count and expected(facts) else ""


def no_image(facts: Facts) -> str:
    """No image comes: because of the graph, of the camera, or of the transport."""
    silence, timeout = facts.silence, facts.parameters.image_timeout
    if silence is None or not timeout or silence <= timeout:
        return ""
    return f"active, but no image on {facts.condition.topic.name} for {silence:.1f} s: {_why_no_image(facts)}"


def _why_no_image(facts: Facts) -> str:
    topic, active = facts.condition.topic, facts.condition.active
    names = ", ".join(publisher.node for publisher in topic.publishers)
    if not topic.publishers:
        hint = f"; {topic.kind} is published on {', '.join(topic.elsewhere)}: remap `image`" if topic.elsewhere else ""
        return f"nobody publishes it{hint}"
    if not topic.fitting:
        return (
            f"{names} publishes {topic.publishers[0].kind} there, but {topic.kind} is expected: set image_transport, "
            "or remap `image`"
        )
    if active is not None and facts.snapshot.since_last_image is not None and facts.snapshot.since_last_image < active:
        return f"the camera has stopped. Its publisher ({names}) is still there, and images came before"
    mismatches = [publisher for publisher in topic.fitting if publisher.mismatch]
    if len(mismatches) == len(topic.fitting):
        return (
            f"the quality of service of {mismatches[0].node} does not fit: {mismatches[0].mismatch} Change it there, "
            f"or here with the parameters qos_overrides.{topic.name}.subscription.*"
        )
    return f"{names} publishes it, but has sent nothing, or it gets lost. {SHARED_MEMORY_HINT}"


def two_publishers(facts: Facts) -> str:
    """Images of several cameras come mixed."""
    publishers = facts.condition.topic.fitting
    if not expected(facts) or len(publishers) < 2:
        return ""
    names = ", ".join(publisher.node for publisher in publishers)
    return (
        f"{len(publishers)} publishers share {facts.condition.topic.name} ({names}): their images come mixed. Stop all "
        "but one, or remap `image`"
    )


def bad_images(facts: Facts) -> str:
    """Images could not be read."""
    count = facts.new(DropCause.BAD_IMAGE)
    return f"{count} images dropped: {facts.snapshot.last_error}" if count and expected(facts) else ""


def out_of_order(facts: Facts) -> str:
    """Stamps went back."""
    count = facts.new(DropCause.OUT_OF_ORDER)
    return f"{count} images dropped as older than their predecessor: {_why_back(facts)}" if count else ""


def _why_back(facts: Facts) -> str:
    if len(facts.condition.topic.fitting) > 1:
        return "several cameras share the topic"
    return "the driver's stamps go back. Check its clock, and that a bag does not play beside the camera"


def images_lost(facts: Facts) -> str:
    """The middleware lost images."""
    count = facts.new(DropCause.LOST)
    return f"{count} images lost in transport. {SHARED_MEMORY_HINT}" if count and expected(facts) else ""


def images_slow(facts: Facts) -> str:
    """The camera is slower than expected."""
    rate = facts.parameters.expected_rate
    if not settled(facts) or no_image(facts) or facts.snapshot.rate_in >= EXPECTED_SHARE * rate:
        return ""
    return (
        f"images arrive at {facts.snapshot.rate_in:.1f} Hz, expected are {rate:.1f} Hz: check the camera's rate. "
        f"{SHARED_MEMORY_HINT}"
    )


def results_slow(facts: Facts) -> str:
    """The tracker is slower than expected, though the camera is not."""
    rate, snapshot = facts.parameters.expected_rate, facts.snapshot
    if not settled(facts) or not snapshot.rate_out < EXPECTED_SHARE * rate <= snapshot.rate_in:
        return ""
    return (
        f"results come at {snapshot.rate_out:.1f} Hz, images at {snapshot.rate_in:.1f} Hz, expected are {rate:.1f} Hz: "
        f"the model takes {snapshot.model[0] * 1e3:.0f} ms on {facts.condition.device}. Take a smaller model or image "
        "size, or a faster device"
    )


def clocks_differ(facts: Facts) -> str:
    """Stamps of images and the node's clock disagree."""
    latency, beyond_model = facts.snapshot.latency[0], facts.snapshot.overhead[0]
    if not expected(facts) or not facts.condition.clock:
        return ""
    if latency < -FUTURE:
        return f"images are stamped {-latency:.1f} s ahead of this node's clock: {SAME_CLOCK_HINT}"
    if beyond_model > PAST:
        return f"images are stamped {beyond_model:.1f} s before they arrive: {SAME_CLOCK_HINT}"
    return ""


def expected(facts: Facts) -> bool:
    """Return whether images are expected."""
    return facts.condition.active is not None


def settled(facts: Facts) -> bool:
    """Return whether images have been expected long enough for rates to mean something."""
    return facts.condition.active is not None and facts.condition.active > WINDOW


CHECKS = (
    Check(DiagnosticStatus.ERROR, transition_failed),
    Check(DiagnosticStatus.ERROR, inference_stuck),
    Check(DiagnosticStatus.ERROR, no_results),
    Check(DiagnosticStatus.ERROR, frames_failed),
    Check(DiagnosticStatus.ERROR, detector_failed),
    Check(DiagnosticStatus.WARN, autosave_failed),
    Check(DiagnosticStatus.WARN, no_image),
    Check(DiagnosticStatus.WARN, two_publishers),
    Check(DiagnosticStatus.WARN, bad_images),
    Check(DiagnosticStatus.WARN, out_of_order),
    Check(DiagnosticStatus.WARN, images_lost),
    Check(DiagnosticStatus.WARN, images_slow),
    Check(DiagnosticStatus.WARN, results_slow),
    Check(DiagnosticStatus.WARN, no_clock),
    Check(DiagnosticStatus.WARN, clocks_differ),
)
