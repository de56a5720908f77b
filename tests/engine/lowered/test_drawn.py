"""A model called by hand, in the `call` of another: what it is told of masks, and what it tells of them and of the loss."""

import copy

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Sequential, regularizers
from torchkeras_fn.engine.drawing.incoming import carried_mask
from torchkeras_fn.layers import LSTM, BatchNormalization, Dense, Dropout, Embedding, Masking
from torchkeras_fn.models import clone_model

INDICES = torch.tensor([[1, 2, 0, 0], [3, 0, 0, 0]])
IS_THERE = INDICES != 0


def recurrent():
    x = Input(shape=(4, 3))
    return Model(x, LSTM(2)(x))


class Inside(Model):
    """Runs a drawn model on what another makes."""

    def __init__(self, first, then):
        super().__init__()
        self.first, self.then = first, then

    def call(self, inputs):
        return self.then(self.first(inputs))


def first_steps(model, vectors):
    """What a recurrent model gives where it is handed the steps that are there, each row by itself."""
    return torch.cat([model(row[:length][None]) for row, length in zip(vectors, IS_THERE.sum(1).tolist(), strict=True)])


def test_an_output_carries_the_mask_that_a_layer_of_the_graph_made():
    model = Sequential([Embedding(6, 3, mask_zero=True), Dense(3)])
    assert torch.equal(carried_mask(model(INDICES)), IS_THERE)


def test_the_mask_of_an_input_goes_through_the_graph():
    x = Input(shape=(4, 3))
    model = Model(x, Dense(2)(x))
    assert torch.equal(carried_mask(model(Embedding(6, 3, mask_zero=True)(INDICES))), IS_THERE)


def test_the_mask_of_an_input_reaches_the_layers_inside():
    model, vectors = recurrent(), Embedding(6, 3, mask_zero=True)(INDICES)
    torch.testing.assert_close(model(vectors), first_steps(model, vectors))


def test_a_mask_that_is_given_to_the_call_reaches_the_layers_inside():
    model, vectors = recurrent(), torch.randn(2, 4, 3)
    torch.testing.assert_close(model(vectors, mask=IS_THERE.numpy()), first_steps(model, vectors))


def test_each_of_several_inputs_has_its_own_mask():
    x, y = Input(shape=(4, 3)), Input(shape=(4, 3))
    model = Model([x, y], [Dense(2)(x), Dense(2)(y)])
    outputs = model([torch.ones(2, 4, 3), Masking()(IS_THERE[..., None] * torch.ones(3))])
    first, second = carried_mask(outputs)
    assert first is None and torch.equal(second, IS_THERE)


def test_masks_for_another_number_of_inputs_are_refused():
    with pytest.raises(ValueError, match="one mask for each of the 1 inputs"):
        recurrent()(torch.ones(2, 4, 3), mask=[IS_THERE, IS_THERE])


def test_a_subclass_hands_the_mask_of_its_input_to_its_graph():
    class Own(Model):
        def call(self, inputs, training=None):
            return super().call(inputs, training=training)

    x = Input(shape=(4, 3))
    model, vectors = Own(x, LSTM(2)(x)), Embedding(6, 3, mask_zero=True)(INDICES)
    torch.testing.assert_close(model(vectors), first_steps(recurrent_of(model), vectors))


def recurrent_of(model):
    return model.layers[-1]


def test_a_copy_of_a_model_that_was_run_goes_on_with_its_own_weights():
    model = Inside(Sequential([Embedding(6, 3, mask_zero=True)]), recurrent())
    expected = model(INDICES)
    other = copy.deepcopy(model)
    other.set_weights([np.zeros_like(weight) for weight in other.get_weights()])
    torch.testing.assert_close(model(INDICES), expected)


def test_a_model_that_was_run_may_be_cast():
    model = Inside(Sequential([Embedding(6, 3, mask_zero=True), Dense(3)]), recurrent())
    expected = model(INDICES)
    torch.testing.assert_close(model.double()(INDICES), expected.double())


def test_what_a_regularizer_asks_for_outputs_counts_in_the_loss_of_the_model_around():
    x, y = np.ones((2, 3), "float32"), np.zeros((2, 2), "float32")
    inner = Sequential([Dense(2, activity_regularizer="l2", input_shape=(3,))])
    alone = Sequential([inner])
    around = Inside(inner, Dense(2, kernel_initializer="identity"))
    for model in (alone, around):
        model.compile("sgd", "mse")
    assert around.evaluate(x, y, verbose=0) == pytest.approx(alone.evaluate(x, y, verbose=0))


def test_a_model_called_by_hand_tells_what_its_regularizers_ask_for():
    model = Sequential([Dense(2, kernel_initializer="ones", activity_regularizer="l2", input_shape=(3,))])
    model(torch.ones(1, 3))
    torch.testing.assert_close(model.losses, [torch.tensor(0.01 * 18)])


def test_a_model_without_masks_and_terms_runs_its_inference_view_alone():
    model = Sequential([Dense(2, input_shape=(3,))])
    for _ in range(2):
        model(torch.ones(1, 3))
    assert {"inference"} <= set(model._views) and "complete" not in model._views


def test_settings_of_layers_that_are_set_anew_count_in_models_and_their_copies():
    inner = Sequential([Dense(3, activation="relu", input_shape=(2,)), Dropout(0.5), BatchNormalization()])
    model = Sequential([inner])
    ones = torch.ones(4, 2)
    model.predict(ones)
    dense, dropout, normalization = inner.layers
    dense.activation, dropout.rate = torch.zeros_like, 1.0
    normalization.momentum, normalization.epsilon, dense.kernel_regularizer = 0.25, 4.0, regularizers.L2(0.5)
    assert not model.predict(ones).any()
    assert normalization.module.momentum == 0.75
    dense.activation = None
    copy_of_it = clone_model(model)
    copy_of_it.set_weights(model.get_weights())
    expected = dense.get_weights()[0].sum(0) / np.sqrt(5.0)
    for found in (model, copy_of_it):
        assert found.predict(ones)[0] == pytest.approx(expected, rel=1e-5)
        dense, dropout, normalization = found.layers[0].layers
        assert (dropout.module.p, normalization.module.momentum, dense.kernel_regularizer.l2) == (1.0, 0.75, 0.5)
