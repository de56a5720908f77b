"""Locally connected layers: Keras 2's formula written as loops, since Keras 3 has them no more; weights, errors."""

from itertools import product

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.layers import LocallyConnected1D, LocallyConnected2D

SIZES = {1: (9,), 2: (6, 7)}
LAYERS = {1: LocallyConnected1D, 2: LocallyConnected2D}


def by_loops(x, kernel, bias, sizes, strides, is_last):
    """Keras 2's `local_conv`: at each place its own kernel, over the patch as it lies in memory."""
    spatial = x.shape[1:-1] if is_last else x.shape[2:]
    places = [(size - window) // stride + 1 for size, window, stride in zip(spatial, sizes, strides, strict=True)]
    outputs = np.zeros((len(x), *places, kernel.shape[-1]), dtype=x.dtype)
    for number, place in enumerate(np.ndindex(*places)):
        window = tuple(slice(at * stride, at * stride + size) for at, size, stride in zip(place, sizes, strides, strict=True))
        patch = x[(slice(None), *window)] if is_last else x[(slice(None), slice(None), *window)]
        outputs[(slice(None), *place)] = patch.reshape(len(x), -1) @ kernel[number] + (0 if bias is None else bias[place])
    return outputs if is_last else np.moveaxis(outputs, -1, 1)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("rank", "size", "strides"), [*product((1, 2), (1, 2, 3), (1, 2)), (2, (3, 2), (1, 2)), (1, 9, 1)])
def test_it_computes_what_the_loops_do(rank, size, strides, data_format, use_bias):
    is_last = data_format == "channels_last"
    layer = LAYERS[rank](4, size, strides=strides, data_format=data_format, use_bias=use_bias, activation="tanh")
    shape = (*SIZES[rank], 3) if is_last else (3, *SIZES[rank])
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    tensor = Input(shape=shape)
    model = Model(tensor, layer(tensor))
    values = [np.random.default_rng(1).normal(size=weight.shape).astype("float32") for weight in layer.get_weights()]
    layer.set_weights(values)
    sizes, steps = ((value,) * rank if isinstance(value, int) else value for value in (size, strides))
    wanted = np.tanh(by_loops(x, values[0], values[1] if use_bias else None, sizes, steps, is_last))
    assert model.output_shape == (None, *wanted.shape[1:])
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(torch.tensor(x)).detach().numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_formula():
    x = torch.randn(2, 5, 5, 2, dtype=torch.float64, requires_grad=True)
    layer = LocallyConnected2D(3, 2, strides=2, dtype="float64")
    layer(x)
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize(
    ("layer", "shape", "shapes"),
    [
        (LocallyConnected1D(4, 3, strides=2), (9, 2), {"kernel": (4, 6, 4), "bias": (4, 4)}),
        (LocallyConnected1D(4, 3, data_format="channels_first"), (2, 9), {"kernel": (7, 6, 4), "bias": (7, 4)}),
        (LocallyConnected2D(4, (3, 2)), (6, 7, 2), {"kernel": (24, 12, 4), "bias": (4, 6, 4)}),
        (LocallyConnected2D(4, (3, 2), use_bias=False), (6, 7, 2), {"kernel": (24, 12, 4)}),
    ],
)
def test_weights_in_keras_layout(layer, shape, shapes):
    layer(Input(shape=shape))
    assert {weight.name: tuple(weight.view.shape) for weight in layer.named_weights()} == shapes


@pytest.mark.parametrize("implementation", [1, 2, 3])
def test_the_implementation_of_keras_2_changes_nothing(implementation):
    layer = LocallyConnected1D(4, 3, implementation=implementation)
    assert layer(torch.ones(2, 9, 2)).shape == (2, 7, 4)
    assert layer.get_config()["implementation"] == implementation


def test_bytes_become_floats():
    assert LocallyConnected2D(4, 3)(torch.ones(2, 6, 6, 3, dtype=torch.uint8)).dtype is torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocallyConnected1D(0, 3), "'filters' must be an integer of at least 1, got 0"),
        (lambda: LocallyConnected2D(4, (3, 3, 3)), "'kernel_size' must be an integer or 2 of them"),
        (lambda: LocallyConnected1D(4, 3, padding="same"), "'padding' must be one of 'valid'; got 'same'"),
        (lambda: LocallyConnected1D(4, 3, implementation=4), "'implementation' must be 1, 2 or 3, got 4"),
        (lambda: LocallyConnected1D(4, 3, name="l")(Input(shape=(None, 2))), r"^l .*all sizes must be known.* got \(None,\)"),
        (
            lambda: LocallyConnected2D(4, 9)(Input(shape=(6, 7, 2))),
            r"the kernel covers \(9, 9\), which is larger than the input's \(6, 7\)",
        ),
        (lambda: LocallyConnected2D(4, 3)(Input(shape=(6, 2))), "expected 4 dimensions"),
        (lambda: LocallyConnected1D(4, 3)(Input(shape=(6, None))), "the number of channels must be known"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()
