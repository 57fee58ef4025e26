"""Annotations against Foxglove's schema, without foxglove_msgs: only fields that it has, and in their types."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from sam_core import FrameResult, ObjectState
from sam_ros.conversions import annotations
from sam_ros.conversions.masks import Masks

SCHEMA = {  # fields of Foxglove's messages for ROS 2, those that all releases have
    "Point2": "float64 x\nfloat64 y",
    "Color": "float64 r\nfloat64 g\nfloat64 b\nfloat64 a",
    "PointsAnnotation": (
        "builtin_interfaces/Time timestamp\nuint8 type\nfoxglove_msgs/Point2[] points\n"
        "foxglove_msgs/Color outline_color\nfoxglove_msgs/Color[] outline_colors\nfoxglove_msgs/Color fill_color\n"
        "float64 thickness"
    ),
    "TextAnnotation": (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nstring text\nfloat64 font_size\n"
        "foxglove_msgs/Color text_color\nfoxglove_msgs/Color background_color"
    ),
    "ImageAnnotations": "foxglove_msgs/PointsAnnotation[] points\nfoxglove_msgs/TextAnnotation[] texts",
}
EMPTY: dict[str, Any] = {"float64": float, "uint8": int, "string": str, "builtin_interfaces/Time": Time}


def classes() -> dict[str, Any]:
    """Make a class of each message: fields with defaults, and no others."""
    made: dict[str, Any] = {}
    for name, text in SCHEMA.items():
        fields = []
        for line in text.splitlines():
            kind, attribute = line.split()
            empty = list if kind.endswith("[]") else EMPTY.get(kind) or made[kind.removeprefix("foxglove_msgs/")]
            fields.append((attribute, Any, field(default_factory=empty)))
        made[name] = make_dataclass(name, fields, slots=True)
    return made


def test_the_message_is_of_foxgloves_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    for name, text in SCHEMA.items():
        store.register(typesys.get_types_from_msg(text, f"foxglove_msgs/msg/{name}"))
    made = classes()
    # A class of rosidl has its constants as attributes.
    made["PointsAnnotation"] = type("PointsAnnotation", (made["PointsAnnotation"],), {"LINE_LOOP": 2, "__slots__": ()})
    for name, kind in made.items():
        monkeypatch.setattr(annotations, name, kind, raising=False)
    mask = np.zeros((1, 20, 30), bool)
    mask[0, 4:12, 6:16] = True
    result = FrameResult(
        frame=1,
        stamp=12 * 10**9 + 34,
        image_size=(20, 30),
        object_ids=(3,),
        labels=("cup",),
        states=(ObjectState.TRACKED,),
        low_res=torch.zeros(1, 5, 8),
        masks=torch.from_numpy(mask),
        boxes=torch.tensor([[6, 4, 16, 12]]),
        areas=torch.tensor([80]),
        centroids=torch.tensor([[11.0, 8.0]]),
        predicted_iou=torch.tensor([0.8]),
        presence=torch.tensor([0.5]),
    )
    message = annotations.annotations_message(Masks.of(result), Header(stamp=Time(sec=12, nanosec=34)))

    (outline,) = message.points
    assert {(point.x, point.y) for point in outline.points} == {(6.5, 4.5), (6.5, 11.5), (15.5, 11.5), (15.5, 4.5)}
    assert (outline.type, outline.timestamp.nanosec) == (2, 34)
    assert [text.text for text in message.texts] == ["3 cup 0.40"]
    data = store.serialize_cdr(read(message, "ImageAnnotations", store), "foxglove_msgs/msg/ImageAnnotations")
    again = store.deserialize_cdr(data, "foxglove_msgs/msg/ImageAnnotations")
    assert (again.points[0].outline_color.a, again.texts[0].position.x) == (1.0, 6.0)


def read(value: Any, kind: str, store: Any) -> Any:
    """Return a message as rosbags serializes it, which checks the types."""
    if kind in ("float64", "uint8", "string"):
        assert isinstance(value, EMPTY[kind])
        return value
    if kind == "builtin_interfaces/Time":
        return store.types["builtin_interfaces/msg/Time"](sec=value.sec, nanosec=value.nanosec)
    if kind.endswith("[]"):
        return [read(item, kind.removesuffix("[]"), store) for item in value]
    name = kind.removeprefix("foxglove_msgs/")
    fields = dict(reversed(line.split()) for line in SCHEMA[name].splitlines())
    filled = SimpleNamespace(
        **{attribute: read(getattr(value, attribute), of, store) for attribute, of in fields.items()}
    )
    return store.types[f"foxglove_msgs/msg/{name}"](**vars(filled))
