"""Let a stream track a detected instance, from the very frame on which it was found."""

from __future__ import annotations

from dataclasses import replace

from sam_core.association.matching import Association, Decision, Instance, MatchRules, associate, concept_key
from sam_core.association.track_history import TrackHistory
from sam_core.streaming import Frame, Prompt, Stream


def track_instance(
    stream: Stream, tracks: TrackHistory, frame: Frame, instance: Instance, rules: MatchRules
) -> Decision:
    """Associate an instance with the stream's objects, and track it if it is not tracked yet.

    The instance's mask becomes a mask prompt on its frame: of a new object, labelled with the phrase, or of the lost
    one that was found again, which is renewed. The stream then carries the object through the frames since. To be
    called in the thread that owns the stream; of several instances of one frame the best score comes first.

    Args:
        stream: where objects are tracked.
        tracks: facts about its objects; takes in what becomes of this instance.
        frame: where the instance was found.
        instance: what was found.
        rules: when an instance is an object.

    Returns:
        The decision; its `object_id` is the object that the instance is tracked as, or None.

    Raises:
        StampError: the frame has left the stream's history.
        CapacityError: a new object, but all places are taken; or too many corrections of earlier frames at once.
    """
    decision = associate(instance, tracks.known(stream, frame), rules)
    if decision.association not in (Association.NEW, Association.REIDENTIFIED):
        return decision
    new = decision.association is Association.NEW
    prompt = Prompt(mask=instance.mask.full(), frame=frame.number)
    result = stream.add_prompt(prompt, decision.object_id, instance.phrase if new else "", renew=not new)
    object_id = result.object_ids[0]
    tracks.found(object_id, concept_key(instance.phrase), instance.mask)
    return replace(decision, object_id=object_id)
