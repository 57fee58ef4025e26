"""Objects that outlive the node's process: services, hostile files, and a crash."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sam_msgs.msg import TrackedObject
from sam_msgs.srv import ListEvents, LoadObjects, SaveObjects

from sam_core import Prompt, build_tracker
from sam_ros.annotation.__main__ import main as annotate
from sam_ros.annotation.results import Results
from sam_ros.runtime.processes import Executable
from sam_ros.tracking.session import Session

PLACES = 8


@dataclass
class Keeper:
    """A tracker that saves its objects, and its other side."""

    parameters: dict[str, Any]
    names: dict[str, str]
    folder: Path
    log: Path
    client: Any
    process: Executable

    @property
    def saved(self) -> set[str]:
        """Names of the files that autosave has written."""
        return {path.name for path in (self.folder / "autosave").iterdir()}

    def restart(self) -> None:
        """Start the process again."""
        self.client.until(lambda: not self.client.connected(), "the old process to vanish from the graph", 90)
        self.process = Executable("tracker", self.parameters, remappings=self.names, log=self.log)
        self.process.start()
        self.client.until(self.client.connected, "the new process", 90)
        self.client.wait_until_active()


@pytest.fixture(scope="module")
def keeper(
    ros: None,
    micro: dict[str, Any],
    make_lasting_client: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Keeper]:
    base = tmp_path_factory.mktemp("keeper")
    parameters = {**micro, "max_objects": PLACES, "autostart": True}
    parameters |= {"objects_folder": str(base / "objects"), "autosave": 0.2}
    parameters["qos_overrides./kept/image.subscription.reliability"] = "reliable"
    names = {"__node": "keeper", "image": "/kept/image"}
    client = make_lasting_client("/keeper", image="/kept/image")
    process = Executable("tracker", parameters, remappings=names, log=base / "log")
    process.start()
    keeper = Keeper(parameters, names, base / "objects", base / "log", client, process)
    client.wait_until_active()
    yield keeper
    keeper.process.stop()
    assert keeper.process.exit_code == 0, keeper.process.output()


@pytest.fixture
def client(keeper: Keeper) -> Any:
    """The other side of a tracker without objects and files."""
    assert keeper.client.reset().success
    for path in keeper.folder.glob("*.safetensors"):
        path.unlink()
    return keeper.client


def save(client: Any, **request: Any) -> Any:
    return client.call(SaveObjects, "save_objects", **request)


def load(client: Any, *files: str, **request: Any) -> Any:
    return client.call(LoadObjects, "load_objects", files=list(files), **request)


def test_an_object_is_saved_loaded_and_found(client: Any, keeper: Keeper, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    cup = client.prompt((35, 45), label="red cup").object_id
    other = client.prompt((90, 20)).object_id
    client.track(picture(1))
    assert not save(client, name="../cup").success, "and the client knows the service from now on"
    answer = save(client, object_ids=[cup])
    assert (answer.success, answer.message, answer.files) == (True, "", [f"red_cup_{cup}.safetensors"])
    answer = save(client, name="all")
    assert answer.files == [f"all_{cup}.safetensors", f"all_{other}.safetensors"]
    assert {path.name for path in keeper.folder.glob("*.safetensors")} == {*answer.files, f"red_cup_{cup}.safetensors"}

    again = save(client, name="all", object_ids=[cup])
    assert not again.success
    assert "exists already" in again.message
    assert save(client, name="all", object_ids=[cup], overwrite=True).success

    assert client.reset().success
    answer = load(client, f"red_cup_{cup}.safetensors", keep_ids=True)
    assert (answer.success, list(answer.object_ids)) == (True, [cup])
    lost, found = client.track(picture(2)), client.track(picture(3))
    assert [(item.id, item.label, item.track_state) for item in (*lost.objects, *found.objects)] == [
        (cup, "red cup", TrackedObject.TRACK_LOST),
        (cup, "red cup", TrackedObject.TRACK_TRACKED),
    ]
    expected = [
        (cup, "remembered from before, and looked for"),
        (cup, "seen for the first time since it is looked for"),
    ]

    def told() -> bool:  # an image's events come after its results
        events = client.call(ListEvents, "list_events").events[-2:]
        return [(event.id, event.reason) for event in events] == expected

    client.until(told, "the events")
    taken = load(client, f"red_cup_{cup}.safetensors", keep_ids=True)
    assert not taken.success
    assert f"id {cup} is taken" in taken.message
    everything = load(client)
    assert everything.success
    assert len(everything.object_ids) == 3
    assert min(everything.object_ids) > other, "new ids"


def test_an_object_that_a_concept_found_is_looked_for_by_it_when_it_is_loaded() -> None:
    tracker = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
    before, after = (Session(tracker.open_stream(max_objects=2)) for _ in range(2))
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    before.step(image, 0, None)
    for label in ("cup", "prompted"):
        before.stream.add_prompt(Prompt(points=[[30, 40]]), label=label)
    before.concepts.adopt(1, "yellow cup")
    ids = [after.recall(saved, keep_id=True) for saved in before.saved_all(tracker)]
    assert ids == [1, 2]
    assert {i: track.concept for i, track in after.concepts.tracks.items()} == {1: "yellow cup"}


def test_saved_objects_are_found_in_a_recording(
    client: Any, keeper: Keeper, micro: dict[str, Any], picture: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    client.track(picture(0))
    client.prompt((35, 45), label="red cup")
    client.prompt((90, 20), label="other")
    client.track(picture(1))
    files = [str(keeper.folder / name) for name in save(client, name="all").files]
    (tmp_path / "recording").mkdir()
    for k in range(4):
        cv2.imwrite(str(tmp_path / "recording" / f"{k}.png"), cv2.cvtColor(picture(k), cv2.COLOR_RGB2BGR))
    model = [f"--{name}={micro[name]}" for name in ("model", "checkpoint", "device", "dtype") if micro.get(name)]

    run = [str(tmp_path / "recording"), "-o", str(tmp_path / "run"), "--saved", *files, "--write", "csv", "--quiet"]
    assert annotate(["track", *run, *model]) == 0

    results = Results.of_run(tmp_path / "run")
    assert dict(results.labels) == {1: "red cup", 2: "other"}
    states = [[one.track_state for one in frame.objects] for frame in results.read()]
    assert states[0] == ["lost", "lost"]
    assert all(state == ["tracked", "tracked"] for state in states[1:])


def test_what_is_wrong_is_said_and_the_rest_is_done(
    client: Any, keeper: Keeper, picture: Callable[..., np.ndarray]
) -> None:
    client.track(picture(0))
    cup = client.prompt((35, 45), label="cup").object_id
    assert not load(client).success, "the folder is empty"
    answer = save(client, object_ids=[cup, cup + 500])
    assert (answer.success, answer.files) == (False, [f"cup_{cup}.safetensors"])
    assert f"no objects {cup + 500}" in answer.message
    outside = keeper.folder.parent / "outside.safetensors"
    outside.write_bytes((keeper.folder / answer.files[0]).read_bytes())
    (keeper.folder / "link.safetensors").symlink_to(outside)
    (keeper.folder / "cut.safetensors").write_bytes(outside.read_bytes()[:-5])
    for name, words in (
        ("../outside.safetensors", "is named"),
        (str(outside), "is named"),
        (".hidden.safetensors", "is named"),
        ("", "is named"),
        ("x" * 5000, "is named"),
        ("none.safetensors", "no such file"),
        ("link.safetensors", "link"),
        ("cut.safetensors", "truncated"),
    ):
        answer = load(client, name, f"cup_{cup}.safetensors")
        assert not answer.success
        assert len(answer.object_ids) == 1, "the other file is loaded"
        assert words in answer.message, answer.message
        assert client.remove(answer.object_ids[0]).success
    for name in ("a/b", ".", "..", "x" * 65, "ü", "a\n"):
        answer = save(client, name=name)
        assert not answer.success
        assert "at most 64 letters" in answer.message
    assert not load(client, *["none.safetensors"] * 257).success


def test_objects_come_back_after_a_crash(client: Any, keeper: Keeper, picture: Callable[..., np.ndarray]) -> None:
    """SIGKILL with all places taken; then a file of another model is refused, said, and stays."""
    client.track(picture(0))
    ids = [client.prompt((20 + 12 * k, 45), label=f"thing {k}").object_id for k in range(PLACES)]
    assert client.remove(ids[0]).success
    ids[0] = client.prompt((20, 20), label="thing 0").object_id
    ids.sort()
    wanted = {f"{object_id}.safetensors" for object_id in ids}
    client.until(lambda: keeper.saved == wanted, "autosave, which forgets what was removed")
    os.kill(keeper.process.pid, signal.SIGKILL)
    keeper.process.stop()

    keeper.restart()
    client.track(picture(1))
    shown = client.track(picture(2))
    assert [item.id for item in shown.objects] == ids
    assert {item.track_state for item in shown.objects} == {TrackedObject.TRACK_TRACKED}
    assert {item.label for item in shown.objects} == {f"thing {k}" for k in range(PLACES)}

    os.kill(keeper.process.pid, signal.SIGKILL)
    keeper.process.stop()
    broken = keeper.folder / "autosave" / f"{ids[0]}.safetensors"
    broken.write_bytes(broken.read_bytes().replace(b"sam2.1_micro", b"sam2.1_macro"))
    keeper.restart()
    shown = client.track(picture(3))
    assert [item.id for item in shown.objects] == ids[1:]
    client.until(lambda: "1 objects of the last autosave are not tracked" in client.message, "the diagnostics")
    assert client.level == b"\x01"
    assert "sam2.1_macro; this tracker is sam2.1_micro" in client.message
    assert broken.exists()
