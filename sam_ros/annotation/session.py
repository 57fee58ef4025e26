"""One pass in a stream: frame after frame, with prompts and searches on the frames that they are for."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from sam_core import CapacityError, FrameResult, Prompt, PromptError, SavedObjectError
from sam_core.association import LIVE, ConceptDetections, FollowedConcept, concept_key, merged, select
from sam_core.association.hot_start import Removal
from sam_core.association.snapshot import count_skipped, restore, take_snapshot
from sam_core.saved_objects import check_fit, recall
from sam_core.streaming import CroppedMask
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.models import Models
from sam_ros.annotation.passes import Pass
from sam_ros.annotation.prompts import ConceptPrompt
from sam_ros.annotation.records import FrameRecord, records_of
from sam_ros.conversions.encodings import RgbImage
from sam_ros.conversions.masks import Masks

__all__ = ["PassSession"]


class PassSession:
    """The stream of a pass, and which of its objects is which of the run.

    Args:
        work: The pass.
        models: The networks.

    Raises:
        AnnotationError: A saved object is of another model.
    """

    def __init__(self, work: Pass, models: Models) -> None:
        self._work = work
        self._models = models
        self._tracks = models.open_session(len(work.objects), with_concepts=bool(work.concepts))
        self._prompted = {one.frame for target in work.objects for one in target.prompts}
        self._prompted |= {one.frame for one in work.concepts if one.exemplars}
        self._followed = {
            concept_key(one.phrase): FollowedConcept(one.phrase, every_n_frames=one.every)
            for one in work.concepts
            if one.every
        }
        self._shown = [one for one in work.concepts if one.exemplars]
        # From here on: what a saved state holds.
        self._skipped = 0  # usable frames that went before the first one the stream has seen
        self._ids: dict[int, int] = {}  # from the stream's ids to those of the run
        self.labels: dict[int, str] = {}  # of objects that a concept found, by their ids in the run
        self.withdrawn: set[int] = set()  # ids of those that the rules took back
        self._lost: frozenset[str] = frozenset()  # keys of concepts that are due because an object was lost
        self.seconds = 0.0  # that the networks took
        self._recall()
        self._reserve()

    def _recall(self) -> None:
        """Look for the saved objects from the first frame on."""
        for target in self._work.objects:
            if target.saved is None:
                continue
            saved = replace(target.saved, memory=replace(target.saved.memory, label=target.label))
            try:
                check_fit(saved, self._models.tracker)
            except SavedObjectError as error:
                raise AnnotationError(f"The saved object {target.object_id}: {error}") from error
            self._ids[recall(saved, self._tracks.stream)] = target.object_id

    def state(self) -> dict[str, Any]:
        """Return everything that the next frame depends on."""
        own = ("_skipped", "_ids", "labels", "withdrawn", "_lost", "seconds")
        return {"stream": take_snapshot(self._tracks), **{name: getattr(self, name) for name in own}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: It is of another model or other settings.
        """
        for name, value in state.items():
            if name == "stream":
                restore(self._tracks, value)
            else:
                setattr(self, name, value)
        self._reserve()

    def _reserve(self) -> None:
        """Keep places for the prompted objects that have not begun: concepts find at most `max_objects` besides."""
        begun = set(self._ids.values())
        self._tracks.reserved = sum(one.object_id not in begun for one in self._work.objects)

    def step(self, frame: int, image: RgbImage, stamp: int) -> FrameRecord:
        """Track the objects on the next frame of the pass.

        Args:
            frame: Its number.
            image: uint8 RGB (H, W, 3).
            stamp: In ns.

        Raises:
            AnnotationError: A prompt does not fit the image.
        """
        height, width = image.shape[:2]
        stream = self._tracks.stream
        if not self._has_work(frame):
            self._skipped += 1
            return FrameRecord(frame, (height, width))
        began = time.perf_counter()
        searches = tuple(
            one
            for key, one in self._followed.items()
            if frame >= self._work.start and (key in self._lost or (frame - self._work.start) % one.every_n_frames == 0)
        )
        # A stream's stamps grow; so do negative ones that are gone through backward.
        outcome = self._tracks.step(
            image, stamp * self._work.step, concepts=searches, detect=self._models.detect if searches else None
        )
        if stream.history.newest is not None and stream.history.newest.number == 0 and self._skipped:
            count_skipped(stream, self._skipped)
        self._lost = outcome.lost
        problems = list(outcome.problems)
        labels = {info.object_id: info.label for info in stream.objects}
        for object_id in outcome.born:
            self._name_found(object_id, labels[object_id])
        self.withdrawn |= {
            self._ids[i] for i, why in outcome.removed.items() if i in self._ids and why is not Removal.LEFT
        }
        result = merged(outcome.result, self._prompt(frame, problems), ())
        for concept in self._shown:
            if concept.frame == frame:
                result = merged(result, self._search_exemplars(concept, problems), ())
        masks = Masks.of(result)
        self.seconds += time.perf_counter() - began
        return FrameRecord(frame, (height, width), records_of(masks, self._ids), " ".join(problems))

    def _has_work(self, frame: int) -> bool:
        """Tell whether the stream has to see a frame."""
        stream = self._tracks.stream
        begun = stream.history.newest is not None
        return begun or bool(self._followed) or bool(self._ids) or frame in self._prompted

    def _prompt(self, frame: int, problems: list[str]) -> dict[int, FrameResult]:
        """Give the prompts of a frame; return the results of their objects, by the stream's ids."""
        changed: dict[int, FrameResult] = {}
        stream_ids = {run_id: stream_id for stream_id, run_id in self._ids.items()}
        for target in self._work.objects:
            for one in target.prompts:
                if one.frame != frame:
                    continue
                try:
                    result = self._tracks.stream.add_prompt(
                        one.prompt, stream_ids.get(target.object_id), label=target.label
                    )
                except (PromptError, CapacityError) as error:
                    raise AnnotationError(
                        f"The prompt of object {target.object_id} on frame {frame}: {error}"
                    ) from error
                (stream_id,) = result.object_ids
                stream_ids[target.object_id] = stream_id
                self._ids[stream_id] = target.object_id
                changed[stream_id] = result
                problems += result.remarks
        if changed:
            self._reserve()
        return changed

    def _name_found(self, stream_id: int, label: str) -> None:
        """Give an object that a concept found an id in the run: after those that are prompted."""
        run_id = self._work.found_from + len(self.labels)
        self._ids[stream_id] = run_id
        self.labels[run_id] = label

    def _search_exemplars(self, concept: ConceptPrompt, problems: list[str]) -> dict[int, FrameResult]:
        """Track what is like the exemplars shown on the newest frame, but for what is tracked already."""
        stream, detector = self._tracks.stream, self._models.detector
        frame = stream.history.newest
        assert frame is not None
        assert detector is not None
        assert frame.picture is not None
        try:
            state = detector.encode_image(frame.picture)
            words = [concept.phrase] if concept.phrase else []
            (answer,) = detector.detect(state, words, concept.shown, LIVE.score_threshold)
        except ValueError as error:  # of a phrase that says nothing to the detector
            raise AnnotationError(f"The exemplars on frame {concept.frame}: {error}") from error
        found = ConceptDetections(answer.phrase, answer.scores, answer.mask_logits)
        kept = sorted(select(found, LIVE).kept, key=lambda i: -float(found.scores[i]))
        changed: dict[int, FrameResult] = {}
        threshold = stream.mask_threshold
        for position in kept:
            mask = CroppedMask.of(found.mask(position, frame.size))
            now = stream.history.newest or frame
            tracked = (now.mask_of(info.object_id, threshold) for info in stream.objects)
            if not mask.area or any(one is not None and one.overlap(mask) >= LIVE.match_iou for one in tracked):
                continue
            if len(stream.objects) + self._tracks.reserved >= stream.max_objects:
                problems.append(f"No more than {self._models.settings.max_objects} objects of concepts are tracked.")
                break
            result = stream.add_prompt(Prompt(mask=mask.full()), label=concept.phrase)
            changed[result.object_ids[0]] = result
            self._name_found(result.object_ids[0], concept.phrase)
        return changed
