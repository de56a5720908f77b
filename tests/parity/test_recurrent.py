"""The recurrent layers against the real Keras: every option, masks of several kinds, states, gradients, training side by side."""

from itertools import product

import keras
import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

import torchkeras_fn as tk
from parity.twins import LIBRARIES, array, same, twins

STEPS, FEATURES, UNITS = 6, 3, 4
X = np.random.default_rng(0).normal(size=(5, STEPS, FEATURES)).astype("float32")
MASKS = {
    "unmasked": None,
    "right-padded": np.arange(STEPS) < np.array([[6], [4], [1], [0], [6]]),  # one row is hidden entirely
    "masked anywhere": np.random.default_rng(1).random((5, STEPS)) > np.array([[0.5], [0.5], [0.5], [1.0], [0.0]]),
}
OPTIONS = {
    "LSTM": [{"use_bias": False}, {"unit_forget_bias": False}, {"recurrent_activation": "hard_sigmoid"}, {"activation": "relu"}],
    "GRU": [{"use_bias": False}, {"reset_after": False}, {"reset_after": False, "use_bias": False}, {"recurrent_activation": "tanh"}],
    "SimpleRNN": [{"use_bias": False}, {"activation": "relu"}, {"activation": None}, {"activation": "sigmoid"}],
}
SWITCHES = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")


def named(switches):
    """`{'return_sequences': True}` for each of the switches that is on."""
    return {name: True for name, on in zip(SWITCHES, switches, strict=False) if on}


def cases():
    """Every combination of switches for each layer and mask, and every option of the cell with some of them."""
    for kind, mask in product(OPTIONS, MASKS):
        for switches in product((False, True), repeat=3 if mask == "unmasked" else 4):
            yield kind, mask, named(switches)
        for options in OPTIONS[kind]:
            yield kind, mask, {**options, "return_sequences": True, "return_state": True}
            yield kind, mask, {**options, "go_backwards": True}
    for kind in OPTIONS:
        yield kind, "masked anywhere", {"unroll": True, "return_sequences": True, "zero_output_for_mask": True}
        yield kind, "unmasked", {"unroll": True, "go_backwards": True}


def table(found):
    return [pytest.param(*case, id=" ".join(map(str, case))) for case in found]


def model_of(draw, mask):
    """Return the recipe of a model whose layer gets the mask as a second input."""

    def recipe(library):
        x, shown = library.Input((STEPS, FEATURES)), library.Input((STEPS,), dtype="bool")
        outputs = tree_leaves(draw(library.layers, x, {} if mask is None else {"mask": shown}))
        return library.Model(x if mask is None else [x, shown], outputs)

    return recipe


def compare(draw, mask=None, x=X, tolerance=2e-5):
    """Compare outputs, and the gradients of the inputs and weights, of what is drawn in both libraries."""
    ours, theirs = twins(model_of(draw, mask))
    results = []
    for model in (ours, theirs):
        inputs = torch.tensor(x, requires_grad=True)
        outputs = tree_leaves(model(inputs if mask is None else [inputs, torch.tensor(mask)]))
        sum((output * torch.arange(output.numel()).cos().view(output.shape)).sum() for output in outputs).backward()
        results.append(([output.detach() for output in outputs], inputs.grad))
    (outputs, gradient), (their_outputs, their_gradient) = results
    same([array(output) for output in outputs], [array(output) for output in their_outputs], tolerance)
    same(array(gradient), array(their_gradient), tolerance)
    for weight, variable in zip(ours.layers[-1].named_weights(), theirs.weights, strict=True):
        same(array(weight.arranged(weight.tensor.grad)), array(variable.value.grad), 1e-4)
    assert [None if size is None else size for size in ours.outputs[0].shape] == list(theirs.outputs[0].shape)


def states_from(layers, x, count):
    """Return some numbers of the sequence as states to begin with."""
    flat = layers.Flatten()(x)
    return [flat[:, index * UNITS : (index + 1) * UNITS] for index in range(count)]


@pytest.mark.parametrize(("kind", "mask", "options"), table(cases()))
def test_layer(kind, mask, options):
    compare(lambda layers, x, masks: getattr(layers, kind)(UNITS, **options)(x, **masks), MASKS[mask])


WAYS = [
    *product(("LSTM", "GRU"), MASKS, [(True, False), (False, True)], ["concat"]),
    *product(("GRU",), MASKS, [(True, True)], ["sum", "mul", "ave", None]),
]


