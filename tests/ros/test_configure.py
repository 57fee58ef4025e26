"""While a model of 224 million parameters is built, the node answers, and a signal ends it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState

from sam_ros.runtime.processes import Executable

LAUNCH_TIMEOUT = 5.0  # s after which ROS's launch stops to be patient


def test_configure_holds_up_neither_services_nor_the_end(
    make_process: Callable[..., Executable], make_client: Callable[..., Any]
) -> None:
    process = make_process("tracker", {"model": "sam2.1_hiera_large", "device": "cpu"}, remappings={"__ns": "/slow"})
    client = make_client("/slow/tracker", image="/slow/image")
    assert not client.list().success  # services are found before time counts
    client.call(GetState, "get_state")
    configure = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    change = client.client(ChangeState, "change_state")

    first = change.call_async(configure)
    client.until(lambda: client.call(GetState, "get_state").current_state.label == "configuring", "configuring")
    assert client.list().message == "the tracker is configuring; ask again when that is done"
    assert not client.call(ChangeState, "change_state", transition=configure.transition).success, "one at a time"
    client.until(lambda: client.message == "configuring", "the state in the diagnostics")
    assert not first.done()

    asked = time.monotonic()
    assert process.stop(signal.SIGINT, timeout=LAUNCH_TIMEOUT) == 0, process.output()
    assert time.monotonic() - asked < LAUNCH_TIMEOUT
    assert "Traceback" not in process.output()
