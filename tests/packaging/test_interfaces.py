"""The interfaces: every field documented, every file built, the vision_msgs types those of the published package."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VISION = ROOT / "msg" / "pip" / "vision_msgs"
TF = ROOT / "msg" / "pip" / "tf2_msgs"
OURS = ("msg/*.msg", "srv/*.srv", "action/*.action")
FOLDERS = (*((ROOT, pattern) for pattern in OURS), (VISION, "msg/*.msg"), (TF, "msg/*.msg"))
INTERFACES = sorted(path for folder, pattern in FOLDERS for path in folder.glob(pattern))

# Types and fields, in order, of vision_msgs 4.1.1 as published; a type's hash follows from them.
PUBLISHED = {
    "BoundingBox3D": ["geometry_msgs/Pose center", "geometry_msgs/Vector3 size"],
    "Detection3D": [
        "std_msgs/Header header",
        "vision_msgs/ObjectHypothesisWithPose[] results",
        "vision_msgs/BoundingBox3D bbox",
        "string id",
    ],
    "Detection3DArray": ["std_msgs/Header header", "vision_msgs/Detection3D[] detections"],
    "BoundingBox2D": ["vision_msgs/Pose2D center", "float64 size_x", "float64 size_y"],
    "Detection2D": [
        "std_msgs/Header header",
        "vision_msgs/ObjectHypothesisWithPose[] results",
        "vision_msgs/BoundingBox2D bbox",
        "string id",
    ],
    "Detection2DArray": ["std_msgs/Header header", "vision_msgs/Detection2D[] detections"],
    "LabelInfo": ["std_msgs/Header header", "vision_msgs/VisionClass[] class_map", "float32 threshold"],
    "ObjectHypothesis": ["string class_id", "float64 score"],
    "ObjectHypothesisWithPose": [
        "vision_msgs/ObjectHypothesis hypothesis",
        "geometry_msgs/PoseWithCovariance pose",
    ],
    "Point2D": ["float64 x", "float64 y"],
    "Pose2D": ["vision_msgs/Point2D position", "float64 theta"],
    "VisionClass": ["uint16 class_id", "string class_name"],
}


def fields(path: Path) -> list[str]:
    """List an interface's fields and constants as they are written, without comments."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and line != "---"]


@pytest.mark.parametrize("path", INTERFACES, ids=lambda path: path.name)
def test_every_field_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# "), "an interface begins with what it is for"
    for before, line in pairwise(lines):
        if line and not line.startswith(("#", "---")):
            assert before.startswith("#") or "  # " in line, f"{path.name}: no comment at '{line}'"


def listed(cmake: Path) -> set[str]:
    """Return the interface files that a CMakeLists.txt names."""
    return set(re.findall(r'"(?:\$\{interface_root\}:)?(\w+/\w+\.(?:msg|srv|action))"', cmake.read_text()))


def test_every_interface_is_built() -> None:
    ours = {f"{path.parent.name}/{path.name}" for path in INTERFACES if not {VISION, TF} & set(path.parents)}
    vision = {f"msg/{path.name}" for path in VISION.glob("msg/*.msg")}

    assert listed(ROOT / "msg" / "CMakeLists.txt") == ours
    assert listed(VISION / "CMakeLists.txt") == vision
    assert listed(TF / "CMakeLists.txt") == {"msg/TFMessage.msg"}


def test_vision_msgs_are_those_of_the_published_package() -> None:
    ours = {path.stem: fields(path) for path in VISION.glob("msg/*.msg")}

    assert ours == PUBLISHED
    assert fields(TF / "msg" / "TFMessage.msg") == ["geometry_msgs/TransformStamped[] transforms"]


def test_built_interfaces_are_those_of_the_sources() -> None:
    """What is installed was built from these files: the environment isn't stale."""
    sam_msgs = pytest.importorskip("sam_msgs")
    share = Path(sam_msgs.__file__).parents[4] / "share"
    if not (share / "sam_msgs").is_dir():
        pytest.skip("sam_msgs isn't laid out as pip and colcon do")

    for path in (path for pattern in OURS for path in ROOT.glob(pattern)):
        assert fields(share / "sam_msgs" / path.parent.name / path.name) == fields(path)


def test_constants_and_limits_of_the_built_types() -> None:
    messages = pytest.importorskip("sam_msgs.msg")
    services = pytest.importorskip("sam_msgs.srv")

    assert (messages.TrackedObject.TRACKED, messages.TrackedObject.ABSENT) == (1, 2)
    assert (messages.LabeledPoint.NEGATIVE, messages.LabeledPoint.POSITIVE) == (0, 1)
    assert services.AddPrompt.Request.NEW == services.AddPrompt.Request().object_id == 0
    assert services.AddPrompt.Request.get_fields_and_field_types()["box"] == "sequence<float, 4>"


def test_type_description_of_detections_names_the_published_types() -> None:
    vision = pytest.importorskip("vision_msgs")
    description = Path(vision.__file__).parents[4] / "share" / "vision_msgs" / "msg" / "Detection2DArray.json"
    if not description.is_file():
        pytest.skip("vision_msgs isn't laid out as pip and colcon do")
    hashes = json.loads(description.read_text())["type_hashes"]

    own = {item["type_name"].split("/")[-1] for item in hashes if item["type_name"].startswith("vision_msgs/")}
    assert own == set(PUBLISHED) - {"LabelInfo", "VisionClass", "BoundingBox3D", "Detection3D", "Detection3DArray"}
    assert all(item["hash_string"].startswith("RIHS01_") for item in hashes)
