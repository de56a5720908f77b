"""Batches prepared ahead: bounds, order, and ends of threads and worker processes. `test_loading.py` covers them behind every source."""

import multiprocessing
import threading
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from torchkeras_fn.engine.basics.nested import leaves_of
from torchkeras_fn.engine.batches import workers
from torchkeras_fn.engine.batches.loaders import dataset_source
from torchkeras_fn.engine.batches.workers import (
    Items,
    Loading,
    Stream,
    Threaded,
    batches_from,
    copied,
    end_workers,
    in_threads,
    loader_of,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.mark.parametrize(("workers", "size"), [(-1, 10), (1, 0), (None, 10), (1.5, 10), ("2", 10), (1, None)])
def test_impossible_numbers_of_workers_are_refused(workers, size):
    with pytest.raises(ValueError, match="'workers' must not be negative"):
        Loading(workers, False, size)


def test_processes_share_the_queue_among_them():
    assert [Loading(workers, True, 10).prefetch_factor for workers in (1, 2, 3, 20)] == [10, 5, 3, 1]


def test_only_multiprocessing_asks_for_processes():
    assert [Loading(2).processes, Loading(2, True).processes, Loading(0, True).processes] == [0, 2, 0]


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
    monkeypatch.setattr(workers, "_PATIENCE_SECONDS", 0.0)
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


def test_processes_end_with_the_iterator_although_the_loader_keeps_them():
    items = batches_from(loader_of([5, 6, 7], Loading(1, True)), ends=True)
    assert next(items) == 5 and len(multiprocessing.active_children()) == 1
    items.close()
    assert not multiprocessing.active_children()


def test_what_has_no_processes_needs_no_end():
    assert end_workers(iter([1])) is None and end_workers(None) is None


def a_local_error():
    class Strange(Exception):
        pass

    return Strange("no more rows")


def broken():
    yield 5
    raise a_local_error()


class BrokenAt:
    def __init__(self, index):
        self.index = index

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == self.index:
            raise a_local_error()
        return index


@pytest.mark.parametrize("dataset", [Stream(broken()), Items(BrokenAt(1))])
def test_an_error_that_cannot_be_pickled_comes_out_of_a_process_told(dataset):
    with pytest.raises(RuntimeError, match="Strange: no more rows"):
        list(batches_from(loader_of(dataset, Loading(1, True)), ends=True))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("part", [lambda: 2, np.ones(2).view(type("Local", (np.ndarray,), {}))], ids=["function", "subclass"])
def test_a_batch_that_cannot_be_pickled_comes_out_of_a_process_as_an_error(part):
    with pytest.raises(TypeError, match="cannot be pickled, so a worker process cannot send it"):
        list(batches_from(loader_of(Items([(1, part)]), Loading(1, True)), ends=True))
    assert not multiprocessing.active_children()


def test_processes_send_what_is_no_array_if_it_can_be_pickled():
    assert list(batches_from(loader_of(Items([({1, 2}, None)]), Loading(1, True)), ends=True)) == [({1, 2}, None)]


def test_a_data_set_whose_error_cannot_be_pickled_ends_a_run_in_processes():
    batches = dataset_source(BrokenAt(1), 2, False, Loading(1, True)).one_pass()
    with pytest.raises(RuntimeError, match="Strange: no more rows"):
        next(batches)
    del batches


def test_items_are_read_together_where_the_data_set_can():
    class Together(BrokenAt):
        def __getitems__(self, indices):
            return [index * 10 for index in indices]

    assert Items(Together(9)).__getitems__([1, 2]) == [10, 20]
    assert Items(BrokenAt(9)).__getitems__([1, 2]) == [1, 2]


# ------------------------------------------------------------------ arrays that are refilled

Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize("wrap", [lambda x: (x, None), lambda x: [x], lambda x: {"x": x}, lambda x: Pair(x, [x]), lambda x: ((x, 3), "a")])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, list, pd.Series])
def test_a_copy_has_the_form_of_a_batch_and_numbers_of_its_own(wrap, kind):
    values = kind([1.0, 2.0])
    found = copied(wrap(values))
    values[0] = 7.0
    assert str(found) == str(wrap(kind([1.0, 2.0]))) and type(found) is type(wrap(values))


def test_what_cannot_be_written_to_is_not_copied():
    array = np.ones(3)
    array.flags.writeable = False
    assert copied(array) is array


def test_a_copy_lies_in_memory_as_the_array_does():
    assert copied(np.ones((2, 3), order="F")).flags.f_contiguous


def test_of_items_in_arrays_of_their_own_one_is_copied():
    items = [(np.full(2, float(index)), index) for index in range(5)]
    found = list(in_threads(items.__getitem__, range(5), Loading(1)))
    assert [one is not item for (one, _), (item, _) in zip(found, items, strict=True)] == [True, False, False, False, False]
    assert [one[0] for one, _ in found] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_items_that_come_in_one_array_are_all_copied():
    buffer = np.zeros(2)

    def read(index):
        buffer[:] = index
        return buffer, index

    ready = in_threads(read, range(5), Loading(1))
    assert [found.tolist() for found, _ in list(ready)] == [[index] * 2 for index in range(5)]


@pytest.mark.parametrize(
    "view",
    [
        lambda buffer: buffer[:4],
        lambda buffer: buffer.T,
        torch.from_numpy,
        lambda buffer: {"x": (torch.from_numpy(buffer)[1:], None)},
    ],
    ids=["slice", "transposed", "tensor", "slice of a tensor in a dict"],
)
def test_items_that_come_as_new_views_of_one_array_are_all_copied(view):
    buffer = np.zeros((4, 2))

    def read(index):
        buffer[:] = index
        return view(buffer)

    ready = in_threads(read, range(5), Loading(1))
    assert [[float(leaf.mean()) for leaf in leaves_of(item) if leaf is not None] for item in list(ready)] == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize("buffer", [np.zeros(1), torch.zeros(1)], ids=["array", "tensor"])
@pytest.mark.parametrize("source", ["items", "stream"])
def test_what_a_process_sends_is_not_refilled_meanwhile(buffer, source):
    class Refilled:
        def __getitem__(self, index):
            buffer[:] = index
            return (buffer,)

    refilled = Refilled()
    items = Items(refilled)
    found = list(map(items.__getitem__, range(3)) if source == "items" else Stream(map(refilled.__getitem__, range(3))))
    assert [float(one[0]) for (one,) in found] == [0, 1, 2]


def test_a_sparse_matrix_that_is_a_dict_too_is_copied_as_a_matrix():
    matrix = scipy.sparse.dok_matrix(np.eye(2))
    assert type(copied(matrix)) is type(matrix) and copied(matrix) is not matrix


@pytest.mark.parametrize("data", [np.arange(10.0), torch.arange(10.0)], ids=["array", "tensor"])
def test_items_that_are_other_parts_of_one_array_are_not_copied(data):
    found = list(in_threads(lambda index: data[2 * index : 2 * index + 2], range(5), Loading(1)))
    data[:] = -1
    assert [list(item) for item in found] == [[0, 1], *[[-1, -1]] * 4]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", ["sparse", "nested", "empty"])
def test_tensors_of_no_one_piece_of_memory_come_as_they_are(kind):
    make = {"sparse": torch.Tensor.to_sparse, "nested": lambda item: torch.nested.nested_tensor([item]), "empty": lambda item: item[:0]}
    items = [make[kind](torch.full((2, 2), float(index))) for index in range(3)]
    found = list(in_threads(items.__getitem__, range(3), Loading(1)))
    assert [one is item for one, item in zip(found, items, strict=True)] == [False, True, True]
