"""A program that `torchrun` starts in several processes, one of which is killed now and then; `train` is what it does."""

import os
import random
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchkeras_fn import Sequential
from torchkeras_fn.callbacks import BackupAndRestore, Callback, CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout
from torchkeras_fn.utils import Sequence

EPOCHS, SAMPLES, SIZE = 5, 46, 4
_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(SAMPLES, 5)).astype("float32")
Y = (X @ _numbers.normal(size=(5, 1)) + 0.3 * _numbers.normal(size=(SAMPLES, 1))).astype("float32")


class Noisy(Sequence):
    """Batches with noise that is each process's own."""

    def __len__(self) -> int:
        return -(-SAMPLES // SIZE)

    def __getitem__(self, index: int) -> Any:
        rows = slice(index * SIZE, index * SIZE + SIZE)
        return X[rows] + 0.1 * np.random.normal(size=X[rows].shape).astype("float32"), Y[rows]


class Die(Callback):
    """Ends the process `rank` after so many batches: kills it without a word, or raises in the middle of the next step."""

    def __init__(self, how: str, rank: str, after: str):
        self.how, self.rank, self.after = how, int(rank), int(after)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after -= 1
        if not self.after and int(os.environ["RANK"]) == self.rank:
            self.model.objective.loss = _fail
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)


def _fail(*_: Any, **__: Any) -> None:
    raise LookupError("in the middle of a step")


def train(folder: str, save_freq: Any = "epoch", die: str | None = None, seed: int = 7) -> Any:
    """Train with a backup in the folder until the end, or death after so many batches; return the figures and the weights."""
    set_random_seed(seed)
    place = Path(folder)
    first = [Dense(8, "relu", input_shape=(5,)), BatchNormalization(), Dropout(0.2)]
    model = Sequential([*first, Dense(4, "tanh"), Dropout(0.1, seed=3), Dense(1)])
    model.compile("adam", "mse", metrics=["mae", "r2_score"])
    callbacks: list[Any] = [
        EarlyStopping("val_loss", patience=3, restore_best_weights=True),
        CSVLogger(place / "log.csv"),
        BackupAndRestore(place / "backup", save_freq=save_freq),
        ReduceLROnPlateau("val_loss", patience=0, factor=0.5, min_delta=0.02),
        ModelCheckpoint(place / "{epoch:02d}-{val_loss:.4f}.weights", save_weights_only=True, save_best_only=True),
        *([] if die is None else [Die(*die.split(":"))]),
    ]
    history = model.fit(Noisy(), validation_data=(X[:20] + 0.5, Y[:20]), epochs=EPOCHS, verbose=0, callbacks=callbacks)
    return (history.epoch, dict(history.history)), model.get_weights()


def main(folder: str, save_freq: str, *deaths: str) -> None:
    """Be one process of an attempt of `torchrun`, which ends as its one of `deaths` says (`kill:1:7`), or else writes its outcome."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(1)
    attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    die = deaths[attempt] if attempt < len(deaths) else None
    seed = random.SystemRandom().randrange(2**31) if attempt else 7
    (epochs, figures), weights = train(folder, int(save_freq) if save_freq.isdigit() else save_freq, die, seed)
    kept = {f"w{index}": weight for index, weight in enumerate(weights)}
    np.savez(Path(folder) / f"outcome{os.environ['RANK']}.npz", history=repr((epochs, figures)), attempt=attempt, **kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
