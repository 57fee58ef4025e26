"""What every memory policy promises in a stream: independent objects, one wait a step, candidates, flat memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.reference.weights import make_lively
from benchmarks.speed.memory import held
from sam_core import Prompt, Stream, Tracker, build_tracker
from sam_core.sam2 import Sam2
from sam_core.streaming import POLICIES
from tests.core.pattern import frame

CLICK = Prompt(points=[[60, 45]], labels=[1])
BOX = Prompt(box=[20, 10, 70, 60])
LATE = Prompt(points=[[100, 20], [90, 30]], labels=[1, 0])
EXAMINING = [name for name, policy in POLICIES.items() if policy().examines]
WAITS = ("tolist", "item", "cpu", "numpy", "nonzero", "__bool__", "__int__", "__float__")


def opened(tracker: Tracker, policy: str, prompts: tuple[Prompt, ...] = (CLICK, BOX)) -> Stream:
    stream = tracker.open_stream(policy=POLICIES[policy](), max_objects=4)
    stream.step(frame(0), 0)
    for prompt in prompts:
        stream.add_prompt(prompt)
    return stream


@pytest.mark.parametrize("policy", EXAMINING)
def test_an_object_that_joins_changes_no_bit_of_the_others(micro_tracker: Tracker, policy: str) -> None:
    calm, joined = opened(micro_tracker, policy), opened(micro_tracker, policy)
    for i in range(1, 24):
        before, after = calm.step(frame(i), i), joined.step(frame(i), i)
        assert torch.equal(before.low_res, after.low_res[:2]), i
        assert torch.equal(before.predicted_iou, after.predicted_iou[:2])
        if i == 5:
            joined.add_prompt(LATE)
    assert len(after) == 3


@pytest.mark.parametrize("policy", EXAMINING)
def test_a_policy_waits_for_the_device_no_more_often(
    micro_tracker: Tracker, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever brings numbers to the host, or needs them there, is counted over one step."""
    streams = {name: opened(micro_tracker, name) for name in ("fifo", policy)}
    for stream in streams.values():
        for i in range(1, 18):
            stream.step(frame(i), i)
    counts = dict.fromkeys(streams, 0)

    def counted(name: str, method: str) -> None:
        original = getattr(torch.Tensor, method)

        def call(tensor: torch.Tensor, *arguments: object, **options: object) -> object:
            # `.cpu().numpy()` waits once: what is on the host already is there.
            counts[name] += method != "numpy"
            return original(tensor, *arguments, **options)

        monkeypatch.setattr(torch.Tensor, method, call)

    for name, stream in streams.items():
        for method in WAITS:
            counted(name, method)
        stream.step(frame(18), 18)
        monkeypatch.undo()
    assert counts[policy] == counts["fifo"] > 0


@pytest.fixture(scope="module")
def single() -> Iterator[Sam2]:
    """A network that tracks with one mask, as `sam2_nano`."""
    torch.manual_seed(0)
    model = build_tracker(
        "sam2.1_micro", device="cpu", dtype="float32", overrides=["model.multimask_for_tracking=false"]
    ).model
    make_lively(model)
    with torch.inference_mode():
        yield model


def test_alternatives_of_a_single_mask_leave_it_as_it_is(single: Sam2) -> None:
    """Four candidates, of which the network's own mask is taken, and its pointer."""
    features = single.encode_image(torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)))
    embedding = single.embed_without_memory(features)
    one = single.decode(embedding, features, multimask=False)
    all_of_them = single.decode(embedding, features, multimask=False, alternatives=True)
    three = single.decode(embedding, features, multimask=True)
    assert all_of_them.masks.shape[1] == 4
    assert all_of_them.best.tolist() == [0]
    torch.testing.assert_close(all_of_them.low_res, one.low_res)
    torch.testing.assert_close(all_of_them.pointer, one.pointer)
    torch.testing.assert_close(all_of_them.masks[:, 1:], three.masks)
    torch.testing.assert_close(all_of_them.ious[:, 1:], three.ious)


def test_a_candidate_comes_with_its_own_pointer(single: Sam2) -> None:
    features = single.encode_image(torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)))
    output = single.decode(single.embed_without_memory(features), features, multimask=True)
    again = single.take(output, output.best)
    assert torch.equal(again.pointer, output.pointer)
    assert torch.equal(again.low_res, output.low_res)
    other = single.take(output, (output.best + 1) % 3)
    assert torch.equal(other.low_res[0, 0], output.masks[0, int(other.best)])
    assert torch.equal(other.best_iou, output.ious[:, int(other.best)])
    assert not torch.equal(other.pointer, output.pointer)


@pytest.mark.parametrize("policy", EXAMINING)
def test_a_network_of_one_mask_can_be_tracked(single: Sam2, policy: str) -> None:
    stream = opened(Tracker(single, "micro"), policy)
    for i in range(1, 20):
        result = stream.step(frame(i), i)
    assert result.object_ids == (1, 2)
    assert stream.report().spatial_slots_used > 4


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_memory_is_flat_with_every_policy(micro_tracker: Tracker, policy: str) -> None:
    """3,000 frames; objects come and go, and are corrected. The tensors at frame 200 are those at the end."""
    stream = micro_tracker.open_stream(policy=POLICIES[policy](), max_objects=2)
    measured = []
    for i in range(3001):
        result = stream.step(frame(i % 50), i)
        if i % 50 == 0:
            if len(result) == 2:
                stream.remove(result.object_ids[0])
            stream.add_prompt(CLICK)
        if i % 50 == 25:
            stream.add_prompt(BOX, object_id=stream.objects[0].object_id)
        if i in (200, 3000):
            del result
            measured.append((held(torch.device("cpu")).tensors, stream.report().bytes_allocated))
    assert measured[0] == measured[1]
