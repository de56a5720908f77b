"""The same model trained with the same loss by both libraries: loss curves and weights after twenty steps."""

import numpy as np
import pytest

from parity.test_losses import BALANCED, FROM_LOGITS, LOSSES, SMOOTHED, data
from parity.twins import LIBRARIES, same, twins


def head(units, activation):
    def recipe(k):
        x = k.Input((5,))
        return k.Model(x, k.layers.Dense(units, activation=activation)(k.layers.Dense(7, activation="tanh")(x)))

    return recipe


def labeller(k):
    x = k.Input((8, 5))
    return k.Model(x, k.layers.Dense(5)(x))


def embedder(k):
    x = k.Input((5,))
    return k.Model(x, k.layers.UnitNormalization()(k.layers.Dense(4)(x)))


TRAINED = [  # name, options, recipe, shapes
    ("huber", {"delta": 0.5}, head(3, None), ((20, 3), (20, 3))),
    ("cosine_similarity", {}, head(3, None), ((20, 3), (20, 3))),
    ("poisson", {}, head(1, "softplus"), ((20,), (20, 1))),
    ("kl_divergence", {}, head(3, "softmax"), ((20, 3), (20, 3))),
    ("hinge", {}, head(1, "tanh"), ((20, 1), (20, 1))),
    ("binary_focal_crossentropy", BALANCED, head(2, "sigmoid"), ((20, 2), (20, 2))),
    ("binary_crossentropy", SMOOTHED, head(2, "sigmoid"), ((20, 2), (20, 2))),
    ("categorical_crossentropy", SMOOTHED, head(3, "softmax"), ((20, 3), (20, 3))),
    ("categorical_crossentropy", FROM_LOGITS | SMOOTHED, head(3, None), ((20, 3), (20, 3))),
    ("categorical_focal_crossentropy", {}, head(3, "softmax"), ((20, 3), (20, 3))),
    ("categorical_generalized_cross_entropy", {"q": 0.7}, head(3, "softmax"), ((20,), (20, 3))),
    ("sparse_categorical_crossentropy", {"ignore_class": 1}, head(3, "softmax"), ((20,), (20, 3))),
    ("dice", {}, head(3, "sigmoid"), ((20, 3), (20, 3))),
    ("tversky", {"axis": 1, "alpha": 0.3}, head(3, "sigmoid"), ((20, 3), (20, 3))),
    ("circle", {"gamma": 4.0}, embedder, ((20,), (20, 4))),
    ("ctc", {}, labeller, ((20, 3), (20, 8, 5))),
]


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize(("name", "options", "recipe", "shapes"), TRAINED, ids=[" ".join(map(str, row[:2])) for row in TRAINED])
def test_twenty_steps_of_training(name, options, recipe, shapes, is_weighted):
    random = np.random.default_rng(0)
    y_true, _ = data(name, options, *shapes)
    ours, theirs = twins(recipe)
    x = random.normal(size=(20, *ours.input_shape[1:])).astype("float32")
    weight = random.uniform(0.5, 2, 20).astype("float32") if is_weighted else None
    before = ours.get_weights()
    histories = []
    for library, model in zip(LIBRARIES, (ours, theirs), strict=True):
        model.compile(library.optimizers.SGD(0.1), getattr(library.losses, LOSSES[name][0])(**options))
        # Four steps in each of five epochs.
        histories.append(model.fit(x, y_true, sample_weight=weight, batch_size=5, epochs=5, shuffle=False, verbose=0).history["loss"])
    same(*histories, 1e-4)
    same(ours.get_weights(), theirs.get_weights(), 1e-4)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(before, ours.get_weights(), strict=True))
