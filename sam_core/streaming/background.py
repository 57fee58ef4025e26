"""Work that goes on in a second thread while its owner does something else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import torch


class BackgroundTask:
    """Runs one piece of work at a time beside its owner, where a processor core is free for it.

    On a GPU both would queue on the same stream, and where torch's threads use all cores they would compete for them.
    There the work runs first, in the owner's thread. Either way it is finished when the `with` statement ends.

    Args:
        device: where the work computes.
    """

    def __init__(self, device: torch.device) -> None:
        threads = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        if device.type == "cpu" and 2 * threads <= _cores():
            # The same number of threads as the owner has: sums are split, and so rounded, in the same way.
            self._pool = ThreadPoolExecutor(1, "background", initializer=torch.set_num_threads, initargs=(threads,))

    @contextmanager
    def running(self, work: Callable[[], None]) -> Iterator[None]:
        """Run `work` while the body of the `with` statement runs; its exception is raised at the end of it."""
        if self._pool is None:
            work()
            yield
            return
        done = self._pool.submit(work)
        try:
            yield
        finally:
            wait([done])
        done.result()


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
