"""Click augmentation: clicks that begin an object, answered from several views of the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Stream, Tracker, build_tracker
from sam_core.sam2 import SamOutput
from sam_core.streaming import Frame, click_views
from sam_core.streaming.click_views import ClickViews
from tests.core.pattern import HEIGHT, WIDTH, frame

CLICK = Prompt(points=[[40.0, 50.0]], labels=[1])


@pytest.mark.parametrize("points", [[(1, 2)], [(71, 70)], [(35, 40)], [(5, 60), (40, 30)], [(0, 0), (47, 47)]])
def test_the_magnified_part_holds_the_clicks(points: list[tuple[int, int]]) -> None:
    corner = click_views._corner(torch.tensor(points, dtype=torch.float32), 48, 72)
    assert corner is not None
    left, top = corner
    for x, y in points:
        assert 0 <= left <= x < left + 48 <= 72
        assert 0 <= top <= y < top + 48 <= 72


@pytest.mark.parametrize("points", [[], [(2, 30), (60, 30)]])
def test_no_part_holds_clicks_that_are_far_apart(points: list[tuple[int, int]]) -> None:
    assert click_views._corner(torch.tensor(points, dtype=torch.float32).reshape(-1, 2), 48, 72) is None


def answered(tracker: Tracker, frame_: Frame, points: Tensor, labels: Tensor) -> SamOutput:
    model = tracker.model
    embedding = model.embed_without_memory(frame_.features)
    return model.decode(embedding, frame_.features, points[None], labels[None], multimask=False)


def test_views_show_the_network_what_was_clicked_on(micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixel under each point has, in every view, the colour that it has in the image."""
    model = micro_tracker.model
    size = model.image_size
    ys, xs = np.mgrid[:size, :size] * (255 / size)
    image = torch.from_numpy(np.stack([xs, ys, 0 * xs]).astype(np.uint8))  # every place has a colour of its own
    points = torch.tensor([[0.2, 0.6], [0.3, 0.7], [0.4, 0.5]]) * size
    labels = torch.tensor([1, 1, 0])
    shown: list[Tensor] = []
    asked: list[Tensor] = []
    decode = model.decode

    def encode(view: Tensor):  # type: ignore[no-untyped-def]
        shown.append(view)
        return model.encode_image(model.normalise_picture(view[None]))

    def listen(embedding, features, points=None, labels=None, mask=None, *, multimask):  # type: ignore[no-untyped-def]
        asked.append(points[0])
        return decode(embedding, features, points, labels, mask, multimask=multimask)

    with torch.inference_mode():
        features = model.encode_image(model.normalise_picture(image[None]))
        frame_ = Frame(0, None, (size, size), features, image)
        first = answered(micro_tracker, frame_, points, labels)
        monkeypatch.setattr(model, "decode", listen)
        ClickViews(model, encode).refine(frame_, points, labels, first)
    assert len(shown) == 2
    assert len(asked) == 3
    assert torch.equal(asked[-1], points), "the object pointer is of the image as it is"
    for view, places in zip(shown, asked[:-1], strict=True):
        assert view.shape == (3, size, size)
        for (x, y), (px, py) in zip(points.tolist(), places.tolist(), strict=True):
            there = torch.tensor([x, y]) * (255 / size)
            assert (view[:2, int(py), int(px)].float() - there).abs().max() <= 3


