"""A plain `colcon build`: of the repository, of a package in another workspace that uses our messages, of those alone.

The ROS wheels of the environment that runs the tests take the place of an apt ROS; requirements/colcon.txt brings the
rest.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPENDENT = Path(__file__).parent / "dependent_msgs"
PREFIX = Path(sys.prefix)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("colcon_core") is None or not (PREFIX / "share" / "ament_cmake").is_dir(),
        reason="needs what requirements/colcon.txt installs",
    ),
]

# In the shell of a workspace that is built on `underlay`. It imports what was built there and makes one round trip.
USE_BOTH = """
import json, dependent_msgs, sam_msgs
from dependent_msgs.msg import Inventory
from rclpy.serialization import deserialize_message, serialize_message
from sam_msgs.msg import TrackedObject

sent = Inventory(place="shelf", objects=[TrackedObject(id=7, label="cup")])
received = deserialize_message(serialize_message(sent), Inventory)
print(json.dumps([sam_msgs.__file__, dependent_msgs.__file__, received.objects[0].label, received == sent]))
"""


def shell(command: str, workspace: Path, *, underlay: Path | None = None) -> str:
    """Run a command in a workspace, in a shell that has sourced the ROS wheels and an underlay, as a user would.

    Returns:
        What the command printed.

    Raises:
        AssertionError: It failed; the message has all that was printed.
    """
    dropped = ("PYTHONPATH", "COLCON_", "AMENT_", "CMAKE_", "PYTEST_", "MAKE", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {
        "VIRTUAL_ENV": str(PREFIX),
        "PATH": f"{PREFIX / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(PREFIX),
        "CMAKE_PREFIX_PATH": str(PREFIX),
        "CFLAGS": "-O0",  # most of a build's time is the compiler's
        "CXXFLAGS": "-O0",
    }
    workspace.mkdir(parents=True, exist_ok=True)
    sourced = f". {underlay}/install/setup.sh && " if underlay else ""
    done = subprocess.run(
        ["bash", "-c", sourced + command],
        cwd=workspace, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(packages: Path, workspace: Path, *, underlay: Path | None = None) -> None:
    """Build every package that colcon finds below a folder; the option mends the ROS wheels' exported targets."""
    mended = f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'msg' / 'pip' / 'drop_missing_includes.cmake'}"
    shell(f"colcon build --base-paths {packages} --cmake-args {mended}", workspace, underlay=underlay)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the repository, as it was cloned, is built."""
    workspace = tmp_path_factory.mktemp("robot")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "install", "log", "demo_output", "*.egg-info")
    shutil.copytree(ROOT, workspace / "src" / "sam_ros", ignore=ignored)
    build(workspace / "src", workspace)
    return workspace


def test_the_repository_is_one_package_with_two_names(robot: Path) -> None:
    index = robot / "install" / "sam_ros" / "share" / "ament_index" / "resource_index"

    assert {path.name for path in (index / "packages").iterdir()} == {"sam_ros", "sam_msgs"}
    for program in ("tracker", "camera"):
        assert os.access(robot / "install" / "sam_ros" / "lib" / "sam_ros" / program, os.X_OK)


def test_another_workspace_builds_on_our_messages(robot: Path, tmp_path: Path) -> None:
    build(DEPENDENT, tmp_path, underlay=robot)

    printed = shell(f"python -c '{USE_BOTH}'", tmp_path, underlay=tmp_path).splitlines()[-1]
    ours, theirs, label, equal = json.loads(printed)
    assert Path(ours).is_relative_to(robot / "install")
    assert Path(theirs).is_relative_to(tmp_path / "install")
    assert (label, equal) == ("cup", True)


def test_colcon_test_runs_our_tests(robot: Path) -> None:
    """All of them would take long: those of one file, out of the folder of one test."""
    shell(
        "PYTEST_ADDOPTS='-k test_interfaces' colcon test --base-paths src --return-code-on-test-failure"
        " --ctest-args -R '^packaging$'",
        robot,
    )
    results = shell("colcon test-result --all", robot)

    assert "packaging.xunit.xml" in results
    assert " 0 errors, 0 failures" in results
    registered = shell("ctest --show-only", robot / "build" / "sam_ros")
    for folder in (path.parent.name for path in ROOT.glob("tests/*/test_*.py")):
        assert f": {folder}\n" in registered, f"colcon test leaves out tests/{folder}"


def test_messages_build_alone(tmp_path: Path) -> None:
    """As on an operator's computer, which needs neither the nodes nor PyTorch."""
    build(ROOT / "msg", tmp_path)

    assert [path.name for path in (tmp_path / "install").iterdir() if path.is_dir()] == ["sam_msgs"]
    found = "import sam_msgs.srv as services; print(services.__file__, services.AddPrompt.Request().object_id)"
    place, number = shell(f"python -c '{found}'", tmp_path, underlay=tmp_path).splitlines()[-1].split()
    assert Path(place).is_relative_to(tmp_path / "install")
    assert number == "0"
