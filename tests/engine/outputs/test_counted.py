"""Models none of whose outputs has rows: a layer computes the loss, adds it, and hands it on."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.engine.outputs.counted import rows_in
from torchkeras_fn.layers import Dense, Layer

X = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")


class Distance(Layer):
    """Adds the mean distance of its two inputs to the loss, and returns it."""

    def call(self, inputs):
        one, other = inputs
        distance = (one - other).square().mean()
        self.add_loss(distance)
        return distance


def drawn():
    one, other, dense = Input((3,)), Input((3,)), Dense(2)
    return Model([one, other], Distance()([dense(one), dense(other)]))


class Written(Model):
    """The same, not drawn."""

    def __init__(self):
        super().__init__()
        self.dense, self.distance = Dense(2), Distance()

    def call(self, inputs):
        return self.distance([self.dense(inputs[0]), self.dense(inputs[1])])


@pytest.mark.parametrize("make", [drawn, Written])
@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"precision": "mixed_bfloat16"}], ids=["plain", "compiled", "mixed"])
def test_a_model_is_trained_on_the_loss_that_a_layer_hands_on(make, options):
    model = make()
    model.compile("sgd", loss=None, **options)
    losses = model.fit([X, -X[::-1]], epochs=4, batch_size=4, verbose=0).history["loss"]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("make", [drawn, Written])
def test_batches_count_by_the_rows_of_the_inputs(make):
    model = make()
    model.compile("sgd", loss=None)
    data = [X, -X[::-1].copy()]
    assert model.evaluate(data, batch_size=4, verbose=0) == pytest.approx(model.evaluate(data, batch_size=10, verbose=0))


def test_rows_are_those_of_the_first_tensor_that_has_some():
    assert rows_in([3.0, torch.tensor(1.0), {"a": torch.ones(2, 3)}, torch.ones(5)]) == 2 and rows_in("text") is None
