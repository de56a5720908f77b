"""Each metric against the real Keras, batch by batch, with and without weights; names, configs, and what `evaluate` returns."""

import inspect
import json

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
    ("TopKCategoricalAccuracy", {"k": 2}, ONE_HOT),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, INDICES),
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
    "TopKCategoricalAccuracy": "categorical_crossentropy",
    "SparseTopKCategoricalAccuracy": "sparse_categorical_crossentropy",
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
    assert type(metrics.get(identifier)).__name__ == type(theirs).__name__
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


# ---------------------------------------------------------------------- every metric, every option

SIZES = (6, 2, 3)


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)


def bits(random, n, *shape):
    return random.integers(0, 2, (n, *shape)), random.uniform(size=(n, *shape))


def one_hot(random, n, classes=4):
    return np.eye(classes)[random.integers(0, classes, n)], softmax(random.normal(size=(n, classes)))


def labels(random, n, *shape):
    return random.integers(0, 3, (n, *shape)), random.integers(0, 3, (n, *shape))


def numbers(random, n, *shape):
    y_true = random.normal(size=(n, *shape))
    return y_true, y_true + random.normal(size=(n, *shape))


def positive(random, n):
    return random.integers(0, 5, (n, 3)), random.uniform(0.1, 3, size=(n, 3))


def signs(random, n):
    return random.choice([-1, 1], (n, 3)), random.normal(size=(n, 3))


def distributions(random, n):
    return softmax(random.normal(size=(n, 4))), softmax(random.normal(size=(n, 4)))


def column(random, n):
    return bits(random, n, 1)


def row(random, n):
    return bits(random, n, 3)


def flat(random, n):
    return bits(random, n)


def steps(random, n):
    return bits(random, n, 4, 3)


def flat_targets(random, n):
    y_true, y_pred = bits(random, n, 1)
    return y_true[:, 0], y_pred


def ties(random, n):
    """Predictions that lie on thresholds, at 0 and at 1."""
    return random.integers(0, 2, (n, 1)), random.integers(0, 5, (n, 1)) / 4


def logits(random, n):
    return random.integers(0, 2, (n, 3)), 3 * random.normal(size=(n, 3))


def class_logits(random, n):
    return one_hot(random, n)[0], 3 * random.normal(size=(n, 4))


def classes(random, n):
    return random.integers(0, 4, n), softmax(random.normal(size=(n, 4)))


def sorted_ids(random, n):
    return random.integers(0, 6, n), np.stack([random.permutation(6)[:4] for _ in range(n)])


def few(random, n):
    """Scores with equal values among them."""
    return random.integers(0, 5, n), random.integers(0, 3, (n, 5)) / 2


def in_labels(random, n):
    return labels(random, n)


def in_images(random, n):
    return labels(random, n, 4, 4)


def one_hot_images(random, n):
    return np.eye(3)[random.integers(0, 3, (n, 2, 2))], softmax(random.normal(size=(n, 2, 2, 3)))


def sparse_images(random, n):
    return random.integers(-1, 4, (n, 2, 2)), softmax(random.normal(size=(n, 2, 2, 3)))


def single(random, n):
    return numbers(random, n, 1)


def several(random, n):
    return numbers(random, n, 3)


def series(random, n):
    return numbers(random, n, 5, 3)


