"""The prompt file: which objects are shown where or known from files, and which concepts are looked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from sam_core import Prompt, PromptError, SavedObjectError
from sam_core.association.schedule import MAX_EVERY
from sam_core.sam3 import Exemplars
from sam_core.sam3.phrases import clean_phrase
from sam_core.saved_objects import SavedObject, from_bytes, read_file
from sam_core.streaming.prompt import check_label, check_number_of_points
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.sources.index import FrameIndex

__all__ = [
    "ConceptPrompt",
    "FramePrompt",
    "ObjectPrompts",
    "PromptFile",
    "prompts_of_files",
    "prompts_of_phrases",
    "read_prompts",
]

_LARGEST_FILE = 16 << 20  # bytes
_MOST = 1000  # objects, concepts, and prompts of an object
_LARGEST_NUMBER = 9e9  # px, and s: the seconds of a stamp fit into 64 bits of ns
_TOLERANCE = 100_000_000  # ns between a prompt's stamp and that of an image, as the node's stamp_tolerance
_OBJECT = {"label", "prompts", "saved"}
_PROMPT = {"frame", "stamp", "points", "labels", "box", "mask"}
_CONCEPT = {"phrase", "every", "frame", "stamp", "exemplars"}


@dataclass(frozen=True, eq=False)
class FramePrompt:
    """A prompt on a frame.

    Attributes:
        frame: Number of the frame.
        prompt: Points, a box, or a mask.
    """

    frame: int
    prompt: Prompt


@dataclass(frozen=True, eq=False)
class ObjectPrompts:
    """An object with its prompts in the order of their frames: the first begins it, the others correct it.

    Attributes:
        object_id: Its id in every output.
        label: What it is called.
        prompts: At least one, unless it is saved.
        saved: What a file holds of it: it is looked for from the first frame on, and prompts correct it.
        digest: Of that file; empty without one.
    """

    object_id: int
    label: str
    prompts: tuple[FramePrompt, ...]
    saved: SavedObject | None = None
    digest: str = ""

    @property
    def first(self) -> int:
        """Frame on which it begins: of its first prompt, or the first one from which it is looked for."""
        return 0 if self.saved is not None else self.prompts[0].frame

    def facts(self) -> list[Any]:
        """Return what the object's track depends on, as plain values."""
        saved = [self.digest] if self.digest else []
        return [*saved, *([one.frame, _facts(one.prompt)] for one in self.prompts)]


@dataclass(frozen=True)
class ConceptPrompt:
    """A concept that is looked for.

    Attributes:
        phrase: Names it; empty where exemplars alone say it.
        every: It is looked for on every n-th frame; 0: on `frame` alone.
        frame: Where exemplars are shown.
        exemplars: (x_min, y_min, x_max, y_max, label) of boxes in px; 1 is like this, 0 is not.
    """

    phrase: str
    every: int
    frame: int = 0
    exemplars: tuple[tuple[float, float, float, float, int], ...] = ()

    @property
    def shown(self) -> Exemplars:
        """The exemplars, as the detector takes them."""
        return Exemplars(boxes=[one[:4] for one in self.exemplars], box_labels=[one[4] for one in self.exemplars])


