"""Layers that a call uses though nobody holds them follow its mode."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Model
from torchkeras_fn.layers import BatchNormalization, Dropout, Input, Lambda, Layer


def calling(base: Any) -> Any:
    """A class of layers or models that call what they hold in a closure, and nowhere else."""

    class Calling(base):
        def __init__(self, used: Any):
            super().__init__()
            self.function: Callable[[Any], Any] = lambda inputs: used(inputs)

        def call(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.function(inputs)

    return Calling


Calling, Whole = calling(Layer), calling(Model)


def drawn(layer: Any) -> Model:
    x = Input(shape=(64,))
    return Model(x, layer(x))


MODELS = {
    "lambda": lambda: drawn(Lambda(Calling(Dropout(0.5)).function)),
    "made in a lambda": lambda: drawn(Lambda(lambda x: Dropout(0.5)(x))),
    "layer": lambda: drawn(Calling(Dropout(0.5))),
    "layer in a layer": lambda: drawn(Calling(Calling(Dropout(0.5)))),
    "model": lambda: Whole(Dropout(0.5)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_layer_that_nobody_holds_infers_where_its_model_does(kind: str) -> None:
    model, x = MODELS[kind](), np.ones((2, 64), "float32")
    model.compile("sgd", "mse", device="cpu")
    for _ in range(2):
        np.testing.assert_array_equal(model.predict(x), x)
        assert model.evaluate(x, x, verbose=0) == 0
    assert 0 in model(torch.from_numpy(x), training=True)


def test_drawing_leaves_the_statistics_of_a_layer_that_nobody_holds() -> None:
    normalization = BatchNormalization()
    normalization.build((None, 64))
    drawn(Calling(normalization))
    assert torch.equal(normalization.moving_variance, torch.ones(64))
    assert normalization.training


def test_a_module_of_torch_follows_nobody_but_its_parents() -> None:
    model = drawn(Calling(nn.Dropout(0.5)))
    assert 0 in model.predict(np.ones((2, 64), "float32"))
