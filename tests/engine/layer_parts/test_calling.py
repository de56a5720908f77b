"""What happens when a layer is called: what the `call` of a subclass hands on."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential
from torchkeras_fn.engine.drawing.incoming import carried_mask, carry_mask
from torchkeras_fn.layers import GRU, LSTM, Activation, BatchNormalization, Dense, Dropout, Flatten, Layer


class AlwaysDropping(Dropout):
    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


class AlwaysDroppingByPosition(Dropout):
    def call(self, inputs, training=None):
        return super().call(inputs, True)


@pytest.mark.parametrize("layer", [AlwaysDropping, AlwaysDroppingByPosition])
def test_a_subclass_sets_the_mode_of_the_call_it_hands_on(layer):
    x = Input(shape=(100,))
    dropped = Model(x, layer(0.5)(x)).predict(np.ones((1, 100)), verbose=0)
    assert set(np.unique(dropped)) == {0.0, 2.0}


def test_a_layer_that_was_frozen_by_its_subclass_keeps_its_statistics():
    class Frozen(BatchNormalization):
        def call(self, inputs, training=None):
            return super().call(inputs, training=False)

    x = Input(shape=(3,))
    layer = Frozen()
    model = Model(x, layer(x))
    model.compile("sgd", "mse")
    model.fit(np.full((8, 3), 5.0), np.zeros((8, 3)), verbose=0)
    assert layer.moving_mean.tolist() == [0.0, 0.0, 0.0]
    assert model.training and layer.module.training


@pytest.mark.parametrize("base", [LSTM, GRU])
def test_a_recurrent_subclass_hands_on_what_it_was_given(base):
    class Handing(base):
        def call(self, inputs, mask=None, training=None, initial_state=None):
            return super().call(inputs, mask=mask, training=training, initial_state=initial_state)

    own, plain, x = Handing(4), base(4), torch.randn(2, 5, 3)
    own.build((None, 5, 3))
    plain.build((None, 5, 3))
    own.set_weights(plain.get_weights())
    mask = torch.tensor([[True, True, False, False, False], [True] * 5])
    assert torch.equal(own(x, mask=mask, training=True), plain(x, mask=mask))


def test_a_mode_that_is_not_said_is_that_of_the_layer():
    class Handing(Dropout):
        def call(self, inputs, training=None):
            return super().call(inputs, training=training)

    x = Input(shape=(3,))
    model = Model(x, Dense(3)(Handing(1.0)(x)))
    assert np.array_equal(model.predict(np.ones((1, 3))), model.predict(np.ones((1, 3))))
    assert model.predict(np.ones((1, 3))).any()


class Seeing(Dense):
    def call(self, inputs, training=None):
        self.seen = (training, self.training)
        return super().call(inputs)


class SeeingModule(Layer):
    def build(self, input_shape):
        return nn.Linear(input_shape[-1], 2)

    def call(self, inputs, training=None):
        self.seen = (training, self.training)
        return self.module(inputs)


@pytest.mark.parametrize("make", [lambda: Seeing(2), SeeingModule])
@pytest.mark.parametrize(("method", "training"), [("train_on_batch", True), ("test_on_batch", False), ("predict_on_batch", False)])
def test_a_call_of_ones_own_around_a_torch_module_is_told_the_mode_of_the_model(make, method, training):
    x, layer = Input(shape=(3,)), make()
    model = Model(x, layer(x))
    model.compile("sgd", "mse")
    getattr(model, method)(np.ones((1, 3)), *([] if "predict" in method else [np.ones((1, 2))]))
    assert layer.seen == (training, training)


@pytest.mark.parametrize("base", [lambda: (Activation, "linear"), lambda: (Flatten,)])
def test_a_call_of_ones_own_around_a_layer_without_a_module_is_told_the_mode(base):
    base, *arguments = base()

    class Own(base):
        def call(self, inputs, training=None):
            return super().call(inputs) * (2.0 if training else 1.0)

    x = Input(shape=(1,))
    model = Model(x, Own(*arguments)(x))
    model.compile("sgd", "mse", metrics=["mae"])
    given = np.ones((1, 1))
    assert (model.test_on_batch(given, 0 * given)[1], model.train_on_batch(given, 0 * given)[1]) == (1.0, 2.0)


def test_a_weight_of_an_activation_of_ones_own_is_the_models():
    class Scaled(Activation):
        def build(self, input_shape):
            self.scale = self.add_weight(name="scale", shape=(1,), initializer="ones")

        def call(self, inputs):
            return super().call(inputs) * self.scale

    x = Input(shape=(1,))
    assert list(Model(x, Scaled("tanh")(x)).state_dict()) == ["scaled_1.scale"]


class Doubled(Sequential):
    def call(self, inputs, training=None):
        return super().call(inputs, training=training) * (2.0 if training else 1.0)


class DoubledGraph(Model):
    def call(self, inputs, training=None):
        return super().call(inputs, training) * (2.0 if training else 1.0)


def doubled_graph():
    x = Input(shape=(1,))
    return DoubledGraph(x, Dense(1, kernel_initializer="ones", activity_regularizer="l1")(x))


@pytest.mark.parametrize("make", [lambda: Doubled([Dense(1, kernel_initializer="ones", activity_regularizer="l1")]), doubled_graph])
@pytest.mark.parametrize("is_nested", [False, True])
def test_the_call_of_a_drawn_model_hands_on_to_its_graph(make, is_nested):
    model = make()
    if is_nested:
        x = Input(shape=(1,))
        model = Model(x, model(x))
    model.compile("sgd", "mse", metrics=["mae"])
    given = np.ones((1, 1))
    assert model.test_on_batch(given, 0 * given) == pytest.approx([1.01, 1.0])
    assert model.train_on_batch(given, 0 * given) == pytest.approx([4.01, 2.0])


def test_a_batch_size_written_into_a_layer_of_several_inputs_is_drawn_by_its_declared_shape():
    class Mixed(Layer):
        def call(self, inputs):
            share = torch.rand(4, 1)
            return share * inputs[0] + (1 - share) * inputs[1]

        def compute_output_shape(self, input_shapes):
            return input_shapes[0]

    x, y = Input(shape=(3,)), Input(shape=(3,))
    model = Model([x, y], Mixed()([x, y]))
    assert model.output_shape == (None, 3) and model.predict([np.ones((4, 3))] * 2).shape == (4, 3)


def test_declared_shapes_of_several_outputs_are_drawn():
    class Halves(Layer):
        def call(self, inputs):
            share = torch.rand(4, 1)
            return [share * inputs, (1 - share) * inputs[:, :1]]

        def compute_output_shape(self, input_shape):
            return [input_shape, (input_shape[0], 1)]

    assert [output.shape for output in Halves()(Input(shape=(3,)))] == [(None, 3), (None, 1)]


def test_a_layer_that_ran_by_hand_and_added_a_loss_is_copied():
    class Adds(Layer):
        def call(self, inputs):
            self.add_loss(inputs.mean())
            return inputs

    layer = Adds()
    layer(torch.ones(2, 3, requires_grad=True) * 2)
    assert copy.deepcopy(layer).losses == []


@pytest.mark.parametrize("base", [Layer, Model])
def test_a_layer_made_within_a_call_has_the_mode_of_that(base):
    class Dropping(base):
        def call(self, inputs):
            return Dropout(1.0)(inputs)

    x, layer = Input(shape=(2,)), Dropping()
    model = Model(x, layer(x))
    model.compile("sgd", "mse", metrics=["mae"])
    given = np.ones((1, 2))
    assert (model.predict(given).sum(), model.train_on_batch(given, 0 * given)[1]) == (2.0, 0.0)


# ---------------------------------------------------------------------- symbolic tensors that are not among the arguments


class Weighing(Layer):
    def __init__(self, shares):
        super().__init__()
        self.shares = [shares]

    def call(self, inputs):
        return inputs * self.shares[0]


def test_a_layer_that_uses_a_symbolic_tensor_besides_its_arguments_says_so():
    with pytest.raises(ValueError, match="Weighing uses symbolic tensors that are not among its arguments. Give them to it"):
        Weighing(Input((3,)))(Input((3,)))


def test_a_layer_that_returns_a_symbolic_tensor_besides_its_own_says_so():
    class Both(Weighing):
        def call(self, inputs):
            return [inputs + 1, self.shares[0]]

    with pytest.raises(ValueError, match="Both uses symbolic tensors"):
        Both(Input((3,)))(Input((3,)))


class Marking(Layer):
    """Makes a mask of its own."""

    def call(self, inputs):
        return inputs * 2

    def compute_mask(self, inputs, mask=None):
        return inputs.ne(0).any(-1)


def test_a_users_layer_called_by_hand_makes_its_mask_of_inputs_without_one():
    inputs = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert carried_mask(Dense(2)(Marking()(inputs))).tolist() == [[True, False]]


def test_a_mask_made_inside_a_layer_that_says_nothing_of_masks_goes_before_the_one_that_came():
    class Passing(Layer):
        supports_masking = True

        def __init__(self):
            super().__init__()
            self.marking = Marking()

        def call(self, inputs):
            return self.marking(inputs)

    inputs = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    carry_mask(inputs, torch.tensor([[True, True]]))
    assert carried_mask(Passing()(inputs)).tolist() == [[True, False]]


@pytest.mark.parametrize("x", [torch.ones(2, 3), Input(shape=(3,))], ids=["tensor", "symbolic"])
def test_inputs_under_another_name_are_refused(x):
    with pytest.raises(TypeError, match=r"Dense is called with its inputs first, layer\(inputs\). It was given \['x'\]"):
        Dense(2)(x=x)
