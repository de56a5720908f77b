"""`LearningRateScheduler`: functions of the epoch or the batch, torch's schedules and what makes them, and what it refuses."""

import functools
import pickle

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from torchkeras_fn import Sequential, layers, optimizers
from torchkeras_fn.callbacks import Callback, CallbackList, LearningRateScheduler
from torchkeras_fn.optimizers.schedules import ExponentialDecay

X, Y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
HALVING = functools.partial(lr_scheduler.StepLR, step_size=1, gamma=0.5)


def compiled(optimizer=None):
    model = Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile(optimizer or optimizers.SGD(0.8), "mse", device="cpu")
    return model


def fit(model, *callbacks, epochs=3, **options):
    return model.fit(X, Y, batch_size=2, epochs=epochs, verbose=0, callbacks=list(callbacks), **options).history


class Watch(Callback):
    """Notes the rate at which each batch is trained."""

    def __init__(self):
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    "function",
    [
        lambda epoch: 0.8 / 2**epoch,
        lambda epoch, rate: rate * (0.5 if epoch else 1.0),
        lambda epoch, rate: np.float32(rate) * np.float32(0.5 if epoch else 1.0),
        lambda epoch: torch.tensor(0.8 / 2**epoch),
        ExponentialDecay(0.8, 1, 0.5),
    ],
)
@pytest.mark.parametrize("kind", ["ours", "torch's"])
def test_a_function_of_the_epoch(function, kind):
    model = compiled(None if kind == "ours" else functools.partial(torch.optim.SGD, lr=0.8))
    watch = Watch()
    history = fit(model, LearningRateScheduler(function), watch)
    assert watch.rates == pytest.approx([0.8] * 4 + [0.4] * 4 + [0.2] * 4)
    assert history["learning_rate"] == pytest.approx([0.8, 0.4, 0.2]) and history["lr"] == history["learning_rate"]
    assert all(type(rate) is float for rate in history["learning_rate"])


def test_a_function_of_the_batch():
    watch = Watch()
    history = fit(compiled(), LearningRateScheduler(lambda batch: 0.8 / (batch + 1), step="batch"), watch, epochs=2)
    assert watch.rates == pytest.approx([0.8 / (batch + 1) for batch in range(8)])
    assert history["lr"] == pytest.approx([0.2, 0.1])


def test_it_is_told_of_batches_only_if_it_steps_with_them():
    def told(callback):
        events = CallbackList([callback])
        return len(events.listeners("on_train_batch_begin")), len(events.listeners("on_train_batch_end"))

    assert told(LearningRateScheduler(HALVING)) == told(LearningRateScheduler(lambda epoch: 0.1)) == (0, 0)
    assert told(LearningRateScheduler(HALVING, step="batch")) == (0, 1)
    assert told(LearningRateScheduler(lambda batch: 0.1, step="batch")) == (1, 0)


# ---------------------------------------------------------------------- torch's schedules


def makes(model, kind):
    """The same schedule, given in each of the ways."""
    used = getattr(model.optimizer, "torch_optimizer", model.optimizer)
    return {
        "bare": lambda: HALVING(used),
        "wrapped": lambda: LearningRateScheduler(HALVING(used)),
        "partial": lambda: LearningRateScheduler(HALVING),
        "class": lambda: LearningRateScheduler(lr_scheduler.ExponentialLR(used, 0.5)),
    }[kind]()


@pytest.mark.parametrize("kind", ["bare", "wrapped", "partial", "class"])
@pytest.mark.parametrize("optimizer", ["ours", "torch's"])
def test_a_schedule_of_torchs_is_stepped_after_each_epoch(kind, optimizer):
    model = compiled(optimizers.Adam(0.8) if optimizer == "ours" else functools.partial(torch.optim.Adam, lr=0.8))
    callback, watch = makes(model, kind), Watch()
    history = fit(model, callback, watch, validation_data=(X, Y))
    assert watch.rates == pytest.approx([0.8] * 4 + [0.4] * 4 + [0.2] * 4)
    assert history["learning_rate"] == pytest.approx([0.8, 0.4, 0.2])
    watch.rates.clear()
    fit(model, callback, watch, epochs=1)
    assert watch.rates == pytest.approx([0.1] * 4), "a second fit goes on where the first ended"


def test_a_schedule_of_torchs_is_stepped_after_each_batch():
    watch = Watch()
    fit(compiled(), LearningRateScheduler(HALVING, step="batch"), watch, epochs=2)
    assert watch.rates == pytest.approx([0.8 / 2**batch for batch in range(8)])


