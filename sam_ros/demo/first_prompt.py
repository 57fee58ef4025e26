"""Prompt the tracker once, on the first image that it has processed: for `demo.launch.py`.

    ros2 run sam_ros first_prompt --ros-args -p prompt:="'{box: [302.0, 122.0, 425.0, 388.0], label: cup}'"

All names are relative (`tracker/objects`, `tracker/add_prompt`), so a namespace moves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rclpy
from omegaconf import OmegaConf
from rclpy.node import Node
from rclpy.task import Future
from sam_msgs.msg import LabeledPoint, TrackedObjectArray
from sam_msgs.srv import AddPrompt

from sam_ros.demo.selection import CLIP_SELECTIONS, SCENE_SELECTIONS, Selection
from sam_ros.runtime.errors import FatalError
from sam_ros.runtime.run import run

__all__ = ["FirstPrompt", "PromptTextError", "main", "request_of"]

PERIOD = 0.1  # s between two looks at the service and its answer


class PromptTextError(FatalError):
    """A text that is no prompt."""


def request_of(text: str) -> AddPrompt.Request:
    """Read a request of AddPrompt from YAML, as `ros2 service call` takes it, with points, box and label.

    Raises:
        PromptTextError: It is something else.
    """
    try:
        content: Any = OmegaConf.to_container(OmegaConf.create(text))
        points = [(float(point["x"]), float(point["y"]), int(point["label"])) for point in content.pop("points", [])]
        box, label = [float(corner) for corner in content.pop("box", [])], str(content.pop("label", ""))
        if len(box) not in (0, 4):
            raise ValueError(f"a box is four numbers or none, not {len(box)}")
        clicks = [LabeledPoint(x=x, y=y, label=kind) for x, y, kind in points]
        request = AddPrompt.Request(points=clicks, box=box, label=label)
    except Exception as error:  # whatever YAML, OmegaConf and the message object to
        raise PromptTextError(f"prompt {text!r} is no request of sam_msgs/srv/AddPrompt in YAML: {error}") from error
    if content:
        raise PromptTextError(f"prompt {text!r} has {', '.join(content)}; taken are points, box and label")
    return request


def _request_for(selection: Selection) -> AddPrompt.Request:
    points = [LabeledPoint(x=x, y=y, label=LabeledPoint.POSITIVE) for x, y in selection.points]
    return AddPrompt.Request(points=points, box=list(selection.box), label=selection.label)


class FirstPrompt(Node):
    """Wait for the tracker's first result, prompt on its image, and end.

    Parameters: `prompt`, a request in YAML; where it is empty, the built-in `source` says what to prompt.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("first_prompt", **kwargs)
        text = str(self.declare_parameter("prompt", "").value)
        source = str(self.declare_parameter("source", "cup").value)
        selection = {**CLIP_SELECTIONS, **SCENE_SELECTIONS}.get(source)
        self._request = request_of(text) if text else None if selection is None else _request_for(selection)
        self._answer: Future | None = None
        self._client = self.create_client(AddPrompt, "tracker/add_prompt")
        self._first: TrackedObjectArray | None = None
        self.create_subscription(TrackedObjectArray, "tracker/objects", self._on_objects, 10)
        self.create_timer(PERIOD, self._look)

    def _on_objects(self, message: TrackedObjectArray) -> None:
        self._first = self._first or message

    def _look(self) -> None:
        if self._request is None:
            self.get_logger().info("nothing to prompt: click on the tracker's topic ~/click, or call ~/add_prompt")
            rclpy.try_shutdown()
        elif self._answer is not None:
            self._end(self._answer)
        elif self._first is not None and self._client.service_is_ready():
            self._request.stamp = self._first.header.stamp
            self._request.or_newest = True
            self._answer = self._client.call_async(self._request)

    def _end(self, answer: Future) -> None:
        if not answer.done():
            return
        result = answer.result()
        if not result.success:
            raise FatalError(f"the tracker refused the prompt: {result.message}")
        self.get_logger().info(f"object {result.object_id} is tracked. {result.message}".rstrip())
        rclpy.try_shutdown()


def main(args: Sequence[str] | None = None) -> None:
    """Prompt once."""
    run(FirstPrompt, args)


if __name__ == "__main__":
    main()
