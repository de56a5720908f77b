"""Hooks on layers, drawn and not."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential
from torchkeras_fn.callbacks import Callback
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


def whole(kind):
    """A model and data for it, in one of several forms."""
    x, y = Input(shape=(3,), name="x"), Input(shape=(3,), name="y")
    h = Dense(2, activation="softmax", name="h", activity_regularizer="l2")
    if kind == "one":
        return Model(x, h(x)), torch.ones(4, 3), torch.ones(4, 2)
    if kind == "stack":
        return Sequential([Input((3,)), h]), torch.ones(4, 3), torch.ones(4, 2)
    if kind == "lists":
        return Model([x, y], [h(x), h(y)]), [torch.ones(4, 3)] * 2, [torch.ones(4, 2)] * 2
    return Model({"x": x, "y": y}, {"h": h(x), "i": h(y)}), {"x": torch.ones(4, 3), "y": torch.ones(4, 3)}, {
        "h": torch.ones(4, 2),
        "i": torch.ones(4, 2),
    }


KINDS = ["one", "stack", "lists", "dicts"]


def weights_after(kind, hook):
    torch.manual_seed(0)
    model, x, y = whole(kind)
    handle = hook(model)
    model.compile("sgd", "categorical_crossentropy")
    history = model.fit(x, y, batch_size=2, epochs=2, verbose=0).history
    handle and handle.remove()
    return [*model.get_weights(), history["loss"], model.evaluate(x, y, verbose=0)]


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_on_a_model_see_what_it_takes_and_returns(kind):
    model, x, y = whole(kind)
    calls = []
    model.compile("sgd", "categorical_crossentropy")
    model.register_forward_hook(lambda *call: calls.append(call))
    model.fit(x, y, batch_size=2, verbose=0)
    model.evaluate(x, y, batch_size=2, verbose=0)
    returned = model.predict(x, batch_size=2, verbose=0)
    assert len(calls) == 6
    for module, (inputs,), outputs in calls:
        assert module is model
        assert type(inputs) is type(x)
        assert type(outputs) is (torch.Tensor if kind in ("one", "stack") else type(returned))
    last = calls[-1][2]
    first = {"lists": lambda outputs: outputs[0], "dicts": lambda outputs: outputs["h"]}.get(kind, lambda outputs: outputs)
    assert first(last).tolist() == first(returned)[-2:].tolist()  # probabilities, and no logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", HOOKS[:2])
def test_a_hook_on_a_model_changes_nothing_of_its_training(kind, hook):
    plain = weights_after(kind, lambda model: None)
    watched = weights_after(kind, lambda model: getattr(model, hook)(lambda *_: None))
    for one, other in zip(plain, watched, strict=True):
        torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # torch says so where the data needs no gradient
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_hooks_on_a_model_run_once_a_step_until_they_are_gone(hook, when):
    model, x, y = whole("one")
    calls = []
    if when == "after":
        model.compile("sgd", "mse")
    handle = getattr(model, hook)(lambda *_: calls.append(1))
    if when == "before":
        model.compile("sgd", "mse")
    model.fit(x, y, batch_size=2, verbose=0)
    handle.remove()
    model.fit(x, y, batch_size=2, verbose=0)
    assert len(calls) == 2


def test_what_a_hook_on_a_model_returns_takes_the_place_of_the_outputs():
    model, x, y = whole("one")
    model.compile("sgd", "mse")
    model.register_forward_hook(lambda module, inputs, outputs: outputs * 0 + 3)
    assert model.predict(x, verbose=0).tolist() == [[3, 3]] * 4
    loss = model.evaluate(x, y, verbose=0)
    assert loss >= 4  # (3 - 1)², and the layer's own


def test_hooks_that_come_during_training_run_from_then_on():
    model, x, y = whole("one")
    calls = []

    class Later(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                model.register_forward_hook(lambda *_: calls.append(1))

    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=1, verbose=0, callbacks=[Later()])
    assert len(calls) == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_hooks_on_a_model_inside_another_are_warned_of(when):
    inner = whole("one")[0]
    if when == "before":
        inner.register_forward_hook(lambda *_: None)
    with pytest.warns(UserWarning, match="do not run in the models"):
        drawn(inner)
        inner.register_forward_hook(lambda *_: None)


def test_a_model_without_hooks_is_not_called_in_a_step():
    model, x, y = whole("one")
    model.compile("sgd", "mse")
    handle = model.register_forward_hook(lambda *_: None)
    handle.remove()
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    assert type(model._views["training"]).__name__ == "Flat"


def test_a_hook_may_come_between_two_predictions():
    x, seen = np.ones((40, 3), "float32"), []
    model = Sequential([Dense(1, input_shape=(3,))])
    before = model.predict(x)
    model.register_forward_hook(lambda *_: seen.append(1))
    np.testing.assert_allclose(model.predict(x), before, rtol=1e-6)
    assert seen
