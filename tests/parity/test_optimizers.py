"""Twenty steps of every optimizer and option on one model, with ours and with Keras'; and schedules, step by step.

torch's formulas are Keras' but for the place of epsilon. Where that is felt the difference is pinned, in weights and losses.
"""

import inspect
import json

import keras
import numpy as np
import pytest

import torchkeras_fn as tk
from parity.twins import LIBRARIES, same, twins

random = np.random.default_rng(0)
X = random.normal(size=(160, 6)).astype("float32")
Y = (2 * X[:, :3] + random.normal(size=(160, 3))).astype("float32")
RATE = {"learning_rate": 0.1}


def two_layers(k):
    return k.Sequential([k.Input((6,)), k.layers.Dense(8, activation="tanh"), k.layers.Dense(3, name="out")])


def convolutions(k):
    layers = [k.layers.Conv2D(3, 2, activation="tanh"), k.layers.Conv2D(4, 2), k.layers.Flatten(), k.layers.Dense(3)]
    return k.Sequential([k.Input((4, 4, 2)), *layers])


def falling(k):
    return k.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)


def rising(k):
    return k.optimizers.schedules.CosineDecay(0.0, 30, warmup_target=0.1, warmup_steps=5)


def train(name, options, recipe=two_layers, x=X, prepare=lambda optimizer: None):
    """Take 20 steps in both libraries; return the weights and the losses of both. A function among the options is of the library."""
    models = twins(recipe)
    losses = []
    for k, model in zip(LIBRARIES, models, strict=True):
        made = {key: value(k) if callable(value) else value for key, value in options.items()}
        optimizer = getattr(k.optimizers, name)(**made)
        prepare(optimizer)
        model.compile(optimizer, "mse")
        losses.append(model.fit(x, Y, batch_size=16, epochs=2, shuffle=False, verbose=0).history["loss"])
        assert int(model.optimizer.iterations) == 20 // (options.get("gradient_accumulation_steps") or 1)
    return [model.get_weights() for model in models], losses


# ---------------------------------------------------------------------- the optimizers

