"""A model of which each process holds a part trains as one process trains the whole, to the rounding of sums in another order."""

import copy
import io
import os
import pickle

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule

from tests.distributed.job import run
from torchkeras_fn import Input, Model, Sequential, Trainer, callbacks, optimizers
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.constraints import MaxNorm
from torchkeras_fn.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Conv2D,
    Dense,
    Embedding,
    GlobalAveragePooling2D,
    Layer,
    LayerNormalization,
    MultiHeadAttention,
)
from torchkeras_fn.models import clone_model
from torchkeras_fn.regularizers import OrthogonalRegularizer
from torchkeras_fn.shards import is_sharded, parts, whole

ROWS, GLOBAL = 23, 12
"""Rows of the data, and of a step, all processes together: the last step has fewer than the others, and not as many for each."""
_numbers = np.random.default_rng(0)
Y = _numbers.normal(size=(ROWS, 1)).astype("float32")
FLAT, STEPS, IMAGES = (_numbers.normal(size=(ROWS, *shape)).astype("float32") for shape in ((5,), (4, 5), (6, 6, 2)))
WORDS = _numbers.integers(0, 11, size=(ROWS, 4))


# ------------------------------------------------------------------ models


def shared_and_regularized():
    """A layer that is called twice, penalties on weights, weights held to a norm, sizes that no number of processes divides."""
    x = Input((5,))
    twice = Dense(7, "tanh", kernel_regularizer="l2", bias_regularizer="l1", kernel_constraint=MaxNorm(1.0))
    y = twice(Dense(5)(twice(x)))
    return Model(x, Dense(1, kernel_regularizer=OrthogonalRegularizer(mode="columns"))(y)), FLAT


def recurrent():
    x = Input((4, 5))
    y = GRU(3, return_sequences=True, kernel_regularizer="l2", bias_constraint="non_neg")(x)
    return Model(x, Dense(1)(Bidirectional(LSTM(3))(y))), STEPS


def images():
    x = Input((6, 6, 2))
    y = GlobalAveragePooling2D()(LayerNormalization()(Conv2D(5, 3, activation="relu")(x)))
    return Model(x, Dense(1, activation=nn.PReLU())(y)), IMAGES


def words():
    x = Input((4,))
    y = Embedding(11, 5, mask_zero=True)(x)
    return Model(x, Dense(1)(LSTM(4)(MultiHeadAttention(2, 3)(y, y)))), WORDS


def frozen_and_nested():
    x = Input((5,))
    frozen = Dense(6, "relu")
    frozen.trainable = False
    return Model(x, Dense(1)(Sequential([Dense(3, "tanh", input_shape=(6,)), Dense(2)])(frozen(x)))), FLAT


def normalized():
    """Compiled with `sync_batchnorm=True`, so that statistics are those of all rows."""
    return Sequential([Dense(7, use_bias=False, input_shape=(5,)), BatchNormalization(), Dense(1)]), FLAT


class Scale(Layer):
    """A layer of the user's: two single numbers, a vector, and a layer inside."""

    def build(self, shape):
        self.factor, self.shift = self.add_weight((), "ones"), self.add_weight((), "zeros")
        self.each = self.add_weight((shape[-1],), "ones", regularizer="l2")
        self.inner = LSTM(3)

    def call(self, x):
        return self.inner((x * self.factor * self.each + self.shift)[:, None, :])


def own_layer():
    x = Input((5,))
    return Model(x, Dense(1)(Scale()(x))), FLAT


class Blocks(Model):
    """A model with a `call`, layers in a list, and a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.last = Dense(4, "tanh"), Dense(1)
        self.blocks = [Dense(4, "relu") for _ in range(2)]
        self.scale = nn.Parameter(torch.ones(4))

    def call(self, x):
        y = self.first(x) * self.scale
        for block in self.blocks:
            y = y + block(y)
        return self.last(y)


def own_call():
    model = Blocks()
    model(torch.zeros(1, 5))
    return model, FLAT


class OwnStep(Model):
    """The training step of the user's, who calls the model."""

    def train_step(self, batch):
        x, y, _ = batch
        loss = self.compute_loss(x, y, self(x))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": torch.zeros(())}


