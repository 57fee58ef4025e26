"""Matching, losses and figures against values by hand, and a run that goes on where it stopped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from sam_core.sam3 import build_detector, build_network
from sam_core.sam3.decoder import DecodedQueries
from sam_core.training.concepts.batches import ConceptBatch, draw_batch
from sam_core.training.concepts.evaluate import Tally, mask_ious
from sam_core.training.concepts.grounding import LayerOutput, ground_batch, segment
from sam_core.training.concepts.initialise import initialise
from sam_core.training.concepts.losses import ConceptLossWeights, batch_losses, layer_losses
from sam_core.training.concepts.matching import Matches, Targets, generalised_iou, match
from sam_core.training.concepts.questions import QuestionMix
from sam_core.training.concepts.settings import ConceptSettings, load_concept_settings
from sam_core.training.concepts.task import ConceptTask, set_picture_size
from sam_core.training.trainer import make_run, resume, train, train_step


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _settings(output: Path, *overrides: str) -> ConceptSettings:
    return load_concept_settings("sam3_micro", [f"output={output}", *overrides])


def _task(output: Path, *overrides: str) -> ConceptTask:
    return ConceptTask(_settings(output, *overrides))


def _batch(settings: ConceptSettings, seed: int = 0) -> ConceptBatch:
    stage = settings.stages[1]
    rng = np.random.default_rng(seed)
    return draw_batch(rng, stage.scenes, QuestionMix(exemplar=0.2), 2, 4, ConceptTask(settings).tokenizer)


def test_generalised_iou_by_hand() -> None:
    box = torch.tensor([0.5, 0.5, 0.2, 0.2])
    assert generalised_iou(box, box).item() == pytest.approx(1.0)
    beside = torch.tensor([0.8, 0.5, 0.2, 0.2])  # a gap of 0.1: hull 0.5 x 0.2 = 0.1, union 0.08
    assert generalised_iou(box, beside).item() == pytest.approx(-0.2, abs=1e-6)
    half = torch.tensor([0.55, 0.5, 0.1, 0.2])  # the right half: overlap 0.02, union and hull 0.04
    assert generalised_iou(box, half).item() == pytest.approx(0.5, abs=1e-6)


def test_each_instance_gets_the_query_that_fits_it() -> None:
    boxes = torch.tensor([[[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.2, 0.2], [0.5, 0.5, 0.1, 0.1]]])
    truth = torch.tensor([[[0.8, 0.8, 0.2, 0.2], [0.2, 0.2, 0.1, 0.1]]])
    targets = Targets(truth.repeat(2, 1, 1), torch.tensor([[4, 7], [0, 0]]))
    found = match(torch.zeros(2, 3), boxes.repeat(2, 1, 1), boxes[0], targets)
    assert sorted(zip(found.query.tolist(), found.instance.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert found.question.tolist() == [0, 0]


def test_the_matching_is_the_cheapest_and_minds_where_queries_start() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(1, 5, 4, generator=generator) * 0.5 + 0.2
    truth = torch.rand(1, 3, 4, generator=generator) * 0.5 + 0.2
    logits = torch.randn(1, 5, generator=generator)
    found = match(logits, boxes, boxes[0], Targets(truth, torch.ones(1, 3, dtype=torch.long)))
    cost = np.zeros((5, 3))
    for q in range(5):
        for i in range(3):
            distance = float((boxes[0, q] - truth[0, i]).abs().sum())
            overlap = float(generalised_iou(boxes[0, q], truth[0, i]))
            cost[q, i] = 5 * distance - 2 * overlap - 2 * float(logits[0, q].sigmoid())
    rows, columns = linear_sum_assignment(cost)
    assert sorted(zip(found.query.tolist(), found.instance.tolist(), strict=True)) == sorted(
        zip(rows, columns, strict=True)
    )
    # Two equal predictions: the instance goes to the one that starts nearer.
    same = torch.tensor([0.5, 0.5, 0.2, 0.2]).expand(1, 2, 4)
    anchors = torch.tensor([[0.1, 0.1, 0.2, 0.2], [0.55, 0.5, 0.2, 0.2]])
    near = match(torch.zeros(1, 2), same, anchors, Targets(same[:, :1], torch.tensor([[1]])), anchor_weight=5.0)
    assert near.query.tolist() == [1]


def test_the_losses_of_a_layer_by_hand() -> None:
    truth = torch.tensor([[[0.5, 0.5, 0.2, 0.2]], [[0.0, 0.0, 0.0, 0.0]]])
    targets = Targets(truth, torch.tensor([[1], [0]]))
    boxes = torch.tensor([[0.8, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]).repeat(2, 1, 1)
    layer = LayerOutput(torch.zeros(2, 2), DecodedQueries(torch.zeros(2, 2, 8), boxes, torch.tensor([0.0, 2.0])))
    zero = torch.tensor([0])
    losses = layer_losses(layer, Matches(zero, zero, zero), targets, ConceptLossWeights(alpha=0.5, gamma=1.0))
    # Four logits of 0: cross-entropy ln 2, times 1 - p = 0.5, times alpha 0.5, summed over one instance.
    assert losses["classes"].item() == pytest.approx(4 * math.log(2) * 0.25, rel=1e-5)
    assert losses["l1"].item() == pytest.approx(0.3, rel=1e-5)
    assert losses["giou"].item() == pytest.approx(1.2, rel=1e-5)
    assert losses["presence"].item() == pytest.approx((math.log(2) + math.log1p(math.exp(2.0))) / 2, rel=1e-5)


def test_figures_by_hand() -> None:
    masks = torch.zeros(3, 4, 8, dtype=torch.bool)
    masks[0, :, :4], masks[1, :, 4:], masks[2, :, :2] = True, True, True
    assert mask_ious(masks[:1], masks).tolist() == [[1.0, 0.0, 0.5]]
    tally = Tally()
    tally.add(masks[[0, 2]], masks[:2])  # one right, one too many (the true one is taken), one missed
    tally.add(masks[:0], masks[:1])  # missed altogether
    tally.add(masks[:1], masks[:0])  # false alarm
    tally.add(masks[:0], masks[:0])
    tally.add(masks[:0], masks[:0])
    assert (tally.found, tally.invented, tally.missed) == (1, 1, 2)
    assert tally.f1 == pytest.approx(2 / 5)
    assert tally.false_alarms == pytest.approx(1 / 3)
    # tp 1, fn 1, fp 1, tn 2
    assert tally.mcc == pytest.approx((1 * 2 - 1 * 1) / math.sqrt(2 * 2 * 3 * 3))
    assert tally.mean_iou == pytest.approx(1.0)


def test_queries_start_on_a_grid_and_look_around_themselves() -> None:
    network = build_network("sam3_toy")
    initialise(network)
    decoder = network.transformer.decoder
    boxes = decoder.reference_points.weight.sigmoid()
    assert torch.allclose(boxes[:, 2:], torch.full((12, 2), 0.2), atol=1e-5)
    assert len({tuple(round(v, 3) for v in box) for box in boxes[:, :2].tolist()}) == 12
    bias = decoder.position_bias(boxes[None], (32, 32)).unflatten(-1, (32, 32))  # (1, heads, 12, rows, columns)
    x1, y1, width, height = (boxes[5] - torch.cat((boxes[5, 2:] / 2, torch.zeros(2)))).tolist()
    for head, (across, down) in enumerate(((0, 0), (1, 0), (2, 0), (0, 1))):  # the first four of nine parts
        row, column = divmod(int(bias[0, head, 5].argmax()), 32)
        assert abs((column / 32 - x1) / width - across / 2) < 0.25
        assert abs((row / 32 - y1) / height - down / 2) < 0.25


def test_a_batch_is_grounded_as_the_detector_grounds_each_picture(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(ConceptTask(settings))
    set_picture_size(run.model, 112)
    network = run.model.eval()
    batch = _batch(settings)
    with torch.no_grad():
        together = ground_batch(network, batch)
        for picture in range(2):
            part = slice(4 * picture, 4 * picture + 4)
            features = network.encode_image(batch.images[picture : picture + 1])
            text = network.encode_text(batch.ids)
            geometry = type(batch.exemplars)(*(getattr(batch.exemplars, f)[part] for f in vars(batch.exemplars)))
            words = type(text)(text.tokens[batch.phrase[part]], text.valid[batch.phrase[part]])
            alone = network.ground(features, words, geometry)
            last = together.layers[-1]
            assert torch.allclose(alone.logits, last.logits[part], atol=1e-4)
            assert torch.allclose(alone.boxes, last.found.boxes[part], atol=1e-5)
            assert torch.allclose(alone.presence, last.found.presence[part], atol=1e-4)
            wanted, whole = network.masks(features, alone, 1, torch.tensor([0, 3]))
            question = torch.tensor([4 * picture + 1])
            masks, semantic = segment(
                network, together, question, torch.tensor([0, 0]), last.found.queries[question[0], [0, 3]]
            )
            assert torch.allclose(masks, wanted, atol=1e-4)
            assert torch.allclose(semantic[0], whole, atol=1e-4)


def test_every_part_learns(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(ConceptTask(settings))
    # Only a negative example has a label embedding of 0, and only boxes are shown in training.
    mix = QuestionMix(absent=0.2, exemplar=0.3, excluded=0.4)
    stage = settings.stages[1]
    set_picture_size(run.model, stage.scenes.size)
    batch = draw_batch(np.random.default_rng(1), stage.scenes, mix, 4, 6, ConceptTask(settings).tokenizer)
    batch_losses(run.model, run.auxiliary, batch, stage.loss, run.generator).total.backward()  # type: ignore[arg-type]
    silent = [n for n, p in run.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    unused = ("points_", "text_projection", "instance_seg_head", "bbox_embed")
    assert [n for n in silent if not any(word in n for word in unused)] == []


def test_a_few_steps_on_one_batch_lower_the_loss(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(ConceptTask(settings))
    set_picture_size(run.model, 112)
    batch = _batch(settings)
    losses = []
    for _ in range(12):
        result = batch_losses(run.model, run.auxiliary, batch, ConceptLossWeights(), run.generator)  # type: ignore[arg-type]
        result.total.backward()
        for optimizer in run.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(result.total.detach()))
    assert min(losses[-3:]) < 0.85 * losses[0]


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = train(_task(tmp_path / "whole"))
    stopped = train(_task(tmp_path / "parts"), minutes=0.0)  # after one step
    assert (stopped.stage, stopped.step) == (0, 1)
    task = _task(tmp_path / "parts")
    fresh = make_run(task)
    assert resume(fresh, task)
    assert (fresh.stage, fresh.step) == (0, 1)
    stopped = train(_task(tmp_path / "parts"), minutes=0.0)  # where a stage ends and the next has larger pictures
    assert (stopped.stage, stopped.step) == (1, 0)
    parts = train(_task(tmp_path / "parts"))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, parts.average.state_dict()[name]), name
    assert parts.stage == 2


def test_what_a_run_leaves_loads_as_a_detector(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = train(ConceptTask(settings))
    files = {path.name for path in tmp_path.iterdir()}
    assert {"state.pt", "sam3_toy.safetensors", "history.jsonl", "curve.png"} <= files
    overrides = settings.model_overrides
    detector = build_detector("sam3_toy", tmp_path / "sam3_toy.safetensors", "cpu", "float32", overrides)
    name = "transformer.decoder.reference_points.weight"
    expected = run.averaged.state_dict()[name].half().float()
    assert torch.equal(detector.network.state_dict()[name], expected)
    state = detector.encode_image(np.zeros((48, 64, 3), np.uint8))
    assert detector.detect(state, "red ring", threshold=0.0)[0].masks.shape[1:] == (48, 64)


def test_a_run_starts_from_the_shipped_weights(tmp_path: Path) -> None:
    settings = load_concept_settings("sam3_nano", [f"output={tmp_path}", "checkpoint=shipped"])
    network = ConceptTask(settings).build_model()
    shipped = build_detector("sam3_nano", None, "cpu", "float32").network.state_dict()
    assert all(torch.equal(value, shipped[name]) for name, value in network.state_dict().items())
    without = load_concept_settings("sam3_micro", ["checkpoint=shipped"])
    with pytest.raises(ValueError, match="No weights ship with sam3_toy"):
        ConceptTask(without).build_model()


def test_an_evaluation_does_not_disturb_the_run(tmp_path: Path) -> None:
    task = _task(tmp_path)
    run = make_run(task)
    stage = task.settings.stages[1]
    task.enter_stage(run, stage)
    train_step(run, task, stage)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    first = task.evaluate(run, stage)
    assert first.keys() >= {"seen_f1", "unseen_mcc", "seen_false_alarms"}
    assert task.evaluate(run, stage)["seen_mcc"] == first["seen_mcc"]
    assert run.model.training
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
