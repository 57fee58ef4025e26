"""The memory bank: preallocated tensors with one row for each version of an object.

Source of what is kept: SAM 2 (Ravi et al., 2024), section 4 "Memory bank": a FIFO of recent frames, the prompted
frames, and object pointers of both. Rows share nothing: each object has its own slots, frames and ages. What a row
holds is said by a `MemoryIndex`, which the bank does not keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from sam_core.devices import upload
from sam_core.streaming.memory.index import MemoryIndex, Slots
from sam_core.streaming.memory.policy import MemoryPolicy
from sam_core.streaming.network import MemoryTokens, TrackingNetwork

Memory = tuple[int, MemoryIndex]  # a row of the bank, and what it holds


@dataclass(frozen=True)
class _Selection:
    """What one object attends to: slots of its row, temporal positions of maps, and ages of pointers in frames."""

    spatial: list[int] = field(default_factory=list)
    t_pos: list[int] = field(default_factory=list)
    pointers: list[int] = field(default_factory=list)
    distances: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class MemoryIndices:
    """What B objects attend to on a frame, as int64 tensors on the bank's device.

    Attributes:
        rows: (B, 1) their rows.
        slots: (B, S) slots of spatial memories.
        t_pos: (1 or B, S) temporal positions of these; one line where all objects agree.
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

    def padded(self, count: int) -> MemoryIndices:
        """Repeat the last object until there are `count`; what all objects share stays one line."""
        here = self.rows.shape[0]
        index = torch.arange(count, device=self.rows.device).clamp(max=here - 1)
        return MemoryIndices(*(t if t.shape[0] != here or here == count else t[index] for t in self.tensors()))


@dataclass(frozen=True)
class MemoryBatches:
    """Objects in batches of equally many memories.

    Attributes:
        indices: of each batch.
        order: for each object, its position in the batches one after the other.
    """

    indices: tuple[MemoryIndices, ...]
    order: list[int]


