"""From a name, a config or an object to the metric, and back; and what `'accuracy'` and `'crossentropy'` mean."""

import inspect
from collections.abc import Mapping
from typing import Any

from torchkeras_fn import losses
from torchkeras_fn.metrics import accuracies, confusion, curves, f_score, from_losses, iou, reduction, regression
from torchkeras_fn.metrics.base import Metric
from torchkeras_fn.metrics.from_losses import LossMetric
from torchkeras_fn.metrics.reduction import MeanMetricWrapper, functions
from torchkeras_fn.metrics.torch_metric import TorchMetric, is_torch_metric
from torchkeras_fn.registry import Registry, custom_object_scope, snake_case

CLASSES: dict[str, type[Metric]] = {
    snake_case(metric.__name__): metric
    for metric in (
        *(accuracies.Accuracy, accuracies.BinaryAccuracy, accuracies.CategoricalAccuracy, accuracies.SparseCategoricalAccuracy),
        *(accuracies.TopKCategoricalAccuracy, accuracies.SparseTopKCategoricalAccuracy),
        *(confusion.TruePositives, confusion.FalsePositives, confusion.TrueNegatives, confusion.FalseNegatives),
        *(confusion.Precision, confusion.Recall, curves.AUC),
        *(curves.SensitivityAtSpecificity, curves.SpecificityAtSensitivity, curves.PrecisionAtRecall, curves.RecallAtPrecision),
        *(f_score.FBetaScore, f_score.F1Score),
        *(iou.IoU, iou.BinaryIoU, iou.MeanIoU, iou.OneHotIoU, iou.OneHotMeanIoU),
        *(reduction.Mean, reduction.Sum, reduction.MeanMetricWrapper),
        *(regression.RootMeanSquaredError, regression.R2Score, regression.CosineSimilarity),
        *(regression.PearsonCorrelation, regression.ConcordanceCorrelation),
        *(from_losses.MeanSquaredError, from_losses.MeanAbsoluteError, from_losses.MeanAbsolutePercentageError),
        *(from_losses.MeanSquaredLogarithmicError, from_losses.LogCoshError, from_losses.Poisson, from_losses.KLDivergence),
        *(from_losses.Hinge, from_losses.SquaredHinge, from_losses.CategoricalHinge),
        *(from_losses.BinaryCrossentropy, from_losses.CategoricalCrossentropy, from_losses.SparseCategoricalCrossentropy),
    )
}
_CLASS_OF = {
    accuracies.accuracy: accuracies.Accuracy,
    accuracies.binary_accuracy: accuracies.BinaryAccuracy,
    accuracies.categorical_accuracy: accuracies.CategoricalAccuracy,
    accuracies.sparse_categorical_accuracy: accuracies.SparseCategoricalAccuracy,
    accuracies.top_k_categorical_accuracy: accuracies.TopKCategoricalAccuracy,
    accuracies.sparse_top_k_categorical_accuracy: accuracies.SparseTopKCategoricalAccuracy,
    regression.cosine_similarity: regression.CosineSimilarity,
    regression.pearson_correlation: regression.PearsonCorrelation,
    regression.concordance_correlation: regression.ConcordanceCorrelation,
}

registry = Registry(
    "metric",
    {**losses.registry.entries, **CLASSES, "log_cosh": from_losses.LogCoshError, "loss_metric": LossMetric},
    losses.ALIASES | {"acc": "accuracy", "rmse": "root_mean_squared_error"},
)
for _function in (*losses.FUNCTIONS, *_CLASS_OF):
    functions.register(_function.__name__, _function)


def get(identifier: Any) -> Any:
    """Return a `Metric` for a name, a config, a metric or loss, or a function `(y_true, y_pred)`; `None` stays `None`.

    Metrics of torchmetrics and torch's losses are taken too. Raises `ValueError` for an unknown name, with the nearest
    known one, and for the name of a metric that needs arguments.

    >>> get("mse").name, get("mse").__class__.__name__
    ('mse', 'MeanSquaredError')
    """
    name = identifier if isinstance(identifier, str) else None
    if name:
        _check_arguments(name)
    found = registry.get(identifier)
    if is_torch_metric(found) and not hasattr(found, "update_state"):
        return TorchMetric(found)
    if inspect.isfunction(found) and found in _CLASS_OF:
        return _CLASS_OF[found]()
    if found is None or hasattr(found, "update_state"):
        if name:
            found.name = name
            if isinstance(found, LossMetric):
                found.like_the_loss = True
        return found
    losses.check_no_layer(found, "metric")
    losses.warn_of_order(found, "metric")
    if losses.in_torch_order(found) or not inspect.isfunction(found) or found in losses.FUNCTIONS:
        loss = losses.as_loss(found)
        if not isinstance(loss, losses.FunctionLoss):
            return LossMetric(loss, name or getattr(found, "__name__", None))
    return MeanMetricWrapper(found, name)


