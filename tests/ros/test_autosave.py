"""Autosave and the loading of files in a node of this process: what is saved when, and what goes wrong with files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sam_msgs.srv import LoadObjects, SaveObjects
from std_msgs.msg import Header

from sam_core import Prompt
from sam_core.association.tracks import Track
from sam_ros.node.tracker_node import TrackerNode
from sam_ros.tracking import autosave
from sam_ros.tracking.session import Session
from sam_ros.tracking.work_queue import Lane

SUCCESS = TransitionCallbackReturn.SUCCESS
PATIENCE = 60.0  # s


class Home:
    """A tracker whose autosave does not look by itself within a test, and its folder."""

    def __init__(self, folder: Path, micro: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
        values = {**micro, "checkpoint": str(micro["checkpoint"])}
        values |= {"objects_folder": str(folder), "autosave": 3600.0}
        self.node = TrackerNode("home", parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
        self.folder = folder / "autosave"
        self.picture = picture

    def run(self, command: Callable[[Session], Any]) -> Any:
        return self.node._inference.submit(command).result(PATIENCE)

    def prompt(self) -> int:
        """Begin an object, and return its id."""

        def begin(session: Session) -> int:
            session.step(self.picture(0), 1, Header())
            return session.add_prompt(Prompt(points=[[35, 45]], labels=[1]), None, "cup").object_ids[0]

        return self.run(begin)

    def ids(self) -> list[int]:
        return self.run(lambda session: [info.object_id for info in session.stream.objects])

    @property
    def saved(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def save(self) -> None:
        """Do what the timer does, and wait until it is done."""
        saver = self.node._objects._autosave
        saver._look()
        wait(lambda: saver._began is None)


def wait(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def home(ros: None, tmp_path: Path, micro: dict[str, Any], picture: Callable[..., np.ndarray]) -> Iterator[Home]:
    kept = Home(tmp_path, micro, picture)
    assert kept.node.trigger_configure() == SUCCESS
    yield kept
    kept.node.destroy_node()


def test_what_changed_since_the_last_save_is_saved_at_the_end(home: Home) -> None:
    first, second = home.prompt(), home.prompt()
    assert home.saved == []
    assert home.node.trigger_cleanup() == SUCCESS
    assert home.saved == [f"{first}.safetensors", f"{second}.safetensors"]

    assert home.node.trigger_configure() == SUCCESS
    assert home.ids() == [first, second]
    home.run(lambda session: session.remove(first, "removed"))
    third = home.prompt()
    home.node.destroy_node()  # as after Ctrl-C
    assert home.saved == [f"{second}.safetensors", f"{third}.safetensors"]


def test_the_end_does_not_wait_for_a_disk_that_hangs(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: gate.wait(PATIENCE))
    home.prompt()
    try:
        home.node._objects.release(0.1)
        assert "objects are not saved at the end: that takes more than 0.1 s" in capfd.readouterr().err
    finally:
        gate.set()


def test_a_save_that_does_not_end_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, saver = threading.Event(), home.node._objects._autosave
    monkeypatch.setattr(os, "fsync", lambda _: gate.wait(PATIENCE))
    home.prompt()
    assert saver._patience == autosave._LATE * 3600.0
    saver._look()
    assert saver.problem == "", "not at once"
    saver._patience = 0.0
    wait(lambda: "does the disk hang?" in home.node._objects.problem)
    gate.set()
    wait(lambda: not home.node._objects.problem)


def test_a_file_that_cannot_be_written_does_not_keep_the_others(home: Home) -> None:
    first, second = home.prompt(), home.prompt()
    (home.folder / f"{first}.safetensors").mkdir()
    home.save()
    assert (home.folder / f"{second}.safetensors").is_file()
    assert f"object {first}: The file {first}.safetensors cannot be written" in home.node._objects.problem
    (home.folder / f"{first}.safetensors").rmdir()
    home.save()
    assert (home.folder / f"{first}.safetensors").is_file()
    assert home.node._objects.problem == ""


def test_files_that_cannot_be_loaded_are_not_replaced(home: Home) -> None:
    assert home.node.trigger_cleanup() == SUCCESS
    for name in ("1.safetensors", "7.safetensors", "4294967295.safetensors"):
        (home.folder / name).write_bytes(b"of another model")
    assert home.node.trigger_configure() == SUCCESS
    assert "3 objects of the last autosave are not tracked" in home.node._objects.problem
    assert home.prompt() == 8
    home.save()
    home.run(lambda session: session.remove(8, "removed"))
    home.save()
    assert home.saved == ["1.safetensors", "4294967295.safetensors", "7.safetensors"]
    assert all(path.read_bytes() == b"of another model" for path in home.folder.iterdir())


def test_objects_that_may_be_withdrawn_are_not_saved(home: Home) -> None:
    cup = home.prompt()

    def set_confirmed(confirmed: bool) -> None:
        track = Track(cup, "cup", 1, 0.5, 0, confirmed=confirmed)
        home.run(lambda session: setattr(session.concepts, "tracks", {cup: track}))

    set_confirmed(False)
    home.save()
    assert home.saved == []
    set_confirmed(True)
    home.save()
    assert home.saved == [f"{cup}.safetensors"]


# --- services ---------------------------------------------------------------------------------------------------------


def advance(coroutine: Coroutine[Any, Any, Any], until: Callable[[], Any]) -> None:
    """Go on with a service until a condition holds or it has answered."""

    def one_step() -> bool:
        try:
            coroutine.send(None)
        except StopIteration:
            return True
        return bool(until())

    wait(one_step)


def test_what_was_loaded_before_a_failure_is_in_the_answer(home: Home) -> None:
    services, gate = home.node._objects, threading.Event()
    ids = [home.prompt() for _ in range(3)]
    saving = SaveObjects.Response()
    advance(services._on_save(SaveObjects.Request(name="x"), saving), lambda: False)
    assert saving.success
    home.run(lambda session: session.reset("reset"))
    loading = LoadObjects.Response()
    service = services._on_load(LoadObjects.Request(keep_ids=True), loading)
    advance(service, lambda: len(loading.object_ids) == 1)
    inference = home.node._inference
    inference.submit(lambda _: gate.wait(PATIENCE))
    wait(lambda: inference.working)
    others = [inference.submit(lambda _: None, Lane.PROMPT) for _ in range(64)]
    advance(service, lambda: False)
    gate.set()
    assert not loading.success
    assert "the tracker is busy" in loading.message
    assert list(loading.object_ids) == ids[:1] == home.ids()
    assert [other.result(PATIENCE) for other in others] == [None] * 64
    assert home.node._prompts.memory.held == 0


@pytest.mark.parametrize(("name", "kind"), [("_on_load", LoadObjects), ("_on_save", SaveObjects)])
def test_calls_that_hold_files_share_the_memory_of_requests(home: Home, name: str, kind: Any) -> None:
    answer = kind.Response()
    with home.node._prompts.memory.hold(500 * 2**20):
        advance(getattr(home.node._objects, name)(kind.Request(), answer), lambda: False)
    assert not answer.success
    assert "ask again later" in answer.message
