from __future__ import annotations

import math

import pytest

from sam_ros.runtime.texts import LONGEST_LINE
from sam_ros.tracking.statistics import WINDOW, DropCause, Statistics, Timing


class Clock:
    """Seconds that pass when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rates_describe_the_last_seconds() -> None:
    clock = Clock()
    statistics = Statistics(clock)
    for i in range(300):
        statistics.image_received()
        if i % 3 == 0:
            statistics.frame_processed(Timing(latency=0.05, model=0.04))
        clock.now += 1 / 30
    snapshot = statistics.snapshot()
    assert snapshot.received == 300
    assert snapshot.processed == 100
    assert snapshot.rate_in == pytest.approx(30.0, rel=1e-6)
    assert snapshot.rate_out == pytest.approx(10.0, rel=1e-6)
    assert snapshot.since_last_image == pytest.approx(1 / 30)
    clock.now += 60
    snapshot = statistics.snapshot()
    assert snapshot.since_last_image == pytest.approx(60 + 1 / 30)
    assert snapshot.rate_in == pytest.approx(1 / (60 + 1 / 30)), "the rate of a stopped camera falls"
    assert snapshot.latency == pytest.approx((0.05, 0.05)), "the newest frame's"


def test_a_slow_model_has_a_rate() -> None:
    clock = Clock()
    statistics = Statistics(clock)
    assert statistics.snapshot().rate_out == 0.0
    assert math.isnan(statistics.snapshot().latency[0])
    for _ in range(3):
        clock.now += 10.0
        statistics.frame_processed(Timing(latency=10.0, model=9.9))
    assert statistics.snapshot().rate_out == pytest.approx(0.1)
    assert statistics.snapshot().latency == (10.0, 10.0)


def test_percentiles_and_overhead() -> None:
    statistics = Statistics(Clock())
    for i in range(101):
        statistics.frame_processed(Timing(latency=0.010 + i * 1e-3, model=0.008))
    snapshot = statistics.snapshot()
    assert snapshot.latency == pytest.approx((0.060, 0.109))
    assert snapshot.model == pytest.approx((0.008, 0.008))
    assert snapshot.overhead == pytest.approx((0.052, 0.101))


def test_time_that_a_result_was_held_back_is_no_overhead() -> None:
    statistics = Statistics(Clock())
    statistics.frame_processed(Timing(latency=15.1, model=0.08, held=15.0))
    assert statistics.snapshot().overhead == pytest.approx((0.02, 0.02))


def test_a_frame_leaves_the_percentiles_when_the_window_is_over() -> None:
    clock = Clock()
    statistics = Statistics(clock)
    statistics.frame_processed(Timing(latency=1.0, model=0.5))
    clock.now += 1.0
    statistics.frame_processed(Timing(latency=3.0, model=0.5))
    clock.now += WINDOW - 1.0
    assert statistics.snapshot().latency == (3.0, 3.0)


def test_a_frame_without_a_stamp_counts_but_has_no_latency() -> None:
    statistics = Statistics(Clock())
    statistics.frame_processed(None)
    snapshot = statistics.snapshot()
    assert snapshot.processed == 1
    assert math.isnan(snapshot.latency[0])


def test_drops_are_counted_by_cause() -> None:
    statistics = Statistics(Clock())
    statistics.dropped(DropCause.REPLACED)
    statistics.dropped(DropCause.LOST, 3)
    statistics.dropped(DropCause.REPLACED)
    statistics.prompt_refused()
    statistics.error("first")
    statistics.error("second")
    snapshot = statistics.snapshot()
    assert snapshot.drops == {**dict.fromkeys(DropCause, 0), DropCause.REPLACED: 2, DropCause.LOST: 3}
    assert snapshot.refused_prompts == 1
    assert snapshot.last_error == "second"


def test_an_image_that_is_missing_was_lost_or_else_replaced() -> None:
    statistics = Statistics(Clock())
    statistics.dropped(DropCause.REPLACED)
    statistics.images_missing(5)
    assert statistics.snapshot().drops[DropCause.REPLACED] == 6
    statistics.dropped(DropCause.LOST, 2)
    drops = statistics.snapshot().drops
    assert (drops[DropCause.LOST], drops[DropCause.REPLACED]) == (2, 4)


def test_nothing_went_wrong_before_it_did() -> None:
    snapshot = Statistics().snapshot()
    assert (snapshot.last_error, snapshot.refused_prompts, snapshot.since_last_image) == ("", 0, None)


def test_memory_stays_bounded() -> None:
    statistics = Statistics(Clock())
    for _ in range(10_000):
        statistics.image_received()
        statistics.frame_processed(Timing(0.01, 0.01))
    assert len(statistics._timings) == len(statistics._in.times) == 2048


def test_what_leaves_the_window_does_not_count_in_a_rate() -> None:
    """Three images a second apart; at the very end of the window the oldest has left it."""
    clock = Clock()
    statistics = Statistics(clock)
    for wait in (0.0, 1.0, 3.0):
        clock.now += wait
        statistics.image_received()
    assert statistics.snapshot().rate_in == pytest.approx(2 / 4)
    clock.now += WINDOW - 4.0
    assert statistics.snapshot().rate_in == pytest.approx(1 / 3)
    clock.now += 1.0
    assert statistics.snapshot().rate_in == pytest.approx(1 / 3), "one is left: its interval counts"
    clock.now += 2.5
    assert statistics.snapshot().rate_in == pytest.approx(1 / 4.5), "or the silence since, if that is longer"


def test_two_images_make_a_rate_also_when_they_have_left_the_window() -> None:
    clock = Clock()
    statistics = Statistics(clock)
    for _ in range(2):
        clock.now += 2 * WINDOW
        statistics.image_received()
    assert statistics.snapshot().rate_in == pytest.approx(1 / (2 * WINDOW))
    clock.now += 3 * WINDOW
    assert statistics.snapshot().rate_in == pytest.approx(1 / (3 * WINDOW))


def test_two_images_at_once_have_a_finite_rate_and_one_has_none() -> None:
    statistics = Statistics(Clock())
    statistics.image_received()
    assert statistics.snapshot().rate_in == 0.0
    statistics.image_received()
    assert statistics.snapshot().rate_in == pytest.approx(1e9)


def test_everything_is_counted_by_itself() -> None:
    clock = Clock()
    statistics = Statistics(clock)
    empty = statistics.snapshot()
    assert (empty.received, empty.processed, empty.restarts, empty.refused_prompts) == (0, 0, 0, 0)
    assert (empty.since_last_image, empty.since_last_result) == (None, None)
    assert empty.drops == dict.fromkeys(DropCause, 0)
    for _ in range(2):
        statistics.image_received()
        statistics.stamps_restarted()
        statistics.prompt_refused()
        statistics.images_missing(3)
    clock.now += 1.5
    statistics.frame_processed(None)
    clock.now += 0.25
    full = statistics.snapshot()
    assert (full.received, full.processed, full.restarts, full.refused_prompts) == (2, 1, 2, 2)
    assert (full.since_last_image, full.since_last_result) == (1.75, 0.25)
    assert full.drops == {**dict.fromkeys(DropCause, 0), DropCause.REPLACED: 6}


def test_more_images_lost_than_missing_leave_nothing_to_have_been_replaced() -> None:
    statistics = Statistics(Clock())
    statistics.images_missing(1)
    statistics.dropped(DropCause.LOST, 3)
    assert statistics.snapshot().drops[DropCause.REPLACED] == 0


def test_the_newest_frame_describes_a_silence_and_one_percentile_each_is_of_its_own_times() -> None:
    clock = Clock()
    statistics = Statistics(clock)
    for latency in (1.0, 2.0):
        statistics.frame_processed(Timing(latency, model=latency / 4, held=latency / 8))
    clock.now += 2 * WINDOW
    snapshot = statistics.snapshot()
    assert (snapshot.latency, snapshot.model, snapshot.overhead) == ((2.0, 2.0), (0.5, 0.5), (1.25, 1.25))


def test_an_error_is_made_legible() -> None:
    statistics = Statistics(Clock())
    statistics.error("a\x1b[2Jb" + "x" * 1000)
    error = statistics.snapshot().last_error
    assert error.startswith(r"a\x1b[2Jbx")
    assert len(error) < LONGEST_LINE + 50


def test_the_clock_is_the_machines_where_none_is_given() -> None:
    statistics = Statistics()
    statistics.image_received()
    since = statistics.snapshot().since_last_image
    assert since is not None
    assert since >= 0
