"""Of several processes the first alone prints and writes, and all of them decide alike."""

import contextlib
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.distributed.job import outcomes, run
from torchkeras_fn import Sequential, models
from torchkeras_fn.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgbarLogger,
    ReduceLROnPlateau,
    RemoteMonitor,
    TensorBoard,
    TerminateOnNaN,
)
from torchkeras_fn.layers import Dense

_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(22, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def model_of(optimizer="adam"):
    model = Sequential([Dense(4, "relu", input_shape=(3,)), Dense(1)])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def fit(model, *callbacks, epochs=3, verbose=0, **options):
    return model.fit(X, Y, batch_size=4, epochs=epochs, verbose=verbose, validation_data=(X, Y), callbacks=list(callbacks), **options)


def same(found):
    return all(repr(one) == repr(found[0]) for one in found)


# ---------------------------------------------------------------------- what is printed and written


def with_all_callbacks(folder, verbose):
    """Train with whatever speaks or writes; return what was printed, what is in this process's own folder, and who is first."""
    place = Path(folder, str(dist.get_rank()))
    place.mkdir()
    model = model_of()
    told = [
        EarlyStopping("val_loss", patience=0, min_delta=1e9, verbose=1, restore_best_weights=True),
        ReduceLROnPlateau("val_loss", patience=0, min_delta=1e9, verbose=1),
        LearningRateScheduler(lambda epoch, rate: rate, verbose=1),
        ModelCheckpoint(place / "by_epoch" / "{epoch}.keras", verbose=1),
        ModelCheckpoint(place / "by_batch-{batch}-{loss:.3f}.weights", "loss", save_freq=2, save_weights_only=True, save_best_only=True),
        CSVLogger(place / "log.csv"),
        TensorBoard(place / "board", histogram_freq=1, update_freq="batch", profile_batch=2),
        RemoteMonitor("http://localhost:9"),
        TerminateOnNaN(),
        *([ProgbarLogger()] if verbose == 1 else []),
    ]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        history = fit(model, *told, verbose=verbose)
        model.evaluate(X, Y, verbose=verbose)
        model.predict(X, verbose=verbose)
    monitors = [str(warning.message) for warning in warned if "RemoteMonitor" in str(warning.message)]
    return printed.getvalue(), [path.name for path in place.rglob("*")], history.history, model.is_first_process, len(monitors)


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_first_prints_and_writes(verbose, tmp_path):
    (words, files, figures, is_first, monitors), other = run(with_all_callbacks, 2, str(tmp_path), verbose)
    assert "Epoch 1/3" in words and "early stopping" in words and "saving model to" in words and "setting learning rate" in words
    assert {"1.keras", "log.csv", "train", "validation"} <= set(files) and any(name.startswith("by_batch") for name in files)
    assert is_first and monitors == len(figures["loss"])
    assert other == ("", [], figures, False, 0)


class OwnCSV(CSVLogger):
    """A logger of the user's that is told of each epoch by its own method."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)


def write_to_one_place(folder):
    model = model_of()
    fit(model, OwnCSV(Path(folder, "log.csv")), ModelCheckpoint(Path(folder, "{epoch}.keras"), verbose=0))
    model.save(Path(folder, "last.keras"))
    loaded = models.load_model(Path(folder, "last.keras"))  # which is there, whoever wrote it
    model.save(own := io.BytesIO())
    with pytest.raises(RuntimeError if dist.get_rank() else FileExistsError, match="is there already"):
        model.save_weights(Path(folder, "last.keras"), overwrite=False)
    with pytest.raises(RuntimeError if dist.get_rank() else FileNotFoundError, match="no folder"):
        model.save(Path(folder, "nowhere", "last.keras"))
    if model.is_first_process:
        model.save_weights(Path(folder, "first.weights"))
    return all(np.array_equal(one, other) for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True)), own.tell()


def test_files_are_written_once_and_are_there(tmp_path):
    found = run(write_to_one_place, 2, str(tmp_path))
    assert found[0][0] and found[1][0] and found[0][1] == found[1][1] > 0
    assert len(Path(tmp_path, "log.csv").read_text().splitlines()) == 4
    assert sorted(os.listdir(tmp_path)) == ["1.keras", "2.keras", "3.keras", "first.weights", "last.keras", "log.csv"]


# ---------------------------------------------------------------------- decisions


class StopAt(Callback):
    """Wants to stop in one process."""

    def __init__(self, rank, event, index):
        self.rank, self.event, self.index = rank, event, index

    def _see(self, event, index):
        if (event, index, dist.get_rank()) == (self.event, self.index, self.rank):
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self._see("epoch", epoch)


class StopFromTheFirst(StopAt):
    """Wants no more than a batch of an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self._see("begin", epoch)


class StopAtBatch(StopAt):
    """Wants to stop in the middle of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        self._see("batch", batch)


class OwnFigure(Callback):
    """A figure that is another one in each process."""

    def on_epoch_end(self, epoch, logs=None):
        logs["own"] = float(epoch if dist.get_rank() else 5 - epoch)


def decide(make):
    model = model_of("sgd")
    history = fit(model, *make(), epochs=5)
    counted = LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    assert fit(model, counted, epochs=1).epoch == [0]  # they go on together
    return history.epoch, model.stop_training, float(model.optimizer.learning_rate), [weight.tolist() for weight in model.get_weights()]


DECISIONS = {
    "stop after an epoch": (lambda: [StopAt(1, "epoch", 1)], 2),
    "stop as an epoch begins": (lambda: [StopFromTheFirst(1, "begin", 2)], 3),
    "stop after a batch": (lambda: [StopAtBatch(1, "batch", 1)], 1),
    "early stopping": (lambda: [OwnFigure(), EarlyStopping("own", mode="max", patience=1)], 2),
    "a lower rate": (lambda: [OwnFigure(), ReduceLROnPlateau("own", mode="max", patience=1)], 5),
}


def decide_by_name(name):
    return decide(DECISIONS[name][0])


@pytest.mark.parametrize("name", DECISIONS)
def test_all_decide_alike(name):
    found = run(decide_by_name, 2, name)
    assert len(found[0][0]) == DECISIONS[name][1]
    assert same(found)
    assert (found[0][2] < 0.01) == (name == "a lower rate")


# ---------------------------------------------------------------------- checkpoints


def train_from(source, target):
    """Load a model, or make one; see that it does what the file says; train, and save it."""
    model = model_of() if source is None else models.load_model(source)
    before = model.predict(X)
    state = [value.tolist() for entry in model.optimizer.state_dict().get("state", {}).values() for value in entry.values()]
    history = model.fit(X, Y, batch_size=12 // (dist.get_world_size() if dist.is_initialized() else 1), epochs=2, shuffle=False, verbose=0)
    model.save(target)
    return before, state, history.history["loss"], model.predict(X)


def test_checkpoints_of_two_load_in_one_and_in_three(tmp_path):
    first, second, third, alone = (str(tmp_path / f"{name}.keras") for name in ("first", "second", "third", "alone"))
    two = run(train_from, 2, None, first)
    one = train_from(first, second)
    three = run(train_from, 3, second, third, timeout=200)
    again = train_from(second, alone)
    for before, after in ((two[0], one), (one, three[0])):
        torch.testing.assert_close(after[0], before[3])
        assert len(after[1]) > 0
    assert three[0][1] == again[1]
    assert same([part[1:3] for part in three])
    np.testing.assert_allclose(three[0][2], again[2], rtol=1e-5)  # sums in another order
    np.testing.assert_allclose(three[0][3], again[3], rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------- one that is alone


def alone():
    model = model_of()
    return model.is_first_process


def test_one_process_is_the_first():
    assert alone()
    assert outcomes(alone, 1) == [True]
