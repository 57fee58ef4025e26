"""A run: its folder, what was asked for, and the steps from a recording to outputs."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sam_core.streaming.prompt import check_prompt
from sam_ros.annotation.engine import Engine, Job
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.joining import join_parts
from sam_ros.annotation.models import ModelSettings
from sam_ros.annotation.passes import DIRECTIONS, Pass, missing, object_key, parts_of, plan_passes
from sam_ros.annotation.prompts import PromptFile, digest_of, prompts_of_files, prompts_of_phrases, read_prompts
from sam_ros.annotation.results import PASSES, PassResults, Results
from sam_ros.annotation.sources import FrameSource, InputSettings, open_source
from sam_ros.annotation.store import PassStore, write_whole
from sam_ros.annotation.writers import WRITERS, OutputSettings
from sam_ros.annotation.writing import write_outputs

__all__ = ["Request", "Run"]

_FORMAT = 1  # of run.json


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn an image or a prompt that cannot be used into a sentence that says what it was for."""
    try:
        yield
    except ValueError as error:  # ImageError, PromptError and ExemplarError
        raise AnnotationError(f"{what} cannot be used: {error}") from error


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        recording: Bag, video or folder.
        folder: Of the run.
        prompts: Prompt file; None to look for phrases alone.
        phrases: What to look for besides.
        saved: Files of saved objects to look for besides.
        every: Phrases are looked for on every n-th frame.
        direction: `forward`, `backward` or `both`.
        outputs: Names of the writers.
        update: Whether a finished run of other prompts may be corrected.
        reading: How the recording is read.
        model: The networks.
        writing: How results are written.
        parts: Parts into which a forward pass is cut, so that several processes can track it.
        overlap: Frames that a part has in common with the next.
    """

    recording: Path
    folder: Path
    prompts: Path | None = None
    phrases: tuple[str, ...] = ()
    saved: tuple[Path, ...] = ()
    every: int = 10
    direction: str = "both"
    outputs: tuple[str, ...] = ("report",)
    update: bool = False
    reading: InputSettings = field(default_factory=InputSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    writing: OutputSettings = field(default_factory=OutputSettings)
    parts: int = 1
    overlap: int = 10

    def __post_init__(self) -> None:
        """Refuse what is unknown."""
        if self.direction not in DIRECTIONS:
            raise AnnotationError(f"The direction must be one of {', '.join(DIRECTIONS)}, not {self.direction}.")
        for name in self.outputs:
            if name not in WRITERS:
                raise AnnotationError(f"There is no output {name}; known are {', '.join(WRITERS)}.")
        if self.parts < 1 or self.overlap < 1:
            raise AnnotationError("A run needs at least one part, and parts at least one frame in common.")
        if self.prompts is None and not self.phrases and not self.saved:
            raise AnnotationError(
                "There is nothing to track: give a prompt file (--prompts), a phrase (--phrase) or saved objects "
                "(--saved)."
            )


class Run:
    """The run of a recording.

    Args:
        request: What is asked for.

    Raises:
        AnnotationError: The recording or the prompts cannot be used, or the folder holds something else.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.folder = request.folder
        self._check_folder()
        self.source: FrameSource = open_source(request.recording, request.reading)
        try:
            self.prompts = self._read_prompts()
            self._check_prompts()
            self.facts = self._facts()
        except BaseException:
            self.source.close()
            raise

    def close(self) -> None:
        """Close the recording."""
        self.source.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder.

        Raises:
            AnnotationError: Another process works there, or the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise AnnotationError(f"The folder {self.folder} cannot be used: {error.strerror}.") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AnnotationError(f"Another process is at work in {self.folder}.") from error
            yield

    # --- what is asked for --------------------------------------------------------------------------------------------

    def _check_folder(self) -> None:
        if self.folder.is_file():
            raise AnnotationError(f"{self.folder} is a file; name a folder.")
        strange = self.folder.is_dir() and not (self.folder / "run.json").is_file()
        if strange and any(path.name != ".lock" for path in self.folder.iterdir()):
            raise AnnotationError(f"{self.folder} is not empty and holds no run: nothing is overwritten; name another.")

    def _read_prompts(self) -> PromptFile:
        request = self.request
        prompts = PromptFile() if request.prompts is None else read_prompts(request.prompts, self.source.index)
        words = prompts_of_phrases(list(request.phrases), request.every)
        files = prompts_of_files(request.saved, len(prompts.objects))
        return PromptFile(prompts.objects + files.objects, prompts.concepts + words.concepts)

    def _check_prompts(self) -> None:
        """Try each prompt on its image, before hours of work come to it.

        Raises:
            AnnotationError: The image cannot be used, or the prompt does not fit it.
        """
        for target in self.prompts.objects:
            for one in target.prompts:
                with _told(f"The prompt of object {target.object_id} on frame {one.frame}"):
                    height, width = self.source.image(one.frame).shape[:2]
                    check_prompt(one.prompt, height, width)
        for concept in self.prompts.concepts:
            if concept.exemplars:
                with _told(f"The exemplars on frame {concept.frame}"):
                    height, width = self.source.image(concept.frame).shape[:2]
                    concept.shown.normalised((height, width))

    def _facts(self) -> dict[str, Any]:
        """Return what results depend on, as plain values."""
        reading = asdict(self.request.reading)
        facts = {
            "recording": str(self.request.recording.resolve()),
            "index": self.source.index.digest(),
            "reading": {name: reading[name] for name in ("max_pixels", "white_level")},
            "model": self.request.model.facts(),
            "direction": self.request.direction,
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))  # as run.json gives it back
        return plain

    @property
    def fingerprint(self) -> str:
        """What results depend on besides prompts."""
        return digest_of({name: value for name, value in self.facts.items() if name != "direction"})

    # --- steps --------------------------------------------------------------------------------------------------------

    def plan(self, engine: Engine) -> list[Job]:
        """Return what is to be tracked; of a run that was begun, what of it is missing.

        Raises:
            AnnotationError: The folder holds a run of something else, or one of other prompts.
        """
        known = self._known()
        asked = {**self.facts, "prompts": json.loads(json.dumps(self.prompts.facts()))}
        if known and known["facts"] != asked:
            self._check_correction(known["facts"], asked)
        self._independent = engine.is_independent(self.request)
        earlier: list[str] = list(known["passes"]) if known else []
        finished = [store for store in map(self._store, earlier) if store.is_finished]
        done = {key for store in finished for key in store.summary().objects}
        self._wanted = plan_passes(self.prompts, len(self.source.index), self.request.direction)
        self._parts = self._cut() if self.request.parts > 1 else []
        whole = self._wanted if not self._parts else [one for one in self._wanted if one.step < 0]
        fresh = [missing(one, done, independent=self._independent) for one in whole]
        self._work = [one for one in fresh if one is not None] + self._parts
        names = [one.key(self.fingerprint) for one in self._work]
        self._names = list(dict.fromkeys([*names, *earlier]))
        results = known.get("results") if known and known["facts"] == asked else None
        written = known.get("written", {}) if known else {}
        content = {"format": _FORMAT, "facts": asked, "passes": self._names, "written": written, "results": results}
        self._save(content)
        return [self._job(one) for one in self._work]

    def _cut(self) -> list[Pass]:
        forward = next((one for one in self._wanted if one.step > 0), None)
        if forward is None:
            raise AnnotationError("Only a run that goes forward can be cut into parts.")
        return list(parts_of(forward, min(self.request.parts, len(self.source.index)), self.request.overlap))

    def _store(self, name: str) -> PassStore:
        return PassStore(self.folder / PASSES / name)

    def _job(self, work: Pass) -> Job:
        return Job(self.request, self.source, work, self._store(work.key(self.fingerprint)))

    def finish(self, engine: Engine) -> Results:
        """Return the results, once all is tracked that `plan` has returned.

        Raises:
            AnnotationError: A pass is not finished.
            Interrupted: The run was asked to stop while parts were joined.
        """
        labels = {one.object_id: one.label for one in self.prompts.objects}
        chosen: list[PassResults] = []
        if self._parts:

            def track(work: Pass) -> PassStore:
                job = self._job(work)
                for problem in engine.track([job]).values():
                    raise AnnotationError(problem)
                return job.store

            stores = [(work, self._store(work.key(self.fingerprint))) for work in self._parts]
            joined = join_parts(stores, track, independent=self._independent)
            chosen += joined.passes
            labels |= joined.labels
        for one in self._wanted:
            if one.step < 0 or not self._parts:
                chosen += self._of_whole_pass(one, labels)
        results = Results(len(self.source.index), labels, tuple(chosen))
        self._save({**(self._known() or {}), "results": results.plain()})
        return results

    def _of_whole_pass(self, wanted: Pass, labels: dict[int, str]) -> Iterator[PassResults]:
        """Yield where the tracks of a pass are: its own store, or those of earlier runs."""
        backward = wanted.step < 0
        needed = {object_key(target, backward): target.object_id for target in wanted.objects}
        own = {one.key(self.fingerprint) for one in self._work}
        for name in self._names:
            store = self._store(name)
            if not store.is_finished or not (self._independent or name in own):
                continue
            summary = store.summary()
            ids = {summary.objects[key]: needed.pop(key) for key in list(needed) if key in summary.objects}
            is_own = name == wanted.key(self.fingerprint)
            if is_own:
                found = {i: i for i in summary.labels if i not in summary.withdrawn}
                labels |= {i: summary.labels[i] for i in found}
                ids |= found
            if ids or is_own:
                yield PassResults(store, backward, ids, (0, len(self.source.index)))

    def write(self, results: Results, progress: Callable[[int], None] = lambda frames: None) -> list[str]:
        """Write the outputs that are not there yet; return what could not be written.

        Raises:
            AnnotationError: An output cannot be written, or something else stands in its place.
        """
        known = self._known() or {}
        digest = digest_of([known.get("facts"), asdict(self.request.writing)])
        written: dict[str, str] = known.get("written", {})
        kinds = []
        for name in self.request.outputs:
            there = (self.folder / WRITERS[name].target).exists()
            if there and written.get(name) == digest:
                continue
            if there and not self.request.update:
                raise AnnotationError(
                    f"{self.folder / WRITERS[name].target} is there already, of other prompts or settings: nothing is "
                    "overwritten; add --update to replace it."
                )
            kinds.append(WRITERS[name])
        if not kinds:
            return []
        threshold = self.request.model.mask_threshold
        problems = write_outputs(kinds, self.folder, self.source, results, self.request.writing, threshold, progress)
        self._save({**known, "written": {**written, **{kind.name: digest for kind in kinds}}})
        return problems

    # --- run.json -----------------------------------------------------------------------------------------------------

    def _known(self) -> dict[str, Any] | None:
        path = self.folder / "run.json"
        if not path.is_file():
            return None
        try:
            known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if known["format"] != _FORMAT or not isinstance(known["passes"], list):
                raise ValueError("another format")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AnnotationError(f"{path} is damaged ({error}): name another folder.") from error
        return known

    def _save(self, content: dict[str, Any]) -> None:
        with suppress(FileNotFoundError):
            if json.loads((self.folder / "run.json").read_text(encoding="utf-8")) == content:
                return
        write_whole(self.folder / "run.json", json.dumps(content, indent=1, sort_keys=True))

    def _check_correction(self, before: dict[str, Any], asked: dict[str, Any]) -> None:
        """Refuse what would mix results of different things."""
        texts = {
            "recording": "another recording",
            "index": "a recording that has changed since, or another choice of its images",
            "reading": "other settings of reading",
            "model": "another model or other settings of it",
        }
        for name, text in texts.items():
            if before.get(name) != asked[name]:
                raise AnnotationError(f"{self.folder} holds a run of {text}: nothing is overwritten; name another.")
        if not self.request.update:
            raise AnnotationError(
                f"{self.folder} holds a run of other prompts: add --update to correct it, or name another folder."
            )
