"""Mixed precision and executions of several steps beside those of Keras."""

import contextlib

import keras
import numpy as np
import pytest
from keras.src.trainers.epoch_iterator import EpochIterator

import torchkeras_fn as tk
from tests.parity.twins import random_weights
from torchkeras_fn.callbacks import LambdaCallback

X = np.random.default_rng(0).normal(size=(48, 6, 5)).astype("float32")
Y = np.tanh(X.mean((1, 2)) * 3)[:, None].astype("float32")
CLASSES = (X[:, 0, 0] > 0).astype("int64") + (X[:, 1, 0] > 0)


def dense(library):
    x = library.Input(shape=(6, 5))
    hidden = library.layers.Dense(16, activation="relu")(library.layers.Flatten()(x))
    return library.Model(x, library.layers.Dense(1)(library.layers.Dense(8, activation="tanh")(hidden)))


def convolution(library):
    x = library.Input(shape=(6, 5))
    hidden = library.layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    hidden = library.layers.BatchNormalization()(hidden)
    return library.Model(x, library.layers.Dense(3, activation="softmax")(library.layers.GlobalAveragePooling1D()(hidden)))


def recurrent(library):
    x = library.Input(shape=(6, 5))
    hidden = library.layers.LayerNormalization()(library.layers.LSTM(8, return_sequences=True)(x))
    return library.Model(x, library.layers.Dense(3, activation="softmax")(library.layers.GRU(6)(hidden)))


RECIPES = {
    "dense": (dense, "mse", Y),
    "convolution": (convolution, "sparse_categorical_crossentropy", CLASSES),
    "recurrent": (recurrent, "sparse_categorical_crossentropy", CLASSES),
}


@contextlib.contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


# Keras rounds the inputs, every layer's output and the logits to 16 bits, torch's autocast only what goes through matrix
# products; a rounding error is 2**-8 in bfloat16 and 2**-11 in float16, and the losses are means over many of them.
@pytest.mark.parametrize(("precision", "tolerance"), [("mixed_bfloat16", 2e-2), ("mixed_float16", 4e-3)])
@pytest.mark.parametrize("name", RECIPES)
def test_histories_and_predictions_agree(name, precision, tolerance):
    recipe, loss, targets = RECIPES[name]
    with policy(precision):
        theirs = recipe(keras)
        theirs.compile(keras.optimizers.Adam(0.01), loss)
    ours = recipe(tk)
    ours.compile(tk.optimizers.Adam(0.01), loss, precision=precision)
    ours.set_weights(random_weights(theirs))
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X, verbose=0).astype("float32"), rtol=0, atol=2 * tolerance)
    mine, others = (model.fit(X, targets, batch_size=12, epochs=3, verbose=0, shuffle=False).history for model in (ours, theirs))
    np.testing.assert_allclose(mine["loss"], others["loss"], rtol=tolerance)
    if precision == "mixed_float16":
        assert float(theirs.optimizer.dynamic_scale) == ours.optimizer.state_dict()["scaling"]["scale"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_executions_begin_where_those_of_keras_do(count):
    """They end there too, but for the last: Keras gives it the number of a batch that is not there."""
    theirs = [(first, min(last, 3)) for first, last, _ in EpochIterator(X, Y, batch_size=12, steps_per_execution=count)]
    begins, ends = [], []
    model = dense(tk)
    model.compile("sgd", "mse", steps_per_execution=count)
    told = LambdaCallback(
        on_train_batch_begin=lambda batch, logs: begins.append(batch), on_train_batch_end=lambda batch, logs: ends.append(batch)
    )
    model.fit(X, Y, batch_size=12, verbose=0, callbacks=[told])
    assert list(zip(begins, ends, strict=True)) == theirs
