"""Segments of dead processes are removed, and nothing else."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from sam_ros.runtime.shared_memory import FOLDER, Removed, remove_stale_segments

DEAD, LIVING, YOUNG, PORT = (
    "fastdds_0123456789abcdef",
    "fastrtps_fedcba9876543210",
    "fastdds_" + 16 * "a",
    "fastdds_port7000",
)


def test_only_segments_of_dead_processes_are_removed(tmp_path: Path) -> None:
    for name in (DEAD, LIVING, YOUNG, PORT):
        (tmp_path / name).write_bytes(bytes(2**20))
        (tmp_path / f"{name}_el").touch()
        os.utime(tmp_path / f"{name}_el", (0, time.time() if name == YOUNG else 0))
    (tmp_path / "mine").touch()
    with (tmp_path / f"{LIVING}_el").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_stale_segments(tmp_path) == Removed(1, 2**20)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"mine", *(f"{name}{end}" for name in (LIVING, YOUNG, PORT) for end in ("", "_el"))}


def test_a_machine_without_shared_memory_has_no_segments(tmp_path: Path) -> None:
    assert remove_stale_segments(tmp_path / "nothing") == Removed()


def segments_of(process: int) -> set[Path]:
    """Return the segments whose locks a process holds."""
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    held = {words[5].rpartition(":")[2] for words in locks if words[1] == "FLOCK" and words[4] == str(process)}
    files = [path for path in FOLDER.glob("fast*_el") if "port" not in path.name and str(path.stat().st_ino) in held]
    return {path.with_name(path.name.removesuffix("_el")) for path in files}


def test_the_lock_is_the_one_that_fast_dds_holds() -> None:
    """A segment stays while its process lives, and goes once it was killed."""
    code = "import rclpy; rclpy.init(); node = rclpy.create_node('short_lived'); print('up', flush=True); input()"
    alone = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}  # others would see it die, and clean up
    with subprocess.Popen(
        [sys.executable, "-c", code], env=alone, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        segments = segments_of(process.pid)
        assert segments
        for segment in segments:
            os.utime(f"{segment}_el", (0, 0))
        remove_stale_segments()
        assert all(segment.exists() for segment in segments), "it lives"
        process.kill()
    assert all(segment.exists() for segment in segments), "it could not clean up"
    remove_stale_segments()
    assert not any(path.exists() for segment in segments for path in (segment, Path(f"{segment}_el")))
