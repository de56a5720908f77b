"""What happens when a layer is called: what the `call` of a subclass hands on."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model
from torchkeras_fn.layers import GRU, LSTM, BatchNormalization, Dense, Dropout, Layer


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
