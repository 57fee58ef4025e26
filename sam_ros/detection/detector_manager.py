"""The detector in the node: loaded when the node is configured, unloaded and loaded again on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import Trigger

from sam_core.association import LIVE, ConceptResult, ConceptRules
from sam_core.sam3 import ConceptDetector, build_detector
from sam_core.streaming import Tracker
from sam_ros.detection.counts import DetectionCounts
from sam_ros.detection.detector_settings import DetectorSettings
from sam_ros.detection.detector_thread import DetectorFacts, DetectorThread
from sam_ros.detection.redetector import Redetector
from sam_ros.detection.step_search import StepSearch
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.lifecycle import TRANSITIONS, state_of
from sam_ros.runtime.logs import forwarded_logs
from sam_ros.runtime.qos import SERVICE_QOS
from sam_ros.runtime.texts import legible
from sam_ros.runtime.waiting import answer_of
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.prompt_services import PromptServices
from sam_ros.tracking.session import Session

__all__ = ["DetectorManager", "DetectorReport", "LoadedDetector"]

UNLOADED_MEANWHILE = "the detector was unloaded meanwhile"


def with_request_of(own: ConceptRules, rules: ConceptRules) -> ConceptRules:
    """Return rules with what a request sets for its concept."""
    names = ("score_threshold", "new_score", "match_iou", "max_objects")
    return replace(rules, **{name: getattr(own, name) for name in names})


class NoDetectorError(RefusedError):
    """No detector is loaded. The text says how to load one."""


@dataclass(frozen=True)
class DetectorReport:
    """What the diagnostics say of the detector.

    Attributes:
        state: "not configured", "unloaded", "loading", "idle" or "detecting".
        waiting: Calls that wait for their turn.
        capacity: Most calls that may wait.
        detections: Detections done since the node was started.
        last_seconds: Time that the last one took, s; None before the first.
        last_age: Time since it ended, s; None before the first.
        followed: Phrases that are followed.
        association_seconds: Time that the rules took for the last search of a followed concept, s; None before it.
        failed: Searches of followed concepts that failed.
        dropped: Searches whose concept was not followed any more when they were done.
        failure: Why it could not be loaded; empty where it could, or nobody tried.
    """

    state: str
    waiting: int
    capacity: int
    detections: int
    last_seconds: float | None
    last_age: float | None
    followed: tuple[str, ...]
    association_seconds: float | None = None
    failed: int = 0
    dropped: int = 0
    failure: str = ""


@dataclass(eq=False)
class LoadedDetector:
    """A detector, loaded or loading, and what goes with it.

    Attributes:
        thread: Owns the detector.
        redetector: Looks for followed concepts.
        last_frame: Number of the newest frame that `saw` took in; None before the first.
    """

    thread: DetectorThread
    redetector: Redetector
    last_frame: int | None = None

    def saw(self, session: Session, outcome: ConceptResult) -> None:
        """Take in a frame that was tracked (inference thread)."""
        pictures = session.stream.history.with_pictures()
        newest = None if pictures.newest is None else pictures.newest.number
        # A history of one frame always has one picture: the first is the one that follows no other.
        first = len(pictures) == 1 and (self.last_frame is None or newest != self.last_frame + 1)
        self.last_frame = newest
        due = self.redetector.frame_came()
        if (self.redetector.begin() if first else self.redetector.lost(outcome.lost)) or due:
            self.thread.wake()


class DetectorManager:
    """Load and unload the detector. `report` belongs to any thread.

    `configure` and `release` belong to a transition, the rest to the executor's thread, where it refuses meanwhile.

    Args:
        node: The node that the services belong to.
        prompts: Counts and logs refusals.

    Attributes:
        counts: What was detected since the node was started.
        rules: Settings of the rules for concepts, from the node's parameters.
    """

    def __init__(self, node: LifecycleNode, prompts: PromptServices) -> None:
        self._node = node
        self._prompts = prompts
        self._settings: DetectorSettings | None = None  # from configure to release, as the next one
        self._inference: InferenceThread[Any] | None = None
        self._tracker: Tracker | None = None
        self._failure = ""
        self._preparing = False  # a service waits for the inference thread before it loads the detector
        self.counts = DetectionCounts()
        self.rules = LIVE
        self.now: LoadedDetector | None = None
        # Reentrant: an awaiting service must keep neither images nor other services waiting.
        options: dict[str, Any] = {"qos_profile": SERVICE_QOS, "callback_group": ReentrantCallbackGroup()}
        node.create_service(Trigger, "~/load_detector", self._on_load, **options)
        node.create_service(Trigger, "~/unload_detector", self._on_unload, **options)

    def configure(self, settings: DetectorSettings, inference: InferenceThread[Any], tracker: Tracker) -> None:
        """Load the detector, if one is wanted, and wait for it.

        Args:
            settings: What to load.
            inference: Owns the stream that instances are handed over to.
            tracker: Its weights, of which the detector uses what is the same.

        Raises:
            ValueError, OSError: What the settings name does not exist or does not fit.
        """
        self._settings, self._inference, self._tracker = settings, inference, tracker
        if settings.model:
            loading, begin = self._prepare(settings, inference)
            inference.submit(begin).result()
            self._start(loading)
            self._tell(loading.thread.loaded.result())

    def release(self, timeout: float) -> None:
        """Free the detector; a detection at work is broken off. Call it while the inference thread still runs.

        A detector that does not end within `timeout` s is left behind and frees its memory when it does.
        """
        if self.now is not None:
            self.now.thread.stop()
            if not self.now.thread.join(timeout):
                self._node.get_logger().warning(
                    f"the detector did not end within {timeout:g} s and is left behind with its memory"
                )
            self._forget(self.now)
        self._settings = self._inference = self._tracker = None
        self._failure = ""

    def ready(self) -> tuple[LoadedDetector, DetectorFacts]:
        """Return the detector and what is known about it.

        Raises:
            NoDetectorError: There is none now.
        """
        if (state := state_of(self._node)) in TRANSITIONS:
            raise NoDetectorError(f"the tracker is {state}; ask again when that is done")
        now, settings = self.now, self._settings
        if now is None and settings is not None and settings.model:
            raise NoDetectorError("the detector is unloaded: call ~/load_detector first")
        if now is None:
            raise NoDetectorError(
                "no detector is configured: start the node with the parameter 'detector', for instance sam3"
            )
        facts = now.thread.facts
        if facts is None:
            raise NoDetectorError("the detector is still being loaded: ask again later")
        return now, facts

    def use(self, rules: ConceptRules) -> None:
        """Take over settings of the rules; what a request has set for its concept stays."""
        self.rules = rules
        if (now := self.now) is not None:
            now.redetector.use(lambda own: with_request_of(own, rules))

    def report(self) -> DetectorReport:
        """Describe the detector's condition."""
        settings, now = self._settings, self.now
        wanted = settings is not None and settings.model
        load = 0 if now is None else now.thread.load
        if now is None:
            state = "unloaded" if wanted else "not configured"
        elif now.thread.facts is None:
            state = "loading"
        else:
            state = "detecting" if load else "idle"
        return DetectorReport(
            state=state,
            waiting=max(0, load - 1),
            capacity=0 if settings is None else settings.queue,
            detections=self.counts.detections,
            last_seconds=self.counts.last_seconds,
            last_age=self.counts.last_age,
            followed=() if now is None else now.redetector.phrases,
            association_seconds=self.counts.association_seconds,
            failed=self.counts.failed,
            dropped=self.counts.dropped,
            failure=self._failure,
        )

    def _prepare(
        self, settings: DetectorSettings, inference: InferenceThread[Any]
    ) -> tuple[LoadedDetector, Callable[[Session], None]]:
        """Return a detector that is not loading yet, and what the inference thread runs before it is."""
        logger, tracker = self._node.get_logger(), self._tracker

        def build() -> ConceptDetector:
            with forwarded_logs("sam_core.sam3", logger):
                detector = build_detector(
                    settings.model,
                    checkpoint=settings.checkpoint or None,
                    device=settings.device,
                    dtype=settings.dtype or None,
                    overrides=settings.overrides,
                    beside=tracker,
                    text_on_cpu=settings.text_on_cpu,
                )
            redetector.in_step = detector.shares_trunk
            return detector

        redetector = Redetector(
            lambda: inference.history,
            inference.submit,
            counts=self.counts,
            refuse=self._prompts.refuse,
            logger=logger,
        )
        thread = DetectorThread(
            build,
            capacity=settings.queue,
            cpu_threads=settings.cpu_threads,
            background=redetector,
            logger=logger,
        )
        loaded = LoadedDetector(thread, redetector)

        def begin(session: Session) -> None:
            # torch gives a thread that has not chosen its number of threads what another has chosen last: the
            # inference thread chooses before the detector's does.
            torch.set_num_threads(torch.get_num_threads())
            session.stream.keep_pictures = True
            session.watch = partial(loaded.saw, session)
            session.drive = StepSearch(thread, redetector, self.counts)

        return loaded, begin

    def _start(self, loading: LoadedDetector) -> None:
        """Begin to load the detector, in its own thread."""
        self.now = loading
        loading.thread.start()

    def _tell(self, facts: DetectorFacts) -> None:
        torch.set_num_threads(torch.get_num_threads())  # new threads adopt our number again, not the detector's
        weights = "with its checkpoint" if facts.has_weights else "with random weights"
        weights += ", on the tracker's backbone" if facts.shares_trunk else ""
        self._node.get_logger().info(
            f"detector loaded: {facts.name} at {facts.image_size} px {weights}, on {facts.device} as {facts.dtype}, "
            f"ready after {facts.seconds:.1f} s"
        )

    def _has(self, detector: LoadedDetector) -> bool:
        """Tell whether a detector is the one that is used or loaded now; a transition may have let go of it."""
        return self.now is detector

    def _forget(self, gone: LoadedDetector) -> None:
        """Let go of a detector whose thread has ended."""
        if self.now is not gone:
            return
        self.now = None
        if self._inference is not None:

            def forget(session: Session) -> None:
                session.stream.keep_pictures = False
                session.watch = session.drive = None
                session.concepts.release()

            self._inference.submit(forget)

    async def _on_load(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            inference = self._prompts.tracking(active=False)
            if self._settings is None or not self._settings.model:
                raise NoDetectorError("no detector is configured: start the node with the parameter 'detector'")
            if self.now is not None or self._preparing:
                raise NoDetectorError("the detector is loaded already, or being loaded")
            loading, begin = self._prepare(self._settings, inference)
            self._preparing = True
            try:
                await answer_of(self._node, inference.submit(begin))
            finally:
                self._preparing = False
            if self._inference is not inference:  # the node was cleaned up meanwhile
                raise NoDetectorError(UNLOADED_MEANWHILE)
            self._start(loading)
            try:
                facts = await answer_of(self._node, loading.thread.loaded)
            except Exception as error:
                if not self._has(loading):
                    raise NoDetectorError(UNLOADED_MEANWHILE) from error
                self._failure = legible(str(error))
                self._forget(loading)
                raise
            if not self._has(loading):
                raise NoDetectorError(UNLOADED_MEANWHILE)
            self._tell(facts)
            self._failure = ""
            response.success = True
        except Exception as error:
            response.message = self._prompts.refuse(error)
        return response

    async def _on_unload(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            gone = self.now
            if gone is None:
                raise NoDetectorError("no detector is loaded")
            gone.thread.stop()
            await answer_of(self._node, gone.thread.ended)
            self._forget(gone)
            followed = ", ".join(map(repr, gone.redetector.phrases))
            response.success = True
            response.message = followed and f"no longer followed: {followed}"
            self._node.get_logger().info("detector unloaded")
        except Exception as error:
            response.message = self._prompts.refuse(error)
        return response
