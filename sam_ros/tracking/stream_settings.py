"""The settings of a stream, under the names of the tracker's parameters: one way from them to a stream, live or not."""

from __future__ import annotations

from typing import Protocol

from sam_core.streaming import POLICIES, Stream, Tracker

__all__ = ["StreamSettings", "open_stream"]


class StreamSettings(Protocol):
    """What results depend on; empty texts leave the choice to the model.

    Attributes:
        mask_threshold: A pixel belongs to an object where its logit is above this.
        memory_policy: Which frames enter the memory.
        non_overlap: How overlapping masks are resolved.
        mask_refinement: How masks at the image's size come from the network's.
        click_augmentation: How clicks that begin an object are answered.
        fill_hole_area: Holes up to so many places of the network's mask are filled.
    """

    @property
    def mask_threshold(self) -> float: ...  # noqa: D102

    @property
    def memory_policy(self) -> str: ...  # noqa: D102

    @property
    def non_overlap(self) -> str: ...  # noqa: D102

    @property
    def mask_refinement(self) -> str: ...  # noqa: D102

    @property
    def click_augmentation(self) -> str: ...  # noqa: D102

    @property
    def fill_hole_area(self) -> int: ...  # noqa: D102


def open_stream(
    tracker: Tracker,
    settings: StreamSettings,
    *,
    max_objects: int,
    history_frames: int,
    history_mib: int = 256,
    stamp_tolerance: float = 0.0,
    reconditioning: bool = False,
) -> Stream:
    """Open a stream by the tracker's parameters.

    Args:
        tracker: The network.
        settings: Values of parameters.
        max_objects: Its capacity.
        history_frames: Frames that late prompts may be for.
        history_mib: Most memory of them, MiB.
        stamp_tolerance: How far off their stamps may be, in the unit of stamps.
        reconditioning: Whether detections may confirm memories.

    Raises:
        ValueError: A setting is unknown.
    """
    policy = settings.memory_policy or tracker.memory_policy
    if policy not in POLICIES:
        raise ValueError(f"There is no memory policy {policy!r}; known are {', '.join(POLICIES)}.")
    return tracker.open_stream(
        max_objects=max_objects,
        mask_threshold=settings.mask_threshold,
        history_frames=history_frames,
        history_bytes=history_mib * 2**20,
        policy=POLICIES[policy](),
        stamp_tolerance=stamp_tolerance,
        non_overlap=settings.non_overlap or None,
        mask_refinement=settings.mask_refinement or None,
        click_augmentation=settings.click_augmentation or None,
        fill_hole_area=settings.fill_hole_area,
        reconditioning=reconditioning,
    )
