"""Track concepts in a stream: one implementation of the rules, driven in two ways.

In the step of a frame (`step` with a detector), as SAM 3 does: detections and tracks meet before the frame is
remembered. Or later (`search`, then `begin` for each new object), with detections that come from another thread, on the
frame that they were found on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.association.concept_result import ConceptResult
from sam_core.association.detections import ConceptDetections, Point
from sam_core.association.events import Ending, endings
from sam_core.association.frame_rules import Detect, FrameSearch, Judgement, judge
from sam_core.association.hot_start import Removal
from sam_core.association.known import last_seen_at, tracks_on
from sam_core.association.merging import as_detected, merged, with_origins
from sam_core.association.plan import Association, Decision, SearchPlan, plan_search
from sam_core.association.rules import LIVE, ConceptRules
from sam_core.association.schedule import FollowedConcept, concept_key
from sam_core.association.specks import clean
from sam_core.association.tracks import Track
from sam_core.errors import CapacityError, PromptError
from sam_core.isolation import inference
from sam_core.streaming import Frame, FrameResult, ObjectPhase, ObjectState, Prompt, Stream
from sam_core.streaming.tracking import Tracked


class ConceptTracker:
    """The tracks of one stream. Belongs to the thread that owns the stream; others may read `tracks`.

    Everything that is kept belongs to an object of the stream or to a concept that is followed, so nothing grows with
    the number of frames. Objects that somebody prompted are left as the network says.

    Args:
        stream: where objects are tracked; with `reconditioning` if the rules recondition.
        rules: settings of what holds on every frame: overlaps, small regions.

    Attributes:
        reserved: places of the stream that no search takes, for objects that will be prompted.
    """

    def __init__(self, stream: Stream, rules: ConceptRules = LIVE) -> None:
        self.stream = stream
        self.rules = rules
        self.reserved = 0
        self.tracks: Mapping[int, Track] = {}
        self._searches: dict[str, int] = {}  # key of a concept -> searches so far
        self._hidden: dict[str, frozenset[int]] = {}  # key of a concept -> ids of its tracks that are not shown
        self._last_seen: dict[int, Point] = {}  # id of a track that is not seen -> where it was seen last
        self._visible: frozenset[int] = frozenset()  # ids of tracks that were seen on the newest frame
        self._removed_later: dict[int, Removal] = {}  # tracks that later searches removed since the newest frame
        self.ended: Mapping[int, Ending] = {}  # why the newest step or search ended tracks, by id

    @property
    def max_objects(self) -> int:
        """Objects that the stream has room for."""
        return self.stream.max_objects

    # --- in the step of a frame ---------------------------------------------------------------------------------------

    @inference
    def step(
        self,
        image: NDArray[np.uint8] | Tensor,
        stamp: Any = None,
        source: Any = None,
        *,
        concepts: Sequence[FollowedConcept] = (),
        detect: Detect | None = None,
    ) -> ConceptResult:
        """Track all objects on the next frame, and search it.

        A detector that fails costs this frame's search, and nothing else.

        Args:
            image: see `Stream.step`.
            stamp: see `Stream.step`.
            source: see `Stream.step`.
            concepts: what to search for on this frame.
            detect: the detector; without one nothing is searched.

        Raises:
            ImageError: not an image.
        """
        self._forget_removed()
        self.ended = {}
        search = FrameSearch(tuple(concepts) if detect is not None else (), detect)
        judgement: Judgement | None = None
        shared: dict[str, Any] = {
            "plan": self._planner(search),
            "grid": self.stream.mask_size,
            "device": self.stream.device,
            "rules": self.rules,
        }

        def arbiter(frame: Frame, object_ids: tuple[int, ...], tracked: Tracked) -> Any:
            nonlocal judgement
            judgement = judge(
                search,
                frame,
                object_ids,
                tracked,
                tracks=self._followed(),
                hidden=frozenset().union(*self._hidden.values()),
                **shared,
            )
            return judgement.ruling

        if self._followed() or search.concepts:
            result = self.stream.step(image, stamp, source, arbiter=arbiter)
        else:
            result = self.stream.step(image, stamp, source)
        frame = self.stream.history.newest
        assert frame is not None
        if judgement is None and search.concepts:
            judgement = judge(search, frame, (), None, tracks={}, hidden=frozenset(), **shared)
        if judgement is None:
            ended, self._removed_later = self._removed_later, {}
            return ConceptResult(with_origins(result, self.tracks), self.tracks, removed=ended, lost=self._observe())
        return self._execute(frame, result, search, judgement)

    def _followed(self) -> dict[int, Track]:
        """Return the tracks of concepts that are searched for again and again: the rules of a frame are for them."""
        return {i: track for i, track in self.tracks.items() if track.concept in self._searches}

    def _planner(self, search: FrameSearch) -> Callable[..., SearchPlan]:
        places = max(0, self.stream.max_objects - len(self.stream.objects) - self.reserved)
        nothing_tracked = not self.tracks

        def plan(concept: FollowedConcept, found: ConceptDetections, known: Any, taken: int) -> SearchPlan:
            return plan_search(
                found,
                replace(known, lost={i: self._last_seen.get(i) for i in known.lost}),
                concept.rules,
                now=self._searches.get(concept.key, 0),
                places=places - taken,
                at_any_score=nothing_tracked and concept.rules.first_at_any_score,
            )

        return plan

    def _execute(self, frame: Frame, result: FrameResult, search: FrameSearch, judgement: Judgement) -> ConceptResult:
        """Do what was planned, and put the frame's result together."""
        began = time.perf_counter()
        changed: dict[int, FrameResult] = {}
        removed: dict[int, Removal] = {}
        born: list[int] = []
        back: list[int] = []
        problems = list(search.problems)
        for concept, _, plan in judgement.plans:
            self._commit(concept.key, plan)
        occluded = judgement.last_occluded
        self.tracks = {
            i: replace(track, last_occluded=occluded.get(i, track.last_occluded)) for i, track in self.tracks.items()
        }
        for concept, found, plan in judgement.plans:
            area = concept.rules.fill_hole_area
            for position in (*plan.births, *plan.reidentified.values()):
                try:
                    decision, shown = self._prompt(frame, found, position, plan, concept.rules)
                except (CapacityError, PromptError, torch.cuda.OutOfMemoryError) as error:
                    problems.append(f"a detection of {concept.phrase!r} is not tracked: {error}")
                    continue
                assert decision.object_id is not None
                logits = clean(found.logits[position : position + 1], area)[0]
                changed[decision.object_id] = as_detected(shown, logits, self.stream.mask_threshold)
                (born if decision.association is Association.NEW else back).append(decision.object_id)
            removed |= plan.removed
        reconditioned = self._recondition(frame, judgement)
        self._remove(removed)
        lost = self._observe()
        ended, self._removed_later = self._removed_later, {}
        return ConceptResult(
            result=with_origins(merged(result, changed, removed), self.tracks),
            tracks=self.tracks,
            born=tuple(born),
            reidentified=tuple(back),
            removed=ended | removed,
            reconditioned=reconditioned,
            lost=lost,
            searched=tuple(concept.phrase for concept, *_ in judgement.plans),
            search_failed=search.failed,
            problems=tuple(problems),
            detection_seconds=search.seconds,
            association_seconds=judgement.seconds + time.perf_counter() - began,
        )

    def _recondition(self, frame: Frame, judgement: Judgement) -> tuple[int, ...]:
        wanted = [i for *_, plan in judgement.plans for i in plan.reconditioned if i not in plan.removed]
        return tuple(i for i in wanted if self.stream.recondition(i, frame.number))

    # --- later --------------------------------------------------------------------------------------------------------

    @inference
    def search(
        self, frame: Frame, found: ConceptDetections, rules: ConceptRules, *, counted: bool = True
    ) -> SearchPlan:
        """Take in a search of an earlier frame: tracks are confirmed, withdrawn, reconditioned.

        New and lost objects are told by the plan and begin with `begin`, one by one, so that frames can be tracked in
        between.

        Args:
            frame: the frame that was searched; it may have left the history.
            found: detections that `select` has kept, on the stream's mask grid.
            rules: settings.
            counted: whether the search counts for its concept's tracks; not so where somebody asked for it once.
        """
        self._forget_removed()
        self.ended = {}
        key = concept_key(found.phrase)
        frame = self.stream.history.numbered(frame.number) or frame
        known = tracks_on(frame, self.stream, self.tracks, key, self._last_seen)
        plan = plan_search(
            found,
            known,
            rules,
            now=self._searches.get(key, 0),
            places=self.stream.max_objects - len(self.stream.objects),
            at_any_score=not self.tracks and rules.first_at_any_score,
        )
        if counted:
            self._commit(key, plan)
            for object_id in plan.reconditioned:
                if object_id not in plan.removed:
                    self.stream.recondition(object_id, frame.number)
            self._remove(plan.removed)
            self._removed_later |= plan.removed
        return plan

    def begin(
        self, frame: Frame, found: ConceptDetections, position: int, plan: SearchPlan, rules: ConceptRules,
        *, confirmed: bool = False
    ) -> Decision:  # fmt: skip
        """Track a detection that `search` has told to be new, or a lost object, from the frame it was found on.

        Its mask becomes a mask prompt on that frame: of a new object, labelled with the phrase, or of the lost one,
        which is renewed. The stream carries the object through the frames since.

        Args:
            frame: the frame that was searched.
            found: what `search` was given.
            position: of the detection.
            plan: what `search` returned.
            rules: settings.
            confirmed: whether the object is nothing that later searches may withdraw.

        Raises:
            StampError: the frame has left the stream's history.
            CapacityError: a new object, but all places are taken; or too many corrections of earlier frames at once.
            PromptError: the mask is empty.
            UnknownObjectError: the lost object was removed meanwhile.
        """
        decision, _ = self._prompt(frame, found, position, plan, rules, confirmed=confirmed)
        return decision

    # --- both ---------------------------------------------------------------------------------------------------------

    def release(self, phrase: str = "") -> None:
        """Forget that a concept, or without a phrase any, was searched for.

        Its tracks stay, and nothing withdraws them any more.
        """
        key = concept_key(phrase)
        for searched in [key] if key else list(self._searches):
            self._searches.pop(searched, None)
            self._hidden.pop(searched, None)
        self.tracks = {
            i: replace(track, confirmed=True, shared={}) if key in ("", track.concept) else track
            for i, track in self.tracks.items()
        }

    def _prompt(
        self, frame: Frame, found: ConceptDetections, position: int, plan: SearchPlan, rules: ConceptRules,
        *, confirmed: bool = False
    ) -> tuple[Decision, FrameResult]:  # fmt: skip
        decision = plan.decisions[position]
        new = decision.association is Association.NEW
        prompt = Prompt(mask=found.mask(position, frame.size), frame=frame.number)
        result = self.stream.add_prompt(prompt, decision.object_id, found.phrase if new else "", renew=not new)
        object_id = result.object_ids[0]
        key = concept_key(found.phrase)
        if new:
            track = Track(
                object_id=object_id,
                concept=key,
                born=self._searches.get(key, 1) - 1,
                score=float(found.scores[position]),
                keep_alive=rules.keep_alive_start,
                # Only searches confirm or withdraw: where there are none (any more) the object stays.
                confirmed=confirmed or rules.hot_start == 0 or key not in self._searches,
            )
            self.tracks = {**self.tracks, object_id: track}
        elif object_id in self.tracks:
            again = replace(self.tracks[object_id], score=float(found.scores[position]), not_seen=0)
            self.tracks = {**self.tracks, object_id: again}
        self._last_seen.pop(object_id, None)
        self._visible |= {object_id}
        return replace(decision, object_id=object_id), result

    def adopt(self, object_id: int, concept: str) -> None:
        """Take an object of the stream, for instance a loaded one, for a confirmed track of a concept."""
        key, start = concept_key(concept), self.rules.keep_alive_start
        track = Track(object_id, key, self._searches.get(key, 1) - 1, 0.0, start, confirmed=True)
        self.tracks = dict(sorted({**self.tracks, object_id: track}.items()))

    def _commit(self, key: str, plan: SearchPlan) -> None:
        self.ended = {**self.ended, **endings(self.tracks, plan.removed)}
        tracks = {**self.tracks, **{track.object_id: track for track in plan.tracks}}
        self.tracks = {i: track for i, track in sorted(tracks.items()) if i not in plan.removed}
        self._hidden[key] = plan.hidden
        self._searches[key] = self._searches.get(key, 0) + 1

    def _remove(self, removed: Mapping[int, Removal]) -> None:
        present = {info.object_id for info in self.stream.objects}
        for object_id in removed:
            if object_id in present:
                self.stream.remove(object_id)
        self._forget_removed()

    def _forget_removed(self) -> None:
        """Forget objects that the stream does not have any more, for instance because somebody removed them."""
        present = {info.object_id for info in self.stream.objects}
        if self.tracks.keys() <= present:
            return
        self.tracks = {i: track for i, track in self.tracks.items() if i in present}
        self._last_seen = {i: where for i, where in self._last_seen.items() if i in present}
        self._hidden = {key: ids & present for key, ids in self._hidden.items()}
        self._visible &= present

    def _observe(self) -> frozenset[str]:
        """Note which tracks are seen now; return the concepts of those that were seen and are not any more."""
        infos = [info for info in self.stream.objects if info.object_id in self.tracks]
        seen = {info.object_id for info in infos if info.state is ObjectState.TRACKED}
        waiting = {info.object_id for info in infos if info.phase is ObjectPhase.CATCHING_UP}
        gone = self._visible & {info.object_id for info in infos} - seen - waiting
        for object_id in gone:
            where = last_seen_at(self.stream, object_id)
            if where is not None:
                self._last_seen[object_id] = where
        for object_id in seen:
            self._last_seen.pop(object_id, None)
        self._visible = frozenset(seen | (self._visible & waiting))
        return frozenset(self.tracks[object_id].concept for object_id in gone)