EQUAL = [
    ("SGD", {}),
    ("SGD", {**RATE, "momentum": 0.9}),
    ("SGD", {**RATE, "momentum": 0.9, "nesterov": True}),
    ("SGD", {**RATE, "weight_decay": 0.1}),
    ("SGD", {**RATE, "clipvalue": 0.01}),
    ("SGD", {**RATE, "clipnorm": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {**RATE, "clipnorm": 1e-4}),
    ("SGD", {**RATE, "global_clipnorm": 0.1}),
    ("SGD", {**RATE, "global_clipnorm": 1e-4}),
    ("SGD", {"learning_rate": falling}),
    ("SGD", {"learning_rate": falling, "momentum": 0.9}),
    ("SGD", {"learning_rate": falling, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": rising, "momentum": 0.9}),
    ("SGD", {"learning_rate": lambda k: lambda: 0.05}),
    ("SGD", {**RATE, "use_ema": True}),
    ("SGD", {**RATE, "use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3}),
    ("SGD", {**RATE, "gradient_accumulation_steps": 3}),
    ("SGD", {"learning_rate": falling, "momentum": 0.9, "gradient_accumulation_steps": 3, "clipnorm": 0.5}),
    ("SGD", {**RATE, "gradient_accumulation_steps": 3, "use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2}),
    ("SGD", {**RATE, "loss_scale_factor": 128.0, "global_clipnorm": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {**RATE, "weight_decay": 0.1}),
    ("Adagrad", {**RATE, "initial_accumulator_value": 0.5, "epsilon": 1e-10}),
    ("Adagrad", {"learning_rate": falling}),
    ("Adadelta", {}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.8, "epsilon": 1e-5, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"weight_decay": 0.5, "clipnorm": 0.1, "epsilon": 1e-12}),
    ("Adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-9, "learning_rate": 0.01}),
    ("Adam", {"learning_rate": falling, "epsilon": 1e-12}),
    ("Adam", {"learning_rate": 0.01, "epsilon": 1e-12, "gradient_accumulation_steps": 4, "use_ema": True}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.5, "learning_rate": 0.01, "epsilon": 1e-12, "amsgrad": True}),
    ("AdamW", {"weight_decay": 0.5, "learning_rate": falling, "epsilon": 1e-12}),
    ("Adamax", {}),
    ("Adamax", {"learning_rate": 0.05, "beta_1": 0.8, "weight_decay": 0.1}),
    ("Nadam", {}),
    ("Nadam", {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.9, "global_clipnorm": 0.1}),
    ("Nadam", {"learning_rate": falling, "weight_decay": 0.1}),
    ("Adafactor", {}),
    ("Adafactor", {**RATE, "relative_step": False}),
    ("Adafactor", {"learning_rate": 0.5, "clip_threshold": 0.5, "beta_2_decay": -0.5, "epsilon_2": 0.01, "weight_decay": 0.1}),
    ("Lion", {}),
    ("Lion", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "weight_decay": 0.1}),
    ("Ftrl", {}),
    ("Ftrl", {**RATE, "l1_regularization_strength": 0.01, "l2_regularization_strength": 0.01, "beta": 0.1}),
    ("Ftrl", {**RATE, "learning_rate_power": -0.3, "l2_shrinkage_regularization_strength": 0.1}),
    ("Lamb", {}),
    ("Lamb", {"learning_rate": 0.05, "weight_decay": 0.1, "beta_1": 0.8}),
    ("Muon", {}),
    ("Muon", {"learning_rate": 0.01, "momentum": 0.8, "nesterov": False, "ns_steps": 3, "rms_rate": None}),
    ("Muon", {"learning_rate": falling, "weight_decay": 0.5, "adam_weight_decay": 0.2, "adam_lr_ratio": 0.3, "clipnorm": 0.5}),
    ("Muon", {"weight_decay": None, "adam_weight_decay": None, "adam_beta_1": 0.5, "exclude_layers": ["out"], "use_ema": True}),
    ("RMSprop", {"epsilon": 1e-14}),
    ("RMSprop", {"epsilon": 1e-14, "rho": 0.5, "centered": True}),
    ("RMSprop", {"epsilon": 1e-14, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"epsilon": 1e-14, "learning_rate": falling, "momentum": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), EQUAL, ids=[f"{name}-{index}" for index, (name, _) in enumerate(EQUAL)])
def test_twenty_steps_are_equal(name, options):
    (ours, theirs), losses = train(name, options)
    same(ours, theirs, 1e-5)
    same(*losses, 1e-5)


# How far apart weights and losses are after 20 steps for the place of epsilon alone; the docstrings say where it stands.
APART = [
    ("Adam", {"learning_rate": 0.01}, 3e-5, 1e-5),
    ("Adam", {"learning_rate": 0.05}, 1e-4, 2e-5),
    ("Adam", {"epsilon": 1e-4}, 1e-3, 5e-4),
    ("Nadam", {"learning_rate": 0.05}, 1e-5, 1e-5),
    ("RMSprop", {}, 5e-4, 1e-5),
    ("RMSprop", {"centered": True}, 5e-4, 1e-5),
    ("RMSprop", {"momentum": 0.9}, 3e-3, 2e-4),
    ("RMSprop", {"epsilon": 1e-3}, 5e-3, 2e-3),
    ("Adagrad", {**RATE, "initial_accumulator_value": 0.0}, 1e-3, 1e-4),
]


@pytest.mark.parametrize(("name", "options", "weights", "losses"), APART, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(APART)])
def test_epsilon_in_another_place_makes_a_small_difference(name, options, weights, losses):
    (ours, theirs), (our_losses, their_losses) = train(name, options)
    assert max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)) < weights
    np.testing.assert_allclose(our_losses, their_losses, rtol=losses)


@pytest.mark.parametrize("name", ["SGD", "Adafactor", "Lamb", "Lion", "Adamax"])
def test_convolutions_in_torchs_layout_make_the_same_steps(name):
    x = np.random.default_rng(1).normal(size=(160, 4, 4, 2)).astype("float32")
    (ours, theirs), losses = train(name, {"learning_rate": 0.01, "clipnorm": 0.5}, convolutions, x)
    same(ours, theirs, 1e-5)
    same(*losses, 1e-5)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_weights_excluded_from_decay(name):
    options = {"learning_rate": 0.001, "weight_decay": 5.0}
    (ours, theirs), _ = train(name, options, prepare=lambda optimizer: optimizer.exclude_from_weight_decay(var_names=["bias"]))
    same(ours, theirs, 1e-5)
    (all_decayed, _), _ = train(name, options)
    assert np.abs(all_decayed[1] - ours[1]).max() > 1e-3


def test_a_rate_set_during_training_and_momentum():
    ours, theirs = twins(two_layers)
    for k, model in zip(LIBRARIES, (ours, theirs), strict=True):
        model.compile(k.optimizers.SGD(0.1, momentum=0.9), "mse")
        callback = k.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.3)
        history = model.fit(X, Y, batch_size=16, epochs=4, shuffle=False, verbose=0, callbacks=[callback]).history
        np.testing.assert_allclose(history["learning_rate"], [0.1 * 0.3 ** (epoch + 1) for epoch in range(4)], rtol=1e-6)
    same(ours.get_weights(), theirs.get_weights(), 1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
        ("SGD", {"learning_rate": falling, "momentum": 0.9}),
        ("Adam", {"learning_rate": 0.01, "epsilon": 1e-12}),
        ("Lion", {}),
    ],
)
def test_a_model_that_is_compiled_with_its_own_optimizer_again_goes_on(name, options):
    ours, theirs = twins(two_layers)
    for k, model in zip(LIBRARIES, (ours, theirs), strict=True):
        rate = options.get("learning_rate")
        made = {**options, "learning_rate": rate(k)} if callable(rate) else options
        model.compile(getattr(k.optimizers, name)(**made), "mse")
        for trainable in (True, False, True):
            model.layers[1].trainable = trainable
            model.compile(model.optimizer, "mse")
            model.fit(X, Y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    assert ours.optimizer.iterations == int(theirs.optimizer.iterations)
    same(ours.get_weights(), theirs.get_weights(), 1e-5)


# ---------------------------------------------------------------------- what they are made with

SHARED = sorted(set(tk.optimizers.registry.entries) - {"LossScaleOptimizer"})  # which goes around another


@pytest.mark.parametrize("name", SHARED)
def test_arguments_their_order_and_defaults_are_those_of_keras(name):
    theirs = [p for p in inspect.signature(getattr(keras.optimizers, name)).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    kind = getattr(tk.optimizers, name)
    own = [p for p in inspect.signature(kind).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    common = [p for p in inspect.signature(tk.optimizers.Optimizer.__init__).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    names = {"self", *(p.name for p in own)}
    ours = [*own, *(p for p in common if p.name not in names)]
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parametrize("name", SHARED)
def test_configs_and_names(name):
    keras.backend.clear_session(free_memory=False)
    theirs = getattr(keras.optimizers, name)(weight_decay=0.25)
    config = theirs.get_config()
    ours = getattr(tk.optimizers, name).from_config(config)
    assert ours.name == getattr(tk.optimizers, name)().name == config["name"]
    assert config.pop("exclude_layers", []) == ours.get_config().get("exclude_layers", [])
    assert {key: ours.get_config()[key] for key in config} == pytest.approx(config)
    assert type(theirs).from_config({key: ours.get_config()[key] for key in config}).weight_decay == 0.25


def test_muon_leaves_embeddings_and_excluded_layers_to_adam():
    def recipe(k):
        layers = [k.layers.Embedding(5, 6), k.layers.Flatten(), k.layers.Dense(4, activation="tanh"), k.layers.Dense(3, name="out")]
        return k.Sequential([k.Input((4,)), *layers])

    x = np.random.default_rng(2).integers(0, 5, size=(160, 4)).astype("float32")
    for options in ({}, {"exclude_embeddings": False}, {"exclude_layers": ["out"]}):
        (ours, theirs), losses = train("Muon", {"learning_rate": 0.01, "epsilon": 1e-12, **options}, recipe, x)
        same(ours, theirs, 2e-5)
        same(*losses, 1e-5)


@pytest.mark.parametrize("inner", [("SGD", {"learning_rate": 0.1, "momentum": 0.9}), ("Adam", {"learning_rate": 0.01, "epsilon": 1e-12})])
def test_a_scaled_loss_and_its_scale(inner):
    ours, theirs = twins(two_layers)
    for k, model in zip(LIBRARIES, (ours, theirs), strict=True):
        name, options = inner
        optimizer = getattr(k.optimizers, name)(clipnorm=0.5, **options)
        model.compile(k.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10, dynamic_growth_steps=4), "mse")
        model.fit(X, Y, batch_size=16, epochs=1, shuffle=False, verbose=0)
        assert float(model.optimizer.dynamic_scale) == 2.0**12  # ten steps
        model.train_on_batch(X[:16], np.full((16, 3), 3e38, "float32"))
        assert float(model.optimizer.dynamic_scale) == 2.0**11
        model.optimizer.learning_rate = 0.05
        model.fit(X, Y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    same(ours.get_weights(), theirs.get_weights(), 1e-5)
    config = theirs.optimizer.get_config()
    assert {**ours.optimizer.get_config(), "inner_optimizer": 0} == {**config, "inner_optimizer": 0}
    again = tk.optimizers.LossScaleOptimizer.from_config(json.loads(json.dumps(config)))
    assert again.inner_optimizer.get_config() == pytest.approx(ours.optimizer.inner_optimizer.get_config())


# ---------------------------------------------------------------------- schedules

SCHEDULES = [
    ("ExponentialDecay", (0.1, 7, 0.5)),
    ("ExponentialDecay", (0.1, 7, 0.5, True)),
    ("InverseTimeDecay", (0.1, 7, 0.5)),
    ("InverseTimeDecay", (0.1, 7, 0.5, True)),
    ("PiecewiseConstantDecay", ([3, 20, 50], [0.1, 0.05, 0.2, 0.01])),
    ("PolynomialDecay", (0.1, 30)),
    ("PolynomialDecay", (0.1, 30, 0.01, 2.0)),
    ("PolynomialDecay", (0.1, 30, 0.01, 0.5, True)),
    ("CosineDecay", (0.1, 60)),
    ("CosineDecay", (0.1, 60, 0.2, "mine", 0.5, 20)),
    ("CosineDecay", (0.0, 60, 0.0, "mine", 0.5, 0)),
    ("CosineDecayRestarts", (0.1, 9)),
    ("CosineDecayRestarts", (0.1, 9, 1.0, 0.8, 0.1)),
    ("CosineDecayRestarts", (0.1, 9, 1.5, 0.8, 0.1)),
]


@pytest.mark.parametrize(("name", "arguments"), SCHEDULES)
def test_schedules(name, arguments):
    ours, theirs = (getattr(k.optimizers.schedules, name)(*arguments) for k in LIBRARIES)
    rates = np.array([float(theirs(step)) for step in range(101)])
    np.testing.assert_allclose([ours(step) for step in range(101)], rates, rtol=2e-6, atol=1e-8)
    config = theirs.get_config()
    assert ours.get_config() == config and type(ours).from_config(config)(5) == ours(5)
    assert tk.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(theirs))(5) == ours(5)
