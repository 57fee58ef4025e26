"""A DDS domain that no other process on this machine uses: for the demo, the tests and the benchmarks."""

from __future__ import annotations

import os
from contextlib import ExitStack

from sam_ros.runtime.dds import PROFILE_VARIABLE
from sam_ros.runtime.paths import config_file

__all__ = ["private_domain"]


def private_domain() -> ExitStack:
    """Give this process and its children a DDS domain of their own; call it before rclpy is imported.

    Sets ROS_DOMAIN_ID to a domain that is free among all processes that ask ROS's `domain_coordinator`, as
    launch_testing and ament_cmake_ros do. Sets local discovery too, and the Fast DDS profile with a shared-memory
    segment large enough for images, unless the user chose a profile.

    Returns:
        The reservation. Keep it as long as the domain is used; `close`, or leaving its context, ends it.

    Raises:
        RuntimeError: All domains are taken.
    """
    from domain_coordinator import domain_id  # installed where demo and tests are; the nodes do not need it

    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.setdefault(PROFILE_VARIABLE, str(config_file("dds/fastdds_shm.xml")))
    coordinator = domain_id()
    os.environ["ROS_DOMAIN_ID"] = str(coordinator.__enter__())
    reservation = ExitStack()
    # Without the caller's exception: the coordinator would take an OSError for a domain that is not free.
    reservation.callback(coordinator.__exit__, None, None, None)
    return reservation
