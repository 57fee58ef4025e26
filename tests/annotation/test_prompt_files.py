"""A prompt file that makes no sense ends in a sentence that names the part, before anything is tracked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

BOX = "box: [10, 20, 40, 50]"
REFUSED = {
    "a stamp in ns": (f"objects: [{{prompts: [{{stamp: 1700000000000000000, {BOX}}}]}}]", "must be smaller than"),
    "a date that there is not": ("objects: [{label: 2024-13-45}]", "is no YAML"),
    "a huge number": (f"objects: [{{prompts: [{{frame: 0, box: [0, 0, 5, {'9' * 400}]}}]}}]", "must be smaller than"),
    "no such frame": (f"objects: [{{prompts: [{{frame: 99, {BOX}}}]}}]", "numbered from 0 to 11"),
    "a box beside the image": (
        "objects: [{prompts: [{frame: 11, box: [900, 900, 950, 950]}]}]",
        "object 1 on frame 11 cannot be used",
    ),
    "an exemplar beside the image": (
        "concepts: [{phrase: cup, frame: 11, exemplars: [{box: [900, 900, 950, 950]}]}]",
        "exemplars on frame 11 cannot be used",
    ),
    "nothing": ("objects: []", "asks for nothing"),
    "no prompts": ("objects: [{label: cup}]", "has no prompts"),
    "a list": ("[1, 2]", "must hold the entries"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_prompt_file_is_refused(
    name: str, annotate: Callable[..., SimpleNamespace], bag: Path, tmp_path: Path
) -> None:
    content, said = REFUSED[name]
    path = tmp_path / "prompts.yaml"
    path.write_text(content, encoding="utf-8")

    answer = annotate(bag, "-o", tmp_path / "run", "--prompts", path)

    assert answer.status == 2
    assert said in answer.err


def test_concepts_are_not_looked_for_backward(
    annotate: Callable[..., SimpleNamespace], bag: Path, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text("concepts: [{phrase: cup}]", encoding="utf-8")

    for words in (("--phrase", "cup"), ("--prompts", path)):
        answer = annotate(bag, "-o", tmp_path / "run", *words, "--direction", "backward")
        assert answer.status == 2
        assert "going forward" in answer.err
