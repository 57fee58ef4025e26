from __future__ import annotations

import math

import pytest

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
