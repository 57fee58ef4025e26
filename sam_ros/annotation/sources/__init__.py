"""Recorded images with random access: rosbag2 bags, video files, folders of images."""

from __future__ import annotations

from sam_ros.annotation.sources.index import FrameIndex, FrameSource, Problems, Window
from sam_ros.annotation.sources.opening import InputSettings, open_source

__all__ = ["FrameIndex", "FrameSource", "InputSettings", "Problems", "Window", "open_source"]
