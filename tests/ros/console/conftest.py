"""What the tests of the console share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from rclpy.node import Node

if TYPE_CHECKING:
    from tests.ros.console.page_rig import SlowLink


@pytest.fixture
def links(ros: None) -> Iterator[dict[str, SlowLink]]:
    from tests.ros.console.page_rig import SECOND, SlowLink  # it needs NiceGUI

    node = Node("test_console_page")
    links = {name: SlowLink(node, name) for name in ("/a", "/b")}
    links["/a"].show(SECOND)
    yield links
    node.destroy_node()
