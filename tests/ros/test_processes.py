from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sam_ros.runtime.paths import config_file
from sam_ros.runtime.processes import Executable


def test_the_dds_profile_is_found() -> None:
    assert "segment_size" in config_file("dds/fastdds_shm.xml").read_text()


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no/such\.xml is in none of"):
        config_file("no/such.xml")


def test_parameters_are_written_as_yaml() -> None:
    parameters = {"a": True, "b": 3, "c": 0.5, "d": "1e3", "e": Path("/x y"), "f": ["it's", ""]}
    process = Executable("tracker", parameters, remappings={"image": "/eye"})
    words = process._command[process._command.index("--ros-args") + 1 :]
    assert words == [
        *("-p", "a:=true", "-p", "b:=3", "-p", "c:=0.5", "-p", "d:='1e3'", "-p", "e:='/x y'"),
        *("-p", "f:=['it''s', '']", "-r", "image:=/eye"),
    ]


def test_who_was_never_started_cannot_be_stopped() -> None:
    process = Executable("camera")
    assert not process.running
    assert process.exit_code is None
    assert process.output() == ""
    with pytest.raises(RuntimeError, match="never started"):
        process.stop()
    with pytest.raises(RuntimeError, match="never started"):
        process.send(signal.SIGINT)
