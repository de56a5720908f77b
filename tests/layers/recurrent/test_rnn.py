"""`RNN` over cells that users write, and what `LSTM`, `GRU` and `SimpleRNN` share: shapes, masks, configurations, mistakes."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Sequential, layers, models
from torchkeras_fn.layers import GRU, LSTM, RNN, Layer, LSTMCell, SimpleRNN, SimpleRNNCell
from torchkeras_fn.registry import custom_object_scope


class Minimal(Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer="uniform", name="kernel", regularizer="l2")
        self.recurrent = self.add_weight(shape=(self.units, self.units), initializer="uniform", name="recurrent")

    def call(self, inputs, states, training=None):
        output = inputs @ self.kernel + states[0] @ self.recurrent
        return (output * 2 if training else output), [output]


class Remembering(Layer):
    """Two states of two sizes, which begin as 1; a third number of outputs; a constant."""

    state_size = (2, 3)
    output_size = 5

    def get_initial_state(self, batch_size=None):
        return [torch.ones(batch_size, 2), torch.ones(batch_size, 3)]

    def call(self, inputs, states, constants=None):
        first, second = states
        shift = 0 if constants is None else constants[0]
        return torch.cat([first, second], -1) + shift, (first + inputs[:, :2], second * 2)


def test_a_users_cell_is_owned_trained_and_copied():
    x, y = np.random.default_rng(0).random((8, 4, 3), "float32"), np.ones((8, 2), "float32")
    i = Input(shape=(4, 3))
    model = Model(i, layers.Dense(2)(RNN(Minimal(5))(RNN([Minimal(4), LSTMCell(3)], return_sequences=True)(i))))
    assert list(model.state_dict())[:2] == ["rnn_1.cell.cells.0.kernel", "rnn_1.cell.cells.0.recurrent"]
    assert len(model.get_weights()) == 9
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    with custom_object_scope({"Minimal": Minimal}):
        rebuilt = Model.from_config(model.get_config())
    rebuilt.set_weights(model.get_weights())
    for twin in (rebuilt, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(twin.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5)


def test_a_users_cell_is_told_of_training():
    layer, x = RNN(Minimal(5)), torch.rand(2, 1, 3)
    torch.testing.assert_close(layer(x, training=True), 2 * layer.eval()(x))
    torch.testing.assert_close(layer.train()(x), 2 * layer.eval()(x))


def test_a_cells_own_states_and_output_size():
    layer = RNN(Remembering(), return_sequences=True, return_state=True)
    outputs, first, second = layer(torch.ones(2, 3, 4))
    assert outputs.shape == (2, 3, 5) and layer.output_size == 5 and tuple(layer.state_size) == (2, 3)
    assert first.tolist() == [[4, 4]] * 2 and second.tolist() == [[8, 8, 8]] * 2
    assert [tensor.shape for tensor in layer(Input(shape=(3, 4)))] == [(None, 3, 5), (None, 2), (None, 3)]
    assert [state.shape for state in layer.get_initial_state(batch_size=3)] == [(3, 2), (3, 3)]


def test_constants_reach_the_cell():
    layer, x = RNN(Remembering()), torch.ones(2, 3, 4)
    torch.testing.assert_close(layer(x, constants=[torch.ones(2, 5)]), layer(x) + 1)


class Shifted(Layer):
    """A cell that is built, as in Keras 2, for the shapes of the inputs and of a constant."""

    state_size = 2

    def build(self, input_shape):
        step, constant = input_shape
        self.kernel = self.add_weight(shape=(step[-1], 2), initializer="ones", name="kernel")
        self.shift = self.add_weight(shape=(constant[-1], 2), initializer="ones", name="shift")

    def call(self, inputs, states, constants):
        output = states[0] + inputs @ self.kernel + constants[0] @ self.shift
        return output, [output]


@pytest.mark.parametrize(
    ("layer", "outputs"),
    [
        (lambda: RNN(Shifted()), [[21.0, 21.0], [12.0, 12.0]]),  # 3 steps of 4 inputs that are 1, and 3 constants that are 1 or 0
        (lambda: RNN([Shifted(), SimpleRNNCell(1, None, kernel_initializer="ones", recurrent_initializer="zeros")]), [[42.0], [24.0]]),
        (lambda: layers.Bidirectional(RNN(Shifted()), merge_mode="sum"), [[42.0, 42.0], [24.0, 24.0]]),
    ],
)
def test_a_cell_is_built_for_the_shapes_of_its_constants(layer, outputs):
    x, constant = Input(shape=(None, 4)), Input(shape=(3,))
    model = Model([x, constant], layer()(x, constants=constant))
    assert model.predict([np.ones((2, 3, 4)), np.array([[1.0] * 3, [0.0] * 3])], verbose=0).tolist() == outputs


@pytest.mark.parametrize("kind", [RNN, layers.Bidirectional])
def test_a_layer_made_again_takes_the_constants_it_had_at_the_end_of_a_list(kind):
    x, state, constant = Input(shape=(None, 4)), Input(shape=(2,)), Input(shape=(3,))
    states = [state] if kind is RNN else [state, state]
    with custom_object_scope({"Shifted": Shifted}):
        layer = RNN(Shifted()) if kind is RNN else kind(RNN(Shifted()))
        named = layer(x, initial_state=states, constants=constant)
        again = kind.from_config(layer.get_config())
    models = [Model([x, state, constant], outputs) for outputs in (named, again([x, *states, constant]))]
    data = [np.ones((2, 3, 4)), np.full((2, 2), 5.0), np.array([[1.0] * 3, [0.0] * 3])]
    np.testing.assert_allclose(models[1].predict(data, verbose=0), models[0].predict(data, verbose=0))


def test_a_layer_takes_the_constants_it_had_at_the_end_of_a_list_of_tensors():
    layer, x, constants = RNN(Remembering()), torch.ones(2, 3, 4), torch.ones(2, 5)
    torch.testing.assert_close(layer(x, constants=constants), layer([x, constants]))


def test_constants_go_to_the_cells_of_a_stack_that_take_them():
    stack = RNN([Minimal(4), Remembering()], return_sequences=True)
    x = torch.rand(2, 3, 4)
    torch.testing.assert_close(stack(x, constants=[torch.ones(2, 5)]), stack(x) + 1)


class Sum:
    """A cell that is no layer."""

    state_size = 4

    def call(self, inputs, states):
        return states[0] + inputs, [states[0] + inputs]


class SumFromOne(Sum):
    def get_initial_state(self, batch_size):
        return [torch.ones(batch_size, 4)]


@pytest.mark.parametrize(
    ("cell", "outputs"),
    [(Sum(), 3.0), ([Sum(), Sum()], 6.0), ([Sum(), SumFromOne()], 7.0), ([SimpleRNNCell(4, None, kernel_initializer="ones"), Sum()], None)],
)
def test_a_cell_that_is_no_layer(cell, outputs):
    layer, x = RNN(cell), torch.ones(2, 3, 4)
    model = Model(i := Input(shape=(3, 4)), layer(i))
    torch.testing.assert_close(model(x), layer(x))
    if outputs is not None:
        assert layer(x).tolist() == [[outputs] * 4] * 2


class FromLearned(GRU):
    """Begins with a state that is trained, as Keras 3 asks for it."""

    def build(self, input_shape):
        module = super().build(input_shape)
        self.begin = self.add_weight(shape=(1, self.units), initializer="ones", name="begin")
        return module

    def get_initial_state(self, batch_size=None):
        return [self.begin.repeat(batch_size, 1)]


class FromOnes(GRU):
    """Begins with ones, as Keras 2 asks for them, be it called by a `call` of its own or not."""

    def get_initial_state(self, inputs):
        return [state + 1 for state in super().get_initial_state(inputs)]


class CalledFromOnes(FromOnes):
    def call(self, inputs, mask=None):
        return super().call(inputs, mask=mask)


@pytest.mark.parametrize("kind", [FromLearned, FromOnes, CalledFromOnes])
@pytest.mark.parametrize("drawn", [False, True])
def test_a_subclass_says_what_the_states_begin_with(kind, drawn):
    x, layer, plain = torch.rand(2, 3, 4), kind(5), GRU(5)
    i = Input(shape=(3, 4))
    call, _ = Model(i, layer(i)) if drawn else layer, plain(x)
    call(x)
    plain.set_weights([weight for weight in layer.get_weights() if weight.shape != (1, 5)])
    torch.testing.assert_close(call(x), plain(x, initial_state=[torch.ones(2, 5)]))


def test_a_state_to_begin_with_is_trained_saved_and_copied(tmp_path):
    x, i = np.random.default_rng(0).random((8, 3, 4), "float32"), Input(shape=(3, 4))
    model = Model(i, layers.Bidirectional(FromLearned(5))(i))
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit(x, np.ones((8, 10)), verbose=0)
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    model.save(tmp_path / "model.keras")
    loaded = models.load_model(tmp_path / "model.keras", custom_objects={"FromLearned": FromLearned})
    for twin in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_stateful_subclass_begins_its_own_way_but_once():
    x, plain = torch.rand(2, 3, 4), GRU(5)
    layer = FromOnes(5, stateful=True, batch_input_shape=(2, 3, 4))
    first, second = layer(x), layer(x)
    plain(x), plain.set_weights(layer.get_weights())
    torch.testing.assert_close(first, plain(x, initial_state=[torch.ones(2, 5)]))
    torch.testing.assert_close(second, plain(x, initial_state=[first]))


def test_given_states_come_before_those_that_a_subclass_says():
    x, layer = torch.rand(2, 3, 4), FromOnes(5)
    torch.testing.assert_close(layer(x, initial_state=[torch.ones(2, 5)]), layer(x))
    assert not torch.allclose(layer(x, initial_state=[torch.zeros(2, 5)]), layer(x))


def test_the_states_to_begin_with_are_those_for_a_batch_of_inputs():
    layer = LSTM(5)
    layer.build((None, 3, 4))
    assert [state.shape for state in layer.get_initial_state(torch.ones(2, 3, 4))] == [(2, 5), (2, 5)]
    x = Input(shape=(None, 4))
    model = Model(x, layer.get_initial_state(inputs=x))
    assert [part.tolist() for part in model.predict(np.ones((2, 3, 4)), verbose=0)] == [[[0.0] * 5] * 2] * 2


@pytest.mark.parametrize("steps", [None, 6])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_shapes(kind, steps):
    layer, states = getattr(layers, kind)(5, return_sequences=True, return_state=True), 2 if kind == "LSTM" else 1
    assert [tensor.shape for tensor in layer(Input(shape=(steps, 3)))] == [(None, steps, 5), *[(None, 5)] * states]
    assert getattr(layers, kind)(5)(Input(shape=(steps, 3))).shape == (None, 5)


def test_only_a_sequence_of_outputs_keeps_the_mask():
    x, mask = Input(shape=(4, 3)), torch.ones(2, 4)
    sequences, last = GRU(5, return_sequences=True), LSTM(5, return_state=True)
    sequences(x), last(x)
    assert sequences.compute_mask(None, mask) is mask and sequences.compute_mask(None, [mask, None]) is mask
    assert last.compute_mask(None, mask) == [None, None, None]


def test_the_arguments_of_the_cell_are_those_of_the_layer():
    layer = LSTM(5, "relu", "hard_sigmoid", dropout=0.1, kernel_regularizer="l2", recurrent_constraint="unit_norm")
    assert (layer.units, layer.dropout, layer.use_bias, layer.unit_forget_bias) == (5, 0.1, True, True)
    assert layer.kernel_regularizer is layer.cell.kernel_regularizer is not None
    assert layer.recurrent_constraint is layer.cell.recurrent_constraint is not None


def test_keras_2_arguments():
    model = Sequential([LSTM(4, implementation=1, unroll=True, return_sequences=True, input_dim=3, input_length=6)])
    model.add(SimpleRNN(2, implementation=2))
    assert model.input_shape == (None, 6, 3) and model.output_shape == (None, 2)
    assert layers.CuDNNLSTM is LSTM and layers.CuDNNGRU is GRU


def test_integers_are_cast():
    assert LSTM(4)(torch.ones(2, 3, 5, dtype=torch.int64)).dtype is torch.float32


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_configuration_round_trip(kind):
    layer = getattr(layers, kind)(5, activation="relu", dropout=0.2, stateful=True, kernel_constraint="non_neg", zero_output_for_mask=True)
    twin = type(layer).from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    assert twin.stateful and twin.zero_output_for_mask and twin.cell.kernel_constraint is not None


def test_a_cell_is_written_down_with_its_layer():
    layer = RNN([LSTMCell(4), Minimal(3)], go_backwards=True, name="r")
    with custom_object_scope({"Minimal": Minimal}):
        twin = layers.deserialize(layers.serialize(layer))
    assert twin.get_config() == layer.get_config()
    assert [type(cell) for cell in twin.cell.cells] == [LSTMCell, Minimal]


def test_costs_that_a_cell_adds_while_it_runs_count():
    class Costly(Minimal):
        def call(self, inputs, states, training=None):
            self.add_loss(torch.ones(()))
            return super().call(inputs, states)

    x = Input(shape=(4, 3))
    model = Model(x, RNN(Costly(2))(x))
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.compile("sgd", "mse")
    assert model.train_on_batch(np.ones((1, 4, 3)), np.zeros((1, 2))) == pytest.approx(4.0)


def test_positions_of_the_arguments_are_those_of_keras():
    names = list(inspect.signature(LSTM.__init__).parameters)
    assert names[1:4] == ["units", "activation", "recurrent_activation"] and names.index("seed") < names.index("return_sequences")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSTM(-1), "'units' must be an integer of at least 1, got -1"),
        (lambda: GRU(2, use_cudnn="always"), "'use_cudnn' must be one of 'auto'"),
        (lambda: LSTM(2, "relu", use_cudnn=True)(Input(shape=(4, 3))), "use_cudnn=True, but torch has no fused kernel"),
        (lambda: LSTM(2, name="l")(Input(shape=(3,))), r"^l .*expected 3 dimensions .*, got 2"),
        (lambda: LSTM(2, name="l")(Input(shape=(4, None))), "^l .*the last dimension must be known"),
        (lambda: RNN(Minimal(2), name="r")(Input(shape=(3,))), "^r .*expected at least 3 dimensions"),
        (lambda: layers.ConvLSTM2D(2, 3, name="c")(Input(shape=(4, 8, 3))), "^c .*expected 5 dimensions"),
        (lambda: layers.ConvLSTM2D(2, 9, name="c")(Input(shape=(4, 8, 8, 3))), "larger than the input's"),
        (lambda: layers.ConvLSTM1D(2, 3, padding="causal"), "'padding' must be one of 'valid', 'same'"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_stateful_layer_over_images():
    layer = layers.ConvLSTM2D(2, 3, padding="same", stateful=True, return_sequences=True)
    x = torch.rand(2, 4, 5, 6, 3)
    layer(x[:, :2])
    assert [tuple(state.shape) for state in layer.states] == [(2, 5, 6, 2)] * 2
    after = layer(x[:, 2:])
    layer.reset_states()
    torch.testing.assert_close(after, layer(x)[:, 2:])


def test_activities_of_states_cost_too():
    layer = LSTM(3, return_state=True, activity_regularizer="l2")
    outputs = layer(torch.rand(2, 4, 3))
    torch.testing.assert_close(layer.losses, [0.01 * output.square().sum() for output in outputs])


def test_a_call_of_a_users_may_change_the_sequence():
    class Later(LSTM):
        def call(self, inputs, mask=None, training=None, initial_state=None):
            return super().call(inputs[:, 2:], mask=mask, training=training, initial_state=initial_state)

    x = Input(shape=(6, 4))
    model = Model(x, layers.Bidirectional(Later(5, return_sequences=True))(x))
    assert model.output_shape == (None, 4, 10) and model(torch.rand(2, 6, 4)).shape == (2, 4, 10)


def test_states_begun_in_inference_mode_are_trained_on():
    layer, x = GRU(5), torch.rand(2, 4, 3)
    layer(x)
    again = GRU(5, stateful=True, weights=layer.get_weights())
    again._build((None, 4, 3))
    with torch.inference_mode():
        again(x)
    again(x).sum().backward()
    assert not again.states[0].is_inference()