def own_step():
    x = Input((5,))
    return OwnStep(x, Dense(1, kernel_regularizer="l2")(Dense(4, "tanh")(x))), FLAT


class AndMore(Model):
    """A training step around that of the library, over a `call` of the user's."""

    def __init__(self):
        super().__init__()
        self.first, self.last = Dense(4, "tanh"), Dense(1)

    def call(self, x):
        return self.last(self.first(x))

    def train_step(self, batch):
        Trainer.train_step(self, batch)
        return {"loss": torch.zeros(())}


def around_the_step():
    model = AndMore()
    model(torch.zeros(1, 5))
    return model, FLAT


class DrawnAndMore(Model):
    """The same over a drawn graph, with a penalty on what a layer puts out."""

    train_step = AndMore.train_step


def around_the_drawn_step():
    x = Input((5,))
    return DrawnAndMore(x, Dense(1)(Dense(4, "tanh", activity_regularizer="l2")(x))), FLAT


class Tied(nn.Module):
    """Two modules with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 1)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(self.second(torch.tanh(self.first(x))))


def tied():
    return Model.from_module(Tied()), FLAT


class Plain(Trainer, nn.Module):
    """A plain torch module with blocks in a list."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(5, 5), nn.Tanh()) for _ in range(2)])
        self.scale, self.last = nn.Parameter(torch.ones(5)), nn.Linear(5, 1)

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return self.last(x * self.scale)


def plain():
    return Plain(), FLAT


def with_a_constant():
    x = Input((5,))
    return Model(x, Dense(1)(x * nn.Parameter(torch.full((5,), 0.5)))), FLAT


def with_own_loss():
    model = Sequential([Dense(4, "tanh", input_shape=(5,)), Dense(1)])
    model.add_loss(lambda: 0.1 * (model.layers[0].kernel ** 2).sum())
    return model, FLAT


MODELS = {
    make.__name__: make
    for make in (
        *(shared_and_regularized, recurrent, images, words, frozen_and_nested, normalized, own_layer, own_call, own_step),
        *(around_the_step, around_the_drawn_step, tied, plain, with_a_constant, with_own_loss),
    )
}


BY_THREE = ["shared_and_regularized", "recurrent", "normalized", "own_layer", "own_step", "tied", "plain", "with_a_constant"]
"""Those that three processes train too: fewer, for the time that it takes."""


def weights_of(model):
    return model.get_weights() if hasattr(model, "get_weights") else [whole(p.detach()).numpy() for p in model.parameters()]


def train(kind, distributed):
    """Train a model; return all that can be seen of it, and whether its parameters lie in parts in between."""
    set_random_seed(dist.get_rank() if distributed else 0)  # the weights of the first process are those that count
    model, x = MODELS[kind]()
    size = GLOBAL // (dist.get_world_size() if distributed else 1)
    before = model.predict(x, verbose=0)
    optimizer = optimizers.Adam(0.01, global_clipnorm=1.0)
    model.compile(optimizer, "mse", distributed=distributed, sync_batchnorm=kind == "normalized")
    at_first = model.predict(x, verbose=0)
    history = model.fit(x, Y, batch_size=size, epochs=2, shuffle=False, verbose=0)
    seen = {
        "losses": history.history["loss"],
        "weights": weights_of(model),
        "predictions": model.predict(x, batch_size=size, verbose=0),
        "evaluation": model.evaluate(x, Y, batch_size=size, verbose=0),
        "called": model(torch.from_numpy(x)).detach().numpy(),
    }
    if not distributed or dist.get_rank() == 0:
        np.testing.assert_allclose(before, at_first, atol=1e-6)
    in_parts = [is_sharded(parameter) or parameter.ndim == 0 for parameter in model.parameters()]
    return seen, all(in_parts), type(model) is type(MODELS[kind]()[0])


