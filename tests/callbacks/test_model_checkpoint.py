"""`ModelCheckpoint`: what is saved, when, and under which name."""

import errno
import functools
import os

import numpy as np
import pytest
import torch
from torch import nn

from tests.callbacks.stand_ins import StandIn, drive
from torchkeras_fn import Input, Model, Sequential, Trainer
from torchkeras_fn.callbacks import CallbackList, LambdaCallback, ModelCheckpoint
from torchkeras_fn.layers import Dense, Lambda
from torchkeras_fn.models import load_model

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), (np.arange(20) % 2).astype("float32")


def compiled():
    x = Input(shape=(3,))
    model = Model(x, Dense(1, activation="sigmoid")(x))
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model


def curve(*values, name="val_loss"):
    return [{name: value} for value in values]


def saved(callback, logs, **params):
    return [os.path.basename(path) for _, path in drive(callback, logs, **params).saved]


@pytest.fixture
def path(tmp_path):
    return lambda name: str(tmp_path / name)


# ---------------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"period": 2}, [2, 4, 6]),
        ({"save_best_only": True}, [1, 3, 6]),
        ({"save_best_only": True, "mode": "max"}, [1, 2, 4, 5]),
        ({"save_best_only": True, "period": 2}, [2, 6]),
        ({"save_best_only": True, "initial_value_threshold": 0.8}, [3, 6]),
        ({"save_best_only": True, "initial_value_threshold": 0.0}, []),
    ],
)
def test_the_epochs_that_are_saved(path, options, expected):
    names = saved(ModelCheckpoint(path("{epoch}"), **options), curve(0.9, 1.0, 0.5, 1.1, 1.2, 0.4))
    assert names == [str(epoch) for epoch in expected]


def test_nan_is_never_the_best(path):
    assert saved(ModelCheckpoint(path("{epoch}"), save_best_only=True), curve(float("nan"), 1.0, float("nan"), 0.5)) == ["2", "4"]


@pytest.mark.parametrize("weights_only", [False, True])
def test_what_is_called(path, weights_only):
    model = drive(ModelCheckpoint(path("here"), save_weights_only=weights_only), curve(1.0))
    assert model.saved == [("save_weights" if weights_only else "save", path("here"))]


@pytest.mark.parametrize(("frequency", "expected"), [(1, [(1, 1), (1, 2), (2, 1), (2, 2)]), (2, [(1, 2), (2, 2)]), (3, [(2, 1)]), (5, [])])
def test_every_so_many_batches(path, frequency, expected):
    model, callback = StandIn(), ModelCheckpoint(path("{epoch}-{batch}"), save_freq=frequency)
    callbacks = CallbackList([callback], model=model)
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(2):
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch, {"loss": 1.0})
        callbacks.on_epoch_end(epoch, {"loss": 1.0})
    assert [os.path.basename(name) for _, name in model.saved] == [f"{epoch}-{batch}" for epoch, batch in expected]


def test_batches_count_in_a_training(path):
    compiled().fit(X, Y, batch_size=5, epochs=3, verbose=0, callbacks=[ModelCheckpoint(path("{epoch}-{batch}-{loss:.0f}"), save_freq=6)])
    assert [name[:3] for name in sorted(os.listdir(path("")))] == ["2-2", "3-4"]


def test_the_best_of_batches_by_a_figure_that_batches_have(path):
    callback = ModelCheckpoint(path("best"), "loss", save_best_only=True, save_freq=1)
    compiled().fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[callback])
    assert os.path.exists(path("best")) and callback.best is not None


def test_batches_have_no_validation(path):
    callback = ModelCheckpoint(path("best"), save_best_only=True, save_freq=1)
    with pytest.raises(ValueError, match=r"monitors 'val_loss', which is none of the figures \['loss', 'accuracy'\]\.$"):
        compiled().fit(X, Y, verbose=0, validation_split=0.5, callbacks=[callback])


def test_no_batch_is_told_unless_batches_count():
    assert CallbackList([ModelCheckpoint("x")]).listeners("on_train_batch_end") == []
    assert len(CallbackList([ModelCheckpoint("x", save_freq=3)]).listeners("on_train_batch_end")) == 1


def test_without_save_best_only_nothing_is_monitored(path):
    compiled().fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(path("here"))])
    assert os.path.exists(path("here"))


