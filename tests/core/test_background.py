"""A background task runs at the same time as its owner, or before it, and its errors are raised."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from sam_core.streaming import background
from sam_core.streaming.background import BackgroundTask

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_both_go_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_cores", lambda: 2)
    here, there = threading.Event(), threading.Event()
    threads = []

    def work() -> None:
        threads.append(torch.get_num_threads())
        there.set()
        assert here.wait(30)

    with BackgroundTask(CPU).running(work):
        assert there.wait(30)  # neither could end if one waited for the other
        here.set()
    assert threads == [1]


def test_without_a_free_core_the_work_is_done_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_cores", lambda: 1)
    order: list[tuple[str, int]] = []
    with BackgroundTask(CPU).running(lambda: order.append(("work", threading.get_ident()))):
        order.append(("owner", threading.get_ident()))
    assert order == [("work", threading.get_ident()), ("owner", threading.get_ident())]


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_of_the_work_is_raised(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(background, "_cores", lambda: cores)

    def work() -> None:
        raise ValueError("of the work")

    task = BackgroundTask(CPU)
    with pytest.raises(ValueError, match="of the work"), task.running(work):
        pass
    with task.running(lambda: None):  # and it goes on
        pass


def test_an_error_of_the_owner_waits_for_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_cores", lambda: 2)
    begun, done = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        threading.Event().wait(0.1)
        done.set()

    def own() -> None:
        with BackgroundTask(CPU).running(work):
            assert begun.wait(30)
            raise KeyError

    with pytest.raises(KeyError):
        own()
    assert done.is_set()