def train_all(distributed, kinds):
    return {kind: train(kind, distributed) for kind in kinds}


@pytest.fixture(scope="module")
def results():
    """What one process sees, and two, and three."""
    return {1: [train_all(False, MODELS)], 2: run(train_all, 2, "fsdp", list(MODELS)), 3: run(train_all, 3, "fsdp", BY_THREE)}


def flat(values):
    return np.hstack([np.ravel(value) for value in (values if isinstance(values, list) else [values])])


@pytest.mark.parametrize(("count", "kind"), [*((2, kind) for kind in MODELS), *((3, kind) for kind in BY_THREE)])
def test_it_trains_as_one_process_does(results, count, kind):
    expected, *_ = results[1][0][kind]
    for result in results[count]:
        seen, in_parts, same_class = result[kind]
        assert in_parts and same_class
        for what, values in expected.items():
            np.testing.assert_allclose(flat(seen[what]), flat(values), atol=5e-6, err_msg=what)


# ------------------------------------------------------------------ optimizers

NAMES = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion", "Lamb", "Adafactor")
OPTIMIZERS = {
    **{name: (lambda name=name: getattr(optimizers, name)(0.01)) for name in NAMES},
    "momentum": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "centered": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    "clipnorm": lambda: optimizers.Adam(0.01, clipnorm=0.01),
    "global_clipnorm": lambda: optimizers.SGD(0.1, global_clipnorm=0.02),
    "clipvalue": lambda: optimizers.SGD(0.1, clipvalue=0.001),
    "ema": lambda: optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "decay": lambda: optimizers.Adam(0.01, weight_decay=0.1),
    "loss scale": lambda: optimizers.SGD(0.01, loss_scale_factor=128.0),
    "a torch class": lambda: torch.optim.NAdam,
}


def steps(distributed):
    found = {}
    for name, make in OPTIMIZERS.items():
        set_random_seed(0)
        model = Sequential([Dense(7, "tanh", input_shape=(5,)), Dense(1), Dense(3), Dense(1)])
        optimizer = make()
        if name == "decay":
            optimizer.exclude_from_weight_decay(var_list=[model.layers[0].weights[0]])
        model.compile(optimizer, "mse", distributed=distributed)
        size = GLOBAL // (dist.get_world_size() if distributed else 1)
        model.fit(FLAT, Y, batch_size=size, epochs=2, shuffle=False, verbose=0)
        found[name] = model.get_weights()
    return found


def test_every_optimizer_takes_the_same_steps():
    expected = steps(False)
    for found in run(steps, 3, "fsdp"):
        for name, weights in expected.items():
            for ours, theirs in zip(found[name], weights, strict=True):
                np.testing.assert_allclose(ours, theirs, atol=5e-6, err_msg=name)


# ------------------------------------------------------------------ what one process holds


def held():
    model = Sequential([Dense(64, "relu", input_shape=(64,)), Dense(64), Dense(1)])
    model.compile("adam", "mse", distributed="fsdp")
    model.train_on_batch(np.ones((2, 64), "float32"), np.ones((2, 1), "float32"))
    kept = [value for values in model.optimizer.torch_optimizer.state.values() for value in values.values() if is_sharded(value)]
    numbers = [sum(part.numel() for part in parts(tensors)) for tensors in (model.parameters(), kept)]
    return numbers, model.count_params()


@pytest.mark.parametrize("count", [2, 3])
def test_a_process_holds_its_share_of_the_weights_and_of_the_state(count):
    found = run(held, count)
    numbers = found[0][1]
    for (weights, state), _ in found:
        assert weights < 1.05 * numbers / count + 64
        assert state == 2 * weights
    assert sum(weights for (weights, _), _ in found) == numbers


# ------------------------------------------------------------------ around it


