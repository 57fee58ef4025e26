"""The inference thread with the real, small model; faults are injected where the stream is called."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from rclpy.logging import get_logger
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_core import FrameResult, NoFrameError, Prompt, PromptError, StampError, Stream, Tracker, build_tracker
from sam_ros.conversions.encodings import array_to_image, image_to_rgb
from sam_ros.conversions.stamps import stamp_of, to_time
from sam_ros.tracking.inference import CAPACITY, InferenceThread
from sam_ros.tracking.session import Session
from sam_ros.tracking.statistics import DropCause, Statistics
from sam_ros.tracking.work_queue import BusyError, Lane, StoppedError

SECOND = 10**9
TIMEOUT = 60.0  # s; far more than anything here takes


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    torch.manual_seed(0)
    return build_tracker("sam2.1_micro", device="cpu")


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def frame(stamp: int, encoding: str = "rgb8", seed: int = 0) -> Image:
    return array_to_image(picture(seed), encoding, Header(stamp=to_time(stamp)))


class FaultyStream:
    """A stream whose step raises what is next in `faults`; None lets it do its work."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.faults: list[Exception | None] = []

    def step(self, *arguments: Any) -> FrameResult:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        return self.stream.step(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Bench:
    """A running inference thread and what it delivered."""

    def __init__(self, session: Session, **settings: Any) -> None:
        self.statistics = Statistics()
        self.delivered: list[tuple[int, FrameResult]] = []
        self.held: list[float] = []
        self.gate = threading.Event()
        self.gate.set()
        self.thread: InferenceThread[Image] = InferenceThread(
            session,
            decode=image_to_rgb,
            deliver=self._deliver,
            statistics=self.statistics,
            logger=get_logger("test"),
            **settings,
        )
        self.thread.start()

    def _deliver(self, message: Image, image: np.ndarray, result: FrameResult, seconds: float, held: float) -> None:
        self.gate.wait(TIMEOUT)
        assert seconds > 0
        assert stamp_of(message.header) == result.stamp
        self.delivered.append((result.stamp, result))
        self.held.append(held)

    def track(self, message: Image) -> None:
        """Offer a frame and wait until it is done."""
        self.thread.offer(message)
        self.thread.submit(lambda _: None).result(TIMEOUT)

    def track_later(self, message: Image) -> None:
        """Offer a frame and wait until the thread has taken it, which the closed gate then holds."""
        self.thread.offer(message)
        while self.thread._queue.has_frame:
            time.sleep(0.01)

    def drops(self, cause: DropCause) -> int:
        return self.statistics.snapshot().drops[cause]


@pytest.fixture
def bench(tracker: Tracker) -> Iterator[Bench]:
    bench = Bench(Session(FaultyStream(tracker.open_stream(max_objects=4))))
    yield bench
    bench.gate.set()
    assert bench.thread.stop(TIMEOUT)


def test_frames_and_commands_keep_their_order(bench: Bench) -> None:
    with pytest.raises(NoFrameError):
        bench.thread.submit(lambda s: s.add_prompt(Prompt(points=[[5, 5]]), None, "")).result(TIMEOUT)
    bench.thread.offer(frame(1 * SECOND))
    answer = bench.thread.submit(lambda s: s.add_prompt(Prompt(points=[[5, 5]]), None, "cup")).result(TIMEOUT)
    bench.track(frame(2 * SECOND))
    assert [stamp for stamp, _ in bench.delivered] == [1 * SECOND, 2 * SECOND]
    assert bench.delivered[1][1].object_ids == answer.object_ids == (1,)
    assert bench.delivered[1][1].labels == ("cup",)
    assert bench.thread.report.objects == 1


def test_the_thread_outlives_an_account_for_which_there_is_no_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.track(frame(1 * SECOND))
    before = bench.thread.report
    with monkeypatch.context() as short:
        short.setattr(Stream, "report", _no_memory)
        answer = bench.thread.submit(lambda s: s.add_prompt(Prompt(points=[[5, 5]]), None, "cup")).result(TIMEOUT)
        assert bench.thread.report is before, "a command that is done is answered, seen or not"
        bench.track(frame(2 * SECOND))
        short.setattr(bench.statistics, "error", _no_memory)
        bench.track(frame(3 * SECOND, encoding="no such"))
    bench.track(frame(4 * SECOND))
    assert [stamp for stamp, _ in bench.delivered] == [1 * SECOND, 2 * SECOND, 4 * SECOND]
    assert bench.delivered[-1][1].object_ids == answer.object_ids
    assert bench.thread.report.objects == 1
    assert bench.thread.working is None


def _no_memory(*_: Any) -> Any:
    raise MemoryError


def test_results_that_are_held_back_come_later_each_with_its_own_stamp_and_all_at_the_end(tracker: Tracker) -> None:
    bench = Bench(Session(tracker.open_stream(max_objects=4)), hold_back=2)
    try:
        for number in range(1, 5):
            bench.track(frame(number * SECOND))
        assert [stamp for stamp, _ in bench.delivered] == [1 * SECOND, 2 * SECOND]
        assert bench.thread.held == 2
        bench.track(frame(5 * SECOND, encoding="no such"))
        assert bench.thread.held == 2, "an image without a result pushes nothing out"
        bench.thread.flush().result(TIMEOUT)
        assert [stamp for stamp, _ in bench.delivered] == [number * SECOND for number in range(1, 5)]
        assert bench.thread.held == 0
        assert min(bench.held) > 0
    finally:
        assert bench.thread.stop(TIMEOUT)


def test_the_newest_frame_wins_while_the_thread_works(bench: Bench) -> None:
    bench.gate.clear()
    bench.track_later(frame(1))
    for stamp in range(2, 7):
        bench.thread.offer(frame(stamp))
    bench.gate.set()
    bench.thread.submit(lambda _: None).result(TIMEOUT)
    assert [stamp for stamp, _ in bench.delivered] == [1, 6]
    assert bench.drops(DropCause.REPLACED) == 4


def test_frames_and_queries_go_on_under_150_clicks(bench: Bench) -> None:
    bench.track(frame(1))
    bench.thread.submit(lambda s: s.add_prompt(Prompt(points=[[5, 5]]), None, "")).result(TIMEOUT)
    bench.gate.clear()
    bench.track_later(frame(2))
    order: list[str] = []

    def click(session: Session) -> None:
        order.append("click")
        session.add_prompt(Prompt(points=[[5, 5]], labels=[len(order) % 2]), 1, "")
        bench.thread.offer(frame(len(order) + 2))  # the camera goes on meanwhile

    clicks = [bench.thread.submit(click, Lane.PROMPT) for _ in range(150)]
    query = bench.thread.submit(lambda session: (order.append("query"), len(session.stream.objects))[1], Lane.QUERY)
    bench.gate.set()
    assert query.result(TIMEOUT) == 1
    refused = [click for click in clicks if isinstance(click.exception(TIMEOUT), BusyError)]
    assert len(refused) == 150 - CAPACITY
    assert all(click.exception() is None for click in clicks if click not in refused)
    bench.thread.submit(lambda _: None).result(TIMEOUT)
    assert order.count("click") == CAPACITY
    assert order.index("query") <= 1
    assert len(bench.delivered) >= CAPACITY, "a frame after every click"


def test_what_a_command_changed_shows_before_its_answer(bench: Bench) -> None:
    bench.track(frame(1))
    seen: list[int] = []
    future = bench.thread.submit(lambda s: (time.sleep(0.1), s.add_prompt(Prompt(points=[[5, 5]]), None, "")))
    future.add_done_callback(lambda _: seen.append(bench.thread.report.objects))
    future.result(TIMEOUT)
    assert seen == [1]


@pytest.mark.parametrize("kind", [torch.cuda.OutOfMemoryError, RuntimeError, KeyError])
def test_a_failing_frame_is_counted_and_the_thread_lives_on(
    bench: Bench, kind: type[Exception], tracker: Tracker
) -> None:
    fault = kind("what went wrong")
    bench.track(frame(1, seed=1))
    bench.thread.submit(lambda s: s.add_prompt(Prompt(points=[[9, 9]]), None, "")).result(TIMEOUT)
    bench.thread.submit(lambda s: s.stream.faults.append(fault)).result(TIMEOUT)
    bench.track(frame(2, seed=2))
    bench.track(frame(3, seed=3))
    assert bench.drops(DropCause.ERROR) == 1
    assert str(fault.args[0]) in bench.statistics.snapshot().last_error
    assert [stamp for stamp, _ in bench.delivered] == [1, 3]

    stream = tracker.open_stream(max_objects=4)  # the same without the failing frame
    stream.step(picture(1), 1)
    stream.add_prompt(Prompt(points=[[9, 9]]))
    expected = stream.step(picture(3), 3)
    torch.testing.assert_close(bench.delivered[1][1].mask_logits, expected.mask_logits, rtol=0, atol=0)


def test_a_bad_image_is_counted_and_the_thread_lives_on(bench: Bench) -> None:
    bench.track(frame(1, encoding="no such"))
    bench.track(frame(2))
    assert bench.drops(DropCause.BAD_IMAGE) == 1
    assert "unknown encoding 'no such'" in bench.statistics.snapshot().last_error
    assert [stamp for stamp, _ in bench.delivered] == [2]


@pytest.mark.parametrize(
    ("stamps", "tracked"),
    [
        ((5.0, 4.99, 5.03), (5.0, 5.03)),
        ((5.0, 5.1, 5.2, 5.3, 5.0, 5.1, 5.2, 5.3), (5.0, 5.1, 5.2, 5.3, 5.2, 5.3)),
        ((5.0, 1.0, 1.1, 1.2, 1.3), (5.0, 1.2, 1.3)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ],
    ids=["one late image", "a loop shorter than a second", "a restart", "no stamps"],
)
def test_what_follows_decides_whether_an_image_is_late(
    bench: Bench, stamps: tuple[float, ...], tracked: tuple[float, ...]
) -> None:
    for stamp in stamps:
        bench.track(frame(round(stamp * SECOND)))
    assert [stamp for stamp, _ in bench.delivered] == [round(stamp * SECOND) for stamp in tracked]
    assert bench.drops(DropCause.OUT_OF_ORDER) == len(stamps) - len(tracked)
    assert bench.statistics.snapshot().restarts == (list(tracked) != sorted(tracked))


def test_a_late_image_does_not_replace_a_newer_one(bench: Bench) -> None:
    bench.gate.clear()
    bench.track_later(frame(1))
    for stamp in (3, 2):
        bench.thread.offer(frame(stamp))
    bench.gate.set()
    bench.thread.submit(lambda _: None).result(TIMEOUT)
    assert [stamp for stamp, _ in bench.delivered] == [1, 3]
    assert (bench.drops(DropCause.OUT_OF_ORDER), bench.drops(DropCause.REPLACED)) == (1, 0)


def test_after_a_pause_any_stamp_is_in_order(bench: Bench) -> None:
    bench.track(frame(5))
    bench.thread.discard()
    bench.track(frame(3))
    assert [stamp for stamp, _ in bench.delivered] == [5, 3]
    assert bench.statistics.snapshot().restarts == 0


def test_a_failing_command_answers_and_the_thread_lives_on(bench: Bench) -> None:
    def fail(_: Session) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        bench.thread.submit(fail).result(TIMEOUT)
    bench.track(frame(1))
    assert len(bench.delivered) == 1


def test_what_is_queued_at_the_end_is_answered(tracker: Tracker) -> None:
    bench = Bench(Session(tracker.open_stream(max_objects=1)))
    bench.gate.clear()
    bench.thread.offer(frame(1))
    waiting = [bench.thread.submit(lambda _: 1) for _ in range(3)]
    assert not bench.thread.stop(timeout=0.0)
    bench.gate.set()
    assert bench.thread.stop(TIMEOUT)
    for future in (*waiting, bench.thread.submit(lambda _: 1)):
        with pytest.raises(StoppedError):
            future.result(TIMEOUT)


def test_a_stopped_thread_lets_go_of_its_stream(tracker: Tracker) -> None:
    session = Session(tracker.open_stream(max_objects=1))
    alive = weakref.ref(session.stream)
    bench = Bench(session)
    del session
    bench.track(frame(1))
    assert alive() is not None
    assert bench.thread.stop(TIMEOUT)
    bench.delivered.clear()
    gc.collect()
    assert alive() is None


def half(left: bool) -> np.ndarray:
    mask = np.zeros((48, 64), bool)
    mask[:, :32] = left
    mask[:, 32:] = not left
    return mask


def test_a_click_corrects_the_object_under_it_and_starts_one_elsewhere(tracker: Tracker) -> None:
    session = Session(tracker.open_stream(max_objects=4))
    session.stream.step(picture(), 1)
    session.add_prompt(Prompt(mask=half(left=True)), None, "")
    assert session.click(50.0, 20.0) == (2, True)
    session.stream.remove(2)
    assert session.click(3.0, 3.0) == (1, False)
    session.stream.reset()
    assert session.click(3.0, 3.0) == (3, True), "ids are not used again"
    for x, y in ((float("nan"), 3.0), (-20.0, 3.0), (90.0, 3.0)):
        with pytest.raises(PromptError):
            session.click(x, y)


def test_a_click_hits_what_was_on_the_clicked_image(tracker: Tracker) -> None:
    """The object has moved since: on image 1 it was on the left, now it is on the right."""
    session = Session(tracker.open_stream(max_objects=4))
    session.stream.step(picture(1), 1)
    session.add_prompt(Prompt(mask=half(left=True)), None, "")
    session.stream.step(picture(2), 2)
    session.add_prompt(Prompt(mask=half(left=False)), 1, "")
    assert session.click(3.0, 3.0, stamp=1) == (1, False)
    assert session.stream.objects[0].frames_behind in (0, 1)
    assert session.click(60.0, 3.0) == (1, False), "the newest image"
    shown = session.stream.history.frame_at(2).mask_of(1, 0.0)
    free = np.ones((48, 64), bool) if shown is None else ~shown.full()
    row, column = np.argwhere(free)[0]
    assert session.click(column + 0.5, row + 0.5, stamp=2) == (2, True)


def test_a_prompt_is_given_in_the_image_that_its_stamp_names(tracker: Tracker) -> None:
    session = Session(tracker.open_stream(max_objects=2, history_frames=3, stamp_tolerance=0.1 * SECOND))
    for i in range(5):
        session.stream.step(picture(i), (10 + i) * SECOND)
    reference = tracker.open_stream(max_objects=2)
    for i in range(3):
        reference.step(picture(i), i)
    expected = reference.add_prompt(Prompt(points=[[5, 5]]))
    answer = session.add_prompt(Prompt(points=[[5, 5]], stamp=12 * SECOND + 1_234_567), None, "")
    assert answer.stamp == 12 * SECOND, "the answer names the image that was used"
    info = session.stream.objects[0]
    assert info.first_frame == 2
    assert info.predicted_iou == pytest.approx(float(expected.predicted_iou[0]))


def test_a_prompt_for_an_image_that_is_gone_is_told_which_are_at_hand(tracker: Tracker) -> None:
    session = Session(tracker.open_stream(max_objects=2))
    session.stream.step(picture(), 12 * SECOND + 4)
    session.stream.step(picture(), 12 * SECOND + 5)
    gone = Prompt(points=[[1, 1]], stamp=11 * SECOND)
    with pytest.raises(
        StampError, match=r"image of 11\.000000000 s.*oldest.*stamp 12\.000000004 s.*newest.*stamp 12\.000000005 s"
    ):
        session.add_prompt(gone, None, "")
    assert session.stream.objects == ()
    assert session.click(1, 1, stamp=11 * SECOND) == (1, True), "a click may have the time of the click as its stamp"
    assert session.add_prompt(gone, None, "", or_newest=True).object_ids == (2,)
    assert session.stream.objects[1].first_frame == 1


# --- What the thread tells --------------------------------------------------------------------------------------------


class Log:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, float]] = []

    def warning(self, text: str, *, throttle_duration_sec: float) -> None:
        self.lines.append(("warning", text, throttle_duration_sec))

    def error(self, text: str, *, throttle_duration_sec: float) -> None:
        self.lines.append(("error", text, throttle_duration_sec))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """The log of whatever `Bench` a test makes."""
    log = Log()
    monkeypatch.setattr("tests.ros.test_inference.get_logger", lambda _: log)
    return log


