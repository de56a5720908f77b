"""The functions that a configuration may name; what it may not is in tests/saving/test_safety.py."""

import operator

import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import Input, Model
from torchkeras_fn.engine.drawing.functions import find_function, function_name, known_functions


@pytest.mark.parametrize(
    "function",
    [
        torch.cat,
        torch.relu,
        F.gelu,
        F.scaled_dot_product_attention,
        torch.Tensor.mean,
        torch.Tensor.view,
        torch.linalg.norm,
        operator.matmul,
    ],
)
def test_a_name_and_its_function_belong_together(function):
    assert find_function(function_name(function)) is function


def test_every_known_function_is_found_by_its_name():
    for name, function in known_functions().items():
        if name != "getattr":
            assert known_functions()[function_name(function)] is function


@pytest.mark.parametrize("function", [print, torch.load, torch.Tensor.numpy, lambda x: x])
def test_others_have_no_name(function):
    with pytest.raises(ValueError, match="Use a layer"):
        function_name(function)


def test_sizes_stay_numbers():
    x = Input(shape=(4, 6))
    model = Model(x, x.view(x.size(0) * 2, -1) + x.size(0) ** 1)
    with pytest.raises(ValueError, match="pow of sizes alone"):
        Model.from_config(model.get_config())


@pytest.mark.parametrize(
    "made", [lambda s: s % 4, lambda s: s - s // 2 * 2, lambda s: s / 960, lambda s: s**0.5, lambda s: s * 0.5, lambda s: -s // 2 & 1]
)
def test_what_is_made_of_an_unknown_size_is_computed_when_it_is_known(made):
    x = Input(shape=(None, 1))
    model = Model(x, x * made(x.size(1)))
    torch.testing.assert_close(model(torch.ones(1, 5, 1)), torch.ones(1, 5, 1) * made(5))


@pytest.mark.parametrize("asked", [lambda s: s > 512, lambda s: s % 2 == 0])
def test_python_cannot_branch_on_an_unknown_size(asked):
    with pytest.raises(TypeError, match="has no value yet"):
        bool(asked(Input(shape=(None, 1)).size(1)))
