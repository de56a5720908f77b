"""`Bidirectional`: the layers it makes, what it merges, states, masks, configurations, mistakes. tests/parity has the numbers."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Sequential, layers
from torchkeras_fn.layers import GRU, LSTM, RNN, Bidirectional, GRUCell, SimpleRNN
from torchkeras_fn.layers.recurrent.bidirectional import BothWays, twin


def sequence():
    return torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))


def test_the_second_layer_sees_the_sequence_from_its_end():
    layer, x = Bidirectional(LSTM(5, return_sequences=True)), sequence()
    outputs = layer(x)
    assert layer.backward_layer.go_backwards and not layer.forward_layer.go_backwards
    torch.testing.assert_close(outputs[..., :5], layer.forward_layer(x))
    torch.testing.assert_close(outputs[..., 5:], layer.backward_layer(x).flip(1))


def test_the_layer_given_is_a_pattern():
    pattern = GRU(5, name="gru")
    pattern(sequence())
    layer = Bidirectional(pattern)
    layer(sequence())
    assert (layer.forward_layer.name, layer.backward_layer.name) == ("forward_gru", "backward_gru")
    assert not np.allclose(layer.get_weights()[0], pattern.get_weights()[0])
    assert twin(pattern, "forward").units == 5


def test_weights_of_the_forward_layer_come_first():
    layer = Bidirectional(GRU(5))
    layer(sequence())
    names = [weight.name for weight in layer.named_weights()]
    assert names == [f"{way}/{weight}" for way in ("forward", "backward") for weight in ("kernel", "recurrent_kernel", "bias")]
    given = Bidirectional(GRU(5), weights=layer.get_weights())
    torch.testing.assert_close(given(sequence()), layer(sequence()))


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
def test_shapes(mode, sequences):
    layer = Bidirectional(LSTM(5, return_sequences=sequences, return_state=True), merge_mode=mode)
    width = 10 if mode == "concat" else 5
    merged = (None, 6, width) if sequences else (None, width)
    expected = [merged] * (2 if mode is None else 1) + [(None, 5)] * 4
    assert [tensor.shape for tensor in layer(Input(shape=(6, 4)))] == expected
    masks = layer.compute_mask(None, "mask")
    assert masks == [("mask" if sequences else None)] * (len(expected) - 4) + [None] * 4


def test_states_go_to_the_forward_layer_first():
    layer, x, states = Bidirectional(LSTM(5, return_state=True)), sequence(), [torch.rand(3, 5) for _ in range(4)]
    output, *after = layer(x, initial_state=states)
    there, back = layer.forward_layer(x, initial_state=states[:2]), layer.backward_layer(x, initial_state=states[2:])
    torch.testing.assert_close([output, *after], [torch.cat([there[0], back[0]], -1), *there[1:], *back[1:]])


def test_a_backward_layer_of_another_kind():
    layer = Bidirectional(LSTM(5), backward_layer=GRU(3, go_backwards=True))
    assert layer(sequence()).shape == (3, 8)
    assert len(layer.get_weights()) == 6


def test_cells_of_users_and_stacks():
    class Sum(layers.Layer):
        state_size = 4

        def call(self, inputs, states):
            return states[0] + inputs, [states[0] + inputs]

    assert Bidirectional(RNN(Sum()))(torch.ones(2, 3, 4)).tolist() == [[3.0] * 8] * 2
    assert Bidirectional(RNN([GRUCell(3), GRUCell(2)]))(sequence()).shape == (3, 4)


def test_costs_of_the_layers_inside_count():
    x = Input(shape=(6, 4))
    model = Model(x, Bidirectional(SimpleRNN(5, activity_regularizer="l2", kernel_regularizer="l1"))(x))
    model.compile("sgd", "mse")
    y = model(sequence())
    weights = [np.abs(weight).sum() for weight in model.get_weights()[::3]]
    regularized = 0.01 * float(sum(weights))
    assert model.train_on_batch(sequence(), y) > regularized * 1.0001


def test_the_shape_of_the_input_may_come_from_the_layer_inside():
    assert Sequential([Bidirectional(LSTM(5, input_shape=(6, 4)))]).output_shape == (None, 10)
    assert Sequential([Bidirectional(LSTM(5), input_shape=(6, 4))]).output_shape == (None, 10)


def test_a_stateful_layer_keeps_the_states_of_both():
    layer = Bidirectional(GRU(5, stateful=True))
    first = layer(sequence())
    assert len(layer.states) == 2 and not torch.allclose(layer(sequence()), first)
    layer.reset_states()
    torch.testing.assert_close(layer(sequence()), first)
    with pytest.raises(ValueError, match="size of the batch must be known"):
        Bidirectional(GRU(5, stateful=True))(Input(shape=(6, 4)))


def test_freezing_reaches_both_layers():
    layer = Bidirectional(GRU(5))
    layer(sequence())
    layer.trainable = False
    assert layer.trainable_weights == [] and not layer.forward_layer.trainable


def test_configuration_round_trip():
    layer = Bidirectional(LSTM(5, return_sequences=True), merge_mode="sum", backward_layer=GRU(5, return_sequences=True, go_backwards=True))
    again = Bidirectional.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert isinstance(again.backward_layer, GRU)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bidirectional(LSTM(2, dtype="float64")),
        lambda: RNN(GRUCell(2, dtype="float64")),
        lambda: RNN([GRUCell(2, dtype="float64"), GRUCell(3, dtype="float64")]),
        lambda: Bidirectional(RNN(GRUCell(2, dtype="float64"))),
    ],
    ids=["Bidirectional", "RNN", "stack", "Bidirectional RNN"],
)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_the_inputs_are_cast_to_the_type_of_the_layer_inside(make, dtype):
    x = Input(shape=(3, 4), dtype=dtype)
    assert Model(x, make()(x)).predict(np.ones((2, 3, 4), dtype), verbose=0).dtype == np.float64


def test_the_torch_module_merges():
    module = BothWays(None, None, "ave")
    assert module.merged(torch.tensor(1.0), torch.tensor(3.0)) == 2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Bidirectional(3), TypeError, "'layer' must be a recurrent layer, got 3"),
        (lambda: Bidirectional(layers.Dense(3)), ValueError, "Dense has no 'go_backwards'"),
        (
            lambda: Bidirectional(LSTM(3), merge_mode="min"),
            ValueError,
            "'merge_mode' must be one of 'concat', 'sum', 'mul', 'ave'; got 'min'",
        ),
        (lambda: Bidirectional(LSTM(3), backward_layer=LSTM(3)), ValueError, "must go backwards and the other not"),
        (
            lambda: Bidirectional(LSTM(3), backward_layer=LSTM(3, go_backwards=True, return_sequences=True)),
            ValueError,
            "must have the same 'return_sequences', got False and True",
        ),
        (lambda: Bidirectional(GRU(3))(sequence(), initial_state=[torch.ones(3, 3)]), ValueError, "as many states for the backward layer"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_layer_that_was_wrapped_is_known_by_its_name_in_keras():
    both = layers.Bidirectional(layers.LSTM(3))
    assert both.layer is both.forward_layer
