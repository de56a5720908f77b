"""Each loss against the real Keras: values, gradients, reductions, weights, probabilities at their limits."""

import keras
import numpy as np
import pytest
import torch

from parity.twins import array, same
from torchkeras_fn import losses

NAMES = {
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
}
SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "MSE": "mean_squared_error", "MAE": "mean_absolute_error"}
ALIASES = SHORT | {name: name for name in NAMES} | {kind: name for name, kind in NAMES.items()}
FROM_LOGITS, SMOOTHED = {"from_logits": True}, {"label_smoothing": 0.1}
OPTIONS = {
    "mean_squared_error": [{}],
    "mean_absolute_error": [{}],
    "binary_crossentropy": [{}, FROM_LOGITS, SMOOTHED, FROM_LOGITS | SMOOTHED],
    "categorical_crossentropy": [{}, FROM_LOGITS, SMOOTHED, FROM_LOGITS | SMOOTHED],
    "sparse_categorical_crossentropy": [{}, FROM_LOGITS],
}
SHAPES = {  # of targets and predictions
    "mean_squared_error": [
        ((6,), (6,)),
        ((6,), (6, 1)),
        ((6, 1), (6, 1)),
        ((6, 1), (6,)),
        ((6, 3), (6, 3)),
        ((6, 4, 3), (6, 4, 3)),
        ((6, 4), (6, 4, 1)),
    ],
    "categorical_crossentropy": [((6, 3), (6, 3)), ((6, 4, 3), (6, 4, 3)), ((6, 2, 4, 3), (6, 2, 4, 3))],
    "sparse_categorical_crossentropy": [((6,), (6, 3)), ((6, 1), (6, 3)), ((6, 4), (6, 4, 3)), ((6, 4, 1), (6, 4, 3))],
}
SHAPES |= {name: SHAPES["mean_squared_error"] for name in ("mean_absolute_error", "binary_crossentropy")}
CASES = [
    pytest.param(name, options, *shapes, id=" ".join(map(str, (name, *options, *shapes))))
    for name in NAMES
    for options in OPTIONS[name]
    for shapes in SHAPES[name]
]


def data(name, options, true_shape, pred_shape, seed=0):
    """Return targets and predictions such as the loss takes."""
    random = np.random.default_rng(seed)
    y_pred = 2 * random.normal(size=pred_shape)
    y_true = random.normal(size=true_shape)
    if name == "binary_crossentropy":
        y_true = random.integers(0, 2, size=true_shape)
        y_pred = y_pred if options.get("from_logits") else 1 / (1 + np.exp(-y_pred))
    if name.endswith("categorical_crossentropy"):
        classes = random.integers(0, pred_shape[-1], size=true_shape if name.startswith("sparse") else true_shape[:-1])
        y_true = classes if name.startswith("sparse") else np.eye(pred_shape[-1])[classes]
        y_pred = y_pred if options.get("from_logits") else np.exp(y_pred) / np.exp(y_pred).sum(-1, keepdims=True)
    return y_true.astype("int64" if name.startswith("sparse") else "float32"), y_pred.astype("float32")


def weights_for(values_shape, seed=3):
    """Return weights a sample, and weights a step where the loss has a value for each."""
    random = np.random.default_rng(seed)
    for rank in range(1, len(values_shape) + 1):
        yield random.uniform(0, 2, size=values_shape[:rank]).astype("float32")


def in_full(y_true, y_pred):
    """Return arrays of elements in the shape that says for every library what a sample and a step is.

    Keras takes all of `(N,)` for one sample, so that a weight a sample is lost, and `(N, T)` targets of `(N, T, 1)` predictions
    for T values of one step. We give a value for each sample, and for each step.
    """
    return (y_true.reshape(-1, 1), y_pred.reshape(-1, 1)) if y_pred.ndim == 1 else (y_true.reshape(y_pred.shape), y_pred)


def is_of_elements(name):
    return not name.endswith("categorical_crossentropy")


def value_and_gradient(loss, y_true, y_pred, **weights):
    y_pred = torch.tensor(y_pred, requires_grad=True)
    value = loss(torch.tensor(y_true), y_pred, **{name: torch.tensor(weight) for name, weight in weights.items()})
    value.sum().backward()
    return value, y_pred.grad


def compare(ours, theirs, arrays, their_arrays=None, **weights):
    value, gradient = value_and_gradient(ours, *arrays, **weights)
    their_value, their_gradient = value_and_gradient(theirs, *(their_arrays or arrays), **weights)
    same(value, their_value)
    same(gradient, their_gradient.reshape(gradient.shape), 1e-4)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum", "none", None])
@pytest.mark.parametrize(("name", "options", "true_shape", "pred_shape"), CASES)
def test_loss(name, options, true_shape, pred_shape, reduction):
    ours, theirs = (getattr(library, NAMES[name])(**options, reduction=reduction) for library in (losses, keras.losses))
    arrays = data(name, options, true_shape, pred_shape)
    is_mean = reduction in ("sum_over_batch_size", "mean")
    compare(ours, theirs, arrays, in_full(*arrays) if is_of_elements(name) and not is_mean else None)


