"""Several processes that train the same run and average their weights every few steps."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

__all__ = ["run_in_workers", "synchronise"]


@torch.no_grad()
def synchronise(weights: Sequence[Tensor], stop: bool) -> bool:
    """Replace tensors by their mean over all workers; returns whether any worker wants to stop."""
    flat = torch.cat([w.detach().reshape(-1) for w in weights])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for weight, mean in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
        weight.copy_(mean.view_as(weight))
    flag = torch.tensor(float(stop))
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def run_in_workers(work: Callable[[int], object], count: int, folder: Path) -> None:
    """Run ``work(rank)`` in processes of one thread each that form a process group.

    Args:
        work: can be pickled.
        count: number of processes.
        folder: for the file by which they find each other.

    Raises:
        ValueError: a worker raised a ValueError or an OSError, such as a checkpoint that is not there; its sentence.
    """
    store = (folder / f"rendezvous_{os.getpid()}").resolve()
    complaint = store.with_name(f"{store.name}_complaint")
    try:
        mp.spawn(_worker, (work, count, str(store), complaint), nprocs=count)
    except mp.ProcessExitedException as error:
        if not complaint.is_file():
            raise
        raise ValueError(complaint.read_text()) from error
    finally:
        store.unlink(missing_ok=True)
        complaint.unlink(missing_ok=True)


def _worker(rank: int, work: Callable[[int], object], count: int, store: str, complaint: Path) -> None:
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _end_with_parent()
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    try:
        work(rank)
    except (ValueError, OSError) as error:
        complaint.write_text(str(error))
        os._exit(1)  # the others wait for this one: they are ended
    dist.destroy_process_group()


def _end_with_parent() -> None:
    """End this process when its parent dies, however it dies."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
