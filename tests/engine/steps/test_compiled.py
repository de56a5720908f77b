"""`compile(jit_compile=True)`: compiled steps compute what steps in Python do, whatever the model; else one warning says why not.

torch's compiler takes seconds for each graph. So most tests run the graph of a step as it is, uncompiled (`as_it_is`): what
is ours is which graph it is, when it is used, and what happens around it. A few tests compile in earnest.
"""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest
import torch
import torch._inductor.config
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer, config, layers, losses, metrics, optimizers, regularizers
from torchkeras_fn.callbacks import BackupAndRestore, Callback, EarlyStopping, LambdaCallback, LearningRateScheduler
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.engine.basics.random_state import random_state, same
from torchkeras_fn.engine.steps import compiled as compiled_module
from torchkeras_fn.engine.steps.tracing import Traced
from torchkeras_fn.utils import Sequence as KerasSequence

ROWS, SIZE = 36, 8  # so that the last of five batches is short
_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(ROWS, 6)).astype("float32")
IMAGES = _numbers.normal(size=(ROWS, 6, 6, 1)).astype("float32")
SERIES = _numbers.normal(size=(ROWS, 4, 3)).astype("float32")
TOKENS = _numbers.integers(0, 5, (ROWS, 4))
Y = _numbers.normal(size=(ROWS, 1)).astype("float32")
CLASSES = _numbers.integers(0, 3, ROWS)
CROSSENTROPY = "sparse_categorical_crossentropy"
WEIGHTS = _numbers.uniform(size=ROWS).astype("float32")


@pytest.fixture
def as_it_is(monkeypatch):
    """Run the graphs of steps uncompiled; return the list of them."""
    graphs = []

    def uncompiled(graph, inputs, changing):
        graphs.append(graph)
        return lambda tensors: graph(*tensors)

    monkeypatch.setattr(compiled_module, "compiled", uncompiled)
    return graphs


# ---------------------------------------------------------------------- models


def dense(*inner):
    return Sequential([Input((6,)), layers.Dense(4, "relu"), *inner, layers.Dense(1)])


def classifier():
    return Sequential([Input((6,)), layers.Dense(4, "relu"), layers.Dense(3, "softmax")])


def convolutional():
    body = [layers.Conv2D(2, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.3)]
    return Sequential([Input((6, 6, 1)), *body, layers.Flatten(), layers.Dense(3, "softmax")])


def over_steps(layer, **options):
    return Sequential([Input((4, 3), **options), layer, layers.Dense(1)])


def on_tokens(*inner):
    return Sequential([Input((4,), dtype="int64"), layers.Embedding(5, 3, mask_zero=True), *inner, layers.Dense(1)])


def two_by_two():
    left, right, shared = Input((6,), name="left"), Input((6,), name="right"), layers.Dense(4, "relu")
    both = layers.Concatenate()([shared(left), shared(right)])
    return Model([left, right], [layers.Dense(3, "softmax", name="kind")(both), layers.Dense(1, name="value")(both)])


def with_terms():
    x = Input((6,))
    hidden = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l1", kernel_constraint="max_norm")(x)
    model = Model(x, layers.Dense(1)(hidden))
    model.add_loss((hidden**2).mean())
    model.add_metric(hidden.mean(), "level")
    return model


def frozen(*which):
    model = dense(layers.BatchNormalization())
    for index in which:
        model.layers[index].trainable = False
    return model


class Own(layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(6, 4))

    def call(self, inputs):
        hidden = inputs @ self.kernel
        self.add_loss((hidden**2).mean())
        return hidden


