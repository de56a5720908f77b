"""`Muon`: which parameters take whose steps, and its state."""

import io

import numpy as np
import pytest
import torch

from torchkeras_fn import Sequential, layers, models, optimizers


def network(optimizer):
    stack = [layers.Embedding(5, 4, input_length=3, name="words"), layers.Flatten(), layers.Dense(6, "tanh"), layers.Dense(2, name="out")]
    model = Sequential(stack)
    model.compile(optimizer, "mse")
    return model


X = np.random.default_rng(0).integers(0, 5, size=(16, 3))
Y = np.random.default_rng(1).normal(size=(16, 2)).astype("float32")


@pytest.mark.parametrize(
    ("options", "by_adam"),
    [
        ({}, [True, False, True, False, True]),
        ({"exclude_embeddings": False}, [False, False, True, False, True]),
        ({"exclude_layers": ["^out"]}, [True, False, True, True, True]),
    ],
)
def test_matrices_take_its_steps_but_those_excluded(options, by_adam):
    model = network(optimizers.Muon(**options))
    model.fit(X, Y, verbose=0)
    assert model.optimizer.param_groups[0]["by_adam"] == by_adam
    states = model.optimizer.torch_optimizer.state.values()
    assert ["exp_avg_sq" in state for state in states] == by_adam


def test_weights_left_out_of_decay_stay():
    optimizer = optimizers.Muon(0.1, weight_decay=0.5, adam_weight_decay=0.25)
    optimizer.exclude_from_weight_decay(var_names=["^out"])
    model = network(optimizer)
    model.train_on_batch(X, Y)
    assert model.optimizer.param_groups[0]["decays"] == [0.25, 0.5, 0.25, 0.0, 0.0]


def test_a_file_goes_on():
    model = network(optimizers.Muon(0.01, exclude_layers=["out"]))
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    model.save(file := io.BytesIO())
    twin = models.load_model(file)
    histories = [each.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"] for each in (model, twin)]
    assert histories[0] == histories[1]


def test_a_step_of_a_matrix_has_singular_values_of_about_the_rate():
    weight = torch.nn.Parameter(torch.zeros(4, 9))
    optimizers.Muon(1.0, weight_decay=None, rms_rate=None, ns_steps=8).apply([torch.randn(4, 9)], [weight])
    sizes = torch.linalg.svdvals(weight.detach())
    assert float(sizes.min()) > 0.6 and float(sizes.max()) < 1.3


@pytest.mark.parametrize(("given", "epsilon"), [(None, 1e-7), (0.5, 0.5)])
def test_no_epsilon_is_the_usual_one(given, epsilon):
    assert optimizers.Muon(epsilon=given).epsilon == epsilon


def test_one_pattern_is_no_list_of_them():
    with pytest.raises(TypeError, match="'exclude_layers' is a list of patterns, got the string 'out'"):
        optimizers.Muon(exclude_layers="out")
