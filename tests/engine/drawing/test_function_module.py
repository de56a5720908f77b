"""`FunctionModule`: a function and its arguments, and what it writes to its inputs."""

import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.engine.drawing.function_module import FunctionModule
from torchkeras_fn.layers import Activation, Lambda


def test_a_function_becomes_a_module():
    assert FunctionModule(lambda x, by: x * by, {"by": 3})(torch.ones(1)).item() == 3


def add_one(x):
    x += 1
    return x


@pytest.mark.parametrize("made", [lambda: Lambda(add_one), lambda: Activation(add_one)], ids=["Lambda", "Activation"])
def test_what_a_function_writes_to_its_inputs_is_not_seen_by_others(made):
    x = Input(shape=(3,))
    model, data = Model(x, [made()(x), x * 1.0]), torch.ones(2, 3)
    for _ in range(2):
        written, read = model(data)
        assert (written.unique(), read.unique(), data.unique()) == (2, 1, 1)


def test_a_function_that_only_reads_its_inputs_is_not_given_copies():
    seen = []
    layer, data = Lambda(lambda x: seen.append(x) or x + 1), torch.ones(2, 3)
    for _ in range(2):
        layer(data)
    assert seen[-1] is data
