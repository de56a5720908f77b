"""`BatchNormalization`: statistics and gradients against their formula, any axis and rank, frozen, and tiny batches."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, layers
from torchkeras_fn.layers import BatchNormalization


def by_formula(x, axis, epsilon=1e-3):
    axes = [a for a in range(x.ndim) if a != axis % x.ndim]
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
    return (x - mean) / (variance + epsilon).sqrt(), mean.flatten(), variance.flatten()


@pytest.mark.parametrize(
    ("shape", "axis"), [((4,), -1), ((6, 4), -1), ((6, 4), 1), ((3, 5, 2), -1), ((3, 5, 2), 1), ((3, 5, 2), 2), ((2, 2, 2, 3), 4)]
)
def test_training_normalizes_with_the_batch_and_moves_the_statistics(shape, axis):
    x = Input(shape=shape)
    layer = BatchNormalization(axis=axis, momentum=0.9)
    model = Model(x, layer(x)).train()
    data = torch.randn(7, *shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    expected, mean, variance = by_formula(data, axis)
    torch.testing.assert_close(model(data), expected, rtol=1e-4, atol=1e-5)
    _, _, moving_mean, moving_variance = map(torch.tensor, layer.get_weights())
    torch.testing.assert_close(moving_mean, 0.1 * mean)
    torch.testing.assert_close(moving_variance, 0.9 + 0.1 * variance)


def test_statistics_move_step_by_step():
    layer = BatchNormalization(momentum=0.5)
    mean, variance = torch.zeros(3), torch.ones(3)
    for seed in range(4):
        data = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed)) + seed
        layer.train()(data)
        mean = 0.5 * mean + 0.5 * data.mean(0)
        variance = 0.5 * variance + 0.5 * data.var(0, unbiased=False)
    torch.testing.assert_close(torch.tensor(layer.get_weights()[2]), mean)
    torch.testing.assert_close(torch.tensor(layer.get_weights()[3]), variance)


def test_inference_uses_the_moving_statistics():
    layer = BatchNormalization(epsilon=0.01)
    layer(torch.ones(2, 3))
    gamma, beta, mean, variance = (np.array(part, "float32") for part in ([1, 2, 3], [0, 1, 0], [1, 1, 0], [1, 4, 9]))
    layer.set_weights([gamma, beta, mean, variance])
    data = torch.randn(4, 3)
    expected = (data - torch.tensor(mean)) / (torch.tensor(variance) + 0.01).sqrt() * torch.tensor(gamma) + torch.tensor(beta)
    torch.testing.assert_close(layer.eval()(data), expected)


def test_inference_moves_nothing():
    layer = BatchNormalization()
    layer(torch.ones(2, 3))
    before = layer.get_weights()
    layer.eval()(torch.randn(4, 3))
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


def test_gradients_are_right():
    layer = BatchNormalization(dtype="float64")
    data = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer.train(), (data,))


def test_a_batch_of_one_is_normalized_to_beta():
    layer = BatchNormalization(momentum=0.9, beta_initializer="ones")
    torch.testing.assert_close(layer.train()(torch.full((1, 3), 5.0)), torch.ones(1, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.tensor(layer.get_weights()[2]), torch.full((3,), 0.5))
    torch.testing.assert_close(torch.tensor(layer.get_weights()[3]), torch.full((3,), 0.9))


def test_gradients_flow_back_from_a_batch_of_one():
    data = torch.ones(1, 3, requires_grad=True)
    BatchNormalization().train()(data).sum().backward()
    assert data.grad.tolist() == [[0, 0, 0]]


def test_a_frozen_layer_stays_in_inference_mode_while_training():
    layer = BatchNormalization(trainable=False)
    data = torch.randn(4, 3)
    torch.testing.assert_close(layer.train()(data), data / np.sqrt(1.001))
    assert (layer.get_weights()[2] == 0).all()


def test_freezing_and_unfreezing_a_built_layer():
    layer = BatchNormalization()
    data = torch.randn(4, 3) + 5
    layer(data[:0])
    layer.trainable = False
    assert layer.train()(data).mean().item() > 1
    layer.trainable = True
    assert layer.train()(data).mean().item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, ["gamma", "beta", "moving_mean", "moving_variance"]),
        ({"scale": False}, ["beta", "moving_mean", "moving_variance"]),
        ({"center": False}, ["gamma", "moving_mean", "moving_variance"]),
    ],
)
def test_weights_by_name(arguments, names):
    layer = BatchNormalization(**arguments)
    layer(torch.ones(2, 3))
    assert [weight.name for weight in layer.named_weights()] == names
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (len(names) - 2, 2)


def test_a_frozen_layer_has_no_trainable_weights():
    layer = BatchNormalization()
    layer(torch.ones(2, 3))
    layer.trainable = False
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (0, 4)


@pytest.mark.parametrize("axis", [0, 3, -4])
def test_what_is_no_axis_of_the_features_is_named(axis):
    with pytest.raises(ValueError, match=f"'axis' must be an axis of the input other than the batch, got {axis}"):
        BatchNormalization(axis=axis)(Input(shape=(3, 4)))


def test_the_number_of_features_must_be_known():
    with pytest.raises(ValueError, match="the size of axis 1 must be known, got None"):
        BatchNormalization(axis=1)(Input(shape=(None, 4)))


def test_an_axis_in_a_list():
    assert BatchNormalization(axis=[-1])(Input(shape=(3, 4))).shape == (None, 3, 4)


def test_integers_become_floats():
    assert BatchNormalization()(torch.ones(2, 3, dtype=torch.uint8)).dtype is torch.float32


def test_an_unknown_length_is_no_obstacle():
    x = Input(shape=(None, 4))
    assert Model(x, BatchNormalization()(x)).train()(torch.randn(2, 5, 4)).shape == (2, 5, 4)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("trainable", [True, False])
def test_statistics_leave_out_what_a_mask_hides(axis, trainable):
    data = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 0]], dtype=torch.bool)
    layer = BatchNormalization(axis=axis, momentum=0.5, trainable=trainable)
    outputs = layer(data, mask=mask, training=True)
    over = [0, 1] if axis == -1 else [0, 2]
    shown = mask.unsqueeze(-1).expand_as(data).float()
    mean = (data * shown).sum(over, keepdim=True) / shown.sum(over, keepdim=True)
    variance = ((data - mean).square() * shown).sum(over, keepdim=True) / shown.sum(over, keepdim=True)
    if not trainable:
        mean, variance = torch.zeros(1), torch.ones(1)
    else:
        torch.testing.assert_close(layer.moving_mean, 0.5 * mean.flatten())
        torch.testing.assert_close(layer.moving_variance, 0.5 + 0.5 * variance.flatten())
    torch.testing.assert_close(outputs, (data - mean) / (variance + 1e-3).sqrt())


def test_a_mask_of_steps_of_images_counts_for_every_pixel():
    layer = BatchNormalization(momentum=0.0)
    layer(torch.arange(8.0).reshape(1, 2, 2, 2, 1), mask=torch.tensor([[True, False]]), training=True)
    assert layer.moving_mean.item() == pytest.approx(1.5)


def test_synchronized_statistics_are_those_of_the_batch_in_one_process():
    layer, data = BatchNormalization(synchronized=True), torch.randn(4, 3)
    torch.testing.assert_close(layer(data, training=True), BatchNormalization()(data, training=True))
    assert layer.get_config()["synchronized"] is True


@pytest.mark.parametrize("of", [lambda model: model, lambda model: nn.Sequential(OrderedDict(batch_normalization_1=nn.BatchNorm1d(5)))])
def test_the_statistics_are_loaded_from_a_plain_dict_and_from_torchs_layer(of):
    model = Sequential([Input((5,)), BatchNormalization()])
    state = {name: torch.rand_like(value, dtype=torch.float32) for name, value in of(model).state_dict().items()}
    assert not model.load_state_dict(state).unexpected_keys
    assert torch.equal(model.state_dict()["batch_normalization_1.running_var"], state["batch_normalization_1.running_var"])


@pytest.mark.parametrize("is_nested", [False, True])
def test_freezing_reaches_a_call_in_a_fixed_training_mode(is_nested):
    x, layer = Input(shape=(3,)), BatchNormalization()
    model = Model(x, layer(x, training=True))
    if is_nested:
        inner = Model(x, layer(x))
        model = Model(x, inner(x, training=True))
    data = np.random.RandomState(0).rand(8, 3)
    model.predict(data)
    layer.set_weights([np.ones(3), np.zeros(3), np.zeros(3), np.ones(3)])
    layer.trainable = False
    np.testing.assert_allclose(model.predict(data), data / np.sqrt(1.001), rtol=1e-5)


def test_freezing_reaches_a_sequential_inside_a_layer_of_ones_own():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Sequential([BatchNormalization()])

        def call(self, inputs):
            return self.inner(inputs)

    x, block = Input(shape=(3,)), Block()
    model = Model(x, block(x))
    block.trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.train_on_batch(np.random.RandomState(0).rand(8, 3), np.zeros((8, 3)))
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
