"""From located objects to messages: objects, detections, pose, tf frames and markers."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, TransformStamped, Vector3
from numpy.typing import NDArray
from sam_msgs.msg import LocalizedObject, LocalizedObjectArray
from std_msgs.msg import ColorRGBA, Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from sam_core.localization import Location, Motions
from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.rotations import quaternion_of
from sam_ros.localization.frame import Located

__all__ = ["detections_message", "header_of", "markers_message", "objects_message", "pose_message", "tf_message"]

_SHAPES = {"box": LocalizedObject.BOX, "cylinder": LocalizedObject.CYLINDER, "sphere": LocalizedObject.SPHERE}
_MARKERS = {"box": Marker.CUBE, "cylinder": Marker.CYLINDER, "sphere": Marker.SPHERE}
_LIFETIME = Duration(sec=1)  # of a marker, so that RViz forgets what is published no more
_TEXT_HEIGHT = 0.08  # m


def header_of(located: Located) -> Header:
    """Return the header of all results: the image's stamp, in the frame of the results."""
    return Header(stamp=located.pair.objects.header.stamp, frame_id=located.views.frame_id)


def objects_message(located: Located, motions: Motions) -> LocalizedObjectArray:
    """Return all objects, those that are not localized too."""
    message = LocalizedObjectArray(header=header_of(located))
    for found in located.objects:
        item = LocalizedObject(id=found.item.id, label=found.item.label, state=found.state, reason=found.reason)
        if found.finding is not None:
            cleaned = found.finding.depth
            item.points = len(cleaned.depths)
            item.depth_share, item.occluded_share = cleaned.depth_share, cleaned.occluded_share
            item.touches_border = cleaned.touches_border
        location = found.location
        if location is not None:
            item.shape = _SHAPES[location.shape]
            item.pose.pose = _pose(location)
            item.pose.covariance = location.covariance.ravel()
            item.size = _vector(location.size)
            item.upright = location.upright
            item.velocity = _vector(motions[found.item.id].velocity)
        message.objects.append(item)
    return message


def detections_message(located: Located) -> Detection3DArray:
    """Return the boxes of the objects that are localized; ids as in `~/detections` of the tracker."""
    message = Detection3DArray(header=header_of(located))
    for found in located.objects:
        if found.location is None:
            continue
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = found.item.label
        hypothesis.hypothesis.score = float(found.item.predicted_iou * found.item.presence)
        hypothesis.pose.pose = _pose(found.location)
        hypothesis.pose.covariance = found.location.covariance.ravel()
        detection = Detection3D(header=message.header, id=str(found.item.id), results=[hypothesis])
        detection.bbox.center = _pose(found.location)
        detection.bbox.size = _vector(found.location.size)
        message.detections.append(detection)
    return message


def pose_message(located: Located, object_id: int) -> PoseStamped | None:
    """Return the pose of one object; None where it is not localized.

    Args:
        located: What was found.
        object_id: The object; 0 for the localized one with the lowest id.
    """
    known = [found for found in located.objects if found.location is not None and object_id in (0, found.item.id)]
    if not known or known[0].location is None:
        return None
    return PoseStamped(header=header_of(located), pose=_pose(known[0].location))


def tf_message(located: Located, prefix: str) -> TFMessage:
    """Return a frame for each object that is localized: `<prefix>/object_<id>`."""
    message = TFMessage()
    for found in located.objects:
        if found.location is not None:
            item = TransformStamped(header=header_of(located), child_frame_id=f"{prefix}/object_{found.item.id}")
            item.transform.translation = _vector(found.location.centre)
            item.transform.rotation = _quaternion(found.location.rotation)
            message.transforms.append(item)
    return message


def markers_message(located: Located, motions: Motions) -> MarkerArray:
    """Return boxes, labels and trails; what is no longer localized is deleted."""
    header = header_of(located)
    message = MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])
    for found in located.objects:
        location = found.location
        if location is None:
            continue
        blue, green, red = (part / 255 for part in colour_of(found.item.id))

        def marker(kind: int, space: str, alpha: float) -> Marker:
            new = Marker(header=header, ns=space, id=found.item.id % 2**31, type=kind, action=Marker.ADD)  # noqa: B023
            new.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)  # noqa: B023
            new.lifetime = _LIFETIME
            new.pose.orientation.w = 1.0
            message.markers.append(new)
            return new

        shape = marker(_MARKERS[location.shape], "shapes", 0.4)
        shape.pose, shape.scale = _pose(location), _vector(location.size)
        edges = marker(Marker.LINE_LIST, "boxes", 1.0)
        edges.scale.x = 0.006
        edges.points = [_point(corner) for corner in location.corners[_EDGES.ravel()]]
        text = marker(Marker.TEXT_VIEW_FACING, "labels", 1.0)
        distance = np.linalg.norm(found.finding.location.centre) if found.finding and found.finding.location else 0.0
        text.text = f"{found.item.id} {found.item.label}\n{distance:.2f} m"
        text.scale.z = _TEXT_HEIGHT
        text.pose.position = _point(
            location.centre + np.array([0.0, 0.0, float(location.size.max()) / 2 + _TEXT_HEIGHT])
        )
        trail = motions[found.item.id].trail
        if len(trail) > 1:
            line = marker(Marker.LINE_STRIP, "trails", 0.8)
            line.scale.x = 0.01
            line.points = [_point(place) for place in trail]
    return message


# Pairs of corners (of Location.corners) that an edge joins: those that differ in one coordinate.
_EDGES: NDArray[np.intp] = np.array([(a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit])


def _pose(location: Location) -> Pose:
    return Pose(position=_point(location.centre), orientation=_quaternion(location.rotation))


def _point(values: NDArray[np.float64]) -> Point:
    x, y, z = values.tolist()
    return Point(x=x, y=y, z=z)


def _vector(values: NDArray[np.float64]) -> Vector3:
    x, y, z = values.tolist()
    return Vector3(x=x, y=y, z=z)


def _quaternion(rotation: NDArray[np.float64]) -> Quaternion:
    x, y, z, w = quaternion_of(rotation)
    return Quaternion(x=x, y=y, z=z, w=w)
