"""Clicks that begin an object, answered from close up as well."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Stream, Tracker, build_tracker
from sam_core.sam2 import SamOutput
from sam_core.streaming import zoom
from sam_core.streaming.frames import Frame
from sam_core.streaming.zoom import zoomed
from tests.core.pattern import HEIGHT, WIDTH, frame

CLICK = Prompt(points=[[40.0, 50.0]], labels=[1])


@pytest.mark.parametrize("extent", [(0, 3, 0, 5), (20, 25, 40, 52), (60, 71, 66, 71), (30, 30, 30, 30), (0, 30, 5, 20)])
def test_windows_hold_what_was_found(extent: tuple[int, int, int, int]) -> None:
    places = 72
    x0, x1, y0, y1 = extent
    windows = zoom._windows(extent, places)
    assert windows
    for top, left, side in windows:
        assert 0 <= left <= x0
        assert x1 < left + side <= places
        assert 0 <= top <= y0
        assert y1 < top + side <= places
        assert zoom._LEAST * places <= side <= zoom._MOST * places


def test_what_fills_the_picture_has_no_windows() -> None:
    assert zoom._windows((2, 69, 10, 50), 72) == []
    assert zoom._windows(None, 72) == []


def test_windows_show_the_network_what_was_clicked_on(micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixel under each point has the colour, in the stretched window, that it has in the picture."""
    model = micro_tracker.model
    size, grid = model.image_size, model.mask_size
    ys, xs = np.mgrid[:size, :size] * (255 / size)
    picture = torch.from_numpy(np.stack([xs, ys, 0 * xs]).astype(np.uint8))  # every place has a colour of its own
    with torch.inference_mode():
        frame_ = Frame(0, None, (size, size), model.encode_image(model.normalise_picture(picture[None])), picture)
        found = model.decode(model.embed_without_memory(frame_.features), frame_.features, multimask=False)
    low_res = torch.full((1, 1, grid, grid), -5.0)
    low_res[0, 0, grid // 2 : grid // 2 + 6, 4:11] = 5.0
    found = SamOutput(**{**vars(found), "low_res": low_res})
    points = torch.tensor([[6.5, grid / 2 + 2.0], [8.0, grid / 2 + 4.5], [12.0, grid / 2 - 2.0]]) * (size / grid)
    labels = torch.tensor([1, 1, 0])
    shown: list[Tensor] = []
    asked: list[Tensor] = []
    decode = model.decode

    def encode(window: Tensor):  # type: ignore[no-untyped-def]
        shown.append(window)
        return model.encode_image(model.normalise_picture(window[None]))

    def listen(embedding, features, points=None, labels=None, mask=None, *, multimask):  # type: ignore[no-untyped-def]
        asked.append(points[0])
        return decode(embedding, features, points, labels, mask, multimask=multimask)

    monkeypatch.setattr(model, "decode", listen)
    with torch.inference_mode():
        zoomed(model, encode, frame_, points, labels, found)
    assert len(shown) == len(zoom._SIDES)
    assert len(asked) == len(shown) + 1
    assert torch.equal(asked[-1], points), "the object pointer is of the whole picture"
    for window, places in zip(shown, asked[:-1], strict=True):
        assert window.shape == (3, size, size)
        for (x, y), (px, py) in zip(points.tolist(), places.tolist(), strict=True):
            here = window[:2, int(py), int(px)].float()
            there = torch.tensor([x, y]) * (255 / size)
            assert (here - there).abs().max() <= 3, (here, there)


def open_with(tracker: Tracker, clicks: str, frames: int = 1) -> Stream:
    stream = tracker.open_stream(clicks=clicks)
    for t in range(frames):
        stream.step(frame(t), t)
    return stream


@pytest.fixture
def eager(micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """Take any window for a closer look: random weights find things of any size."""
    monkeypatch.setattr(zoom, "_MOST", 1.0)
    monkeypatch.setattr(zoom, "_SIDES", (0.5,))
    return micro_tracker


def test_a_click_is_answered_once_more(eager: Tracker) -> None:
    kept, looked = (open_with(eager, clicks).add_prompt(CLICK) for clicks in ("keep", "zoom"))
    assert not torch.equal(kept.low_res, looked.low_res)
    assert looked.low_res.shape == kept.low_res.shape
    assert looked.masks.any()


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(box=[10, 10, 50, 50]),
        Prompt(points=[[40.0, 50.0]], labels=[1], box=[10, 10, 60, 60]),
        Prompt(mask=np.eye(HEIGHT, WIDTH, dtype=bool)),
    ],
    ids=["box", "box and point", "mask"],
)
def test_other_prompts_say_how_large_a_thing_is(eager: Tracker, prompt: Prompt) -> None:
    kept, looked = (open_with(eager, clicks).add_prompt(prompt) for clicks in ("keep", "zoom"))
    assert torch.equal(kept.low_res, looked.low_res)


def test_corrections_build_on_the_mask_that_is_there(eager: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = open_with(eager, "zoom")
    stream.add_prompt(CLICK)
    more = Prompt(points=[[90.0, 20.0]], labels=[0])
    monkeypatch.setattr("sam_core.streaming.stream.zoomed", lambda *_: pytest.fail("this is no beginning"))
    stream.add_prompt(more, object_id=1)
    stream.step(frame(1))
    stream.add_prompt(more, object_id=1)


def test_who_is_renewed_begins(eager: Tracker) -> None:
    stream, fresh = open_with(eager, "zoom", frames=3), open_with(eager, "zoom", frames=4)
    stream.add_prompt(Prompt(box=[10, 10, 50, 50]))
    stream.step(frame(3))
    renewed = stream.add_prompt(CLICK, object_id=1, renew=True)
    assert torch.equal(renewed.low_res, fresh.add_prompt(CLICK).low_res)


def test_a_click_in_the_past_looks_at_the_picture_of_then(eager: Tracker) -> None:
    expected = open_with(eager, "zoom").add_prompt(CLICK)
    late = open_with(eager, "zoom", frames=6)
    answer = late.add_prompt(Prompt(points=[[40.0, 50.0]], labels=[1], stamp=0))
    assert torch.equal(answer.low_res, expected.low_res)


def test_who_is_not_there_is_not_looked_at(micro_tracker: Tracker) -> None:
    """An object that the first answer does not show stays absent."""
    model, stream = micro_tracker.model, open_with(micro_tracker, "zoom")
    newest = stream._frames.newest
    assert newest is not None
    with torch.inference_mode():
        output = model.decode(model.embed_without_memory(newest.features), newest.features, multimask=False)
    nothing = SamOutput(**{**vars(output), "low_res": torch.full_like(output.low_res, -1024.0)})
    assert zoomed(model, stream._graphs.encode, newest, torch.ones(1, 2), torch.ones(1), nothing) is nothing


def test_a_model_names_how_clicks_are_answered(micro_tracker: Tracker) -> None:
    assert micro_tracker.clicks == "keep"
    assert build_tracker("sam2_nano", device="cpu").clicks == "zoom"
    with pytest.raises(ValueError, match="clicks must be one of keep, zoom, not 'twice'"):
        micro_tracker.open_stream(clicks="twice")
