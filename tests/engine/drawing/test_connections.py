"""Where a layer stands in the graph, and what shape it gives for a shape."""

import gc
import pickle

import pytest
import torch

from torchkeras_fn import Model, Sequential, layers
from torchkeras_fn.engine.drawing.connections import shapes_of
from torchkeras_fn.layers import Dense, Input, Layer


def test_shapes_of_each_call_can_be_read():
    layer = Dense(2)
    layer(Input(shape=(3,)))
    layer(Input(shape=(5, 3)))
    assert [layer.get_input_shape_at(index) for index in (0, 1)] == [(None, 3), (None, 5, 3)]
    assert [layer.get_output_shape_at(index) for index in (0, 1)] == [(None, 2), (None, 5, 2)]


def test_the_input_of_an_input_layer_is_its_tensor():
    x = Input(shape=(3,))
    entry = Model(x, Dense(2)(x)).layers[0]
    assert entry.input is entry.output is entry.get_input_at(0) is x
    assert entry.input_shape == entry.get_input_shape_at(0) == (None, 3)


def test_the_calls_before_and_behind_a_layer_are_known_under_keras_names():
    x = Input(shape=(3,), name="x")
    hidden = Dense(2, name="hidden")
    h = hidden(x)
    y = layers.Concatenate(name="both")([h, Dense(4, name="wide")(h)])
    assert [node.outbound_layer.name for node in hidden._outbound_nodes] == ["wide", "both"]
    (node,) = y.node.operation._inbound_nodes
    assert [layer.name for layer in node.inbound_layers] == ["hidden", "wide"]
    assert node.input_tensors[0] is h and node.output_tensors == [y]
    assert x.node.input_tensors == [x] and x.node.inbound_layers == []


def test_a_model_that_nobody_has_any_more_reads_nothing():
    h = Dense(2)(Input(shape=(3,)))
    for _ in range(3):
        Model(h.node.input_tensors[0], Dense(1)(h))
        gc.collect()
    assert not h.node.readers


def test_a_pickled_tensor_is_read_by_nobody():
    h = Dense(2)(Input(shape=(3,)))
    y = Dense(1)(h)
    again = pickle.loads(pickle.dumps(y))
    assert again.node.parents[0].shape == h.shape and not again.node.readers


@pytest.mark.parametrize(
    ("make", "shapes", "expected"),
    [
        (lambda: Dense(2), [(None, 3)], (None, 2)),
        (lambda: Dense(2), [(7, 5, 3)], (7, 5, 2)),
        (lambda: layers.Conv2D(4, 3, strides=2, padding="same"), [(None, None, 9, 1)], (None, None, 5, 4)),
        (lambda: layers.Concatenate(), [[(None, 3), (None, 4)]], (None, 7)),
        (lambda: layers.Concatenate(), [((None, 3), (None, 4))], (None, 7)),
        (lambda: layers.Embedding(9, 4), [(None, 6)], (None, 6, 4)),
        (lambda: layers.LSTM(4, return_state=True), [(2, 6, 3)], [(2, 4)] * 3),
        (lambda: layers.MultiHeadAttention(2, 3), [(None, 4, 5), (None, 6, 5)], (None, 4, 5)),
        (lambda: Sequential([Dense(4), Dense(2)]), [(None, 3)], (None, 2)),
    ],
)
def test_the_shape_of_the_outputs_is_computed(make, shapes, expected):
    assert make().compute_output_shape(*shapes) == expected


def test_computing_a_shape_leaves_the_graph_alone():
    layer = Dense(2)
    outputs = layer(Input(shape=(3,)))
    assert layer.compute_output_shape((None, 8, 3)) == (None, 8, 2)
    assert layer.output is outputs


def test_a_shape_that_does_not_fit_is_refused():
    layer = Dense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"cannot take input of shape \(None, 4\)"):
        layer.compute_output_shape((None, 4))


def test_an_override_of_the_user_can_ask_for_that_of_the_base():
    class Twice(Layer):
        def call(self, inputs):
            return torch.cat([inputs, inputs], -1)

        def compute_output_shape(self, input_shape):
            return super().compute_output_shape(input_shape)

    assert Twice().compute_output_shape((None, 3)) == (None, 6)
    x = Input(shape=(3,))
    assert Model(x, Twice()(x)).output_shape == (None, 6)


def test_shapes_of_what_is_no_tensor():
    assert shapes_of({"x": torch.ones(2, 3), "rate": 3}) == {"x": (None, 3), "rate": None}
