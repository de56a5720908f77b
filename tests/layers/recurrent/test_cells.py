"""Cells on their own: how they are called, what they begin with, their weights, configurations and mistakes."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, activations, layers
from torchkeras_fn.layers import GRU, LSTM, RNN, GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells, recurrent
from torchkeras_fn.layers.recurrent.cells import ForgetBias
from torchkeras_fn.layers.recurrent.steps import LSTMStep, Step

CELLS = {"LSTMCell": 2, "GRUCell": 1, "SimpleRNNCell": 1}


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_takes_one_step(kind):
    cell = getattr(layers, kind)(5)
    states = [torch.rand(2, 5) for _ in range(CELLS[kind])]
    output, after = cell(torch.rand(2, 3), states)
    assert output.shape == (2, 5) and len(after) == CELLS[kind]
    torch.testing.assert_close(after[0], output)
    assert [state.shape for state in cell.get_initial_state(batch_size=4)] == [(4, 5)] * CELLS[kind]
    assert cell.output_size == 5


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_is_drawn(kind):
    inputs, states = Input(shape=(3,)), [Input(shape=(5,)) for _ in range(CELLS[kind])]
    cell = getattr(layers, kind)(5)
    output, after = cell(inputs, states)
    model = Model([inputs, *states], [output, *after])
    real = [torch.rand(2, 3), *(torch.rand(2, 5) for _ in states)]
    expected = cell(real[0], real[1:])
    torch.testing.assert_close(model(real), [expected[0], *expected[1]])


def test_the_only_state_may_come_without_a_list():
    cell, state = GRUCell(5), torch.rand(2, 5)
    output, after = cell(torch.rand(2, 3), state)
    assert after is output


def test_steps_of_a_cell_are_those_of_the_layer():
    layer, x = LSTM(5, return_sequences=True, return_state=True), torch.rand(2, 4, 3)
    outputs, *last = layer(x)
    states = layer.cell.get_initial_state(batch_size=2)
    for step in range(4):
        output, states = layer.cell(x[:, step], states)
        torch.testing.assert_close(output, outputs[:, step])
    torch.testing.assert_close(states, last)


def test_a_subclass_may_change_the_step():
    class Doubled(GRUCell):
        def call(self, inputs, states, training=None):
            output, after = super().call(inputs, states, training=training)
            return 2 * output, after

    layer, x = RNN(Doubled(5)), torch.rand(2, 4, 3)
    plain = GRU(5)
    plain(x), layer(x)
    plain.set_weights(layer.get_weights())
    torch.testing.assert_close(layer(x), 2 * plain(x))


def test_one_bias_is_trained():
    for layer, count in ((LSTM(5), 4 * 5), (layers.SimpleRNN(5), 5), (GRU(5), 2 * 15), (GRU(5, reset_after=False), 15)):
        layer(torch.rand(2, 4, 3))
        assert sum(1 for _ in layer.parameters()) == len(layer.get_weights()) == len(layer.state_dict()) == 3
        assert layer.get_weights()[2].size == count


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_casts_reach_every_weight(kind):
    layer = getattr(layers, kind)(5)
    layer(torch.rand(2, 4, 3))
    layer.double()
    assert layer(torch.rand(2, 4, 3, dtype=torch.float64)).dtype is torch.float64


def test_the_gates_of_a_gru_are_read_and_written_in_keras_order():
    layer = GRU(1, bias_initializer=lambda shape, dtype=None: torch.arange(6.0).view(shape))
    layer(torch.ones(1, 2, 1))
    assert layer.get_weights()[2].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert layer.state_dict()["cell.bias"].tolist() == [[1, 0, 2], [4, 3, 5]]
    layer.set_weights([np.array([[1.0, 2, 3]]), np.array([[4.0, 5, 6]]), np.zeros((2, 3))])
    assert layer.state_dict()["cell.weight_ih"].flatten().tolist() == [2, 1, 3]


def test_the_forget_gate_begins_open():
    layer = LSTM(2, bias_initializer="ones", unit_forget_bias=False)
    layer(torch.ones(1, 2, 3))
    assert layer.get_weights()[2].tolist() == [1.0] * 8
    assert ForgetBias("zeros")((8,)).tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_learned_activations_are_parts_of_the_cell():
    layer = LSTM(3, activation=nn.PReLU())
    layer(torch.rand(2, 4, 3)).sum().backward()
    assert "cell.activation.weight" in layer.state_dict()
    assert layer.activation.weight.grad is not None


@pytest.mark.parametrize("kind", CELLS)
def test_configuration_round_trip(kind):
    cell = getattr(layers, kind)(5, dropout=0.1, kernel_regularizer="l2", seed=4)
    assert type(cell).from_config(cell.get_config()).get_config() == cell.get_config()


# ---------------------------------------------------------------------- stacks


def test_a_stack_keeps_the_states_of_each_cell():
    stack = StackedRNNCells([LSTMCell(4), GRUCell(5), SimpleRNNCell(2)])
    states = stack.get_initial_state(batch_size=3)
    output, after = stack(torch.rand(3, 6), states)
    assert output.shape == (3, 2) and stack.output_size == 2 and stack.state_size == [[4, 4], 5, 2]
    assert [type(state) for state in after] == [list, torch.Tensor, torch.Tensor]
    assert len(stack.get_weights()) == 9


@pytest.mark.parametrize("options", [{}, {"dtype": "float64"}])
def test_a_stack_has_the_type_of_its_first_cell_or_its_own(options):
    stack = StackedRNNCells([LSTMCell(4, dtype=None if options else "float64")], **options)
    assert stack.dtype is torch.float64


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_a_layer_hands_its_options_to_its_cell(kind):
    options = {"dropout": 0.1, "recurrent_dropout": 0.2, "seed": 3, "use_bias": False}
    layer = getattr(layers, kind)(4, dtype="float64", **options)
    assert {name: getattr(layer.cell, name) for name in options} == options
    assert layer.cell.dtype is torch.float64


def test_a_stack_is_written_down():
    stack = StackedRNNCells([LSTMCell(4), GRUCell(5)])
    twin = layers.deserialize(layers.serialize(stack))
    assert [type(cell) for cell in twin.cells] == [LSTMCell, GRUCell]
    assert twin.get_config() == stack.get_config()


def test_freezing_a_layer_freezes_its_cells():
    layer = RNN([LSTMCell(4), GRUCell(5)])
    layer(torch.rand(2, 4, 3))
    layer.trainable = False
    assert layer.trainable_weights == [] and not any(cell.trainable for cell in layer.cell.cells)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LSTMCell(0), ValueError, "'units' must be an integer of at least 1, got 0"),
        (lambda: GRUCell(2, dropout=1.5), ValueError, "'dropout' must be between 0 and 1, got 1.5"),
        (lambda: GRUCell(2, recurrent_activation="sigmod"), ValueError, "Did you mean 'sigmoid'"),
        (lambda: SimpleRNNCell(2, seed=0.5), ValueError, "'seed' must be an integer or None"),
        (lambda: StackedRNNCells([]), ValueError, "'cells' must be a list of cells"),
        (lambda: StackedRNNCells([layers.Dense(2)]), ValueError, "has no state_size"),
        (lambda: RNN(3), ValueError, "3 of type int has no call"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("spelling", ["name", "ours", "torch's"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_tanh_and_sigmoid_are_those_of_torchs_kernels_however_they_are_named(kind, spelling):
    source = {"ours": activations, "torch's": torch}.get(spelling)
    tanh, sigmoid = ("tanh", "sigmoid") if source is None else (source.tanh, source.sigmoid)
    layer = getattr(layers, kind)(2, activation=tanh, **({} if kind == "SimpleRNN" else {"recurrent_activation": sigmoid}))
    layer.build((None, 3, 2))
    assert next(part for part in layer.modules() if isinstance(part, Step)).is_fusable()


def test_a_step_calls_torchs_own_function():
    step = LSTMStep(3, 2, activation=activations.tanh, recurrent_activation=activations.sigmoid)
    assert (step.activation, step.recurrent_activation) == (torch.tanh, torch.sigmoid)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN", "RNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"])
def test_the_layers_are_in_the_module_where_keras_2_has_them(name):
    assert getattr(recurrent, name) is getattr(layers, name)
