"""Synthetic moving scenes with exact truth: the demo's camera, and the parts that training and benchmarks share.

Needs numpy and OpenCV only. ``DemoScene`` and ``TwinScene`` are the public scenes; ``sprites``, ``shapes``,
``textures`` and ``stage`` are their parts.
"""

from __future__ import annotations

from sam_core.synthetic.demo_scene import DemoScene
from sam_core.synthetic.sprites import SceneFrame
from sam_core.synthetic.twin_scene import TwinScene

__all__ = ["SCENES", "DemoScene", "SceneFrame", "TwinScene"]

SCENES: dict[str, type[DemoScene] | type[TwinScene]] = {"scene": DemoScene, "twins": TwinScene}
