"""Handwritten digits: draw a model, fit it, and print its accuracy on digits it has not seen.

    pip install '.[examples]' && python examples/digits.py
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import Activation, BatchNormalization, Dense, Dropout, Input
from torchkeras_fn.models import Model


def load_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images of 8 x 8 pixels between 0 and 1 and their digits: `x_train, x_test, y_train, y_test`."""
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    return x_train, x_test, y_train, y_test


def make_model() -> Model:
    """Draw the model, from pixels to the probability of each digit."""
    pixels = Input(shape=(64,), name="pixels")
    hidden = Dropout(0.1)(pixels)
    for units in (256, 128):
        hidden = Dense(units)(hidden)
        hidden = BatchNormalization()(hidden)
        hidden = Activation("relu")(hidden)
        hidden = Dropout(0.4)(hidden)
    digit = Dense(10, activation="softmax", name="digit")(hidden)
    return Model(inputs=pixels, outputs=digit)


def main(epochs: int = 40, seed: int = 0, verbose: int = 2) -> float:
    """Train, and return the accuracy on the digits held out."""
    set_random_seed(seed)
    x_train, x_test, y_train, y_test = load_data()
    model = make_model()
    if verbose:
        model.summary()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=32, epochs=epochs, validation_split=0.1, verbose=verbose)
    figures = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    accuracy = float(figures["accuracy"])
    print(f"Accuracy on {len(x_test)} held-out digits: {accuracy:.4f}")
    print(f"First five: predicted {model.predict(x_test[:5]).argmax(-1)}, true {y_test[:5]}")
    return accuracy


if __name__ == "__main__":
    main()
