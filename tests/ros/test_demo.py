"""The demo from its command line: real processes, a prompt, files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_ros.camera.sources import CLIPS
from sam_ros.demo.animation import Animation
from sam_ros.demo.command_line import parse
from sam_ros.demo.recording import Recording
from sam_ros.demo.selection import Selection


def run_demo(*arguments: str, model: str = "sam2.1_micro") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sam_ros.demo", "--model", model, "--device", "cpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def pictures_of(video: Path) -> list[np.ndarray]:
    """Read the pictures of a video, uint8 BGR (H, W, 3)."""
    capture = cv2.VideoCapture(str(video))
    pictures = []
    while (picture := capture.read()[1]) is not None:
        pictures.append(picture)
    return pictures


def iou_with_what_is_dark(overlay: np.ndarray) -> float:
    """Compare the blue mask in an overlay on the cup's clip with the cup: what is dark, but for the hand's shadow.

    The mask's blue adds little to red, so what is dark in red was dark before; the hand has more red than blue.
    """
    blue, _, red = cv2.split(overlay.astype(np.int16))
    mask = blue - red > 50
    cup = (red < 75) & (red < blue + 12)
    return float(np.count_nonzero(mask & cup) / np.count_nonzero(mask | cup))


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


def test_the_shipped_clip_is_tracked_by_default(tmp_path: Path) -> None:
    animation = tmp_path / "cup.webp"
    done = run_demo(
        *("--seconds", "5", "--rate", "4", "--animation", str(animation), "--out", str(tmp_path)), model="sam2_nano"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a camera (cup, 4.0 images per second)" in done.stdout
    assert "prompted 1 objects" in done.stdout
    assert f"wrote {animation}" in done.stdout
    ious = [iou_with_what_is_dark(picture) for picture in pictures_of(tmp_path / "tracking.mp4")]
    assert len(ious) > 30
    assert min(ious) > 0.8, ious
    assert nobody_left(tmp_path)


def test_the_scene_is_tracked_and_recorded(tmp_path: Path) -> None:
    done = run_demo("--source", "scene", "--seconds", "3", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RANDOM WEIGHTS" in done.stdout
    assert "prompted 4 objects" in done.stdout
    assert "mean IoU with the truth, red ball" in done.stdout
    for name in ("tracking.mp4", "tracking.png"):
        assert f"wrote {tmp_path / name}" in done.stdout
    pictures = pictures_of(tmp_path / "tracking.mp4")
    assert len(pictures) > 10
    assert pictures[0].shape == (480, 640, 3)
    assert cv2.imread(str(tmp_path / "tracking.png")).shape[1] == 3 * 480
    assert nobody_left(tmp_path)


def test_what_a_phrase_names_is_followed_and_compared_with_the_truth(tmp_path: Path) -> None:
    done = run_demo("--follow", "red circle", "--seconds", "10", "--rate", "5", "--score", "0", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a camera (twins, 5.0 images per second)" in done.stdout
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


def test_a_video_of_ones_own_with_boxes_and_clicks(tmp_path: Path) -> None:
    done = run_demo(
        *("--seconds", "8", "--out", str(tmp_path), "--source", str(CLIPS["cup"])),
        *("--box", "302,122,425,388", "--click", "363,200", "--box", "500.5,200,630,240"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "prompted 3 objects" in done.stdout
    assert re.search(r"3 objects$", done.stdout, re.MULTILINE), "all three are tracked"
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
    assert "interrupted; all processes ended" in rest
    assert "Traceback" not in rest
    assert nobody_left(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--box", "1,2,3"], "argument --box: '1,2,3' is not X1,Y1,X2,Y2 in px"),
        (["--box", "9,2,3,4"], "argument --box: '9,2,3,4' must have X1 < X2 and Y1 < Y2"),
        (["--click", "1;2"], "argument --click: '1;2' is not X,Y in px"),
        (["--click", "nan,2"], "argument --click: 'nan,2' is not X,Y in px"),
        (
            ["--source", "scene", "--click", "1,2"],
            "--box and --click go neither with --follow nor with a rendered scene",
        ),
        (["--follow", "a cup", "--box", "1,2,3,4"], "--box and --click go neither with --follow"),
        (["--depth", "--source", "cup"], "--depth needs room or a folder of TUM RGB-D"),
        (["--seconds", "0"], "argument --seconds: 0 is not above 0"),
        (["--animation", "cup.avi"], "argument --animation: 'cup.avi' does not end in .webp"),
    ],
)
def test_a_wrong_argument_is_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert message in capsys.readouterr().err


def test_what_is_tracked_follows_from_the_source() -> None:
    default = parse([])
    assert (default.source, default.phrase) == ("cup", "")
    assert default.selections == [Selection("cup", box=(302.0, 122.0, 425.0, 388.0))]
    assert parse(["--click", "1,2"]).selections == [Selection("click 1", points=((1.0, 2.0),))]
    assert parse(["--source", "0"]).selections == []
    scene = parse(["--source", "scene"])
    assert (scene.phrase, scene.selections) == ("blue box", [])
    assert parse(["--follow", "red circle"]).source == "twins"
    depth = parse(["--depth"])
    assert (depth.source, depth.selections, depth.phrase) == ("room", [], "")


def test_a_box_outside_the_image_is_refused_by_the_tracker(tmp_path: Path) -> None:
    done = run_demo("--box", "700,100,800,200", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "failed: the tracker refused the prompt 'box 1': " in done.stdout
    assert nobody_left(tmp_path)


def test_what_goes_wrong_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    done = run_demo("--source", "/does/not/exist", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "'/does/not/exist' is neither a scene (scene, twins, room) nor a video" in done.stdout
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


def test_an_animation_plays_at_the_speed_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "cup.webp"
    animation = Animation(path, speed=9.0)
    assert animation.close() == []
    for i in range(28):  # 3 Hz for 9 s, of a video of 27 Hz
        animation.add(np.full((48, 64, 3), 9 * i, np.uint8), 5 * 10**9 + i * 10**9 // 3)
    assert animation.close() == [path]
    done, read = cv2.imreadanimation(str(path))
    assert done
    assert read.frames[0].shape[:2] == (48, 64)
    greys = [frame[..., 0].mean() for frame in read.frames]
    assert greys == pytest.approx([18 * i for i in range(14)], abs=3), "every second one: at most 15 Hz"
    assert sum(read.durations) == pytest.approx(1000, abs=40)
    assert read.loop_count == 0, "for ever"


def test_an_animation_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "long.webp"
    animation = Animation(path)
    for second in range(0, 100, 5):
        animation.add(np.full((48, 64, 3), 2 * second, np.uint8), second * 10**9)
    animation.close()
    _, read = cv2.imreadanimation(str(path))
    assert len(read.frames) == 5
