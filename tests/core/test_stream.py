"""What a stream promises beyond numbers: batches, ids, capacity, errors, and that nothing grows."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks.speed.memory import held
from sam_core import (
    CapacityError,
    FrameResult,
    ImageError,
    NoFrameError,
    ObjectState,
    Prompt,
    PromptError,
    Tracker,
    UnknownObjectError,
)
from sam_core.streaming.describe import measure_masks
from tests.core.pattern import HEIGHT, WIDTH, frame


def run(tracker: Tracker, prompts: dict[int, list[Prompt]], count: int) -> Iterator[FrameResult]:
    stream = tracker.open_stream()
    for i in range(count):
        yield stream.step(frame(i), i)
        for prompt in prompts.get(i, []):
            stream.add_prompt(prompt)


CLICK = Prompt(points=[[60, 45]], labels=[1])
BOX = Prompt(box=[20, 10, 70, 60])
LATE = Prompt(points=[[100, 20], [90, 30]], labels=[1, 0])


def test_object_in_a_batch_equals_object_alone(micro_tracker: Tracker) -> None:
    """Also while their memories are filled differently (the third begins at frame 4)."""
    together = list(run(micro_tracker, {0: [CLICK, BOX], 4: [LATE]}, 20))
    alone = [
        list(run(micro_tracker, {0: [CLICK]}, 20)),
        list(run(micro_tracker, {0: [BOX]}, 20)),
        list(run(micro_tracker, {4: [LATE]}, 20)),
    ]
    for i in range(5, 20):
        assert together[i].object_ids == (1, 2, 3)
        for place, results in enumerate(alone):
            torch.testing.assert_close(together[i].mask_logits[place], results[i].mask_logits[0], rtol=1e-4, atol=1e-4)


def test_late_object_is_as_in_a_stream_that_began_there(micro_tracker: Tracker) -> None:
    late = list(run(micro_tracker, {30: [CLICK]}, 50))[31:]
    stream = micro_tracker.open_stream()
    for i in range(30, 50):
        fresh = stream.step(frame(i), i)
        if i == 30:
            stream.add_prompt(CLICK)
        else:
            torch.testing.assert_close(late[i - 31].mask_logits, fresh.mask_logits, rtol=0, atol=0)


def test_streams_share_a_model_and_nothing_else(micro_tracker: Tracker) -> None:
    alone = list(run(micro_tracker, {0: [CLICK]}, 6))
    interleaved = zip(run(micro_tracker, {0: [CLICK]}, 6), run(micro_tracker, {2: [BOX], 3: [LATE]}, 6), strict=True)
    for reference, (one, _) in zip(alone, interleaved, strict=True):
        assert torch.equal(reference.mask_logits, one.mask_logits)


def test_result_describes_its_masks(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream()
    empty = stream.step(frame(0), stamp=123)
    assert len(empty) == 0
    assert empty.mask_logits.shape == (0, HEIGHT, WIDTH)
    answer = stream.add_prompt(CLICK, label="cup")
    assert (answer.object_ids, answer.labels, answer.stamp, answer.frame) == ((1,), ("cup",), 123, 0)
    result = stream.step(frame(1), stamp=124)
    assert (result.frame, result.stamp, result.image_size) == (1, 124, (HEIGHT, WIDTH))
    assert result.states == (ObjectState.TRACKED,)
    assert torch.equal(result.masks, result.mask_logits > 0)
    assert 0 <= result.predicted_iou[0] <= 1
    assert result.presence[0] > 0.5
    (info,) = stream.objects
    assert (info.object_id, info.label, info.first_frame, info.state) == (1, "cup", 0, ObjectState.TRACKED)


def test_measures_of_masks() -> None:
    masks = torch.zeros(3, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 9, 11] = True
    boxes, areas, centroids = measure_masks(masks)
    assert boxes.tolist() == [[3, 2, 9, 5], [11, 9, 12, 10], [0, 0, 0, 0]]
    assert areas.tolist() == [18, 1, 0]
    assert centroids[:2].tolist() == [[6.0, 3.5], [11.5, 9.5]], "the box's centre, for a rectangle"
    assert centroids[2].isnan().all()


def test_mask_threshold_changes_live(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream()
    stream.step(frame(0))
    stream.add_prompt(CLICK)
    stream.mask_threshold = 1e9
    assert not stream.step(frame(1)).masks.any()
    stream.mask_threshold = -1e9
    assert stream.step(frame(2)).masks.all()


def test_ids_are_never_reused(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream(max_objects=2)
    stream.step(frame(0))
    assert stream.add_prompt(CLICK).object_ids == (1,)
    assert stream.add_prompt(BOX).object_ids == (2,)
    with pytest.raises(CapacityError, match="All 2 places are taken: remove an object, or raise max_objects"):
        stream.add_prompt(LATE)
    stream.remove(1)
    assert stream.add_prompt(LATE).object_ids == (3,)
    assert stream.step(frame(1)).object_ids == (2, 3)
    stream.reset()
    assert stream.objects == ()
    assert len(stream.step(frame(2))) == 0
    assert stream.add_prompt(CLICK).object_ids == (4,)
    assert stream.report().objects == 1


def test_unknown_object(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream()
    stream.step(frame(0))
    with pytest.raises(UnknownObjectError, match="no object 7; tracked are: none"):
        stream.remove(7)
    with pytest.raises(UnknownObjectError, match="no object 7"):
        stream.add_prompt(CLICK, object_id=7)


def test_prompt_before_any_frame(micro_tracker: Tracker) -> None:
    with pytest.raises(NoFrameError, match="no frame yet"):
        micro_tracker.open_stream().add_prompt(CLICK)


BAD_PROMPTS = {
    "empty": (Prompt(), "empty"),
    "no points": (Prompt(points=[]), "empty"),
    "outside": (Prompt(points=[[WIDTH + 4, 3]]), "outside the image of 120×90"),
    "negative": (Prompt(points=[[-5, 3]]), "outside"),
    "nan": (Prompt(points=[[float("nan"), 3]]), "not finite"),
    "label count": (Prompt(points=[[1, 2]], labels=[1, 0]), "1 points but 2 labels"),
    "label value": (Prompt(points=[[1, 2]], labels=[2]), "1 .positive. or 0 .negative., not 2"),
    "point shape": (Prompt(points=[[1, 2, 3]]), "pairs"),
    "not numbers": (Prompt(points=[["a", "b"]]), "must be numbers"),
    "box order": (Prompt(box=[50, 10, 50, 20]), "out of order"),
    "box outside": (Prompt(box=[50, 10, 125, 20]), "leaves the image"),
    "box nan": (Prompt(box=[50, 10, float("inf"), 20]), "not finite"),
    "box length": (Prompt(box=[50, 10, 60]), "4 numbers"),
    "mask size": (Prompt(mask=np.ones((WIDTH, HEIGHT))), "120 × 90 .* 90 × 120"),
    "mask empty": (Prompt(mask=np.zeros((HEIGHT, WIDTH))), "mask is empty"),
    "mask nan": (Prompt(mask=np.full((HEIGHT, WIDTH), np.nan)), "not finite"),
    "mask and box": (Prompt(mask=np.ones((HEIGHT, WIDTH)), box=[1, 1, 2, 2]), "stands alone"),
    "stamp": (
        Prompt(points=[[1, 2]], stamp=99),
        "No frame of stamp 99 is at hand: the oldest is of 5, the newest of 5",
    ),
}


@pytest.mark.parametrize("name", BAD_PROMPTS)
def test_bad_prompt_loses_nothing(micro_tracker: Tracker, name: str) -> None:
    prompt, message = BAD_PROMPTS[name]
    disturbed, calm = micro_tracker.open_stream(), micro_tracker.open_stream()
    for stream in (disturbed, calm):
        stream.step(frame(0), 5)
        stream.add_prompt(CLICK)
    with pytest.raises(PromptError, match=message):
        disturbed.add_prompt(prompt)
    with pytest.raises(PromptError, match=message):
        disturbed.add_prompt(prompt, object_id=1)
    assert disturbed.report() == calm.report()
    assert torch.equal(disturbed.step(frame(1)).mask_logits, calm.step(frame(1)).mask_logits)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        torch.zeros(10, 10, 3),
    ],
    ids=["empty", "grey", "four channels", "float", "float tensor"],
)
def test_bad_image_loses_nothing(micro_tracker: Tracker, image: np.ndarray) -> None:
    disturbed, calm = micro_tracker.open_stream(), micro_tracker.open_stream()
    for stream in (disturbed, calm):
        stream.step(frame(0))
        stream.add_prompt(CLICK)
    with pytest.raises(ImageError):
        disturbed.step(image)
    assert torch.equal(disturbed.step(frame(1)).mask_logits, calm.step(frame(1)).mask_logits)


def test_failure_inside_a_step_loses_nothing(micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the GPU's memory runs out in the last network of a step."""
    disturbed, calm = micro_tracker.open_stream(), micro_tracker.open_stream()
    for stream in (disturbed, calm):
        stream.step(frame(0))
        stream.add_prompt(CLICK)

    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(micro_tracker.model, "encode_memory", out_of_memory)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            disturbed.step(frame(1))
        with pytest.raises(torch.cuda.OutOfMemoryError):
            disturbed.add_prompt(BOX)
    assert disturbed.report() == calm.report()
    assert torch.equal(disturbed.step(frame(1)).mask_logits, calm.step(frame(1)).mask_logits)


