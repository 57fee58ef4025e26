"""What tracks passes: in this process (`local_engine.py`), or on a cluster (`ray_engine.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sam_ros.annotation.passes import Pass
from sam_ros.annotation.sources import FrameSource
from sam_ros.annotation.store import PassStore

if TYPE_CHECKING:
    from sam_ros.annotation.run import Request

__all__ = ["Engine", "Job"]


@dataclass(frozen=True, eq=False)
class Job:
    """A pass to track.

    Attributes:
        request: What it belongs to.
        source: The recording, open.
        work: The pass.
        store: Where its records go.
    """

    request: Request
    source: FrameSource
    work: Pass
    store: PassStore


class Engine(Protocol):
    """Where passes are tracked.

    Attributes:
        at_once: Whether the passes of several recordings should come together.
    """

    at_once: bool

    def is_independent(self, request: Request) -> bool:
        """Tell whether, with the request's model, an object's masks depend on no other object."""

    def track(self, jobs: Sequence[Job]) -> Mapping[Path, str]:
        """Track the passes that are not finished.

        Returns:
            What is wrong with runs that cannot go on, by their folders: a prompt does not fit its image, or a model
            cannot be loaded. The passes of the others are finished.

        Raises:
            Interrupted: The run was asked to stop; what was done is saved.
        """