THRESHOLDS = [{}, {"thresholds": 0.3}, {"thresholds": [0.7, 0.2, 0.4]}, {"thresholds": [0.0, 0.5, 1.0]}]
MANY = {"thresholds": [0.05 * step for step in range(1, 13)]}
SHAPED = [flat, column, row, steps, flat_targets, ties]
AT = [{}, {"num_thresholds": 1}, {"num_thresholds": 5}, {"num_thresholds": 50}]
SUMMED = [
    {"curve": curve, "summation_method": method, "num_thresholds": number}
    for curve in ("ROC", "PR", "PRGAIN")
    for method in ("interpolation", "minoring", "majoring")
    for number in (200, 5)
]
SCORES = [{"average": average, "threshold": threshold} for average in (None, "micro", "macro", "weighted") for threshold in (None, 0.4)]
# metric, the options, the data; each of the options with each of the data
TABLE = [
    ("Accuracy", [{}], [in_labels, in_images]),
    ("TopKCategoricalAccuracy", [{}, {"k": 1}, {"k": 2}], [lambda random, n: one_hot(random, n, 8)]),
    ("SparseTopKCategoricalAccuracy", [{"k": 1}, {"k": 2}, {"k": 3}], [classes, few]),
    ("SparseTopKCategoricalAccuracy", [{"k": 2, "from_sorted_ids": True}], [sorted_ids]),
    *((name, [*THRESHOLDS, MANY], [row, ties]) for name in ("TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives")),
    *((name, [*THRESHOLDS, MANY], SHAPED) for name in ("Precision", "Recall")),
    *((name, [{"top_k": 2}, {"top_k": 2, "thresholds": [0.2, 0.4]}, {"class_id": 1}], [one_hot, row]) for name in ("Precision", "Recall")),
    *((name, [{"top_k": 2, "class_id": 1}], [one_hot]) for name in ("Precision", "Recall")),
    ("SensitivityAtSpecificity", [{"specificity": 0.6} | at for at in AT], [flat, column, row, ties]),
    ("SpecificityAtSensitivity", [{"sensitivity": 0.6} | at for at in AT], [flat, column, row, ties]),
    ("PrecisionAtRecall", [{"recall": 0.6} | at for at in AT], [flat, column, row, ties]),
    ("RecallAtPrecision", [{"precision": 0.6} | at for at in AT], [flat, column, row, ties]),
    ("RecallAtPrecision", [{"precision": 0.6, "class_id": 2}], [row]),
    ("AUC", SUMMED, [column, row]),
    ("AUC", [{}], [flat, flat_targets, ties]),
    ("AUC", [{"thresholds": [0.8, 0.1, 0.5]}, {"thresholds": [0.25, 0.5, 0.75], "curve": "PR"}], [column, ties]),
    ("AUC", [{"from_logits": True}, {"from_logits": True, "multi_label": True}], [logits]),
    ("AUC", [{"multi_label": True, "num_labels": 3} | options for options in SUMMED[::3]], [row]),
    ("AUC", [{"label_weights": [0.2, 1.0, 2.0], "multi_label": flag, "curve": curve} for flag in (1, 0) for curve in ("PR", "ROC")], [row]),
    ("FBetaScore", [{"beta": 2.0} | score for score in SCORES], [one_hot, row]),
    ("F1Score", SCORES, [one_hot, row]),
    ("MeanIoU", [{"num_classes": 3}, {"num_classes": 4, "ignore_class": 1}], [in_labels, in_images]),
    ("MeanIoU", [{"num_classes": 3, "sparse_y_pred": False, "ignore_class": 0}], [sparse_images]),
    ("IoU", [{"num_classes": 3, "target_class_ids": [0, 2]}, {"num_classes": 2, "target_class_ids": [1]}], [in_labels, in_images]),
    ("BinaryIoU", [{}, {"threshold": 0.3}, {"target_class_ids": [1]}], [flat, column, row]),
    ("OneHotIoU", [{"num_classes": 3, "target_class_ids": [0, 2]}], [one_hot_images]),
    ("OneHotMeanIoU", [{"num_classes": 3}, {"num_classes": 3, "ignore_class": 2}], [one_hot_images]),
    ("OneHotMeanIoU", [{"num_classes": 4}], [one_hot]),
    ("RootMeanSquaredError", [{}], [single, several, series]),
    ("CosineSimilarity", [{}, {"axis": 1}], [several, series]),
    ("CosineSimilarity", [{"axis": 0}], [several]),
    ("PearsonCorrelation", [{}, {"axis": 1}], [several, series]),
    ("PearsonCorrelation", [{"axis": 0}], [several]),
    ("ConcordanceCorrelation", [{}, {"axis": 1}], [several, series]),
    ("ConcordanceCorrelation", [{"axis": 0}], [several]),
    ("R2Score", [{}, {"class_aggregation": None}, {"class_aggregation": "variance_weighted_average"}], [single, several]),
    ("R2Score", [{"num_regressors": 2}, {"num_regressors": 40}], [single, several]),
    *((name, [{}], [single, several, series]) for name in ("MeanSquaredError", "MeanAbsoluteError", "LogCoshError")),
    ("MeanAbsolutePercentageError", [{}], [several]),
    *((name, [{}], [positive]) for name in ("MeanSquaredLogarithmicError", "Poisson")),
    *((name, [{}], [signs]) for name in ("Hinge", "SquaredHinge")),
    ("CategoricalHinge", [{}], [one_hot]),
    ("KLDivergence", [{}], [distributions]),
    ("BinaryCrossentropy", [{}, {"label_smoothing": 0.1}], [column, row]),
    ("BinaryCrossentropy", [{"from_logits": True}], [logits]),
    ("CategoricalCrossentropy", [{}, {"label_smoothing": 0.1}], [one_hot]),
    ("CategoricalCrossentropy", [{"from_logits": True}], [class_logits]),
    ("SparseCategoricalCrossentropy", [{}, {"ignore_class": 1}], [classes]),
]
ROWS = [
    pytest.param(name, options, kind, weighted, id=f"{name} {options} {kind.__name__}{' weighted' * weighted}")
    for name, table, kinds in TABLE
    for options in table
    for kind in kinds
    for weighted in (False, True)
    if not (weighted and kind is several and options.get("axis") == 0)  # the axis of the samples is gone, there is nothing to weigh
]


