"""How many threads and processes prepare batches, and how many ahead."""


import pytest

from torchkeras_fn.engine.batches.workers import Loading


@pytest.mark.parametrize(("workers", "size"), [(-1, 10), (1, 0), (None, 10), (1.5, 10), ("2", 10), (1, None)])
def test_impossible_numbers_of_workers_are_refused(workers, size):
    with pytest.raises(ValueError, match="'workers' must not be negative"):
        Loading(workers, False, size)


def test_processes_share_the_queue_among_them():
    assert [Loading(workers, True, 10).prefetch_factor for workers in (1, 2, 3, 20)] == [10, 5, 3, 1]


def test_only_multiprocessing_asks_for_processes():
    assert [Loading(2).processes, Loading(2, True).processes, Loading(0, True).processes] == [0, 2, 0]
