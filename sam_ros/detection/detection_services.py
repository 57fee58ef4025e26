"""The services that detect concepts and follow them, while images keep being tracked.

A detection's way: service (executor thread) -> queue -> detector thread (image, instances) -> inference thread (each
instance on the frame that it was found on) -> answer.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from sam_msgs.srv import DetectConcept, FollowConcept, UnfollowConcept

from sam_core.association import ConceptRules, FollowedConcept
from sam_core.sam3 import ConceptDetector
from sam_core.streaming import Tracker
from sam_core.streaming.prompt import MAX_LABEL
from sam_ros.conversions.messages import concept_instance_message
from sam_ros.conversions.stamps import nanoseconds, to_time
from sam_ros.detection.detector_manager import DetectorManager, DetectorReport
from sam_ros.detection.detector_settings import DetectorSettings
from sam_ros.detection.findings import Outcome, find, track
from sam_ros.detection.search import (
    NEWEST,
    SearchError,
    check_exemplars,
    check_phrase,
    frame_for,
    remark_on,
    search_of,
)
from sam_ros.runtime.qos import SERVICE_QOS
from sam_ros.runtime.texts import legible
from sam_ros.runtime.waiting import answer_of
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.prompt_services import PromptServices
from sam_ros.tracking.work_queue import Lane

__all__ = ["DetectionServices"]


class DetectionServices:
    """Serve detect_concept, follow_concept and unfollow_concept, in every state of node and detector.

    Args:
        node: The node that the services belong to.
        prompts: Knows whether the tracker is ready, and counts refusals.
    """

    def __init__(self, node: LifecycleNode, prompts: PromptServices) -> None:
        self._node = node
        self._prompts = prompts
        self._detector = DetectorManager(node, prompts)
        # Reentrant: an awaiting service must keep neither images nor other services waiting.
        options: dict[str, Any] = {"qos_profile": SERVICE_QOS, "callback_group": ReentrantCallbackGroup()}
        node.create_service(DetectConcept, "~/detect_concept", self._on_detect, **options)
        node.create_service(FollowConcept, "~/follow_concept", self._on_follow, **options)
        node.create_service(UnfollowConcept, "~/unfollow_concept", self._on_unfollow, **options)

    def configure(self, settings: DetectorSettings, inference: InferenceThread[Any], tracker: Tracker) -> None:
        """Load the detector, if one is wanted (see `DetectorManager.configure`)."""
        self._detector.configure(settings, inference, tracker)

    def release(self, timeout: float) -> None:
        """Free the detector, and wait for that at most `timeout` s (see `DetectorManager.release`)."""
        self._detector.release(timeout)

    def report(self) -> DetectorReport:
        """Describe the detector's condition."""
        return self._detector.report()

    def use(self, rules: ConceptRules) -> None:
        """Take over settings of the rules for concepts (see `DetectorManager.use`)."""
        self._detector.use(rules)

    # --- Detections ---------------------------------------------------------------------------------------------------

    async def _on_detect(
        self, request: DetectConcept.Request, response: DetectConcept.Response
    ) -> DetectConcept.Response:
        try:
            outcome, remarks = await self._detect(request)
        except Exception as error:
            response.message = self._prompts.refuse(error)
            return response
        response.instances = [
            concept_instance_message(item.instance, item.detected_box, item.object_id, outcome.frame.source)
            for item in outcome.findings
        ]
        response.stamp = to_time(outcome.frame.stamp)
        response.duration = outcome.seconds
        response.success = not outcome.problems
        if outcome.problems:
            missing = sum(item.decision is None for item in outcome.findings)
            text = f"{missing} of {len(outcome.findings)} instances are not tracked: {'; '.join(outcome.problems)}"
            remarks = [self._prompts.refuse(SearchError(text)), *remarks]
        response.message = "; ".join(remarks)
        return response

    async def _detect(self, request: DetectConcept.Request) -> tuple[Outcome, list[str]]:
        """Wait for a detection; return what came of it, and what else the caller should know."""
        inference = self._prompts.tracking(active=True)
        detector, facts = self._detector.ready()
        search = search_of(request, facts.tokenizer)  # first: what is too large does not wait
        # A detection sees every image that came before it, as a prompt does.
        await answer_of(self._node, inference.submit(lambda _: None, Lane.QUERY))
        stamp = nanoseconds(request.stamp)
        frame = frame_for(inference.history, stamp, request.or_newest)
        clipped = check_exemplars(search, frame)
        asked_for = frame if stamp != NEWEST else None  # an image that was asked for is kept while the call waits
        del frame
        asked, ahead = time.monotonic(), detector.thread.load

        def detect(network: ConceptDetector) -> Outcome:
            waited = time.monotonic() - asked
            chosen = asked_for or frame_for(inference.history, NEWEST, True)
            check_exemplars(search, chosen)
            findings, seconds = find(network, chosen, search)
            self._detector.counts.detected(seconds)
            problems: dict[str, None] = {}
            if search.rules is not None:
                phrases = dict.fromkeys(item.instance.phrase for item in findings)
                groups = [[item for item in findings if item.instance.phrase == phrase] for phrase in phrases]
                findings = []
                for phrase, group in zip(phrases, groups, strict=True):
                    decided, reasons = track(inference.submit, chosen, phrase, group, search.rules, counted=False)
                    findings += decided
                    problems |= dict.fromkeys(reasons)
            return Outcome(chosen, tuple(findings), seconds, waited, tuple(problems))

        future = detector.thread.submit(detect)
        what = legible(", ".join(map(repr, search.phrases)), 200) or "what the boxes show"
        if ahead:
            self._node.get_logger().info(f"the detection of {what} is queued behind {ahead}")
        outcome = await answer_of(self._node, future)
        remarks = [f"{phrase!r}: {text}" for phrase in search.phrases if (text := remark_on(phrase, facts.tokenizer))]
        if clipped:
            remarks.append(clipped)
        if outcome.frame.stamp != stamp != NEWEST:
            which = "nearest" if abs(outcome.frame.stamp - stamp) <= inference.history.stamp_tolerance else "newest"
            remarks.append(f"the image of that stamp is not at hand, so the {which} one was searched")
        if ahead:
            remarks.append(f"the call was queued behind {ahead} for {outcome.waited:.2f} s")
        self._node.get_logger().info(f"detected {what}: {len(outcome.findings)} instances in {outcome.seconds:.2f} s")
        return outcome, remarks

    # --- Followed concepts --------------------------------------------------------------------------------------------

    def _on_follow(self, request: FollowConcept.Request, response: FollowConcept.Response) -> FollowConcept.Response:
        try:
            detector, facts = self._detector.ready()
            check_phrase(request.phrase, facts.tokenizer)
            try:
                rules = replace(
                    self._detector.rules,
                    score_threshold=request.score_threshold,
                    match_iou=request.match_iou,
                    new_score=request.new_score,
                    max_objects=request.max_instances or None,
                )
                concept = FollowedConcept(request.phrase, request.period, request.every_n_frames, rules)
            except ValueError as error:
                raise SearchError(str(error)) from error
            detector.redetector.follow(concept)
        except Exception as error:
            response.message = self._prompts.refuse(error)
            return response
        detector.thread.wake()
        response.success = True
        response.message = remark_on(request.phrase, facts.tokenizer)
        return response

    async def _on_unfollow(
        self, request: UnfollowConcept.Request, response: UnfollowConcept.Response
    ) -> UnfollowConcept.Response:
        try:
            detector, _ = self._detector.ready()
            if len(request.phrase) > MAX_LABEL or not detector.redetector.unfollow(request.phrase):
                followed = ", ".join(map(repr, detector.redetector.phrases)) or "nothing"
                raise SearchError(f"{legible(request.phrase, 100)!r} is not followed; followed is: {followed}")
            inference = self._prompts.tracking(active=False)
            await answer_of(self._node, inference.submit(lambda session: session.concepts.release(request.phrase)))
            response.success = True
        except Exception as error:
            response.message = self._prompts.refuse(error)
        return response
