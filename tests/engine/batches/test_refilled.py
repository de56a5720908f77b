"""Items in memory that is written to again are copied, and others are not."""

from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from torchkeras_fn.engine.basics.nested import leaves_of
from torchkeras_fn.engine.batches.refilled import copied
from torchkeras_fn.engine.batches.worker_threads import in_threads
from torchkeras_fn.engine.batches.workers import Loading

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


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
