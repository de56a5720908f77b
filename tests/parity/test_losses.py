"""Each loss against the real Keras: values, gradients, reductions, weights, masks, probabilities at their limits, names."""

import inspect
from itertools import product

import keras
import numpy as np
import pytest
import torch

from parity.twins import LIBRARIES, same
from torchkeras_fn import losses

FROM_LOGITS, SMOOTHED = {"from_logits": True}, {"label_smoothing": 0.1}
BALANCED = {"apply_class_balancing": True, "alpha": 0.4, "gamma": 3.0}
CROSSENTROPY = [{}, FROM_LOGITS, SMOOTHED, FROM_LOGITS | SMOOTHED]

ELEMENTS = [  # the shapes of targets and predictions
    ((6,), (6,)),
    ((6,), (6, 1)),
    ((6, 1), (6, 1)),
    ((6, 1), (6,)),
    ((6, 3), (6, 3)),
    ((6, 4, 3), (6, 4, 3)),
    ((6, 4), (6, 4, 1)),
]
VECTORS = [((6, 3), (6, 3)), ((6, 4, 3), (6, 4, 3)), ((6, 2, 4, 3), (6, 2, 4, 3))]
INDICES = [((6,), (6, 3)), ((6, 1), (6, 3)), ((6, 4), (6, 4, 3)), ((6, 4, 1), (6, 4, 3))]
IMAGES = [((6, 3), (6, 3)), ((2, 4, 4, 3), (2, 4, 4, 3))]
EMBEDDINGS = [((6,), (6, 5)), ((6, 1), (6, 5))]
LABELS = [((6, 3), (6, 8, 5))]

# name of the function: name of the class, what its data are, options, shapes
LOSSES = {
    "mean_squared_error": ("MeanSquaredError", "numbers", [{}], ELEMENTS),
    "mean_absolute_error": ("MeanAbsoluteError", "numbers", [{}], ELEMENTS),
    "binary_crossentropy": ("BinaryCrossentropy", "bits", CROSSENTROPY, ELEMENTS),
    "categorical_crossentropy": ("CategoricalCrossentropy", "one-hot", CROSSENTROPY, VECTORS),
    "sparse_categorical_crossentropy": ("SparseCategoricalCrossentropy", "classes", [{}, FROM_LOGITS], INDICES),
    "mean_absolute_percentage_error": ("MeanAbsolutePercentageError", "numbers", [{}], ELEMENTS),
    "mean_squared_logarithmic_error": ("MeanSquaredLogarithmicError", "counts", [{}], ELEMENTS),
    "huber": ("Huber", "numbers", [{}, {"delta": 0.3}], ELEMENTS),
    "log_cosh": ("LogCosh", "numbers", [{}], ELEMENTS),
    "cosine_similarity": ("CosineSimilarity", "numbers", [{}, {"axis": 1}], VECTORS),
    "binary_focal_crossentropy": ("BinaryFocalCrossentropy", "bits", [*CROSSENTROPY, BALANCED, BALANCED | FROM_LOGITS], ELEMENTS),
    "categorical_focal_crossentropy": (
        "CategoricalFocalCrossentropy",
        "one-hot",
        [*CROSSENTROPY, {"alpha": 0.4, "gamma": 3.0}, {"alpha": [0.2, 0.5, 0.3]}],
        VECTORS,
    ),
    "categorical_generalized_cross_entropy": (
        "CategoricalGeneralizedCrossEntropy",
        "classes",
        [{"q": 0.5}, {"q": 0.2}],
        [INDICES[0], INDICES[2]],
    ),
    "kl_divergence": ("KLDivergence", "shares", [{}], VECTORS),
    "poisson": ("Poisson", "counts", [{}], ELEMENTS),
    "hinge": ("Hinge", "signs", [{}], ELEMENTS),
    "squared_hinge": ("SquaredHinge", "signs", [{}], ELEMENTS),
    "categorical_hinge": ("CategoricalHinge", "one-hot", [{}], VECTORS),
    "dice": ("Dice", "bits", [{}, {"axis": 1}, {"axis": -1}], IMAGES),
    "tversky": ("Tversky", "bits", [{}, {"alpha": 0.2, "beta": 0.9}, {"axis": 1}], IMAGES),
    "circle": ("Circle", "embeddings", [{}, {"gamma": 2.0, "margin": 0.1}, {"gamma": 1.0, "remove_diagonal": False}], EMBEDDINGS),
    "ctc": ("CTC", "labels", [{}], LABELS),
}
MORE = [  # rows that are not every option with every shape
    ("binary_crossentropy", {"axis": 1}, (6, 4, 3), (6, 4, 3)),
    ("binary_crossentropy", {"axis": 0}, (6, 3), (6, 3)),
    ("binary_focal_crossentropy", {"axis": 1}, (6, 4, 3), (6, 4, 3)),
    ("categorical_crossentropy", {"axis": 1}, (6, 3, 4), (6, 3, 4)),
    ("categorical_crossentropy", {"axis": 1} | FROM_LOGITS, (6, 3, 4), (6, 3, 4)),
    ("categorical_focal_crossentropy", {"axis": 1} | FROM_LOGITS, (6, 3, 4), (6, 3, 4)),
    ("sparse_categorical_crossentropy", {"axis": 1}, (6, 4), (6, 3, 4)),
    ("sparse_categorical_crossentropy", {"axis": 1} | FROM_LOGITS, (6, 1, 4), (6, 3, 4)),
    ("sparse_categorical_crossentropy", {"ignore_class": 1}, (6,), (6, 3)),
    ("sparse_categorical_crossentropy", {"ignore_class": 1} | FROM_LOGITS, (6, 4), (6, 4, 3)),
    ("sparse_categorical_crossentropy", {"ignore_class": 7} | FROM_LOGITS, (6,), (6, 3)),
    ("sparse_categorical_crossentropy", {"ignore_class": -1}, (6, 4), (6, 4, 3)),
    ("dice", {"axis": (1, 2, 3)}, (2, 4, 4, 3), (2, 4, 4, 3)),
    ("tversky", {"axis": (1, 2)}, (2, 4, 4, 3), (2, 4, 4, 3)),
]
NAMES = {name: row[0] for name, row in list(LOSSES.items())[:5]}  # what test_metrics tries as metrics
OPTIONS = {name: row[2] for name, row in LOSSES.items()}
SHAPES = {name: row[3] for name, row in LOSSES.items()}
ALL = [(name, options, *shapes) for name in LOSSES for options in OPTIONS[name] for shapes in SHAPES[name]] + MORE
CASES = [pytest.param(*case, id=" ".join(map(str, case))) for case in ALL]

SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "MSE": "mean_squared_error", "MAE": "mean_absolute_error"}
ALIASES = SHORT | {name: name for name in NAMES} | {kind: name for name, kind in NAMES.items()}
ALL_ALIASES = {
    **ALIASES,
    **{"mape": "mean_absolute_percentage_error", "MAPE": "mean_absolute_percentage_error"},
    **{"msle": "mean_squared_logarithmic_error", "MSLE": "mean_squared_logarithmic_error"},
    **{"bce": "binary_crossentropy", "BCE": "binary_crossentropy", "kld": "kl_divergence", "KLD": "kl_divergence"},
    **{name: name for name in LOSSES if name != "categorical_generalized_cross_entropy"},  # Keras' get does not know this one
    **{row[0]: name for name, row in LOSSES.items() if name != "categorical_generalized_cross_entropy"},
}


def data(name, options, true_shape, pred_shape, seed=0):
    """Return targets and predictions such as the loss takes."""
    random = np.random.default_rng(seed)
    scores, kind = 2 * random.normal(size=pred_shape), LOSSES[name][1]
    axis = options["axis"] if kind in ("one-hot", "classes") and "axis" in options else -1
    y_true, y_pred = random.normal(size=true_shape), scores
    if kind in ("one-hot", "classes", "shares") and name != "categorical_hinge" and not options.get("from_logits"):
        y_pred = np.exp(scores) / np.exp(scores).sum(axis, keepdims=True)
    if kind == "bits":
        y_true = random.integers(0, 2, size=true_shape)
        y_pred = scores if options.get("from_logits") else 1 / (1 + np.exp(-scores))
    elif kind == "counts":
        y_true, y_pred = random.integers(0, 5, size=true_shape), np.abs(scores)
    elif kind == "signs":
        y_true = random.choice([-1, 1], size=true_shape)
    elif kind == "shares":
        y_true = random.dirichlet(np.ones(true_shape[-1]), size=true_shape[:-1])
    elif kind == "classes":
        y_true = random.integers(0, pred_shape[axis], size=true_shape)
        y_true = np.where(random.random(true_shape) < 0.3, options.get("ignore_class", y_true) if options else y_true, y_true)
    elif kind == "one-hot":
        classes = random.integers(0, pred_shape[axis], size=np.delete(true_shape, axis))
        y_true = np.moveaxis(np.eye(pred_shape[axis])[classes], -1, axis)
    elif kind == "embeddings":
        y_true, y_pred = random.integers(0, 3, size=true_shape), scores / np.linalg.norm(scores, axis=-1, keepdims=True)
    elif kind == "labels":
        y_true = random.integers(1, pred_shape[-1], size=true_shape) * (np.arange(true_shape[1]) < random.integers(1, 4, (len(scores), 1)))
    return y_true.astype("int64" if kind in ("classes", "embeddings", "labels") else "float32"), y_pred.astype("float32")


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
    return SHAPES[name] is ELEMENTS


