"""Memory of a process: live tensors, resident memory, memory of the device."""

from __future__ import annotations

import gc
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensor

__all__ = ["Held", "forget_peak", "held", "peak_resident_bytes", "resident_bytes"]


@dataclass(frozen=True)
class Held:
    """Bytes held at a moment.

    Attributes:
        tensors: Storages of all tensors that Python can reach, each counted once.
        resident: Resident memory of the process.
        device: Allocated on the GPU; 0 without one.
    """

    tensors: int
    resident: int
    device: int


def held(device: torch.device) -> Held:
    """Measure the memory of this process."""
    gc.collect()
    storages: dict[int, int] = {}
    for thing in gc.get_objects():
        kind = type(thing)  # not isinstance: some lazy modules answer to it with a warning
        if not issubclass(kind, torch.Tensor) or issubclass(kind, FakeTensor):  # torch.export leaves fakes: no memory
            continue
        try:
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        except NotImplementedError:  # packed for a kernel: it has no storage of its own to look at
            storages[-id(thing)] = thing.numel() * thing.element_size()
    allocated = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    return Held(sum(storages.values()), resident_bytes(), allocated)


def resident_bytes() -> int:
    """Return the resident memory of this process; its maximum so far where the system has no figure."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most


def forget_peak() -> None:
    """Let `peak_resident_bytes` begin again (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_resident_bytes() -> int | None:
    """Return the highest resident memory of this process since `forget_peak`; None where the system has no figure."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
