"""The bookkeeping of the memory bank: which frame lies in which slot, without any tensor."""

from __future__ import annotations

import random

import pytest

from sam_core.streaming.memory import MemoryIndex, Slots, SlotTable


def filled(table: SlotTable, *frames: int, pinned: int | None = None) -> SlotTable:
    for frame in frames:
        table, _ = table.store(frame, pinned)
    return table


def held(table: SlotTable) -> list[int]:
    return table.before(10**9)


def test_frames_take_free_slots_in_turn() -> None:
    table, slot = SlotTable.empty(3).store(5)
    assert (slot, held(table), table.used) == (0, [5], 1)
    table, slot = table.store(9)
    assert (slot, held(table), table.used) == (1, [5, 9], 2)
    assert (table.slot_of(5), table.slot_of(9)) == (0, 1)


def test_the_oldest_frame_gives_way() -> None:
    table = filled(SlotTable.empty(3), 1, 2, 3)
    after, slot = table.store(4)
    assert slot == table.slot_of(1)
    assert held(after) == [2, 3, 4]
    assert held(table) == [1, 2, 3], "a table is a value: the old one is as it was"


def test_a_pinned_frame_does_not_give_way() -> None:
    table = filled(SlotTable.empty(3), 1, 2, 3)
    after, slot = table.store(4, pinned=1)
    assert slot == table.slot_of(2)
    assert held(after) == [1, 3, 4]


def test_a_pinned_frame_gives_way_where_no_other_can() -> None:
    table, slot = filled(SlotTable.empty(1), 1).store(4, pinned=1)
    assert (slot, held(table)) == (0, [4])


def test_a_frame_that_is_stored_again_is_held_once() -> None:
    table = filled(SlotTable.empty(3), 1, 2, 3)
    again, slot = table.store(2)
    assert (slot, again) == (table.slot_of(2), table)
    spare = filled(SlotTable.empty(3, spare=1), 1, 2, 3)
    again, slot = spare.store(2)
    assert slot == 3, "the free slot, so that what is held can still be read"
    assert held(again) == [1, 2, 3]
    assert again.slot_of(2) == 3


@pytest.mark.parametrize("pinned", [None, 0])
def test_with_a_spare_slot_no_write_hits_a_held_frame(pinned: int | None) -> None:
    table = SlotTable.empty(4, spare=1)
    for frame in range(20):
        before = table
        table, slot = table.store(frame, pinned)
        assert before.frames[slot] == -1
        assert table.used == min(frame + 1, 4)
    assert held(table) == ([16, 17, 18, 19] if pinned is None else [0, 17, 18, 19])


def test_frames_are_forgotten_one_by_one_or_from_one_on() -> None:
    table = filled(SlotTable.empty(4), 1, 4, 6, 9)
    assert held(table.forget(4)) == [1, 6, 9]
    assert table.forget(5) == table
    assert held(table.forget_from(6)) == [1, 4]
    assert table.forget_from(10) == table
    assert table.forget_from(0).used == 0


def test_frames_before_a_frame_may_be_bounded_in_age() -> None:
    table = filled(SlotTable.empty(4), 9, 1, 6, 4)
    assert table.before(9) == [1, 4, 6]
    assert table.before(9, reach=5) == [4, 6]
    assert table.before(1) == []


def test_a_table_does_what_a_plain_list_does() -> None:
    """Random stores and forgets against a sorted list of at most `capacity` frames."""
    rng = random.Random(0)
    for _ in range(60):
        capacity, spare = rng.randint(1, 5), rng.randint(0, 1)
        table, model = SlotTable.empty(capacity, spare), []
        for _ in range(40):
            frame, before = rng.randint(0, 12), table
            kind = rng.choice(("store", "store", "store", "pinned", "forget", "forget_from"))
            if kind == "forget":
                table, model = table.forget(frame), [f for f in model if f != frame]
            elif kind == "forget_from":
                table, model = table.forget_from(frame), [f for f in model if f < frame]
            else:
                pinned = min(model, default=frame) if kind == "pinned" else None
                table, slot = table.store(frame, pinned)
                model = expected_after_store(model, frame, capacity, pinned, spare)
                if frame in model:
                    assert table.slot_of(frame) == slot
                if spare:
                    assert before.frames[slot] == -1
                kept = [f for f in model if f != frame]
                assert [table.slot_of(f) for f in kept] == [before.slot_of(f) for f in kept], "nothing moves"
            assert held(table) == model
            assert table.used == len(model) <= capacity
            assert len(table.frames) == capacity + spare


