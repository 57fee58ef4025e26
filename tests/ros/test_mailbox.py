from __future__ import annotations

import threading

from sam_ros.tracking.mailbox import Mailbox


def test_the_newest_item_wins() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.take() is None
    assert mailbox.put(1) is None
    assert mailbox.put(2) == 1
    assert mailbox.take() == 2
    assert mailbox.take() is None


def test_nothing_is_lost_or_doubled_between_threads() -> None:
    mailbox: Mailbox[int] = Mailbox()
    replaced: list[int] = []
    taken: list[int] = []
    done = threading.Event()

    def receive() -> None:
        while True:
            finished = done.is_set()  # before the look: what was put before it is then seen
            item = mailbox.take()
            if item is not None:
                taken.append(item)
            elif finished:
                return

    reader = threading.Thread(target=receive)
    reader.start()
    for i in range(20_000):
        old = mailbox.put(i)
        if old is not None:
            replaced.append(old)
    done.set()
    reader.join()
    assert taken == sorted(taken)
    assert sorted(taken + replaced) == list(range(20_000))
