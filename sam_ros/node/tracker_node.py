"""The tracker: a lifecycle node that follows prompted objects through a camera's images.

A frame's way: `image` -> work queue -> inference thread (array, `Stream.step`, messages) -> `~/objects` and companions.
One executor thread receives images and serves services, one inference thread owns the stream. A service hands its
command to the inference thread and awaits the answer, so images keep coming in meanwhile.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any, TypeAlias

import numpy as np
import torch
from geometry_msgs.msg import Point, PointStamped
from numpy.typing import NDArray
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from sam_core import FrameResult, build_tracker
from sam_core.streaming import Tracker
from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.conversions.stamps import stamp_of
from sam_ros.detection.detection_services import DetectionServices
from sam_ros.node.concept_parameters import rules_of
from sam_ros.node.condition import Condition, ImageTopic, look_at
from sam_ros.node.diagnostics import device_memory
from sam_ros.node.parameters import TrackerParameters, declare_parameters
from sam_ros.node.publishers import Publishers
from sam_ros.node.reporter import Reporter
from sam_ros.node.track_parameters import track_rules_of
from sam_ros.runtime.lifecycle import ACTIVE, state_of
from sam_ros.runtime.logs import forwarded_logs
from sam_ros.runtime.managed_node import ManagedNode, transition
from sam_ros.runtime.parameter_service import AnsweringParameterService
from sam_ros.runtime.qos import SERVICE_QOS
from sam_ros.runtime.run import run
from sam_ros.runtime.waiting import ENDING_TIMEOUT, STOP_TIMEOUT
from sam_ros.still_images.services import StillImageServices
from sam_ros.tracking.arrivals import UNSUPPORTED, Arrivals
from sam_ros.tracking.event_log import EventLog
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.object_services import ObjectServices
from sam_ros.tracking.prompt_services import PromptServices
from sam_ros.tracking.session import Session
from sam_ros.tracking.statistics import DropCause, Statistics, Timing
from sam_ros.tracking.stream_settings import open_stream

__all__ = ["TrackerNode", "main"]

ImageMessage: TypeAlias = "Image | CompressedImage"

# Sensor data's best effort, but only the newest image: an older one would be replaced unread anyway.
IMAGE_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)


class TrackerNode(ManagedNode):
    """Wire images, prompts and results to one stream.

    Args:
        name: Name of the node.
        **kwargs: Passed to `ManagedNode`, e.g. `parameter_overrides`.
    """

    def __init__(self, name: str = "tracker", **kwargs: Any) -> None:
        super().__init__(name, start_parameter_services=False, **kwargs)
        self._parameter_services = AnsweringParameterService(self)
        self._inference: InferenceThread[ImageMessage] | None = None  # from configure to cleanup
        self._outputs: Publishers | None = None  # from configure to cleanup
        self._device: torch.device | None = None  # from configure to cleanup
        self._inputs: list[Any] = []  # subscriptions, from activate to deactivate
        self._receiving = threading.Lock()  # held while they are made, used or destroyed: transitions have a thread
        self._activated = 0.0  # monotonic s
        self._paused = False
        self._arrivals = Arrivals()
        self._statistics = Statistics()
        self._prompts = PromptServices(self, inference=lambda: self._inference, statistics=self._statistics)
        self._detections = DetectionServices(self, self._prompts)
        self._still_images = StillImageServices(self, self._prompts)
        self._objects = ObjectServices(self, self._prompts)
        self._settings = declare_parameters(self)
        self._events = EventLog(self, self._settings.events_kept)
        self.add_post_set_parameters_callback(self._apply_parameters)
        self.create_service(SetBool, "~/set_paused", self._on_set_paused, qos_profile=SERVICE_QOS)
        Reporter(self, self._statistics, condition=self._condition, parameters=lambda: self._settings)
        if self._settings.autostart:
            self.autostart()
        else:
            self.get_logger().info("unconfigured: waiting for a lifecycle manager, or start with autostart:=true")

    # --- Lifecycle, in the order of its states ------------------------------------------------------------------------

    @transition
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Build the model, open its stream and create the publishers."""
        settings, started = self._settings, time.monotonic()
        try:
            with forwarded_logs("sam_core", self.get_logger()):
                tracker = build_tracker(
                    settings.model,
                    checkpoint=settings.checkpoint or None,
                    device=settings.device or None,
                    dtype=settings.dtype or None,
                    overrides=settings.overrides,
                )
        except (ValueError, OSError) as error:  # CheckpointError is a ValueError
            self.note_failure(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        if self.ending:
            return TransitionCallbackReturn.FAILURE
        stream = open_stream(
            tracker,
            settings,
            max_objects=settings.max_objects,
            history_frames=settings.history_frames,
            history_mib=settings.history_mib,
            stamp_tolerance=settings.stamp_tolerance * 1e9,  # stamps are in ns
            reconditioning=bool(settings.detector),
        )
        self._device = tracker.device
        self._outputs = Publishers(self)
        decode = ImageDecoder(
            max_pixels=settings.max_image_pixels, white_level=settings.white_level, warn=self.get_logger().warning
        )
        self._inference = InferenceThread(
            Session(stream),
            decode=decode,
            deliver=self._deliver,
            tell=self._events.tell,
            statistics=self._statistics,
            logger=self.get_logger(),
            device=tracker.device,
            hold_back=settings.hold_back_frames,
        )
        self._still_images.configure(tracker, decode)
        self._inference.start()
        if settings.cpu_threads:
            self._inference.submit(lambda _: torch.set_num_threads(settings.cpu_threads))  # counts in its own thread
        self._log_model(tracker, settings.memory_policy or tracker.memory_policy, time.monotonic() - started)
        part = "the folder of saved objects"
        try:
            self._apply_parameters(())
            self._objects.configure(settings.objects_folder, settings.autosave, tracker, self._inference)
            part = "the detector"
            self._detections.configure(settings.detector_settings(tracker), self._inference, tracker)
        except (ValueError, OSError) as error:
            self._release()
            self.note_failure(f"cannot configure {part}: {error}")
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    @transition
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the publishers speak, then subscribe to images and clicks."""
        result = super().on_activate(state)
        self._arrivals.forget()
        self._activated = time.monotonic()
        compressed = self._settings.image_transport == "compressed"
        options = QoSOverridingOptions.with_default_policies()
        with self._receiving:
            self._inputs = [
                self.create_subscription(
                    CompressedImage if compressed else Image,
                    self._image_topic(),
                    self._on_image,
                    IMAGE_QOS,
                    qos_overriding_options=options,
                    event_callbacks=SubscriptionEventCallbacks(message_lost=self._on_images_lost),
                ),
                self.create_subscription(
                    PointStamped, "~/click", self._prompts.on_click, 10, qos_overriding_options=options
                ),
            ]
            if self._settings.overlay_clicks:
                self._inputs.append(
                    self.create_subscription(Point, "~/overlay_mouse_left", self._prompts.on_overlay_click, 10)
                )
        self.get_logger().info(f"active: tracking in {self._image_topic()}")
        return result

    @transition
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving, finish the frame at work and publish what is held back; objects and memory stay."""
        self._stop_receiving()
        self._finish_frame()
        return super().on_deactivate(state)

    def destroy_node(self) -> None:
        """Release everything and leave the graph, soon; also without a shutdown transition, as after a signal."""
        if self.settle(ENDING_TIMEOUT):
            self._release(ENDING_TIMEOUT)
        else:
            self.get_logger().warning(f"ended while {state_of(self)}; what that works on is left behind")
        self._still_images.destroy()
        super().destroy_node()

    def note_error(self, text: str) -> None:
        """Log an error, and show it in the diagnostics."""
        self._statistics.error(text)
        super().note_error(text)

    def _stop_receiving(self) -> None:
        with self._receiving:
            for subscription in self._inputs:
                self.destroy_subscription(subscription)
            self._inputs = []
            if self._inference is not None:
                self._inference.discard()

    def _finish_frame(self) -> None:
        """Wait until the frame or command at work is done and what is held back is published, but not for ever."""
        if self._inference is not None and wait([self._inference.flush()], STOP_TIMEOUT).not_done:
            self.note_error(f"the inference thread has worked on one frame or command for more than {STOP_TIMEOUT:g} s")

    def _release(self, timeout: float | None = None) -> None:
        """Let go of everything; wait `timeout` s for each thread, or `STOP_TIMEOUT`."""
        timeout = STOP_TIMEOUT if timeout is None else timeout
        self._stop_receiving()
        self._still_images.release()
        self._detections.release(timeout)
        self._objects.release(timeout)
        inference, self._inference = self._inference, None
        if inference is not None and not inference.stop(timeout):
            self._note_left_behind(timeout)
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        self._device = None
        self._paused = False
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _note_left_behind(self, seconds: float) -> None:
        text = (
            f"the inference thread did not end within {seconds:g} s and is left behind with its memory; what it works "
            "on is not published"
        )
        if self.ending:
            self.get_logger().warning(text)
        else:
            self.note_error(text)

    def _log_model(self, tracker: Tracker, policy: str, seconds: float) -> None:
        weights = f"weights from {tracker.checkpoint}" if tracker.checkpoint else "random weights"
        memory, mebibytes = device_memory(tracker.device)
        self.get_logger().info(
            f"configured: {tracker.name} at {tracker.image_size} px with {weights}, on {tracker.device} as "
            f"{tracker.dtype}, memory policy {policy}, ready after {seconds:.1f} s; {memory}: {mebibytes:.0f}"
        )

    # --- Frames -------------------------------------------------------------------------------------------------------

    def _image_topic(self) -> str:
        topic: str = self.resolve_topic_name("image")
        # As image_transport does: who remaps `image` remaps its compressed companion too.
        return topic + "/compressed" if self._settings.image_transport == "compressed" else topic

    def _on_image(self, message: ImageMessage, info: dict[str, int]) -> None:
        """Take an image in (executor thread)."""
        self._statistics.image_received()
        with self._receiving:
            if not self._inputs or self._inference is None:
                self._statistics.dropped(DropCause.INACTIVE)
                return
            number = info.get("publication_sequence_number", UNSUPPORTED)
            self._statistics.images_missing(self._arrivals.missing(number, self._inputs[0].get_publisher_count()))
            if self._paused:
                self._statistics.dropped(DropCause.PAUSED)
            else:
                self._inference.offer(message)

    def _on_images_lost(self, info: Any) -> None:
        """Count what the middleware knows to be lost in transport (executor thread)."""
        self._statistics.dropped(DropCause.LOST, info.total_count_change)

    def _deliver(
        self, message: ImageMessage, image: NDArray[np.uint8], result: FrameResult, seconds: float, held: float
    ) -> None:
        """Publish a processed frame (inference thread): the model's time in s, and that for which it was held back."""
        outputs, settings = self._outputs, self._settings
        if outputs is None:
            return
        try:
            masks = outputs.publish_results(
                result, message.header, with_masks=settings.publish_masks, threshold=settings.mask_threshold
            )
            stamp, now = stamp_of(message.header), self.get_clock().now().nanoseconds
            latency = (now - stamp) * 1e-9 if stamp and now else None  # simulated time is 0 until /clock comes
            self._statistics.frame_processed(None if latency is None else Timing(latency, seconds, held))
            outputs.publish_overlay(image, masks, message.header)
        except Exception:
            if self.context.ok():  # otherwise a signal came in the middle of it, and nobody listens any more
                raise

    def _on_set_paused(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused = request.data
        response.success = True
        response.message = "paused: images are not tracked until you resume" if self._paused else "resumed"
        return response

    # --- Parameters and diagnostics -----------------------------------------------------------------------------------

    def _apply_parameters(self, _: Sequence[Parameter]) -> None:
        """Take over values that were accepted."""
        self._settings = settings = TrackerParameters.read(self)
        rules = rules_of(settings)
        self._detections.use(rules)
        inference = self._inference
        if inference is not None:

            def apply(session: Session) -> None:
                session.stream.mask_threshold = settings.mask_threshold
                session.stream.track_rules = track_rules_of(settings)
                session.concepts.rules = rules
                session.shows_tentative = settings.concept_publish_tentative

            inference.submit(apply)

    def _condition(self) -> Condition:
        """Return what the next report is judged by, besides the counts."""
        state, inputs, inference = state_of(self), self._inputs, self._inference
        expected = state == ACTIVE and not self._paused and inputs
        name = self._image_topic()
        return Condition(
            state=state,
            paused=self._paused,
            active=time.monotonic() - self._activated if expected else None,
            topic=look_at(self, name, inputs[0]) if expected else ImageTopic(name, ""),
            device=self._device,
            stream=inference.report if inference is not None else None,
            detector=self._detections.report(),
            failure=self.failure,
            working=inference.working if inference is not None else None,
            held_back=0 if inference is None else inference.held,
            autosave=self._objects.problem,
            clock=self.get_clock().now().nanoseconds > 0,
        )


def main(args: Sequence[str] | None = None) -> None:
    """Run the tracker until a signal ends it."""
    run(TrackerNode, args)


if __name__ == "__main__":
    main()