def test_what_goes_wrong_is_counted_remembered_and_logged_legibly(tracker: Tracker, log: Log) -> None:
    stream = FaultyStream(tracker.open_stream(max_objects=4))
    bench = Bench(Session(stream))
    bench.track(frame(1 * SECOND, encoding="no\x1bsuch"))
    errors = [bench.statistics.snapshot().last_error]
    for number, fault in enumerate((torch.cuda.OutOfMemoryError("full"), KeyError("what")), 2):
        stream.faults.append(fault)
        bench.track(frame(number * SECOND))
        errors.append(bench.statistics.snapshot().last_error)
    assert bench.thread.stop(TIMEOUT)
    assert errors[0].startswith(r"unreadable image: unknown encoding 'no\x1bsuch'")
    assert errors[1:] == ["the device ran out of memory: full", "KeyError: 'what'"]
    assert [(kind, quiet) for kind, _, quiet in log.lines] == [("warning", 5.0), ("error", 5.0), ("error", 5.0)]
    texts = [text for _, text, _ in log.lines]
    assert texts[0].startswith(r"image dropped: unknown encoding 'no\x1bsuch'")
    assert texts[1:] == ["frame dropped: the device ran out of memory: full", "frame dropped: KeyError: 'what'"]
    assert (bench.drops(DropCause.BAD_IMAGE), bench.drops(DropCause.ERROR)) == (1, 2)