def test_the_answer_is_the_mean_of_what_the_views_say(micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a decoder that marks where the points are, all views agree on the place."""
    model, stream = micro_tracker.model, open_with(micro_tracker, "views")
    newest = stream.history.newest
    assert newest is not None
    grid, stride = model.mask_size, model.image_size // model.mask_size
    decode = model.decode

    def mark(embedding, features, points=None, labels=None, mask=None, *, multimask):  # type: ignore[no-untyped-def]
        output = decode(embedding, features, points, labels, mask, multimask=multimask)
        low_res = torch.full((1, 1, grid, grid), -6.0)
        x, y = (points[0, 0] / stride).long().tolist()
        low_res[0, 0, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 6.0
        return SamOutput(**{**vars(output), "low_res": low_res})

    monkeypatch.setattr(model, "decode", mark)
    points, labels = torch.tensor([[0.3, 0.4]]) * model.image_size, torch.tensor([1])
    with torch.inference_mode():
        first = mark(model.embed_without_memory(newest.features), newest.features, points[None], None, multimask=False)
        result = ClickViews(model, stream._tracker.encode).refine(newest, points, labels, first).low_res[0, 0]
    x, y = (points[0] / stride).long().tolist()
    assert (result[y - 1 : y + 2, x - 1 : x + 2] > 0).all()
    assert (result[: y - 5] == -6).all()
    assert (result[y + 6 :] == -6).all()


def test_views_that_see_nothing_do_not_empty_the_answer(
    micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, stream = micro_tracker.model, open_with(micro_tracker, "views")
    newest = stream.history.newest
    assert newest is not None
    points, labels = torch.tensor([[0.3, 0.4]]) * model.image_size, torch.tensor([1])
    with torch.inference_mode():
        first = answered(micro_tracker, newest, points, labels)
        absent = SamOutput(**{**vars(first), "low_res": torch.full_like(first.low_res, -1024.0)})
        present = SamOutput(**{**vars(first), "low_res": first.low_res.abs(), "object_score": torch.ones(1, 1)})
        monkeypatch.setattr(model, "decode", lambda *_, **__: absent)
        answer = ClickViews(model, stream._tracker.encode).refine(newest, points, labels, present)
    assert answer is present


def open_with(tracker: Tracker, augmentation: str, frames: int = 1) -> Stream:
    stream = tracker.open_stream(click_augmentation=augmentation)
    for t in range(frames):
        stream.step(frame(t), t)
    return stream


def test_the_answer_to_a_click_changes(micro_tracker: Tracker) -> None:
    plain, averaged = (open_with(micro_tracker, choice).add_prompt(CLICK) for choice in ("none", "views"))
    assert not torch.equal(plain.low_res, averaged.low_res)
    assert averaged.low_res.shape == plain.low_res.shape
    assert averaged.masks.any()


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(box=[10, 10, 50, 50]),
        Prompt(points=[[40.0, 50.0]], labels=[1], box=[10, 10, 60, 60]),
        Prompt(mask=np.tri(HEIGHT, WIDTH, dtype=bool)),
    ],
    ids=["box", "box and point", "mask"],
)
def test_other_prompts_are_answered_as_without_views(micro_tracker: Tracker, prompt: Prompt) -> None:
    plain, averaged = (open_with(micro_tracker, choice).add_prompt(prompt) for choice in ("none", "views"))
    assert torch.equal(plain.low_res, averaged.low_res)


def test_corrections_are_not_augmented(micro_tracker: Tracker) -> None:
    """Of objects that began equally, with a box, corrections are answered equally, with views and without."""
    more = Prompt(points=[[90.0, 20.0]], labels=[0])
    answers = []
    for choice in ("none", "views"):
        stream = open_with(micro_tracker, choice)
        stream.add_prompt(Prompt(box=[10, 10, 50, 50]))
        first = stream.add_prompt(more, object_id=1)
        stream.step(frame(1))
        answers.append((first.low_res, stream.add_prompt(more, object_id=1).low_res))
    assert all(torch.equal(plain, augmented) for plain, augmented in zip(*answers, strict=True))


def test_a_click_that_renews_an_object_is_augmented(micro_tracker: Tracker) -> None:
    stream, fresh = open_with(micro_tracker, "views", frames=3), open_with(micro_tracker, "views", frames=4)
    stream.add_prompt(Prompt(box=[10, 10, 50, 50]))
    stream.step(frame(3))
    renewed = stream.add_prompt(CLICK, object_id=1, renew=True)
    assert torch.equal(renewed.low_res, fresh.add_prompt(CLICK).low_res)


def test_a_click_on_an_earlier_frame_uses_the_image_of_that_frame(micro_tracker: Tracker) -> None:
    expected = open_with(micro_tracker, "views").add_prompt(CLICK)
    late = open_with(micro_tracker, "views", frames=6)
    answer = late.add_prompt(Prompt(points=[[40.0, 50.0]], labels=[1], stamp=0))
    assert torch.equal(answer.low_res, expected.low_res)


def test_an_absent_object_is_not_asked_for_again(micro_tracker: Tracker) -> None:
    model, stream = micro_tracker.model, open_with(micro_tracker, "views")
    newest = stream.history.newest
    assert newest is not None
    points, labels = torch.ones(1, 2), torch.ones(1, dtype=torch.long)
    with torch.inference_mode():
        answer = answered(micro_tracker, newest, points, labels)
        absent = SamOutput(**{**vars(answer), "object_score": torch.full((1, 1), -3.0)})
        assert ClickViews(model, stream._tracker.encode).refine(newest, points, labels, absent) is absent


def test_a_model_names_its_click_augmentation(micro_tracker: Tracker) -> None:
    assert micro_tracker.open_stream()._settings.click_augmentation == "none"
    assert build_tracker("sam2_nano", device="cpu").choices["click_augmentation"] == "views"
    with pytest.raises(ValueError, match="click_augmentation must be one of none, views, not 'twice'"):
        micro_tracker.open_stream(click_augmentation="twice")
