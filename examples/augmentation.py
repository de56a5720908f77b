"""Images moved and turned in training: a model then knows them where it has not seen them.

    pip install '.[examples]' && python examples/augmentation.py
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D, RandomRotation, RandomTranslation, Rescaling
from torchkeras_fn.models import Sequential


def load_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images `(batch, 8, 8, 1)` of digits, to be tested with moved by a pixel: `x_train, x_test, y_train, y_test`."""
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.images[..., None], digits.target, train_size=400, stratify=digits.target, random_state=0
    )
    return x_train, np.roll(x_test, (1, 1), axis=(1, 2)), y_train, y_test


def make_model(augmented: bool) -> Sequential:
    """Return a small convolutional model; the layers that disturb its images do so in `fit`, and nowhere else."""
    model = Sequential([Input((8, 8, 1)), Rescaling(1 / 16)])
    if augmented:
        model.add(RandomRotation(0.03, fill_mode="constant"))  # by up to 0.03 of a full turn, which is 11 degrees
        model.add(RandomTranslation(1 / 8, 1 / 8, fill_mode="constant", interpolation="nearest"))
    for layer in (Conv2D(32, 3, activation="relu", padding="same"), MaxPooling2D(), Flatten(), Dense(10, activation="softmax")):
        model.add(layer)
    return model


def main(epochs: int = 40, seed: int = 0, verbose: int = 2) -> dict[str, float]:
    """Train `plain` and `augmented`, and return the accuracies on the digits held out."""
    x_train, x_test, y_train, y_test = load_data()
    accuracies = {}
    for name in ("plain", "augmented"):
        set_random_seed(seed)
        model = make_model(name == "augmented")
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x_train, y_train, batch_size=16, epochs=epochs, verbose=verbose)
        accuracies[name] = float(model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"])
    print(f"Accuracy on {len(x_test)} moved digits: {accuracies['plain']:.4f}, augmented {accuracies['augmented']:.4f}")
    return accuracies


if __name__ == "__main__":
    main()
