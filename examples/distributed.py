"""Handwritten digits on as many processes as `torchrun` starts: one for each GPU, or some on the CPU. Alone it runs too.

    pip install '.[examples]' && python examples/distributed.py
    torchrun --nproc-per-node=2 --max-restarts=3 examples/distributed.py
"""

import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from torchkeras_fn.callbacks import BackupAndRestore, ModelCheckpoint
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout, Input
from torchkeras_fn.models import Model

FOLDER = Path("distributed-example")
GLOBAL_BATCH_SIZE = 64


def load_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images of 8 x 8 pixels between 0 and 1 and their digits: `x_train, x_test, y_train, y_test`."""
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    return x_train, x_test, y_train, y_test


def make_model() -> Model:
    """Draw the model, from pixels to the probability of each digit, and compile it: this is where a process joins the others."""
    pixels = Input(shape=(64,), name="pixels")
    hidden = pixels
    for units in (256, 128):
        hidden = Dropout(0.3)(BatchNormalization()(Dense(units, activation="relu")(hidden)))
    model = Model(pixels, Dense(10, activation="softmax", name="digit")(hidden))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], sync_batchnorm=True)
    return model


def main(epochs: int = 30, folder: Path = FOLDER, verbose: int = 2) -> float:
    """Train, and return the accuracy on the digits held out, which all processes agree on."""
    processes = int(os.environ.get("WORLD_SIZE", 1))  # as torchrun sets it
    set_random_seed(0)
    x_train, x_test, y_train, y_test = load_data()
    model = make_model()
    folder.mkdir(exist_ok=True)
    best = ModelCheckpoint(folder / "best.model", monitor="val_accuracy", save_best_only=True)
    model.fit(
        x_train,
        y_train,
        batch_size=GLOBAL_BATCH_SIZE // processes,
        epochs=epochs,
        validation_split=0.1,
        callbacks=[best, BackupAndRestore(folder / "backup")],  # where a job goes on that was started again
        verbose=verbose,
    )
    figures = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    accuracy = float(figures["accuracy"])
    if model.is_first_process:
        print(f"Accuracy on {len(x_test)} held-out digits, with {processes} process(es): {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
