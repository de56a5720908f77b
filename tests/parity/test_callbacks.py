"""Callbacks of both libraries, driven by the same figures, and in trainings of the same models."""

import itertools
import os

import keras
import numpy as np
import pytest

import torchkeras_fn as tk
from tests.callbacks.stand_ins import StandIn
from tests.parity.twins import LIBRARIES, same, twins

EPOCHS = 14
SHAPES = ("falling", "rising", "noisy", "steps", "holes")


def curve(shape, seed=0):
    """A figure for each epoch, of some shape. Values are coarse, so that both libraries see ties alike.

    The first to be looked at is never NaN: in Keras that would be the best for ever, here it never is.
    """
    random, epochs = np.random.default_rng(seed), np.arange(EPOCHS)
    values = {
        "falling": 1 / (epochs + 1),
        "rising": epochs / 8,
        "noisy": random.normal(size=EPOCHS),
        "steps": np.repeat(random.normal(size=EPOCHS // 2), 2),
        "holes": np.where(epochs % 5 == 4, np.nan, random.normal(size=EPOCHS)),
    }[shape]
    return [float(value) for value in np.round(values * 16) / 16]


def drive(callback, values, model, name="val_loss", note=lambda: None):
    """Let a callback see the figures, an epoch each, until it stops the training; return what `note` saw after each."""
    callback.set_model(model)
    callback.set_params({"epochs": EPOCHS})
    callback.on_train_begin()
    seen = []
    for epoch, value in enumerate(values):
        model.weights = epoch
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {name: value})
        seen.append(note())
        if model.stop_training:
            break
    callback.on_train_end()
    return seen


# ---------------------------------------------------------------------- the same figures

STOPPING = [
    dict(zip(("patience", "min_delta", "baseline", "start_from_epoch"), values, strict=True))
    for values in itertools.product((0, 1, 3), (0, 0.25), (None, 0.125), (0, 3))
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping_ends_at_the_same_epoch_with_the_same_weights(shape, mode):
    for seed, options in enumerate(STOPPING):
        ends = []
        for library in LIBRARIES:
            stopper, model = library.callbacks.EarlyStopping(mode=mode, restore_best_weights=True, **options), StandIn()
            epochs = len(drive(stopper, curve(shape, seed), model))
            ends.append((epochs, stopper.stopped_epoch, stopper.best_epoch, model.weights, stopper.best, stopper.wait))
        assert ends[0] == ends[1], options


PLATEAUS = [
    dict(zip(("patience", "factor", "min_delta", "cooldown", "min_lr"), values, strict=True))
    for values in itertools.product((0, 1, 3), (0.5, 0.1), (1e-4, 0.25), (0, 2), (0.0, 0.05))
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_learning_rate_falls_at_the_same_epochs(shape, mode):
    for seed, options in enumerate(PLATEAUS):
        rates = []
        for library in LIBRARIES:
            optimizer = library.optimizers.SGD(0.8)
            callback = library.callbacks.ReduceLROnPlateau(mode=mode, **options)
            rates.append(drive(callback, curve(shape, seed), StandIn(optimizer), note=lambda of=optimizer: float(of.learning_rate)))
        np.testing.assert_allclose(*rates, rtol=1e-5, err_msg=str(options))


CHECKPOINTS = [
    dict(zip(("save_best_only", "initial_value_threshold", "save_weights_only"), values, strict=True))
    for values in itertools.product((False, True), (None, 0.125), (False, True))
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_same_files_are_saved(shape, mode, tmp_path):
    for seed, options in enumerate(CHECKPOINTS):
        name = "{epoch:02d}-{val_loss:.2f}" + (".weights.h5" if options["save_weights_only"] else ".keras")
        saved = []
        for library in LIBRARIES:
            model = StandIn()
            drive(library.callbacks.ModelCheckpoint(tmp_path / name, mode=mode, **options), curve(shape, seed), model)
            saved.append(model.saved)
        assert saved[0] == saved[1], options


@pytest.mark.parametrize("frequency", [1, 2, 3, 7])
@pytest.mark.parametrize("best", [False, True])
def test_the_same_files_are_saved_by_batches(frequency, best, tmp_path):
    saved = []
    for library in LIBRARIES:
        name, model = tmp_path / "{epoch}-{batch:02d}-{loss:.2f}.keras", StandIn()
        callback = library.callbacks.ModelCheckpoint(name, "loss", save_best_only=best, mode="min", save_freq=frequency)
        callbacks = library.callbacks.CallbackList([callback], model=model)
        callbacks.on_train_begin()
        if library is keras:
            callback._set_monitor_op()  # Keras does so after the first epoch only, and fails on batches of the first
        for epoch in range(3):
            callbacks.on_epoch_begin(epoch)
            for batch, loss in enumerate(curve("noisy", epoch)[:5]):
                callbacks.on_train_batch_begin(batch)
                callbacks.on_train_batch_end(batch, {"loss": loss})
            callbacks.on_epoch_end(epoch, {"loss": 0.5})
        callbacks.on_train_end()
        saved.append(model.saved)
    assert saved[0] == saved[1] and saved[0]


def csv_logs(kind):
    logs = [{"loss": loss, "val_loss": other} for loss, other in zip(curve("noisy", 1), curve("noisy", 2), strict=True)]
    if kind == "no validation":
        return [{"loss": entry["loss"]} for entry in logs]
    if kind == "every third":
        return [entry if epoch % 3 == 2 else {"loss": entry["loss"]} for epoch, entry in enumerate(logs)]
    if kind == "values":
        return [{**entry, "list": [1, 2], "array": np.arange(2), "text": "a,b", "nan": float("nan")} for entry in logs]
    return logs


@pytest.mark.parametrize("kind", ["validation", "no validation", "every third", "values"])
@pytest.mark.parametrize(("separator", "append"), [(",", False), ("\t", True)])
def test_the_same_rows_are_written(kind, separator, append, tmp_path):
    files = []
    for library in LIBRARIES:
        path = tmp_path / f"{library.__name__}.csv"
        for again in range(2):
            logger = library.callbacks.CSVLogger(str(path), separator, append)
            logger.set_model(StandIn())
            logger.on_train_begin()
            for epoch, logs in enumerate(csv_logs(kind)[: 6 - again]):
                logger.on_epoch_begin(epoch)
                logger.on_epoch_end(epoch, dict(logs))
            logger.on_train_end()
        files.append(path.read_bytes())
    assert files[0] == files[1] and len(files[0].splitlines()) == (12 if append else 6)


# ---------------------------------------------------------------------- the same trainings

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = (X.sum(1, keepdims=True) > 0).astype("float32")


def classifier(library, **options):
    x = library.Input(shape=(3,))
    y = library.layers.Dense(4, activation="tanh")(x)
    model = library.Model(x, library.layers.Dense(1, activation="sigmoid")(y))
    model.compile(library.optimizers.SGD(0.5, **options), "binary_crossentropy", metrics=["accuracy", "mse"])
    return model


def train(model, callbacks, **options):
    options = {"epochs": 8, "validation_split": 0.25, **options}
    return model.fit(X, Y, batch_size=10, shuffle=False, verbose=0, callbacks=callbacks, **options).history


def close(ours, theirs):
    assert sorted(ours) == sorted(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("monitor", ["val_loss", "loss", "val_accuracy", "accuracy", "val_mse"])
def test_a_training_that_is_stopped_ends_alike(monitor):
    ours, theirs = twins(classifier)
    histories = [
        train(model, [library.callbacks.EarlyStopping(monitor, patience=1, min_delta=0.02, restore_best_weights=True)])
        for library, model in zip(LIBRARIES, (ours, theirs), strict=True)
    ]
    close(*histories)
    same(ours.get_weights(), theirs.get_weights(), 1e-4)


def test_a_training_with_a_falling_rate_goes_alike():
    ours, theirs = twins(classifier)
    options = {"monitor": "loss", "patience": 1, "min_delta": 0.03, "factor": 0.5}
    histories = [
        train(model, [library.callbacks.ReduceLROnPlateau(**options)]) for library, model in zip(LIBRARIES, (ours, theirs), strict=True)
    ]
    close(*histories)
    assert histories[0]["learning_rate"][-1] < 0.5


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_a_training_that_is_validated_with_means_goes_alike(swap_on_epoch):
    ours, theirs = twins(lambda library: classifier(library, use_ema=True, ema_momentum=0.8))
    histories = [
        train(model, [library.callbacks.SwapEMAWeights(swap_on_epoch)], epochs=3)
        for library, model in zip(LIBRARIES, (ours, theirs), strict=True)
    ]
    close(*histories)
    same(ours.get_weights(), theirs.get_weights(), 1e-4)


@pytest.mark.parametrize("frequency", [1, 3])
def test_a_training_is_logged_in_the_same_columns(frequency, tmp_path):
    ours, theirs = twins(classifier)
    tables = []
    for library, model in zip(LIBRARIES, (ours, theirs), strict=True):
        path = tmp_path / f"{library.__name__}.csv"
        train(model, [library.callbacks.CSVLogger(str(path))], validation_freq=frequency)
        tables.append([line.split(",") for line in path.read_text().splitlines()])
    assert tables[0][0] == tables[1][0] and len(tables[0]) == len(tables[1])
    for our_row, their_row in zip(tables[0][1:], tables[1][1:], strict=True):
        for mine, other in zip(our_row, their_row, strict=True):
            assert mine == other == "NA" or float(mine) == pytest.approx(float(other), rel=1e-4)


EVENTS = [f"on_{stage}_{edge}" for stage in ("train", "test", "predict", "epoch") for edge in ("begin", "end")]
EVENTS += [f"on_{stage}_batch_{edge}" for stage in ("train", "test", "predict") for edge in ("begin", "end")]


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_the_same_events_come_in_the_same_order(call):
    ours, theirs = twins(classifier)
    told = []
    for library, model in zip(LIBRARIES, (ours, theirs), strict=True):
        seen = []
        functions = {event: lambda *args, event=event, seen=seen, **kwargs: seen.append((event, *args[:-1])) for event in EVENTS}
        listener = library.callbacks.LambdaCallback(**functions)
        if call == "fit":
            train(model, [listener], epochs=2)
        else:
            getattr(model, call)(*((X, Y) if call == "evaluate" else (X,)), batch_size=10, verbose=0, callbacks=[listener])
        told.append([(event, *args) if "epoch" in event else event for event, *args in seen])
    assert told[0] == told[1]


def test_a_callback_of_keras_is_told_of_what_it_overrides():
    class Theirs(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append((epoch, logs["loss"], self.model, self.params["epochs"]))

    (model, _), theirs = twins(classifier), Theirs()
    history = train(model, [theirs], epochs=2)
    assert theirs.seen == [(epoch, history["loss"][epoch], model, 2) for epoch in range(2)]
    callbacks = tk.callbacks.CallbackList([theirs])
    assert [event for event in EVENTS if callbacks.listeners(event)] == ["on_epoch_end"]


@pytest.mark.parametrize("own", ["EarlyStopping", "CSVLogger", "TerminateOnNaN"])
def test_keras_own_callbacks_work_with_our_models(own, tmp_path):
    options = {
        "EarlyStopping": {"monitor": "loss", "mode": "min", "patience": 1, "restore_best_weights": True},
        "CSVLogger": {"filename": str(tmp_path / "log.csv")},
        "TerminateOnNaN": {},
    }[own]
    model, _ = twins(classifier)
    history = train(model, [getattr(keras.callbacks, own)(**options)], epochs=2)
    assert len(history["loss"]) == 2 and os.listdir(tmp_path) == (["log.csv"] if own == "CSVLogger" else [])
