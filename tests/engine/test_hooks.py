"""Hooks on layers, drawn and not."""

import warnings

import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential
from torchkeras_fn.layers import Activation, Dense, Layer, TorchModuleWrapper

HOOKS = ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_full_backward_pre_hook"]


class Doubled(Layer):
    def call(self, inputs):
        return inputs * 2


def drawn(layer):
    x = Input(shape=(3,))
    return Model(x, Dense(1)(layer(Dense(3)(x))))


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("made", [lambda: Dense(2), lambda: TorchModuleWrapper(nn.Linear(3, 2)), Doubled], ids=["Dense", "wrapped", "own"])
def test_hooks_on_a_drawn_layer_run_once_a_step(made, hook):
    layer, calls = made(), []
    model = drawn(layer)
    handle = getattr(layer, hook)(lambda *_: calls.append(1))
    model.compile("sgd", "mse")
    model.fit(torch.ones(4, 3), torch.ones(4, 1), batch_size=2, verbose=0)
    handle.remove()
    model.fit(torch.ones(4, 3), torch.ones(4, 1), batch_size=2, verbose=0)
    assert len(calls) == 2


@pytest.mark.parametrize("made", [lambda: Dense(2, activation="relu"), lambda: Activation("relu")], ids=["Dense", "Activation"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_hooks_that_no_model_would_call_are_warned_of(made, when):
    layer = made()
    if when == "before":
        layer.register_forward_hook(lambda *_: None)
    with pytest.warns(UserWarning, match="do not run in the models"):
        drawn(layer)
        layer.register_forward_hook(lambda *_: None)


def test_hooks_on_a_layer_that_is_called_run_without_a_warning():
    layer, shapes = Dense(2, activation="relu"), []
    layer.register_forward_hook(lambda layer, inputs, outputs: shapes.append((type(layer), tuple(outputs.shape))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(torch.ones(4, 3))
    assert shapes == [(Dense, (4, 2))]


def test_a_step_of_ones_own_in_mixed_precision_runs_in_it_without_a_warning():
    class Own(Sequential):
        def train_step(self, batch):
            self.seen = self(batch[0]).dtype
            return {}

    model = Own([Input((3,)), Activation(nn.PReLU()), Dense(1, activation="relu")])
    model.compile("sgd", precision="mixed_bfloat16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.train_on_batch(torch.ones(4, 3), torch.ones(4, 1))
    assert model.seen == torch.float32