def objects(name, options, **more):
    """Return the loss of ours and the one of Keras."""
    return [getattr(library, LOSSES[name][0])(**options, **more) for library in (losses, keras.losses)]


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


def reduced(*reductions):
    """Return each case with a value for each step, and with their mean; and a case of each loss with the other reductions."""
    one_of_each = {case[0]: case for case in ALL}.values()
    pairs = [*product(ALL, ["sum_over_batch_size", "none"]), *product(one_of_each, reductions)]
    return [pytest.param(*case, reduction, id=" ".join(map(str, (*case, reduction)))) for case, reduction in pairs]


@pytest.mark.parametrize(
    ("name", "options", "true_shape", "pred_shape", "reduction"), reduced("mean", "mean_with_sample_weight", "sum", None)
)
def test_loss(name, options, true_shape, pred_shape, reduction):
    arrays = data(name, options, true_shape, pred_shape)
    is_mean = reduction not in ("sum", "none", None)
    compare(*objects(name, options, reduction=reduction), arrays, in_full(*arrays) if is_of_elements(name) and not is_mean else None)


@pytest.mark.parametrize(("name", "options", "true_shape", "pred_shape"), CASES)
def test_function(name, options, true_shape, pred_shape):
    ours, theirs = (
        lambda y_true, y_pred, library=library: getattr(library, name)(y_true, y_pred, **options) for library in (losses, keras.losses)
    )
    arrays = data(name, options, true_shape, pred_shape)
    y_true, y_pred = arrays
    if is_of_elements(name) and true_shape != pred_shape:
        # Keras' squared errors and the like take these shapes as ours do; other functions broadcast, where the class does not.
        y_true, y_pred = (y_true, y_pred[..., 0]) if len(true_shape) > 1 and pred_shape[-1] == 1 else in_full(*arrays)
    compare(ours, theirs, arrays, (y_true, y_pred))


@pytest.mark.parametrize(("name", "options", "true_shape", "pred_shape", "reduction"), reduced("mean_with_sample_weight", "sum"))
def test_sample_weight(name, options, true_shape, pred_shape, reduction):
    ours, theirs = objects(name, options, reduction=reduction)
    arrays = data(name, options, true_shape, pred_shape)
    their_arrays = in_full(*arrays) if is_of_elements(name) else arrays
    steps = ours.call(*ours.prepare(*map(torch.tensor, arrays))).shape
    for weight in weights_for(steps):
        value, gradient = value_and_gradient(ours, *arrays, sample_weight=weight)
        # Keras broadcasts by the last axis, so it is told that a weight stands for all steps of a sample.
        wide = weight.reshape(weight.shape + (1,) * (len(steps) - weight.ndim))
        wide = np.array(np.broadcast_to(wide, steps)) if "ignore_class" in options else wide  # Keras' masks do not broadcast
        their_value, their_gradient = value_and_gradient(theirs, *their_arrays, sample_weight=wide)
        same(value, their_value)
        same(gradient, their_gradient.reshape(gradient.shape), 1e-4)
        if wide.ndim > weight.ndim:
            same(ours(*map(torch.tensor, arrays), torch.tensor(wide)), their_value)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "options", "true_shape", "pred_shape"),
    [
        ("mean_squared_error", {}, (6, 4, 3), (6, 4, 3)),
        ("categorical_crossentropy", FROM_LOGITS, (6, 4, 3), (6, 4, 3)),
        ("sparse_categorical_crossentropy", {}, (6, 4), (6, 4, 3)),
        ("sparse_categorical_crossentropy", {"ignore_class": 1}, (6, 4), (6, 4, 3)),
        ("binary_focal_crossentropy", {}, (6, 4, 3), (6, 4, 3)),
        ("kl_divergence", {}, (6, 4, 3), (6, 4, 3)),
    ],
)
@pytest.mark.parametrize("kept", [0.6, 0.0])
def test_masked_steps(name, options, true_shape, pred_shape, weighted, reduction, kept):
    ours, theirs = objects(name, options, reduction=reduction)
    y_true, y_pred = map(torch.tensor, data(name, options, true_shape, pred_shape))
    mask = torch.rand(6, 4) < kept
    weight = torch.rand(6, 4) if weighted else None
    value = ours.compute(*ours.prepare(y_true, y_pred), weight, mask)
    y_pred._keras_mask = mask
    same(value, theirs(y_true, y_pred, weight))


