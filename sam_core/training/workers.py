"""Several processes that train the same run and average their weights every few steps."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import cv2
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sam_core.training.settings import Settings
from sam_core.training.trainer import train

__all__ = ["train_in_workers"]


def _end_with_parent() -> None:
    """End this process when the one that started it dies, however it dies."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _worker(rank: int, settings: Settings, minutes: float, store: str) -> None:
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _end_with_parent()
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=settings.workers)
    train(settings, rank, minutes)
    dist.destroy_process_group()


def train_in_workers(settings: Settings, minutes: float) -> None:
    """Train in ``settings.workers`` processes of one thread each; see `sam_core.training.trainer.train`."""
    store = (settings.output / f"rendezvous_{os.getpid()}").resolve()
    try:
        mp.spawn(_worker, (settings, minutes, str(store)), nprocs=settings.workers)
    finally:
        Path(store).unlink(missing_ok=True)
