"""A program that trains with a backup, as the tests kill it and start it again. It begins with other random numbers each time."""

import itertools
import os
import random
import signal
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from torchkeras_fn import Sequential
from torchkeras_fn.callbacks import BackupAndRestore, CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout
from torchkeras_fn.utils import Sequence

EPOCHS, SAMPLES, SIZE = 9, 72, 6
_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(SAMPLES, 5)).astype("float32")
Y = (X @ _numbers.normal(size=(5, 1)) + 0.3 * _numbers.normal(size=(SAMPLES, 1))).astype("float32")


class Batches(Sequence):
    """Batches in an order of their own, with noise of numpy's; the rows are put into another order after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.y = X.copy(), Y.copy()
        self.order = list(range(SAMPLES // SIZE))
        self.own = np.random.default_rng(1)
        random.shuffle(self.order)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Any:
        rows = slice(self.order[index] * SIZE, self.order[index] * SIZE + SIZE)
        noise = np.random.normal(size=(SIZE, 5)) + self.own.normal(size=(SIZE, 5))
        return self.x[rows] + 0.1 * noise.astype("float32"), self.y[rows]

    def on_epoch_end(self) -> None:
        rows = np.random.permutation(SAMPLES)
        self.x, self.y = self.x[rows], self.y[rows]
        random.shuffle(self.order)


class Noisy(Dataset[Any]):
    """Samples with noise that is drawn in the worker process."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(X[index]) + 0.1 * torch.rand(5) + 0.1 * float(np.random.rand()), torch.from_numpy(Y[index])


def data(kind: str) -> dict[str, Any]:
    """Return the data of that kind as arguments of `fit`."""
    if kind == "arrays":
        return {"x": X, "y": Y, "batch_size": SIZE, "shuffle": True}
    if kind == "sequence":
        return {"x": Batches()}
    return {"x": DataLoader(Noisy(), batch_size=SIZE, shuffle=True, num_workers=2, multiprocessing_context="fork")}


def train(kind: str, folder: str, save_freq: Any = "epoch", die_at_call: int | None = None) -> None:
    """Train until the end, and write down weights and history; die at that call of those that write files, if asked to."""
    os.setpgrp()  # so that worker processes of a killed one can be found
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    torch.set_num_threads(1)
    place = Path(folder)
    if die_at_call is not None:
        _die_at_call(die_at_call)
    begun = (place / "backup" / "backup").exists()
    set_random_seed(random.SystemRandom().randrange(2**31) if begun else 7)
    first = [Dense(16, "relu", input_shape=(5,)), BatchNormalization(), Dropout(0.2)]
    model = Sequential([*first, Dense(8, "tanh"), Dropout(0.1, seed=3), Dense(1)])
    model.compile("adam", "mse", metrics=["mae", "r2_score"])
    model.optimizer.learning_rate = 0.01
    callbacks = [
        EarlyStopping("val_loss", patience=3, restore_best_weights=True, min_delta=0.01),
        CSVLogger(place / "log.csv"),
        BackupAndRestore(place / "backup", save_freq=save_freq),
        ReduceLROnPlateau("val_loss", patience=0, factor=0.5, min_delta=0.02),
        ModelCheckpoint(place / "{epoch:02d}-{val_loss:.4f}.weights", save_weights_only=True, save_best_only=True),
    ]
    history = model.fit(**data(kind), validation_data=(X[:20] + 0.5, Y[:20]), epochs=EPOCHS, verbose=0, callbacks=callbacks)
    partial = place / "partial.npz"
    np.savez(partial, history=repr((history.epoch, history.history)), **{f"w{i}": w for i, w in enumerate(model.get_weights())})
    os.replace(partial, place / "result.npz")


def _die_at_call(number: int) -> None:
    """See to it that the process is killed at that call of those that write a file and put it in its place."""
    calls = itertools.count(1)

    def counting(function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return call

    for module, name in ((os, "fsync"), (os, "replace"), (zipfile.ZipFile, "open"), (zipfile.ZipFile, "close")):
        setattr(module, name, counting(getattr(module, name)))
