"""Copies of what a user's code is given: they hold the same, lie in memory alike, and tell whether they were written to."""

import pytest
import torch
from torch import nn

from torchkeras_fn.engine.drawing.copying import alike, called_on_copies, copies_of

NUMBERS = torch.arange(30.0).reshape(5, 6)
TENSORS = {
    "whole": NUMBERS,
    "rows": NUMBERS[1:],
    "columns": NUMBERS[:, 1:5],
    "transposed": NUMBERS.t(),
    "bytes": torch.arange(30, dtype=torch.uint8)[3:],
    "a number": torch.tensor(3.0),
    "nothing": torch.ones(0, 3),
    "one row for all": torch.ones(1, 3).expand(4, 3),
    "every tenth": torch.arange(100.0)[::10],
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_a_copy_holds_the_same_in_memory_of_its_own(tensor):
    copy = alike(tensor)
    assert torch.equal(copy, tensor) and copy.dtype == tensor.dtype
    assert not tensor.numel() or copy.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", ["whole", "rows", "columns", "transposed", "bytes"])
def test_a_copy_lies_in_memory_as_the_tensor_does(name):
    copy = alike(TENSORS[name])
    assert copy.stride() == TENSORS[name].stride()
    assert (copy.data_ptr() - TENSORS[name].data_ptr()) % 64 == 0


@pytest.mark.parametrize("start", range(1, 9))
def test_what_is_computed_of_a_copy_is_the_same_to_the_last_bit(start):
    """Where a training goes on after a kill, its first batch is copied, which in the whole training was not."""
    torch.manual_seed(start)
    rows, layer = torch.randn(12, 5)[start:], nn.Linear(5, 8)
    assert torch.equal(called_on_copies(layer, [rows], {}, {}, mode=True), layer(rows))


def test_a_copy_of_what_has_a_history_has_it_too():
    weight = torch.ones(2, requires_grad=True)
    (copy,), _ = copies_of([weight * 2])
    copy.sum().backward()
    assert weight.grad.tolist() == [2, 2]


@pytest.mark.parametrize("write", [lambda x: x.mul_(2), lambda x: x[0].fill_(5), lambda x: x.add(1)], ids=["whole", "part", "not"])
def test_writing_to_a_copy_is_noted(write):
    copy, is_altered = copies_of(torch.ones(3))
    before = copy.clone()
    write(copy)
    assert is_altered() == (not torch.equal(copy, before))
