"""`clone_model`: the same layers with new weights, on new inputs or given ones, made by a function of the user's."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, initializers, layers
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.models import clone_model, load_model


class Own(Layer):
    """Not registered anywhere: a clone needs no names."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor


def drawn():
    a, b = Input(shape=(4,), name="a"), Input(shape=(4,), name="b")
    shared = layers.Dense(3, name="shared")
    inner_x = Input(shape=(3,))
    inner = Model(inner_x, shared_inside(inner_x), name="inner")
    joined = layers.add([inner(shared(a)), inner(shared(b))])
    model = Model([a, b], [layers.Dense(2, name="end")(Own(2.0)(joined)), torch.relu(joined)], name="whole")
    model.add_loss(torch.square(joined).mean())
    model.add_metric(joined.mean(), "mean")
    return model


def shared_inside(x):
    return layers.Dense(3, name="inside", trainable=False)(layers.Lambda(lambda x: x + 1)(x))


def saved_and_loaded(model):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return load_model(file)


def test_the_clone_is_equal_but_for_its_weights():
    model = drawn()
    twin = clone_model(model)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert not any(a is b for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert not torch.equal(next(twin.parameters()), next(model.parameters()))
    assert not twin.get_layer("inner").get_layer("inside").trainable
    twin.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    for one, other in zip(model.predict([x, -x]), twin.predict([x, -x]), strict=True):
        assert np.array_equal(one, other)
    for each in (model, twin):
        each.compile("sgd", "mse")
    y = [np.ones((2, 2)), np.ones((2, 3))]
    assert model.evaluate([x, -x], y, verbose=0) == twin.evaluate([x, -x], y, verbose=0)


@pytest.mark.parametrize("copied", [clone_model, copy.deepcopy, saved_and_loaded])
def test_a_model_that_begins_in_the_middle_of_a_drawing_is_copied_without_what_is_in_front(copied):
    h = layers.Dense(4, name="in_front")(Input(shape=(3,)))
    model = Model(h, layers.Dense(2, name="behind")(h))
    twin = copied(model)
    assert [type(layer).__name__ for layer in twin.layers] == ["InputLayer", "Dense"]
    twin.set_weights(model.get_weights())
    x = np.ones((1, 4), "float32")
    assert np.array_equal(twin.predict(x), model.predict(x))


def test_input_tensors_take_the_place_of_the_inputs():
    model = drawn()
    given = Input(shape=(4,), name="given")
    twin = clone_model(model, [given, -given])
    assert twin.inputs[0] is given
    alone = clone_model(Sequential([layers.Dense(2, input_shape=(4,))]), input_tensors=given)
    assert alone.input_names == ["given"]


@pytest.mark.parametrize("make", [drawn, lambda: Sequential([layers.Dense(2, input_shape=(4,)), Own(1.0)])])
def test_a_function_makes_the_layers(make):
    seen = []

    def function(layer):
        seen.append(type(layer).__name__)
        if isinstance(layer, layers.Dense):
            return layers.Dense(layer.units, use_bias=False, name=layer.name)
        return layer if isinstance(layer, Model) else type(layer).from_config(layer.get_config())

    twin = clone_model(make(), clone_function=function)
    assert "InputLayer" not in seen and "Dense" in seen and "Own" in seen
    assert [layer.use_bias for layer in twin.layers if isinstance(layer, layers.Dense)].count(True) == 0


def test_a_stack_without_an_input_stays_one():
    twin = clone_model(Sequential([layers.Dense(2), layers.Dense(1)], name="s"))
    assert twin.graph is None and twin.name == "s"
    assert twin.predict(np.ones((1, 3))).shape == (1, 1)


def test_wrapped_modules_are_not_shared():
    model = Sequential([layers.TorchModuleWrapper(nn.Linear(4, 2), input_shape=(4,)), layers.Dense(1)])
    twin = clone_model(model)
    assert not torch.equal(twin.layers[0].module.weight, model.layers[0].module.weight)


class Net(Model):
    def __init__(self, units):
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x):
        return self.dense(x)


class OwnGRU(layers.GRU):
    """Not registered anywhere either."""


class OwnCell(layers.GRUCell):
    """Not registered anywhere either."""


class Twos(initializers.Initializer):
    """Not registered anywhere either."""

    def __call__(self, shape, dtype=None):
        return torch.full(tuple(shape), 2.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RNN(OwnCell(2)),
        lambda: layers.RNN([OwnCell(3), OwnCell(2)]),
        lambda: layers.Bidirectional(OwnGRU(2)),
        lambda: layers.TimeDistributed(Own(2.0)),
        lambda: layers.Dense(2, kernel_initializer=Twos()),
        lambda: layers.RNN(OwnCell(2, kernel_initializer=Twos())),
    ],
)
def test_classes_of_the_users_own_inside_of_a_layer_need_no_names(make):
    x = Input((4, 3))
    model = Model(x, make()(x))
    twin = clone_model(model)
    twin.set_weights(model.get_weights())
    data = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_array_equal(twin.predict(data), model.predict(data))
    assert [type(layer) for layer in twin.layers[1].sublayers()] == [type(layer) for layer in model.layers[1].sublayers()]


def test_a_model_with_its_own_call_is_made_by_its_constructor():
    assert clone_model(Net(5)).dense.units == 5
    with pytest.raises(ValueError, match="made by its constructor"):
        clone_model(Net(5), clone_function=lambda layer: layer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": nn.Linear(1, 1)}, "needs a Model"),
        ({"clone_function": 3}, "function from a layer"),
        ({"clone_function": lambda layer: None}, "no layer"),
        ({"input_tensors": torch.ones(1, 4)}, "symbolic"),
        ({"input_tensors": [Input(shape=(4,))]}, "1 entries, but the model has 2 inputs"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        clone_model(**{"model": drawn(), **arguments})


@pytest.mark.parametrize("copied", [clone_model, lambda stack: Sequential.from_config(stack.get_config())])
def test_copies_of_stacks_stand_side_by_side_in_one_model(copied):
    """Nobody named their inputs, which are no layers of a stack that somebody could rename."""
    stack = Sequential([layers.Dense(2, input_shape=(3,))])
    copies = [copied(stack), copied(stack)]
    model = Model([copy.input for copy in copies], [copy.output for copy in copies])
    assert model.input_names == ["input_1", "input_2"]


@pytest.mark.parametrize("copied", [clone_model, lambda stack: Sequential.from_config(stack.get_config())])
def test_the_input_of_the_copy_of_a_stack_has_the_name_it_was_given(copied):
    assert copied(Sequential([Input((3,), name="pixels"), layers.Dense(2)])).input_names == ["pixels"]
