"""Overrides hold values and our own module classes; nothing else is ever called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sam_core.build import build_model, build_tracker
from sam_core.sam3 import build_detector, build_network

BUILDERS: list[tuple[Callable[..., object], str, str]] = [
    (build_model, "sam2.1_micro", "model.memory_encoder"),
    (build_tracker, "sam2.1_micro", "model.memory_encoder"),
    (build_network, "sam3_toy", "model.transformer"),
    (build_detector, "sam3_toy", "model.transformer"),
]


@pytest.mark.parametrize(("build", "name", "part"), BUILDERS)
@pytest.mark.parametrize(
    "target",
    [
        pytest.param("pathlib.Path.touch", id="function"),
        pytest.param("subprocess.Popen", id="class"),
        pytest.param("torch.nn.Identity", id="module of torch"),
        pytest.param("sam_core.configuration.Path", id="class imported by us"),
        pytest.param("sam_core.build.torch.hub.load", id="function behind us"),
        pytest.param("sam_core.build.build_tracker", id="function of ours"),
        pytest.param("sam_core.streaming.Stream", id="no module"),
        pytest.param("sam_core.nowhere.Nothing", id="nothing"),
        pytest.param("sam_core.sam2.model.Nothing", id="nothing in a module"),
        pytest.param("7", id="number"),
    ],
)
def test_a_target_that_is_no_module_of_ours_is_refused(
    build: Callable[..., object], name: str, part: str, target: str
) -> None:
    with pytest.raises(ValueError, match=f"modules of sam_core; _target_ cannot be '?{target}'?"):
        build(name, overrides=[f"{part}._target_={target}"])


def test_nothing_is_called_before_the_refusal(tmp_path: Path) -> None:
    file = tmp_path / "written"
    path = f"{{_target_: pathlib.Path, _args_: ['{file}']}}"
    evil = f"++model.extra={{inner: [{{_target_: pathlib.Path.touch, self: {path}}}]}}"
    with pytest.raises(ValueError, match=r"_target_ cannot be 'pathlib\.Path\.touch'"):
        build_model("sam2.1_micro", overrides=[evil])
    assert not file.exists()


@pytest.mark.parametrize(
    "override",
    ["model.image_size=${oc.env:HOME}", "hydra.searchpath=[/tmp]", "+hydra.run.dir=/tmp", "++x='${oc.create:{a: 1}}'"],
)
def test_an_override_gives_a_plain_value(override: str) -> None:
    with pytest.raises(ValueError, match="An override gives a plain value"):
        build_model("sam2.1_micro", overrides=[override])


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.memory_encoder.memory_dim=32"],
        ["model.memory_encoder._target_=sam_core.sam2.memory_encoder.MemoryEncoder"],
        ["++model.memory_encoder._target_=sam_core.sam2.memory_encoder.MemoryEncoder"],
    ],
)
def test_values_and_modules_of_ours_are_taken(overrides: Sequence[str]) -> None:
    assert not build_model("sam2.1_micro", overrides=overrides).training


def test_the_outermost_module_is_a_network() -> None:
    mlp = "{_target_: sam_core.layers.mlp.MLP, input_dim: 1, hidden_dim: 1, output_dim: 1, num_layers: 1}"
    with pytest.raises(ValueError, match="The model must be a Sam2, not a MLP"):
        build_model("sam2.1_micro", overrides=["~model", f"+model={mlp}"])