def test_epochs_without_validation_are_not_saved_as_best(path):
    callback = ModelCheckpoint(path("{epoch}"), save_best_only=True)
    compiled().fit(X, Y, epochs=4, verbose=0, validation_split=0.5, validation_freq=2, callbacks=[callback])
    assert "2" in os.listdir(path("")) and not {"1", "3"} & set(os.listdir(path("")))


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("filepath", "expected"),
    [
        ("{epoch:02d}-{val_loss:.2f}.keras", "01-0.12.keras"),
        ("{val_acc:.1f}", "0.8"),
        ("{val_accuracy}", "0.75"),
        ("{lr:.3f}", "0.010"),
        ("{{x}}-{epoch}", "{x}-1"),
        ("plain", "plain"),
    ],
)
def test_names_of_epochs(filepath, expected):
    assert ModelCheckpoint(filepath).path(0, {"val_loss": 0.123, "val_accuracy": 0.75, "learning_rate": 0.01}) == expected


def test_batches_are_counted_from_one_whatever_the_logs_say():
    assert ModelCheckpoint("{epoch}-{batch:02d}").path(2, {"batch": 4, "size": 8}, batch=4) == "3-05"


def test_folders_are_made(path):
    compiled().fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(path("a/{epoch}/model"))])
    assert os.path.exists(path("a/1/model"))


def test_a_path_object_is_a_path(tmp_path):
    compiled().fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(tmp_path / "model")])
    assert (tmp_path / "model").exists()


def test_an_unknown_name_in_the_path_is_an_error_before_the_first_epoch(path):
    model = compiled()
    with pytest.raises(KeyError, match=r"Failed to format this callback filepath: .* names 'val_los', which is none of \['epoch', 'loss'"):
        model.fit(X, Y, verbose=0, validation_split=0.5, callbacks=[ModelCheckpoint(path("{val_los:.2f}"))])
    assert model.optimizer.iterations == 0


def test_by_hand_an_unknown_name_in_the_path_is_told_when_it_is_needed(path):
    with pytest.raises(KeyError, match=r"Failed to format .* names 'mape', which is none of \['epoch', 'val_loss'\]"):
        drive(ModelCheckpoint(path("{mape:.2f}")), curve(1.0))


# ---------------------------------------------------------------------- files


def test_the_saved_model_is_that_of_the_epoch(path):
    model = compiled()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[ModelCheckpoint(path("{epoch}.keras_fn"))])
    again = load_model(path("2.keras_fn"))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
    assert not np.array_equal(load_model(path("1.keras_fn")).get_weights()[0], again.get_weights()[0])
    assert again.optimizer.iterations == model.optimizer.iterations


def test_saved_weights_can_be_loaded(path):
    model, other = compiled(), compiled()
    model.fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(path("weights"), save_weights_only=True)])
    other.load_weights(path("weights"))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def test_saving_in_the_middle_of_an_epoch_changes_nothing(path):
    first, second = compiled(), compiled()
    second.set_weights(first.get_weights())
    histories = [
        model.fit(X, Y, batch_size=5, shuffle=False, epochs=2, verbose=0, callbacks=callbacks).history
        for model, callbacks in ((first, []), (second, [ModelCheckpoint(path("x"), save_freq=1)]))
    ]
    assert histories[0] == histories[1]
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


def test_a_save_that_fails_is_not_the_best(path):
    class Full(StandIn):
        def save(self, filepath, overwrite=True):
            raise OSError(errno.ENOSPC, "No space left on device")

    callback = ModelCheckpoint(path("x"), save_best_only=True)
    with pytest.raises(OSError, match="No space left"):
        drive(callback, curve(1.0), Full())
    assert callback.best is None


def test_a_model_that_cannot_be_saved_is_an_error_before_the_first_epoch(path):
    class Bare:
        stop_training = False

    with pytest.raises(TypeError, match="calls the model's 'save', which a Bare does not have"):
        drive(ModelCheckpoint(path("x")), curve(1.0), Bare())


