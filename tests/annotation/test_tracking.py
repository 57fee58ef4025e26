"""A run over a recording: the same numbers as live, in both directions, resumed and corrected."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader

from sam_core import Prompt, build_tracker
from sam_ros.annotation import store, tracking
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.local_engine import LocalEngine
from sam_ros.annotation.models import ModelSettings
from sam_ros.annotation.records import FrameRecord, ObjectRecord, decode_mask
from sam_ros.annotation.results import Results
from sam_ros.annotation.run import Request, Run
from sam_ros.annotation.typestore import typestore
from sam_ros.annotation.writers.messages import BOXES, IMAGE, OBJECTS

from .conftest import FRAMES, PERIOD, PROMPTS, START, image_message, write_bag

Annotate = Callable[..., SimpleNamespace]
TYPES = {"objects": OBJECTS, "detections": BOXES, "label_image": IMAGE}


def frames_of(folder: Path) -> list[FrameRecord]:
    return list(Results.of_run(folder).read())


def normal(data: bytes, kind: str) -> bytes:
    """Return a serialized message with zeros between its fields, where Fast CDR leaves what was there."""
    store = typestore()
    return bytes(store.serialize_cdr(store.deserialize_cdr(data, kind), kind))


def tracks_of(frames: list[FrameRecord]) -> list[dict[int, ObjectRecord]]:
    """Return the objects of each frame by id, without what depends on the others in the same pass."""
    return [{one.object_id: replace(one, owned=None) for one in frame.objects} for frame in frames]


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    """Read the outputs of a run."""
    files = [path for name in names for path in sorted((folder / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_forward_run_writes_what_the_node_would_have_published(
    annotate: Annotate, bag: Path, prompts: Path, weights: Path, clip: NDArray[np.uint8], tmp_path: Path
) -> None:
    ros = pytest.importorskip("rclpy.serialization")
    from std_msgs.msg import Header

    from sam_ros.conversions.messages import Masks, detections_message, label_image_message, objects_message
    from sam_ros.conversions.stamps import to_time
    from sam_ros.tracking.session import Session

    request = ("--prompts", prompts, "--direction", "forward", "--write", "bag")
    assert annotate(bag, "-o", tmp_path / "run", *request).status == 0

    tracker = build_tracker("sam2.1_micro", checkpoint=weights, device="cpu", dtype="float32")
    session = Session(tracker.open_stream(max_objects=16))
    given = {
        0: [(Prompt(points=[[95, 70]]), None, "green")],
        4: [(Prompt(box=[26, 20, 56, 50]), None, "red")],
        8: [(Prompt(points=[[57, 35], [5, 5]], labels=[1, 0]), 2, "")],
    }
    expected: dict[str, list[bytes]] = {"objects": [], "detections": [], "label_image": []}
    for k, image in enumerate(clip):
        header = Header(stamp=to_time(START + k * PERIOD), frame_id="camera")
        masks = Masks.of(session.step(image, START + k * PERIOD, header).result)
        for prompt, object_id, label in given.get(k, ()):
            session.add_prompt(prompt, object_id, label)
        for name, make in (
            ("objects", objects_message), ("detections", detections_message), ("label_image", label_image_message)
        ):  # fmt: skip
            expected[name].append(normal(ros.serialize_message(make(masks, header)), TYPES[name]))
    found: dict[str, list[bytes]] = {}
    with Reader(tmp_path / "run" / "bag") as reader:
        for connection, time, data in reader.messages():
            found.setdefault(connection.topic.removeprefix("/tracker/"), []).append(normal(data, connection.msgtype))
            assert (time - START - 10**6) % PERIOD == 0
    found.pop("label_info")

    assert {name: len(data) for name, data in found.items()} == dict.fromkeys(expected, FRAMES)
    # On the frame of a prompt the node answers by service; the run has the answer among its results.
    for name in expected:
        differing = [k for k in range(FRAMES) if found[name][k] != expected[name][k]]
        assert set(differing) <= set(given), name
    assert any(found["objects"][k] != expected["objects"][k] for k in given)


def test_an_object_is_tracked_in_both_directions(annotate: Annotate, bag: Path, prompts: Path, tmp_path: Path) -> None:
    for direction in ("both", "forward", "backward"):
        status = annotate(bag, "-o", tmp_path / direction, "--prompts", prompts, "--direction", direction).status
        assert status == 0
    both, forward, backward = (frames_of(tmp_path / name) for name in ("both", "forward", "backward"))

    assert [[one.object_id for one in frame.objects] for frame in both] == [[1, 2]] * FRAMES
    assert [[one.object_id for one in frame.objects] for frame in forward] == [[1]] * 4 + [[1, 2]] * 8
    assert tracks_of(both[4:]) == tracks_of(forward[4:])
    assert [frame[2] for frame in tracks_of(both[:4])] == [frame[2] for frame in tracks_of(backward[:4])]


def test_a_run_that_is_stopped_anywhere_ends_with_the_same_bytes(
    annotate: Annotate, bag: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = ("bag", "coco", "csv", "report")
    request = ("--prompts", prompts, "--write", *outputs)
    assert annotate(bag, "-o", tmp_path / "whole", *request).status == 0
    monkeypatch.setattr(store, "_FRAMES", 3)  # saves often
    step = tracking._step
    seen = 0

    def failing(*arguments: Any) -> FrameRecord:
        nonlocal seen
        seen += 1
        if seen in (2, 9, 18):  # before the first state, between two, and in the backward pass
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(tracking, "_step", failing)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            annotate(bag, "-o", tmp_path / "cut", *request)
    assert annotate(bag, "-o", tmp_path / "cut", *request).status == 0

    names = ("bag", "coco", "boxes.csv", "report")
    assert contents(tmp_path / "cut", *names) == contents(tmp_path / "whole", *names)
    assert seen < 3 * (FRAMES + 5), "it went on from where it was"


@pytest.mark.parametrize("overlaps", ["none", "color_histogram"])
def test_a_finished_run_stays_as_it_is(
    overlaps: str, annotate: Annotate, bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an object's masks depend on the others, so that no single object can be tracked again."""
    path = tmp_path / "prompts.yaml"
    path.write_text(
        "objects:\n- prompts: [{frame: 4, box: [26, 20, 56, 50]}]\n- prompts: [{frame: 4, box: [68, 55, 98, 85]}]\n",
        encoding="utf-8",
    )
    request = (bag, "-o", tmp_path / "run", "--prompts", path, "--non-overlap", overlaps)
    step, seen = tracking._step, 0

    def failing(*arguments: Any) -> FrameRecord:
        nonlocal seen
        seen += 1
        if seen == FRAMES + 3:  # in the backward pass, when the forward one is finished
            raise KeyboardInterrupt
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "_step", failing)
        with pytest.raises(KeyboardInterrupt):
            annotate(*request)
    assert annotate(*request).status == 0
    first = frames_of(tmp_path / "run")
    assert annotate(*request).status == 0

    assert [[one.object_id for one in frame.objects] for frame in first] == [[1, 2]] * FRAMES
    assert frames_of(tmp_path / "run") == first

    path.write_text("objects: [{prompts: [{frame: 4, box: [26, 20, 56, 50]}]}]", encoding="utf-8")
    assert annotate(*request, "--update").status == 0
    assert [[one.object_id for one in frame.objects] for frame in frames_of(tmp_path / "run")] == [[1]] * FRAMES


