"""Who prompts in `demo.launch.py`: reads a request, prompts the first result's image, in any namespace, and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sam_msgs.msg import LabeledPoint

from sam_ros.demo.first_prompt import PromptTextError, request_of
from sam_ros.runtime.processes import Executable


def test_a_request_is_read() -> None:
    request = request_of("{points: [{x: 546, y: 147.5, label: 1}], box: [1, 2, 3, 4], label: green turtle}")
    assert request.points == [LabeledPoint(x=546.0, y=147.5, label=1)]
    assert list(request.box) == [1.0, 2.0, 3.0, 4.0]
    assert request.label == "green turtle"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a cup", "has a cup; taken are points, box and label"),
        ("[1, 2]", "no request of sam_msgs/srv/AddPrompt in YAML"),
        ("{box: [1, 2", "no request of sam_msgs/srv/AddPrompt in YAML"),
        ("{box: [1, 2, 3, 4, 5]}", "YAML: a box is four numbers or none, not 5"),
        ("{points: [{x: 1}]}", "no request of sam_msgs/srv/AddPrompt in YAML"),
        ("{boxes: [1, 2, 3, 4]}", "has boxes; taken are points, box and label"),
    ],
)
def test_what_is_no_request_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PromptTextError, match=reason):
        request_of(text)


@pytest.mark.parametrize(
    ("prompt", "code", "text"),
    [
        ("{box: [20, 30, 50, 60], label: square}", 0, "is tracked"),
        ("{box: [2000, 30, 5000, 60]}", 1, "error: the tracker refused the prompt: "),
    ],
)
def test_it_prompts_the_first_result_and_ends(
    client: Any,
    make_process: Callable[..., Executable],
    picture: Callable[..., np.ndarray],
    prompt: str,
    code: int,
    text: str,
) -> None:
    process = make_process("first_prompt", {"prompt": prompt})
    client.until(lambda: client.node.count_subscribers("/tracker/objects") > 1, "its subscription")
    client.track(picture(0))
    client.until(lambda: client.track(picture(1)) and not process.running, "its end")
    assert process.exit_code == code, process.output()
    assert text in process.output()
    assert [item.label for item in client.list().objects] == ["square"][: 1 - code]
