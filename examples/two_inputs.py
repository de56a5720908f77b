"""Two inputs, two outputs, one shared layer: are these two points on the same ring, and how far are they apart?

    python examples/two_inputs.py
"""

import numpy as np

from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import Concatenate, Dense, Input
from torchkeras_fn.models import Model


def make_data(samples: int, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return pairs of points on two rings, whether both lie on one ring, and their distance."""
    generator = np.random.default_rng(seed)
    ring = generator.integers(0, 2, (2, samples))
    angle = generator.uniform(0, 2 * np.pi, (2, samples))
    radius = np.where(ring == 0, 0.5, 1.5) + generator.normal(0, 0.05, (2, samples))
    first, second = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    distance = np.linalg.norm(first - second, axis=-1)
    return {"first": first, "second": second}, {"same": (ring[0] == ring[1]).astype("float32"), "distance": distance}


def make_model() -> Model:
    """Draw the model: both points pass through the same `encoder`, whose weights are therefore shared."""
    first, second = Input(shape=(2,), name="first"), Input(shape=(2,), name="second")
    encoder = Dense(64, activation="relu", name="encoder")
    a, b = encoder(first), encoder(second)
    # A symbolic tensor takes operators and torch functions: this is a node of the graph, like a layer.
    pair = Concatenate()([a + b, (a - b).abs()])
    hidden = Dense(64, activation="relu")(pair)
    same = Dense(1, activation="sigmoid", name="same")(hidden)
    distance = Dense(1, name="distance")(hidden)
    return Model(inputs=[first, second], outputs=[same, distance])


def main(epochs: int = 15, seed: int = 0, verbose: int = 2) -> dict[str, float]:
    """Train, and return the figures on pairs that were held out."""
    set_random_seed(seed)
    model = make_model()
    model.compile(
        optimizer="adam",
        loss={"same": "binary_crossentropy", "distance": "mse"},
        loss_weights={"same": 1.0, "distance": 0.5},
        metrics={"same": ["accuracy"], "distance": ["mae"]},
    )
    x, y = make_data(4000)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=verbose)
    figures = model.evaluate(*make_data(1000, seed=1), verbose=0, return_dict=True)
    print("On held-out pairs: " + ", ".join(f"{name} {figure:.4f}" for name, figure in figures.items()))
    return {name: float(figure) for name, figure in figures.items()}


if __name__ == "__main__":
    main()