def test_images_of_any_size_strides_and_kind(micro_tracker: Tracker) -> None:
    image = frame(0)
    read_only = image.copy()
    read_only.flags.writeable = False
    results = []
    for variant in (image, image[::-1].copy()[::-1], read_only, torch.from_numpy(image), np.asfortranarray(image)):
        stream = micro_tracker.open_stream()
        stream.step(variant)
        results.append(stream.add_prompt(CLICK).mask_logits)
    assert all(torch.equal(results[0], other) for other in results[1:])
    stream = micro_tracker.open_stream()
    for size in ((90, 120), (33, 57), (128, 128), (200, 100)):  # a camera may change its mode
        result = stream.step(np.zeros((*size, 3), np.uint8))
        if not stream.objects:
            stream.add_prompt(CLICK)
        assert result.mask_logits.shape[1:] == size


def test_bfloat16_follows_float32(micro_tracker: Tracker) -> None:
    from sam_core import build_tracker

    torch.manual_seed(0)
    half = build_tracker("sam2.1_micro", device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    half.model.load_state_dict(micro_tracker.model.state_dict())
    for one, other in zip(run(micro_tracker, {0: [CLICK, BOX]}, 8), run(half, {0: [CLICK, BOX]}, 8), strict=True):
        if len(one):
            scale = one.mask_logits.abs().amax()
            assert other.mask_logits.dtype == torch.float32
            assert (one.mask_logits - other.mask_logits).abs().mean() < 0.02 * scale


def test_pointer_distance_can_be_clamped(micro_tracker: Tracker) -> None:
    """Equal to the published behaviour while the prompt is young, different once it is older than the bound."""
    free, clamped = micro_tracker.open_stream(), micro_tracker.open_stream(max_pointer_distance=10)
    for i in range(15):
        one, other = free.step(frame(i)), clamped.step(frame(i))
        if i == 0:
            free.add_prompt(CLICK)
            clamped.add_prompt(CLICK)
        else:
            assert torch.equal(one.mask_logits, other.mask_logits) == (i <= 10)


@pytest.mark.parametrize(
    "settings", [{"max_objects": 0}, {"max_conditioning_frames": 1}, {"max_pointer_distance": 0}], ids=str
)
def test_bad_settings(micro_tracker: Tracker, settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        micro_tracker.open_stream(**settings)


@pytest.mark.parametrize("frames", [500, pytest.param(2000, marks=pytest.mark.slow)])
def test_memory_is_flat(micro_tracker: Tracker, frames: int) -> None:
    """Objects come, are corrected and go all the while; the tensors at frame 200 are those at the end."""
    stream = micro_tracker.open_stream(max_objects=2, corrections_are_conditioning=True)
    measured = {}
    for i in range(frames + 1):
        result = stream.step(frame(i % 50), i)
        if i % 50 == 0:
            if len(result) == 2:
                stream.remove(result.object_ids[0])
            stream.add_prompt(CLICK)
        if i % 50 == 25:
            stream.add_prompt(BOX, object_id=stream.objects[0].object_id)
        if i in (200, frames):  # the same place in the cycle of prompts
            del result
            stream.step(frame(0), i)
            measured[i] = (held(torch.device("cpu")).tensors, stream.report().bytes_allocated)
    assert len(stream.objects) == 2
    assert stream.objects[-1].object_id > frames // 70
    assert measured[200] == measured[frames]


def test_kinds_of_live_objects_do_not_grow(micro_tracker: Tracker) -> None:
    """Not only tensors: no Python object of ours accumulates per frame."""
    stream = micro_tracker.open_stream()
    stream.step(frame(0))
    stream.add_prompt(CLICK)

    def census() -> Counter[str]:
        gc.collect()
        return Counter(type(o).__name__ for o in gc.get_objects() if str(type(o).__module__).startswith("sam_core"))

    for i in range(40):
        stream.step(frame(i))
    before = census()
    for i in range(100):
        stream.step(frame(i))
    assert census() == before
