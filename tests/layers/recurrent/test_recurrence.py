"""The way through a sequence: which path ran, that both give the same, masks, kept states."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, layers
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.layers import GRU, LSTM, RNN, Bidirectional, GRUCell, LSTMCell, SimpleRNN
from torchkeras_fn.layers.recurrent.recurrence import Stack
from torchkeras_fn.layers.recurrent.steps import LSTMStep

STEPS = 6
MASKS = {
    "none": None,
    "right-padded": torch.arange(STEPS) < torch.tensor([[6], [4], [0]]),
    "in the middle": torch.tensor([[1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 1, 0], [1, 1, 1, 0, 0, 1]]).bool(),
}
KERNELS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn_tanh"}


def sequence(dtype=torch.float32):
    return torch.randn(3, STEPS, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def kernels(monkeypatch):
    """The names of torch's fused kernels, as they are called."""
    called = []

    def noting(name, kernel):
        def run(*args):
            called.append(name)
            return kernel(*args)

        return run

    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        monkeypatch.setattr(torch._VF, name, noting(name, getattr(torch._VF, name)))
    return called


FUSED = {
    "LSTM": (lambda: LSTM(3), "lstm"),
    "LSTM with all switches": (lambda: LSTM(3, return_sequences=True, return_state=True, go_backwards=True, dropout=0.5), "lstm"),
    "LSTM without bias": (lambda: LSTM(3, use_bias=False, use_cudnn=True), "lstm"),
    "LSTM unrolled": (lambda: LSTM(3, unroll=True, implementation=1), "lstm"),
    "GRU": (lambda: GRU(3), "gru"),
    "GRU with torch's functions": (lambda: GRU(3, torch.tanh, torch.sigmoid, use_bias=False), "gru"),
    "SimpleRNN": (lambda: SimpleRNN(3), "rnn_tanh"),
    "SimpleRNN with relu": (lambda: SimpleRNN(3, "relu"), "rnn_relu"),
    "RNN of a cell": (lambda: RNN(LSTMCell(3)), "lstm"),
}
LOOPED = {
    "another activation": lambda: LSTM(3, "relu"),
    "another gate": lambda: GRU(3, recurrent_activation="hard_sigmoid"),
    "a GRU as in the paper": lambda: GRU(3, reset_after=False),
    "recurrent dropout": lambda: LSTM(3, recurrent_dropout=0.2),
    "dropout for each gate": lambda: LSTM(3, dropout=0.2, implementation=1),
    "no kernels wanted": lambda: LSTM(3, use_cudnn=False),
    "no kernels wanted of a GRU": lambda: GRU(3, use_cudnn=False),
    "a sigmoid": lambda: SimpleRNN(3, "sigmoid"),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", FUSED)
def test_torchs_kernel_runs_once_whatever_the_mask(name, mask, kernels):
    make, kernel = FUSED[name]
    layer = make()
    layer(sequence())
    kernels.clear()
    layer.train()(sequence(), mask=MASKS[mask])
    assert kernels == [kernel]


@pytest.mark.parametrize("name", LOOPED)
def test_the_steps_run_one_by_one_where_torch_has_no_kernel(name, kernels):
    LOOPED[name]().train()(sequence())
    assert kernels == []


def test_recurrent_dropout_does_not_keep_the_kernel_from_inference(kernels):
    layer = LSTM(3, recurrent_dropout=0.2)
    layer.eval()(sequence())
    assert kernels == ["lstm"]


def test_stacked_cells_and_both_ways_run_in_kernels(kernels):
    RNN([LSTMCell(3), GRUCell(2)])(sequence())
    Bidirectional(GRU(3))(sequence())
    assert kernels == ["lstm", "gru", "gru", "gru"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    "switches", [{}, {"return_sequences": True}, {"return_sequences": True, "return_state": True, "go_backwards": True}]
)
@pytest.mark.parametrize("kind", KERNELS)
def test_the_kernel_and_the_loop_give_the_same(kind, switches, mask, dtype):
    fused = getattr(layers, kind)(5, dtype=dtype, **switches)
    looped = getattr(layers, kind)(5, dtype=dtype, use_cudnn=False, **switches)
    found = []
    for layer in (fused, looped):
        x = sequence(dtype).requires_grad_()
        layer(x)
        layer.set_weights([np.random.default_rng(1).normal(size=weight.shape) for weight in layer.get_weights()])
        outputs = layer(x, mask=MASKS[mask])
        outputs = outputs if isinstance(outputs, list) else [outputs]
        sum(output.square().sum() for output in outputs).backward()
        found.append([*outputs, x.grad, *(weight.grad for weight in layer.weights)])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("kind", KERNELS)
def test_masks_and_lengths_are_never_looked_at(kind):
    """On the meta device, which has no values, every look at one raises."""
    layer = getattr(layers, kind)(3, return_sequences=True, return_state=True)
    layer(sequence())
    module = layer.module.to("meta")
    assert module(sequence().to("meta"), mask=MASKS["in the middle"].to("meta"))[0].shape == (3, STEPS, 3)


def test_a_lowered_model_holds_no_layer():
    x = Input(shape=(None,), dtype="int64")
    hidden = layers.Embedding(7, 4, mask_zero=True)(x)
    hidden = Bidirectional(LSTM(3, return_sequences=True))(hidden)
    hidden = RNN([LSTMCell(3), GRUCell(2)], return_sequences=True)(hidden)
    model = Model(x, GRU(3, activation=nn.ELU())(hidden))
    assert [type(module).__name__ for module in model.to_torch().modules() if isinstance(module, Layer)] == []
    assert "gru_1 = self.gru_1(rnn_1, mask = ne)" in model.code


def test_a_row_that_is_hidden_entirely_keeps_its_states():
    states = [torch.rand(3, 5), torch.rand(3, 5)]
    output, *after = LSTM(5, return_state=True)(sequence(), initial_state=states, mask=torch.zeros(3, STEPS))
    assert not output.any()
    torch.testing.assert_close(after, states)


@pytest.mark.parametrize("kind", KERNELS)
def test_numbers_at_hidden_steps_do_not_count(kind):
    layer = getattr(layers, kind)(5, return_sequences=True, return_state=True)
    mask, x = MASKS["in the middle"], sequence()
    torch.testing.assert_close(layer(x.masked_fill(~mask.unsqueeze(-1), 1e4), mask=mask), layer(x, mask=mask))


@pytest.mark.parametrize("make", [lambda: LSTM(5, return_sequences=True), lambda: Bidirectional(GRU(5), merge_mode="sum")])
def test_states_may_follow_the_sequence_in_a_list(make):
    layer, x, states = make(), sequence(), [torch.rand(3, 5), torch.rand(3, 5)]
    torch.testing.assert_close(layer([x, *states]), layer(x, initial_state=states))
    a, b, c = Input(shape=(STEPS, 4)), Input(shape=(5,)), Input(shape=(5,))
    for model in (Model([a, b, c], layer([a, b, c])), Model([a, b, c], layer(a, initial_state=[b, c]))):
        torch.testing.assert_close(model([x, *states]), layer([x, *states]))


def test_the_mask_of_a_sequence_is_taken_when_states_follow_it():
    x, state = Input(shape=(STEPS, 4)), Input(shape=(5,))
    layer = GRU(5)
    model = Model([x, state], layer([layers.Masking()(x), state]))
    mask = MASKS["in the middle"]
    given, before = sequence() * mask.unsqueeze(-1), torch.rand(3, 5)
    torch.testing.assert_close(model([given, before]), layer(given, initial_state=before, mask=mask))


def test_dropout_is_the_same_at_all_steps():
    step = LSTMStep(4, 3, dropout=0.5, recurrent_dropout=0.5, seed=1).train()
    patterns = step.patterns(torch.ones(2, STEPS, 4))
    assert patterns.inputs.shape == (2, 4, 4) and patterns.state.shape == (2, 4, 3)
    assert step.eval().patterns(torch.ones(2, STEPS, 4)).inputs is None


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}, {"dropout": 0.5, "implementation": 1}])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_dropout_acts_in_training_alone(kind, options):
    layer, x = getattr(layers, kind)(5, **options, seed=3), sequence()
    plain = getattr(layers, kind)(5)
    plain(x), layer(x)
    plain.set_weights(layer.get_weights())
    torch.testing.assert_close(layer.eval()(x), plain(x))
    assert not torch.allclose(layer(x, training=True), plain(x))


