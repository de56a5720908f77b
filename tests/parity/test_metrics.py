"""Each metric against the real Keras, batch by batch, with and without weights; and what `'accuracy'` means to each."""

import keras
import numpy as np
import pytest
import torch

from parity.test_losses import ALIASES, NAMES, OPTIONS, SHAPES, data, in_full
from parity.twins import LIBRARIES, same
from torchkeras_fn import losses, metrics

ELEMENTS, ONE_HOT, INDICES = (
    SHAPES[name] for name in ("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy")
)
ACCURACIES = [
    ("BinaryAccuracy", {}, ELEMENTS),
    ("BinaryAccuracy", {"threshold": 0.7}, ELEMENTS),
    ("CategoricalAccuracy", {}, ONE_HOT),
    ("SparseCategoricalAccuracy", {}, INDICES),
]
CASES = [
    pytest.param(name, options, *shapes, id=" ".join(map(str, (name, *options, *shapes))))
    for name, options, table in ACCURACIES
    for shapes in table
]
LOSS_CASES = [
    pytest.param(name, options, *shapes, id=" ".join(map(str, (name, *options, *shapes))))
    for name in NAMES
    for options in OPTIONS[name]
    for shapes in SHAPES[name]
]
KIND_OF_DATA = {
    "BinaryAccuracy": "binary_crossentropy",
    "CategoricalAccuracy": "categorical_crossentropy",
    "SparseCategoricalAccuracy": "sparse_categorical_crossentropy",
}


def batches(kind, options, true_shape, pred_shape):
    """Return batches of unequal size, each with a weight for every sample, or for every step, or with none."""
    random = np.random.default_rng(5)
    found = []
    for seed, size in enumerate((6, 6, 6, 2)):
        y_true, y_pred = (values[:size] for values in data(kind, options, true_shape, pred_shape, seed))
        steps = y_pred.shape[:-1] or y_pred.shape
        weights = [random.uniform(0, 2, size=steps[:rank]).astype("float32") for rank in range(1, len(steps) + 1)]
        found.append((y_true, y_pred, [None, *weights, np.zeros(size, "float32")]))
    return found


def accumulate(ours, theirs, kind, options, true_shape, pred_shape):
    for choice in range(4):
        for _ in range(2):
            ours.reset_state()
            theirs.reset_state()
            for y_true, y_pred, weights in batches(kind, options, true_shape, pred_shape):
                weight = weights[min(choice, len(weights) - 1)]
                by_element = kind not in ("categorical_crossentropy", "sparse_categorical_crossentropy")
                their_arrays = in_full(y_true, y_pred) if by_element else (y_true, y_pred)
                ours.update_state(torch.tensor(y_true), torch.tensor(y_pred), None if weight is None else torch.tensor(weight))
                theirs.update_state(*map(torch.tensor, their_arrays), sample_weight=None if weight is None else torch.tensor(weight))
                same(ours.result(), theirs.result())


@pytest.mark.parametrize(("name", "options", "true_shape", "pred_shape"), CASES)
def test_accuracy(name, options, true_shape, pred_shape):
    ours, theirs = (getattr(library, name)(**options) for library in (metrics, keras.metrics))
    assert ours.name == theirs.name
    accumulate(ours, theirs, KIND_OF_DATA[name], {}, true_shape, pred_shape)


@pytest.mark.parametrize(("name", "options", "true_shape", "pred_shape"), LOSS_CASES)
def test_loss_as_a_metric(name, options, true_shape, pred_shape):
    ours = metrics.get(getattr(losses, NAMES[name])(**options))
    theirs = getattr(keras.metrics, NAMES[name])(**options)
    accumulate(ours, theirs, name, options, true_shape, pred_shape)


@pytest.mark.parametrize(("identifier", "name"), ALIASES.items())
def test_loss_as_a_metric_by_name(identifier, name):
    theirs = keras.metrics.get(identifier)
    theirs = theirs if isinstance(theirs, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(theirs)
    accumulate(metrics.get(identifier), theirs, name, {}, *SHAPES[name][2])


@pytest.mark.parametrize("name", ["binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"])
def test_accuracy_by_name(name):
    kind = KIND_OF_DATA["".join(word.capitalize() for word in name.split("_"))]
    function = getattr(metrics, name)
    arrays = data(kind, {}, *SHAPES[kind][1])
    their_arrays = in_full(*arrays) if kind == "binary_crossentropy" else arrays
    their_function = getattr(keras.metrics, name)
    ours, theirs = function(*map(torch.tensor, arrays)), their_function(*map(torch.tensor, their_arrays))
    same(ours, theirs.float().mean(-1) if theirs.ndim > ours.ndim else theirs)  # Keras 3 leaves binary accuracy by element, Keras 2 did not
    accumulate(metrics.get(name), keras.metrics.MeanMetricWrapper(their_function), kind, {}, *SHAPES[kind][2])


@pytest.mark.parametrize(
    ("shape", "weight_shape"),
    [((), None), ((4,), None), ((4,), (4,)), ((4, 3), None), ((4, 3), (4,)), ((4, 3), (4, 3)), ((4, 3, 2), (4,)), ((4, 3, 2), (4, 3))],
)
def test_mean(shape, weight_shape):
    random = np.random.default_rng(0)
    ours, theirs = metrics.Mean(), keras.metrics.Mean()
    same(ours.result(), theirs.result())
    for _ in range(3):
        values = torch.tensor(random.normal(size=shape).astype("float32"))
        weight = None if weight_shape is None else torch.tensor(random.uniform(0, 2, size=weight_shape).astype("float32"))
        ours.update_state(values, weight)
        theirs.update_state(values, weight)
        same(ours.result(), theirs.result())


@pytest.mark.parametrize(
    ("loss", "units", "targets"),
    [
        ("binary_crossentropy", 1, lambda random: random.integers(0, 2, 20)),
        ("binary_crossentropy", 1, lambda random: random.integers(0, 2, (20, 1))),
        ("binary_crossentropy", 3, lambda random: random.integers(0, 2, (20, 3))),
        ("mse", 1, lambda random: random.integers(0, 2, (20, 1))),
        ("sparse_categorical_crossentropy", 3, lambda random: random.integers(0, 3, 20)),
        ("sparse_categorical_crossentropy", 3, lambda random: random.integers(0, 3, (20, 1))),
        ("categorical_crossentropy", 3, lambda random: np.eye(3)[random.integers(0, 3, 20)]),
        ("mse", 3, lambda random: np.eye(3)[random.integers(0, 3, 20)]),
    ],
)
@pytest.mark.parametrize("word", ["accuracy", "acc"])
def test_what_accuracy_means(loss, units, targets, word):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 4)).astype("float32"), targets(random).astype("float32")
    kernel = random.normal(size=(4, units)).astype("float32")
    found = []
    for k in LIBRARIES:
        inputs = k.Input((4,))
        model = k.Model(
            inputs, k.layers.Dense(units, activation="sigmoid" if "binary" in loss else "softmax" if units > 1 else None)(inputs)
        )
        model.set_weights([kernel, np.zeros(units)])
        # Keras goes by the shapes alone, and would compare the largest of several sigmoids; binary crossentropy means binary here.
        model.compile("sgd", loss, metrics=["binary_accuracy" if k is keras and "binary" in loss else word])
        found.append(model.evaluate(x, y, verbose=0))
    same(*found)
    assert 0 < found[0][1] < 1