@pytest.mark.parametrize(("name", "options", "true_shape", "pred_shape"), CASES)
def test_function(name, options, true_shape, pred_shape):
    ours, theirs = (
        lambda y_true, y_pred, library=library: getattr(library, name)(y_true, y_pred, **options) for library in (losses, keras.losses)
    )
    arrays = data(name, options, true_shape, pred_shape)
    compare(ours, theirs, arrays, in_full(*arrays) if is_of_elements(name) else None)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
@pytest.mark.parametrize(("name", "options", "true_shape", "pred_shape"), CASES)
def test_sample_weight(name, options, true_shape, pred_shape, reduction):
    ours, theirs = (getattr(library, NAMES[name])(**options, reduction=reduction) for library in (losses, keras.losses))
    arrays = data(name, options, true_shape, pred_shape)
    their_arrays = in_full(*arrays) if is_of_elements(name) else arrays
    steps = pred_shape[:-1] or pred_shape
    for weight in weights_for(steps):
        value, gradient = value_and_gradient(ours, *arrays, sample_weight=weight)
        # Keras broadcasts by the last axis, so it is told that a weight stands for all steps of a sample.
        wide = weight.reshape(weight.shape + (1,) * (len(steps) - weight.ndim))
        their_value, their_gradient = value_and_gradient(theirs, *their_arrays, sample_weight=wide)
        same(value, their_value)
        same(gradient, their_gradient.reshape(gradient.shape), 1e-4)


@pytest.mark.parametrize("options", [{}, FROM_LOGITS])
def test_class_indices_of_rank_3(options):
    arrays = data("sparse_categorical_crossentropy", options, (6, 2, 4), (6, 2, 4, 3))
    # Values alone: Keras 3.15 on torch has no gradient here ("grad_input must be contiguous").
    same(*(library.SparseCategoricalCrossentropy(**options)(*map(torch.tensor, arrays)) for library in (losses, keras.losses)))


@pytest.mark.parametrize("name", NAMES)
def test_sample_weight_of_one_column(name):
    true_shape, pred_shape = ((6,), (6, 3)) if name.startswith("sparse") else ((6, 3), (6, 3))
    ours, theirs = (getattr(library, NAMES[name])() for library in (losses, keras.losses))
    weight = next(weights_for((6, 1))).reshape(6, 1)
    compare(ours, theirs, data(name, {}, true_shape, pred_shape), sample_weight=weight)


@pytest.mark.parametrize(("identifier", "name"), ALIASES.items())
def test_name(identifier, name):
    arrays = [torch.tensor(values) for values in data(name, {}, *SHAPES[name][2])]
    same(losses.get(identifier)(*arrays), np.mean(array(keras.losses.get(identifier)(*arrays))))


SATURATED = {
    "binary_crossentropy": [([[0.0], [1.0], [0.0], [1.0]], [[0.0], [1.0], [1.0], [0.0]]), ([[0.0, 1.0]], [[1e-9, 1 - 1e-7]])],
    "categorical_crossentropy": [
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        ([[0.2, 0.3, 0.5]], [[0.0, 1.0, 0.0]]),
        ([[0.0, 1.0]], [[1.0, 3.0]]),
    ],
    "sparse_categorical_crossentropy": [([0, 1], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), ([1], [[1.0, 3.0]]), ([2], [[1.0, 1e-10, 1e-8]])],
}
SATURATED_LOGITS = {
    "binary_crossentropy": [([[0.0], [1.0], [0.0], [1.0]], [[-500.0], [500.0], [500.0], [-500.0]])],
    "categorical_crossentropy": [([[1.0, 0.0], [0.0, 1.0]], [[900.0, -900.0], [900.0, -900.0]])],
    "sparse_categorical_crossentropy": [([0, 1], [[900.0, -900.0], [900.0, -900.0]])],
}


@pytest.mark.parametrize(
    ("name", "options", "arrays"),
    [(name, {}, arrays) for name, cases in SATURATED.items() for arrays in cases]
    + [(name, FROM_LOGITS, arrays) for name, cases in SATURATED_LOGITS.items() for arrays in cases],
)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_saturated_predictions(name, options, arrays, reduction):
    y_true, y_pred = np.array(arrays[0], "int64" if name.startswith("sparse") else "float32"), np.array(arrays[1], "float32")
    ours, theirs = (getattr(library, NAMES[name])(**options, reduction=reduction) for library in (losses, keras.losses))
    compare(ours, theirs, (y_true, y_pred))


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "bool", "float64"])
@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "binary_crossentropy", "sparse_categorical_crossentropy"])
def test_targets_of_any_type(name, kind):
    y_true, y_pred = data(name, {}, (6,), (6, 1 if name != "sparse_categorical_crossentropy" else 2))
    y_true = np.abs(np.round(y_true)).clip(0, 1).astype(kind)
    compare(*(getattr(library, NAMES[name])() for library in (losses, keras.losses)), (y_true, y_pred))