def expected_after_store(frames: list[int], frame: int, capacity: int, pinned: int | None, spare: int) -> list[int]:
    """Return what is held after a store: the oldest of too many frames leaves, but not a pinned one if another can.

    Without a spare slot the new frame takes the place of an older one, and so stays, however old it is itself. With one
    it may itself be the oldest, and be dropped at once.
    """
    others = [f for f in frames if f != frame]
    if len(others) < capacity:
        return sorted([*others, frame])
    leaving = [f for f in (others if not spare else [*others, frame]) if f != pinned] or others
    return sorted(f for f in (*others, frame) if f != min(leaving))


# --- What an object holds ---------------------------------------------------------------------------------------------


def test_an_index_numbers_slots_as_they_lie_in_the_bank() -> None:
    """First the slots of conditioning frames, then recent ones."""
    empty = MemoryIndex.empty(conditioning=2, recent=3, pointers=4)
    assert empty.spatial_used == 0
    index, slots = empty.remember(0, conditioning=True, spatial=True)
    assert slots == Slots(0, 0)
    index, slots = index.remember(1, conditioning=False, spatial=True)
    assert slots == Slots(2, 2)
    index, slots = index.remember(2, conditioning=False, spatial=False)
    assert slots == Slots(None, 3), "the pointer is kept of every frame"
    assert index.spatial_used == 2
    assert (held(index.conditioning), held(index.recent), held(index.pointers)) == ([0], [1], [1, 2])


def test_a_conditioning_frame_replaces_what_was_kept_of_that_frame() -> None:
    index = MemoryIndex.empty(2, 3, 4)
    for frame in range(3):
        index, _ = index.remember(frame, conditioning=frame == 0, spatial=True)
    index, slots = index.remember(2, conditioning=True, spatial=False)
    assert slots == Slots(1, 1)
    assert (held(index.conditioning), held(index.recent), held(index.pointers)) == ([0, 2], [1], [1])


def test_the_first_conditioning_frame_stays_for_good() -> None:
    index = MemoryIndex.empty(2, 3, 4)
    for frame in (0, 5, 9, 14):
        index, _ = index.remember(frame, conditioning=True, spatial=True)
    assert held(index.conditioning) == [0, 14]


def test_an_index_is_cut_off_before_a_frame() -> None:
    index = MemoryIndex.empty(2, 3, 4)
    for frame in range(6):
        index, _ = index.remember(frame, conditioning=frame in (0, 4), spatial=True)
    cut = index.forget_from(4)
    assert (held(cut.conditioning), held(cut.recent), held(cut.pointers)) == ([0], [2, 3], [1, 2, 3])
    assert held(index.conditioning) == [0, 4], "an index is a value: the old one is as it was"


def test_while_tracking_no_write_hits_what_an_index_holds() -> None:
    """So a step that fails after its write leaves all memories that its index names."""
    rng = random.Random(1)
    index, _ = MemoryIndex.empty(1, 7, 16).remember(0, conditioning=True, spatial=True)
    for frame in range(1, 60):
        before = index
        index, slots = index.remember(frame, conditioning=False, spatial=rng.random() < 0.5)
        if slots.spatial is not None:
            assert before.recent.frames[slots.spatial - 1] == -1
        assert before.pointers.frames[slots.pointer - 1] == -1
    assert index.spatial_used == 8
    assert held(index.pointers) == list(range(44, 60))


# --- Details of the bookkeeping ---------------------------------------------------------------------------------------


def test_a_dropped_frame_gives_way_but_its_slot_is_not_the_one_that_is_given() -> None:
    """Whoever has the old table may still read it."""
    table = filled(SlotTable.empty(3, spare=1), 1, 2, 3)
    after, slot = table.store(4, dropped=2)
    assert (slot, held(after)) == (3, [1, 3, 4])
    assert after.frames == (1, -1, 3, 4)
    full = filled(SlotTable.empty(2), 1, 2)
    after, slot = full.store(4, dropped=2)
    assert (slot, after.frames) == (0, (4, -1))


