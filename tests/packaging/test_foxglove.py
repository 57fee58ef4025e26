"""Annotations for Foxglove with the real foxglove_msgs: Foxglove's own definitions from npm, built by colcon."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.test_colcon import PREFIX, ROOT, build, shell

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("colcon_core") is None or not (PREFIX / "share" / "ament_cmake").is_dir(),
        reason="needs what requirements/colcon.txt installs",
    ),
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm"),
]

# Foxglove generates the messages of ROS from its schemas. Written are ImageAnnotations and all that it is made of.
GENERATE = """
const { writeFileSync } = require("fs");
const { generateRosMsg, generateRosMsgDefinition, foxgloveMessageSchemas } = require("@foxglove/schemas/internal");
const wanted = ["ImageAnnotations"];
const ros = { rosVersion: 2 };
for (const name of wanted) {
  const text = generateRosMsg(generateRosMsgDefinition(foxgloveMessageSchemas[name], ros), ros);
  writeFileSync(`msg/${name}.msg`, text);
  for (const [, part] of text.matchAll(/^foxglove_msgs\\/(\\w+)/gm)) if (!wanted.includes(part)) wanted.push(part);
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(foxglove_msgs)
find_package(ament_cmake REQUIRED)
find_package(builtin_interfaces REQUIRED)
find_package(rosidl_default_generators REQUIRED)
file(GLOB messages RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} msg/*.msg)
rosidl_generate_interfaces(${PROJECT_NAME} ${messages} DEPENDENCIES builtin_interfaces)
ament_export_dependencies(rosidl_default_runtime)
ament_package()
"""
PACKAGE = """<?xml version="1.0"?>
<package format="3">
  <name>foxglove_msgs</name>
  <version>0.0.0</version>
  <description>What a robot has from apt.</description>
  <maintainer email="maintainers@example.com">sam_ros maintainers</maintainer>
  <license>MIT</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>builtin_interfaces</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""


def test_the_tracker_annotates_images_where_foxglove_msgs_is_installed(tmp_path: Path) -> None:
    package = tmp_path / "src" / "foxglove_msgs"
    (package / "msg").mkdir(parents=True)
    tools = tmp_path / "tools"
    done = subprocess.run(
        ["npm", "install", "--prefix", tools, "@foxglove/schemas@2"], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("@foxglove/schemas cannot be installed")
    (tools / "generate.js").write_text(GENERATE)
    subprocess.run(["node", tools / "generate.js"], cwd=package, check=True)
    (package / "CMakeLists.txt").write_text(CMAKE)
    (package / "package.xml").write_text(PACKAGE)
    build(tmp_path / "src", tmp_path)

    printed = shell(
        f"cd {ROOT} && {sys.executable} -m pytest -q -p no:cacheprovider tests/ros/test_annotations.py",
        tmp_path,
        underlay=tmp_path,
    )
    assert re.search(r"3 passed|2 passed, 1 skipped", printed), printed  # one needs foxglove-sdk, too