class Net(Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(4, "relu"), layers.Dense(1)
        self.factor = 1.0

    def call(self, inputs):
        return self.second(self.first(inputs)) * self.factor


class Changing(layers.Dense):
    """Counts its calls, shrinks its weights and keeps a running mean, all in place, before it uses them."""

    def build(self, input_shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.level = self.add_weight(shape=(4,), initializer="zeros", trainable=False)
        self.kernel = self.add_weight(shape=(input_shape[-1], 4))

    def call(self, inputs, training=None):
        if training:
            with torch.no_grad():
                self.count.add_(1)
                self.kernel.mul_(0.9)
                self.level.mul_(0.5).add_(self.kernel.mean(0))
        return inputs @ self.kernel * torch.clamp(self.count / 10, max=0.5) + self.level


class Plain(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 1)

    def forward(self, x):
        return self.linear(x)


def hits(y_true, y_pred):
    return (y_pred.argmax(-1) == y_true.reshape(-1)).float()


class Counting(metrics.Metric):
    """A metric of a user's, which gathers in Python."""

    def __init__(self):
        super().__init__(name="counting")
        self.values = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.values += y_pred[:, 0].tolist()

    def result(self):
        return torch.tensor(self.values).mean()

    def reset_state(self):
        self.values = []


class Batches(KerasSequence):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = slice(index * SIZE, (index + 1) * SIZE)
        return X[rows], Y[rows]


def train(model, x, y, jit_compile, epochs=3, fit=None, **options):
    """Train from the same seed, and return the history, the weights and the random state after it."""
    set_random_seed(1)
    model.compile(jit_compile=jit_compile, device="cpu", **{"optimizer": "adam", "loss": "mse", **options})
    data = {} if y is None else {"y": y, "batch_size": SIZE}
    history = model.fit(x, **data, epochs=epochs, verbose=0, **(fit or {})).history
    return history, model.state_dict(), random_state()["torch"]


def check_the_same(make, x, y, **options):
    """Train a model with steps in Python and with compiled ones, compare, and return the latter."""
    set_random_seed(0)
    model = make()
    twin = copy.deepcopy(model)
    if not isinstance(options.get("optimizer", ""), str):
        make_optimizer = options.pop("optimizer")
        history, weights, state = train(model, x, y, False, optimizer=make_optimizer(), **options)
        found, theirs, their_state = train(twin, x, y, True, optimizer=make_optimizer(), **options)
    else:
        history, weights, state = train(model, x, y, False, **copy.deepcopy(options))
        found, theirs, their_state = train(twin, x, y, True, **copy.deepcopy(options))
    assert list(found) == list(history)
    for name, values in history.items():
        assert found[name] == pytest.approx(values, rel=2e-5, abs=2e-6), name
    for name, values in weights.items():
        assert torch.allclose(theirs[name], values, rtol=2e-5, atol=2e-6), name
    assert torch.equal(state, their_state)
    return twin


CASES = {
    "class and sample weights": (classifier, X, CLASSES, {"fit": {"sample_weight": WEIGHTS, "class_weight": {1: 3.0}}}),
    "own metrics": (classifier, X, CLASSES, {"metrics": ["accuracy", "sparse_top_k_categorical_accuracy"]}),
    "weighted metrics": (classifier, X, CLASSES, {"weighted_metrics": ["accuracy"], "fit": {"sample_weight": WEIGHTS}}),
    "a user's metrics": (classifier, X, CLASSES, {"metrics": [hits, Counting()], "weighted_metrics": [hits]}),
    "two by two": (two_by_two, [X, X], [CLASSES, Y], {"loss_weights": [1, 0.5], "metrics": [["accuracy"], ["mae"]]}),
    "convolutions": (convolutional, IMAGES, CLASSES, {"metrics": ["accuracy"]}),
    "LSTM": (lambda: over_steps(layers.LSTM(3)), SERIES, Y, {}),
    "GRU": (lambda: over_steps(layers.GRU(3, dropout=0.2)), SERIES, Y, {}),
    "kept states": (lambda: over_steps(layers.LSTM(3, stateful=True), batch_size=SIZE), SERIES[:32], Y[:32], {}),
    "a masked sequence": (lambda: on_tokens(layers.LSTM(3)), TOKENS, Y, {"metrics": ["mae"]}),
    "masked steps": (on_tokens, TOKENS, np.repeat(Y, 4, 1)[..., None], {"metrics": ["mae"]}),
    "dropout": (lambda: dense(layers.Dropout(0.5)), X, Y, {}),
    "noise with seeds": (lambda: dense(layers.Dropout(0.5, seed=3), layers.GaussianNoise(0.1, seed=4)), X, Y, {}),
    "terms": (with_terms, X, Y, {}),
    "terms of a user's layer": (lambda: Sequential([Input((6,)), Own(), layers.Dense(1)]), X, Y, {}),
    "tensors that a layer changes": (lambda: dense(Changing(4)), X, Y, {}),
    "a count of torch's own": (lambda: dense(layers.TorchModuleWrapper(nn.BatchNorm1d(4))), X, Y, {}),
    "frozen layers": (lambda: frozen(0, 1), X, Y, {}),
    "all frozen": (lambda: frozen(0, 1, 2), X, Y, {"metrics": ["mae"]}),
    "a subclass": (Net, X, Y, {"metrics": ["mae"]}),
    "a plain module": (Plain, X, Y, {"loss": nn.MSELoss()}),
    "ready batches": (dense, Batches(), None, {"fit": {"workers": 0, "shuffle": False}}),
    "bfloat16": (dense, X, Y, {"precision": "mixed_bfloat16"}),
    "a scaled loss": (dense, X, Y, {"precision": "mixed_float16"}),
    "all around the optimizer's step": (
        dense,
        X,
        Y,
        {
            "optimizer": lambda: optimizers.Adam(
                optimizers.schedules.ExponentialDecay(0.1, 5, 0.5),
                clipnorm=0.5,
                use_ema=True,
                ema_overwrite_frequency=4,
                loss_scale_factor=4.0,
                gradient_accumulation_steps=2,
            )
        },
    ),
    "a torch optimizer": (dense, X, Y, {"optimizer": lambda: torch.optim.RMSprop, "gradient_accumulation_steps": 2}),
    "several steps an execution": (dense, X, Y, {"steps_per_execution": 3}),
    "validation": (dense, X, Y, {"metrics": ["mae"], "fit": {"validation_data": (X, Y)}}),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_compute_what_they_do_in_python(name, as_it_is):
    make, x, y, options = CASES[name]
    classes = isinstance(y, np.ndarray) and y.dtype == np.int64
    several = {"loss": [CROSSENTROPY, "mse"]} if isinstance(y, list) else {}
    loss = {"loss": CROSSENTROPY} if classes else several
    check_the_same(make, x, y, **loss, **options)
    assert len(as_it_is) == 1


@pytest.mark.parametrize(
    ("make", "x", "y", "options"),
    [
        pytest.param(classifier, X, CLASSES, {"loss": CROSSENTROPY, "metrics": ["accuracy", hits]}, id="dense"),
        pytest.param(convolutional, IMAGES, CLASSES, {"loss": CROSSENTROPY}, id="convolutions"),
        pytest.param(lambda: over_steps(layers.LSTM(3)), SERIES, Y, {}, id="LSTM"),
    ],
)
def test_steps_compute_what_they_do_in_python_when_compiled(make, x, y, options):
    model = check_the_same(make, x, y, **options)
    assert len(model._compiled_steps._ready) == 1


# ---------------------------------------------------------------------- what is compiled


def prepared(model=None, **options):
    model = model or dense()
    model.compile(**{"optimizer": "sgd", "loss": "mse", "jit_compile": True, "device": "cpu", **options})
    return model


def test_own_metrics_are_part_of_the_graph(as_it_is):
    model = prepared(classifier(), loss=CROSSENTROPY, metrics=["accuracy", hits])
    model.fit(X, CLASSES, batch_size=SIZE, verbose=0)
    (step,) = model._compiled_steps._ready.values()
    assert "argmax" in as_it_is[0].code
    assert len(step._updates) == 1  # that of the user's function
    assert {name for attributes, name, _ in step._counts} == {"_samples"}


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([8, 4] * 3, 1),  # the first kind that comes again
        ([8, 8, 8, 4, 8, 8, 4], 1),
        ([8, 8, 4, 4], 2),
        ([8, 4, 2], 0),
        ([8], 0),
    ],
)
def test_a_kind_of_batch_is_compiled_when_it_keeps_coming(sizes, count, as_it_is):
    model = prepared()
    for size in sizes:
        model.train_on_batch(X[:size], Y[:size])
    assert len(as_it_is) == count


def test_a_short_last_batch_compiles_nothing(as_it_is):
    model = prepared()
    for _ in range(3):
        model.fit(X, Y, batch_size=SIZE, epochs=3, verbose=0)
    assert len(as_it_is) == 1


def test_so_many_kinds_are_compiled_and_no_more(as_it_is):
    model = prepared()
    with pytest.warns(UserWarning, match="16 steps were compiled") as caught:
        for size in range(1, 20):
            for _ in range(2):
                model.train_on_batch(X[:size], Y[:size])
    assert len(as_it_is) == 16
    assert len(caught) == 1


def test_batches_of_another_layout_are_of_another_kind(as_it_is):
    model, twin = prepared(), prepared(copy.deepcopy(dense()))
    twin.set_weights(model.get_weights())
    turned = np.ascontiguousarray(X[:SIZE].T).T
    found = [model.train_on_batch(x, Y[:SIZE]) for x in (X[:SIZE], X[:SIZE], turned, turned)]
    twin.compile("sgd", "mse", device="cpu")
    assert found == pytest.approx([twin.train_on_batch(X[:SIZE], Y[:SIZE]) for _ in range(4)], rel=1e-5)


def test_nothing_is_compiled_unless_asked_for(as_it_is):
    for value in (False, "auto", None):
        prepared(model := dense(), jit_compile=value)
        model.fit(X, Y, batch_size=SIZE, epochs=2, verbose=0)
    assert as_it_is == []


# ---------------------------------------------------------------------- what changes a step


def with_equal_losses(model, change, x=X, y=Y):
    """Train, change, and go on; compare with a model that does so without compiling."""
    twin = copy.deepcopy(model)
    prepared(model)
    prepared(twin, jit_compile=False)
    losses = []
    for one in (model, twin):
        set_random_seed(2)
        history = one.fit(x, y, batch_size=SIZE, epochs=2, shuffle=False, verbose=0).history["loss"]
        change(one)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            losses.append(history + one.fit(x, y, batch_size=SIZE, epochs=2, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    return model


def assign(model):
    state = model.state_dict()
    state.update({name: torch.full_like(value, 0.1) for name, value in state.items()})
    model.load_state_dict(state, assign=True)
    model.compile("sgd", "mse", jit_compile=model._execution.jit_compile, device="cpu")


def replace_data(model):
    for parameter in model.parameters():
        parameter.data = torch.full_like(parameter, 0.1)


CHANGES = {
    "weights in place": lambda model: model.set_weights([np.full_like(weight, 0.1) for weight in model.get_weights()]),
    "other tensors": assign,
    "other memory": replace_data,
    "another type": lambda model: model.double(),
    "a number": lambda model: setattr(model.layers[1].module, "p", 0.9),
    "the mode of a layer": lambda model: setattr(model.layers[2], "trainable", False),
    "the learning rate": lambda model: setattr(model.optimizer, "learning_rate", 0.001),
    "the state of the optimizer": lambda model: model.optimizer.load_state_dict(model.optimizer.state_dict()),
    "a term": lambda model: model.add_loss(lambda: model.trainable_weights[0].square().mean()),
    "everything": lambda model: prepared(model, loss="mae", jit_compile=model._execution.jit_compile),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_a_step_is_noticed(name, as_it_is):
    with_equal_losses(dense(layers.Dropout(0.5), layers.BatchNormalization()), CHANGES[name])


class Weighted(nn.Module):
    """A loss in torch's order, or in Keras', with a number that a callback changes."""

    def __init__(self):
        super().__init__()
        self.factor = 1.0

    def forward(self, y_pred, y_true):
        return self.factor * (y_pred - y_true).square().mean()


class WeightedLoss(losses.Loss):
    factor = 1.0

    def call(self, y_true, y_pred):
        return self.factor * (y_pred - y_true).square().mean(-1)


def weighted_loss(y_true, y_pred):
    return weighted_loss.factor * (y_pred - y_true).square().mean(-1)


@pytest.mark.parametrize("kind", [float, np.float64, torch.tensor])
@pytest.mark.parametrize("make", [Weighted, WeightedLoss, lambda: weighted_loss])
def test_an_attribute_of_a_loss_counts(make, kind, as_it_is):
    set_random_seed(0)
    found = []
    for jit_compile in (False, True):
        loss, model = make(), Sequential([Input((6,)), layers.Dense(1, "tanh", kernel_initializer="ones")])
        loss.factor = 1.0
        prepared(model, loss=loss, jit_compile=jit_compile)
        grow = LambdaCallback(on_epoch_begin=lambda epoch, logs, loss=loss: setattr(loss, "factor", kind(1.0 + epoch)))
        found.append(model.fit(X, Y, batch_size=SIZE, epochs=4, shuffle=False, verbose=0, callbacks=[grow]).history["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_batch_that_is_changed_in_place_is_not_changed_more_often(as_it_is):
    found = []
    for jit_compile in (False, True):
        x = Input((6,))
        prepared(model := Model(x, layers.Dense(1, kernel_initializer="ones")(x.mul_(2.0))), jit_compile=jit_compile)
        data = torch.tensor(X)
        model.fit(data, Y, batch_size=SIZE, epochs=2, shuffle=False, verbose=0)
        found.append(data)
    assert torch.equal(*found)


class Settings:
    """An object of the user's, in an attribute of a model."""

    def __init__(self, factor):
        self.factor = factor


ATTRIBUTES = {
    "a number": (1.0, 0.5, lambda factor: factor),
    "a number of numpy's": (np.float64(1.0), np.float64(0.5), lambda factor: factor),
    "a tensor": (torch.tensor(1.0), torch.tensor(0.5), lambda factor: factor),
    "an array": (np.float32([1.0]), np.float32([0.5]), lambda factor: torch.tensor(factor)),
    "a tuple": ((1.0,), (0.5,), lambda factor: factor[0]),
    "a dict": ({"now": 1.0}, {"now": 0.5}, lambda factor: factor["now"]),
    "a dict of the same numbers": ({"now": 1.0, "then": 0.5}, {"then": 1.0, "now": 0.5}, lambda factor: factor["now"]),
    "nothing": ([1.0, None], [None, 1.0], lambda factor: factor[0] or 0.5),
    "the same numbers otherwise": ([[1.0], [0.5, 2.0]], [[1.0, 0.5], [2.0]], lambda factor: factor[0][-1]),
    "a set": ({"whole"}, {"half"}, lambda factor: 1.0 if "whole" in factor else 0.5),
    "a function": (torch.sigmoid, torch.tanh, lambda factor: factor(torch.ones(()))),
    "an object": (Settings(1.0), Settings(0.5), lambda factor: factor.factor),
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_an_attribute_of_a_subclass_counts(kind, as_it_is):
    first, second, read = ATTRIBUTES[kind]

    class Scaled(Net):
        def call(self, inputs):
            return self.second(self.first(inputs)) * read(self.scale)

    model = Scaled()
    model.scale = first
    model(torch.ones(1, 6))
    with_equal_losses(model, lambda model: setattr(model, "scale", second))
    assert len(as_it_is) == 2


class Slotted(Settings):
    """Settings that no `__dict__` holds."""

    __slots__ = ("factor",)


@pytest.mark.parametrize("make", [Settings, Slotted])
def test_an_attribute_of_an_object_in_an_attribute_counts(make, as_it_is):
    class Scaled(Net):
        def call(self, inputs):
            return self.second(self.first(inputs)) * self.settings.factor

    model = Scaled()
    model.settings = make(1.0)
    model(torch.ones(1, 6))
    with_equal_losses(model, lambda model: setattr(model.settings, "factor", 0.5))
    assert len(as_it_is) == 2


class Gain:
    """A user's object, whose methods are a loss and an activation."""

    def __init__(self):
        self.factor = 1.0

    def loss(self, y_true, y_pred):
        return self.factor * (y_pred - y_true).square().mean(-1)

    def activation(self, inputs):
        return torch.tanh(inputs * self.factor)

    __call__ = activation


@pytest.mark.parametrize("use", ["loss", "activation", "object"])
def test_an_attribute_of_the_object_of_a_method_counts(use, as_it_is):
    set_random_seed(0)
    found = []
    for jit_compile in (False, True):
        own = Gain()
        activation = {"loss": "tanh", "activation": own.activation, "object": own}[use]
        model = Sequential([Input((6,)), layers.Dense(1, activation, kernel_initializer="ones")])
        prepared(model, loss=own.loss if use == "loss" else "mse", jit_compile=jit_compile)
        grow = LambdaCallback(on_epoch_begin=lambda epoch, logs, own=own: setattr(own, "factor", 1.0 + epoch))
        found.append(model.fit(X, Y, batch_size=SIZE, epochs=4, shuffle=False, verbose=0, callbacks=[grow]).history["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_number_of_a_metric_counts(as_it_is):
    metric = metrics.BinaryAccuracy(threshold=0.5)
    model = prepared(dense(), metrics=[metric])
    model.fit(X, Y, batch_size=SIZE, epochs=2, verbose=0)
    metric.threshold = -1e9
    history = model.fit(X, np.ones_like(Y), batch_size=SIZE, epochs=2, verbose=0).history
    assert history["binary_accuracy"] == [1.0, 1.0] and len(as_it_is) == 2


class Scaled:
    """A regularizer of the user's own."""

    l2 = 0.0

    def __init__(self):
        self.l2 = 0.0

    def __call__(self, weight):
        return self.l2 * weight.square().sum()


@pytest.mark.parametrize("kind", ["kernel_regularizer", "activity_regularizer"])
@pytest.mark.parametrize("make", [regularizers.L2, lambda: regularizers.L1L2(l2=0.1), Scaled])
def test_an_attribute_of_a_regularizer_counts(make, kind, as_it_is):
    grow = LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(regularizer, "l2", float(epoch)))
    found = []
    for jit_compile in (False, True):
        regularizer = make()
        model = Sequential([Input((6,)), layers.Dense(1, "tanh", kernel_initializer="ones", **{kind: regularizer})])
        prepared(model, jit_compile=jit_compile)
        found.append(model.fit(X, Y, batch_size=SIZE, epochs=4, shuffle=False, verbose=0, callbacks=[grow]).history["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_number_in_a_list_in_an_attribute_counts(as_it_is):
    class Scaling(nn.Module):
        def __init__(self):
            super().__init__()
            self.factors = [1.0, 2.0]

        def forward(self, x):
            return x * self.factors[0] * self.factors[1]

    with_equal_losses(dense(layers.TorchModuleWrapper(Scaling())), lambda model: model.layers[1].module.factors.__setitem__(0, 0.5))
    assert len(as_it_is) == 2


def test_an_attribute_that_changes_nothing_compiles_nothing(as_it_is):
    model = with_equal_losses(dense(), lambda model: setattr(model, "note", 3))
    model.note = 4
    model.fit(X, Y, batch_size=SIZE, verbose=0)
    assert len(as_it_is) == 1


def test_the_epsilon_of_the_configuration_counts(as_it_is, monkeypatch):
    model = prepared(dense(), loss="msle")
    model.fit(X, Y, batch_size=SIZE, epochs=2, verbose=0)
    monkeypatch.setattr(config, "_epsilon", 1e9)  # which all numbers below count as
    assert model.fit(X, Y, batch_size=SIZE, epochs=2, verbose=0).history["loss"] == [0.0, 0.0]


def test_the_callers_autocast_counts_as_long_as_it_is_on(as_it_is):
    model = prepared()
    with torch.autocast("cpu", torch.bfloat16):
        model.fit(X, Y, batch_size=SIZE, epochs=2, verbose=0)
    model.fit(X, Y, batch_size=SIZE, verbose=0)
    assert ["bfloat16" in graph.code for graph in as_it_is] == [True, False]


def test_nothing_is_traced_anew_where_nothing_changed(as_it_is, monkeypatch):
    traced = []
    monkeypatch.setattr(compiled_module, "Traced", lambda *args: traced.append(Traced(*args)) or traced[-1])
    model = prepared(Net(), metrics=["mae"])
    for _ in range(2):
        model.fit(X, Y, batch_size=SIZE, epochs=2, validation_data=(X, Y), verbose=0)
        model.predict(X)
        model.train_on_batch(X[:SIZE], Y[:SIZE])
    assert len(traced) == 1


def test_metrics_that_the_data_decides_anew_are_used(as_it_is):
    model = prepared(classifier(), loss=CROSSENTROPY, metrics=["accuracy"])
    model.fit(X, CLASSES, batch_size=SIZE, verbose=0)
    accuracy = model.evaluate(X, CLASSES, verbose=0)[1]
    history = model.fit(X, CLASSES, batch_size=SIZE, verbose=0).history
    assert abs(history["accuracy"][0] - accuracy) < 0.2
    assert len(as_it_is) == 1


def test_callbacks_reach_the_steps(as_it_is):
    callbacks = [LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1)), EarlyStopping("loss", min_delta=10)]
    check_the_same(dense, X, Y, optimizer="sgd", fit={"callbacks": callbacks})

    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    model, steps = prepared(), []
    model.optimizer.torch_optimizer.register_step_post_hook(lambda *_: steps.append(1))
    model.fit(X, Y, batch_size=SIZE, verbose=0, callbacks=[Stop()])
    assert len(steps) == 3


def test_patterns_of_dropout_change_from_step_to_step_and_come_again_with_the_seed(as_it_is):
    model = Sequential([Input((6,)), layers.Dropout(0.5)])
    prepared(model, optimizer=optimizers.SGD(0.0), loss=lambda y_true, y_pred: y_pred.sum(-1))

    def losses():
        set_random_seed(5)
        return [model.train_on_batch(np.ones((SIZE, 6)), Y[:SIZE]) for _ in range(6)]

    first = losses()
    assert len(set(first[2:])) > 1
    assert losses()[2:] == losses()[2:]


# ---------------------------------------------------------------------- what cannot be compiled


class ReadsValues(Net):
    def call(self, inputs):
        hidden = self.first(inputs)
        return self.second(hidden * 2 if hidden.mean().item() > 100 else hidden)


class ReadsOwnValues(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def call(self, inputs):
        self.count.add_(1)
        return super().call(inputs) * (self.count * 0.1).item()


class ReplacesData(Net):
    def call(self, inputs):
        outputs = super().call(inputs)
        self.second.kernel.data = self.second.kernel.data * 0.9
        return outputs


class KeepsTensors(Net):
    def call(self, inputs):
        self.kept = self.first(inputs)
        return self.second(self.kept)


class Appends(Net):
    def __init__(self):
        super().__init__()
        self.notes = []

    def call(self, inputs):
        hidden = self.first(inputs)
        self.notes.append(hidden)
        return self.second(hidden)


class OwnStep(Net):
    def train_step(self, batch):
        return super().train_step(batch)


class KerasStep(Net):
    def train_step(self, data):
        x, y = data
        return super().train_step((x, y))


class OwnLoss(Net):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return super().compute_loss(x, y, y_pred, sample_weight)


def hooked():
    model = dense()
    model.layers[0].module.register_forward_hook(lambda *_: None)
    return model


def in_numpy(y_true, y_pred):
    return torch.from_numpy(np.abs(y_true.numpy() - y_pred.detach().numpy())) + y_pred * 0 + (y_pred - y_true) ** 2


REFUSED = {
    "values": (ReadsValues, {}, r"depends on the values in tensors.*test_compiled.py, line \d+"),
    "values of its own": (ReadsOwnValues, {}, "depends on the values in tensors"),
    "memory": (ReplacesData, {}, "tensor.data = "),
    "attributes": (KeepsTensors, {}, "KeepsTensors keeps a tensor .'kept'."),
    "lists": (Appends, {}, "Appends keeps a tensor"),
    "train_step": (OwnStep, {}, "train_step is overridden"),
    "train_step(data)": (KerasStep, {}, "train_step is overridden"),
    "compute_loss": (OwnLoss, {}, "compute_loss or compute_metrics is overridden"),
    "hooks": (hooked, {}, "hooks"),
    "numpy": (dense, {"loss": in_numpy}, "test_compiled.py"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compiled_runs_as_it_is_with_one_warning(name, as_it_is):
    make, options, reason = REFUSED[name]
    with pytest.warns(UserWarning, match="jit_compile=True, but training steps run as they are") as caught:
        model = check_the_same(make, X, Y, metrics=["mae"], **options)
        model.fit(X, Y, batch_size=SIZE, verbose=0)
        model.train_on_batch(X, Y)
    assert len(caught) == 1
    assert as_it_is == []
    with pytest.warns(UserWarning, match=reason):
        prepared(model, **options).fit(X, Y, batch_size=SIZE, epochs=2, verbose=0)


@pytest.mark.parametrize("method", ["fit", "train_on_batch", "fit_generator"])
def test_the_warning_points_to_the_line_that_trains(method, as_it_is):
    model, batches = prepared(ReadsValues()), Batches()
    train = {
        "fit": lambda: model.fit(X, Y, batch_size=SIZE, verbose=0),
        "train_on_batch": lambda: [model.train_on_batch(X, Y) for _ in range(2)],
        "fit_generator": lambda: model.fit_generator(batches, verbose=0),
    }[method]
    with pytest.warns(UserWarning, match="not compiled") as caught:
        train()
    assert [warning.filename for warning in caught] == [__file__]


def test_models_that_are_compiled_in_several_threads_at_once_leave_no_trace(as_it_is):
    models = [prepared() for _ in range(3)]
    together = threading.Barrier(len(models))

    def train(model):
        together.wait()
        model.fit(X, Y, batch_size=SIZE, epochs=2, verbose=0)

    threads = [threading.Thread(target=train, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(as_it_is) == len(models)
    assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2  # refused where torch believes that it traces


def test_an_attempt_that_fails_changes_nothing(monkeypatch):
    """Neither where tracing fails, nor the compiler, nor the compiled function after it has changed half of all."""

    def broken(graph, inputs, changing):
        def run(tensors):
            graph(*tensors)
            raise RuntimeError("no luck")

        return run

    monkeypatch.setattr(compiled_module, "compiled", broken)
    with pytest.warns(UserWarning, match="RuntimeError: no luck"):
        check_the_same(lambda: dense(layers.BatchNormalization(), layers.Dropout(0.5)), X, Y, metrics=["mae"])
    with pytest.warns(UserWarning, match="depends on the values"):
        model = prepared(ReadsValues(), metrics=["mae"])
        model.train_on_batch(X, Y)
        before, figures, state = copy.deepcopy(model.state_dict()), model.objective.running.numbers(), random_state()
        steps = model._compiled_steps
        assert steps._step_for(steps._last, *_batch_of(model)) is None
    assert same(random_state(), state)
    assert model.objective.running.numbers() == figures
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def _batch_of(model):
    batch = model._batch(X, Y)
    return batch, [batch[0], batch[1]]


def test_without_a_compiler_steps_run_as_they_are(tmp_path):
    without = torch._inductor.config.patch({"cpp.cxx": (None, str(tmp_path / "no-compiler")), "force_disable_caches": True})
    with without, pytest.warns(UserWarning, match="run as they are, not compiled: .*ompiler"):
        check_the_same(dense, X, Y)


@pytest.mark.parametrize("of", ["a module", "a weight"])
def test_steps_are_compiled_again_when_the_hooks_are_gone(of, as_it_is):
    model = prepared()
    linear = model.layers[0].module
    if of == "a module":
        handle = linear.register_forward_hook(lambda *_: None)
    else:
        handle = linear.weight.register_hook(lambda gradient: gradient * 2)
    with pytest.warns(UserWarning, match="hooks"):
        model.fit(X, Y, batch_size=SIZE, epochs=2, verbose=0)
    handle.remove()
    model.fit(X, Y, batch_size=SIZE, verbose=0)
    assert len(as_it_is) == 1


# ---------------------------------------------------------------------- copies, and other processes


def test_a_copy_compiles_its_own_steps(as_it_is, tmp_path):
    model = prepared()
    model.fit(X, Y, batch_size=SIZE, verbose=0)
    torch.save(model, tmp_path / "model.pt")
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(tmp_path / "model.pt", weights_only=False)]
    weights = model.get_weights()
    for number, one in enumerate(copies, 2):
        one.fit(X, Y, batch_size=SIZE, verbose=0)
        assert len(as_it_is) == number
        assert not np.array_equal(one.get_weights()[0], weights[0])
    assert all(map(np.array_equal, model.get_weights(), weights))


class Noting(layers.Dense):
    def call(self, inputs):
        self.add_metric(inputs.mean(), "level")
        return super().call(inputs)


class Interruption(Exception):
    """What stands for a crash."""


class Interrupt(Callback):
    def __init__(self, after):
        self.after = after

    def on_train_batch_end(self, batch, logs=None):
        self.after -= 1
        if self.after < 0:
            raise Interruption


@pytest.mark.parametrize(("save_freq", "after"), [(1, 4), (1, 7), ("epoch", 7)])  # before a short batch; amid an epoch; an epoch again
def test_a_run_that_is_taken_up_ends_as_if_it_was_never_interrupted(save_freq, after, tmp_path, monkeypatch):
    def otherwise(graph, inputs, changing):
        """Compiled steps round otherwise than those in Python; here by so much that one in place of the other shows."""
        return lambda tensors: [value * 1.01 if value.is_floating_point() else value for value in graph(*tensors)]

    def fit(*callbacks):
        set_random_seed(3)
        model = Sequential([Input((6,)), layers.Dropout(0.3), Noting(3, "softmax")])
        prepared(model, optimizer="adam", loss=CROSSENTROPY, metrics=["accuracy"])
        callbacks = [BackupAndRestore(tmp_path, save_freq=save_freq), *callbacks]
        return model.fit(X, CLASSES, batch_size=SIZE, epochs=3, verbose=0, callbacks=callbacks).history, model.get_weights()

    monkeypatch.setattr(compiled_module, "compiled", otherwise)
    with pytest.raises(Interruption):
        fit(Interrupt(after))
    history, weights = fit()
    undisturbed, expected = fit()
    assert all(map(np.array_equal, weights, expected))
    assert history["loss"][-1] == undisturbed["loss"][-1]


@pytest.mark.cuda
def test_steps_are_recorded_and_replayed_on_cuda():
    set_random_seed(0)
    model = dense(layers.BatchNormalization())
    twin = copy.deepcopy(model)
    histories = []
    for one, jit_compile in ((model, False), (twin, True)):
        set_random_seed(1)
        prepared(one, jit_compile=jit_compile, device="cuda", metrics=["mae", hits])
        histories.append(one.fit(X, Y, batch_size=SIZE, epochs=3, verbose=0).history)
    for name, values in histories[0].items():
        assert histories[1][name] == pytest.approx(values, rel=1e-4), name
    (step,) = twin._compiled_steps._ready.values()
    assert step._run._graph is not None