class Plain(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        return self.linear(x)


class OfOnesOwn(Plain):
    def save(self, filepath, overwrite=True):
        torch.save(self.linear.state_dict(), filepath)


def nameless():
    return Sequential([Lambda(lambda x: 2 * x, input_shape=(3,)), Dense(1)])


@pytest.mark.parametrize(
    ("make", "name", "weights_only", "kind", "message"),
    [
        (Plain, "x.model", False, TypeError, "Plain is no Model"),
        (Plain, "x.keras", False, TypeError, "Plain is no Model"),
        (Plain, "x.h5", True, TypeError, "Plain is no Model, and Keras' files hold weights by the layers"),
        (nameless, "x.model", False, ValueError, "has no name, so a file cannot refer to it"),
        (nameless, "x.weights.h5", False, ValueError, "for which there is no save_model"),
        (nameless, "x.keras", True, ValueError, "for which there is no save_weights"),
    ],
)
def test_what_cannot_be_saved_is_an_error_before_the_first_epoch(make, name, weights_only, kind, message, path):
    model = make()
    model.compile("sgd", "mse")
    begun = []
    told = [LambdaCallback(on_epoch_begin=lambda *_: begun.append(1)), ModelCheckpoint(path(name), save_weights_only=weights_only)]
    with pytest.raises(kind, match=message):
        model.fit(X, Y, verbose=0, callbacks=told)
    assert begun == []


def test_a_save_of_ones_own_is_called(path):
    model = OfOnesOwn()
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(path("x.keras"))])
    assert sorted(torch.load(path("x.keras"))) == ["bias", "weight"]


def test_a_model_that_is_built_by_its_first_batch_is_saved(path):
    model = Sequential([Dense(1)])
    model.compile(functools.partial(torch.optim.SGD, lr=0.1), "mse")
    model.fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(path("x.model"))])
    assert os.path.exists(path("x.model"))


def test_the_weights_of_a_plain_module(path):
    model = Plain()
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(path("weights"), save_weights_only=True)])
    assert os.path.exists(path("weights"))


def test_what_it_says(path, capsys):
    drive(ModelCheckpoint(path("x"), save_best_only=True, verbose=1), curve(1.0, 2.0, 0.5))
    assert capsys.readouterr().out == (
        f"\nEpoch 1: val_loss improved from None to 1.00000, saving model to {path('x')}\n"
        f"\nEpoch 2: val_loss did not improve from 1.00000\n"
        f"\nEpoch 3: val_loss improved from 1.00000 to 0.50000, saving model to {path('x')}\n"
    )
    drive(ModelCheckpoint(path("x"), verbose=1), curve(1.0))
    assert capsys.readouterr().out == f"\nEpoch 1: saving model to {path('x')}\n"


# ---------------------------------------------------------------------- state


def test_the_best_stays_when_the_object_is_used_again(path):
    callback = ModelCheckpoint(path("{epoch}"), save_best_only=True)
    assert saved(callback, curve(1.0, 0.5)) == ["1", "2"]
    assert saved(callback, curve(0.9, 0.6, 0.4)) == ["3"]


@pytest.mark.parametrize("options", [{"save_best_only": True}, {"period": 2}, {"period": 3, "save_best_only": True}])
def test_a_restored_state_goes_on_as_if_nothing_had_happened(path, options):
    logs = curve(1.0, 0.5, 0.7, 0.4, 0.6, 0.3)
    expected = saved(ModelCheckpoint(path("{epoch}"), **options), logs)
    for cut in range(1, len(logs)):
        first, second = (ModelCheckpoint(path("{epoch}"), **options) for _ in range(2))
        model = StandIn()
        before = saved(first, logs[:cut])
        second.set_model(model)
        second.on_train_begin()
        second.load_state_dict(first.state_dict())
        for epoch in range(cut, len(logs)):
            second.on_epoch_end(epoch, logs[epoch])
        assert before + [os.path.basename(name) for _, name in model.saved] == expected


def test_batches_since_the_last_save_are_a_part_of_the_state(path):
    first, second, model = ModelCheckpoint(path("x"), save_freq=3), ModelCheckpoint(path("x"), save_freq=3), StandIn()
    for callback in (first, second):
        callback.set_model(model)
        callback.on_train_begin()
    for batch in range(2):
        first.on_train_batch_end(batch, {})
    second.load_state_dict(first.state_dict())
    second.on_train_batch_end(2, {})
    assert len(model.saved) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save_freq": "often"}, "Unrecognized save_freq: 'often'"),
        ({"save_freq": 0}, "'save_freq'"),
        ({"period": 0}, "'period'"),
        ({"mode": "best"}, "'mode'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ModelCheckpoint("x", **options)


def test_the_order_of_arguments_is_that_of_keras():
    callback = ModelCheckpoint("x", "loss", 1, True, True, "min", 5, 0.5)
    names = ("filepath", "monitor", "verbose", "save_best_only", "save_weights_only", "mode", "save_freq", "best")
    assert [getattr(callback, name) for name in names] == ["x", "loss", 1, True, True, "min", 5, 0.5]