def test_no_warning_comes_while_gradients_are_gathered_or_everything_is_frozen():
    fit(compiled(optimizers.SGD(0.8, gradient_accumulation_steps=3)), LearningRateScheduler(HALVING, step="batch"))
    frozen = Sequential([layers.Input((3,)), layers.Dense(1)])
    frozen.layers[-1].trainable = False
    frozen.add(layers.Dense(1))
    frozen.compile(optimizers.SGD(0.8), "mse", device="cpu")
    fit(frozen, LearningRateScheduler(HALVING))


def test_a_model_that_was_compiled_anew_gets_a_schedule_anew():
    model, callback, watch = compiled(), LearningRateScheduler(HALVING), Watch()
    fit(model, callback)
    model.compile(optimizers.SGD(0.8), "mse", device="cpu")
    fit(model, callback, watch, epochs=2)
    assert watch.rates == pytest.approx([0.8] * 4 + [0.4] * 4)


@pytest.mark.parametrize("monitor", ["val_loss", "loss"])
def test_a_plateau_is_told_a_figure(monitor):
    plateau = functools.partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=10.0, factor=0.5)  # nothing is good enough
    model = compiled()
    history = fit(model, LearningRateScheduler(plateau, monitor=monitor), validation_data=(X, Y), validation_freq=2, epochs=4)
    assert history["lr"] == ([0.8, 0.8, 0.4, 0.4] if monitor == "val_loss" else [0.8, 0.4, 0.2, 0.1])
    assert model.optimizer.lr == (0.2 if monitor == "val_loss" else 0.05)


def test_state_goes_on_where_it_was_left():
    callback, again, watch = LearningRateScheduler(HALVING), LearningRateScheduler(HALVING), Watch()
    first, second = compiled(), compiled()
    fit(first, callback, epochs=2)
    state = callback.state_dict()

    class Restore(Callback):
        def on_train_begin(self, logs=None):
            again.load_state_dict(state)
            second.optimizer.load_state_dict(first.optimizer.state_dict())

    fit(second, again, Restore(), watch, epochs=1)
    assert watch.rates == [0.2] * 4 and second.optimizer.lr == 0.1


def test_it_can_be_pickled():
    callback = pickle.loads(pickle.dumps(LearningRateScheduler(HALVING, step="batch")))
    assert callback.step == "batch" and callback.schedule.func is lr_scheduler.StepLR


def test_verbose_tells_each_rate(capsys):
    fit(compiled(), LearningRateScheduler(lambda epoch: 0.5, verbose=1), epochs=1)
    assert "Epoch 1: LearningRateScheduler setting learning rate to 0.5." in capsys.readouterr().out
    fit(compiled(), LearningRateScheduler(lambda epoch: 0.5), LearningRateScheduler(HALVING), epochs=1)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LearningRateScheduler(0.1), TypeError, "A schedule is a function, a torch schedule, or what makes one; got 0.1"),
        (lambda: LearningRateScheduler(HALVING, step="minute"), ValueError, "'step' must be one of 'epoch', 'batch'"),
        (lambda: LearningRateScheduler(lr_scheduler.ReduceLROnPlateau, step="batch"), ValueError, "follows a figure of the epoch"),
    ],
)
def test_mistakes_are_named_where_they_are_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("optimizer", "callback", "error", "message"),
    [
        (optimizers.SGD(ExponentialDecay(0.8, 1, 0.5)), LearningRateScheduler(HALVING), TypeError, "created with a `LearningRateSchedule`"),
        (optimizers.SGD(0.8, decay=0.1), LearningRateScheduler(HALVING), TypeError, "has a 'decay'"),
        (None, LearningRateScheduler(HALVING(torch.optim.SGD([torch.zeros(1)], lr=1.0))), ValueError, "made for another optimizer"),
        (None, LearningRateScheduler(lambda epoch: "fast"), ValueError, "should be a float, got 'fast'"),
        (None, LearningRateScheduler(lambda epoch: None), ValueError, "should be a float, got None"),
        (None, LearningRateScheduler(lr_scheduler.ReduceLROnPlateau, monitor="val_loss"), ValueError, "but there are only: loss"),
        (None, LearningRateScheduler(lr_scheduler.ReduceLROnPlateau, monitor="los"), ValueError, "follows 'los'"),
    ],
)
def test_mistakes_are_named_when_training_begins(optimizer, callback, error, message):
    with pytest.raises(error, match=message):
        fit(compiled(optimizer), callback)
