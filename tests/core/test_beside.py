"""Work beside its owner: truly at the same time, or before it; done when the owner goes on; errors not lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from sam_core.streaming import beside
from sam_core.streaming.beside import Beside

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_both_go_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_cores", lambda: 2)
    here, there = threading.Event(), threading.Event()
    threads = []

    def work() -> None:
        threads.append(torch.get_num_threads())
        there.set()
        assert here.wait(30)

    with Beside(CPU).doing(work):
        assert there.wait(30)  # neither could end if one waited for the other
        here.set()
    assert threads == [1]


def test_without_a_free_core_the_work_is_done_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_cores", lambda: 1)
    order: list[tuple[str, int]] = []
    with Beside(CPU).doing(lambda: order.append(("work", threading.get_ident()))):
        order.append(("owner", threading.get_ident()))
    assert order == [("work", threading.get_ident()), ("owner", threading.get_ident())]


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_of_the_work_is_raised(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(beside, "_cores", lambda: cores)

    def work() -> None:
        raise ValueError("of the work")

    aside = Beside(CPU)
    with pytest.raises(ValueError, match="of the work"), aside.doing(work):
        pass
    with aside.doing(lambda: None):  # and it goes on
        pass


def test_an_error_of_the_owner_waits_for_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_cores", lambda: 2)
    begun, done = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        threading.Event().wait(0.1)
        done.set()

    def own() -> None:
        with Beside(CPU).doing(work):
            assert begun.wait(30)
            raise KeyError

    with pytest.raises(KeyError):
        own()
    assert done.is_set()
