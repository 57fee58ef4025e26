"""The localizer: a lifecycle node that says where tracked objects are in metres.

A pair's way: `objects` and `depth` -> paired by stamp -> calibration and transforms of that stamp -> boxes -> messages.
One thread does it all. Nothing waits in a callback: a pair whose depth image or transform is missing stays in a bounded
queue until it has come or its time is over.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sam_msgs.msg import LocalizedObject, TrackedObjectArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sam_core import ImageError
from sam_core.localization import Motions
from sam_ros.conversions.encodings import image_to_rgb
from sam_ros.conversions.stamps import stamp_of, to_time
from sam_ros.localization.calibration import Calibrations
from sam_ros.localization.counts import Counts
from sam_ros.localization.diagnostics import Condition, Reporter
from sam_ros.localization.frame import DepthMessage, Located, Pair, RefusedPairError, locate_pair, views_of
from sam_ros.localization.matching import StampMatcher
from sam_ros.localization.parameters import LocalizerParameters, declare_parameters
from sam_ros.localization.publishers import Publishers
from sam_ros.localization.transforms import TransformError, Transforms, open_transforms
from sam_ros.runtime.lifecycle import ACTIVE, state_of
from sam_ros.runtime.logs import BoundedLog
from sam_ros.runtime.managed_node import LoggedNode, transition
from sam_ros.runtime.parameter_service import AnsweringParameterService
from sam_ros.runtime.run import run

__all__ = ["LocalizerNode", "main"]

SENSOR_QOS = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
OBJECTS_QOS = QoSProfile(depth=30, reliability=QoSReliabilityPolicy.RELIABLE)
TICK = 0.02  # s between two looks at what waits
MOST_WAITING = 60  # pairs that wait for transforms
KEPT_IMAGES = 30  # for the cloud's colours


class LocalizerNode(LoggedNode):
    """Wire tracked objects, depth and calibration to boxes.

    Args:
        name: Name of the node.
        **kwargs: Passed to `rclpy.lifecycle.LifecycleNode`, e.g. `parameter_overrides`.
    """

    def __init__(self, name: str = "localizer", **kwargs: Any) -> None:
        super().__init__(name, start_parameter_services=False, **kwargs)
        self._parameter_services = AnsweringParameterService(self)
        self._settings = settings = declare_parameters(self)
        self._outputs: Publishers | None = None  # from configure to cleanup
        self._transforms: Transforms | None = None  # from configure to cleanup
        self._inputs: list[Any] = []  # subscriptions, from activate to deactivate
        self._image_input: Any = None  # while somebody wants the cloud
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._waiting: deque[Pair] = deque()
        tolerance = round(settings.stamp_tolerance * 1e9)  # ns
        self._matcher: StampMatcher[TrackedObjectArray, DepthMessage] = StampMatcher(
            tolerance, settings.partner_timeout, settings.queue
        )
        self._colour, self._depth = (Calibrations(rectified=settings.rectified) for _ in range(2))
        self._motions = Motions(settings.acceleration, trail=settings.trail)
        self._counts = Counts()
        self._reporter = Reporter()
        self._log = BoundedLog(self.get_logger())
        self._free = ""
        self._last = {"depth": 0.0, "objects": 0.0}  # monotonic s
        self.add_post_set_parameters_callback(self._apply_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # a paused simulation must not silence the diagnostics
        self.create_timer(1.0, self._report, clock=steady)
        self._tick = self.create_timer(TICK, self._advance, clock=steady)
        self._tick.cancel()
        if self._settings.autostart:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        else:
            self.get_logger().info("unconfigured: waiting for a lifecycle manager, or start with autostart:=true")

    # --- Lifecycle, in the order of its states ------------------------------------------------------------------------

    @transition
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create the publishers, and listen to tf where a parameter needs it."""
        settings = self._settings
        self._outputs = Publishers(self)
        if settings.target_frame or settings.gravity_frame or not settings.registered:
            self._transforms = open_transforms(self)
        self._free = ""
        if settings.boxes == "upright" and not (settings.gravity_frame or settings.target_frame):
            self._free = "free: neither gravity_frame nor target_frame says where up is"
            self.get_logger().warning(f"boxes are {self._free}; they enclose what is seen")
        return super().on_configure(state)

    @transition
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the publishers speak, then subscribe."""
        result = super().on_activate(state)
        self._last = dict.fromkeys(self._last, time.monotonic())
        compressed = self._settings.depth_transport == "compressedDepth"
        options = QoSOverridingOptions.with_default_policies()

        def subscribe(kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile) -> None:
            self._inputs.append(self.create_subscription(kind, topic, callback, qos, qos_overriding_options=options))

        subscribe(CompressedImage if compressed else Image, self._depth_topic(), self._on_depth, SENSOR_QOS)
        subscribe(TrackedObjectArray, "objects", self._on_objects, OBJECTS_QOS)
        subscribe(CameraInfo, "camera_info", self._colour.add, SENSOR_QOS)
        if not self._settings.registered:
            subscribe(CameraInfo, "depth/camera_info", self._depth.add, SENSOR_QOS)
        self._tick.reset()
        self.get_logger().info(f"active: locating {self.resolve_topic_name('objects')} in {self._depth_topic()}")
        return result

    @transition
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving."""
        self._stop_receiving()
        return super().on_deactivate(state)

    def destroy_node(self) -> None:
        """Release everything and leave the graph."""
        self._release()
        super().destroy_node()

    def _stop_receiving(self) -> None:
        self._tick.cancel()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        self._listen_to_images(False)
        self._waiting.clear()
        self._matcher.clear()
        self._motions.clear()
        self._colour.clear()
        self._depth.clear()

    def _release(self) -> None:
        self._stop_receiving()
        if self._transforms is not None:
            self._transforms.close()
            self._transforms = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None

    def _depth_topic(self) -> str:
        topic: str = self.resolve_topic_name("depth")
        # As image_transport does: who remaps `depth` remaps its compressed companion too.
        return topic + "/compressedDepth" if self._settings.depth_transport == "compressedDepth" else topic

    # --- What comes in ------------------------------------------------------------------------------------------------

    def _on_depth(self, message: DepthMessage) -> None:
        self._counts.depth_images += 1
        self._last["depth"] = time.monotonic()
        if self._matcher.add_right(stamp_of(message.header), message):
            self._forget()
        self._advance()

    def _on_objects(self, message: TrackedObjectArray) -> None:
        self._counts.object_messages += 1
        self._last["objects"] = now = time.monotonic()
        if self._matcher.add_left(stamp_of(message.header), message, now):
            self._forget()
        self._advance()

    def _on_image(self, message: Image) -> None:
        self._images[stamp_of(message.header)] = message
        while len(self._images) > KEPT_IMAGES:
            self._images.popitem(last=False)

    def _listen_to_images(self, wanted: bool) -> None:
        """Subscribe to the colour image only while the cloud is wanted."""
        if wanted and self._image_input is None:
            self._image_input = self.create_subscription(Image, "image", self._on_image, SENSOR_QOS)
        elif not wanted and self._image_input is not None:
            self.destroy_subscription(self._image_input)
            self._image_input = None
            self._images.clear()

    def _forget(self) -> None:
        """Begin anew: the clock has gone back."""
        self._counts.problem = "the clock went back"
        self._log.warning("the clock went back: what waited for a partner and all motion is forgotten")
        self._waiting.clear()
        self._motions.clear()
        self._images.clear()
        self._colour.rewind()
        self._depth.rewind()
        if self._transforms is not None:
            self._transforms.clear()

    # --- A pair's way -------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Do what can be done now."""
        now = time.monotonic()
        deadline = now + self._settings.transform_timeout
        for objects, depth in self._matcher.take(now):
            self._waiting.append(Pair(objects, depth, deadline))
        while len(self._waiting) > MOST_WAITING:
            self._refuse(
                self._waiting.popleft(), "too many pairs", f"more than {MOST_WAITING} pairs wait for transforms"
            )
        while self._waiting and self._try(self._waiting[0], now):
            self._waiting.popleft()

    def _try(self, pair: Pair, now: float) -> bool:
        """Localize a pair; False where its transform may still come."""
        started = time.perf_counter()
        try:
            views = views_of(pair, self._settings, self._colour, self._depth, self._transforms)
            located = locate_pair(pair, views, self._settings.settings, self._settings.max_image_pixels)
        except TransformError as error:
            if now < pair.deadline:
                return False
            self._refuse(pair, "no transform", f"{error} (waited {self._settings.transform_timeout:g} s)")
            return True
        except RefusedPairError as error:
            if error.cause.startswith("no ") and now < pair.deadline:
                return False  # the first camera_info may come a little later than the first image
            self._refuse(pair, error.cause, str(error))
            return True
        except Exception as error:
            self._refuse(pair, "failed", f"{type(error).__name__}: {error}")
            return True
        self._deliver(located)
        self._counts.times.append(time.perf_counter() - started)
        return True

    def _refuse(self, pair: Pair, cause: str, text: str) -> None:
        self._counts.refuse(cause, text)
        self._log.warning(f"objects of {pair.stamp * 1e-9:.3f} s not localized: {text}")

    def _deliver(self, located: Located) -> None:
        """Take over the motion of all objects, and publish."""
        self._motions.keep(found.item.id for found in located.objects)
        for i, found in enumerate(located.objects):
            if found.location is not None:
                location = self._motions.update(found.item.id, located.pair.stamp, found.location)
                located.objects[i] = replace(found, location=location)
                self._counts.boxes += 1
            elif found.state != LocalizedObject.ABSENT:
                self._counts.without_box += 1
                self._counts.why_no_box = f"object {found.item.id}: {found.reason}"
        self._counts.located += 1
        if self._outputs is None:
            return
        image = None
        self._listen_to_images(self._outputs.wants_cloud)
        message = self._images.get(located.pair.stamp)
        if message is not None:
            try:
                image = image_to_rgb(message, max_pixels=self._settings.max_image_pixels)
            except ImageError as error:
                self._counts.problem = f"the cloud has no colours: {error}"
        settings = self._settings
        self._outputs.publish(
            located, self._motions, image, pose_object=settings.pose_object, with_tf=settings.publish_tf
        )

    # --- Parameters and diagnostics -----------------------------------------------------------------------------------

    def _apply_parameters(self, _: Sequence[Parameter]) -> None:
        """Take over values that were accepted."""
        self._settings = LocalizerParameters.read(self)

    def _report(self) -> None:
        """Publish the diagnostics, once a second in every state."""
        state = state_of(self)
        condition = Condition(state, self._silent() if state == ACTIVE else (), self._matcher.waiting, self._free)
        name = self.get_fully_qualified_name()
        status = self._reporter.status(name, self._counts, self._matcher.counts, condition)
        message = DiagnosticArray(status=[status])
        message.header.stamp = to_time(self.get_clock().now().nanoseconds)
        self._diagnostics.publish(message)

    def _silent(self) -> tuple[str, ...]:
        limit, now = self._settings.input_timeout, time.monotonic()
        topics = {"depth": self._depth_topic(), "objects": self.resolve_topic_name("objects")}
        return tuple(
            f"nothing on {topics[name]} for {now - last:.1f} s ({self.count_publishers(topics[name])} publishers)"
            for name, last in self._last.items()
            if limit and now - last > limit
        )


def main(args: Sequence[str] | None = None) -> None:
    """Run the localizer until a signal ends it."""
    run(LocalizerNode, args)


if __name__ == "__main__":
    main()
