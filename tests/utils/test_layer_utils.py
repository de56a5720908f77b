"""The inputs that a tensor was drawn from."""

import pytest
import torch

from torchkeras_fn import Input, layers, utils


def test_the_inputs_of_a_drawing_come_once_in_its_order():
    left, right, other = Input((4,)), Input((4,)), Input((4,))
    both = layers.Dense(4)(right) * left + torch.relu(right)
    assert utils.get_source_inputs([both, other]) == [right, left, other]


def test_an_input_is_its_own_source():
    pixels = Input((4,))
    assert utils.get_source_inputs(pixels) == [pixels]


def test_what_is_not_symbolic_has_no_source():
    with pytest.raises(ValueError, match="takes a symbolic tensor, got Tensor"):
        utils.get_source_inputs(torch.ones(1))
