"""The detector in the node: loaded when the node is configured, unloaded and loaded again on demand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from sam_core.concepts import Sightings
from sam_core.sam3 import ConceptDetector, build_detector
from sam_ros.detector_thread import DetectorFacts, DetectorThread
from sam_ros.errors import RefusedError
from sam_ros.follower import Follower
from sam_ros.inference import InferenceThread
from sam_ros.logs import forwarded_logs
from sam_ros.operator import Operator
from sam_ros.parameters import TrackerParameters
from sam_ros.session import Session
from sam_ros.waiting import answer_of

__all__ = ["Detector", "DetectorReport", "Loaded"]


class NoDetectorError(RefusedError):
    """Say that there is no detector to ask, and how to get one."""


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
    """

    state: str
    waiting: int
    capacity: int
    detections: int
    last_seconds: float | None
    last_age: float | None
    followed: tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """A detector, loaded or loading, and what goes with it.

    Attributes:
        thread: Owns the detector.
        sightings: The newest images and what was seen on them; from loading on.
        follower: Looks for followed concepts.
    """

    thread: DetectorThread
    sightings: Sightings
    follower: Follower


class Detector:
    """Load and unload the detector. All but `note` belongs to the executor's thread.

    Args:
        node: The node that the services belong to.
        operator: Counts and logs refusals.
    """

    def __init__(self, node: Node, operator: Operator) -> None:
        self._node = node
        self._operator = operator
        self._settings: TrackerParameters | None = None  # from configure to release, as the next two
        self._inference: InferenceThread[Any] | None = None
        self._device = ""
        self._detections = 0
        self._last: tuple[float, float] | None = None  # s that the last detection took, monotonic s of its end
        self.now: Loaded | None = None
        group = ReentrantCallbackGroup()  # an awaiting service must keep neither images nor other services waiting
        node.create_service(Trigger, "~/load_detector", self._on_load, callback_group=group)
        node.create_service(Trigger, "~/unload_detector", self._on_unload, callback_group=group)

    def configure(self, settings: TrackerParameters, inference: InferenceThread[Any], device: torch.device) -> None:
        """Load the detector, if one is wanted, and wait for it.

        Args:
            settings: The node's parameters.
            inference: Owns the stream that instances are handed over to.
            device: The tracker's; the detector's too unless the parameters name another.

        Raises:
            ValueError, OSError: What the parameters name does not exist or does not fit.
        """
        self._settings, self._inference = settings, inference
        self._device = settings.detector_device or str(device)
        if settings.detector:
            self._tell(self._start(settings, inference).thread.loaded.result())

    def release(self) -> None:
        """Free the detector; a detection at work is broken off. Call it while the inference thread still runs."""
        if self.now is not None:
            self.now.thread.stop()
            self.now.thread.join()
            self._forget(self.now)
        self._settings = self._inference = None

    def ready(self) -> tuple[Loaded, DetectorFacts]:
        """Return the detector and what is known about it.

        Raises:
            NoDetectorError: There is none now.
        """
        if self.now is None and self._settings is not None and self._settings.detector:
            raise NoDetectorError("the detector is unloaded: call ~/load_detector first")
        if self.now is None:
            raise NoDetectorError(
                "no detector is configured: start the node with the parameter 'detector', for instance sam3"
            )
        facts = self.now.thread.facts
        if facts is None:
            raise NoDetectorError("the detector is still being loaded: ask again later")
        return self.now, facts

    def note(self, seconds: float) -> None:
        """Count a detection that took so long (detector thread)."""
        self._detections += 1
        self._last = (seconds, time.monotonic())

    def report(self) -> DetectorReport:
        """Describe the detector's condition."""
        wanted = self._settings is not None and self._settings.detector
        load = 0 if self.now is None else self.now.thread.load
        if self.now is None:
            state = "unloaded" if wanted else "not configured"
        elif self.now.thread.facts is None:
            state = "loading"
        else:
            state = "detecting" if load else "idle"
        seconds, end = self._last or (None, None)
        return DetectorReport(
            state=state,
            waiting=max(0, load - 1),
            capacity=0 if self._settings is None else self._settings.detector_queue,
            detections=self._detections,
            last_seconds=seconds,
            last_age=None if end is None else time.monotonic() - end,
            followed=() if self.now is None else self.now.follower.phrases,
        )

    def _start(self, settings: TrackerParameters, inference: InferenceThread[Any]) -> Loaded:
        """Begin to load the detector, in a thread of its own."""
        logger, device = self._node.get_logger(), self._device

        def build() -> ConceptDetector:
            with forwarded_logs("sam_core.sam3", logger):
                return build_detector(
                    settings.detector,
                    checkpoint=settings.detector_checkpoint or None,
                    device=device,
                    dtype=settings.detector_dtype or None,
                    overrides=settings.detector_overrides,
                )

        sightings = Sightings(inference.report.max_history_frames)

        def begin(session: Session) -> None:
            # torch gives a thread that has not chosen its number of threads what another has chosen last: the
            # inference thread chooses before the detector's does.
            torch.set_num_threads(torch.get_num_threads())
            session.sightings = sightings

        inference.submit(begin).result()
        follower = Follower(
            sightings, inference.submit, note=self.note, refuse=self._operator.refuse, logger=self._node.get_logger()
        )
        thread = DetectorThread(
            build,
            capacity=settings.detector_queue,
            cpu_threads=settings.detector_cpu_threads,
            background=follower,
            logger=logger,
        )
        self.now = Loaded(thread, sightings, follower)
        thread.start()
        return self.now

    def _tell(self, facts: DetectorFacts) -> None:
        torch.set_num_threads(torch.get_num_threads())  # new threads adopt our number again, not the detector's
        weights = "with its checkpoint" if facts.has_weights else "with random weights"
        self._node.get_logger().info(
            f"detector loaded: {facts.name} at {facts.image_size} px {weights}, on {facts.device} as {facts.dtype}, "
            f"ready after {facts.seconds:.1f} s"
        )

    def _forget(self, gone: Loaded) -> None:
        """Let go of a detector whose thread has ended."""
        if self.now is not gone:
            return
        self.now = None
        if self._inference is not None:

            def forget(session: Session) -> None:
                session.sightings = None

            self._inference.submit(forget)

    async def _on_load(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            if self._settings is None or self._inference is None:
                raise NoDetectorError("the tracker is unconfigured; it loads the detector when it is configured")
            if not self._settings.detector:
                raise NoDetectorError("no detector is configured: start the node with the parameter 'detector'")
            if self.now is not None:
                raise NoDetectorError("the detector is loaded already, or being loaded")
            loading = self._start(self._settings, self._inference)
            try:
                self._tell(await answer_of(self._node, loading.thread.loaded))
            except Exception:
                self._forget(loading)
                raise
            response.success = True
        except Exception as error:
            response.message = self._operator.refuse(error)
        return response

    async def _on_unload(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            gone = self.now
            if gone is None:
                raise NoDetectorError("no detector is loaded")
            gone.thread.stop()
            await answer_of(self._node, gone.thread.ended)
            self._forget(gone)
            followed = ", ".join(map(repr, gone.follower.phrases))
            response.success = True
            response.message = followed and f"no longer followed: {followed}"
            self._node.get_logger().info("detector unloaded")
        except Exception as error:
            response.message = self._operator.refuse(error)
        return response