@pytest.mark.parametrize(("kind", "mask", "switches", "mode"), table(WAYS))
def test_bidirectional(kind, mask, switches, mode):
    def draw(layers, x, masks):
        return layers.Bidirectional(getattr(layers, kind)(UNITS, **named(switches)), merge_mode=mode)(x, **masks)

    compare(draw, MASKS[mask])


def test_bidirectional_with_a_backward_layer_and_states():
    def draw(layers, x, masks):
        backward = layers.LSTM(UNITS, return_sequences=True, activation="relu", go_backwards=True)
        states = states_from(layers, x, 4)
        return layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True), backward_layer=backward)(x, initial_state=states)

    compare(draw)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("switches", [(), (True, True), (True, False, True)])
@pytest.mark.parametrize("cells", [("LSTMCell", "GRUCell"), ("GRUCell",), ("SimpleRNNCell", "LSTMCell", "SimpleRNNCell")])
def test_stacked_cells(cells, switches, mask):
    def draw(layers, x, masks):
        stack = [getattr(layers, cell)(UNITS + index) for index, cell in enumerate(cells)]
        return layers.RNN(stack, **named(switches))(x, **masks)

    compare(draw, MASKS[mask])


def users_cell(library):
    """Return a class of cells for the library, as its users write them."""

    class Minimal(library.layers.Layer):
        def __init__(self, units, **options):
            super().__init__(**options)
            self.state_size = units

        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1], self.state_size), initializer="uniform", name="kernel")
            self.recurrent_kernel = self.add_weight(shape=(self.state_size, self.state_size), initializer="uniform", name="recurrent")
            self.built = True

        def call(self, inputs, states):
            output = inputs @ self.kernel + states[0] @ self.recurrent_kernel
            return output, [output]

    return Minimal


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("switches", product((False, True), repeat=2))
def test_a_users_cell(switches, mask):
    def draw(layers, x, masks):
        library = tk if layers is tk.layers else keras
        return layers.RNN(users_cell(library)(UNITS), **named(switches))(x, **masks)

    compare(draw, MASKS[mask])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", OPTIONS)
def test_initial_state(kind, mask):
    def draw(layers, x, masks):
        states = states_from(layers, x, 2 if kind == "LSTM" else 1)
        return getattr(layers, kind)(UNITS, return_sequences=True, return_state=True)(x, initial_state=states, **masks)

    compare(draw, MASKS[mask])


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_masks_of_an_embedding(kind):
    tokens = np.random.default_rng(0).integers(0, 3, (7, STEPS))

    def recipe(library):
        x = library.Input((STEPS,), dtype="int32")
        hidden = library.layers.Embedding(3, 4, mask_zero=True)(x)
        hidden = getattr(library.layers, kind)(UNITS, return_sequences=True)(hidden)
        return library.Model(x, library.layers.Bidirectional(getattr(library.layers, kind)(2))(hidden))

    ours, theirs = twins(recipe)
    same(ours.predict(tokens, verbose=0), theirs.predict(tokens, verbose=0))


@pytest.mark.parametrize("kind", OPTIONS)
def test_states_kept_from_batch_to_batch(kind):
    def recipe(library):
        x = library.Input(batch_shape=(5, STEPS, FEATURES))
        return library.Model(x, getattr(library.layers, kind)(UNITS, stateful=True)(x))

    ours, theirs = twins(recipe)
    x = np.concatenate([X, -X, X / 2])
    same(ours.predict(x, batch_size=5, verbose=0), theirs.predict(x, batch_size=5, verbose=0))
    same(ours.predict(x, batch_size=5, verbose=0), theirs.predict(x, batch_size=5, verbose=0))  # goes on from there
    ours.reset_states()
    theirs.layers[-1].reset_state()
    same(ours.predict(x, batch_size=5, verbose=0), theirs.predict(x, batch_size=5, verbose=0))


TRAINED = {
    "LSTM": lambda layers, x: layers.LSTM(UNITS)(x),
    "LSTM of the paper": lambda layers, x: layers.LSTM(UNITS, kernel_regularizer="l2", bias_constraint="non_neg", unit_forget_bias=False)(
        x
    ),
    "GRU": lambda layers, x: layers.GRU(UNITS, kernel_regularizer="l1", recurrent_constraint="unit_norm")(x),
    "GRU of the paper": lambda layers, x: layers.GRU(UNITS, reset_after=False, bias_regularizer="l2")(x),
    "masked": lambda layers, x: layers.GRU(UNITS)(layers.LSTM(UNITS, return_sequences=True)(layers.Masking()(x))),
    "both ways": lambda layers, x: layers.Bidirectional(layers.SimpleRNN(UNITS))(
        layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    ),
}


