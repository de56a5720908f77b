"""Items that threads read ahead: bounds, order, and the end of the threads. `test_loading.py` covers them behind every source."""

import threading

import pytest

from torchkeras_fn.engine.batches import worker_threads
from torchkeras_fn.engine.batches.worker_threads import Threaded, in_threads
from torchkeras_fn.engine.batches.workers import Loading


def test_threads_give_items_in_the_order_asked_for():
    assert list(in_threads(lambda index: index * 10, [2, 0, 1], Loading(3))) == [20, 0, 10]


def test_threads_end_with_the_iterator():
    items = in_threads(lambda index: index, list(range(9)), Loading(2))
    next(items)
    items.close()
    assert not running()


def running():
    return [thread for thread in threading.enumerate() if thread.name.startswith("torchkeras_fn")]


def test_there_are_no_more_threads_than_items():
    assert max(in_threads(lambda index: len(running()), [0, 1], Loading(50))) <= 2


def test_an_error_comes_although_other_items_never_do(monkeypatch):
    monkeypatch.setattr(worker_threads, "_PATIENCE_SECONDS", 0.0)
    begun, waiting = threading.Event(), threading.Event()

    def read(index):
        if index:
            begun.set()
            waiting.wait()
        elif begun.wait():
            raise KeyError("no such row")

    try:
        with pytest.raises(KeyError, match="no such row"):
            list(in_threads(read, [0, 1, 2], Loading(3)))
    finally:
        waiting.set()
        for thread in running():
            thread.join()


def test_a_thread_that_was_stopped_gives_nothing_more():
    items = Threaded(iter(range(9)), Loading(max_queue_size=2))
    assert next(items) == 0
    items.close()
    assert list(items) == []


def test_a_thread_ends_with_its_generator():
    items = Threaded(iter(range(3)), Loading())
    assert list(items) == [0, 1, 2] and list(items) == []
    assert not running()


@pytest.mark.parametrize("begin", [lambda: Threaded(iter(range(9)), Loading()), lambda: list(in_threads(str, range(9), Loading(3)))])
def test_an_interrupt_while_threads_begin_leaves_none(begin, monkeypatch):
    def interrupted(thread, start=threading.Thread.start):
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begin()
    for thread in running():
        thread.join(5)
    assert not running()
