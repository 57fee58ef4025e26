"""~/detect_concept in a real process: what it finds, what is tracked of that, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam_msgs.msg import ConceptInstance, LabeledBox, TrackedObject, TrackedObjectArray
from sam_msgs.srv import DetectConcept

from sam_core import Prompt, build_tracker
from sam_ros.conversions.stamps import nanoseconds, stamp_of, to_time
from sam_ros.runtime.processes import Executable
from tests.ros.detection.asking import NAN, PLACES, H, W, detect, ids_of, mask_of, parameters

Picture = Callable[..., np.ndarray]


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


def test_stamps_survive_the_way_through_messages() -> None:
    assert nanoseconds(to_time(1_700_000_000_123_456_789)) == 1_700_000_000_123_456_789
    assert stamp_of(TrackedObjectArray().header) == 0