def both(name, options):
    """Return our metric and Keras', which takes weights that are no whole numbers for IoU only where its dtype is a float."""
    extra = {"dtype": "float32"} if "IoU" in name else {}
    return getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options, **extra)


def their_weight(name, y_true, y_pred, weight):
    """Return a weight a sample as Keras has to be told it: it broadcasts some from the last axis, and flattens others."""
    if weight is None:
        return None
    if "IoU" in name:
        shape = y_true.shape[:-1] if "OneHot" in name else y_true.shape
        return np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(shape) - 1)), shape)
    if hasattr(getattr(metrics, name), "gathers") and y_pred.ndim > 2:
        return np.broadcast_to(weight[:, None, None], y_pred.shape)
    return weight


@pytest.mark.filterwarnings("ignore:More independent predictors", "ignore:Division by zero in Adjusted")  # Keras' R2Score reads its counts
@pytest.mark.parametrize(("name", "options", "kind", "weighted"), ROWS)
def test_metric(name, options, kind, weighted):
    random = np.random.default_rng(3)
    ours, theirs = both(name, options)
    for sizes in (SIZES, SIZES[:1]):  # the second time from the start again
        for size in sizes:
            y_true, y_pred = (values.astype("float32") for values in kind(random, size))
            weight = random.uniform(0, 2, size=size).astype("float32") if weighted else None
            ours.update_state(*map(torch.tensor, (y_true, y_pred)), None if weight is None else torch.tensor(weight))
            theirs_full = in_full(y_true, y_pred) if y_true.ndim == 1 and y_pred.ndim < 2 and "IoU" not in name else (y_true, y_pred)
            theirs_weight = their_weight(name, y_true, y_pred, weight)
            theirs.update_state(*map(torch.tensor, theirs_full), None if theirs_weight is None else torch.tensor(theirs_weight.copy()))
            same(ours.result(), theirs.result())
        ours.reset_state()
        theirs.reset_state()


@pytest.mark.parametrize(("name", "options"), [(name, table[-1]) for name, table, _ in TABLE])
def test_names_types_and_configs(name, options):
    theirs = getattr(keras.metrics, name)(**options)
    ours = getattr(metrics, name)(**options)
    assert ours.dtype == theirs.dtype
    assert ours.name == theirs.name.rstrip("0123456789").removesuffix("_") or ours.name == theirs.name  # Keras numbers those before
    config, their_config = ours.get_config(), theirs.get_config()
    json.dumps(config)
    for argument, value in their_config.items():
        if argument not in ("name", "label_weights", "thresholds"):
            assert config[argument] == value, argument
    again = getattr(metrics, name).from_config({key: value for key, value in their_config.items() if key != "label_weights"})
    assert type(again) is type(ours)
    getattr(keras.metrics, name).from_config(ours.get_config())


