"""What is packed: the library's wheel holds its configuration, the interfaces' source distribution builds alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKED = ("LICENSE", "MANIFEST.in", "NOTICE", "config", "launch", "package.xml", "pyproject.toml", "requirements",
          "resource", "sam_core", "sam_ros", "setup.py")  # fmt: skip


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

    assert set(commands) == {"sam-camera", "sam-demo", "sam-tracker"}
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


@pytest.fixture
def backend() -> ModuleType:
    """Import the interfaces' build backend, which is no package."""
    spec = importlib.util.spec_from_file_location("backend", ROOT / "msg" / "pip" / "backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_source_distribution_of_the_interfaces_is_complete(backend: ModuleType, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / backend.build_sdist(str(tmp_path))) as archive:
        base = f"sam_msgs-{backend.VERSION}"
        names = {name.removeprefix(f"{base}/") for name in archive.getnames()}

    interfaces = {f"{path.parent.name}/{path.name}" for path in (*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv"))}
    pip = {path.relative_to(ROOT / "msg").as_posix() for path in (ROOT / "msg" / "pip").rglob("*") if path.is_file()}
    pip = {name for name in pip if "__pycache__" not in name}
    assert names == interfaces | pip | {"CMakeLists.txt", "LICENSE", "PKG-INFO", "package.xml", "pyproject.toml"}


def test_backend_refuses_a_sourced_ros(backend: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")

    with pytest.raises(RuntimeError, match="ROS jazzy is sourced"):
        backend.build_wheel(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_backend_leaves_a_real_vision_msgs_alone(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site-packages"
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(backend.sysconfig, "get_path", lambda name: str(site))
    manifest = tmp_path / "share" / "vision_msgs" / "package.xml"

    assert backend._wants_vision_msgs({})
    assert not backend._wants_vision_msgs({"vision_msgs": "off"})
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    assert not backend._wants_vision_msgs({}), "somebody else's vision_msgs is there"
    record = site / "sam_msgs-0.1.0.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    record.write_text("../../../share/vision_msgs/package.xml,sha256=,1\n")
    assert backend._wants_vision_msgs({}), "it is ours, from an earlier build"
