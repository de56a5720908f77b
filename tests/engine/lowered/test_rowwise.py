"""Small batches of a prediction are computed together where no layer, and nobody, can tell."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Model
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.engine.lowered.rowwise import rows_at_once
from torchkeras_fn.layers import (
    LSTM,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Lambda,
    MaxPooling2D,
)

ROWS = 40


def model_of(layers, shape=(8,)):
    x = outputs = Input(shape=shape)
    for layer in layers:
        outputs = layer(outputs)
    return Model(x, outputs)


APART = [
    ([Dense(4, activation="relu"), Dropout(0.5), Dense(3, activation="softmax")], (8,)),
    ([Conv2D(2, 3, activation="relu"), MaxPooling2D(), Flatten(), Dense(2, activation="sigmoid")], (8, 8, 1)),
    ([lambda x: Concatenate()([Dense(2)(x), Dense(3)(x)])], (8,)),
    ([Embedding(9, 3), Flatten(), Dense(2)], (4,)),
]
TOGETHER = [
    ([Lambda(lambda x: x - x.mean(0))], (8,)),
    ([lambda x: torch.softmax(x, 0)], (8,)),
    ([lambda x: torch.cat([x, x], 0)], (8,)),
    ([LSTM(3, stateful=False)], (4, 2)),
    ([lambda x: x + torch.ones(8)], (8,)),
    ([Dense(4)], (None, 8)),
]


@pytest.mark.parametrize(("layers", "shape"), APART)
def test_rows_that_stand_alone_are_computed_together(layers, shape):
    model = model_of(layers, shape)
    assert rows_at_once(model.lowered, model.graph) >= 64
    x = np.random.default_rng(0).integers(0, 9, (ROWS, *shape)).astype("float32")
    sizes = []
    run = model._call
    model._call = lambda inputs: (sizes.append(len(inputs)), run(inputs))[1]
    together = model.predict(x, batch_size=3)
    assert sizes == [ROWS]
    apart = np.concatenate([model.predict(x[row : row + 1]) for row in range(ROWS)])
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("layers", "shape"), TOGETHER)
def test_rows_that_may_depend_on_others_are_not(layers, shape):
    model = model_of(layers, shape)
    assert rows_at_once(model.lowered, model.graph) == 0


def test_what_stays_random_in_inference_is_left_alone():
    x = Input(shape=(8,))
    model = Model(x, Dropout(0.5)(x, training=True))
    assert rows_at_once(model.lowered, model.graph) == 0


def test_large_rows_are_not_merged():
    model = model_of([Dense(1)], (300_000,))
    assert rows_at_once(model.lowered, model.graph) == 0


def sizes_of(model, x, **arguments):
    sizes = []

    class Seen(type(model)):
        def _call(self, inputs):
            sizes.append(len(inputs))
            return super()._call(inputs)

    model.__class__ = Seen
    model.predict(x, batch_size=16, **arguments)
    return sizes


class Silent(Callback):
    pass


@pytest.mark.parametrize("arguments", [{"callbacks": [Silent()]}, {"verbose": 2}, {"steps": 3}])
def test_whoever_counts_batches_sees_those_that_were_asked_for(arguments):
    assert sizes_of(model_of([Dense(2)]), np.ones((ROWS, 8), dtype="float32"), **arguments) == [16, 16, 8]


def test_a_step_of_ones_own_sees_the_batches_that_were_asked_for():
    sizes = []

    class Own(Model):
        def predict_step(self, batch):
            sizes.append(len(batch[0]))
            return super().predict_step(batch)

    x = Input(shape=(8,))
    Own(x, Dense(2)(x)).predict(np.ones((ROWS, 8), dtype="float32"), batch_size=16)
    assert sizes == [16, 16, 8]
