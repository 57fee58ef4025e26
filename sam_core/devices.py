"""Where to run, and in what precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return the device of a name; CUDA if there is any, else the CPU, where it is None or empty.

    Raises:
        ValueError: PyTorch does not know the device, it is neither a CPU nor a CUDA GPU, or there is no such GPU.
    """
    if device is None or device == "":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{device!r} is no device that PyTorch knows.") from error
    if target.type not in ("cpu", "cuda"):
        raise ValueError(f"Device {str(device)!r} is not supported: use 'cpu', or 'cuda' with one of NVIDIA's GPUs.")
    if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"Device {str(device)!r} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA GPUs."
        )
    return target


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware: CUDA, and CPUs with AVX-512 BF16 or AMX.

    A PyTorch that does not tell what its CPU can do counts as one without.
    """
    if device.type != "cpu":
        return device.type == "cuda"
    tell: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = tell()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def resolve_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the dtype of a name; where it is None or empty, bfloat16 if the device multiplies it fast, else float32.

    Raises:
        ValueError: not float32, bfloat16 or float16.
    """
    if dtype is None or dtype == "":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if kind not in _DTYPES:
        raise ValueError(f"{dtype!r} is no dtype for a network here; use float32, bfloat16 or float16.")
    return kind


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring a tensor to a device; the host does not wait for a GPU to have it."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