@pytest.mark.parametrize("name", [name for name in dir(keras.metrics) if inspect.isclass(getattr(keras.metrics, name))])
def test_arguments_and_their_order(name):
    ours, theirs = (inspect.signature(getattr(library, name)).parameters for library in (metrics, keras.metrics))
    assert [(part.name, part.default) for part in ours.values()] == [(part.name, part.default) for part in theirs.values()]


def test_every_name_of_keras_is_there():
    assert [name for name in dir(keras.metrics) if not name.startswith("_") and not hasattr(metrics, name)] == []


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("top_k_categorical_accuracy", {"k": 2}, one_hot),
        ("sparse_top_k_categorical_accuracy", {"k": 2}, classes),
        ("sparse_top_k_categorical_accuracy", {"k": 2, "from_sorted_ids": True}, sorted_ids),
        ("pearson_correlation", {}, several),
        ("concordance_correlation", {}, several),
        ("concordance_correlation", {"axis": 1}, series),
    ],
)
def test_function(name, options, kind):
    arrays = [torch.tensor(values.astype("float32")) for values in kind(np.random.default_rng(0), 7)]
    same(*(getattr(library, name)(*arrays, **options) for library in (metrics, keras.metrics)))


@pytest.mark.parametrize(
    "name", sorted(set(keras.src.metrics.ALL_OBJECTS_DICT) - {"mean_metric_wrapper", "MeanMetricWrapper", "Metric", "metric"})
)
def test_names_mean_the_same_metric(name):
    theirs = keras.src.metrics.ALL_OBJECTS_DICT[name]
    needed = {"IoU": (2, [0]), "MeanIoU": (2,), "OneHotIoU": (2, [0]), "OneHotMeanIoU": (2,)}
    if any(part.default is part.empty for part in inspect.signature(theirs).parameters.values()):
        assert theirs.__name__ in needed or "At" in theirs.__name__
        with pytest.raises(ValueError, match=f"pass metrics.{theirs.__name__}"):
            metrics.get(name)
    else:
        assert type(metrics.get(name)).__name__ == theirs.__name__


@pytest.mark.parametrize(
    ("shape", "weight_shape"),
    [
        *[((), None), ((4,), None), ((4,), (4,)), ((4, 3), None), ((4, 3), (4,)), ((4, 3), (4, 3)), ((4, 3), (4, 1)), ((4, 3), ())],
        *[((4, 3, 2), (4,)), ((4, 3, 2), (4, 3)), ((), ()), ((4,), ()), ((4, 1), (4,))],
    ],
)
@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_reduction(name, shape, weight_shape):
    random = np.random.default_rng(0)
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    same(ours.result(), theirs.result())
    for _ in range(3):
        values = torch.tensor(random.normal(size=shape).astype("float32"))
        weight = None if weight_shape is None else torch.tensor(random.uniform(0, 2, size=weight_shape).astype("float32"))
        ours.update_state(values, weight)
        theirs.update_state(values, weight)
        same(ours.result(), theirs.result())


@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_over_sequences_of_unequal_length_is_one_over_samples(weighted):
    ours, theirs = metrics.MeanSquaredError(), keras.metrics.MeanSquaredError()
    for samples, length in ((4, 3), (2, 7)):
        arrays = torch.randn(samples, length, 2), torch.randn(samples, length, 2)
        weight = torch.rand(samples) if weighted else None
        ours.update_state(*arrays, weight)
        theirs.update_state(*arrays, weight)
        same(ours.result(), theirs.result())


