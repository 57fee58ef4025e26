"""`python -m benchmarks.verify` on random weights in the published layouts: equal masks, others, what is missing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.reference.weights import make_lively, randomise
from benchmarks.verify.__main__ import main
from benchmarks.verify.clips import BOXES, SHIPPED, ClipError, clips_in
from benchmarks.verify.compare import Verdict, compare, verdict_on
from benchmarks.verify.ours import OurStream
from benchmarks.verify.report import picture
from sam_core import build_tracker
from sam_core.build import build_model

# The test models with the widths that the references have as constants.
SAM2 = ("model.d_model=128", "model.memory_encoder.memory_dim=64")
EDGETAM = ("model.d_model=128", "model.memory_encoder.memory_dim=64")
SAM3 = ("sizes.channels=128", "tracker.memory_encoder.memory_dim=64")

Case = tuple[str, tuple[str, ...], Path]  # model, overrides, file


@pytest.fixture(autouse=True)
def _plain() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def meta_sam2(folder: Path) -> Case:
    model = build_model("sam2.1_micro", SAM2)
    make_lively(model)
    torch.save({"model": model.state_dict()}, folder / "sam2.pt")
    return "sam2.1_micro", SAM2, folder / "sam2.pt"


def hugging_face_sam2(folder: Path) -> Case:
    from benchmarks.speed.hugging_face import build_hugging_face
    from benchmarks.speed.work import Work

    model = build_model("sam2.1_micro", SAM2)
    make_lively(model)
    theirs = build_hugging_face(Work("sam2.1_micro", SAM2), model).state_dict()
    theirs.pop("shared_image_embedding.positional_embedding")  # files leave out tied tensors
    return "sam2.1_micro", SAM2, saved(theirs, folder / "model.safetensors")


def sam1(folder: Path) -> Case:
    from benchmarks.reference.sam1 import official_sam

    model = official_sam("sam_vit_micro")
    randomise(model)
    with torch.no_grad():
        for heads in model.mask_decoder.output_hypernetworks_mlps:
            heads.layers[-1].weight.mul_(30)  # so that masks are neither empty nor full
    torch.save(model.state_dict(), folder / "sam_vit.pth")
    return "sam_vit_micro", (), folder / "sam_vit.pth"


def meta_edgetam(folder: Path) -> Case:
    from benchmarks.reference.edgetam import edgetam_pair

    torch.save({"model": edgetam_pair()[0].state_dict()}, folder / "edgetam.pt")
    return "edgetam_micro", EDGETAM, folder / "edgetam.pt"


def hugging_face_edgetam(folder: Path) -> Case:
    from benchmarks.reference.edgetam import edgetam_pair

    return "edgetam_micro", EDGETAM, saved(edgetam_pair()[1].state_dict(), folder / "model.safetensors")


def sam3(folder: Path) -> Case:
    """The whole model's file: the tracker's neck and heads have names of their own there."""
    from benchmarks.reference.sam3_tracker import toy_pair

    places = {"vision_encoder.backbone.": "detector_model.vision_encoder.backbone.",
              "vision_encoder.neck.": "tracker_neck."}  # fmt: skip
    state = {}
    for name, tensor in toy_pair(optimise=False)[1].state_dict().items():
        old, new = next((pair for pair in places.items() if name.startswith(pair[0])), ("", "tracker_model."))
        state[new + name.removeprefix(old)] = tensor
    return "sam3_toy", SAM3, saved(state, folder / "model.safetensors")


def sam3_tracker(folder: Path) -> Case:
    from benchmarks.reference.sam3_tracker import toy_pair

    return "sam3_toy", SAM3, saved(toy_pair(optimise=False)[1].state_dict(), folder / "model.safetensors")


def hugging_face_words(folder: Path, prefix: str = "detector_model.") -> Case:
    """The whole model's file, of whose two networks only the detector is needed; or its own file, without a prefix."""
    reference = detectors()[1]
    state = {prefix + name: tensor for name, tensor in reference.state_dict().items()}
    return "sam3_toy", (), saved(state, folder / "model.safetensors")


def hugging_face_words_alone(folder: Path) -> Case:
    return hugging_face_words(folder, prefix="")


def meta_words(folder: Path) -> Case:
    network = detectors()[0]
    torch.save({f"detector.{name}": tensor for name, tensor in network.state_dict().items()}, folder / "sam3.pt")
    return "sam3_toy", (), folder / "sam3.pt"


