"""`Made`: configurations, users' constructors, and what is said of a mistake in the arguments."""

import inspect

import numpy as np
import pytest

from torchkeras_fn import Model
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.layers import LSTM, Dense, Dropout, Embedding, Flatten, Input


class Own(Layer):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width


@pytest.mark.parametrize(
    "layer", [Dense(4, "relu", kernel_regularizer="l2"), Dropout(0.3, seed=1), Embedding(5, 2, mask_zero=True), Own(4)]
)
def test_a_config_makes_an_equal_layer(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_a_config_holds_name_and_trainable_and_no_weights():
    config = Dense(1, name="digit", trainable=False, weights=[np.ones((3, 1)), np.ones(1)]).get_config()
    assert (config["name"], config["trainable"], "weights" in config) == ("digit", False, False)


class Adding(Own):
    def get_config(self):
        return dict(width=self.width, **super().get_config())


class Wider(Dense):
    def __init__(self, factor, units, **kwargs):
        super().__init__(units * factor, **kwargs)
        self.factor = factor

    def get_config(self):
        return dict(factor=self.factor, **super().get_config())

    @classmethod
    def from_config(cls, config):
        return cls(config.pop("factor"), **config)


@pytest.mark.parametrize("layer", [Adding(4, name="own"), Wider(2, 3, activation="relu")])
def test_a_config_that_adds_to_that_of_the_parent_is_given_what_the_parent_takes(layer):
    config = layer.get_config()
    again = type(layer).from_config(dict(config))
    assert again.name == layer.name and again.get_config() == config


class Narrow(Layer):
    def __init__(self, units):
        super().__init__()
        self.inner = Dense(units)

    def call(self, inputs):
        return self.inner(inputs)


class NarrowModel(Model):
    def __init__(self, units):
        super().__init__()
        self.inner = Dense(units)

    def call(self, inputs):
        return self.inner(inputs)


@pytest.mark.parametrize("kind", [Narrow, NarrowModel])
def test_a_class_whose_constructor_takes_neither_name_nor_trainable_is_made_from_its_configuration(kind):
    layer = kind(3)
    layer.name, layer.trainable = "narrow", False
    twin = kind.from_config(layer.get_config())
    assert (twin.inner.units, twin.name, twin.trainable) == (3, "narrow", False)


def test_the_arguments_of_a_class_can_be_read():
    assert list(inspect.signature(Dense).parameters)[:3] == ["units", "activation", "use_bias"]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Dense(-1), ValueError, r"Dense: 'units' must be an integer of at least 1, got -1"),
        (lambda: Dense(3, activation="rellu", name="a"), ValueError, r"a \(Dense\): Unknown activation 'rellu'. Did you mean 'relu'"),
        (lambda: Dense(), TypeError, r"^Dense.__init__\(\) missing 1 required positional argument: 'units'$"),
        (lambda: Dense(unit=3), TypeError, r"argument: 'units'. Did you mean 'units' in place of 'unit'\?$"),
        (lambda: Dense(3, bias=False), TypeError, "Did you mean 'use_bias' or 'bias_initializer' or .* in place of 'bias'"),
        (lambda: Dense(3, W_regularizer="l2"), TypeError, "argument 'W_regularizer'. Its arguments are units, activation, .*, weights.$"),
        (lambda: Model(input=Input((3,))), TypeError, "Did you mean 'inputs' in place of 'input'"),
        (lambda: Flatten(Input((3,))), TypeError, r"^Flatten: .* A layer is made first, and then called on tensors: layer = Layer"),
        (lambda: LSTM(Input((3, 2))), ValueError, r"got <KerasTensor [^.]*\. A layer is made first, [^.]*\.\.\.\); layer\(tensor\)\.$"),
        (lambda: Model(Input((3,)), Dense(3)), ValueError, r"got <Dense \(unnamed\)>\.$"),
    ],
)
def test_a_mistake_in_the_arguments_names_the_layer(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_a_constructor_that_leaves_out_the_base_class_is_told():
    class Forgetful(Layer):
        def __init__(self):
            self.inner = Dense(2)

    with pytest.raises(RuntimeError, match=r"Forgetful\.__init__ has to call super\(\)\.__init__\(\)"):
        Forgetful()
