"""Layer, group and unit normalization: axes and groups that do not fit, tiny groups, and 16 bits."""

import pytest
import torch

from torchkeras_fn import Input, layers


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.LayerNormalization(axis=0)(Input(shape=(3, 4))), "different axes of the input other than the batch, got .0."),
        (lambda: layers.LayerNormalization(axis=[1, -2])(Input(shape=(3, 4))), "LayerNormalization cannot .*different axes"),
        (lambda: layers.LayerNormalization(axis=1)(Input(shape=(None, 4))), "the size of axis 1 must be known, got None"),
        (lambda: layers.LayerNormalization(axis="last"), "'axis' must be an integer or a list of integers, got 'last'"),
        (lambda: layers.GroupNormalization(0), "'groups' must be an integer of at least 1, got 0"),
        (lambda: layers.GroupNormalization(3)(Input(shape=(3, 4))), "GroupNormalization cannot .*got 4 channels and 3 groups"),
        (lambda: layers.GroupNormalization(axis=[1, 2]), "'axis' must be one axis"),
        (lambda: layers.UnitNormalization(axis=3)(Input(shape=(3, 4))), "UnitNormalization cannot .*'axis' must be an axis of the input"),
    ],
)
def test_wrong_axes_and_groups_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 3, 5, 1), (2, 1, 1, 4), (2, 2, 3, 4, 1)])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_a_group_normalization_trains_on_inputs_without_gradients(options, shape):
    layer = layers.GroupNormalization(min(2, shape[-1]), **options)
    layer(torch.randn(*shape)).square().sum().backward()
    assert all(weight.grad is not None for weight in layer.trainable_weights)


@pytest.mark.parametrize("options", [{}, {"scale": False}])
def test_a_group_of_one_number_becomes_zero_in_training_too(options):
    layer = layers.GroupNormalization(-1, beta_initializer="ones", **options)
    torch.testing.assert_close(layer(torch.tensor([[3.0, 5.0]]), training=True), torch.ones(1, 2), rtol=0, atol=1e-5)


def test_vectors_of_zeros_stay_in_float16():
    layer = layers.UnitNormalization(dtype="float16")
    assert layer(torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float16)).tolist()[0] == [0.0, 0.0]
