"""Batches out of worker processes: what can be sent, and the end of the processes. `test_loading.py` covers them behind every source."""

import gc
import multiprocessing

import numpy as np
import pytest
import torch

from torchkeras_fn.engine.batches.loaders import dataset_source
from torchkeras_fn.engine.batches.worker_processes import Items, Stream, batches_from, end_workers, loader_of
from torchkeras_fn.engine.batches.workers import Loading

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


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


class Ending:
    """Something in a circle of its own, that notes its end."""

    ended = []

    def __init__(self):
        self.itself = self

    def __del__(self):
        self.ended.append(self)


class Collecting:
    def __getitem__(self, index):
        gc.collect()
        return np.array(len(Ending.ended))

    def __len__(self):
        return 1


def test_a_process_collects_no_garbage_of_its_parents():
    gc.disable()
    try:
        Ending()
        loader = loader_of(Items(Collecting()), Loading(1, True), persistent=False)
        assert [int(count) for count in batches_from(loader, ends=True)] == [0]
    finally:
        gc.enable()
        gc.collect()
        Ending.ended.clear()
