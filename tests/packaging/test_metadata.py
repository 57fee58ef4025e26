"""Metadata that stands in several places says the same everywhere."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = [ROOT / "package.xml", ROOT / "msg" / "package.xml"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
ROS_IMPORTS = re.compile(r"(\w+_msgs|\w+_interfaces|\w+_srvs|rclpy|launch|launch_ros)$")


def requirements(path: Path) -> list[Requirement]:
    """Read a file of requirements, without their digests."""
    lines = (line.split(" #")[0].rstrip(" \\") for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.lstrip().startswith(("#", "--hash="))]


def build_requirements() -> list[Requirement]:
    """Read the requirements of the interfaces, to build and to run; Python 3.10 has no tomllib."""
    text = (ROOT / "msg" / "pyproject.toml").read_text()
    return [Requirement(line) for line in re.findall(r'^  "(.*)",$', text, flags=re.MULTILINE)]


def imported(folder: Path) -> Iterator[str]:
    """Yield the top-level packages that the Python files of a folder import."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


def test_one_version_and_one_licence() -> None:
    manifests = [ElementTree.parse(path) for path in MANIFESTS]

    assert len({manifest.findtext("version") for manifest in manifests}) == 1
    assert {manifest.findtext("license") for manifest in manifests} == {"Apache-2.0"}
    assert (ROOT / "LICENSE").read_text().split()[:2] == ["Apache", "License"]


def test_cmake_projects_are_named_as_their_manifests() -> None:
    for path in MANIFESTS:
        name = ElementTree.parse(path).findtext("name")
        assert f"project({name})" in (path.parent / "CMakeLists.txt").read_text()


def test_manifest_depends_on_every_ros_package_that_is_imported() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    depends = {element.text for element in manifest if element.tag.endswith("depend")}
    used = {name for folder in ("sam_ros", "launch") for name in imported(ROOT / folder) if ROS_IMPORTS.match(name)}

    # sam_msgs is part of this package, foxglove_msgs is used where it is installed; everything else is a dependency.
    assert used - depends == {"sam_msgs", "foxglove_msgs"}


def test_manifest_includes_what_the_interfaces_need() -> None:
    """Rosdep and colcon stop at the root's manifest, so it repeats the inner one's dependencies."""
    outer, inner = (
        {element.text for element in ElementTree.parse(path).getroot() if element.tag.endswith("depend")}
        for path in MANIFESTS
    )

    assert inner <= outer


def test_library_imports_no_ros() -> None:
    assert not [name for name in imported(ROOT / "sam_core") if ROS_IMPORTS.match(name) or name == "sam_ros"]


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_pins_everything_that_is_installed(python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    pins: dict[str, Requirement] = {}
    for pin in requirements(ROOT / "requirements" / "lock.txt"):
        if pin.marker is None or pin.marker.evaluate(environment):
            assert pin.name not in pins, f"{pin.name} is pinned twice for Python {python}"
            pins[pin.name] = pin
    wanted = build_requirements()
    for name in ("torch_needs", "run", "ros", "train", "console", "annotate", "test", "colcon"):
        wanted += requirements(ROOT / "requirements" / f"{name}.txt")

    for requirement in wanted:
        pin = pins[re.sub("[-_.]+", "-", requirement.name).lower()]
        version = str(pin.specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} isn't {pin}"


def test_every_package_is_locked_with_its_digests() -> None:
    for name in ("lock.txt", "reference.txt"):
        text = re.sub(r"^#.*\n", "", (ROOT / "requirements" / name).read_text(), flags=re.MULTILINE)
        entries = re.split(r"\n(?=\S)", text.strip())
        assert len(entries) == len(requirements(ROOT / "requirements" / name))
        for entry in entries:
            assert re.fullmatch(r"\S+==[^\n]+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry


def test_ros_wheels_are_of_one_distribution() -> None:
    """Exact versions wherever ROS wheels are named: a newer one belongs to another ROS distribution."""
    named = build_requirements()
    for name in ("ros.txt", "colcon.txt"):
        named += requirements(ROOT / "requirements" / name)
    wheels = [requirement for requirement in named if requirement.name.startswith("ros-")]
    versions: dict[str, set[str]] = {}
    for requirement in wheels:
        assert re.fullmatch(r"==[\d.]+", str(requirement.specifier)), f"{requirement} isn't pinned"
        versions.setdefault(requirement.name, set()).add(str(requirement.specifier))

    assert wheels
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_colcon_has_what_pip_builds_the_interfaces_with() -> None:
    installed = {requirement.name for name in ("ros.txt", "colcon.txt")
                 for requirement in requirements(ROOT / "requirements" / name)}  # fmt: skip

    wheels = {requirement.name for requirement in build_requirements() if requirement.name.startswith("ros-")}
    assert wheels - installed == {"ros-action-msgs", "ros-builtin-interfaces"}, "which ros-rclpy brings"


def test_robots_keep_their_numpy_and_opencv() -> None:
    names = {requirement.name for requirement in requirements(ROOT / "requirements" / "robot.txt")}

    assert names.isdisjoint({"numpy", "opencv-python", "opencv-python-headless"})
    assert not [name for name in names if name.startswith("ros-")]


def test_this_python_is_supported() -> None:
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in PYTHONS
