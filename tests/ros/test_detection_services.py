"""Concepts in the running node: a real process with small networks, whose random weights find arbitrary instances."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sam_msgs.msg import ConceptInstance, LabeledBox, TrackedObject, TrackedObjectArray
from sam_msgs.srv import DetectConcept, FollowConcept, UnfollowConcept
from std_srvs.srv import Trigger

from benchmarks.reference.weights import make_lively
from sam_core import Prompt, build_tracker
from sam_core.sam3 import ConceptDetector, ConceptNetwork, build_network
from sam_ros.conversions.stamps import nanoseconds, stamp_of, to_time
from sam_ros.detection.detector_thread import DetectorBusyError
from sam_ros.node.tracker_node import TrackerNode
from sam_ros.runtime.processes import Executable

Picture = Callable[..., np.ndarray]
H, W = 96, 128
PLACES = 8
NAN = float("nan")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write weights: of a detector that finds much, of a tracker that sees everything, and of one that sees nothing."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = build_network("sam3_toy")
    with torch.no_grad():
        network.transformer.decoder.presence_token_head.layers[-1].bias.fill_(5.0)
    torch.save(network.state_dict(), folder / "detector.pt")
    for name, bias in (("tracker", 5.0), ("blind", -5.0)):
        torch.manual_seed(0)
        model = build_tracker("sam2.1_micro", device="cpu").model
        make_lively(model, object_score_bias=bias)
        torch.save({"model": model.state_dict()}, folder / f"{name}.pt")
    return {path.stem: path for path in folder.iterdir()}


def parameters(weights: dict[str, Path], tracker: str = "tracker", **more: Any) -> dict[str, Any]:
    return {
        "autostart": True,
        "model": "sam2.1_micro",
        "checkpoint": weights[tracker],
        "device": "cpu",
        "cpu_threads": 1,
        "max_objects": PLACES,
        "detector": "sam3_toy",
        "detector_checkpoint": weights["detector"],
        "detector_queue": 2,
        "qos_overrides./seen.subscription.reliability": "reliable",
        **more,
    }


@pytest.fixture(scope="module")
def process(weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, ros: None) -> Iterator[Executable]:
    log = tmp_path_factory.mktemp("finder") / "log"
    names = {"__node": "finder", "image": "/seen"}
    with Executable("tracker", parameters(weights), remappings=names, log=log) as process:
        yield process
        assert process.running, process.output()
    assert process.exit_code == 0, process.output()


@pytest.fixture(scope="module")
def lasting_client(process: Executable, make_lasting_client: Callable[..., Any]) -> Any:
    client = make_lasting_client("/finder", image="/seen")
    client.wait_until_active()
    return client


@pytest.fixture
def finder(process: Executable, lasting_client: Any) -> Any:
    """A client of a tracker with a detector, which holds no objects and follows nothing."""
    client = lasting_client
    client.diagnostics.clear()
    client.call(UnfollowConcept, "unfollow_concept")
    assert client.reset().success, process.output()
    return client


def detect(client: Any, *phrases: str, track: bool = False, **request: Any) -> DetectConcept.Response:
    """Call detect_concept; without a threshold all that the network finds is wanted."""
    request = {"score_threshold": 0.0, "match_iou": 1.0, "max_instances": 3, **request}
    return client.call(DetectConcept, "detect_concept", phrases=list(phrases), action=int(track), **request)


def mask_of(item: Any) -> np.ndarray:
    """Put a cropped mask back into its image, bool (H, W)."""
    full = np.zeros((H, W), bool)
    if item.box.width:
        crop = np.frombuffer(item.mask.data, np.uint8).reshape(item.mask.height, item.mask.width)
        rows = slice(item.box.y_offset, item.box.y_offset + item.box.height)
        full[rows, item.box.x_offset : item.box.x_offset + item.box.width] = crop == 255
    return full


def ids_of(items: list[ConceptInstance]) -> list[int]:
    return [item.object_id for item in items]


# --- What is found ----------------------------------------------------------------------------------------------------


def test_a_report_tells_what_is_found_and_changes_nothing(finder: Any, picture: Picture) -> None:
    objects = finder.track(picture(0))
    answer = detect(finder, "yellow cup", "wheel", max_instances=0)
    assert answer.success, answer.message
    assert answer.stamp == objects.header.stamp
    assert answer.duration > 0
    assert [item.phrase for item in answer.instances] == ["yellow cup"] * 12 + ["wheel"] * 12
    for items in (answer.instances[:12], answer.instances[12:]):
        scores = [item.score for item in items]
        assert scores == sorted(scores, reverse=True)
    for item in answer.instances:
        assert item.object_id == 0
        assert item.mask.header == objects.header
        assert (item.mask.encoding, item.mask.width, item.mask.height) == ("mono8", item.box.width, item.box.height)
        ys, xs = np.nonzero(mask_of(item))
        assert (xs.min(), ys.min()) == (item.box.x_offset, item.box.y_offset)
        assert (xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()) == (item.box.width, item.box.height)
        x_min, y_min, x_max, y_max = item.detected_box
        assert x_min < x_max
        assert y_min < y_max
    assert finder.list().objects == []

    middle = (answer.instances[4].score + answer.instances[5].score) / 2
    fewer = detect(finder, "yellow cup", score_threshold=middle, max_instances=0)
    scores = [item.score for item in fewer.instances]
    assert scores == pytest.approx([item.score for item in answer.instances[:5]], abs=1e-5)
    assert len(detect(finder, "yellow cup", max_instances=2).instances) == 2


def test_exemplars_alone_and_with_words(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    boxes = [
        LabeledBox(x_min=20.0, y_min=30.0, x_max=50.0, y_max=60.0, label=LabeledBox.POSITIVE),
        LabeledBox(x_min=0.0, y_min=0.0, x_max=float(W), y_max=float(H), label=LabeledBox.NEGATIVE),
    ]
    shown = detect(finder, exemplars=boxes)
    assert shown.success, shown.message
    assert {item.phrase for item in shown.instances} == {"visual"}
    words = detect(finder, "cup")
    both = detect(finder, "cup", exemplars=boxes)
    assert [item.score for item in both.instances] != [item.score for item in words.instances]


def test_the_image_of_the_stamp_is_searched(finder: Any, picture: Picture) -> None:
    headers = [finder.track(picture(5 * i)).header for i in range(4)]
    newest = detect(finder, "cup")
    assert newest.stamp == headers[-1].stamp
    earlier = detect(finder, "cup", stamp=headers[1].stamp)
    assert earlier.success, earlier.message
    assert earlier.stamp == headers[1].stamp
    assert earlier.instances[0].mask.header == headers[1]
    assert [item.score for item in earlier.instances] != [item.score for item in newest.instances]


# --- What is tracked --------------------------------------------------------------------------------------------------


def test_every_instance_is_tracked_from_the_image_that_it_was_found_in(
    finder: Any, picture: Picture, weights: dict[str, Path]
) -> None:
    """Played again without ROS, with each mask prompted in time, the same masks come out; also of another object."""
    square = np.zeros((H, W), bool)
    square[30:60, 20:50] = True
    sent: list[TrackedObjectArray] = [finder.track(picture(0))]
    other = finder.call_prompt_with_mask().object_id
    sent += [finder.track(picture(i)) for i in range(1, 7)]
    answer = detect(finder, "yellow cup", "wheel", track=True, stamp=sent[2].header.stamp)
    assert answer.success, answer.message
    assert answer.stamp == sent[2].header.stamp
    ids = ids_of(answer.instances)
    assert len(set(ids)) == len(ids) == 6
    assert 0 not in ids
    assert [item.label for item in finder.list().objects] == ["", *(item.phrase for item in best_first(answer))]
    sent += [finder.track(picture(i)) for i in range(7, 12)]
    assert {item.id for item in sent[-1].objects} == {other, *ids}, "all have caught up"

    stream = build_tracker("sam2.1_micro", weights["tracker"], device="cpu").open_stream(max_objects=PLACES)
    names = {}
    for i, objects in enumerate(sent):
        result = stream.step(picture(i), i)
        expected = {names[n]: mask.numpy() for n, mask in zip(result.object_ids, result.masks, strict=True)}
        for item in objects.objects:
            different = np.count_nonzero(mask_of(item) != expected[item.id])
            assert different <= 2, f"object {item.id} in image {i}: {different} px differ"  # rounding, in other batches
        if i == 0:
            names[stream.add_prompt(Prompt(mask=square)).object_ids[0]] = other
        if i == 2:
            for item in answer.instances:
                names[stream.add_prompt(Prompt(mask=mask_of(item))).object_ids[0]] = item.object_id


def best_first(answer: DetectConcept.Response) -> list[ConceptInstance]:
    """Return the instances in the order in which they become objects: phrase by phrase, as they are listed."""
    return list(answer.instances)


def test_nothing_is_tracked_twice(finder: Any, picture: Picture) -> None:
    stamp = finder.track(picture(0)).header.stamp
    first = detect(finder, "yellow cup", track=True, stamp=stamp)
    again = detect(finder, "yellow cup", track=True, stamp=stamp, match_iou=0.1)
    assert again.success, again.message
    assert ids_of(again.instances) == ids_of(first.instances)
    assert len(finder.list().objects) == 3


def test_overlapping_instances_are_one_object(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    answer = detect(finder, "yellow cup", track=True, match_iou=0.01, max_instances=0)
    assert answer.success, answer.message
    ids = ids_of(answer.instances)
    assert 0 < len(set(ids)) < len(ids)
    assert {item.id for item in finder.list().objects} == set(ids)


def test_what_finds_no_place_is_reported_and_said(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    answer = detect(finder, "yellow cup", track=True, max_instances=0)
    assert not answer.success
    assert f"{12 - PLACES} of 12 instances are not tracked" in answer.message
    assert f"{PLACES} places" in answer.message
    assert len(answer.instances) == 12
    assert ids_of(answer.instances).count(0) == 12 - PLACES
    assert [item.object_id for item in best_first(answer)[PLACES:]] == [0] * (12 - PLACES), "the best come first"
    assert len(finder.list().objects) == PLACES


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "nothing to search for"),
        ({"phrases": [""]}, "the phrase is empty"),
        ({"phrases": ["cup", " \t"]}, "phrase 2 is empty"),
        ({"phrases": ['""']}, "the phrase is empty"),
        ({"phrases": ["cup"], "score_threshold": 1.01}, "must be within [0, 1], not 1.01"),
        ({"phrases": ["cup"], "score_threshold": -0.5}, "must be within [0, 1], not -0.5"),
        ({"phrases": ["cup"], "score_threshold": NAN}, "not nan"),
        ({"phrases": ["cup"], "match_iou": 0.0}, "above 0"),
        ({"phrases": ["cup"], "action": 2}, "not 2"),
        ({"exemplars": [LabeledBox(x_min=0.0, y_min=0.0, x_max=133.0, y_max=9.0)]}, "outside the image of 128 x 96"),
        ({"exemplars": [LabeledBox(x_min=-5.0, y_min=0.0, x_max=9.0, y_max=9.0)]}, "outside the image"),
        ({"exemplars": [LabeledBox(x_min=5.0, y_min=5.0, x_max=5.0, y_max=9.0)]}, "is empty"),
        ({"exemplars": [LabeledBox(x_min=NAN, y_min=5.0, x_max=5.0, y_max=9.0)]}, "finite"),
        ({"exemplars": [LabeledBox(x_max=5.0, y_max=9.0, label=7)]}, "label is 1"),
        ({"phrases": ["cup"], "stamp": to_time(1)}, "0.000000001 s is not at hand"),
        ({"phrases": ["cup", "x" * 10_000]}, "phrase 2 has 10000 characters; at most 256 are allowed"),
        ({"phrases": ["cup\x1b[2J"]}, "The phrase contains the control character U+001B"),
        ({"phrases": ["cup"] * 33}, "at most 32 phrases, not 33"),
        ({"exemplars": [LabeledBox(x_max=5.0, y_max=9.0)] * 33}, "at most 32 exemplars, not 33"),
    ],
)
def test_a_detection_that_makes_no_sense_is_refused(
    finder: Any, picture: Picture, request_: dict[str, Any], text: str
) -> None:
    finder.track(picture(0))
    answer = finder.call(DetectConcept, "detect_concept", **request_)
    assert not answer.success
    assert text in answer.message
    assert answer.instances == []


def test_an_exemplar_just_outside_is_clipped_with_a_remark(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    box = LabeledBox(x_min=-1.0, y_min=10.0, x_max=60.0, y_max=97.0, label=1)
    answer = finder.call(DetectConcept, "detect_concept", exemplars=[box], score_threshold=0.5)
    assert answer.success
    assert "1 exemplar(s) were clipped to the image of 128 x 96 px." in answer.message


def test_an_unknown_stamp_names_the_oldest_or_means_the_newest(finder: Any, picture: Picture) -> None:
    old = finder.track(picture(0)).header.stamp
    headers = [finder.track(picture(i)).header for i in range(1, 41)]  # the history holds 36
    answer = detect(finder, "cup", stamp=old)
    oldest = headers[-36].stamp
    assert f"the oldest is of {oldest.sec}.{oldest.nanosec:09d} s" in answer.message
    answer = detect(finder, "cup", stamp=old, or_newest=True)
    assert answer.success
    assert answer.stamp == headers[-1].stamp
    assert "the newest one was searched" in answer.message


def test_a_phrase_that_is_too_long_is_cut_and_that_is_said(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    phrase = "red cup " * 15 + "on the far table"
    answer = detect(finder, phrase)
    assert answer.success
    assert "longer than the detector's 32 tokens; ignored is 'on the far table'" in answer.message
    assert detect(finder, "cup").message == ""


def test_a_phrase_is_cleaned_and_that_is_said(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    plain, typed = detect(finder, "yellow cup"), detect(finder, '"the Yellow_Cups"')
    assert typed.message == """'"the Yellow_Cups"': searched for as 'yellow cup'"""
    assert {item.phrase for item in typed.instances} == {'"the Yellow_Cups"'}
    assert [item.score for item in typed.instances] == [item.score for item in plain.instances]


def test_calls_beyond_the_queue_are_refused_and_the_others_wait_and_say_so(finder: Any, picture: Picture) -> None:
    finder.track(picture(0))
    phrases = [f"thing number {i}" for i in range(32)]  # takes long enough for all calls to come in meanwhile
    service = finder.client(DetectConcept, "detect_concept")
    request = DetectConcept.Request(phrases=phrases, score_threshold=1.0)
    futures = [service.call_async(request) for _ in range(8)]
    finder.until(lambda: all(future.done() for future in futures), "8 answers")
    answers = [future.result() for future in futures]
    refused = [answer for answer in answers if not answer.success]
    waited = [answer for answer in answers if "queued behind" in answer.message]
    assert answers[0].success
    assert refused
    assert all("2 call(s) wait already" in answer.message for answer in refused)
    assert len(waited) >= 2
    assert all(answer.success and answer.duration > 0 for answer in waited)
    assert finder.track(picture(1)).objects == []


# --- Followed concepts ------------------------------------------------------------------------------------------------


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
    assert finder.track(picture(3)).objects == [], "tentative objects are held back"
    show = [Parameter("concept_publish_tentative", value=True).to_parameter_msg()]
    assert finder.call(SetParameters, "set_parameters", parameters=show).results[0].successful
    assert finder.call(UnfollowConcept, "unfollow_concept", phrase="blue cup").success
    (item,) = finder.track(picture(4)).objects
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


def test_lost_siblings_get_their_own_ids_back(
    weights: dict[str, Path], make_process: Callable[..., Executable], make_client: Callable[..., Any], picture: Picture
) -> None:
    """The tracker loses all three with every image, and each is found where it was."""
    names = {"__node": "blind", "image": "/seen"}
    reliable = {"qos_overrides./seen.subscription.reliability": "reliable"}  # the first image, too, must arrive
    make_process("tracker", parameters(weights, "blind") | reliable, remappings=names)
    client = make_client("/blind", image="/seen")
    client.wait_until_active()
    for attempt in range(5):  # among many processes what is sent first can be lost until both ends know each other
        try:
            client.until(client.connected, "the tracker's subscription and publishers")
            stamp = client.publish(picture(0))
            client.until(lambda stamp=stamp: client.objects.get(stamp), "the first image's objects", timeout=5.0)
            break
        except TimeoutError:
            assert attempt < 4, "no image arrives"
    first = ids_of(detect(client, "cup", track=True).instances)
    assert sorted(first) == [1, 2, 3]
    for _ in range(3):
        lost = client.track(picture(0)).objects
        assert [(item.id, item.state) for item in lost] == [(i, TrackedObject.ABSENT) for i in (1, 2, 3)]
        assert ids_of(detect(client, "cup", track=True).instances) == first
    assert len(client.list().objects) == 3


# --- The detector's life ----------------------------------------------------------------------------------------------


def test_without_a_detector_the_answer_says_how_to_get_one(client: Any, picture: Picture) -> None:
    client.track(picture(0))
    for answer in (
        detect(client, "cup"),
        client.call(FollowConcept, "follow_concept", phrase="cup"),
        client.call(UnfollowConcept, "unfollow_concept", phrase="cup"),
        client.call(Trigger, "load_detector"),
    ):
        assert not answer.success
        assert "no detector is configured: start the node with the parameter 'detector'" in answer.message
    assert client.call(Trigger, "unload_detector").message == "no detector is loaded"
    client.until(lambda: client.diagnostics.get("detector") == "not configured", "the diagnostics")


def test_a_detector_is_unloaded_and_loaded_again(finder: Any, picture: Picture, weights: dict[str, Path]) -> None:
    finder.track(picture(0))
    tracked = ids_of(detect(finder, "cup", track=True).instances)
    assert finder.call(FollowConcept, "follow_concept", phrase="plate", period=1000.0, new_score=1.0).success
    assert finder.call(Trigger, "load_detector").message == "the detector is loaded already, or being loaded"
    answer = finder.call(Trigger, "unload_detector")
    assert (answer.success, answer.message) == (True, "no longer followed: 'plate'")
    finder.until(lambda: finder.diagnostics.get("detector") == "unloaded", "the diagnostics")
    assert detect(finder, "cup").message == "the detector is unloaded: call ~/load_detector first"
    assert {item.id for item in finder.track(picture(1)).objects} == set(tracked), "tracking goes on"
    weights["detector"].rename(elsewhere := weights["detector"].with_suffix(".away"))
    assert "no checkpoint file" in finder.call(Trigger, "load_detector").message
    finder.until(lambda: "the detector cannot be loaded: " in finder.message, "the diagnostics")
    assert finder.level == DiagnosticStatus.ERROR
    elsewhere.rename(weights["detector"])
    answer = finder.call(Trigger, "load_detector")
    assert answer.success, answer.message
    finder.until(lambda: "cannot be loaded" not in finder.message, "the diagnostics")
    assert "no image was processed yet" in detect(finder, "cup").message
    stamp = finder.track(picture(2)).header.stamp
    answer = detect(finder, "cup")
    assert answer.success, answer.message
    assert answer.stamp == stamp


def test_a_detection_at_work_is_broken_off_when_the_detector_is_unloaded(
    ros: None, weights: dict[str, Path], picture: Picture
) -> None:
    node = make_node(weights)
    working = threading.Event()

    def work_for_ever(network: ConceptDetector) -> None:
        while True:
            network.encode_image(picture(0))
            working.set()

    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        detector = node._detections._detector.now
        assert detector is not None
        running, waiting = detector.thread.submit(work_for_ever), detector.thread.submit(lambda _: None)
        assert working.wait(60.0)
        assert detector.thread.load == 2
        assert not detector.thread.join(0.0)
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
        assert str(running.exception(60.0)) == "the detector was unloaded during this detection"
        assert str(waiting.exception(60.0)) == "the detector was unloaded before this detection's turn came"
    finally:
        node.destroy_node()


def make_node(weights: dict[str, Path], **more: Any) -> TrackerNode:
    values = {**parameters(weights), "autostart": False, **more}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return TrackerNode("here", parameter_overrides=[Parameter(name, value=value) for name, value in plain.items()])


def living_networks() -> list[weakref.ref[Any]]:
    gc.collect()
    return [weakref.ref(thing) for thing in gc.get_objects() if type(thing) is ConceptNetwork]


@pytest.mark.parametrize("end", ["cleanup", "destroy"])
def test_cleanup_frees_the_detector(ros: None, weights: dict[str, Path], end: str) -> None:
    before = len(living_networks())
    node = make_node(weights)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert len(living_networks()) == before + 1
        assert "detector" in [thread.name for thread in threading.enumerate()]
        if end == "cleanup":
            assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    finally:
        node.destroy_node()
    assert len(living_networks()) == before
    assert "detector" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"detector": "sam9"}, "no detector 'sam9'; known are sam3, sam3_nano, sam3_toy"),
        ({"detector_checkpoint": "/no/such/file.pt"}, "/no/such/file.pt"),
        ({"detector_device": "cuda:99"}, "cuda:99"),
        ({"detector_overrides": ["no_such.thing=1"]}, "no_such"),
    ],
)
def test_a_wrong_detector_is_refused_when_the_node_is_configured(
    ros: None, weights: dict[str, Path], wrong: dict[str, Any], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node(weights, **wrong)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert text in capfd.readouterr().err
        assert "detector" not in [thread.name for thread in threading.enumerate()]
    finally:
        node.destroy_node()


def test_a_detector_without_a_queue_takes_one_call_at_a_time(ros: None, weights: dict[str, Path]) -> None:
    node = make_node(weights, detector_queue=0)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        detector = node._detections._detector.now
        assert detector is not None
        gate = threading.Event()
        held = detector.thread.submit(lambda _: gate.wait(60.0))
        with pytest.raises(DetectorBusyError, match="0 call"):
            detector.thread.submit(lambda _: None)
        gate.set()
        assert held.result(60.0)
        assert detector.thread.submit(lambda network: network.name).result(60.0) == "sam3_toy"
    finally:
        node.destroy_node()


def test_torch_threads_are_each_ones_own(ros: None, weights: dict[str, Path]) -> None:
    """The detector's number of threads is not that of the tracker, nor of threads to come."""
    mine = torch.get_num_threads()
    torch.set_num_threads(3)
    node = make_node(weights, cpu_threads=2, detector_cpu_threads=1)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node._inference is not None
        assert node._inference.submit(lambda _: torch.get_num_threads()).result() == 2
        detector = node._detections._detector.now
        assert detector is not None
        assert detector.thread.submit(lambda _: torch.get_num_threads()).result() == 1
        assert torch.get_num_threads() == 3
        counts: list[int] = []
        thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert counts == [3]
    finally:
        node.destroy_node()
        torch.set_num_threads(mine)


def test_stamps_survive_the_way_through_messages() -> None:
    assert nanoseconds(to_time(1_700_000_000_123_456_789)) == 1_700_000_000_123_456_789
    assert stamp_of(TrackedObjectArray().header) == 0
