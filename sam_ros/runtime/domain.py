"""A DDS domain that no other process on this machine uses: for the demo, the tests and the benchmarks."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from sam_ros.runtime.paths import config_file

__all__ = ["private_domain"]

DOMAINS = range(1, 102)  # domain ids whose ports are free on every platform (docs.ros.org, "The ROS_DOMAIN_ID")


def private_domain() -> IO[str]:
    """Give this process and its children a DDS domain of their own; call it before rclpy is imported.

    Sets ROS_DOMAIN_ID (one that no other such process on this machine holds), local discovery, and the Fast DDS profile
    with a shared-memory segment large enough for images, unless the user chose a profile.

    Returns:
        A lock: keep it as long as the domain is used.

    Raises:
        RuntimeError: All domains are taken.
    """
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(config_file("dds/fastdds_shm.xml")))
    for i in range(len(DOMAINS)):
        domain = DOMAINS[(os.getpid() + i) % len(DOMAINS)]
        lock = open(Path(tempfile.gettempdir()) / f"sam_ros_domain_{domain}.lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        return lock
    raise RuntimeError("no ROS domain is free on this machine")
