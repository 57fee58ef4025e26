"""The SROS 2 policy against the running nodes: whatever a node does must be allowed, or it cannot work.

Enforcing it takes a Fast DDS with its security plugins, which the wheels lack; an apt ROS has them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rclpy.node import NodeNameNonExistentError

from tests.ros.console.browser_rig import UNDER_TEST, address_of

POLICY = Path(__file__).resolve().parents[2] / "config" / "sros2" / "policy.xml"
# What an action consists of: the rule that allows an action, and what it comes to.
ACTIONS = {
    "publish": ("execute", ("feedback", "status")),
    "reply": ("execute", ("send_goal", "cancel_goal", "get_result")),
    "subscribe": ("call", ("feedback", "status")),
    "request": ("call", ("send_goal", "cancel_goal", "get_result")),
}
RULES = {"publisher": "publish", "subscriber": "subscribe", "service": "reply", "client": "request"}


def allowed(node: str, rule: str) -> set[str]:
    """Return the full names that the policy allows a node of the root namespace, as SROS 2 resolves them."""
    (profile,) = ElementTree.parse(POLICY).getroot().findall(f".//profile[@node='{node}']")
    assert profile.get("ns") == "/"
    names = [item.text or "" for group in profile if group.get(rule) == "ALLOW" for item in group]
    action_rule, parts = ACTIONS[rule]
    actions = [item.text or "" for group in profile if group.get(action_rule) == "ALLOW" for item in group]
    names += [f"{action}/_action/{part}" for action in actions for part in parts]
    assert len(names) == len(set(names))
    return {"/" + name.replace("~", node) if not name.startswith("/") else name for name in names}


def used(client: Any, node: str, kind: str) -> set[str]:
    """Return the full names that a running node uses; none while it is not known."""
    try:
        return {name for name, _ in getattr(client.node, f"get_{kind}_names_and_types_by_node")(node, "/")}
    except NodeNameNonExistentError:
        return set()


def judge(client: Any, node: str, kind: str, optional: set[str]) -> None:
    """Assert that a node uses what it is allowed, soon (names become known one by one), and nothing else."""
    may = allowed(node, RULES[kind])
    client.until(lambda: may - optional <= used(client, node, kind), f"{sorted(may - optional)} of {node}")
    assert used(client, node, kind) <= may


@pytest.mark.parametrize("kind", RULES)
def test_the_tracker_may_do_what_it_does_and_no_more(client: Any, kind: str) -> None:
    optional = {"/clock", "/parameter_events", "/image/compressed"}  # with simulated time, with compressed images
    optional.add("/tracker/annotations")  # with foxglove_msgs
    judge(client, "tracker", kind, optional)


def test_the_camera_may_do_what_it_does(make_client: Callable[..., Any], make_process: Callable[..., Any]) -> None:
    make_process("camera", {"source": "scene"})
    client = make_client()
    client.until(lambda: len(used(client, "camera", "service")) >= 7, "the camera's services", 180)
    for kind, rule in RULES.items():
        assert used(client, "camera", kind) <= allowed("camera", rule)


def test_the_localizer_may_do_what_it_does_and_no_more(
    make_client: Callable[..., Any], make_process: Callable[..., Any]
) -> None:
    optional = {"/clock", "/parameter_events", "/depth/compressedDepth", "/image"}  # /image: of the colours of ~/cloud
    given = {"autostart": True, "publish_tf": True, "target_frame": "map", "registered": False}
    make_process("localizer", given, remappings={"objects": "/tracker/objects"})
    client = make_client()
    client.until(
        lambda: "/depth/camera_info" in used(client, "localizer", "subscriber"), "the localizer to be configured", 180
    )
    for kind in RULES:
        judge(client, "localizer", kind, optional)


def test_the_console_may_do_what_it_does_and_no_more(client: Any, make_process: Callable[..., Any]) -> None:
    pytest.importorskip("nicegui")
    optional = {"/clock", "/parameter_events", "/image/compressed"}  # as the tracker's
    console = make_process("console", {"port": 0, "trackers": [client.tracker]}, without=UNDER_TEST)
    picture = f"{address_of(console)}frame?tracker={client.tracker}"

    def watches() -> bool:
        with suppress(OSError), urllib.request.urlopen(picture, timeout=30):  # somebody looks
            return "/image" in used(client, "console", "subscriber")
        return False

    client.until(watches, "the console to receive images", 180)
    for kind in RULES:
        judge(client, "console", kind, optional)
    assert allowed("console", "request") < allowed("tracker", "reply")


def test_the_operator_may_ask_for_everything_but_parameters(client: Any) -> None:
    asked = allowed("operator", "request")
    offered = allowed("tracker", "reply")
    assert asked < offered
    assert {name for name in offered - asked if not name.endswith("get_type_description")} == {
        name for name in offered if "parameter" in name
    }
    assert allowed("operator", "subscribe") >= {n for n in allowed("tracker", "publish") if n.startswith("/tracker/")}


def test_without_security_plugins_a_node_ends_instead_of_running_open(tmp_path: Path) -> None:
    """Where SROS 2 is asked for and the middleware cannot do it, nothing runs unprotected."""
    enclave = tmp_path / "enclaves" / "tracker"
    enclave.mkdir(parents=True)
    for name in ("identity_ca.cert", "permissions_ca.cert", "cert", "key"):
        (enclave / f"{name}.pem").touch()
    for name in ("governance", "permissions"):
        (enclave / f"{name}.p7s").touch()
    security = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce"}
    done = subprocess.run(
        [sys.executable, "-m", "sam_ros.node.tracker_node", "--ros-args", "--enclave", "/tracker"],
        env=os.environ | security | {"ROS_SECURITY_KEYSTORE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "ecurity" in done.stderr
