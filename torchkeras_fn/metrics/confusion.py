"""True and false positives and negatives at thresholds, and the precision and recall that follow from them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from torchkeras_fn.alignment import align
from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.metrics.base import Metric
from torchkeras_fn.metrics.state import divide, spread_weights, supported

_NEVER = -1e10
"""The threshold that all predictions surpass but those that `top_k` takes away."""


class Counts(NamedTuple):
    """Weighted numbers of predictions, a number for each threshold (and label)."""

    true_positives: torch.Tensor
    false_positives: torch.Tensor
    true_negatives: torch.Tensor
    false_negatives: torch.Tensor


def count(labels: torch.Tensor, predictions: torch.Tensor, thresholds: torch.Tensor, weights: torch.Tensor | None, ordered: bool) -> Counts:
    """Count labels and predictions of shape `(samples, labels)`: positive is what lies above a threshold.

    `ordered` says that the thresholds ascend: then each prediction is looked at once, not once for each threshold.

    >>> labels, predictions = torch.tensor([[True], [False]]), torch.tensor([[0.7], [0.6]])
    >>> count(labels, predictions, torch.tensor([0.5]), None, ordered=False).false_positives
    tensor([[1.]], dtype=torch.float64)
    """
    precise = supported(torch.float64, predictions.device)
    if ordered:
        return _count_by_histogram(labels, predictions, thresholds, weights, precise)
    above = predictions > thresholds.reshape(-1, 1, 1)

    def total(which: torch.Tensor) -> torch.Tensor:
        return (which if weights is None else which * weights).sum(1, dtype=precise)

    return Counts(total(above & labels), total(above & ~labels), total(~above & ~labels), total(~above & labels))


def _count_by_histogram(
    labels: torch.Tensor, predictions: torch.Tensor, thresholds: torch.Tensor, weights: torch.Tensor | None, precise: torch.dtype
) -> Counts:
    bins, columns = len(thresholds) + 1, predictions.shape[1]
    below = torch.bucketize(predictions.contiguous(), thresholds)  # how many thresholds a prediction surpasses
    index = (labels * bins + below) * columns + torch.arange(columns, device=predictions.device)
    amounts = torch.ones((), device=predictions.device).expand(index.shape) if weights is None else weights
    histogram = torch.zeros(2 * bins * columns, dtype=precise, device=predictions.device)
    histogram.scatter_add_(0, index.flatten(), amounts.flatten().to(precise))
    histogram = histogram.reshape(2, bins, columns)
    negative = histogram.cumsum(1)[:, :-1]
    positive = histogram.flip(1).cumsum(1).flip(1)[:, 1:]
    return Counts(positive[1], positive[0], negative[0], negative[1])


class ThresholdMetric(Metric):
    """A metric that follows from counts at thresholds. A subclass names those that it gathers in `gathers`.

    >>> metric = Precision(thresholds=[0.3, 0.8])
    >>> metric.update_state([0, 1, 1], [0.5, 0.6, 0.9])
    >>> metric.true_positives
    State([2., 1.], dtype=torch.float64)
    """

    gathers: Sequence[str] = Counts._fields
    top_k: int | None = None
    class_id: int | None = None
    true_positives: Any = None
    false_positives: Any = None
    true_negatives: Any = None
    false_negatives: Any = None

    def _gather_at(self, thresholds: Sequence[float], many: bool = False) -> None:
        """Prepare for counting at these thresholds; `many` says that they ascend and are worth a histogram."""
        self.thresholds = list(thresholds)
        self._many = many
        self._boundaries = torch.tensor(self.thresholds, dtype=torch.float32)
        self._make_counters((len(self.thresholds),))

    def _make_counters(self, shape: Any) -> None:
        for name in self.gathers:
            setattr(self, name, self._counter(shape, name))

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for targets that do not fit."""
        self._prepare(y_true, y_pred, None)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: targets are positive where they are not 0."""
        self._count(*self._prepare(torch.as_tensor(y_true), torch.as_tensor(y_pred), sample_weight))

    def _prepare(self, y_true: torch.Tensor, y_pred: torch.Tensor, weight: Any) -> tuple[Any, Any, Any]:
        """Targets, predictions and weights of one shape, or `None` for no weights."""
        y_pred = y_pred.float()
        y_true = align(y_true, y_pred)
        weight = None if weight is None else spread_weights(weight, y_pred)
        if self.top_k is not None:
            if self.top_k > y_pred.shape[-1]:
                raise ValueError(f"'top_k' is {self.top_k}, but the predictions have the shape {tuple(y_pred.shape)}.")
            best = y_pred.topk(self.top_k, -1)
            y_pred = torch.full_like(y_pred, _NEVER).scatter(-1, best.indices, best.values)
        if self.class_id is not None:
            if y_pred.ndim < 2 or self.class_id >= y_pred.shape[-1]:
                raise ValueError(f"'class_id' is {self.class_id}, but the predictions have the shape {tuple(y_pred.shape)}.")
            y_true, y_pred = y_true[..., self.class_id], y_pred[..., self.class_id]
            weight = None if weight is None else weight[..., self.class_id]
        return y_true, y_pred, weight

    def _count(self, y_true: torch.Tensor, y_pred: torch.Tensor, weight: torch.Tensor | None, labels: int = 1) -> None:
        """Add the counts of a batch to the state."""
        if self._boundaries.device != y_pred.device:
            self._boundaries = torch.tensor(self.thresholds, dtype=torch.float32, device=y_pred.device)
        self._follow(y_pred.device)
        shape = (-1, labels)
        weight = None if weight is None else weight.reshape(shape)
        counts = count(y_true.reshape(shape) != 0, y_pred.reshape(shape), self._boundaries, weight, self._many)
        for name in self.gathers:
            state = getattr(self, name)
            state.add_(getattr(counts, name).reshape(state.shape))

    def _at_thresholds(self, values: torch.Tensor) -> torch.Tensor:
        """A scalar for a single threshold, else a value for each."""
        return self._finish(values[0] if len(self.thresholds) == 1 else values)


def threshold_list(thresholds: Any, default: float = 0.5) -> list[float]:
    """Return thresholds as a list of numbers. Raises `ValueError` for one that is not between 0 and 1.

    >>> threshold_list(None), threshold_list([0.2, 0.8])
    ([0.5], [0.2, 0.8])
    """
    if thresholds is None:
        return [default]
    given = list(thresholds) if isinstance(thresholds, (list, tuple)) or hasattr(thresholds, "__len__") else [thresholds]
    for threshold in given:
        if isinstance(threshold, (bool, str)) or threshold is None or not 0 <= threshold <= 1:
            raise ValueError(f"'thresholds' must be numbers between 0 and 1, got {threshold!r}.")
    return [float(threshold) for threshold in given]


class _ConfusionCount(ThresholdMetric):
    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None):
        super().__init__(dtype, name)
        given = threshold_list(thresholds)
        self._gather_at(given, _is_worth_a_histogram(given))

    def result(self) -> torch.Tensor:
        """Return the number, one for each threshold where there are several."""
        return self._at_thresholds(getattr(self, self.gathers[0]))


def _is_worth_a_histogram(thresholds: list[float]) -> bool:
    return len(thresholds) > 8 and thresholds == sorted(thresholds)


class TruePositives(_ConfusionCount):
    """The number of positive targets that are predicted above the threshold, or the sum of their weights.

    >>> float(TruePositives()([0, 1, 1, 1], [1, 0, 1, 1]))
    2.0
    """

    direction = "up"
    gathers = ("true_positives",)


class FalsePositives(_ConfusionCount):
    """The number of negative targets that are predicted above the threshold, or the sum of their weights.

    >>> float(FalsePositives()([0, 1, 0, 0], [0, 0, 1, 1]))
    2.0
    """

    direction = "down"
    gathers = ("false_positives",)


class TrueNegatives(_ConfusionCount):
    """The number of negative targets that are not predicted above the threshold, or the sum of their weights.

    >>> float(TrueNegatives()([0, 1, 0, 0], [1, 1, 0, 0]))
    2.0
    """

    direction = "up"
    gathers = ("true_negatives",)


class FalseNegatives(_ConfusionCount):
    """The number of positive targets that are not predicted above the threshold, or the sum of their weights.

    >>> float(FalseNegatives()([0, 1, 1, 1], [0, 1, 0, 0]))
    2.0
    """

    direction = "down"
    gathers = ("false_negatives",)


class _Ratio(ThresholdMetric):
    direction = "up"

    def __init__(
        self, thresholds: Any = None, top_k: int | None = None, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ):
        super().__init__(dtype, name)
        self.top_k = None if top_k is None else positive_integer(top_k, "top_k")
        self.class_id = None if class_id is None else positive_integer(class_id, "class_id", minimum=0)
        given = threshold_list(thresholds, 0.5 if top_k is None else _NEVER)
        self._gather_at(given, _is_worth_a_histogram(given))

    def result(self) -> torch.Tensor:
        """Return the share, one for each threshold where there are several; 0 where there is nothing to share."""
        hits, misses = (getattr(self, name) for name in self.gathers)
        return self._at_thresholds(divide(hits, hits + misses))


class Precision(_Ratio):
    """The share of positive targets among the predictions above the threshold.

    With `top_k`, a prediction must be among the `k` largest of its sample too; with `class_id`, that class alone counts.

    >>> float(Precision()([0, 1, 1, 1], [1, 0, 1, 1]))
    0.6666666865348816
    """

    gathers = ("true_positives", "false_positives")


class Recall(_Ratio):
    """The share of the positive targets that are predicted above the threshold.

    With `top_k`, a prediction must be among the `k` largest of its sample too; with `class_id`, that class alone counts.

    >>> float(Recall()([0, 1, 1, 1], [1, 0, 1, 1]))
    0.6666666865348816
    """

    gathers = ("true_positives", "false_negatives")
