"""Optimizers in the hands of a model: what `fit` adds at its end, copies that train on, and weights of a user's module."""

import copy
import functools
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer, layers, optimizers
from torchkeras_fn.optimizers.schedules import CosineDecay, ExponentialDecay, LearningRateSchedule

random = np.random.default_rng(0)
X, Y = random.normal(size=(24, 4)).astype("float32"), random.normal(size=(24, 1)).astype("float32")


class Inverse(LearningRateSchedule):
    """A schedule of a user's, that no registry knows."""

    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start / torch.sqrt(step + 1.0)


def compiled(optimizer):
    model = Sequential([Input((4,)), layers.Dense(3, activation="tanh"), layers.Dense(1)])
    model.compile(optimizer, "mse", device="cpu")
    return model


def fit(model, epochs=1):
    return model.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0).history["loss"]


MAKE = {
    "everything": lambda: optimizers.AdamW(
        ExponentialDecay(0.1, 4, 0.5), clipnorm=1.0, use_ema=True, ema_overwrite_frequency=3, gradient_accumulation_steps=4
    ),
    "momentum": lambda: optimizers.SGD(CosineDecay(0.1, 30), momentum=0.9, nesterov=True),
    "decay": lambda: optimizers.RMSprop(0.01, decay=0.1, momentum=0.5, centered=True),
    "a schedule of a user's": lambda: optimizers.Adagrad(Inverse(0.1)),
    "Lion": lambda: optimizers.Lion(0.01, weight_decay=0.1),
    "Adafactor": lambda: optimizers.Adafactor(0.1),
    "Lamb": lambda: optimizers.Lamb(0.1),
    "Ftrl": lambda: optimizers.Ftrl(0.1),
    "Nadam": lambda: optimizers.Nadam(0.1),
}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_a_copy_of_a_model_trains_on_as_the_model_does(make, copied):
    model = compiled(make())
    fit(model)
    twin = copied(model)
    assert fit(model, 2) == fit(twin, 2)
    assert model.optimizer.iterations == twin.optimizer.iterations > 0
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), twin.get_weights(), strict=True))


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_two_models_share_the_options_of_an_optimizer_and_nothing_else(make):
    optimizer = make()
    first, second = compiled(optimizer), compiled(optimizer)
    second.set_weights(first.get_weights())
    assert fit(first, 2) == fit(second, 2)


def test_fit_ends_with_the_running_means():
    optimizer = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
    model, plain = compiled(optimizer), compiled(optimizers.SGD(0.1))
    plain.set_weights(model.get_weights())
    means = plain.get_weights()
    for index in range(6):
        plain.train_on_batch(X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4])
        share = 0.9 if index else 0.0
        means = [share * mean + (1 - share) * weight for mean, weight in zip(means, plain.get_weights(), strict=True)]
    fit(model)
    for weight, mean in zip(model.get_weights(), means, strict=True):
        np.testing.assert_allclose(weight, mean, atol=1e-6)


def test_fit_scales_the_loss_and_shows_it_unscaled():
    scaled, plain = compiled(optimizers.SGD(0.1, loss_scale_factor=1024.0)), compiled(optimizers.SGD(0.1))
    plain.set_weights(scaled.get_weights())
    assert fit(scaled, 2) == pytest.approx(fit(plain, 2))
    scaled.compile("sgd", "mse", device="cpu")
    plain.compile("sgd", "mse", device="cpu")
    assert fit(scaled, 2) == pytest.approx(fit(plain, 2))


@pytest.mark.parametrize(
    ("pattern", "decayed"),
    [("bias", (True, False)), ("kernel", (False, True)), (r"mine\.weight", (False, True)), ("mine", (False, False)), ("x", (True, True))],
)
def test_weights_are_found_by_keras_names_and_by_torchs(pattern, decayed):
    inputs = Input((4,))
    model = Model(inputs, layers.Dense(1, name="mine")(inputs))
    model.set_weights([np.ones((4, 1)), np.full(1, 0.5)])
    optimizer = optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=[pattern])
    model.compile(optimizer, "mse", device="cpu")
    model.train_on_batch(np.zeros((2, 4)), np.full((2, 1), 0.5))  # no error: no gradient, and decay alone
    kernel, bias = model.get_weights()
    assert (kernel[0, 0] < 1, bias[0] < 0.5) == decayed


def test_a_module_without_parameters_and_a_frozen_model_take_no_steps():
    class Constant(Trainer, nn.Module):
        def forward(self, x):
            return x[:, :1]

    for optimizer in (optimizers.Adam(use_ema=True, clipnorm=1.0), optimizers.SGD(ExponentialDecay(0.1, 1, 0.5))):
        model = Constant()
        model.compile(optimizer, "mse", device="cpu")
        with pytest.warns(UserWarning, match="no weights to train"):
            fit(model)
        assert model.optimizer.iterations == 0


def test_sparse_gradients_are_for_torchs_own_optimizers():
    class Sparse(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 1, sparse=True)

        def forward(self, x):
            return self.table(x).mean(1)

    model = Sparse()
    model.compile(functools.partial(torch.optim.SparseAdam, lr=0.1), "mse", device="cpu")
    history = model.fit(random.integers(0, 10, (24, 3)), Y, epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]