@dataclass(frozen=True)
class PromptFile:
    """What is asked for.

    Attributes:
        objects: Prompted objects in the order of their ids.
        concepts: Concepts.
    """

    objects: tuple[ObjectPrompts, ...] = ()
    concepts: tuple[ConceptPrompt, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return what results depend on, as plain values."""
        return {
            "objects": [[one.label, one.facts()] for one in self.objects],
            "concepts": [[one.phrase, one.every, one.frame, list(map(list, one.exemplars))] for one in self.concepts],
        }


def _facts(prompt: Prompt) -> dict[str, Any]:
    mask = (
        None
        if prompt.mask is None
        else hashlib.sha256(np.packbits(np.asarray(prompt.mask, bool)).tobytes()).hexdigest()
    )
    return {"points": prompt.points, "labels": prompt.labels, "box": prompt.box, "mask": mask}


def prompts_of_phrases(phrases: list[str], every: int) -> PromptFile:
    """Return what words alone ask for.

    Raises:
        AnnotationError: A phrase is empty, or the number of frames makes no sense.
    """
    return PromptFile(concepts=tuple(_phrase({"phrase": phrase, "every": every}, phrase) for phrase in phrases))


def prompts_of_files(files: Sequence[Path], known: int) -> PromptFile:
    """Return what files of saved objects alone ask for.

    Args:
        files: One for each object, as the tracker's `~/save_objects` writes them.
        known: Objects that go before.

    Raises:
        AnnotationError: A file cannot be read, or holds no saved object.
    """
    read = [_saved(path, f"object {known + k}") for k, path in enumerate(files, 1)]
    objects = [ObjectPrompts(known + k, one.memory.label, (), one, digest) for k, (one, digest) in enumerate(read, 1)]
    return PromptFile(objects=tuple(objects))


def read_prompts(path: Path, index: FrameIndex) -> PromptFile:
    """Read a prompt file; stamps become frames of the recording.

    Raises:
        AnnotationError: It cannot be read, or a part of it makes no sense; the text names the part.
    """
    content = _load(path)
    unknown = sorted(set(content) - {"objects", "concepts"})
    if unknown:
        raise AnnotationError(f"{path.name} has the unknown entry '{unknown[0]}'; known are objects and concepts.")
    objects = [
        _object(one, f"object {k} of {path.name}", k, path.parent, index)
        for k, one in enumerate(_list(content.get("objects", []), f"objects of {path.name}"), 1)
    ]
    concepts = [
        _concept(one, f"concept {k} of {path.name}", index)
        for k, one in enumerate(_list(content.get("concepts", []), f"concepts of {path.name}"), 1)
    ]
    if not objects and not concepts:
        raise AnnotationError(f"{path.name} asks for nothing: it needs objects or concepts.")
    return PromptFile(tuple(objects), tuple(concepts))


def _load(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise AnnotationError(f"{path.name} is larger than {_LARGEST_FILE >> 20} MiB.")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AnnotationError(f"The prompts {path} cannot be read: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # ValueError: no UTF-8, or a date that there is not
        raise AnnotationError(f"{path.name} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise AnnotationError(f"{path.name} must hold the entries objects and concepts.")
    return content


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST:
        raise AnnotationError(f"The {what} must be a list of at most {_MOST} entries.")
    return value


def _entry(value: Any, what: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnnotationError(f"The {what} must have entries such as {', '.join(sorted(known))}.")
    unknown = sorted(map(str, set(value) - known))
    if unknown:
        raise AnnotationError(f"The {what} has the unknown entry '{unknown[0]}'; known are {', '.join(sorted(known))}.")
    return value


def _object(value: Any, what: str, object_id: int, folder: Path, index: FrameIndex) -> ObjectPrompts:
    content = _entry(value, what, _OBJECT)
    label = content.get("label", "")
    if not isinstance(label, str):
        raise AnnotationError(f"The label of {what} must be a text.")
    try:
        check_label(label)
    except PromptError as error:
        raise AnnotationError(f"The {what}: {error}") from error
    given = _list(content.get("prompts", []), f"prompts of {what}")
    prompts = [_prompt(one, f"prompt {k} of {what}", folder, index) for k, one in enumerate(given, 1)]
    prompts.sort(key=lambda one: one.frame)
    if "saved" in content:
        saved, digest = _saved(folder / str(content["saved"]), what)
        return ObjectPrompts(object_id, label or saved.memory.label, tuple(prompts), saved, digest)
    if not prompts:
        raise AnnotationError(f"The {what} has no prompts.")
    return ObjectPrompts(object_id, label, tuple(prompts))


def _saved(path: Path, what: str) -> tuple[SavedObject, str]:
    """Read the file of a saved object; return it and the file's digest."""
    try:
        data = read_file(path)
        return from_bytes(data), hashlib.sha256(data).hexdigest()
    except SavedObjectError as error:
        raise AnnotationError(f"The saved object {path} of {what} cannot be used: {error}") from error


def _prompt(value: Any, what: str, folder: Path, index: FrameIndex) -> FramePrompt:
    content = _entry(value, what, _PROMPT)
    frame = _frame(content, what, index)
    points, labels, box = content.get("points"), content.get("labels"), content.get("box")
    if points is not None:
        points = [_numbers(point, 2, f"point of {what}") for point in _list(points, f"points of {what}")]
    if labels is not None:
        labels = _list(labels, f"labels of {what}")
        if any(label not in (0, 1) or isinstance(label, float) for label in labels):
            raise AnnotationError(f"The labels of {what} must be 1 (on the object) or 0 (beside it).")
    try:
        check_number_of_points(len(points or ()))
    except PromptError as error:
        raise AnnotationError(f"The {what}: {error}") from error
    box = None if box is None else _numbers(box, 4, f"box of {what}")
    mask = content.get("mask")
    if mask is not None:
        mask = _mask(folder / str(mask), what)
    if mask is None and not points and box is None:
        raise AnnotationError(f"The {what} is empty: give points, a box or a mask.")
    return FramePrompt(frame, Prompt(points=points, labels=labels, box=box, mask=mask))


def _frame(content: Mapping[str, Any], what: str, index: FrameIndex) -> int:
    if ("frame" in content) == ("stamp" in content):
        raise AnnotationError(f"The {what} needs either a frame (a number from 0) or a stamp (seconds).")
    if "stamp" in content:
        (seconds,) = _numbers([content["stamp"]], 1, f"stamp of {what}")
        frame = index.nearest(round(seconds * 1e9), _TOLERANCE)
        if frame is None:
            first, last = index.stamps.min() / 1e9, index.stamps.max() / 1e9
            raise AnnotationError(
                f"The {what} has the stamp {seconds:.3f} s, but no image is within {_TOLERANCE / 1e9:g} s of it; they "
                f"reach from {first:.3f} s to {last:.3f} s."
            )
        return frame
    frame = content["frame"]
    if not isinstance(frame, int) or isinstance(frame, bool) or not 0 <= frame < len(index):
        raise AnnotationError(f"The {what} has the frame {frame}, but frames are numbered from 0 to {len(index) - 1}.")
    return frame


def _numbers(values: Any, count: int, what: str) -> list[float]:
    kinds = (int, float)
    if not isinstance(values, list) or len(values) != count or any(type(value) not in kinds for value in values):
        raise AnnotationError(f"The {what} must be {count} number{'s' if count > 1 else ''}, not {values}.")
    if not all(-_LARGEST_NUMBER < value < _LARGEST_NUMBER for value in values):
        raise AnnotationError(f"The {what} must be smaller than {_LARGEST_NUMBER:g}, not {str(values)[:60]}.")
    return [float(value) for value in values]


def _mask(path: Path, what: str) -> Any:
    try:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    except cv2.error:  # of a size beyond OpenCV's limits
        image = None
    if image is None:
        raise AnnotationError(f"The mask {path} of {what} is no image that OpenCV can read.")
    return image > 0


def _concept(value: Any, what: str, index: FrameIndex) -> ConceptPrompt:
    content = _entry(value, what, _CONCEPT)
    concept = _phrase(content, what)
    shown = _list(content.get("exemplars", []), f"exemplars of {what}")
    if shown and "every" in content:
        raise AnnotationError(f"The {what} names every, but exemplars are looked for on their frame alone.")
    if not shown:
        if "frame" in content or "stamp" in content:
            raise AnnotationError(f"The {what} names a frame: that is for exemplars, of which it has none.")
        return concept
    exemplars = []
    for k, one in enumerate(shown, 1):
        entry = _entry(one, f"exemplar {k} of {what}", {"box", "label"})
        box = _numbers(entry.get("box"), 4, f"box of exemplar {k} of {what}")
        if entry.get("label", 1) not in (0, 1):
            raise AnnotationError(f"The label of exemplar {k} of {what} must be 1 (like this) or 0 (not like this).")
        exemplars.append((box[0], box[1], box[2], box[3], int(entry.get("label", 1))))
    return ConceptPrompt(concept.phrase, 0, _frame(content, what, index), tuple(exemplars))


def _phrase(content: Mapping[str, Any], what: str) -> ConceptPrompt:
    phrase, every = content.get("phrase", ""), content.get("every", 10)
    if not isinstance(phrase, str) or not (clean_phrase(phrase) or content.get("exemplars")):
        raise AnnotationError(f"The {what} has no phrase that names something.")
    try:
        check_label(phrase, "phrase")
    except PromptError as error:
        raise AnnotationError(f"The {what}: {error}") from error
    if not isinstance(every, int) or isinstance(every, bool) or not 1 <= every <= MAX_EVERY:
        raise AnnotationError(
            f"The {what} must be looked for on every n-th frame, n from 1 to {MAX_EVERY}, not {every}."
        )
    return ConceptPrompt(phrase, every)


def digest_of(facts: Any) -> str:
    """Return a fingerprint of plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
