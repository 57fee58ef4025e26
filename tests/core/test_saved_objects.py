"""Objects as files: what comes back, what is refused, and how the stream looks for a loaded one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from sam_core import CapacityError, ObjectIdError, Prompt, SavedObjectError, Tracker, TrackState, build_tracker
from sam_core.saved_objects import (
    check_fit,
    from_bytes,
    load_object,
    recall,
    remove_leftovers,
    save_object,
    saved_from,
    to_bytes,
    write_file,
)
from sam_core.saved_objects.format import LARGEST_FILE
from sam_core.streaming import Stream, TrackRules
from tests.core.pattern import frame

CLICK = Prompt(points=[[60, 45]], labels=[1])
BOX = Prompt(box=[20, 10, 70, 60])


def followed(tracker: Tracker, frames: int = 4, **settings: Any) -> Stream:
    """Return a stream with a cup and a bowl."""
    stream = tracker.open_stream(max_objects=4, **settings)
    for number in range(frames):
        stream.step(frame(number), number)
        if number == 0:
            stream.add_prompt(CLICK, label="cup")
            stream.add_prompt(BOX, label="bowl")
    return stream


@pytest.fixture(scope="module")
def stream(micro_tracker: Tracker) -> Stream:
    return followed(micro_tracker)


@pytest.fixture
def cup(micro_tracker: Tracker, stream: Stream, tmp_path: Path) -> Path:
    path = tmp_path / "cup.safetensors"
    save_object(path, micro_tracker, stream, 1, concept="yellow cup")
    return path


def test_what_is_saved_is_what_is_read(micro_tracker: Tracker, stream: Stream) -> None:
    saved = saved_from(micro_tracker, stream, 1, "yellow cup")
    read = from_bytes(to_bytes(saved))
    assert vars(replace(read, memory=saved.memory)) == vars(saved)
    assert (read.memory.label, read.image_size, read.side) == ("cup", frame(0).shape[:2], micro_tracker.image_size)
    assert torch.equal(read.memory.spatial, saved.memory.spatial)
    assert torch.equal(read.memory.pointers, saved.memory.pointers)
    assert len(to_bytes(saved)) < 2**20


@pytest.mark.parametrize("seen_before", [0, 1, 2, 5])
def test_a_loaded_object_is_tracked_as_if_it_had_been_prompted_just_before(
    micro_tracker: Tracker, cup: Path, seen_before: int
) -> None:
    """However long it is looked for: its memory is that of a prompt on the frame before, and it learns no absence."""
    fresh = micro_tracker.open_stream(max_objects=4)
    fresh.step(frame(0), 0)
    fresh.add_prompt(CLICK)
    expected = fresh.step(frame(9), 1).mask_logits[0]

    other = micro_tracker.open_stream(max_objects=4, track_rules=TrackRules(found_after=100))
    for number in range(seen_before):
        other.step(frame(20 + number), number)
    assert load_object(cup, micro_tracker, other) == 1
    distance_of_first = 2 if seen_before == 0 else 1  # before the first frame there is no number for "just before"
    for number in range(seen_before, seen_before + 3):
        result = other.step(frame(9), number)
        if number - seen_before or distance_of_first == 1:
            torch.testing.assert_close(result.mask_logits[0], expected, rtol=1e-4, atol=1e-4)
    assert result.statuses[1].state is TrackState.LOST
    assert other.report().spatial_slots_used == 1


def test_a_loaded_object_is_lost_until_it_is_found_and_then_remembers(micro_tracker: Tracker, cup: Path) -> None:
    other = micro_tracker.open_stream(max_objects=4)
    load_object(cup, micro_tracker, other)
    (info,) = other.objects
    assert (info.label, info.status.state, info.status.awaited, info.state.value) == (
        "cup",
        TrackState.LOST,
        True,
        "absent",
    )
    states, used = [], []
    for number in range(4):
        states.append(other.step(frame(number), number).statuses[1].state)
        used.append(other.report().spatial_slots_used)
    assert states == [TrackState.LOST] + [TrackState.TRACKED] * 3, "random weights see it in every image"
    assert used == [1, 2, 3, 4]
    assert other.objects[0].status.last_seen == 3


@pytest.mark.parametrize("steps", [1, 3])
def test_a_prompt_on_a_loaded_object_corrects_it(micro_tracker: Tracker, cup: Path, steps: int) -> None:
    other = micro_tracker.open_stream(max_objects=4, track_rules=TrackRules(found_after=100))
    other.step(frame(0), 0)
    load_object(cup, micro_tracker, other)
    for number in range(1, steps):
        other.step(frame(number), number)
    answer = other.add_prompt(CLICK, object_id=1)
    assert answer.statuses[1].state is TrackState.TRACKED
    assert other.step(frame(9), 9).statuses[1].awaited is False
    assert other.report().spatial_slots_used >= 2, "the saved memory, the prompt's frame"


@pytest.mark.parametrize("found_after", [100, 2], ids=["still looked for", "found again"])
@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_late_prompt_on_a_loaded_object_keeps_what_was_saved(
    micro_tracker: Tracker, cup: Path, late: int, found_after: int
) -> None:
    """Clicks are made on an image that is some frames old, and that may be from before the object was loaded."""
    saved = from_bytes(cup.read_bytes()).memory
    other = micro_tracker.open_stream(max_objects=4, track_rules=TrackRules(found_after=found_after))
    for number in range(3):
        other.step(frame(number), number)
    load_object(cup, micro_tracker, other)
    for number in range(3, 6):
        other.step(frame(number), number)

    answer = other.add_prompt(replace(CLICK, frame=5 - late), object_id=1)
    again = other.add_prompt(replace(CLICK, frame=max(0, 4 - late)), object_id=1)  # and one on an earlier frame still

    assert (answer.object_ids, again.object_ids) == ((1,), (1,))
    for number in range(6, 12):
        other.step(frame(number), number)
    (info,) = other.objects
    assert (info.phase.value, info.status.awaited) == ("shown", False)
    kept = other.memory_of(1)
    assert torch.equal(kept.spatial[:1], saved.spatial)
    assert torch.equal(kept.pointers[:1], saved.pointers)


def test_a_late_prompt_is_answered_with_what_was_saved(micro_tracker: Tracker, cup: Path) -> None:
    """On the frame after the loading, and a frame late: the answer is the same."""
    answers = []
    for seen_since in (0, 1):
        other = micro_tracker.open_stream(max_objects=4, track_rules=TrackRules(found_after=100))
        other.step(frame(0), 0)
        load_object(cup, micro_tracker, other)
        other.step(frame(1), 1)
        for number in range(seen_since):
            other.step(frame(2 + number), 2 + number)
        answers.append(other.add_prompt(replace(CLICK, frame=1), object_id=1).mask_logits)
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-4, atol=1e-4)


def test_an_id_that_is_kept_leaves_room_for_new_ones(micro_tracker: Tracker, stream: Stream) -> None:
    saved = saved_from(micro_tracker, stream, 1)
    other = micro_tracker.open_stream(max_objects=4)
    other.step(frame(0), 0)
    for object_id in (2**32 - 1, 2**31 + 1):
        read = from_bytes(to_bytes(replace(saved, object_id=object_id)))
        with pytest.raises(ObjectIdError, match=f"1 to {2**31}, not {object_id}"):
            recall(read, other, keep_id=True)
        assert recall(read, other) in (1, 2), "under an id of the stream's own it can be loaded"
    assert recall(replace(saved, object_id=2**31), other, keep_id=True) == 2**31
    assert other.add_prompt(CLICK).object_ids == (2**31 + 1,)


def test_ids_end_with_a_sentence(micro_tracker: Tracker, stream: Stream) -> None:
    saved = saved_from(micro_tracker, stream, 1)
    other = micro_tracker.open_stream(max_objects=3)
    other.step(frame(0), 0)
    other.reserve_ids(2**32 - 2)
    assert other.add_prompt(CLICK).object_ids == (2**32 - 1,)
    with pytest.raises(CapacityError, match="All ids"):
        other.add_prompt(CLICK)
    with pytest.raises(CapacityError, match="All ids"):
        recall(saved, other)
    other.reserve_ids(5)
    assert [info.object_id for info in other.objects] == [2**32 - 1]


def test_an_object_of_edgetam_comes_back(tmp_path: Path) -> None:
    """Its memories are tokens, fewer than the places of a frame."""
    torch.manual_seed(0)
    tracker = build_tracker("edgetam_micro", device="cpu", dtype="float32")
    first = followed(tracker, 2)
    save_object(tmp_path / "cup", tracker, first, 1)
    other = tracker.open_stream(max_objects=1)
    assert load_object(tmp_path / "cup", tracker, other) == 1
    assert torch.equal(other.memory_of(1).spatial, first.memory_of(1).spatial)
    assert other.step(frame(3)).object_ids == (1,)


def test_more_memories_than_a_file_has_are_not_written(micro_tracker: Tracker, tmp_path: Path) -> None:
    rich = followed(micro_tracker, 1, corrections_are_conditioning=True, max_conditioning_frames=18)
    for number in range(1, 18):
        rich.step(frame(number), number)
        rich.add_prompt(CLICK, object_id=1)
    memory = rich.memory_of(1)
    assert len(memory.spatial) == 18
    save_object(tmp_path / "rich", micro_tracker, rich, 1)
    saved = from_bytes((tmp_path / "rich").read_bytes())
    assert torch.equal(saved.memory.pointers, memory.pointers[[0, *range(3, 18)]])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"spatial": torch.zeros(17, 16, 64), "pointers": torch.zeros(17, 64)}, "shapes"),
        ({"pointers": torch.full((1, 64), torch.nan)}, "not finite"),
        ({"label": "x" * 300}, "label"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(
    micro_tracker: Tracker, stream: Stream, changed: dict[str, Any], words: str
) -> None:
    saved = saved_from(micro_tracker, stream, 1)
    with pytest.raises(SavedObjectError, match=f"cannot be saved.*{words}"):
        to_bytes(replace(saved, memory=replace(saved.memory, **changed)))


def test_ids_are_kept_when_asked_for_and_refused_when_taken(micro_tracker: Tracker, tmp_path: Path) -> None:
    first = followed(micro_tracker, 1)
    for object_id in (1, 2):
        save_object(tmp_path / f"{object_id}", micro_tracker, first, object_id)
    other = micro_tracker.open_stream(max_objects=3)
    assert load_object(tmp_path / "2", micro_tracker, other, keep_id=True) == 2
    assert load_object(tmp_path / "1", micro_tracker, other, keep_id=True) == 1
    assert [info.object_id for info in other.objects] == [1, 2]
    with pytest.raises(ObjectIdError, match="1 is taken"):
        load_object(tmp_path / "1", micro_tracker, other, keep_id=True)
    assert load_object(tmp_path / "1", micro_tracker, other) == 3
    with pytest.raises(CapacityError, match="3 places"):
        load_object(tmp_path / "1", micro_tracker, other)
    assert other.step(frame(0)).object_ids == (1, 2, 3)


def test_of_many_memories_the_first_and_the_newest_stay(micro_tracker: Tracker, tmp_path: Path) -> None:
    several = {"corrections_are_conditioning": True, "max_conditioning_frames": 4}
    rich = followed(micro_tracker, 1, **several)
    for number in range(1, 4):
        rich.step(frame(number), number)
        rich.add_prompt(CLICK, object_id=1)
    save_object(tmp_path / "rich", micro_tracker, rich, 1)
    saved = from_bytes((tmp_path / "rich").read_bytes())
    assert saved.memory.spatial.shape[0] == 4
    for most, expected in ((2, [0, 3]), (4, [0, 1, 2, 3])):
        other = micro_tracker.open_stream(max_objects=1, **{**several, "max_conditioning_frames": most})
        load_object(tmp_path / "rich", micro_tracker, other)
        again = other.memory_of(1)
        assert torch.equal(again.pointers, saved.memory.pointers[expected])
        assert torch.equal(again.spatial, saved.memory.spatial[expected])


def test_colours_travel_with_the_object(micro_tracker: Tracker, tmp_path: Path) -> None:
    first = followed(micro_tracker, 1, non_overlap="color_histogram")
    save_object(tmp_path / "cup", micro_tracker, first, 1)
    again = micro_tracker.open_stream(max_objects=2, non_overlap="color_histogram")
    load_object(tmp_path / "cup", micro_tracker, again)
    reference = first.memory_of(1).references["color_histogram"]
    for number in range(4):
        again.step(frame(number), number)
        assert torch.equal(again.memory_of(1).references["color_histogram"], reference)
        if number == 0:
            again.add_prompt(BOX)  # the two overlap, and colours decide


@pytest.mark.parametrize(
    "references",
    [{"color_histogram": torch.ones(3)}, {"color_histogram": torch.ones(512, 1)}, {"texture": torch.ones(512)}],
    ids=["too short", "two-dimensional", "unknown"],
)
def test_colours_of_another_shape_are_refused(
    micro_tracker: Tracker, stream: Stream, references: dict[str, torch.Tensor]
) -> None:
    saved = saved_from(micro_tracker, stream, 1)
    with pytest.raises(SavedObjectError, match="reference"):
        check_fit(replace(saved, memory=replace(saved.memory, references=references)), micro_tracker)


def test_colours_of_another_type_do_no_harm(micro_tracker: Tracker, stream: Stream) -> None:
    saved = saved_from(micro_tracker, stream, 1)
    other = micro_tracker.open_stream(max_objects=2, non_overlap="color_histogram")
    half = replace(saved.memory, references={"color_histogram": torch.ones(512, dtype=torch.float16)})
    other.recall(half)
    assert other.memory_of(1).references["color_histogram"].dtype == torch.float32
    with pytest.raises(ValueError, match="shape"):
        other.recall(replace(half, references={"color_histogram": torch.ones(3)}))
    for number in range(3):
        assert other.step(frame(number), number).object_ids[0] == 1
        if number == 0:
            other.add_prompt(BOX)


def test_files_are_not_overwritten_unless_asked(micro_tracker: Tracker, stream: Stream, cup: Path) -> None:
    before = cup.read_bytes()
    with pytest.raises(SavedObjectError, match="exists already"):
        save_object(cup, micro_tracker, stream, 2)
    assert cup.read_bytes() == before
    save_object(cup, micro_tracker, stream, 2, overwrite=True)
    assert from_bytes(cup.read_bytes()).memory.label == "bowl"
    assert [path.name for path in cup.parent.iterdir()] == [cup.name], "no temporary file is left"


def test_a_disk_that_fails_leaves_the_old_file(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cup.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SavedObjectError, match="No space left"):
        write_file(cup, b"new", overwrite=True)
    assert cup.read_bytes() == before
    assert [path.name for path in cup.parent.iterdir()] == [cup.name]


def test_a_disk_without_links_takes_new_files(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    new, before = cup.with_name("new"), cup.read_bytes()
    write_file(new, b"new")
    with pytest.raises(SavedObjectError, match="exists already"):
        write_file(cup, b"other")
    assert (new.read_bytes(), cup.read_bytes()) == (b"new", before)

    monkeypatch.setattr(os, "replace", no_links)
    with pytest.raises(SavedObjectError, match="not permitted"):
        write_file(cup.with_name("third"), b"third")
    assert {path.name for path in cup.parent.iterdir()} == {cup.name, "new"}, "nothing half written is left"


def test_what_a_killed_process_left_is_removed(cup: Path) -> None:
    old, new, other = (cup.with_name(name) for name in (".saving-old", ".saving-new", "old"))
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    remove_leftovers(cup.parent)
    assert {path.name for path in cup.parent.iterdir()} == {cup.name, ".saving-new", "old"}
    remove_leftovers(cup.parent / "none")


# --- what is refused --------------------------------------------------------------------------------------------------


def header_of(facts: Any, **tensors: Any) -> bytes:
    """Return a safetensors file with this header and no data."""
    text = json.dumps({**tensors, **({} if facts is None else {"__metadata__": facts})}).encode()
    return len(text).to_bytes(8, "little") + text


def rebuilt(data: bytes, facts: dict[str, str] | None = None, **changed: torch.Tensor | None) -> bytes:
    """Return a saved object with other facts or tensors."""
    saved = from_bytes(data)
    tensors = {"spatial": saved.memory.spatial, "pointers": saved.memory.pointers, **changed}
    size = int.from_bytes(data[:8], "little")
    known = json.loads(data[8 : 8 + size])["__metadata__"]
    return save({k: v for k, v in tensors.items() if v is not None}, metadata={**known, **(facts or {})})


KIND = {"kind": "sam_core saved object", "version": "1"}
HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "truncated"),
    "seven bytes": (lambda _: b"1234567", "truncated"),
    "cut": (lambda data: data[:-10], "truncated or damaged"),
    "header cut": (lambda data: data[:200], "truncated"),
    "huge header": (lambda _: (2**62).to_bytes(8, "little") + b"{}", "beyond its end"),
    "large header": (lambda _: (70_000).to_bytes(8, "little") + b" " * 70_000, "header has 70000 bytes"),
    "no JSON": (lambda _: (4).to_bytes(8, "little") + b"\xff\xff\xff\xff", "no JSON"),
    "deep JSON": (lambda _: (60_000).to_bytes(8, "little") + b"[" * 60_000, "no JSON"),
    "a list": (lambda _: (2).to_bytes(8, "little") + b"[]", "no dictionary"),
    "no facts": (lambda _: header_of(None), "not the file of a saved object"),
    "other facts": (lambda _: header_of({"format": "pt"}), "not the file of a saved object"),
    "facts are a list": (lambda _: header_of([1]), "not the file of a saved object"),
    "another version": (lambda data: rebuilt(data, {"version": "2"}), "version '2'"),
    "id zero": (lambda data: rebuilt(data, {"object_id": "0"}), "object_id"),
    "id of many digits": (lambda data: rebuilt(data, {"object_id": "9" * 5000}), "object_id"),
    "digest": (lambda data: rebuilt(data, {"weights": "../x"}), "weights"),
    "long label": (lambda data: rebuilt(data, {"label": "x" * 300}), "label"),
    "control characters": (lambda data: rebuilt(data, {"label": "a\x1b[2J"}), "label"),
    "NaN": (lambda data: rebuilt(data, pointers=torch.full((1, 64), torch.nan)), "not finite"),
    "infinity": (lambda data: rebuilt(data, spatial=torch.full((1, 16, 64), torch.inf)), "not finite"),
    "large numbers": (lambda data: rebuilt(data, pointers=torch.full((1, 64), 1e30)), "larger than"),
    "no pointers": (lambda data: rebuilt(data, pointers=None), "shapes"),
    "more pointers than maps": (lambda data: rebuilt(data, pointers=torch.zeros(2, 64)), "shapes"),
    "too many": (lambda data: rebuilt(data, spatial=torch.zeros(17, 4, 4), pointers=torch.zeros(17, 4)), "shapes"),
    "integers": (lambda data: rebuilt(data, pointers=torch.zeros(1, 64, dtype=torch.int64)), "type 'I64'"),
    "another tensor": (lambda data: rebuilt(data, weight=torch.zeros(4)), "does not have"),
    "a huge shape": (
        lambda data: header_of(
            KIND,
            spatial={"dtype": "F32", "shape": [1, 2**40, 64], "data_offsets": [0, 2**48]},
            pointers={"dtype": "F32", "shape": [1, 64], "data_offsets": [2**48, 2**48 + 256]},
        ),
        "no valid",
    ),
    "a negative shape": (lambda _: header_of(KIND, spatial={"shape": [-1], "dtype": "F32"}), "no shape"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(micro_tracker: Tracker, cup: Path, case: str) -> None:
    change, words = HOSTILE[case]
    cup.write_bytes(change(cup.read_bytes()))
    other = micro_tracker.open_stream(max_objects=1)
    with pytest.raises(SavedObjectError, match=words) as refused:
        load_object(cup, micro_tracker, other)
    assert str(cup) in str(refused.value)
    assert len(str(refused.value)) < 500
    assert other.objects == ()


def test_every_cut_and_many_flipped_bytes_are_refused_or_harmless(micro_tracker: Tracker, cup: Path) -> None:
    data = cup.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(0, min(len(data), 900), 3):
            broken[place] = rng.integers(256)
        try:
            saved = from_bytes(bytes(broken[: rng.integers(1, len(data))]))
            check_fit(saved, micro_tracker)
        except SavedObjectError:
            continue
        assert saved.memory.pointers.shape == (1, micro_tracker.model.d_model)


def test_what_is_no_plain_file_is_refused(micro_tracker: Tracker, cup: Path, tmp_path: Path) -> None:
    other = micro_tracker.open_stream(max_objects=1)
    (tmp_path / "link").symlink_to(cup)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with open(tmp_path / "giant", "wb") as file:
        file.truncate(LARGEST_FILE + 1)
    for name, words in (
        ("link", "link"),
        ("pipe", "regular"),
        ("folder", "regular|directory"),
        ("giant", "at most"),
        ("none", "no such file"),
    ):
        with pytest.raises(SavedObjectError, match=words):
            load_object(tmp_path / name, micro_tracker, other)


def test_memories_of_other_weights_are_refused(micro_tracker: Tracker, cup: Path) -> None:
    saved = from_bytes(cup.read_bytes())
    check_fit(saved, micro_tracker)
    for changed, words in (
        (replace(saved, model="sam2.1_hiera_tiny"), "sam2.1_hiera_tiny; this tracker is sam2.1_micro"),
        (replace(saved, weights="0" * 64), "other weights"),
        (replace(saved, side=1024), "1024 px"),
        (replace(saved, memory=replace(saved.memory, spatial=saved.memory.spatial[:, 1:])), "shapes"),
        (replace(saved, memory=replace(saved.memory, pointers=torch.zeros(1, 3))), "shapes"),
    ):
        with pytest.raises(SavedObjectError, match=words):
            check_fit(changed, micro_tracker)


def test_the_digest_is_of_the_weights_and_not_of_their_dtype(micro_tracker: Tracker) -> None:
    torch.manual_seed(3)
    one = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
    same = Tracker(build_tracker("sam2.1_micro", device="cpu", dtype="bfloat16").model, "sam2.1_micro")
    same.model.load_state_dict(one.model.state_dict())
    assert one.weights_digest == same.weights_digest != micro_tracker.weights_digest