def around():
    """What else is done with such a model, in one process after the other."""
    model = Sequential([Dense(6, "tanh", input_shape=(5,), name="first"), Dense(1)])
    model.compile(optimizers.SGD(0.5), "mse", distributed="fsdp")
    refused = []
    try:
        model.compile("sgd", "mse")
    except ValueError as error:
        refused.append(str(error))
    stopping = callbacks.EarlyStopping("loss", patience=9, mode="max", restore_best_weights=True)
    kept = []

    class Keep(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(self.model.get_weights())

    class Fail(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyError("nothing")

    losses = model.fit(FLAT, Y, epochs=3, verbose=0, callbacks=[Keep(), stopping], shuffle=False).history["loss"]
    best = [float(np.abs(a - b).max()) for a, b in zip(model.get_weights(), kept[int(np.argmax(losses))], strict=True)]
    try:
        model.fit(FLAT, Y, verbose=0, callbacks=[Fail()])
    except KeyError:
        refused.append("KeyError")
    model.layers[0].trainable = False
    model.compile("adam", "mse", distributed="fsdp")
    frozen = model.get_weights()
    model.fit(FLAT, Y, verbose=0)
    moved = [float(np.abs(a - b).max()) for a, b in zip(model.get_weights(), frozen, strict=True)]
    model.set_weights([np.full_like(weight, 0.25) for weight in frozen])
    twin = clone_model(model)
    twin.set_weights(model.get_weights())
    alike = float(np.abs(twin.predict(FLAT, verbose=0) - model.predict(FLAT, verbose=0)).max())
    return refused, best, moved, [float(weight.mean()) for weight in twin.get_weights()], alike


def refused():
    """What a model in parts does not do, and says so."""
    model = Sequential([Dense(6, activation=nn.PReLU(), input_shape=(5,)), Dense(1)])
    model.compile("sgd", "mse", distributed="fsdp")
    found = []
    for act in (lambda: model.double(), lambda: copy.deepcopy(model), lambda: pickle.dumps(model), lambda: model.export(io.BytesIO())):
        try:
            act()
        except (RuntimeError, TypeError) as error:
            found.append(str(error))
    return found


def test_what_is_refused_says_what_to_do():
    for found in run(refused, 2):
        assert len(found) == 4
        for message, part in zip(found, ("before compile", "clone_model", "clone_model", "load it in one process"), strict=True):
            assert part in message


def told(folder):
    """Train a partly frozen torch module with what looks at all weights and gradients."""
    set_random_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    net[0].weight.requires_grad_(False)
    model = Model.from_module(net)
    before = model.get_weights()[0]
    model.compile("adam", "mse", distributed="fsdp", precision="mixed_bfloat16", gradient_accumulation_steps=2)
    board = callbacks.TensorBoard(folder, histogram_freq=1, write_grads=True, write_images=True)
    model.fit(FLAT, Y, epochs=2, verbose=0, callbacks=[board, callbacks.TerminateOnNaN()])
    model.save(f"{folder}/model", include_optimizer=False)
    units = [isinstance(part, FSDPModule) for part in (net, *net)]
    return float(np.abs(model.get_weights()[0] - before).max()), units


def test_who_looks_at_all_weights_sees_them(tmp_path):
    assert run(told, 2, str(tmp_path)) == [(0.0, [True, True, False, True])] * 2
    assert len(os.listdir(tmp_path)) == 2
    assert b"FSDP" not in (tmp_path / "model").read_bytes()


def test_what_else_is_done_with_such_a_model():
    for refused, best, moved, means, alike in run(around, 2):
        assert "in parts on 2 processes" in refused[0] and refused[1:] == ["KeyError"]
        assert max(best) == 0
        assert moved[:2] == [0, 0] and min(moved[2:]) > 0
        assert means == [0.25] * 4
        assert alike < 1e-6


def test_alone_it_is_a_model_like_any_other():
    model = Sequential([Dense(1, input_shape=(5,))])
    model.compile("sgd", "mse", distributed="fsdp")
    model.fit(FLAT, Y, verbose=0)
    assert not any(is_sharded(parameter) for parameter in model.parameters())
