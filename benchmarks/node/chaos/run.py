"""Let one event happen after the other, and judge what was seen."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, pairwise
from pathlib import Path

from benchmarks.node.chaos.events import EVENTS, Event
from benchmarks.node.chaos.outcome import Outcome
from benchmarks.node.chaos.report import write
from benchmarks.node.chaos.stage import Stage

MAY_GROW = 48.0  # MiB


def run(seconds: float, folder: Path, report: Path, names: Sequence[str] | None = None) -> bool:
    """Run the events in turns for a while, each at least once, and write the report.

    Args:
        seconds: How long at least.
        folder: For weights and logs.
        report: Markdown file.
        names: Of the events; None for all.

    Returns:
        Whether everything was as it should be.
    """
    import rclpy

    folder.mkdir(parents=True, exist_ok=True)
    chosen = [event for event in EVENTS if names is None or event.name in names]
    lived_through = [event for event in chosen if event.lives]
    chosen = [*lived_through, *(event for event in chosen if not event.lives)]
    if names is None:  # a second round, in which memory stays as it is
        chosen = [*lived_through, *chosen]
    rclpy.init(args=[])
    stage, begin = Stage(folder), time.monotonic()
    outcomes: list[Outcome] = []
    try:
        stage.camera.start()
        stage.start_tracker()
        for number, event in enumerate(cycle(chosen)):
            if number >= len(chosen) and time.monotonic() - begin > seconds:
                break
            outcomes.append(happen(stage, event, time.monotonic() - begin))
            print(line_of(outcomes[-1]), flush=True)
    finally:
        stage.close()
        rclpy.try_shutdown()
        growth = grown(outcomes)
        write(report, outcomes, growth, time.monotonic() - begin, MAY_GROW)
    return growth <= MAY_GROW and not any(outcome.wrong for outcome in outcomes)


def happen(stage: Stage, event: Event, began: float) -> Outcome:
    """Let an event happen, and compare what was published with what came of it."""
    objects, wrong = stage.objects(), list[str]()
    stage.take_turns(camera=event.source)
    stage.begin = stage.count()
    stage.resume()
    try:
        seen = event.happen(stage)
    except (AssertionError, TimeoutError) as error:
        seen = str(error)
        wrong.append("the event failed")
    stage.pause()
    if not (lived := stage.tracker.running):
        seen += f"; the tracker's process ended with {stage.tracker.exit_code}, and a new one was started"
        if not event.may_end:
            wrong.append("the tracker's process ended")
    try:
        outcome = judge(stage, event, began, seen, wrong, lived)
    except TimeoutError:
        wrong.append("the tracker reports nothing any more")
        outcome = judge(stage, event, began, seen, wrong, lived=False)
    if wrong and stage.tracker.running:  # the next event begins with a sound one
        stage.tracker.stop(signal.SIGKILL)
        lived = False
    stage.resume()
    if not lived:
        stage.witness.leave()
        if not stage.camera.running:
            stage.camera.start()
        stage.start_tracker()
    elif event.lives and (left := stage.objects()) != objects:
        wrong.append(f"objects are {left}, were {objects}")
    return replace(outcome, wrong=tuple(wrong))


def judge(stage: Stage, event: Event, began: float, seen: str, wrong: list[str], lived: bool) -> Outcome:
    """Balance the account of an event; adds to `wrong` what does not balance.

    It goes to the image of the last result. Where new processes find each other, it begins with that of the first.
    """
    begin = stage.begin
    end = stage.count() if lived else begin
    published = stage.witness.published[begin.published :]
    results = stage.witness.processed[begin.results : end.results]
    order = {header: place for place, header in enumerate(published)}
    places = [order[header] for header in results if header in order]
    drops = {cause: count - begin.drops.get(cause, 0) for cause, count in end.drops.items()}
    outcome = Outcome(
        name=event.name,
        began=began,
        seen=seen,
        published=places[-1] + 1 - (places[0] if event.may_miss else 0) if places else 0,
        results=len(places),
        drops={cause: count for cause, count in drops.items() if count},
        memory=stage.memory() if lived else float("nan"),
        life=stage.lives,
        wrong=(),
    )
    if lived:
        foreign = len(results) - len(places)
        if foreign > event.may_miss:
            wrong.append(f"{foreign} results with the header of no published image")
        if any(b <= a for a, b in pairwise(places)):
            wrong.append("results out of order")
        if len(results) != end.processed - begin.processed:
            wrong.append(f"{end.processed - begin.processed} results counted, {len(results)} arrived")
        if abs(outcome.unaccounted) > event.may_miss:
            wrong.append(f"{outcome.unaccounted} images unaccounted for")
    return outcome


def grown(outcomes: Sequence[Outcome]) -> float:
    """Return by how much a tracker's memory grew in its second round of events, MiB: the most of all lives.

    In the first round it takes what the largest images and the detector need, and keeps it.
    """
    lives: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        lives.setdefault(outcome.life, []).append(outcome)
    growth = [0.0]
    for life in lives.values():
        names = [outcome.name for outcome in life]
        again = next((i for i, name in enumerate(names) if name in names[:i]), None)
        if again is not None:
            growth.append(life[-1].memory - life[again - 1].memory)
    return max(growth)


def line_of(outcome: Outcome) -> str:
    """Describe an outcome in a line of the terminal."""
    state = "ok  " if not outcome.wrong else "FAIL"
    return f"{state} {outcome.began:5.0f} s {outcome.name}: {outcome.seen} {'; '.join(outcome.wrong)}"
