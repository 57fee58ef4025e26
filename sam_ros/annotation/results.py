"""The results of a run: the records of its passes, joined frame by frame."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.records import FrameRecord, ObjectRecord
from sam_ros.annotation.store import PassStore

__all__ = ["PASSES", "PassResults", "Results"]

PASSES = "passes"  # folder of a run in which each pass has its own


@dataclass(frozen=True)
class PassResults:
    """Which records of a finished pass count.

    Attributes:
        store: Of the pass.
        reverse: Whether the pass went backward.
        ids: From ids in the pass to those in the run, for the objects that count.
        frames: First frame that counts, and the one before which they end.
    """

    store: PassStore
    reverse: bool
    ids: Mapping[int, int]
    frames: tuple[int, int]

    def read(self) -> Iterator[FrameRecord]:
        """Yield the records in the order of their frames."""
        for record in self.store.read(reverse=self.reverse):
            if not self.frames[0] <= record.frame < self.frames[1]:
                continue
            kept = [
                replace(one, object_id=self.ids[one.object_id]) for one in record.objects if one.object_id in self.ids
            ]
            yield replace(record, objects=tuple(sorted(kept, key=lambda one: one.object_id)))


@dataclass(frozen=True)
class Results:
    """What a run came to.

    Attributes:
        frames: Number of frames of the recording.
        labels: What each object is called, by id.
        passes: Where an object is on a frame in several, the first counts.
    """

    frames: int
    labels: Mapping[int, str]
    passes: tuple[PassResults, ...] = field(default_factory=tuple)

    def plain(self) -> dict[str, Any]:
        """Return plain values, for `of_run`."""
        return {
            "frames": self.frames,
            "labels": sorted(self.labels.items()),
            "passes": [
                {"pass": p.store.folder.name, "reverse": p.reverse, "ids": sorted(p.ids.items()), "frames": p.frames}
                for p in self.passes
            ],
        }

    @classmethod
    def of_run(cls, folder: Path) -> Results:
        """Return the results of a finished run.

        Raises:
            AnnotationError: There is none, or its files were changed.
        """
        try:
            facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))["results"]
            passes = tuple(
                PassResults(
                    PassStore(folder / PASSES / one["pass"]), one["reverse"], dict(one["ids"]), tuple(one["frames"])
                )
                for one in facts["passes"]
            )
            return cls(facts["frames"], dict(facts["labels"]), passes)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AnnotationError(f"{folder} holds no finished run ({error}).") from error

    def read(self) -> Iterator[FrameRecord]:
        """Yield every frame, in order; one that no pass has looked at has the size (0, 0) and no problem."""
        readers = [one.read() for one in self.passes]
        heads = [next(reader, None) for reader in readers]
        for frame in range(self.frames):
            joined = FrameRecord(frame, (0, 0))
            for k, head in enumerate(heads):
                if head is not None and head.frame == frame:
                    joined = _joined(joined, head)
                    heads[k] = next(readers[k], None)
            yield joined


def _joined(one: FrameRecord, other: FrameRecord) -> FrameRecord:
    """Return a frame with the objects of two records of it; the first goes before."""
    objects: dict[int, ObjectRecord] = {item.object_id: item for item in (*other.objects, *one.objects)}
    size = one.size if one.is_usable else other.size
    problems = dict.fromkeys(text for text in (one.problem, other.problem) if text)
    return FrameRecord(one.frame, size, tuple(objects[i] for i in sorted(objects)), " ".join(problems))
