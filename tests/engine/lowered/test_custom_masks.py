"""Masks that layers of a user's compute or pass on in a drawn model."""

import numpy as np
import pytest

from torchkeras_fn import Input, Model
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.layers import GRU, LSTM, Concatenate, Dense, Embedding, GlobalMaxPooling1D


class WithItsTable(Layer):
    """Looks up rows of a table, and returns it too; the rows have a mask."""

    def build(self, input_shape):
        self.table = self.add_weight(name="table", shape=(4, 2), initializer="ones")

    def call(self, inputs):
        return [self.table[inputs], self.table + 0.0]

    def compute_mask(self, inputs, mask=None):
        return [inputs != 0, None]


def check_that_zeros_are_hidden(model, x, y):
    """The loss of a model that predicts 1 everywhere is that of the places where the first input is not 0."""
    model.compile("sgd", "mse")
    keep = x[0] != 0 if isinstance(x, list) else x != 0
    assert model.evaluate(x, y, verbose=0) == pytest.approx(np.mean(((y - 1) ** 2)[keep]))


def test_each_output_of_a_layer_has_its_own_mask():
    x = Input((3,), dtype="int64")
    rows, _ = WithItsTable()(x)
    words, targets = np.array([[1, 2, 0], [3, 0, 0]]), np.arange(12.0).reshape(2, 3, 2)
    check_that_zeros_are_hidden(Model(x, rows), words, targets)


@pytest.mark.parametrize("hidden", [(True, False), (True, True)])
def test_the_first_of_several_masks_is_that_of_the_output(hidden):
    class Product(Layer):
        supports_masking = True

        def call(self, inputs):
            return inputs[0] * inputs[1]

    x = [Input((3,), dtype="int64"), Input((3,), dtype="int64")]
    embedded = [Embedding(5, 2, "ones", mask_zero=hides)(each) for each, hides in zip(x, hidden, strict=True)]
    words, targets = np.array([[1, 2, 0], [3, 0, 0]]), np.arange(12.0).reshape(2, 3, 2)
    check_that_zeros_are_hidden(Model(x, Product()(embedded)), [words, words[::-1]], targets)


class Marked(Embedding):
    """A subclass with nothing but a mask of its own."""

    def compute_mask(self, inputs, mask=None):
        return inputs > 1


@pytest.mark.parametrize("base", [GRU, LSTM, Embedding])
def test_subclasses_without_a_call_of_their_own_run_as_their_base(base):
    own = type("Own", (base,), {})(*((9, 4) if base is Embedding else (4,)))
    x = Input(shape=(5,) if base is Embedding else (5, 2))
    model = Model(x, Dense(1)(own(x)))
    assert model.predict(np.ones((2, *x.shape[1:])), verbose=0).shape[0] == 2


def test_a_subclass_without_a_call_makes_its_own_mask():
    x, plain_x = Input(shape=(4,)), Input(shape=(4,))
    model = Model(x, LSTM(2)(Marked(5, 3)(x)))
    twin = Model(plain_x, LSTM(2)(Embedding(5, 3)(plain_x)))
    twin.set_weights(model.get_weights())
    rows = np.array([[2, 3, 1, 0]])
    assert list(model.state_dict()) == ["marked_1.weight", *list(model.state_dict())[1:]]
    assert not np.allclose(model.predict(rows, verbose=0), twin.predict(rows, verbose=0))


@pytest.mark.parametrize("masks", [False, True])
def test_a_layer_whose_mask_is_none_goes_into_joins(masks):
    class Pool(Layer):
        def compute_mask(self, inputs, mask=None):
            return None

        def call(self, inputs):
            return inputs.mean(1)

    x = Input(shape=(7,))
    hidden = Embedding(12, 5, mask_zero=masks)(x)
    model = Model(x, Concatenate()([Pool()(hidden), GlobalMaxPooling1D()(hidden)]))
    assert model.predict(np.ones((2, 7)), verbose=0).shape == (2, 10)