def _check_arguments(name: str) -> None:
    found = registry.find(name)
    parameters = inspect.signature(found).parameters.values() if inspect.isclass(found) else ()
    needed = [part.name for part in parameters if part.default is part.empty and part.kind is part.POSITIONAL_OR_KEYWORD]
    if needed:
        raise ValueError(f"{name!r} cannot be made without {', '.join(needed)}: pass metrics.{found.__name__}(...) in place of the name.")


def serialize(metric: Any) -> Any:
    """Return the name or config that `deserialize` turns back into the metric.

    >>> serialize(accuracies.BinaryAccuracy())["class_name"]
    'BinaryAccuracy'
    """
    if type(metric) is MeanMetricWrapper and not metric.options and metric.name == getattr(metric.fn, "__name__", None):
        metric = metric.fn
    if inspect.isfunction(metric) and metric in (*_CLASS_OF, *losses.FUNCTIONS):
        return metric.__name__
    return registry.serialize(metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the metric that `serialize` described.

    >>> deserialize("binary_accuracy").name
    'binary_accuracy'
    """
    with custom_object_scope(custom_objects or {}):
        return get(config)


_ACCURACIES = (accuracies.BinaryAccuracy, accuracies.SparseCategoricalAccuracy, accuracies.CategoricalAccuracy)
_ALONG_AXIS_1 = (accuracies.BinaryAccuracy, accuracies.SparseCategoricalAccuracyAlongAxis1, accuracies.CategoricalAccuracyAlongAxis1)
_CROSSENTROPIES = (from_losses.BinaryCrossentropy, from_losses.SparseCategoricalCrossentropy, from_losses.CategoricalCrossentropy)
_OPEN: dict[str, Any] = {"accuracy": _ACCURACIES, "acc": _ACCURACIES, "crossentropy": _CROSSENTROPIES, "ce": _CROSSENTROPIES}


def is_open(identifier: Any) -> bool:
    """Return whether a metric is a name that means whichever metric fits the loss, the output and the targets.

    >>> is_open("acc"), is_open("binary_accuracy")
    (True, False)
    """
    return isinstance(identifier, str) and identifier.lower() in _OPEN


def choose(name: str, loss: Any, y_true_shape: Any, y_pred_shape: Any) -> Metric:
    """Return the metric that an open name, such as `'accuracy'`, means here.

    Binary where the loss is binary crossentropy or the output has one unit, sparse where targets are class indices,
    else categorical. Torch's crossentropies have the classes of steps and pixels along axis 1, and a logit of torch's
    `BCEWithLogitsLoss` says yes where it is positive.

    >>> choose("acc", None, (4,), (4, 3))
    <SparseCategoricalAccuracy name=acc>
    """
    kinds = _OPEN[name.lower()]
    if getattr(loss, "is_by_class", False) and len(y_pred_shape) > 2:
        y_true_shape = _classes_last(y_true_shape) if len(y_true_shape) == len(y_pred_shape) else y_true_shape
        y_pred_shape, kinds = _classes_last(y_pred_shape), _ALONG_AXIS_1 if kinds is _ACCURACIES else kinds
    binary, sparse, categorical = kinds
    indices = len(y_true_shape) < len(y_pred_shape) or (y_true_shape[-1:] == (1,) and y_pred_shape[-1:] != (1,))
    is_binary = losses.is_binary(loss) or tuple(y_pred_shape[1:])[-1:] in ((), (1,))
    if is_binary and kinds is _ACCURACIES and getattr(loss, "takes_logits", False):
        return accuracies.BinaryAccuracy(name, threshold=0.0)  # where a sigmoid is 1/2
    metric: Metric = (binary if is_binary else sparse if getattr(loss, "indices", False) or indices else categorical)(name)
    return metric


def _classes_last(shape: Any) -> tuple[Any, ...]:
    return (shape[0], *shape[2:], shape[1])