@pytest.mark.parametrize("options", [{}, FROM_LOGITS])
def test_class_indices_of_rank_3(options):
    arrays = data("sparse_categorical_crossentropy", options, (6, 2, 4), (6, 2, 4, 3))
    # Values alone: Keras 3.15 on torch has no gradient here ("grad_input must be contiguous").
    same(*(loss(*map(torch.tensor, arrays)) for loss in objects("sparse_categorical_crossentropy", options)))


@pytest.mark.parametrize("name", NAMES)
def test_sample_weight_of_one_column(name):
    true_shape, pred_shape = ((6,), (6, 3)) if name.startswith("sparse") else ((6, 3), (6, 3))
    weight = next(weights_for((6, 1))).reshape(6, 1)
    compare(*objects(name, {}), data(name, {}, true_shape, pred_shape), sample_weight=weight)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum", "none"])
@pytest.mark.parametrize("weight", [2.0, 0.0])
@pytest.mark.parametrize("name", ["mean_squared_error", "sparse_categorical_crossentropy", "log_cosh"])
def test_one_weight_for_all(name, weight, reduction):
    arrays = data(name, {}, *SHAPES[name][2])
    same(*(loss(*map(torch.tensor, arrays), sample_weight=weight) for loss in objects(name, {}, reduction=reduction)))


@pytest.mark.parametrize("labels", [[0.0, 1.0], [-1.0, 1.0], [0.0, 0.5, 1.0], [1.0]], ids=str)
@pytest.mark.parametrize("name", ["hinge", "squared_hinge", "categorical_hinge"])
def test_labels_of_the_hinge_family(name, labels):
    random = np.random.default_rng(0)
    y_true, y_pred = random.choice(labels, size=(6, 3)).astype("float32"), random.normal(size=(6, 3)).astype("float32")
    compare(*objects(name, {}), (y_true, y_pred))


def test_circle_loss_of_references():
    arrays = [torch.tensor(values) for values in data("circle", {}, (6,), (6, 5)) + data("circle", {}, (4,), (4, 5), seed=1)]
    same(*(library.circle(*arrays, gamma=2.0, remove_diagonal=False) for library in (losses, keras.losses)))


# ---------------------------------------------------------------------- names and configurations


@pytest.mark.parametrize(("identifier", "name"), ALL_ALIASES.items())
def test_name(identifier, name):
    arrays = [torch.tensor(values) for values in data(name, {}, *SHAPES[name][min(2, len(SHAPES[name]) - 1)])]
    found, their = losses.get(identifier), keras.losses.get(identifier)
    assert inspect.isfunction(found) == inspect.isfunction(their)
    assert getattr(found, "__name__", None) == getattr(their, "__name__", None)
    same(found(*arrays), their(*arrays))
    same(losses.as_loss(identifier)(*arrays), keras.losses.get(LOSSES[name][0])(*arrays))


def parameters(function):
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", LOSSES)
def test_arguments_and_their_defaults(name):
    ours, theirs = (getattr(library, LOSSES[name][0]) for library in (losses, keras.losses))
    assert parameters(ours.__init__) == parameters(theirs.__init__)
    ours, theirs = (parameters(getattr(library, name)) for library in (losses, keras.losses))
    if name == "categorical_generalized_cross_entropy":
        theirs[-1] = ("q", 0.5)  # Keras has a default in the class alone
    assert ours == theirs


def test_every_public_name_is_there():
    assert [name for name in dir(keras.losses) if name[0] != "_" and not hasattr(losses, name)] == []