# Adam's steps are of the size of the learning rate also where a gradient is as small as its epsilon, which torch and Keras add at
# different places, or as rounding: there the weights, which move by 0.1 here, may differ a little.
@pytest.mark.parametrize(("optimizer", "tolerance"), [("SGD", 1e-4), ("Adam", 3e-3)])
@pytest.mark.parametrize("name", TRAINED)
def test_training_side_by_side(name, optimizer, tolerance):
    def recipe(library):
        x = library.Input((STEPS, FEATURES))
        return library.Model(x, library.layers.Dense(1)(TRAINED[name](library.layers, x)))

    x, y = X.copy(), X.sum((1, 2)).reshape(-1, 1)
    x[0, 2:4] = x[1, 3:] = 0
    pair = twins(recipe)
    histories = []
    for library, model in zip(LIBRARIES, pair, strict=True):
        model.compile(getattr(library.optimizers, optimizer)(0.01), "mse")
        histories.append(model.fit(x, y, batch_size=5, epochs=10, shuffle=False, verbose=0).history["loss"])
    same(histories[0], histories[1], 1e-4)
    ours, theirs = pair
    same(ours.get_weights(), theirs.get_weights(), tolerance)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_what_a_new_layer_begins_with(kind):
    """Biases, and the lengths that an orthogonal recurrent kernel has in Keras' layout."""
    layers = [getattr(library.layers, kind)(UNITS) for library in LIBRARIES]
    for layer in layers:
        layer(X)
    (_, recurrent, bias), (_, their_recurrent, their_bias) = (layer.get_weights() for layer in layers)
    same(bias, their_bias)
    same(recurrent @ recurrent.T, their_recurrent @ their_recurrent.T)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_a_cell_alone(kind):
    ours, theirs = (getattr(library.layers, kind)(UNITS) for library in LIBRARIES)
    states = [np.full((5, UNITS), 0.3, "float32"), np.full((5, UNITS), -0.2, "float32")][: 2 if kind == "LSTMCell" else 1]
    for cell in (ours, theirs):
        cell(X[:, 0], [torch.tensor(state) for state in states])
    theirs.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    (output, after), (their_output, their_after) = (cell(X[:, 0], [torch.tensor(state) for state in states]) for cell in (ours, theirs))
    same(array(output), array(their_output))
    same([array(state) for state in after], [array(state) for state in their_after])


CONVOLUTIONS = [
    *(
        {},
        {"padding": "same"},
        {"padding": "same", "strides": 2},
        {"strides": 2},
        {"dilation_rate": 2},
        {"kernel_size": 2, "padding": "same"},
    ),
    *({"data_format": "channels_first"}, {"use_bias": False, "activation": "relu"}, {"recurrent_activation": "hard_sigmoid"}),
    {"return_sequences": True, "return_state": True, "go_backwards": True},
    {"activation": "softmax", "recurrent_activation": "softmax"},
]


@pytest.mark.parametrize(("rank", "options"), table(product((1, 2, 3), CONVOLUTIONS)))
def test_convolutions(rank, options):
    sizes = (6, 5, 6)[:rank]
    shape = (3, 2, *sizes) if "data_format" in options else (3, *sizes, 2)
    compare_images(lambda layers, x: getattr(layers, f"ConvLSTM{rank}D")(3, **{"kernel_size": 3, **options})(x), shape)


def compare_images(draw, shape):
    def recipe(library):
        x = library.Input(shape)
        return library.Model(x, draw(library.layers, x))

    ours, theirs = twins(recipe)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    outputs, their_outputs = (tree_leaves(model(x)) for model in (ours, theirs))
    same([array(output) for output in outputs], [array(output) for output in their_outputs])
    for found in (outputs, their_outputs):
        sum(output.square().sum() for output in found).backward()
    for weight, variable in zip(ours.layers[-1].named_weights(), theirs.weights, strict=True):
        same(array(weight.arranged(weight.tensor.grad)), array(variable.value.grad), 1e-4)


@pytest.mark.parametrize("sequences", [False, True])
def test_convolutions_with_a_mask(sequences):
    def draw(layers, x, masks):
        images = layers.Reshape((STEPS, FEATURES, 1))(x)
        return layers.ConvLSTM1D(2, 2, return_sequences=sequences, return_state=True)(images, **masks)

    compare(draw, MASKS["masked anywhere"])