class MemoryBank:
    """Memories of up to `max_objects` objects, of corrections under way, and of the prompt that is being answered.

    Spatial slots of a row: those of conditioning frames first, then a ring of recent ones. The ring holds one frame
    more than is attended to, so that a correction on the newest frame still finds the memories that this frame was
    tracked with, and has one more slot for the frame that is being written.

    Args:
        network: tells sizes and device.
        rows: number of rows.
        conditioning_slots: conditioning frames that a row keeps.
        dtype: how spatial memories are stored.
        policy: which frames are kept.
        max_pointer_distance: greatest age in frames that the pointer of a conditioning frame is given; None: no bound.
        pin_first: whether an object's first conditioning frame stays when there are too many.
        spare_conditioning: slots more for conditioning frames that are written into a row in use.
    """

    def __init__(
        self,
        network: TrackingNetwork,
        *,
        rows: int,
        conditioning_slots: int,
        dtype: torch.dtype,
        policy: MemoryPolicy,
        max_pointer_distance: int | None,
        pin_first: bool = True,
        spare_conditioning: int = 0,
    ) -> None:
        self._network = network
        self._policy = policy
        self._max_pointer_distance = max_pointer_distance
        self.rows = rows
        self.empty_index = MemoryIndex.empty(
            conditioning_slots,
            network.num_memories + policy.spare_memories,
            network.max_object_pointers,
            pin_first=pin_first,
            spare_conditioning=spare_conditioning,
        )
        empty = self.empty_index
        slots = len(empty.conditioning.frames) + len(empty.recent.frames)
        pointers = len(empty.conditioning.frames) + len(empty.pointers.frames)
        channels, *places = network.memory_shape
        device = network.device
        # (rows, slots, places, c): tokens, as memory attention reads them.
        self.spatial = torch.zeros(rows, slots, prod(places), channels, dtype=dtype, device=device)
        self.pointers = torch.zeros(rows, pointers, network.d_model, dtype=network.dtype, device=device)

    def copy(self, source: int, target: int) -> None:
        """Copy a row to another."""
        self.spatial[target].copy_(self.spatial[source])
        self.pointers[target].copy_(self.pointers[source])

    def write(self, rows: Sequence[int], slots: Sequence[Slots], spatial: Tensor | None, pointers: Tensor) -> None:
        """Write what B objects remember of a frame.

        Args:
            rows: B rows.
            slots: where it goes in each row.
            spatial: (B, *memory_shape); None if no object keeps it.
            pointers: (B, d).

        Raises:
            ValueError: an object keeps a spatial memory that was not made.
        """
        kept = [(source, row, at.spatial) for source, (row, at) in enumerate(zip(rows, slots, strict=True))]
        kept = [place for place in kept if place[2] is not None]
        if kept:
            if spatial is None:
                raise ValueError("The policy admits a frame that it did not consider.")
            target = upload(torch.tensor([place[1:] for place in kept]), spatial.device).unbind(1)
            chosen = spatial if len(kept) == len(rows) else spatial[[source for source, *_ in kept]]
            self.spatial.index_put_(target, chosen.to(self.spatial.dtype).flatten(2).transpose(1, 2))
        kept = [(source, row, at.pointer) for source, (row, at) in enumerate(zip(rows, slots, strict=True))]
        kept = [place for place in kept if place[2] is not None]
        if kept:
            target = upload(torch.tensor([place[1:] for place in kept]), pointers.device).unbind(1)
            chosen = pointers if len(kept) == len(rows) else pointers[[source for source, *_ in kept]]
            self.pointers.index_put_(target, chosen.to(self.pointers.dtype))

    def batches(self, memories: Sequence[Memory], now: int) -> MemoryBatches:
        """Split objects into batches whose memories before frame `now` line up."""
        batches: dict[tuple[int, int], list[int]] = {}
        for position, memory in enumerate(memories):
            chosen = self._select(memory[1], now)
            batches.setdefault((len(chosen.spatial), len(chosen.pointers)), []).append(position)
        order = [position for batch in batches.values() for position in batch]
        return MemoryBatches(
            tuple(self.indices([memories[i] for i in batch], now) for batch in batches.values()),
            sorted(range(len(order)), key=order.__getitem__),
        )

    def indices(self, memories: Sequence[Memory], now: int) -> MemoryIndices:
        """Return what these objects, one batch, attend to on frame `now`."""
        chosen = [self._select(index, now) for _, index in memories]
        t_pos = _shared_line([c.t_pos for c in chosen])
        distances = _shared_line([c.distances for c in chosen])
        rows = [[row] for row, _ in memories]
        tables = [rows, [c.spatial for c in chosen], t_pos, [c.pointers for c in chosen], distances]
        numbers = torch.tensor([number for table in tables for line in table for number in line])
        parts = upload(numbers, self.spatial.device).split([len(table) * len(table[0]) for table in tables])
        return MemoryIndices(*(part.view(len(table), -1) for part, table in zip(parts, tables, strict=True)))

    def read(self, indices: MemoryIndices) -> MemoryTokens:
        """Assemble memories for memory attention."""
        places = self._network.memory_shape[1:]
        return self._network.assemble_memory(
            self.spatial[indices.rows, indices.slots].transpose(2, 3).unflatten(3, places),
            indices.t_pos,
            self.pointers[indices.rows, indices.pointer_slots],
            indices.distances,
        )

    @property
    def attended(self) -> tuple[int, int]:
        """Spatial memories and pointers that an object of one conditioning frame attends to when all is full."""
        return self._network.num_memories, self._network.max_object_pointers

    @property
    def slots(self) -> int:
        """Spatial memories that fit."""
        return self.spatial.shape[0] * self.spatial.shape[1]

    @property
    def nbytes(self) -> int:
        """Size of the preallocated tensors in bytes."""
        return self.spatial.nbytes + self.pointers.nbytes

    def _select(self, index: MemoryIndex, now: int) -> _Selection:
        chosen, offset = _Selection(), len(index.conditioning.frames)
        conditioning, recent = index.conditioning.before(now), index.recent.before(now)
        for frame, place in self._policy.attend(now, conditioning, recent, self._network.num_memories):
            chosen.t_pos.append(place)
            if frame not in conditioning:
                chosen.spatial.append(offset + index.recent.slot_of(frame))
                continue
            slot = index.conditioning.slot_of(frame)
            chosen.spatial.append(slot)
            chosen.pointers.append(slot)
            chosen.distances.append(self._clamp(now - frame))
        for frame in reversed(index.pointers.before(now, reach=self._network.max_object_pointers - 1)):
            chosen.pointers.append(offset + index.pointers.slot_of(frame))
            chosen.distances.append(now - frame)
        return chosen

    def _clamp(self, distance: int) -> int:
        bound = self._max_pointer_distance
        return distance if bound is None else min(distance, bound)


def _shared_line(lines: list[list[int]]) -> list[list[int]]:
    """Keep one line where all are equal: encodings of time are then computed once."""
    return lines[:1] if all(line == lines[0] for line in lines) else lines
