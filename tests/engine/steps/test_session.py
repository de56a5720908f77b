"""What is switched for a session of steps is switched back after it, whatever happens in it."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Sequential, Trainer
from torchkeras_fn.engine.steps.session import Session
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout

X, Y = np.ones((4, 2), dtype="float32"), np.ones((4, 1), dtype="float32")


def compiled(frozen: bool = False) -> Model:
    x = Input(shape=(2,))
    hidden = Dense(3, trainable=not frozen)(x)
    model = Model(x, Dense(1)(Dropout(0.5)(BatchNormalization()(hidden))))
    model.compile("sgd", "mse", device="cpu")
    return model


def modes(model: Model) -> list[bool]:
    return [part.training for part in model.modules()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("before", [True, False, "mixed"])
def test_the_modes_of_all_parts_are_those_of_the_session_and_then_those_from_before(before, training):
    model = compiled()
    model.train(before is not False)
    if before == "mixed":
        next(part for part in model.modules() if isinstance(part, torch.nn.Dropout)).eval()
    earlier = modes(model)
    with Session(model, training=training):
        assert set(modes(model)) == {training}
    assert modes(model) == earlier


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_error_goes_on_and_all_is_switched_back(error):
    model = compiled(frozen=True)
    model.eval()
    earlier = modes(model), [parameter.requires_grad for parameter in model.parameters()]
    with torch.no_grad():
        with pytest.raises(error), Session(model, training=True):
            assert torch.is_grad_enabled()
            raise error
        assert not torch.is_grad_enabled()
    assert (modes(model), [parameter.requires_grad for parameter in model.parameters()]) == earlier


def test_frozen_weights_ask_for_no_gradients_in_training_alone():
    model = compiled(frozen=True)
    first, *_, last = model.parameters()
    with Session(model, training=True):
        assert (first.requires_grad, last.requires_grad) == (False, True)
    with Session(model, training=False):
        assert first.requires_grad
    assert first.requires_grad


@pytest.mark.parametrize("around", [nullcontext, torch.no_grad])
def test_training_has_gradients_whatever_is_around_it(around):
    model = compiled()
    with around():
        before = [parameter.clone() for parameter in model.parameters()]
        model.train_on_batch(X, Y)
    assert any(not torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True))


def test_training_without_any_gradients_is_an_error():
    model = compiled()
    with torch.inference_mode():
        assert model.predict(X, verbose=0).shape == (4, 1)
        with pytest.raises(RuntimeError, match=r"inside torch.inference_mode\(\)"):
            model.fit(X, Y, verbose=0)
    model.fit(X, Y, verbose=0)


def test_an_evaluation_in_a_training_leaves_the_training_as_it_was():
    model = compiled()
    with Session(model, training=True):
        with Session(model, training=False):
            assert torch.is_inference_mode_enabled() and not model._in_training
        assert torch.is_grad_enabled() and model._in_training and set(modes(model)) == {True}
    assert not model._in_training


def test_a_module_with_a_train_of_its_own_is_told():
    class Net(Trainer, torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(2, 1)
            self.told = []

        def train(self, mode: bool = True):
            self.told.append(mode)
            return super().train(mode)

        def forward(self, x):
            return self.linear(x)

    net = Net()
    net.compile("sgd", "mse", device="cpu")
    net.told.clear()
    net.train_on_batch(X, Y)
    assert net.told == [True]


@pytest.mark.parametrize("cache_enabled", [True, False])
def test_weights_are_cast_anew_where_the_caller_casts(cache_enabled):
    """Autocast keeps casts of weights until the caller's block ends: a training would go on with the weights it began with."""
    model = Sequential([Dense(1, kernel_initializer="ones", input_shape=(2,))])
    model.compile("sgd", "mse", device="cpu")
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=cache_enabled):
        losses = [model.evaluate(x, y, verbose=0), *model.fit(x, y, epochs=3, verbose=0).history["loss"], model.evaluate(x, y, verbose=0)]
        assert torch.is_autocast_cache_enabled() is cache_enabled
    assert losses[0] == losses[1]
    assert losses[1:] == sorted(losses[1:], reverse=True)
    assert len(set(losses[1:])) == 4


class Slope(Trainer, torch.nn.Module):
    """Returns the derivative of what its layer gives."""

    def __init__(self, outside):
        super().__init__()
        self.linear, self.outside = torch.nn.Linear(2, 2), outside

    def forward(self, x):
        with self.outside(), torch.enable_grad():
            x = x.clone().requires_grad_()
            return torch.autograd.grad(self.linear(x).square().sum(), x, create_graph=self.training)[0]


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_how_gradients_are_taken_in_an_evaluation_is_told(method):
    data = (X, np.ones((len(X), 2)))[: 2 if method == "evaluate" else 1]
    refused, taken = Slope(nullcontext), Slope(lambda: torch.inference_mode(False))
    for net in (refused, taken):
        net.compile("sgd", "mse", device="cpu")
    with pytest.raises(RuntimeError, match=r"write: with torch.inference_mode\(False\), torch.enable_grad\(\)"):
        getattr(refused, method)(*data, verbose=0)
    getattr(taken, method)(*data, verbose=0)
