"""The launch files: their arguments anywhere, their behaviour where ROS's launch is installed."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sam_core.synthetic import DemoScene

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
ARGUMENTS = {
    "tracker.launch.py": {
        *("namespace", "params_file", "model", "checkpoint", "device", "detector", "detector_checkpoint"),
        *("image", "image_transport", "autostart", "respawn", "use_sim_time", "log_level"),
        *("console", "console_host", "console_port"),
        *("depth", "depth_image", "depth_camera_info", "camera_info", "target_frame", "localizer_params_file"),
    },
    "demo.launch.py": {
        *("namespace", "source", "model", "checkpoint", "device", "prompt", "respawn", "log_level"),
        *("console", "console_host", "console_port"),
    },
}


def declared(name: str) -> dict[str, dict[str, ast.expr]]:
    """Return the launch arguments that a file declares: the keyword arguments of each, by its name."""
    found = {}
    for node in ast.walk(ast.parse((LAUNCH / name).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument":
            assert isinstance(node.args[0], ast.Constant)
            found[str(node.args[0].value)] = {str(word.arg): word.value for word in node.keywords}
    return found


def test_every_launch_file_is_known() -> None:
    assert {path.name for path in LAUNCH.glob("*")} - {"__pycache__"} == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_declared_with_default_and_description(name: str) -> None:
    arguments = declared(name)

    assert set(arguments) == ARGUMENTS[name]
    assert all(set(words) == {"default_value", "description"} for words in arguments.values())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_configurations_that_are_used_are_declared(name: str) -> None:
    tree = ast.parse((LAUNCH / name).read_text())
    used = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "LaunchConfiguration"
        and isinstance(node.args[0], ast.Constant)
    }

    assert used <= ARGUMENTS[name]


def test_the_scenes_first_prompt_is_on_the_turtle() -> None:
    """The prompt arrives some time in the scene's first three seconds, and means the object that it names."""
    pytest.importorskip("rclpy")
    from sam_ros.demo.selection import SCENE_SELECTIONS

    selection, scene = SCENE_SELECTIONS["scene"], DemoScene()
    turtle = scene.object_names.index(selection.label) + 1
    ((x, y),) = selection.points

    for index in range(0, 90, 10):
        assert scene.render(index).labels[int(y), int(x)] == turtle


def test_the_demo_plays_the_clip_that_has_a_prompt() -> None:
    pytest.importorskip("rclpy")
    from sam_ros.demo.selection import CLIP_SELECTIONS

    defaults = {name: ast.literal_eval(words["default_value"]) for name, words in declared("demo.launch.py").items()}
    assert defaults["source"] in CLIP_SELECTIONS
    assert defaults["prompt"] == ""


NODES = {
    "tracker": "sam_ros.node.tracker_node.TrackerNode",
    "camera": "sam_ros.camera.camera_node.CameraNode",
    "localizer": "sam_ros.localization.localizer_node.LocalizerNode",
    "console": "sam_ros.console.ros.console_node.ConsoleNode",
}
DUMP = """
import json, sys
from importlib import import_module

import rclpy

from sam_core.streaming.renamed import RENAMED

values = {}
for name, (path, file) in json.loads(sys.argv[1]).items():
    module, node_class = path.rsplit(".", 1)
    for key, arguments in ((name, []), (f"{name} with its file", ["--ros-args", "--params-file", file])):
        rclpy.init(args=arguments)
        node = getattr(import_module(module), node_class)()
        # Former names are accepted, not shown.
        hidden = {"use_sim_time", "start_type_description_service", *RENAMED}
        values[key] = {k: v.value for k, v in node._parameters.items() if "." not in k and k not in hidden}
        node.destroy_node()
        rclpy.shutdown()
print(json.dumps(values, default=list))
"""


@pytest.fixture(scope="module")
def parameters() -> dict[str, dict[str, object]]:
    """Values of each node's parameters, started without and with its file of parameters."""
    pytest.importorskip("rclpy")
    nodes = {name: (path, str(ROOT / "config" / "ros" / f"{name}.yaml")) for name, path in NODES.items()}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}
    done = subprocess.run(
        [sys.executable, "-c", DUMP, json.dumps(nodes)], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    values: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return values


@pytest.mark.parametrize("name", NODES)
def test_parameter_files_give_every_parameter_its_default(name: str, parameters: dict[str, dict[str, object]]) -> None:
    """A node started with its file of parameters has the same values as one started without."""
    assert parameters[f"{name} with its file"] == parameters[name]
    file = yaml.safe_load((ROOT / "config" / "ros" / f"{name}.yaml").read_text())
    assert set(file["/**"]["ros__parameters"]) == set(parameters[name])


@pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None or shutil.which("ros2") is None,
    reason="ROS's launch is not on PyPI: this runs on an apt ROS with the package built by colcon",
)
def test_launch_leads_the_tracker_to_active(tmp_path: Path) -> None:
    script = tmp_path / "launch_tracker.py"
    script.write_text(
        "from launch import LaunchDescription, LaunchService\n"
        "from launch.actions import EmitEvent, IncludeLaunchDescription, RegisterEventHandler, TimerAction\n"
        "from launch.events import Shutdown\n"
        "from launch.launch_description_sources import PythonLaunchDescriptionSource\n"
        "from launch_ros.event_handlers import OnStateTransition\n"
        f"file = PythonLaunchDescriptionSource({str(LAUNCH / 'tracker.launch.py')!r})\n"
        "arguments = [('model', 'sam2.1_micro'), ('namespace', 'robot')]\n"
        "stop = EmitEvent(event=Shutdown(reason='active'))\n"
        "service = LaunchService()\n"
        "service.include_launch_description(LaunchDescription([\n"
        "    RegisterEventHandler(OnStateTransition(goal_state='active', entities=[stop])),\n"
        "    IncludeLaunchDescription(file, launch_arguments=arguments),\n"
        "    TimerAction(period=120.0, actions=[EmitEvent(event=Shutdown(reason='too late'))]),\n"
        "]))\n"
        "raise SystemExit(service.run())\n"
    )
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True)

    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "too late" not in output
    assert "[robot.tracker]: active" in output
