"""Graphs whose calls are told in different ways: each call by itself."""

import pytest
import torch

from torchkeras_fn.engine.drawing.inference import InferenceError
from torchkeras_fn.engine.drawing.spec import Spec
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.graphs.in_parts import specs_of_outputs
from torchkeras_fn.layers import Dense, Embedding, Input, Layer
from torchkeras_fn.models import Model


class Positions(Layer):
    """Takes at most ten steps, so that no long made-up input goes through with its data."""

    def __init__(self):
        super().__init__()
        self.places = Embedding(10, 4)

    def call(self, words):
        return self.places(torch.arange(words.shape[1])) + words[..., None]


class Tiled(Layer):
    """Reads a tensor's data, so that none goes through without its data."""

    def call(self, steps):
        return steps * torch.tile(torch.ones(1, 1, 1), torch.tensor([steps.shape[0], 1, 1]).tolist())


def test_a_model_is_drawn_again_though_no_kind_of_made_up_input_goes_through_all_of_it():
    words = Input((None,))
    inner = Model(words, Tiled()(Positions()(words)))
    again = Input((None,))
    outer = Model(again, Dense(2)(inner(again)))
    assert outer.output_shape == (None, None, 2)
    assert outer.predict(torch.ones(3, 5), verbose=0).shape == (3, 5, 2)


def test_what_a_call_refuses_is_refused():
    x = Input((3,))
    graph = Graph([x], [Dense(2)(x)])
    with pytest.raises(InferenceError):
        specs_of_outputs(graph, [Spec.of((None, 4), torch.float32)])
