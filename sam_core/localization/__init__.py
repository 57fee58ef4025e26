"""Objects in three dimensions: from masks and depth images to boxes in metres. Needs numpy and OpenCV only."""

from __future__ import annotations

from sam_core.localization.camera import DISTORTION_MODELS, Camera, CameraError
from sam_core.localization.locate import Finding, Miss, locate
from sam_core.localization.location import Location
from sam_core.localization.motion import Motion, Motions
from sam_core.localization.registration import register
from sam_core.localization.settings import LocalizerSettings

__all__ = [
    "DISTORTION_MODELS",
    "Camera",
    "CameraError",
    "Finding",
    "LocalizerSettings",
    "Location",
    "Miss",
    "Motion",
    "Motions",
    "locate",
    "register",
]
