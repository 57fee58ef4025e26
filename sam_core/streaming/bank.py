"""The memory bank: preallocated tensors, one row per object, and an index of what each slot holds.

Source of what is kept: SAM 2 (Ravi et al., 2024), section 4 "Memory bank": a FIFO of recent frames, the prompted
frames, and object pointers of both. Rows share nothing: each object has its own slots, frames and ages.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sam_core.devices import upload
from sam_core.sam2 import MemoryTokens, Sam2
from sam_core.streaming.policy import Observation
from sam_core.streaming.settings import StreamSettings

_EMPTY = -1


@dataclass
class _Ring:
    """Frame numbers of the slots of one kind in one row."""

    frames: list[int]

    @classmethod
    def of(cls, size: int) -> _Ring:
        return cls([_EMPTY] * size)

    def slot_for(self, frame: int, keep: int | None = None) -> int:
        """Return the slot of this frame, or of the oldest one (an empty one first), sparing slot `keep`."""
        if frame in self.frames:
            return self.frames.index(frame)
        slots = [slot for slot in range(len(self.frames)) if slot != keep or self.frames[slot] == _EMPTY]
        return min(slots or [0], key=self.frames.__getitem__)

    def forget(self, frame: int) -> None:
        if frame in self.frames:
            self.frames[self.frames.index(frame)] = _EMPTY

    def before(self, now: int, reach: int | None = None) -> list[int]:
        """Return stored frames before `now`, ascending; with `reach`, at most so many frames ago."""
        return sorted(f for f in self.frames if f != _EMPTY and f < now and (reach is None or now - f <= reach))

    @property
    def used(self) -> int:
        return sum(frame != _EMPTY for frame in self.frames)


@dataclass
class _Row:
    """Index of one object's memories: the slots of its row in the bank's tensors."""

    conditioning: _Ring
    recent: _Ring
    pointers: _Ring


@dataclass(frozen=True)
class _Selection:
    """What one object attends to: slots in its row, and their place in time."""

    spatial: list[int] = field(default_factory=list)
    t_pos: list[int] = field(default_factory=list)
    pointers: list[int] = field(default_factory=list)
    distances: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Places:
    """What B objects attend to on a frame, as int64 tensors on the bank's device.

    Attributes:
        rows: (B, 1) their rows.
        slots: (B, S) slots of spatial memories.
        t_pos: (1 or B, S) their places in time; one line where all objects agree.
        pointer_slots: (B, P) slots of object pointers.
        distances: (1 or B, P) how many frames ago each pointer was made.
    """

    rows: Tensor
    slots: Tensor
    t_pos: Tensor
    pointer_slots: Tensor
    distances: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """Return them in the order of the constructor."""
        return self.rows, self.slots, self.t_pos, self.pointer_slots, self.distances

    def padded(self, count: int) -> Places:
        """Repeat the last object until there are `count`; what all objects share stays one line."""
        here = self.rows.shape[0]
        index = torch.arange(count, device=self.rows.device).clamp(max=here - 1)
        return Places(*(t if t.shape[0] != here or here == count else t[index] for t in self.tensors()))


@dataclass(frozen=True)
class Groups:
    """Objects whose banks are unequally filled.

    Attributes:
        places: of each group of equally filled ones.
        order: where, in the groups one after the other, each object is.
    """

    places: tuple[Places, ...]
    order: list[int]


class MemoryBank:
    """Memories of up to `max_objects` objects, and of objects whose correction is under way.

    Spatial slots of a row: conditioning frames first, then a ring of recent ones. The ring has one slot more than is
    attended to, so that a correction on the newest frame still finds the memories that frame was tracked with.

    Args:
        model: tells sizes and device.
        settings: tells bounds and dtype.
    """

    def __init__(self, model: Sam2, settings: StreamSettings) -> None:
        self._model = model
        self._settings = settings
        self._num_conditioning = settings.conditioning_slots
        self._num_recent = model.num_memories
        rows = settings.max_objects + settings.max_corrections
        side, device = model.feature_size, model.device
        slots = self._num_conditioning + self._num_recent
        pointer_slots = self._num_conditioning + model.max_object_pointers
        # Tokens, (rows, slots, h * w, c), are what memory attention reads.
        self.spatial = torch.zeros(rows, slots, side**2, model.memory_dim, dtype=settings.memory_dtype, device=device)
        self.pointers = torch.zeros(rows, pointer_slots, model.d_model, dtype=model.dtype, device=device)
        self._rows: list[_Row | None] = [None] * rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def allocate(self) -> int | None:
        """Take a free row; None where all are taken."""
        for row, index in enumerate(self._rows):
            if index is None:
                self._rows[row] = _Row(
                    conditioning=_Ring.of(self._num_conditioning),
                    recent=_Ring.of(self._num_recent),
                    pointers=_Ring.of(self._model.max_object_pointers),
                )
                return row
        return None

    def free(self, row: int) -> None:
        """Give a row back."""
        self._rows[row] = None

    def copy(self, source: int, target: int, before: int) -> None:
        """Copy to row `target` what row `source` holds of frames before a number."""
        self.spatial[target].copy_(self.spatial[source])
        self.pointers[target].copy_(self.pointers[source])
        self._rows[target] = deepcopy(self._row(source))
        self.forget_from(target, before)

    def forget_from(self, row: int, frame: int) -> None:
        """Forget what a row holds of this frame and later ones."""
        index = self._row(row)
        for ring in (index.conditioning, index.recent, index.pointers):
            ring.frames = [_EMPTY if held >= frame else held for held in ring.frames]

    def write(
        self,
        rows: Sequence[int],
        spatial: Tensor | None,
        pointers: Tensor,
        observations: Sequence[Observation],
        *,
        conditioning: bool,
    ) -> None:
        """Store what was seen on a frame; a second writing of the same frame replaces the first.

        Args:
            rows: B rows.
            spatial: (B, c, h, w); None for a frame that the policy does not consider.
            pointers: (B, d).
            observations: B of them, one frame each; the policy decides on non-conditioning frames.
            conditioning: whether these are conditioning frames.
        """
        from_spatial, to_spatial = [], []
        to_pointer = []
        for source, (row, seen) in enumerate(zip(rows, observations, strict=True)):
            index = self._row(row)
            if conditioning:
                slot = index.conditioning.slot_for(seen.frame, keep=0)
                index.conditioning.frames[slot] = seen.frame
                index.recent.forget(seen.frame)
                index.pointers.forget(seen.frame)
                from_spatial.append(source)
                to_spatial.append((row, slot))
                to_pointer.append((row, slot))
                continue
            if self._settings.policy.admits(seen):
                slot = index.recent.slot_for(seen.frame)
                index.recent.frames[slot] = seen.frame
                from_spatial.append(source)
                to_spatial.append((row, self._num_conditioning + slot))
            else:
                index.recent.forget(seen.frame)
            slot = index.pointers.slot_for(seen.frame)
            index.pointers.frames[slot] = seen.frame
            to_pointer.append((row, self._num_conditioning + slot))
        if to_spatial:
            if spatial is None:
                raise ValueError("The policy admits a frame that it did not consider.")
            target = upload(torch.tensor(to_spatial), spatial.device).unbind(1)
            chosen = (spatial if len(from_spatial) == len(rows) else spatial[from_spatial]).to(self.spatial.dtype)
            self.spatial.index_put_(target, chosen.flatten(2).transpose(1, 2))
        target = upload(torch.tensor(to_pointer), pointers.device).unbind(1)
        self.pointers.index_put_(target, pointers.to(self.pointers.dtype))

    def groups(self, rows: Sequence[int], now: int) -> Groups:
        """Split rows into groups whose memories, before frame `now`, line up as one batch."""
        groups: dict[tuple[int, int], list[int]] = {}
        for position, row in enumerate(rows):
            chosen = self._select(row, now)
            groups.setdefault((len(chosen.spatial), len(chosen.pointers)), []).append(position)
        order = [position for group in groups.values() for position in group]
        return Groups(
            tuple(self.places([rows[i] for i in group], now) for group in groups.values()),
            sorted(range(len(order)), key=order.__getitem__),
        )

    def places(self, rows: Sequence[int], now: int) -> Places:
        """Return where what these rows (one group) attend to on frame `now` lies, and how old it is."""
        chosen = [self._select(row, now) for row in rows]
        t_pos = _shared_rows([c.t_pos for c in chosen])
        distances = _shared_rows([c.distances for c in chosen])
        tables = [[[row] for row in rows], [c.spatial for c in chosen], t_pos, [c.pointers for c in chosen], distances]
        numbers = torch.tensor([number for table in tables for line in table for number in line])
        parts = upload(numbers, self.spatial.device).split([len(table) * len(table[0]) for table in tables])
        return Places(*(part.view(len(table), -1) for part, table in zip(parts, tables, strict=True)))

    def read(self, places: Places) -> MemoryTokens:
        """Assemble memories."""
        side = self._model.feature_size
        return self._model.assemble_memory(
            self.spatial[places.rows, places.slots].transpose(2, 3).unflatten(3, (side, side)),
            places.t_pos,
            self.pointers[places.rows, places.pointer_slots],
            places.distances,
        )

    @property
    def attended(self) -> tuple[int, int]:
        """Spatial memories and pointers that an object of one conditioning frame attends to when all is full."""
        return self._model.num_memories, self._model.max_object_pointers

    @property
    def slots_used(self) -> int:
        """Spatial memories that hold something."""
        return sum(row.conditioning.used + row.recent.used for row in self._rows if row is not None)

    @property
    def slots(self) -> int:
        """Spatial memories that fit."""
        return self.spatial.shape[0] * self.spatial.shape[1]

    @property
    def nbytes(self) -> int:
        """Size of the preallocated tensors in bytes."""
        return self.spatial.nbytes + self.pointers.nbytes

    def _row(self, row: int) -> _Row:
        index = self._rows[row]
        if index is None:
            raise IndexError(f"row {row} of the memory bank is free")
        return index

    def _select(self, row: int, now: int) -> _Selection:
        index, chosen = self._row(row), _Selection()
        for frame in index.conditioning.before(now):
            slot = index.conditioning.frames.index(frame)
            chosen.spatial.append(slot)
            chosen.t_pos.append(0)
            chosen.pointers.append(slot)
            chosen.distances.append(self._clamp(now - frame))
        stored = index.recent.before(now)
        for frame, place in self._settings.policy.place_in_time(now, stored, self._model.num_memories):
            chosen.spatial.append(self._num_conditioning + index.recent.frames.index(frame))
            chosen.t_pos.append(place)
        for frame in reversed(index.pointers.before(now, reach=self._model.max_object_pointers - 1)):
            chosen.pointers.append(self._num_conditioning + index.pointers.frames.index(frame))
            chosen.distances.append(now - frame)
        return chosen

    def _clamp(self, distance: int) -> int:
        bound = self._settings.max_pointer_distance
        return distance if bound is None else min(distance, bound)


def _shared_rows(rows: list[list[int]]) -> list[list[int]]:
    """Keep one row where all are equal: encodings of time are then computed once."""
    return rows[:1] if all(row == rows[0] for row in rows) else rows
