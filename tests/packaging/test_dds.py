"""The Fast DDS profile: images of any camera reach another process, best effort, without loss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "config" / "dds" / "fastdds_shm.xml"
SPACE = "{http://www.eprosima.com}"

# Sends an image only once the one before was received: the load of the machine plays no part.
SCRIPT = """
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32

role, count = sys.argv[1], int(sys.argv[2])
rclpy.init()
node = rclpy.create_node(role)
sensor = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
received = []
if role == "receiver":
    answer = node.create_publisher(UInt32, "received", 100)
    def take(image):
        received.append(image.width)
        answer.publish(UInt32(data=sum(image.data[:8])))
    node.create_subscription(Image, "image", take, sensor)
    while len(received) < count or answer.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.1)
else:
    node.create_subscription(UInt32, "received", lambda message: received.append(message.data), 100)
    images = node.create_publisher(Image, "image", sensor)
    while not (images.get_subscription_count() and node.count_publishers("received")):
        rclpy.spin_once(node, timeout_sec=0.1)
    time.sleep(1.0)
    for number in range(count):
        image = Image(width=1920, height=1080, step=5760, encoding="rgb8")
        image.data = array.array("B", bytes([number]) * 5760 * 1080)
        images.publish(image)
        deadline = time.monotonic() + 5.0
        while len(received) <= number and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
    print(received)
rclpy.shutdown()
"""


# A burst while the receiver stands still, so that the load of the machine plays no part here either.
BURST = """
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

role, count = sys.argv[1], int(sys.argv[2])
rclpy.init()
node = rclpy.create_node(role)
sensor = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
if role == "receiver":
    received = []
    node.create_subscription(Image, "burst", lambda image: received.append(image.data[0]), sensor)
    sys.stdin.readline()
    deadline = time.monotonic() + 20.0
    while len(received) < count and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    print(sorted(received), flush=True)
else:
    images = node.create_publisher(Image, "burst", sensor)
    while not images.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.1)
    time.sleep(1.0)
    print("found", flush=True)
    sys.stdin.readline()
    for number in range(count):
        image = Image(width=1920, height=1080, step=5760, encoding="rgb8")
        image.data = array.array("B", bytes([number]) * 5760 * 1080)
        images.publish(image)
    print("sent", flush=True)
    sys.stdin.readline()
rclpy.shutdown()
"""


def test_segment_holds_what_a_readers_queue_can_hold() -> None:
    transports = {
        str(element.findtext(f"{SPACE}transport_id")): element
        for element in ElementTree.parse(PROFILE).iter(f"{SPACE}transport_descriptor")
    }
    segment = int(str(transports["shared_memory"].findtext(f"{SPACE}segment_size")))

    assert segment == 512 * 65536, "fragments that a reader's queue holds, by their size"
    assert transports["udp"].findtext(f"{SPACE}type") == "UDPv4", "other machines stay reachable"


@pytest.mark.parametrize(("distribution", "prefix"), [("jazzy", "FASTRTPS"), ("kilted", "FASTDDS"), ("", "FASTDDS")])
def test_the_profile_is_named_by_the_variable_that_the_distribution_reads(distribution: str, prefix: str) -> None:
    """With Jazzy's Fast DDS 2.14 and the newer name, no 1080p image arrived; with the older one, all."""
    script = "from sam_ros.runtime.dds import PROFILE_VARIABLE; print(PROFILE_VARIABLE)"
    environment = os.environ | {"ROS_DISTRO": distribution}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == f"{prefix}_DEFAULT_PROFILES_FILE"


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A domain of the test's own, with the profile."""
    pytest.importorskip("rclpy")
    from sam_ros.runtime.dds import PROFILE_VARIABLE
    from sam_ros.runtime.domain import private_domain

    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):  # private_domain sets them; the test puts them back
        monkeypatch.setenv(name, "")
    monkeypatch.setenv(PROFILE_VARIABLE, str(PROFILE))
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    with private_domain():
        yield


def test_large_images_reach_another_process(tmp_path: Path, domain: None) -> None:
    """1080p images by best effort; with the default segment of 0.5 MB hardly one arrives."""
    script = tmp_path / "exchange.py"
    script.write_text(SCRIPT)
    count = 10
    receiver = subprocess.Popen([sys.executable, script, "receiver", str(count)])
    try:
        sender = subprocess.run(
            [sys.executable, script, "sender", str(count)],
            check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        receiver.terminate()
        receiver.wait()

    assert sender.returncode == 0, sender.stderr
    assert sender.stdout.split() == str([8 * number for number in range(count)]).split()


def test_a_burst_reaches_a_reader_that_is_held_up(tmp_path: Path, domain: None) -> None:
    """Five 1080p images wait for it; with twice the segment it would be as many."""
    script = tmp_path / "burst.py"
    script.write_text(BURST)
    sender, receiver = (
        subprocess.Popen([sys.executable, script, role, "5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for role in ("sender", "receiver")
    )

    def go(process: subprocess.Popen[str]) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        return process.stdout.readline()

    try:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "found\n"
        receiver.send_signal(signal.SIGSTOP)
        assert go(sender) == "sent\n"
        receiver.send_signal(signal.SIGCONT)
        assert go(receiver) == "[0, 1, 2, 3, 4]\n"
    finally:
        for process in (sender, receiver):
            process.kill()
            process.communicate()
