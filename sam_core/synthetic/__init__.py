"""Synthetic moving scenes with exact truth: the demo's camera, and the parts that training and benchmarks share.

Needs numpy and OpenCV only. ``DemoScene`` is the public scene; ``sprites``, ``shapes`` and ``textures`` are its parts.
"""

from __future__ import annotations

from sam_core.synthetic.demo_scene import DemoScene
from sam_core.synthetic.sprites import SceneFrame

__all__ = ["DemoScene", "SceneFrame"]
