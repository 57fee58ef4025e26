"""The same numbers whatever the caller has set in PyTorch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import _lru_cache_wrapper
from typing import Any

import numpy as np
import pytest
import torch

from sam_core import ImageError, Prompt, build_tracker
from sam_core.isolation import build_context, inference
from sam_core.sam3 import Exemplars, build_detector
from tests.core.pattern import frame


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "float64 as default": lambda: default_dtype(torch.float64),
    "bfloat16 as default": lambda: default_dtype(torch.bfloat16),
    "float16 as default": lambda: default_dtype(torch.float16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "gradients": torch.enable_grad,
}


def forget_caches() -> None:
    """Empty the library's caches: what was computed under other settings must not stand in."""
    for item in gc.get_objects():
        if type(item) is _lru_cache_wrapper and item.__module__.startswith("sam_core"):
            item.cache_clear()


def numbers(values: Any) -> np.ndarray:
    return values.detach().float().numpy().copy()


def track() -> list[np.ndarray]:
    """Build the shipped tracker, all of its postprocessors on, and track three objects; return every number."""
    forget_caches()
    tracker = build_tracker("sam2_nano", device="cpu", dtype="float32", overrides=["model.image_size=256"])
    assert {parameter.dtype for parameter in tracker.model.parameters()} == {torch.float32}
    stream = tracker.open_stream(max_objects=4, fill_hole_area=8, non_overlap="color_histogram")
    results = [stream.step(frame(0), 0)]
    results.append(stream.add_prompt(Prompt(points=[[60, 45]])))
    results.append(stream.add_prompt(Prompt(box=[20, 10, 80, 60])))
    for i in range(1, 4):
        results.append(stream.step(frame(i), i))
    results.append(stream.add_prompt(Prompt(mask=frame(2)[..., 0] > 128, stamp=2)))
    results.append(stream.add_prompt(Prompt(points=[[30, 40]], labels=[0], stamp=1), object_id=1))
    results += [stream.step(frame(i), i) for i in range(4, 7)]
    assert len(results[-1]) == 3
    fields = ("mask_logits", "masks", "boxes", "areas", "centroids", "predicted_iou", "presence")
    return [numbers(getattr(result, field)) for result in results for field in fields]


def detect() -> list[np.ndarray]:
    """Build the shipped detector and search by words and by an exemplar; return every number."""
    forget_caches()
    detector = build_detector("sam3_nano", device="cpu", dtype="float32")
    state = detector.encode_image(frame(0))
    found = detector.detect(state, ["cup", "red box"], Exemplars(boxes=[[10, 10, 60, 50]]), threshold=0.0)
    found += detector.detect(state, "cup", threshold=1.0)  # nothing
    return [numbers(item) for one in found for item in (one.scores, one.boxes, one.masks, one.mask_logits)]


@pytest.fixture(scope="module")
def plain() -> dict[Callable[[], list[np.ndarray]], list[np.ndarray]]:
    return {work: work() for work in (track, detect)}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("work", [track, detect])
def test_settings_of_the_caller_change_nothing(
    plain: dict[Any, list[np.ndarray]], name: str, work: Callable[[], list[np.ndarray]]
) -> None:
    with SETTINGS[name]():
        before = torch.get_default_dtype(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        values = work()
        assert before == (
            torch.get_default_dtype(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
        )
    for value, expected in zip(values, plain[work], strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_stream_goes_on_under_other_settings() -> None:
    """What is opened in one mode works in another, and weights that want gradients make none."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        tracker = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
        stream = tracker.open_stream(max_objects=2)
        stream.step(frame(0), 0)
    tracker.model.requires_grad_(True)
    stream.add_prompt(Prompt(points=[[60, 45]]))
    for i, name in enumerate(SETTINGS, 1):
        with SETTINGS[name]():
            result = stream.step(frame(i), i)
        assert result.low_res.dtype == torch.float32
        assert not result.mask_logits.requires_grad


def test_a_generator_works_in_its_own_settings_and_its_caller_in_others() -> None:
    def modes() -> tuple[bool, bool]:
        return torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")

    @inference
    def generate(count: int) -> Iterator[tuple[bool, bool]]:
        for _ in range(count):
            yield modes()

    with torch.autocast("cpu", torch.bfloat16):
        inside = []
        for item in generate(2):
            inside.append(item)
            assert modes() == (False, True)
    assert inside == [(True, False)] * 2


def test_the_default_dtype_is_put_back_after_an_error() -> None:
    with ExitStack() as stack:
        stack.enter_context(default_dtype(torch.float64))
        with pytest.raises(ValueError, match="no tracker"):
            build_tracker("nothing")
        with pytest.raises(RuntimeError, match="on purpose"), build_context():
            raise RuntimeError("on purpose")
        assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize("device", ["mps", "xpu:0", "meta", torch.device("mps")])
@pytest.mark.parametrize(
    "build", [lambda d: build_tracker("sam2.1_micro", device=d), lambda d: build_detector(device=d)]
)
def test_other_devices_are_refused(build: Callable[[Any], Any], device: Any) -> None:
    with pytest.raises(ValueError, match="is not supported: use 'cpu', or 'cuda'"):
        build(device)


@pytest.mark.parametrize("image", [None, [[1, 2, 3]], "image.png", object()])
def test_what_is_no_image_is_refused_in_a_sentence(image: Any) -> None:
    stream = build_tracker("sam2.1_micro", device="cpu", dtype="float32").open_stream(max_objects=1)
    with pytest.raises(ImageError, match=f"must be a NumPy array or a tensor, not {type(image).__name__}"):
        stream.step(image)
