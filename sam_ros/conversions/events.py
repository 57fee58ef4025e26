"""From what happened to an object to a message."""

from __future__ import annotations

from sam_msgs.msg import ObjectEvent as EventMessage
from std_msgs.msg import Header

from sam_core.association import EventKind, ObjectEvent
from sam_ros.conversions.stamps import to_time

__all__ = ["event_message"]

_KINDS = {
    EventKind.APPEARED: EventMessage.APPEARED,
    EventKind.CONFIRMED: EventMessage.CONFIRMED,
    EventKind.OCCLUDED: EventMessage.OCCLUDED,
    EventKind.LOST: EventMessage.LOST,
    EventKind.FOUND: EventMessage.FOUND,
    EventKind.MERGED: EventMessage.MERGED,
    EventKind.REMOVED: EventMessage.REMOVED,
}


def event_message(event: ObjectEvent, header: Header, sequence: int) -> EventMessage:
    """Return an event as a message.

    Args:
        event: What happened; stamps are in ns.
        header: Header of the image in which it was noticed.
        sequence: Number of the event.
    """
    standing = event.standing
    return EventMessage(
        header=header,
        sequence=sequence,
        kind=_KINDS[event.kind],
        id=event.object_id,
        other_id=event.other_id,
        label=standing.label,
        concept=standing.concept,
        reason=event.reason,
        last_seen=to_time(standing.last_seen or 0),
    )
