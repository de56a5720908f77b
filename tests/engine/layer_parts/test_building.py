"""What a user's class builds beside the built-in layer that it extends: weights and layers of its own, in Keras' order."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, backend, initializers
from torchkeras_fn.layers import GRU, LSTM, BatchNormalization, Bidirectional, Concatenate, Conv1D, Dense, Layer


class Extended(Dense):
    """Keeps weights and layers made before, in and after the building of the layer that it extends."""

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.blocks = [Dense(units, use_bias=False, kernel_initializer="identity")]
        self.first = self.add_weight(name="first", shape=(units,), initializer="ones")

    def build(self, input_shape):
        self.second = self.add_weight(name="second", shape=(input_shape[-1], 1), initializer="ones")
        super().build(input_shape)
        self.third = self.add_weight(name="third", shape=self.kernel.shape, initializer="ones")

    def call(self, inputs):
        return self.blocks[0](super().call(inputs * self.second[:, 0]) * self.first) + inputs @ self.third


def extended():
    x = Input(shape=(3,))
    return Model(x, Extended(2)(x))


def test_weights_of_a_subclass_stand_in_the_order_in_which_keras_has_them():
    assert [weight.shape for weight in extended().get_weights()] == [(2,), (3, 1), (3, 2), (2,), (3, 2), (2, 2)]


def test_weights_of_a_subclass_are_all_trained():
    model = extended()
    before = model.get_weights()
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((4, 3)), np.full((4, 2), 9.0))
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


def test_weights_of_a_subclass_are_those_of_the_torch_model():
    model = extended()
    names = ("first", "second", "third", "weight", "bias", "blocks_0.weight")
    assert sorted(model.state_dict()) == sorted(f"extended_1.{name}" for name in names)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
def test_copies_of_a_subclass_take_its_weights_along(copied):
    model, x = extended(), np.ones((2, 3))
    model.set_weights([np.full(weight.shape, 0.5) for weight in model.get_weights()])
    assert np.array_equal(copied(model).predict(x), model.predict(x))


def test_weights_of_a_subclass_move_with_the_torch_module():
    layer = extended().layers[1].double()
    assert layer.first.dtype is layer.blocks[0].kernel.dtype is torch.float64


@pytest.mark.parametrize("make", [lambda: (LSTM, 4), lambda: (GRU, 4), lambda: (Bidirectional, LSTM(2)), lambda: (Conv1D, 4, 5)])
def test_layers_of_a_subclass_come_behind_the_weights_of_what_it_extends(make):
    base, *arguments = make()

    class Own(base):
        def __init__(self):
            super().__init__(*arguments)
            self.last = Dense(7, trainable=False)

        def call(self, inputs):
            return self.last(super().call(inputs))

    x = Input(shape=(5, 3))
    layer = Own()
    model = Model(x, layer(x))
    assert [weight.shape for weight in model.get_weights()[-2:]] == [(4, 7), (7,)]
    assert layer.last in layer.sublayers() and [tuple(weight.shape) for weight in model.non_trainable_weights] == [(7, 4), (7,)]


def test_weights_that_can_be_trained_stand_before_statistics_in_a_subclass_too():
    class Own(BatchNormalization):
        def build(self, input_shape):
            super().build(input_shape)
            self.factor = self.add_weight(name="factor", shape=(1,), initializer="ones")

    layer = Own()
    layer(torch.ones(2, 3))
    assert [weight.name for weight in layer.named_weights()] == ["gamma", "beta", "factor", "moving_mean", "moving_variance"]


def test_a_weight_named_as_a_part_of_the_torch_module_is_refused():
    class Own(Dense):
        def build(self, input_shape):
            self.weight = self.add_weight(name="weight", shape=(1,))
            super().build(input_shape)

    with pytest.raises(ValueError, match="'weight' is what Linear calls a part of its own"):
        Own(2)(Input(shape=(3,)))


def test_a_weight_beside_a_torch_module_of_ones_own_is_kept():
    class Scaled(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(name="scale", shape=(2,), initializer="ones")
            return nn.Linear(input_shape[-1], 2)

        def call(self, inputs):
            return self.module(inputs) * self.scale

    x = Input(shape=(3,))
    assert len(Model(x, Scaled()(x)).trainable_weights) == 3


def test_weights_are_in_the_order_in_which_layers_were_kept_in_lists_and_attributes():
    class Blocks(Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Dense(3), Dense(4)]
            self.middle = Dense(5)
            self.named = {"a": Dense(6)}
            self.last = Dense(7)

        def call(self, inputs):
            for layer in [*self.blocks, self.middle, self.named["a"], self.last]:
                inputs = layer(inputs)
            return inputs

    model = Blocks()
    model(torch.ones(1, 2))
    assert [weight.shape for weight in model.get_weights()[::2]] == [(2, 3), (3, 4), (4, 5), (5, 6), (6, 7)]


class Attention(Layer):
    """As on many pages for Keras 1: it says which of its tensors are weights."""

    def build(self, input_shape):
        self.scale = backend.variable(np.ones(input_shape[-1]))
        self.shift = initializers.get("zeros")((input_shape[-1],))
        self.trainable_weights = [self.scale, self.shift]

    def call(self, inputs):
        return inputs * self.scale + self.shift


def test_tensors_said_to_be_trainable_weights_are_trained():
    x = Input(shape=(3,))
    model = Model(x, Attention()(x))
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 3)), np.zeros((2, 3)))
    assert [bool((weight == start).any()) for weight, start in zip(model.get_weights(), (1, 0), strict=True)] == [False, False]


class Appending(Attention):
    def build(self, input_shape):
        self.scale = backend.variable(np.ones(input_shape[-1]))
        self.shift = backend.variable(np.zeros(input_shape[-1]))
        self.trainable_weights.append(self.scale)
        self.non_trainable_weights.append(self.shift)


class Extending(Appending):
    def build(self, input_shape):
        self.scale = backend.variable(np.ones(input_shape[-1]))
        self.shift = backend.variable(np.zeros(input_shape[-1]))
        self.trainable_weights += [self.scale]
        self.non_trainable_weights += [self.shift]


@pytest.mark.parametrize("layer", [Appending, Extending])
def test_tensors_added_to_the_lists_of_weights_while_a_layer_is_built_are_weights(layer):
    x = Input(shape=(3,))
    model = Model(x, layer()(x))
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 3)), np.zeros((2, 3)))
    scale, shift = model.get_weights()
    assert (bool((scale == 1).any()), shift.tolist()) == (False, [0, 0, 0])


@pytest.mark.parametrize("layer", [Appending, Extending])
def test_tensors_added_to_the_lists_of_weights_are_named_after_their_attributes(layer):
    built = layer()
    built(torch.ones(2, 3))
    assert [*built.state_dict()] == ["scale", "shift"]


def test_tensors_without_memory_added_to_the_lists_of_weights_are_weights_each():
    class Counting(Layer):
        def build(self, input_shape):
            self.seen, self.kept = torch.zeros(input_shape[-1]), torch.ones(input_shape[-1])
            self.non_trainable_weights.append(self.seen)
            self.non_trainable_weights.append(self.kept)

    layer = Counting()
    with torch.device("meta"):
        layer.build((None, 3))
    assert [*layer.state_dict()] == ["seen", "kept"]


def test_a_weight_added_to_those_that_are_not_trained_is_frozen():
    class Kept(Attention):
        def build(self, input_shape):
            self.scale, self.shift = self.add_weight("scale", (3,)), self.add_weight("shift", (3,))
            self.non_trainable_weights.append(self.scale)

    layer = Kept()
    layer(torch.ones(2, 3))
    assert [weight is layer.shift for weight in layer.trainable_weights] == [True]


def test_a_trainable_weight_that_no_attribute_holds_is_refused():
    with pytest.raises(ValueError, match="holds a tensor that none of its attributes does"):
        Layer().trainable_weights = [torch.ones(2)]


def test_weights_of_a_layer_in_two_attributes_are_there_once():
    class Twice(Layer):
        def __init__(self):
            super().__init__()
            self.encode = Dense(3)
            self.again = self.encode

        def call(self, inputs):
            return self.again(self.encode(inputs))

    layer = Twice()
    layer(torch.ones(1, 3))
    assert [weight.shape for weight in layer.get_weights()] == [(3, 3), (3,)]


@pytest.mark.parametrize("shape", [[None, 3], (None, 3), [None, 5, 3], torch.Size([2, 3])])
def test_a_shape_may_be_a_list_of_sizes(shape):
    layer = Dense(2)
    layer.build(shape)
    assert layer.kernel.shape == (3, 2)


def test_shapes_may_be_lists_of_sizes_in_a_list():
    layer = Concatenate()
    layer.build([[None, 3], [None, 4]])
    assert layer.built
