"""`SpectralNormalization`: the norm, when it changes, gradients of several calls, and what it goes around."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, layers
from torchkeras_fn.layers import SpectralNormalization


@pytest.mark.parametrize(
    ("inner", "shape"),
    [(lambda: layers.Dense(4), (6,)), (lambda: layers.Conv1D(4, 3), (7, 2)), (lambda: layers.Conv2DTranspose(3, 2), (4, 4, 2))],
)
def test_the_largest_singular_value_becomes_one(inner, shape):
    layer = SpectralNormalization(inner(), power_iterations=30)
    layer(torch.randn(2, *shape))
    kernel = layer.layer.kernel.detach()
    assert float(torch.linalg.matrix_norm(kernel.reshape(-1, kernel.shape[-1]), 2)) == pytest.approx(1, abs=1e-3)


def test_the_norm_is_as_exact_in_mixed_precision():
    twins = [SpectralNormalization(layers.Dense(40), power_iterations=5) for _ in range(2)]
    for layer in twins:
        layer(torch.rand(3, 60), training=False)
        layer.set_weights(twins[0].get_weights())
    twins[0](torch.rand(3, 60))
    with torch.autocast("cpu", torch.bfloat16):
        assert twins[1](torch.rand(3, 60)).dtype is torch.bfloat16
    torch.testing.assert_close(twins[1].layer.kernel, twins[0].layer.kernel)


def test_inference_changes_nothing():
    x = Input((6,))
    model = Model(x, SpectralNormalization(layers.Dense(4))(x))
    before = model.get_weights()
    model.predict(np.ones((3, 6)), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert len(model.trainable_weights) == 2


def test_two_calls_before_the_backward_pass():
    layer = SpectralNormalization(layers.Dense(3, use_bias=False))
    x = torch.randn(5, 4, requires_grad=True)
    first = layer(x).sum()
    kernel = layer.layer.kernel.detach().clone()
    (first - 2 * layer(x.detach()).sum()).backward()
    torch.testing.assert_close(x.grad, kernel.sum(1).expand(5, 4))
    torch.testing.assert_close(layer.layer.module.weight.grad, -x.detach().sum(0).expand(3, 4))


def test_a_kernel_of_zeros_stays():
    layer = SpectralNormalization(layers.Dense(3, kernel_initializer="zeros"))
    assert layer(torch.ones(2, 4)).tolist() == [[0.0] * 3] * 2
    assert torch.isfinite(layer.vector_u).all()


def test_embeddings():
    layer = SpectralNormalization(layers.Embedding(5, 4), power_iterations=20)
    outputs = layer(torch.tensor([[1, 2]]))
    assert outputs.shape == (1, 2, 4) and outputs.dtype is torch.float32
    assert float(torch.linalg.matrix_norm(layer.layer.embeddings.detach(), 2)) == pytest.approx(1, abs=1e-2)


def test_it_trains_frozen_or_not():
    model = Sequential([layers.Input((4,)), SpectralNormalization(layers.Dense(3, "tanh"), trainable=False), layers.Dense(1)])
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    assert [tuple(weight.shape) for weight in model.trainable_weights] == [(1, 3), (1,)]


@pytest.mark.parametrize("inner", [layers.Flatten(), layers.TorchModuleWrapper(nn.Linear(4, 3)), layers.LSTM(3)])
def test_a_layer_without_a_kernel_is_refused(inner):
    shape = (6, 4) if isinstance(inner, layers.LSTM) else (4,)
    with pytest.raises(ValueError, match="SpectralNormalization cannot be built .* has no 'kernel' and no 'embeddings'"):
        SpectralNormalization(inner)(Input(shape))