def test_that_stamps_went_back_is_said_with_the_time(tracker: Tracker, log: Log) -> None:
    bench = Bench(Session(tracker.open_stream(max_objects=1)))
    for stamp in (5.0, 1.0, 1.25, 1.5, 1.75):
        bench.track(frame(round(stamp * SECOND)))
    bench.thread.begin_run()
    bench.track(frame(round(0.5 * SECOND)))
    assert bench.thread.stop(TIMEOUT)
    ((kind, text, quiet),) = log.lines
    assert (kind, quiet) == ("warning", 5.0)
    assert text.startswith("the stamps of the images went back by 3.500 s and go on from there: a recording in a loop")
    assert bench.statistics.snapshot().restarts == 1
    assert [stamp for stamp, _ in bench.delivered] == [5 * SECOND, 3 * SECOND // 2, 7 * SECOND // 4, SECOND // 2]


def test_a_frame_that_is_thrown_away_is_counted_once(bench: Bench) -> None:
    bench.gate.clear()
    bench.track_later(frame(1))
    bench.thread.offer(frame(2))
    for _ in range(2):
        bench.thread.discard()
    bench.gate.set()
    bench.thread.submit(lambda _: None).result(TIMEOUT)
    assert [stamp for stamp, _ in bench.delivered] == [1]
    assert (bench.drops(DropCause.INACTIVE), bench.drops(DropCause.REPLACED)) == (1, 0)


def test_events_can_be_taken_after_each_frame_and_command_and_at_the_end(tracker: Tracker) -> None:
    events: list[list[str]] = []

    def tell(session: Session) -> None:
        events.append([event.reason for event, _ in session.take_events()])

    bench = Bench(Session(tracker.open_stream(max_objects=4)), tell=tell)
    bench.thread.offer(frame(1))
    bench.thread.submit(lambda s: s.add_prompt(Prompt(points=[[5, 5]]), None, "")).result(TIMEOUT)
    with pytest.raises(PromptError):
        bench.thread.submit(lambda s: s.add_prompt(Prompt(), None, "")).result(TIMEOUT)
    assert bench.thread.stop(TIMEOUT)
    assert events == [[], ["prompted"], [], ["the tracker was cleaned up"]]


def test_events_that_are_not_told_are_an_error_and_cost_nothing_else(tracker: Tracker) -> None:
    def tell(session: Session) -> None:
        raise RuntimeError("nobody listens")

    bench = Bench(Session(tracker.open_stream(max_objects=4)), tell=tell)
    bench.track(frame(1))
    assert bench.statistics.snapshot().last_error == "events are not published: RuntimeError: nobody listens"
    assert len(bench.delivered) == 1
    assert bench.thread.stop(TIMEOUT)


def test_who_watches_sees_each_outcome_with_its_frame_in_the_history(tracker: Tracker) -> None:
    session = Session(tracker.open_stream(max_objects=4))
    bench = Bench(session)
    seen: list[tuple[int, int]] = []

    def watch(outcome: Any) -> None:
        newest = bench.thread.history.newest
        assert newest is not None
        seen.append((outcome.result.stamp, newest.stamp))

    bench.thread.submit(lambda s: setattr(s, "watch", watch)).result(TIMEOUT)
    for stamp in (1, 2):
        bench.track(frame(stamp))
    assert seen == [(1, 1), (2, 2)]
    assert bench.thread.stop(TIMEOUT)
    assert len(bench.thread.history) == 0
    assert bench.thread.report.frames == 2


def test_what_is_delivered_is_the_message_its_image_and_the_time_of_the_model(tracker: Tracker) -> None:
    delivered: list[tuple[Any, ...]] = []
    thread: InferenceThread[Image] = InferenceThread(
        Session(tracker.open_stream(max_objects=1)),
        decode=image_to_rgb,
        deliver=lambda *given: delivered.append(given),
        statistics=Statistics(),
        logger=get_logger("test"),
    )
    message = frame(1, "bgr8", seed=5)
    thread.start()
    thread.offer(message)
    thread.submit(lambda _: None).result(TIMEOUT)
    assert thread.stop(TIMEOUT)
    ((sent, image, result, seconds, held),) = delivered
    assert sent is message
    np.testing.assert_array_equal(image, picture(5)[..., ::-1])
    assert (result.stamp, seconds > 0, held >= 0) == (1, True, True)


def test_a_result_that_cannot_be_delivered_is_counted(tracker: Tracker) -> None:
    """At once, or when what is held back is delivered at the end: then the others still are."""
    for hold_back in (0, 3):
        bench = Bench(Session(tracker.open_stream(max_objects=1)), hold_back=hold_back)
        deliver = bench.thread._deliver

        def refuse_2(message: Image, *given: Any, deliver: Any = deliver) -> None:
            if stamp_of(message.header) == 2:
                raise RuntimeError("no such topic")
            deliver(message, *given)

        bench.thread._deliver = refuse_2
        for stamp in (1, 2, 3):
            bench.track(frame(stamp))
        bench.thread.flush().result(TIMEOUT)
        assert [stamp for stamp, _ in bench.delivered] == [1, 3]
        assert (bench.drops(DropCause.ERROR), bench.thread.held) == (1, 0)
        assert bench.statistics.snapshot().last_error == "RuntimeError: no such topic"
        assert bench.thread.stop(TIMEOUT)


def test_a_thread_that_was_stopped_delivers_nothing_more(bench: Bench) -> None:
    def late(session: Session) -> None:
        bench.thread._stopping = True
        bench.thread._process(frame(2), session)
        bench.thread._stopping = False

    bench.track(frame(1))
    bench.thread.submit(late).result(TIMEOUT)
    assert [stamp for stamp, _ in bench.delivered] == [1]


def test_a_thread_that_does_not_end_in_time_says_so_and_tells_nothing_more(tracker: Tracker) -> None:
    told: list[int] = []
    bench = Bench(Session(tracker.open_stream(max_objects=1)), tell=lambda _: told.append(1))
    bench.gate.clear()
    bench.track_later(frame(1))
    assert not bench.thread.stop(timeout=0.0)
    working = bench.thread.working
    assert working is not None
    assert 0 <= working < TIMEOUT
    bench.gate.set()
    assert bench.thread.stop()
    assert told == []


def test_each_lane_of_clients_has_its_capacity_and_the_node_has_none(tracker: Tracker) -> None:
    bench = Bench(Session(tracker.open_stream(max_objects=1)), capacity=2)
    bench.gate.clear()
    bench.track_later(frame(1))
    for lane in (Lane.PROMPT, Lane.QUERY):
        waiting = [bench.thread.submit(lambda _: 1, lane) for _ in range(3)]
        with pytest.raises(BusyError, match=r"2 .* wait already"):
            waiting[2].result(TIMEOUT)
    node = [bench.thread.submit(lambda _: 1) for _ in range(9)]
    bench.gate.set()
    assert [future.result(TIMEOUT) for future in node] == [1] * 9
    assert bench.thread.stop(TIMEOUT)
