"""Hand the instances of a search over to a stream that another thread owns, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from sam_core.association.concept_tracker import ConceptTracker
from sam_core.association.detections import ConceptDetections, Instance, select
from sam_core.association.plan import Association, Decision
from sam_core.association.rules import ConceptRules
from sam_core.errors import CapacityError, PromptError, StampError, UnknownObjectError
from sam_core.streaming import Frame

Run: TypeAlias = "Callable[[Callable[[ConceptTracker], Any]], Any]"  # runs a call in the thread that owns the stream


@dataclass(frozen=True)
class Handover:
    """What became of instances.

    Attributes:
        decisions: one for each instance; None where it should be tracked and is not.
        problems: why that is so.
    """

    decisions: tuple[Decision | None, ...]
    problems: tuple[Exception, ...] = ()


def hand_over(
    run: Run, frame: Frame, phrase: str, instances: Sequence[Instance], rules: ConceptRules, *, counted: bool
) -> Handover:
    """Apply the rules to the instances of a phrase, and let the stream track what is new or was lost, the best first.

    The search is one call, and each object that begins another one, so that frames can be tracked in between.

    Args:
        run: runs a call in the thread that owns the stream.
        frame: where they were found.
        phrase: what was searched for.
        instances: what was found.
        rules: settings.
        counted: whether the search belongs to a concept that is followed, so that it may withdraw objects; else
            somebody asked for it once, and what it begins stays.
    """
    grid, device, places = run(lambda tracker: (tracker.stream.mask_size, tracker.stream.device, tracker.max_objects))
    # Only the best are looked at. They are chosen first, so that the others never are tensors.
    ranked = sorted(range(len(instances)), key=lambda i: -instances[i].score)
    considered = sorted(ranked[: rules.max_detections])
    everything = ConceptDetections.of_instances(phrase, [instances[i] for i in considered], grid, device)
    # Who asks once wants to know of each instance which object it is; a search for tracks looks at the best.
    selection = select(everything, rules if counted else replace(rules, nms_iou=0.0))
    found = everything.taken(selection.kept)
    plan = run(lambda tracker: tracker.search(frame, found, rules, counted=counted))
    decisions: list[Decision | None] = list(plan.decisions)
    problems: list[Exception] = []
    if plan.out_of_places:
        problems.append(
            CapacityError(f"All {places} places are taken: remove an object, or configure more (max_objects).")
        )
        decisions = [None if one == Decision(Association.LIMIT_REACHED) else one for one in decisions]
    begin = sorted({*plan.births, *plan.reidentified.values()}, key=lambda i: -float(found.scores[i]))
    for count, position in enumerate(begin):

        def start(tracker: ConceptTracker, position: int = position) -> Decision:
            return tracker.begin(frame, found, position, plan, rules, confirmed=not counted)

        try:
            decisions[position] = run(start)
        except StampError as error:
            problems.append(error)
            for i in begin[count:]:  # found on the same frame
                decisions[i] = None
            break
        except (CapacityError, PromptError, UnknownObjectError, torch.cuda.OutOfMemoryError) as error:
            problems.append(error)
            decisions[position] = None
    united = [decisions[plan.twins.get(i, i)] for i in range(len(decisions))]
    known = dict(zip(selection.kept, united, strict=True))
    nothing = Decision(Association.UNSURE)
    answers = {i: known.get(selection.twins.get(k, k), nothing) for k, i in enumerate(considered)}
    return Handover(tuple(answers.get(i, nothing) for i in range(len(instances))), tuple(problems))
