"""`ReduceLROnPlateau`: when the learning rate falls, how far, and for which optimizers."""

import functools

import numpy as np
import pytest
import torch

from tests.callbacks.stand_ins import StandIn, drive
from torchkeras_fn import Input, Model, optimizers
from torchkeras_fn.callbacks import ReduceLROnPlateau
from torchkeras_fn.layers import Dense
from torchkeras_fn.optimizers.schedules import ExponentialDecay

X, Y = np.zeros((8, 2), dtype="float32"), np.ones(8, dtype="float32")


def rates(callback, values, optimizer=None):
    """The learning rate of each epoch, as the callback logs it."""
    model, found = StandIn(optimizer or optimizers.SGD(1.0)), []
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        logs = {"loss": value}
        callback.on_epoch_end(epoch, logs)
        found.append(logs["learning_rate"])
    return [*found, float(model.optimizer.learning_rate)] if hasattr(model.optimizer, "learning_rate") else found


def plateau(**options):
    return ReduceLROnPlateau("loss", **{"factor": 0.5, "patience": 2, **options})


@pytest.mark.parametrize(
    ("options", "losses", "expected"),
    [
        ({}, [3, 2, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0.5, 0.5]),
        ({}, [1, 1, 1, 1, 1, 1], [1, 1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({}, [2, 2, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0.5, 0.5]),
        ({"patience": 1}, [1, 1, 0.5, 1], [1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 0}, [1, 1, 1], [1, 1, 0.5, 0.25]),
        ({"cooldown": 2, "patience": 1}, [1, 1, 1, 1, 1], [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"min_lr": 0.3, "patience": 1}, [1, 1, 1, 1], [1, 1, 0.5, 0.3, 0.3]),
        ({"min_lr": 2.0, "patience": 1}, [1, 1, 1], [1, 1, 1, 1]),
        ({"min_delta": 0.5, "patience": 1}, [1, 0.9, 0.2], [1, 1, 0.5, 0.5]),
        ({"epsilon": 0.5, "patience": 1}, [1, 0.9, 0.2], [1, 1, 0.5, 0.5]),
        ({"mode": "max", "patience": 1}, [1, 2, 2], [1, 1, 1, 0.5]),
        ({"patience": 1, "factor": 0}, [1, 1], [1, 1, 0]),
    ],
)
def test_the_rate_of_each_epoch(options, losses, expected):
    assert rates(plateau(**options), losses) == expected


def test_every_group_of_a_torch_optimizer_falls():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 1.0}, {"params": weights[1:], "lr": 0.5}])
    assert rates(plateau(patience=1, min_lr=0.4), [1, 1, 1], optimizer) == [1, 1, 0.5]
    assert [group["lr"] for group in optimizer.param_groups] == [0.4, 0.4]


def compiled(optimizer):
    x = Input(shape=(2,))
    model = Model(x, Dense(1, use_bias=False)(x))
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize(
    "make", [lambda: optimizers.SGD(1.0), lambda: optimizers.Adam(1.0), lambda: functools.partial(torch.optim.SGD, lr=0.5)]
)
def test_in_a_training_the_rate_is_in_the_history(make):
    model = compiled(make())
    first = model.optimizer.lr if hasattr(model.optimizer, "lr") else 0.5
    history = model.fit(X, Y, epochs=4, verbose=0, callbacks=[plateau(patience=1)])
    assert history.history["learning_rate"] == pytest.approx([first, first, first / 2, first / 4])
    assert history.history["lr"] == history.history["learning_rate"]


def test_a_schedule_is_an_error_before_the_first_epoch():
    model = compiled(optimizers.SGD(ExponentialDecay(0.1, 10, 0.9)))
    with pytest.raises(TypeError, match="created with a `LearningRateSchedule`, so ReduceLROnPlateau cannot"):
        model.fit(X, Y, verbose=0, callbacks=[plateau()])
    assert model.optimizer.iterations == 0


def test_what_it_says(capsys):
    rates(plateau(patience=1, verbose=1, min_lr=0.5), [1, 1, 1])
    assert capsys.readouterr().out == "\nEpoch 2: ReduceLROnPlateau reducing learning rate to 0.5.\n"


def test_it_begins_anew_when_it_is_used_again():
    callback = plateau(cooldown=5)
    rates(callback, [1, 1, 1])
    assert rates(callback, [2, 1]) == [1, 1, 1]


def test_a_restored_state_goes_on_as_if_nothing_had_happened():
    losses = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    whole = plateau(cooldown=1)
    expected = rates(whole, losses)
    for cut in range(1, len(losses)):
        first, second, optimizer = plateau(cooldown=1), plateau(cooldown=1), optimizers.SGD(1.0)
        drive(first, [{"loss": loss} for loss in losses[:cut]], StandIn(optimizer))
        second.set_model(StandIn(optimizer))
        second.on_train_begin()
        second.load_state_dict(first.state_dict())
        for epoch in range(cut, len(losses)):
            second.on_epoch_end(epoch, {"loss": losses[epoch]})
        assert optimizer.learning_rate == expected[-1] and second.state_dict() == whole.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1.0}, r"does not support a factor >= 1.0.*got factor=1.0"),
        ({"factor": -0.1}, "'factor'"),
        ({"patience": -1}, "'patience'"),
        ({"cooldown": -1}, "'cooldown'"),
        ({"min_lr": -1}, "'min_lr'"),
        ({"epsilon": "small"}, "'min_delta'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"(?i){message}"):
        ReduceLROnPlateau("loss", **options)


def test_the_order_of_arguments_is_that_of_keras():
    callback = ReduceLROnPlateau("loss", 0.2, 3, 1, "min", 0.5, 4, 0.01)
    names = ("monitor", "factor", "patience", "verbose", "mode", "cooldown", "min_lr")
    assert [getattr(callback, name) for name in names] == ["loss", 0.2, 3, 1, "min", 4, 0.01] and abs(callback.min_delta) == 0.5
