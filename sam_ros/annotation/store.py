"""The records of a pass on disk: parts that appear whole or not at all, and the state to go on from."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.state_file import StateFileError, read_state, state_bytes

__all__ = ["PassStore", "Summary", "write_whole"]

_STATE = "state.safetensors"
_SECONDS = 20.0  # of work that a crash may cost
_FRAMES, _CHARACTERS = 500, 8 << 20  # of a part, at most


@dataclass(frozen=True)
class Summary:
    """What a finished pass came to.

    Attributes:
        objects: From the keys of the objects that were prompted (`object_key`) to their ids in the pass.
        labels: From the id of an object that a concept found to what it is called.
        withdrawn: Ids of objects that the rules took back: no output has them.
        frames: Images that were tracked.
        seconds: What tracking them took; of it `model` is what the networks took.
        model: See `seconds`.
    """

    objects: dict[str, int] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    withdrawn: tuple[int, ...] = ()
    frames: int = 0
    seconds: float = 0.0
    model: float = 0.0


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it appears whole or not at all, even if the machine stops."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class PassStore:
    """The folder of a pass. One process writes it; a finished one is read by any.

    Args:
        folder: Of the pass; made where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: list[str] = []
        self._characters = 0
        self._begin = 0  # position of the first line that is not saved yet
        self._saved = time.monotonic()

    @property
    def is_finished(self) -> bool:
        """Whether the pass is complete."""
        return (self.folder / "done.json").is_file()

    def summary(self) -> Summary:
        """Return what a finished pass came to.

        Raises:
            AnnotationError: It is not finished, or its files were changed.
        """
        try:
            facts = json.loads((self.folder / "done.json").read_text(encoding="utf-8"))
            facts["labels"] = {int(key): label for key, label in facts["labels"].items()}
            return Summary(**{**facts, "withdrawn": tuple(facts["withdrawn"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AnnotationError(f"{self.folder} holds no finished pass: {error}.") from error

    # --- writing ------------------------------------------------------------------------------------------------------

    def resume(self, device: torch.device) -> tuple[int, Any]:
        """Prepare for writing; return the position to go on from, and the state saved there (None at the beginning).

        Args:
            device: Where the state's tensors go.

        Raises:
            AnnotationError: The saved state is damaged, or of another version.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        position, state = 0, None
        path = self.folder / _STATE
        if path.is_file():
            try:
                position, state = read_state(path, device)
            except (StateFileError, TypeError, ValueError) as error:
                raise AnnotationError(f"{path} is damaged: {error}. Delete it to track this pass again.") from error
        for part in self._parts():
            if int(part.stem.removeprefix("part_")) >= position:  # written, but the state was not
                part.unlink()
        self._begin = position
        self._saved = time.monotonic()
        return position, state

    def append(self, record: FrameRecord) -> None:
        """Take the next record; it is on disk after the next `save`."""
        line = record.line()
        self._lines.append(line)
        self._characters += len(line)

    @property
    def wants_saving(self) -> bool:
        """Whether enough has come together."""
        due = time.monotonic() - self._saved >= _SECONDS
        return due or len(self._lines) >= _FRAMES or self._characters >= _CHARACTERS

    def save(self, position: int, state: Any) -> None:
        """Write what came since, then the state to go on from.

        Args:
            position: The next one in the pass.
            state: What `resume` gives back; see `state_file`.
        """
        self._write_part(position)
        write_whole(self.folder / _STATE, state_bytes((position, state)))
        self._saved = time.monotonic()

    def finish(self, position: int, summary: Summary) -> None:
        """Write what came since, and that this is all."""
        self._write_part(position)
        write_whole(self.folder / "done.json", json.dumps(asdict(summary), sort_keys=True))
        (self.folder / _STATE).unlink(missing_ok=True)

    def _write_part(self, position: int) -> None:
        if self._lines:
            write_whole(self.folder / f"part_{self._begin:09d}.jsonl", "\n".join(self._lines) + "\n")
        self._lines, self._characters, self._begin = [], 0, position

    # --- reading ------------------------------------------------------------------------------------------------------

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part_*.jsonl"))

    def read(self, *, reverse: bool) -> Iterator[FrameRecord]:
        """Yield the records, part by part.

        Args:
            reverse: Last first: a pass that went backward, in the order of its frames.
        """
        for part in reversed(self._parts()) if reverse else self._parts():
            lines = part.read_text(encoding="utf-8").splitlines()
            yield from map(FrameRecord.of_line, reversed(lines) if reverse else lines)