def detectors() -> tuple[Any, Any]:
    from benchmarks.reference.sam3 import reference_config, share_random_weights
    from sam_core.sam3 import build_network

    module: Any = pytest.importorskip("transformers.models.sam3.modeling_sam3")
    pair = build_network("sam3_toy"), module.Sam3Model(reference_config("sam3_toy")).eval()
    share_random_weights(*pair)
    with torch.no_grad():  # more queries pass than there
        direction = pair[0].dot_prod_scoring.prompt_proj.bias
        shift = 2 * direction.numel() ** 0.5 / direction.square().sum() * direction
        for layer in (pair[0].dot_prod_scoring.hs_proj, pair[1].dot_product_scoring.query_proj):
            layer.bias.add_(shift)
    return pair


def saved(state: dict[str, Tensor], path: Path) -> Path:
    save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    return path


def verify(case: Case, output: Path, *more: str) -> int:
    model, overrides, file = case
    chosen = ["--overrides", *overrides] if overrides else []
    return main(["--model", model, "--checkpoint", str(file), "--frames", "3", "--every", "5", "--device", "cpu",
                 "--output", str(output), *chosen, *more])  # fmt: skip


@pytest.mark.parametrize(
    ("make", "package", "names"),
    [
        (meta_sam2, "sam2", "its own names"),
        (hugging_face_sam2, "transformers", "its own names"),
        (sam1, "segment_anything", "its own names"),
        (meta_edgetam, "transformers", "our mapping of names"),
        (hugging_face_edgetam, "transformers", "its own names"),
        (sam3, "transformers", "our mapping of names"),
        (sam3_tracker, "transformers", "its own names"),
        (hugging_face_words, "transformers", "its own names"),
        (hugging_face_words_alone, "transformers", "its own names"),
        (meta_words, "transformers", "our mapping of names"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_file_gives_the_reference_s_masks(
    tmp_path: Path, make: Callable[[Path], Case], package: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    case = make(tmp_path)
    more = ["--words", "yellow cup"] if "words" in make.__name__ else []

    assert verify(case, tmp_path / "out", *more) == 0

    told, written = capsys.readouterr().out, json.loads((tmp_path / "out" / "verify.json").read_text())
    digest = hashlib.sha256(case[2].read_bytes()).hexdigest()
    assert f"{case[2].name} has the SHA-256 {digest}" in told
    assert written["facts"][f"SHA-256 of {case[2].name}"] == digest
    assert written["facts"]["reference"] == f"{package.replace('_', '-')}, which read the tensors by {names}"
    assert f"VERIFIED: with this file, {case[0]} here and" in told
    rows = written["clips"]["cup"]
    assert [row["frame"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert row["area"] > 0
        assert row["iou"] >= 0.999
        assert row["largest_logit"] > 0
        assert row["logit_difference"] <= 1e-4 * row["largest_logit"]
    assert (tmp_path / "out" / "verify.md").read_text().count("\n| cup | ") == 1 + 3
    assert cv2.imread(str(tmp_path / "out" / "verify_cup.png")).shape == (3 * 200, 3 * 267, 3)


def full_sam2(folder: Path) -> Case:
    model = build_model("sam2.1_hiera_tiny")
    make_lively(model)
    torch.save({"model": model.state_dict()}, folder / "sam2.1_hiera_tiny.pt")
    return "sam2.1_hiera_tiny", (), folder / "sam2.1_hiera_tiny.pt"


def full_sam1(folder: Path) -> Case:
    from benchmarks.reference.sam1 import official_sam

    model = official_sam("sam_vit_b")
    randomise(model)
    torch.save(model.state_dict(), folder / "sam_vit_b.pth")
    return "sam_vit_b", (), folder / "sam_vit_b.pth"


def full_edgetam(folder: Path) -> Case:
    from benchmarks.reference.edgetam import edgetam_pair

    torch.save({"model": edgetam_pair("edgetam", ())[0].state_dict()}, folder / "edgetam.pt")
    return "edgetam", (), folder / "edgetam.pt"


@pytest.mark.slow
@pytest.mark.parametrize("make", [full_sam2, full_sam1, full_edgetam])
def test_at_the_published_size_the_reference_is_built_by_its_own_configuration(
    tmp_path: Path, make: Callable[[Path], Case]
) -> None:
    if not all(map(find_spec, ("sam2", "segment_anything", "transformers"))):
        pytest.skip("the references are not installed")
    torch.set_num_threads(2)
    assert verify(make(tmp_path), tmp_path / "out", "--frames", "2") == 0
    rows = json.loads((tmp_path / "out" / "verify.json").read_text())["clips"]["cup"]
    assert all(row["logit_difference"] <= 1e-4 * row["largest_logit"] for row in rows)


def test_without_the_first_reference_the_second_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setitem(sys.modules, "sam2.sam2_video_predictor", None)  # as if it were not installed
    assert verify(meta_sam2(tmp_path), tmp_path / "out") == 0
    assert "Reference: transformers, which read the tensors by our mapping of names" in capsys.readouterr().out


def test_without_any_reference_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sam2.sam2_video_predictor", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert verify(meta_sam2(tmp_path), tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "There is no reference for sam2.1_micro here: sam2 is not installed" in told
    assert "pip install sam2" in told
    assert "pip install transformers" in told
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_gets_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    model, overrides, file = case = meta_sam2(tmp_path)
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pt")
    for wrong, more, sentence in (
        ((model, overrides, tmp_path / "nowhere.pt"), (), "There is no checkpoint file"),
        ((model, overrides, tmp_path / "empty"), (), "is a folder without a file of weights"),
        ((model, overrides, tmp_path / "other.pt"), (), "other.pt does not fit sam2.1_micro: 335 of 335"),
        (("sam2_nano", (), file), (), "sam2.pt does not fit sam2_nano"),
        (("sam9", (), file), (), "There is no 'sam9' to compare; known are sam_vit_b"),
        (("sam3_nano", (), file), (), "There is no 'sam3_nano' to compare"),
        ((model, ("model.no_such_key=1",), file), (), "is not valid"),
        (case, ("--words", "cup"), "There is no 'sam2.1_micro' to compare; known are sam3"),
        (case, ("--clips", str(tmp_path / "empty")), "There is no cup.mp4 or box.mp4 in"),
        (case, ("--device", "toaster"), "no device"),
    ):
        assert verify(wrong, tmp_path / "out", *more) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(SystemExit):
        verify(case, tmp_path / "out", "--frames", "0")


def test_a_video_that_is_none_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "box.mp4").write_bytes(b"no video")
    (clip,) = clips_in(tmp_path)
    assert tuple(clip.box) == BOXES["box"]
    with pytest.raises(ClipError, match=r"box\.mp4 cannot be read as a video"):
        next(clip.frames(1))


def test_frames_of_a_clip_are_rgb_and_skipped_evenly() -> None:
    (clip,) = clips_in(SHIPPED)
    all_frames, some = list(clip.frames(5)), list(clip.frames(2, every=4))
    assert len(all_frames) == 5
    assert [(frame == other).all() for frame, other in zip(some, (all_frames[0], all_frames[4]), strict=True)] == [1, 1]
    capture = cv2.VideoCapture(str(clip.path))
    assert (capture.read()[1][..., ::-1] == some[0]).all()


def tracked_by(seed: int) -> OurStream:
    torch.manual_seed(seed)
    tracker = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
    make_lively(tracker.model)
    return OurStream(tracker, torch.float32)


def test_other_weights_give_another_verdict_and_the_worst_frame_is_in_the_picture() -> None:
    (clip,) = clips_in(SHIPPED)
    found = compare("cup", clip.frames(4), clip.box, tracked_by(0), tracked_by(1), shown=[0])

    assert verdict_on([found]) is Verdict.DIFFERENT
    worst = min(found.frames, key=lambda frame: frame.iou)
    assert found.shown.keys() == {0, worst.frame}
    image, mine, other = found.shown[worst.frame]
    assert worst.differing == (mine != other).sum() > 0
    assert worst.iou == pytest.approx((mine & other).sum() / (mine | other).sum())
    assert worst.area == other.sum()
    assert is_red(picture(found)).any()
    assert not is_red(picture(found))[:, : 2 * 267].any()  # nothing is marked but in the third column
    found.shown[worst.frame] = image, mine, mine
    assert not is_red(picture(found)[-200:]).any()


def is_red(view: np.ndarray) -> np.ndarray:
    return (view == (255, 0, 0)).all(axis=-1)


def test_it_needs_no_ros() -> None:
    code = "import sys; sys.modules.update(rclpy=None, sensor_msgs=None); import benchmarks.verify.__main__"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SHIPPED.parents[2])


def test_frames_without_a_mask_prove_nothing() -> None:
    (clip,) = clips_in(SHIPPED)
    side = tracked_by(0)
    presence = side._tracker.model.sam_mask_decoder.pred_obj_score_head.layers[-1]
    assert isinstance(presence, torch.nn.Linear)
    with torch.no_grad():
        presence.bias.fill_(-50.0)  # no object is ever there
    found = compare("cup", list(clip.frames(3))[1:], clip.box, side, side, shown=[])
    found.frames = [frame for frame in found.frames if frame.area == 0]
    assert found.frames
    assert verdict_on([found]) is Verdict.EMPTY
    assert np.isfinite([frame.relative for frame in found.frames]).all()