def test_a_correction_tracks_only_what_it_changes(
    annotate: Annotate, bag: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = (bag, "-o", tmp_path / "run", "--prompts", prompts)
    assert annotate(*request).status == 0
    before = tracks_of(frames_of(tmp_path / "run"))
    changed = PROMPTS.replace("[57, 35], [5, 5]]", "[60, 40], [5, 5]]")
    prompts.write_text(changed, encoding="utf-8")
    works: list[Any] = []
    track = tracking.track_pass
    monkeypatch.setattr(
        "sam_ros.annotation.local_engine.track_pass", lambda work, *rest: (works.append(work), track(work, *rest))
    )

    refused = annotate(*request)
    assert refused.status == 2
    assert "--update" in refused.err
    assert annotate(*request, "--update").status == 0
    after = tracks_of(frames_of(tmp_path / "run"))

    assert [[one.object_id for one in work.objects] for work in works] == [[2]]
    assert [work.step for work in works] == [1]
    assert before[:8] == after[:8]
    assert [frame[1] for frame in before] == [frame[1] for frame in after]
    assert any(a[2] != b[2] for a, b in zip(before[8:], after[8:], strict=True))


def test_frames_before_the_first_prompt_cost_no_network(
    annotate: Annotate, bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam_core.streaming import Stream

    steps: list[int] = []
    step = Stream.step
    monkeypatch.setattr(Stream, "step", lambda self, *a, **k: (steps.append(1), step(self, *a, **k))[1])
    path = tmp_path / "late.yaml"
    path.write_text("objects: [{prompts: [{frame: 7, box: [10, 20, 70, 50]}]}]", encoding="utf-8")

    assert annotate(bag, "-o", tmp_path / "run", "--prompts", path, "--direction", "forward").status == 0

    assert len(steps) == FRAMES - 7
    assert all(frame.is_usable for frame in frames_of(tmp_path / "run"))


def test_masks_are_those_of_the_image(annotate: Annotate, bag: Path, prompts: Path, tmp_path: Path) -> None:
    assert annotate(bag, "-o", tmp_path / "run", "--prompts", prompts).status == 0

    for frame in frames_of(tmp_path / "run"):
        for one in frame.objects:
            mask = decode_mask(one.mask, frame.size)
            assert mask.shape == frame.size
            assert int(mask.sum()) == one.area


def test_parts_are_joined_under_the_same_ids(annotate: Annotate, bag: Path, prompts: Path, tmp_path: Path) -> None:
    request = (bag, "--prompts", prompts)
    assert annotate(*request, "-o", tmp_path / "whole").status == 0
    assert annotate(*request, "-o", tmp_path / "parts", "--parts", 3, "--overlap", 2).status == 0
    whole, parts = frames_of(tmp_path / "whole"), frames_of(tmp_path / "parts")

    assert [[one.object_id for one in frame.objects] for frame in parts] == [
        [one.object_id for one in frame.objects] for frame in whole
    ]


def test_a_damaged_recording_is_tracked_as_far_as_it_is_sound(
    annotate: Annotate, messages: list[Any], clip: NDArray[np.uint8], prompts: Path, tmp_path: Path
) -> None:
    odd = image_message(clip[2], START + 2 * PERIOD, encoding="rgb99")
    short = image_message(clip[6], START + 6 * PERIOD)
    short.data = short.data[:100]
    given = list(messages)
    given[2], given[6] = (messages[2][0], odd), (messages[6][0], short)
    given[9], given[10] = messages[10], messages[9]
    damaged = write_bag(tmp_path / "damaged", given)
    (damaged / "metadata.yaml").unlink()
    (tmp_path / "hopeless").mkdir()
    (tmp_path / "hopeless" / "a.mcap").write_bytes(b"no bag")

    request = ("-o", tmp_path / "run", "--prompts", prompts, "--write", "csv", "report")
    answer = annotate(tmp_path / "hopeless", damaged, *request)

    assert answer.status == 2, "of the first one"
    for said in ("hopeless", "does not begin as one", "has no metadata.yaml", "older than its predecessor"):
        assert said in answer.err
    frames = frames_of(tmp_path / "run" / "damaged")
    assert len(frames) == FRAMES - 1, "the late image is left out"
    assert [frame.frame for frame in frames if not frame.is_usable] == [2, 6]
    assert all(len(frame.objects) == 2 for frame in frames if frame.is_usable)
    report = (tmp_path / "run" / "damaged" / "report" / "report.md").read_text()
    for said in ("Frame 2: ", "unknown encoding 'rgb99'", "Frame 6: ", "has no metadata.yaml"):
        assert said in report
    assert "4 problems" in report


def test_recordings_of_one_engine_keep_their_own_settings(
    bag: Path, weights: Path, prompts: Path, tmp_path: Path
) -> None:
    model = ModelSettings("sam2.1_micro", str(weights), device="cpu", dtype="float32", threads=1)
    one = Request(bag, tmp_path / "one", prompts=prompts, outputs=("csv",), model=model)
    other = replace(one, folder=tmp_path / "other", model=replace(model, mask_threshold=-2.0))
    unknown = replace(one, folder=tmp_path / "unknown", model=replace(model, model="nothing"))
    alone = replace(other, folder=tmp_path / "alone")

    together = LocalEngine(threading.Event(), show=False)
    for request, engine in ((one, together), (other, together), (alone, LocalEngine(threading.Event(), show=False))):
        with closing(Run(request)) as run, run.locked():
            assert engine.track(run.plan(engine)) == {}
            run.write(run.finish(engine))
    with closing(Run(unknown)) as run, pytest.raises(AnnotationError, match="nothing"):
        run.plan(together)

    tables = {name: (tmp_path / name / "boxes.csv").read_bytes() for name in ("one", "other", "alone")}
    assert tables["other"] == tables["alone"] != tables["one"]
