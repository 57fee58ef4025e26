"""The console's real process: what it refuses at its door, over real HTTP and real WebSockets."""

from __future__ import annotations

import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from rcl_interfaces.msg import Log
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

pytest.importorskip("nicegui")

from sam_ros.console.console import NICENESS
from sam_ros.runtime.processes import Executable
from tests.ros.console.browser_rig import UNDER_TEST, address_of

SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"


@pytest.fixture(scope="module")
def console(ros: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Executable, str, str]]:
    """A console for other computers, without a tracker; its address, and its token."""
    parameters = {"host": "0.0.0.0", "port": 0, "read_only": True, "trackers": ["/nobody"]}
    log = tmp_path_factory.mktemp("console") / "log"
    with Executable("console", parameters, without=UNDER_TEST, log=log) as process:
        address = address_of(process).replace("0.0.0.0", "127.0.0.1")
        base, token = re.fullmatch(r"(http://\S+)/\?token=(\S{16,})", address).groups()  # type: ignore[union-attr]
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                get(base)
                break
            except urllib.error.URLError:
                time.sleep(0.2)
        yield process, base, token
    assert process.exit_code == 0, process.output()


def cookie_of(base: str, token: str) -> str:
    return f"sam_console_{base.rpartition(':')[2]}={token}"


def get(address: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_without_the_token_nothing_is_served(console: tuple[Executable, str, str]) -> None:
    _, base, token = console
    for path in ("/", "/frame?tracker=/nobody", "/_nicegui/auto/static/nicegui.css"):
        status, text = get(base + path)
        assert status == 401
        assert b"token" in text
    assert get(f"{base}/?token={token[:-1]}")[0] == 401
    status, page = get(f"{base}/?token={token}")
    assert status == 200
    assert b"picture.js" in page
    assert b"http://" not in re.sub(rb"http://(www\.w3\.org|127\.0\.0\.1)", b"", page), "nothing from the internet"


def test_the_token_is_printed_and_not_logged(console: tuple[Executable, str, str]) -> None:
    """What is logged goes to /rosout, and from there into bags."""
    _, base, token = console
    node = Node("test_console_process")
    logged: list[str] = []
    qos = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(Log, "/rosout", lambda message: logged.append(message.msg), qos)
    port = base.rpartition(":")[2]
    end = time.monotonic() + 30
    while not any(f":{port}/" in text for text in logged):
        assert time.monotonic() < end, logged
        rclpy.spin_once(node, timeout_sec=0.2)
    node.destroy_node()
    assert not any(token in text for text in logged)


def test_it_does_without_pytorch(console: tuple[Executable, str, str]) -> None:
    """A display must not cost the 190 MiB and seconds that PyTorch takes."""
    process, base, token = console
    assert get(f"{base}/?token={token}")[0] == 200
    libraries = Path(f"/proc/{process.pid}/maps").read_text()
    assert "libfastdds" in libraries or "librcl" in libraries
    assert "libtorch" not in libraries


def test_it_lets_the_tracker_go_first(console: tuple[Executable, str, str]) -> None:
    """By nice and, since a session of its own gets an equal share on Linux whatever its nice is, by autogroup."""
    process, _, _ = console
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, own + NICENESS)
    autogroup = Path(f"/proc/{process.pid}/autogroup")
    if autogroup.exists():
        assert autogroup.read_text().split()[1:] == ["nice", str(NICENESS)]


def test_frames_of_nobody_say_so(console: tuple[Executable, str, str]) -> None:
    _, base, token = console
    cookie = cookie_of(base, token)
    status, text = get(f"{base}/frame?tracker=/elsewhere", Cookie=cookie)
    assert (status, b"No tracker was found" in text) == (404, True)
    assert get(f"{base}/frame?tracker=/nobody&after=0&level=99", Cookie=cookie)[0] == 204
    assert get(f"{base}/frame?tracker=/nobody&after=x", Cookie=cookie)[0] == 422
    assert get(f"{base}/frame?tracker={'a' * 10_000}", Cookie=cookie)[0] == 404
    assert get(f"{base}/elsewhere", Cookie=cookie) == (404, b"There is nothing here.")


def connect(base: str, origin: str, token: str) -> str:
    """Open the page's WebSocket, and return the first message."""
    client = pytest.importorskip("websockets.sync.client")
    headers = {"Cookie": cookie_of(base, token)}
    address = base.replace("http", "ws") + SOCKET
    with client.connect(address, origin=origin, additional_headers=headers) as socket:
        return str(socket.recv(timeout=30))


def test_a_websocket_needs_the_own_origin_and_the_token(console: tuple[Executable, str, str]) -> None:
    process, base, token = console
    assert "sid" in connect(base, base, token)
    for origin, cookie in ((base, "wrong-token"), ("https://evil.example", token)):
        with pytest.raises(Exception, match="403"):
            connect(base, origin, cookie)
    assert process.running
