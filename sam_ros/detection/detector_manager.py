"""The detector in the node: loaded when the node is configured, unloaded and loaded again on demand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import Trigger

from sam_core.association import TrackHistory
from sam_core.sam3 import ConceptDetector, build_detector
from sam_core.streaming import Stream
from sam_ros.detection.detector_thread import DetectorFacts, DetectorThread
from sam_ros.detection.redetector import Redetector
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.lifecycle import TRANSITIONS, state_of
from sam_ros.runtime.logs import forwarded_logs
from sam_ros.runtime.qos import SERVICE_QOS
from sam_ros.runtime.texts import legible
from sam_ros.runtime.waiting import answer_of
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.prompt_services import PromptServices
from sam_ros.tracking.session import Session

__all__ = ["DetectorManager", "DetectorReport", "DetectorSettings", "LoadedDetector"]


class NoDetectorError(RefusedError):
    """No detector is loaded. The text says how to load one."""


@dataclass(frozen=True)
class DetectorSettings:
    """What to load, and how to run it.

    Attributes:
        model: Name of its configuration; empty for no detector.
        checkpoint: File with its weights; empty for random ones.
        device: Torch device.
        dtype: Number type; empty for the device's default.
        overrides: Changes to its configuration in Hydra's syntax.
        cpu_threads: Threads that torch may use for it on the CPU; 0 leaves torch's own choice.
        queue: Most calls that may wait.
    """

    model: str
    checkpoint: str
    device: str
    dtype: str
    overrides: tuple[str, ...]
    cpu_threads: int
    queue: int


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
        failure: Why it could not be loaded; empty where it could, or nobody tried.
    """

    state: str
    waiting: int
    capacity: int
    detections: int
    last_seconds: float | None
    last_age: float | None
    followed: tuple[str, ...]
    failure: str = ""


@dataclass(frozen=True)
class LoadedDetector:
    """A detector, loaded or loading, and what goes with it.

    Attributes:
        thread: Owns the detector.
        tracks: Facts about the objects that are tracked; from loading on.
        redetector: Looks for followed concepts.
    """

    thread: DetectorThread
    tracks: TrackHistory
    redetector: Redetector

    def saw(self, stream: Stream) -> None:
        """Take in a frame that was tracked (inference thread)."""
        first = len(stream.history.with_pictures()) == 1
        lost = self.tracks.observe(stream)
        if self.redetector.begin() if first else self.redetector.lost(lost):
            self.thread.wake()


class DetectorManager:
    """Load and unload the detector. `note` belongs to the detector's thread, `report` to any.

    `configure` and `release` belong to a transition, the rest to the executor's thread, where it refuses meanwhile.

    Args:
        node: The node that the services belong to.
        prompts: Counts and logs refusals.
    """

    def __init__(self, node: LifecycleNode, prompts: PromptServices) -> None:
        self._node = node
        self._prompts = prompts
        self._settings: DetectorSettings | None = None  # from configure to release, as the next one
        self._inference: InferenceThread[Any] | None = None
        self._detections = 0
        self._last: tuple[float, float] | None = None  # s that the last detection took, monotonic s of its end
        self._failure = ""
        self.now: LoadedDetector | None = None
        # Reentrant: an awaiting service must keep neither images nor other services waiting.
        options: dict[str, Any] = {"qos_profile": SERVICE_QOS, "callback_group": ReentrantCallbackGroup()}
        node.create_service(Trigger, "~/load_detector", self._on_load, **options)
        node.create_service(Trigger, "~/unload_detector", self._on_unload, **options)

    def configure(self, settings: DetectorSettings, inference: InferenceThread[Any]) -> None:
        """Load the detector, if one is wanted, and wait for it.

        Args:
            settings: What to load.
            inference: Owns the stream that instances are handed over to.

        Raises:
            ValueError, OSError: What the settings name does not exist or does not fit.
        """
        self._settings, self._inference = settings, inference
        if settings.model:
            self._tell(self._start(settings, inference).thread.loaded.result())

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
        self._settings = self._inference = None
        self._failure = ""

    def ready(self) -> tuple[LoadedDetector, DetectorFacts]:
        """Return the detector and what is known about it.

        Raises:
            NoDetectorError: There is none now.
        """
        if (state := state_of(self._node)) in TRANSITIONS:
            raise NoDetectorError(f"the tracker is {state}; ask again when that is done")
        if self.now is None and self._settings is not None and self._settings.model:
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
        settings, now = self._settings, self.now
        wanted = settings is not None and settings.model
        load = 0 if now is None else now.thread.load
        if now is None:
            state = "unloaded" if wanted else "not configured"
        elif now.thread.facts is None:
            state = "loading"
        else:
            state = "detecting" if load else "idle"
        seconds, end = self._last or (None, None)
        return DetectorReport(
            state=state,
            waiting=max(0, load - 1),
            capacity=0 if settings is None else settings.queue,
            detections=self._detections,
            last_seconds=seconds,
            last_age=None if end is None else time.monotonic() - end,
            followed=() if now is None else now.redetector.phrases,
            failure=self._failure,
        )

    def _start(self, settings: DetectorSettings, inference: InferenceThread[Any]) -> LoadedDetector:
        """Begin to load the detector, in a thread of its own."""
        logger = self._node.get_logger()

        def build() -> ConceptDetector:
            with forwarded_logs("sam_core.sam3", logger):
                return build_detector(
                    settings.model,
                    checkpoint=settings.checkpoint or None,
                    device=settings.device,
                    dtype=settings.dtype or None,
                    overrides=settings.overrides,
                )

        tracks = TrackHistory()
        redetector = Redetector(
            lambda: inference.history,
            tracks,
            inference.submit,
            note=self.note,
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
        self.now = loaded = LoadedDetector(thread, tracks, redetector)

        def begin(session: Session) -> None:
            # torch gives a thread that has not chosen its number of threads what another has chosen last: the
            # inference thread chooses before the detector's does.
            torch.set_num_threads(torch.get_num_threads())
            session.stream.keep_pictures = True
            session.watch = loaded.saw

        inference.submit(begin).result()
        thread.start()
        return loaded

    def _tell(self, facts: DetectorFacts) -> None:
        torch.set_num_threads(torch.get_num_threads())  # new threads adopt our number again, not the detector's
        weights = "with its checkpoint" if facts.has_weights else "with random weights"
        self._node.get_logger().info(
            f"detector loaded: {facts.name} at {facts.image_size} px {weights}, on {facts.device} as {facts.dtype}, "
            f"ready after {facts.seconds:.1f} s"
        )

    def _forget(self, gone: LoadedDetector) -> None:
        """Let go of a detector whose thread has ended."""
        if self.now is not gone:
            return
        self.now = None
        if self._inference is not None:

            def forget(session: Session) -> None:
                session.stream.keep_pictures = False
                session.watch = None

            self._inference.submit(forget)

    async def _on_load(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            inference = self._prompts.tracking(active=False)
            if self._settings is None or not self._settings.model:
                raise NoDetectorError("no detector is configured: start the node with the parameter 'detector'")
            if self.now is not None:
                raise NoDetectorError("the detector is loaded already, or being loaded")
            loading = self._start(self._settings, inference)
            try:
                self._tell(await answer_of(self._node, loading.thread.loaded))
            except Exception as error:
                self._failure = legible(str(error))
                self._forget(loading)
                raise
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
