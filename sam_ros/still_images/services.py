"""What the node offers for still images, with one predictor on the tracker's model."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode

from sam_core import ImagePredictor
from sam_core.still_images import Sam2Images
from sam_core.streaming import Tracker
from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.still_images.everything import EverythingAction
from sam_ros.still_images.segment_service import SegmentService
from sam_ros.tracking.prompt_services import PromptServices

__all__ = ["StillImageServices"]


class StillImageServices:
    """Serve segment_image and segment_everything, in every lifecycle state.

    Args:
        node: The node that they belong to.
        prompts: Knows whether the tracker is ready, and counts refusals.
    """

    def __init__(self, node: LifecycleNode, prompts: PromptServices) -> None:
        self._segment = SegmentService(node, prompts)
        self._everything = EverythingAction(node, prompts)

    def configure(self, tracker: Tracker, decode: ImageDecoder) -> None:
        """Take the tracker's model, and what decodes images; both are used in the inference thread alone."""
        predictor = ImagePredictor(Sam2Images(tracker.model), tracker.name, tracker.checkpoint)
        self._segment.configure(predictor, decode)
        self._everything.configure(predictor, decode)

    def release(self) -> None:
        """Let go of the model; a search at work ends with the inference thread."""
        self._segment.release()
        self._everything.release()

    def destroy(self) -> None:
        """Leave the graph: rclpy destroys a node's services with it, but not its actions."""
        self._everything.destroy()
