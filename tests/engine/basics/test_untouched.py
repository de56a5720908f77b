"""`Untouched`: what a layer does to tensors of its own happens in the steps, and not while one of them becomes a graph."""

import warnings

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

from torchkeras_fn import Input, Model
from torchkeras_fn.engine.basics.untouched import Untouched, state_as_before, written_by
from torchkeras_fn.layers import Layer

WRITES = {
    "a number": lambda tensor: tensor.add_(1),
    "a tensor": lambda tensor: tensor.mul_(torch.tensor(0.5)),
    "its data": lambda tensor: tensor.data.sub_(1),
    "several": lambda tensor: torch._foreach_mul_([tensor, tensor], 2.0),
    "out": lambda tensor: torch.mul(tensor, 2.0, out=tensor),
    "twice": lambda tensor: tensor.add_(1).div_(3),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_to_is_as_before(name):
    tensor = torch.nn.Parameter(torch.arange(3.0))
    with FakeTensorMode(allow_non_fake_inputs=True), Untouched(), torch.no_grad():
        WRITES[name](tensor)
    assert tensor.tolist() == [0, 1, 2]


def test_an_error_leaves_tensors_as_before_too():
    tensor = torch.zeros(())
    with pytest.raises(ZeroDivisionError), FakeTensorMode(allow_non_fake_inputs=True), Untouched():
        tensor.add_(1 / (tensor.add_(1).dim()))
    assert tensor == 0


READS = {
    "itself": lambda tensor: tensor.item(),
    "a product": lambda tensor: (tensor * 2).item(),
    "a branch": lambda tensor: bool(torch.tensor(2.0) * tensor > 1),
    "what took it in": lambda tensor: torch.tensor(1.0).add_(tensor).item(),
}


@pytest.mark.parametrize("name", READS)
def test_no_number_is_read(name):
    tensor = torch.ones(())
    with FakeTensorMode(allow_non_fake_inputs=True), Untouched(), pytest.raises(DataDependentOutputException):
        READS[name](tensor)


def test_numbers_that_are_the_same_at_each_step_may_be_read():
    with FakeTensorMode(allow_non_fake_inputs=True), Untouched():
        assert (torch.tensor(2.0) * 3).item() == 6


def test_the_arguments_that_are_written_to():
    assert written_by(torch.ops.aten.mul.out, ["left", "right"], {"out": "out"}) == ["out"]
    assert written_by(torch.ops.aten.mul.Tensor, ["left", "right"], {}) == []


class Writing(Layer):
    """Writes to its weight in every call, in all ways there are."""

    def __init__(self, shape):
        super().__init__()
        self.factor, self.shape = self.add_weight("factor", (3,), initializer="ones"), shape

    def call(self, inputs):
        with torch.no_grad():
            self.factor += 1
        self.factor.data.mul_(2)
        self.factor.data[0] = 7
        return inputs.reshape(self.shape) * self.factor


@pytest.mark.parametrize("shape", [(-1, 3), (-1, 1, 3)])  # one of which tells nothing of an empty batch
def test_drawing_leaves_the_weights_that_a_layer_writes_to(shape):
    layer = Writing(shape)
    x = Input(shape=(3,))
    model = Model(x, layer(x))
    assert layer.factor.tolist() == [1, 1, 1]
    model(torch.ones(1, 3))
    assert layer.factor.tolist() == [7, 4, 4]


def test_the_state_of_a_scripted_module_is_kept():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.script(torch.nn.BatchNorm1d(2))
    with state_as_before(module):
        module(torch.ones(4, 2))
    assert module.running_mean.tolist() == [0, 0]