def test_a_metric_written_for_keras_runs_here():
    def make(library):
        class BinaryTruePositives(library.metrics.Metric):
            def __init__(self, name="binary_true_positives", **kwargs):
                super().__init__(name=name, **kwargs)
                self.true_positives = self.add_variable(shape=(), initializer="zeros", name="true_positives")
                self.seen = self.add_weight(name="seen", initializer="zeros", dtype="int32")

            def update_state(self, y_true, y_pred, sample_weight=None):
                values = ((y_true == 1) & (y_pred > 0.5)).to(torch.float32)
                if sample_weight is not None:
                    values = values * sample_weight
                self.true_positives.assign(self.true_positives + torch.sum(values))
                self.seen.assign_add(len(y_true))

            def result(self):
                return self.true_positives / self.seen

        return BinaryTruePositives()

    ours, theirs = (make(library) for library in LIBRARIES)
    for _ in range(2):
        for seed in range(3):
            arrays = [torch.tensor(values.astype("float32")) for values in flat(np.random.default_rng(seed), 5)]
            ours.update_state(*arrays, torch.rand(5, generator=torch.Generator().manual_seed(seed)))
            theirs.update_state(*arrays, torch.rand(5, generator=torch.Generator().manual_seed(seed)))
            same(ours.result(), theirs.result())
        assert len(ours.variables) == len(theirs.variables)
        ours.reset_state()
        theirs.reset_state()
    assert [float(state) for state in ours.variables] == [0.0, 0.0]


# ---------------------------------------------------------------------- in compile


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
@pytest.mark.parametrize("word", ["accuracy", "acc", "Accuracy"])
def test_what_accuracy_means(loss, units, targets, word):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 4)).astype("float32"), targets(random).astype("float32")
    kernel = random.normal(size=(4, units)).astype("float32")
    found = []
    for k in LIBRARIES:
        model = dense(k, kernel, "sigmoid" if "binary" in loss else "softmax" if units > 1 else None)
        # Keras goes by the shapes alone, and would compare the largest of several sigmoids; binary crossentropy means binary here.
        model.compile("sgd", loss, metrics=["binary_accuracy" if k is keras and "binary" in loss else word])
        found.append(model.evaluate(x, y, verbose=0))
    same(*found)
    assert 0 < found[0][1] < 1


def dense(k, kernel, activation):
    inputs = k.Input((len(kernel),))
    model = k.Model(inputs, k.layers.Dense(kernel.shape[1], activation=activation)(inputs))
    model.set_weights([kernel, np.zeros(kernel.shape[1])])
    return model


BINARY = ["accuracy", "AUC", "Precision", "Recall", "auc", "f1_score", "TruePositives", "mse", "hinge", "r2_score", "bce"]
SEVERAL = ["top_k_categorical_accuracy", "categorical_accuracy", "precision", "kl_divergence", "cosine_similarity", "poisson"]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("units", "figures"), [(1, BINARY), (7, SEVERAL)], ids=["sigmoid", "softmax"])
def test_evaluate_and_fit(units, figures, weighted):
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(50, 4)).astype("float32"), random.normal(size=(4, units)).astype("float32")
    y = random.integers(0, 2, (50, 1)).astype("float32") if units == 1 else np.eye(units)[random.integers(0, units, 50)].astype("float32")
    weight = random.uniform(0, 2, size=50).astype("float32") if weighted else None
    found = []
    for k in LIBRARIES:
        model = dense(k, kernel, "sigmoid" if units == 1 else "softmax")
        made = [
            k.metrics.AUC(name="area", curve="PR"),
            k.metrics.Recall([0.2, 0.5], name="found"),
            k.metrics.MeanSquaredError(name="square"),
        ]
        weighed = [k.metrics.Precision(name="exact"), k.metrics.MeanAbsoluteError(name="distance")]
        loss = "binary_crossentropy" if units == 1 else "categorical_crossentropy"
        model.compile("sgd", loss, metrics=[*figures, *made], weighted_metrics=weighed)
        before = model.evaluate(x, y, batch_size=16, verbose=0, sample_weight=weight, return_dict=True)
        options = {"validation_data": (x, y) if weight is None else (x, y, weight), "sample_weight": weight, "shuffle": False}
        after = model.fit(x, y, batch_size=16, epochs=2, verbose=0, **options).history
        found.append((before, after))
    assert set(found[0][0]) == set(found[1][0])
    for name, value in found[1][0].items():
        same(np.ravel(found[0][0][name]), np.ravel(value), 1e-4)
    for name, values in found[1][1].items():
        same(np.reshape(found[0][1][name], np.shape(values)), np.asarray(values), 1e-4)
