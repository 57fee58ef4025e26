"""~/follow_concept and ~/unfollow_concept in a real process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sam_msgs.msg import TrackedObject
from sam_msgs.srv import FollowConcept, UnfollowConcept

from sam_ros.runtime.processes import Executable
from tests.ros.detection.asking import NAN, parameters

Picture = Callable[..., np.ndarray]


def test_no_more_than_32_concepts_are_followed(finder: Any) -> None:
    for i in range(32):
        assert finder.call(FollowConcept, "follow_concept", phrase=f"thing {i}", period=1e6).success
    answer = finder.call(FollowConcept, "follow_concept", phrase="one more", period=1e6)
    assert not answer.success
    assert "32 concepts are followed already, which is the most" in answer.message
    assert finder.call(FollowConcept, "follow_concept", phrase="Thing 3", period=2e6).success, "only other settings"
    answer = finder.call(UnfollowConcept, "unfollow_concept", phrase=" " * 300 + "x" * 10**6)
    assert not answer.success
    assert len(answer.message) < 1100
    finder.until(lambda: "thing 31" in finder.diagnostics.get("concepts followed", ""), "all are still followed")


def test_a_followed_concept_is_tracked_until_it_is_followed_no_more(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    settings = {"period": 0.05, "score_threshold": 0.0, "new_score": 0.0, "max_instances": 2, "match_iou": 1.0}
    answer = finder.call(FollowConcept, "follow_concept", phrase="Yellow  cup", **settings)
    assert (answer.success, answer.message) == (True, "")
    finder.until(lambda: len(finder.list().objects) == 2, "objects of the concept")
    assert {item.label for item in finder.list().objects} == {"Yellow  cup"}
    finder.until(lambda: finder.diagnostics.get("concepts followed") == "Yellow  cup", "the diagnostics")
    assert finder.diagnostics["concept followed 1"] == "Yellow  cup"
    # Every image is searched again; the concept has as many objects as it may.
    before = int(finder.diagnostics["detections"])
    for i in range(1, 4):
        finder.track(picture(i))
    finder.until(lambda: int(finder.diagnostics["detections"]) > before, "another detection")
    assert len(finder.list().objects) == 2
    answer = finder.call(UnfollowConcept, "unfollow_concept", phrase="plate")
    assert answer.message == "'plate' is not followed; followed is: 'Yellow  cup'"
    assert finder.call(UnfollowConcept, "unfollow_concept", phrase="yellow cup").success
    assert not finder.call(UnfollowConcept, "unfollow_concept", phrase="yellow cup").success
    finder.until(lambda: finder.diagnostics.get("concepts followed") == "", "the diagnostics")
    assert len(finder.list().objects) == 2, "they go on being tracked"


def test_a_concept_is_searched_for_on_every_nth_image_and_its_objects_say_so(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    settings = {"score_threshold": 0.0, "new_score": 0.0, "max_instances": 1}
    answer = finder.call(FollowConcept, "follow_concept", phrase="Blue  cup", every_n_frames=2, period=1e6, **settings)
    assert answer.success, answer.message
    finder.until(lambda: finder.list().objects, "an object of the concept")
    before = int(finder.diagnostics.get("detections", 0))
    (item,) = finder.track(picture(1)).objects
    assert (item.concept, item.confirmation) == ("blue cup", TrackedObject.TENTATIVE)
    assert 0 < item.detection_score <= 1
    finder.track(picture(2))
    finder.until(lambda: int(finder.diagnostics.get("detections", 0)) > before, "another, long before the period")
    finder.until(lambda: finder.diagnostics.get("last association", "never") != "never", "the time of the rules")
    hide = [Parameter("concept_publish_tentative", value=False).to_parameter_msg()]
    (result,) = finder.call(SetParameters, "set_parameters", parameters=hide).results
    assert result.successful, result.reason
    finder.track(picture(3))  # frames and commands take turns: the change may come behind one image
    assert finder.track(picture(4)).objects == [], "tentative objects are held back"
    show = [Parameter("concept_publish_tentative", value=True).to_parameter_msg()]
    assert finder.call(SetParameters, "set_parameters", parameters=show).results[0].successful
    assert finder.call(UnfollowConcept, "unfollow_concept", phrase="blue cup").success
    (item,) = finder.track(picture(5)).objects
    assert item.confirmation == TrackedObject.CONFIRMED, "nothing withdraws it any more"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"phrase": " "}, "empty"),
        ({"phrase": "cup", "period": 0.0}, "above 0"),
        ({"phrase": "cup", "period": NAN}, "above 0"),
        ({"phrase": "cup", "score_threshold": 2.0}, "within [0, 1]"),
        ({"phrase": "cup", "new_score": -1.0}, "within [0, 1]"),
        ({"phrase": "cup", "match_iou": 1.5}, "at most 1"),
        ({"phrase": "cup", "every_n_frames": 2**31}, "every_n_frames"),
        ({"phrase": "\ud800cup\x07".encode("utf-8", "ignore").decode()}, "control character"),
    ],
)
def test_following_that_makes_no_sense_is_refused(finder: Any, request_: dict[str, Any], text: str) -> None:
    answer = finder.call(FollowConcept, "follow_concept", **request_)
    assert not answer.success
    assert text in answer.message


def test_a_lost_object_is_looked_for_at_once_and_keeps_its_id(
    weights: dict[str, Path], make_process: Callable[..., Executable], make_client: Callable[..., Any], picture: Picture
) -> None:
    """This tracker's eyes are bad: it loses every object with the next image. The period alone would never find it."""
    names = {"__node": "blind", "image": "/seen"}
    process = make_process("tracker", parameters(weights, "blind"), remappings=names)
    client = make_client("/blind", image="/seen")
    client.wait_until_active()
    answer = client.call(
        FollowConcept,
        "follow_concept",
        phrase="cup",
        period=10000.0,
        score_threshold=0.0,
        new_score=0.0,
        max_instances=1,
    )
    assert answer.success, answer.message
    client.track(picture(0))  # only now there is something to search
    client.until(lambda: [item.id for item in client.list().objects] == [1], "the object")
    found_again = "following 'cup': object 1 is an object that was lost"
    for i in range(1, 4):
        client.track(picture(i))
        client.until(lambda i=i: process.output().count(found_again) == i, f"the object, found {i} times")
    assert [(item.id, item.label) for item in client.list().objects] == [(1, "cup")]