# ---------------------------------------------------------------------- stateful


def stateful(kind="LSTM", **options):
    return Sequential([getattr(layers, kind)(5, stateful=True, batch_input_shape=(3, STEPS, 4), **options), layers.Dense(1)])


@pytest.mark.parametrize("kind", KERNELS)
def test_a_stateful_layer_goes_on_where_the_batch_before_ended(kind):
    model, x = stateful(kind), sequence()
    layer, whole = model.layers[0], getattr(layers, kind)(5)
    whole(x)
    whole.set_weights(layer.get_weights())
    layer(x[:, :2])
    torch.testing.assert_close(layer(x[:, 2:]), whole(x))
    layer.reset_states()
    torch.testing.assert_close(layer(x), whole(x))


def test_kept_states_are_no_weights():
    model = stateful()
    assert len(model.get_weights()) == 5 and len(model.state_dict()) == 5
    assert [tuple(state.shape) for state in model.layers[0].states] == [(3, 5), (3, 5)]


def test_states_survive_prediction_training_and_copies():
    model, x = stateful(), sequence().repeat(2, 1, 1)
    model.compile("sgd", "mse")
    model.predict(x, batch_size=3, verbose=0)
    model.fit(x, torch.ones(6, 1), batch_size=3, shuffle=False, epochs=2, verbose=0)
    model.evaluate(x, torch.ones(6, 1), batch_size=3, verbose=0)
    kept = [state.clone() for state in model.layers[0].states]
    assert all(state.any() and not state.is_inference() and not state.requires_grad for state in model.layers[0].states)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(twin.layers[0].states, kept)
        twin.reset_states()
        assert not any(state.any() for state in twin.layers[0].states)
    torch.testing.assert_close(model.layers[0].states, kept)


