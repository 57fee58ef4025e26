"""What is packed: the library's wheel holds its configuration, the interfaces' wheel respects what is there."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKED = ("LICENSE", "MANIFEST.in", "NOTICE", "config", "launch", "msg", "package.xml", "pyproject.toml",
          "requirements", "resource", "sam_core", "sam_ros", "setup.py")  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel of a copy of the tree, with what is installed and without a network."""
    work = tmp_path_factory.mktemp("wheel")
    for name in PACKED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, work / name)
    build = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, work / "dist"], cwd=work, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(work / "dist" / done.stdout.splitlines()[-1])


def test_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())

    for package in ("sam_core", "sam_ros"):
        sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py")}
        assert sources <= packed
    for folder, package in (("models", "sam_core"), ("training", "sam_core"), ("ros", "sam_ros"), ("dds", "sam_ros")):
        files = [path for path in (ROOT / "config" / folder).rglob("*") if path.is_file()]
        assert files, f"config/{folder} is empty"
        assert {f"{package}/config/{path.relative_to(ROOT / 'config').as_posix()}" for path in files} <= packed
    for data in ("data", "weights"):
        assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "sam_core" / data).glob("*")} <= packed
    assert "sam_ros/camera/clips/cup.mp4" in packed
    assert {"sam_ros/console/web/picture.js", "sam_ros/console/web/style.css"} <= packed
    assert [name for name in packed if name.endswith("/licenses/NOTICE")], "the clip needs its attribution"


def test_wheel_holds_no_tests_and_no_doubles(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.startswith("sam_ros-")} == {"sam_core", "sam_ros"}
    assert not [name for name in wheel.namelist() if name.startswith("sam_core/config/ros")]


def test_wheel_registers_the_ros_package(wheel: zipfile.ZipFile) -> None:
    shared = {name.split(".data/data/")[1] for name in wheel.namelist() if ".data/data/" in name}

    assert {"share/ament_index/resource_index/packages/sam_ros", "share/sam_ros/package.xml"} <= shared
    for launch in (ROOT / "launch").glob("*.launch.py"):
        assert f"share/sam_ros/launch/{launch.name}" in shared


def test_wheel_has_the_commands(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    commands = dict(line.split(" = ") for line in wheel.read(name).decode().splitlines() if " = " in line)

    assert set(commands) == {
        f"sam-{name}" for name in ("annotate", "camera", "console", "demo", "localizer", "rerun", "tracker", "train")
    }
    for target in commands.values():
        module, function = target.split(":")
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert f"def {function}(" in source


def test_installed_library_finds_its_models(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked as pip would, away from the checkout, the library knows the same models."""
    wheel.extractall(tmp_path)
    script = "import sam_core.build as build; print(build.__file__); print(*build.model_names())"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    location, names = done.stdout.splitlines()[:2]
    assert Path(location).is_relative_to(tmp_path)
    models = {path.stem for path in (ROOT / "config" / "models").glob("sam2*.yaml")}
    assert set(names.split()) >= models


def cmake(*arguments: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("cmake")
    if program is None:
        pytest.skip("no cmake")
    return subprocess.run([program, *arguments], env=environment, check=False, capture_output=True, text=True)


def test_build_of_the_interfaces_refuses_a_sourced_ros(tmp_path: Path) -> None:
    environment = os.environ | {"ROS_DISTRO": "jazzy"}

    done = cmake("-S", ROOT / "msg" / "pip", "-B", tmp_path, environment=environment)
    assert done.returncode != 0
    assert "ROS jazzy is sourced" in done.stderr


def test_build_of_the_interfaces_leaves_a_real_vision_msgs_alone(tmp_path: Path) -> None:
    script = tmp_path / "decide.cmake"
    script.write_text(
        f"include({ROOT}/msg/pip/keep_real_packages.cmake)\n"
        f"keep_real_package({tmp_path} vision_msgs BUILD_VISION_MSGS)\n"
        "message(STATUS ${BUILD_VISION_MSGS})\n"
    )
    manifest = tmp_path / "share" / "vision_msgs" / "package.xml"
    manifest.parent.mkdir(parents=True)

    def decision() -> str:
        return cmake("-DBUILD_VISION_MSGS=ON", "-P", script).stdout.removeprefix("-- ").strip()

    assert decision() == "ON", "there is none"
    manifest.write_text("<package><name>vision_msgs</name></package>")
    assert decision() == "OFF", "somebody else's"
    shutil.copy(ROOT / "msg" / "pip" / "vision_msgs" / "package.xml", manifest)
    assert decision() == "ON", "ours, from an earlier build"


def test_installed_interfaces_have_one_metadata_and_their_requirements() -> None:
    sam_msgs = pytest.importorskip("sam_msgs")
    site = Path(sam_msgs.__file__).parents[1]
    if not list(site.glob("sam_msgs-*.dist-info")):
        pytest.skip("sam_msgs wasn't installed by pip")

    (folder,) = site.glob("sam_msgs-*")
    metadata = importlib.metadata.Distribution.at(folder)
    assert metadata.version == ElementTree.parse(ROOT / "msg" / "package.xml").findtext("version")
    for requirement in metadata.requires or []:
        name, version = requirement.split("==")
        assert importlib.metadata.version(name) == version
