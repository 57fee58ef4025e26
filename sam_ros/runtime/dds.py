"""Fast DDS: the variable that names a profile, which ROS 2 Jazzy knows by another name than its successors."""

from __future__ import annotations

import os

__all__ = ["PROFILE_VARIABLE"]

# Fast DDS 2, which Jazzy has, ignores the new name; Kilted and later warn of the old one.
PROFILE_VARIABLE = (
    "FASTRTPS_DEFAULT_PROFILES_FILE" if os.environ.get("ROS_DISTRO") == "jazzy" else "FASTDDS_DEFAULT_PROFILES_FILE"
)
