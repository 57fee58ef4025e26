"""What detector to load, and how to run it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DetectorSettings"]


@dataclass(frozen=True)
class DetectorSettings:
    """What to load, and how to run it.

    Attributes:
        model: Name of its configuration; empty for no detector.
        checkpoint: File with its weights; empty for random ones.
        device: Torch device.
        dtype: Number type; empty for the device's default.
        overrides: Changes to its configuration in Hydra's syntax.
        cpu_threads: Threads that torch may use for it on the CPU; 0 leaves torch's own choice.
        queue: Most calls that may wait.
        text_on_cpu: Keep the text encoder on the CPU.
    """

    model: str
    checkpoint: str
    device: str
    dtype: str
    overrides: tuple[str, ...]
    cpu_threads: int
    queue: int
    text_on_cpu: bool