def test_without_a_spare_slot_the_pinned_frame_is_passed_over_also_in_a_full_table() -> None:
    table = filled(SlotTable.empty(2), 1, 5)
    assert table.store(9, pinned=1)[0].frames == (1, 9)
    assert table.store(9, pinned=5)[0].frames == (9, 5)


def test_the_oldest_but_the_pinned_one_leaves_a_table_with_a_spare_slot() -> None:
    table = filled(SlotTable.empty(2, spare=1), 1, 5)
    assert table.store(9, pinned=1)[0].frames == (1, -1, 9)
    assert table.store(9)[0].frames == (-1, 5, 9)
    assert table.store(0)[0].frames == (1, 5, -1), "the frame itself may be the oldest"


def test_memories_may_be_moved_to_just_before_a_frame() -> None:
    table = filled(SlotTable.empty(3), 9, 1, 6)
    assert table.just_before(40).frames == (39, 37, 38), "in their order, one frame apart"
    assert table.just_before(2).frames == (1, -2, 0), "-1 is the mark of a free slot"
    assert filled(SlotTable.empty(3), 4).just_before(40).frames == (39, -1, -1)
    assert filled(SlotTable.empty(2), 4, 7).just_before(0).frames == (-3, -2)


def test_the_reach_is_counted_from_the_frame_that_is_asked_for() -> None:
    table = filled(SlotTable.empty(3), 0, 4, 5)
    assert table.before(5, reach=5) == [0, 4]
    assert table.before(5, reach=4) == [4]
    assert table.before(5, reach=0) == []
    assert table.before(6) == [0, 4, 5]


def test_an_index_has_spare_slots_where_rows_in_use_are_written() -> None:
    index = MemoryIndex.empty(2, 3, 4)
    tables = (index.conditioning, index.recent, index.pointers)
    assert [(len(table.frames), table.capacity) for table in tables] == [(2, 2), (4, 3), (5, 4)]
    assert index.pin_first
    spare = MemoryIndex.empty(2, 3, 4, pin_first=False, spare_conditioning=1)
    assert (len(spare.conditioning.frames), spare.conditioning.capacity, spare.pin_first) == (3, 2, False)


def test_an_index_that_pins_nothing_keeps_the_newest_conditioning_frames() -> None:
    index = MemoryIndex.empty(2, 3, 4, pin_first=False)
    for frame in (0, 5, 9):
        index, _ = index.remember(frame, conditioning=True, spatial=True)
    assert held(index.conditioning) == [5, 9]
    assert not index.forget_from(9).pin_first
    assert not index.just_before(40).pin_first


def test_of_an_object_that_is_looked_for_conditioning_frames_alone_are_held() -> None:
    index = MemoryIndex.empty(2, 3, 4)
    for frame in range(5):
        index, _ = index.remember(frame, conditioning=frame in (0, 3), spatial=True)
    moved = index.just_before(40)
    assert (held(moved.conditioning), held(moved.recent), held(moved.pointers)) == ([38, 39], [], [])
    assert (len(moved.recent.frames), len(moved.pointers.frames)) == (4, 5), "room is left for others"


def test_a_frame_whose_memory_is_not_kept_may_still_make_another_give_way() -> None:
    index = MemoryIndex.empty(1, 3, 4)
    for frame in (0, 1, 2):
        index, _ = index.remember(frame, conditioning=frame == 0, spatial=True)
    neither, slots = index.remember(3, conditioning=False, spatial=False, pointer=False, dropped=1)
    assert (slots, held(neither.recent), held(neither.pointers)) == (Slots(None, None), [2], [1, 2])
    kept, slots = index.remember(3, conditioning=False, spatial=True, pointer=False, dropped=1)
    assert (slots, held(kept.recent), held(kept.pointers)) == (Slots(3, None), [2, 3], [1, 2])
    pinned, slots = index.remember(3, conditioning=True, spatial=True, dropped=1)
    assert (slots, held(pinned.conditioning), held(pinned.recent)) == (Slots(0, 0), [3], [2])


def test_a_frame_that_is_remembered_again_is_not_held_twice() -> None:
    index = MemoryIndex.empty(1, 3, 4)
    for frame in (0, 1, 1):
        index, _ = index.remember(frame, conditioning=frame == 0, spatial=True)
    assert (held(index.recent), held(index.pointers)) == ([1], [1])
    index, _ = index.remember(1, conditioning=False, spatial=False)
    assert (held(index.recent), held(index.pointers)) == ([], [1])