def test_a_model_resets_the_layers_in_models_inside_it():
    x = Input(batch_shape=(3, STEPS, 4))
    inner = Model(x, Bidirectional(GRU(5, stateful=True, return_sequences=True))(x))
    model = Model(x, SimpleRNN(5, stateful=True)(inner(x)))
    model(sequence())
    kept = [*inner.layers[-1].states, *model.layers[-1].states]
    assert len(kept) == 3 and all(state.any() for state in kept)
    model.reset_states()
    assert not any(state.any() for state in kept)


def test_drawing_keeps_no_states():
    layer = GRU(5, stateful=True)
    layer(sequence())
    kept = layer.states[0].clone()
    layer(Input(batch_shape=(3, 2, 4)))
    torch.testing.assert_close(layer.states[0], kept)


def test_states_are_set():
    layer = stateful().layers[0]
    layer.reset_states([np.ones((3, 5)), np.full((3, 5), 2.0)])
    assert layer.states[1].mean() == 2
    for wrong in ([np.ones((3, 5))], [np.ones((3, 5)), np.ones((2, 5))]):
        with pytest.raises(ValueError, match="keeps states of shapes"):
            layer.reset_states(wrong)
    layer.reset_state()
    assert not layer.states[1].any()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: LSTM(5, stateful=True, name="memory")(Input(shape=(6, 4))), "^memory .*stateful, so the size of the batch must be known"),
        (lambda: stateful().predict(sequence()[:2], verbose=0), "keeps states for a batch of 3, but a batch of 2 came"),
        (lambda: LSTM(5)(Input(shape=(6, 4)), initial_state=[Input(shape=(5,))]), "must hold 2 tensors, one for each state .*; got 1"),
        (lambda: LSTM(5)(sequence()[:, :0]), "at least one step"),
    ],
)
def test_mistakes_are_told(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_drawing_a_layer_of_ones_own_keeps_no_states():
    class Holding(layers.Layer):
        def __init__(self):
            super().__init__()
            self.memory = LSTM(5, stateful=True)

        def call(self, inputs):
            return self.memory(inputs)

    x, layer = Input(batch_shape=(3, STEPS, 4)), Holding()
    model = Model(x, layer(x))
    assert layer.memory.module.state_buffers() == []
    first, second = (model.predict(sequence(), verbose=0) for _ in range(2))
    assert first.shape == (3, 5) and (first != second).any()


def test_a_stack_takes_one_step_too():
    stack = Stack([LSTMStep(4, 3), LSTMStep(3, 2)], [True, True])
    output, states = stack(torch.ones(1, 4), [[torch.zeros(1, 3)] * 2, [torch.zeros(1, 2)] * 2], training=False)
    assert output.shape == (1, 2) and [len(part) for part in states] == [2, 2]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_it_is_compiled(backend):
    x = Input(shape=(STEPS, 4))
    model = Model(x, Bidirectional(LSTM(3))(GRU(3, return_sequences=True)(layers.Masking()(x))))
    compiled = torch.compile(model.to_torch(), backend=backend)
    torch.testing.assert_close(compiled(sequence()), model(sequence()))


OF_ANY_LENGTH = {
    "LSTM with states": (lambda: LSTM(3, return_state=True), True),
    "GRU the other way": (lambda: GRU(3, return_sequences=True, go_backwards=True, reset_after=False), True),
    "cells": (lambda: RNN([LSTMCell(3), layers.SimpleRNNCell(2)], return_sequences=True), True),
    "a cell of the user's own": (lambda: RNN(Counting()), False),
    "images": (lambda: layers.ConvLSTM1D(2, 3, padding="same"), False),
}


class Counting(Layer):
    state_size = 1

    def call(self, inputs, states):
        return inputs + states[0], [states[0] + 1]


@pytest.mark.parametrize("case", OF_ANY_LENGTH)
def test_a_model_is_exported_with_unknown_batch_and_steps(case):
    make, is_masked = OF_ANY_LENGTH[case]
    x = Input(shape=(None, 4, 2) if case == "images" else (None, 4))
    model = Model(x, make()(layers.Masking()(x) if is_masked else x)).eval()
    data = torch.randn(3, STEPS, *x.shape[2:])
    data[1, 2] = data[2, 4:] = 0
    free = ({0: torch.export.Dim("batch"), 1: torch.export.Dim.DYNAMIC},)
    with torch.no_grad():
        program = torch.export.export(model.to_torch(), (data,), dynamic_shapes=free).module()
        for given in (data, data[1:, :3], data[:1].repeat(2, 2, *[1] * (data.ndim - 2)), data[:2, :1]):
            torch.testing.assert_close(program(given), model(given))
