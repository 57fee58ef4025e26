"""The demo from its command line: real processes, a prompt, files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_ros.demo.recording import Recording


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sam_ros.demo", "--model", "sam2.1_micro", "--device", "cpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def nobody_left(folder: Path) -> bool:
    """Say whether no process with this folder in its output is left."""
    logs = {str(path.resolve()) for path in folder.glob("*.log")}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if str((process / "fd" / "1").resolve()) in logs:
                    return False
            except OSError:
                continue
    return True


def test_the_scene_is_tracked_and_recorded(tmp_path: Path) -> None:
    done = run_demo("--seconds", "3", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RANDOM WEIGHTS" in done.stdout
    assert "prompted 4 objects" in done.stdout
    assert "mean IoU with the truth, red ball" in done.stdout
    for name in ("tracking.mp4", "tracking.png"):
        assert f"wrote {tmp_path / name}" in done.stdout
    capture = cv2.VideoCapture(str(tmp_path / "tracking.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) > 10
    assert capture.read()[1].shape == (480, 640, 3)
    assert cv2.imread(str(tmp_path / "tracking.png")).shape[1] == 3 * 480
    assert nobody_left(tmp_path)


def test_what_a_phrase_names_is_followed_and_compared_with_the_truth(tmp_path: Path) -> None:
    done = run_demo("--follow", "red circle", "--seconds", "4", "--rate", "5", "--score", "0", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a camera (twins)" in done.stdout
    assert "looked for 'red circle' through ~/detect_concept" in done.stdout
    assert "following 'red circle' through ~/follow_concept" in done.stdout
    figures = json.loads((tmp_path / "follow.json").read_text())
    assert figures["phrase"] == "red circle"
    assert [thing["name"] for thing in figures["things"]] == ["hiding red circle", "leaving red circle"]
    for thing in figures["things"]:
        assert thing["frames"] > 5
        assert 0.0 <= thing["detected_iou"] <= 1.0
        assert f"{thing['name']}: " in done.stdout
    assert (tmp_path / "tracking.png").is_file()
    assert nobody_left(tmp_path)


def test_a_video_of_ones_own_with_clicks(tmp_path: Path) -> None:
    clip = Path(__file__).resolve().parents[3] / "shared" / "clips" / "cup.mp4"
    if not clip.is_file():
        pytest.skip("the clip is not here")
    done = run_demo(
        "--seconds", "2", "--out", str(tmp_path), "--source", str(clip), "--click", "363,200", "--click", "500,400"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "prompted 2 objects" in done.stdout
    assert "IoU" not in done.stdout.replace("masks and IoUs", "")
    assert nobody_left(tmp_path)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "sam_ros.demo", "--model", "sam2.1_micro", "--seconds", "600"]
    with subprocess.Popen([*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        said = next(line for line in demo.stdout if "s left" in line)
        assert not nobody_left(tmp_path), said
        demo.send_signal(how)
        rest = demo.stdout.read()
        assert demo.wait(60) == 130
    assert "interrupted; both processes ended" in rest
    assert "Traceback" not in rest
    assert nobody_left(tmp_path)


def test_what_goes_wrong_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    done = run_demo("--source", "/does/not/exist", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "'/does/not/exist' is neither a scene (scene, twins) nor a video" in done.stdout
    assert nobody_left(tmp_path)


def test_a_recording_runs_in_real_time(tmp_path: Path) -> None:
    recording = Recording(tmp_path, seconds=2.0, pictures=4)
    assert recording.close() == []
    image = np.zeros((48, 64, 3), np.uint8)
    for tenth in range(0, 21, 2):  # 5 Hz for 2 s
        recording.add(image, 5 * 10**9 + tenth * 10**8)
    assert recording.close() == [tmp_path / "tracking.mp4", tmp_path / "tracking.png"]
    capture = cv2.VideoCapture(str(tmp_path / "tracking.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 31
    assert cv2.imread(str(tmp_path / "tracking.png")).shape == (2 * 360, 3 * 480, 3)
