"""Hand a detected instance over to a stream, on the very frame that it was found on."""

from __future__ import annotations

from dataclasses import replace

from sam_core.concepts.matching import Decision, Instance, MatchRules, Verdict, concept_key, decide
from sam_core.concepts.sightings import SeenFrame, Sightings
from sam_core.errors import StampError
from sam_core.streaming import Prompt, Stream


def hand_over(
    stream: Stream, sightings: Sightings, frame: SeenFrame, instance: Instance, rules: MatchRules
) -> Decision:
    """Decide what an instance is, and let the stream track it if it is not tracked yet.

    The instance's mask becomes a mask prompt on the frame of its stamp: of a new object, labelled with the phrase, or
    of the lost one that was found again, which is renewed. The stream then carries the object through the frames since.
    To be called in the thread that owns the stream; of several instances of one frame the best score comes first.

    Args:
        stream: where objects are tracked.
        sightings: what was seen lately; takes in what becomes of this instance.
        frame: where the instance was found.
        instance: what was found.
        rules: when an instance is an object.

    Returns:
        The decision; its `object_id` is the object that the instance is tracked as, or None.

    Raises:
        StampError: the frame has left the stream's ring, or a newer one has the same stamp.
        CapacityError: a new object, but all places are taken; or too many corrections of earlier frames at once.
    """
    decision = decide(instance, sightings.known(stream.objects, frame), rules)
    if decision.verdict not in (Verdict.NEW, Verdict.FOUND_AGAIN):
        return decision
    if sightings.with_stamp(frame.stamp) not in (frame, None):
        raise StampError(f"Several frames have the stamp {frame.stamp}: the one that was searched cannot be named.")
    new = decision.verdict is Verdict.NEW
    prompt = Prompt(mask=instance.mask.full(), stamp=frame.stamp)
    result = stream.add_prompt(prompt, decision.object_id, instance.phrase if new else "", renew=not new)
    object_id = result.object_ids[0]
    # The detector's mask, not the tracker's coarser one: the same detection of a small thing must match it again.
    sightings.note(frame.stamp, object_id, instance.mask, concept_key(instance.phrase))
    return replace(decision, object_id=object_id)
