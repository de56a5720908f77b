"""Train with a backup: stop it with Ctrl-C whenever you like, start it again, and it ends as if it had never been stopped.

    pip install . && python examples/resume.py
"""

from pathlib import Path

import numpy as np

from torchkeras_fn.callbacks import BackupAndRestore, CSVLogger, EarlyStopping
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout, Input
from torchkeras_fn.models import Model

FOLDER = Path("resume-example")


def load_data(samples: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Return points on a plane, and whether each is in one spiral or the other."""
    random = np.random.default_rng(0)
    spiral = np.arange(samples) % 2
    angle = random.uniform(1.0, 9.0, samples)
    x = np.stack([angle * np.cos(angle + np.pi * spiral), angle * np.sin(angle + np.pi * spiral)], axis=1) / 9
    return (x + random.normal(0.0, 0.02, x.shape)).astype("float32"), spiral.astype("float32")


def make_model() -> Model:
    """Draw and compile the model, from a point to the probability of the second spiral."""
    point = Input(shape=(2,))
    hidden = point
    for _ in range(2):
        hidden = Dropout(0.05)(BatchNormalization()(Dense(64, activation="relu")(hidden)))
    model = Model(point, Dense(1, activation="sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def main(epochs: int = 40, folder: Path = FOLDER, verbose: int = 2) -> list[float]:
    """Train, and return the accuracy of each epoch on points held out, those before an interruption included."""
    set_random_seed(0)
    folder.mkdir(exist_ok=True)
    x, y = load_data()
    backup = BackupAndRestore(folder / "backup", save_freq=10)
    watching = [EarlyStopping("val_loss", patience=15, restore_best_weights=True), CSVLogger(folder / "log.csv")]
    try:
        callbacks = [backup, *watching]
        history = make_model().fit(x, y, batch_size=50, epochs=epochs, validation_split=0.2, callbacks=callbacks, verbose=verbose)
    except KeyboardInterrupt:
        print(f"\nStopped. What was done is in {backup.path}: start again, and it goes on.")
        raise SystemExit(130) from None
    accuracy = history.history["val_accuracy"]
    print(f"Accuracy on points held out, after {len(accuracy)} epochs: {accuracy[-1]:.4f}")
    return list(accuracy)


if __name__ == "__main__":
    main()
