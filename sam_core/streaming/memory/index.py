"""Which frames an object's memories are of: the bookkeeping of the memory bank, as immutable values.

A new index is derived from an old one; nothing is changed in place. So a step or a prompt can write tensors into slots
that no current index names, and take effect by one exchange of references at the end, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_FREE = -1


@dataclass(frozen=True)
class SlotTable:
    """Frame numbers of the slots of one kind in one row of the bank.

    Attributes:
        frames: of each slot the number of the frame that it holds, -1 for a free slot.
        capacity: frames held at most. With one slot more than that, a write never hits a slot that is in use.
    """

    frames: tuple[int, ...]
    capacity: int

    @classmethod
    def empty(cls, capacity: int, spare: int = 0) -> SlotTable:
        """Return a table of `capacity` + `spare` free slots."""
        return cls((_FREE,) * (capacity + spare), capacity)

    def store(self, frame: int, pinned: int | None = None, dropped: int | None = None) -> tuple[SlotTable, int]:
        """Give a frame a slot: a free one, else its own, else that of the oldest frame.

        Args:
            frame: number of the frame.
            pinned: a frame that does not give way, if another can.
            dropped: a frame that gives way in any case; its slot is not the one that is given, for whoever has the old
                table may still read it.

        Returns:
            The new table, in which the oldest frame beyond the capacity is dropped, and the slot.
        """
        frames = list(self.frames)
        if _FREE in frames:
            slot = frames.index(_FREE)
        elif frame in frames:
            slot = frames.index(frame)
        else:
            slot = frames.index(min((f for f in frames if f != pinned), default=frames[0]))
        frames = [_FREE if held in (frame, dropped) else held for held in frames]
        frames[slot] = frame
        held = [f for f in frames if f != _FREE]
        if len(held) > self.capacity:
            frames[frames.index(min(f for f in held if f != pinned))] = _FREE
        return replace(self, frames=tuple(frames)), slot

    def forget(self, frame: int) -> SlotTable:
        """Return a table without a frame."""
        return replace(self, frames=tuple(_FREE if held == frame else held for held in self.frames))

    def forget_from(self, frame: int) -> SlotTable:
        """Return a table without this frame and later ones."""
        return replace(self, frames=tuple(_FREE if held >= frame else held for held in self.frames))

    def just_before(self, now: int) -> SlotTable:
        """Return a table of the same memories that stand before frame `now`, one frame apart; none at the free mark."""
        order = sorted((held for held in self.frames if held != _FREE), reverse=True)
        numbers = [number if number >= 0 else number - 1 for number in range(now - 1, now - 1 - len(order), -1)]
        moved = dict(zip(order, numbers, strict=True))
        return replace(self, frames=tuple(moved.get(held, _FREE) for held in self.frames))

    def before(self, now: int, reach: int | None = None) -> list[int]:
        """Return the held frames before `now`, ascending; with `reach`, at most so many frames ago."""
        return sorted(f for f in self.frames if f != _FREE and f < now and (reach is None or now - f <= reach))

    def slot_of(self, frame: int) -> int:
        """Return the slot of a frame that is held."""
        return self.frames.index(frame)

    @property
    def used(self) -> int:
        """Number of frames held."""
        return sum(frame != _FREE for frame in self.frames)


@dataclass(frozen=True)
class Slots:
    """Where the memory of one frame goes, in an object's row of the bank.

    Attributes:
        spatial: slot of the spatial memory; None where it is not kept.
        pointer: slot of the object pointer; None where it is not kept.
    """

    spatial: int | None
    pointer: int | None


@dataclass(frozen=True)
class MemoryIndex:
    """Index of one object's memories.

    Slots are numbered as they lie in the bank's tensors: first those of conditioning frames, then recent ones.

    Attributes:
        conditioning: of conditioning frames.
        recent: of other frames' spatial memories.
        pointers: of other frames' object pointers.
        pin_first: whether the first conditioning frame stays when there are too many; else the oldest leaves.
    """

    conditioning: SlotTable
    recent: SlotTable
    pointers: SlotTable
    pin_first: bool = True

    @classmethod
    def empty(
        cls, conditioning: int, recent: int, pointers: int, *, pin_first: bool = True, spare_conditioning: int = 0
    ) -> MemoryIndex:
        """Return an index that holds nothing.

        Conditioning frames of prompts are written into a row that nobody reads yet, and need no spare slot; those of
        tracked frames are written into a row in use, and need one.
        """
        return cls(
            SlotTable.empty(conditioning, spare=spare_conditioning),
            SlotTable.empty(recent, spare=1),
            SlotTable.empty(pointers, spare=1),
            pin_first,
        )

    def forget_from(self, frame: int) -> MemoryIndex:
        """Return an index without this frame and later ones."""
        return MemoryIndex(
            self.conditioning.forget_from(frame),
            self.recent.forget_from(frame),
            self.pointers.forget_from(frame),
            self.pin_first,
        )

    def just_before(self, now: int) -> MemoryIndex:
        """Return an index of the conditioning frames alone, as if they were the frames just before frame `now`."""
        free = (_FREE,)
        return MemoryIndex(
            self.conditioning.just_before(now),
            replace(self.recent, frames=free * len(self.recent.frames)),
            replace(self.pointers, frames=free * len(self.pointers.frames)),
            self.pin_first,
        )

    def remember(
        self, frame: int, *, conditioning: bool, spatial: bool, pointer: bool = True, dropped: int | None = None
    ) -> tuple[MemoryIndex, Slots]:
        """Give a frame its slots.

        Args:
            frame: number of the frame.
            conditioning: whether it is a conditioning frame, which is kept as long as there is room; see `pin_first`.
            spatial: whether its spatial memory is kept; a conditioning frame's always is.
            pointer: whether its object pointer is kept; a conditioning frame's always is.
            dropped: a frame whose spatial memory gives way, if it is not a conditioning frame.
        """
        offset = len(self.conditioning.frames)
        recent, pointers = self.recent.forget(frame), self.pointers.forget(frame)
        if conditioning:
            first = min(self.conditioning.before(frame), default=frame) if self.pin_first else None
            table, slot = self.conditioning.store(frame, pinned=first)
            return MemoryIndex(table, _without(recent, dropped), pointers, self.pin_first), Slots(slot, slot)
        place = None
        if spatial:
            recent, place = self.recent.store(frame, dropped=dropped)
        else:
            recent = _without(recent, dropped)
        pointed = None
        if pointer:
            pointers, pointed = self.pointers.store(frame)
        index = replace(self, recent=recent, pointers=pointers)
        return index, Slots(*(None if slot is None else offset + slot for slot in (place, pointed)))

    @property
    def spatial_used(self) -> int:
        """Spatial memories that are held."""
        return self.conditioning.used + self.recent.used


def _without(table: SlotTable, frame: int | None) -> SlotTable:
    return table if frame is None else table.forget(frame)