@pytest.mark.parametrize(("name", "options", "true_shape", "pred_shape"), CASES)
def test_configurations_are_read_by_both(name, options, true_shape, pred_shape):
    ours, theirs = objects(name, options, reduction="sum")
    assert ours.name == theirs.name and ours.dtype == theirs.dtype
    config, their_config = ours.get_config(), theirs.get_config()
    theirs_again, ours_again = type(theirs).from_config(config), type(ours).from_config(their_config)
    if {"axis", "delta"} & options.keys() - their_config.keys():
        return  # Keras 3.15 forgets these in the configurations of some losses
    arrays = [torch.tensor(values) for values in data(name, options, true_shape, pred_shape)]
    same(ours_again(*arrays), ours(*arrays))
    same(theirs_again(*arrays), theirs(*arrays))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("name", ["mean_squared_error", "log_cosh", "cosine_similarity", "categorical_crossentropy", "ctc"])
def test_dtype(name, dtype):
    arrays = [torch.tensor(values) for values in data(name, {}, *SHAPES[name][-1])]
    ours, theirs = (loss(*arrays) for loss in objects(name, {}, dtype=dtype))
    assert str(ours.dtype) == f"torch.{dtype}"  # Keras 3.15 gives the mean of float64 as float32
    same(ours.float(), theirs.float(), 1e-5 if dtype == "float64" else 2e-2)  # bfloat16 has 8 bits


def test_class_names_in_snake_case():
    classes = [type("MyHuberLoss", (library.losses.Loss,), {}) for library in LIBRARIES]
    assert classes[0]().name == classes[1]().name == "my_huber_loss"


# ---------------------------------------------------------------------- limits


SATURATED = {
    "binary_crossentropy": [([[0.0], [1.0], [0.0], [1.0]], [[0.0], [1.0], [1.0], [0.0]]), ([[0.0, 1.0]], [[1e-9, 1 - 1e-7]])],
    "binary_focal_crossentropy": [([[0.0], [1.0], [0.0], [1.0]], [[0.0], [1.0], [1.0], [0.0]])],
    "categorical_crossentropy": [
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        ([[0.2, 0.3, 0.5]], [[0.0, 1.0, 0.0]]),
        ([[0.0, 1.0]], [[1.0, 3.0]]),
    ],
    "categorical_focal_crossentropy": [([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])],
    "sparse_categorical_crossentropy": [([0, 1], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), ([1], [[1.0, 3.0]]), ([2], [[1.0, 1e-10, 1e-8]])],
    # Not 1: which gradient `clamp` has exactly at its bounds differs between versions of torch.
    "kl_divergence": [([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[1 - 1e-7, 0.0, 0.0], [1 - 1e-7, 0.0, 0.0]])],
    "poisson": [([[0.0, 3.0]], [[0.0, 0.0]])],
    "mean_absolute_percentage_error": [([[0.0, 3.0]], [[0.5, 0.0]])],
    "mean_squared_logarithmic_error": [([[0.0, 3.0]], [[-1.0, -0.5]])],
    "log_cosh": [([[0.0, 0.0]], [[500.0, -500.0]])],
    "cosine_similarity": [([[1.0, 0.0], [0.0, 0.0]], [[1e-6, 0.0], [1.0, 1.0]])],
    "dice": [([[0.0, 0.0]], [[0.0, 0.0]]), ([[1.0, 1.0]], [[1.0, 1.0]])],
    "tversky": [([[0.0, 0.0]], [[0.0, 0.0]]), ([[1.0, 1.0]], [[1.0, 1.0]])],
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
    compare(*objects(name, options, reduction=reduction), (y_true, y_pred))


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "bool", "float64"])
@pytest.mark.parametrize("name", [name for name, row in LOSSES.items() if row[1] in ("numbers", "bits", "counts", "classes")])
def test_targets_of_any_type(name, kind):
    true_shape, pred_shape = ((6,), (6, 2)) if LOSSES[name][1] == "classes" else ((6, 2), (6, 2))
    y_true, y_pred = data(name, {}, true_shape, pred_shape)
    y_true = np.abs(np.round(y_true)).clip(0, 1).astype(kind)
    compare(*objects(name, {}), (y_true, y_pred))


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "log_cosh", "hinge"])
def test_predictions_of_integers(name):
    y_true, y_pred = np.array([[1, 0, 1]]), np.array([[3, 1, -1]])
    same(*(loss(y_true, y_pred) for loss in objects(name, {})))
    if name != "log_cosh":  # Keras' function rounds log 2 to an integer
        same(*(getattr(library, name)(y_true, y_pred) for library in (losses, keras.losses)))
