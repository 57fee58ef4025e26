"""Let the C library keep the memory of one image for the next."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# From glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

LARGEST_KEPT_BLOCK = 32 * 2**20  # bytes: the largest threshold that glibc takes; a 4K image of three channels is 25 MB
MOST_KEPT = 128 * 2**20  # bytes of freed memory that may stay at the end of a heap


def keep_freed_memory() -> bool:
    """Keep freed blocks of an image's size in the process instead of giving them back to the kernel.

    By default glibc takes every block above 128 KiB from the kernel and gives it back when it is freed, until it has
    happened to see a larger one freed. rclpy makes three blocks of every image that it receives, whose pages the kernel
    then has to find and clear each time: 4,500 page faults at 1920 x 1080.

    Returns:
        Whether the C library took the limits; False where it is not glibc, and nothing was changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT_BLOCK)) and bool(mallopt(_M_TRIM_THRESHOLD, MOST_KEPT))
