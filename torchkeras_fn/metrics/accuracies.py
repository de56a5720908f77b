"""Accuracies: how often predictions hit the target. The functions give a value per sample, the classes the share of all."""

from collections.abc import Callable
from typing import Any

import torch

from torchkeras_fn.alignment import align, align_loosely, as_tensor, refit
from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.metrics.reduction import MeanMetricWrapper


def accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return whether each value equals its target: for predictions that are labels.

    >>> accuracy([1, 2, 3], [1, 2, 4])
    tensor([1., 1., 0.])
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    hits: torch.Tensor = align_loosely(y_true, y_pred) == y_pred
    return hits.float()


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> torch.Tensor:
    """Return the share of each sample's values that lie on the same side of `threshold` as the targets say.

    >>> binary_accuracy(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.7, 0.6]]))
    tensor([0.5000])
    """
    hits = _right_side(as_tensor(y_true), as_tensor(y_pred), threshold).float()
    return hits.mean(-1) if hits.ndim > 1 else hits


def _right_side(y_true: torch.Tensor, y_pred: torch.Tensor, threshold: float) -> torch.Tensor:
    hits: torch.Tensor = (y_pred > threshold) == align(y_true, y_pred)
    return hits


def categorical_accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return whether the largest prediction is at the largest target, for each sample.

    >>> categorical_accuracy(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.4, 0.6]]))
    tensor([1.])
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    hits: torch.Tensor = align(y_true, y_pred).argmax(-1) == y_pred.argmax(-1)
    return hits.float()


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return whether the largest prediction is at the target class, for each sample.

    >>> sparse_categorical_accuracy(torch.tensor([1]), torch.tensor([[0.4, 0.6]]))
    tensor([1.])
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    hits: torch.Tensor = y_pred.argmax(-1) == align(y_true, y_pred, indices=True)
    return hits.float()


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> torch.Tensor:
    """Return whether the largest target is at one of the `k` largest predictions, for each sample.

    >>> top_k_categorical_accuracy([[0.0, 0.0, 1.0]], [[0.5, 0.2, 0.3]], k=2)
    tensor([1.])
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    return _is_among(align(y_true, y_pred).argmax(-1), y_pred, k).float()


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> torch.Tensor:
    """Return whether the target class is at one of the `k` largest predictions, for each sample.

    With `from_sorted_ids` the predictions are no scores but the classes themselves, the likeliest first.

    >>> sparse_top_k_categorical_accuracy([2], [[0.5, 0.2, 0.3]], k=2)
    tensor([1.])
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    classes = align(y_true, y_pred, indices=True)
    hits = (y_pred[..., :k] == classes.unsqueeze(-1)).any(-1) if from_sorted_ids else _is_among(classes, y_pred, k)
    return hits.float()


def _is_among(classes: torch.Tensor, scores: torch.Tensor, k: int) -> torch.Tensor:
    """Whether fewer than `k` scores surpass that of the class; a class that does not exist is never among them."""
    last = scores.shape[-1] - 1
    score = scores.gather(-1, classes.clamp(0, last).unsqueeze(-1))
    within_reach = (scores <= score).sum(-1) > scores.shape[-1] - k  # so counted, a score that is no number loses
    return within_reach & (classes >= 0) & (classes <= last)


class Accuracy(MeanMetricWrapper):
    """The share of predictions that equal their targets: for predictions that are labels.

    >>> float(Accuracy()([1, 2, 3, 4], [0, 2, 3, 4]))
    0.75
    """

    direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None):
        super().__init__(accuracy, name, dtype)


class _Counted(MeanMetricWrapper):
    """An accuracy that can count its hits, where a sample is hit or not."""

    direction = "up"
    indices = False

    def _hits(self, y_true: torch.Tensor, y_pred: torch.Tensor, kind: str | None) -> torch.Tensor:
        """Return whether each sample of aligned tensors is hit."""
        raise NotImplementedError

    def recipe(self, y_true: torch.Tensor, y_pred: torch.Tensor, kind: str | None = None) -> Callable[[Any, Any], None] | None:
        """Return a function that counts the hits."""
        if not self.is_plain or "update_state" in vars(self) or (kind is not None and self.on_logits(kind) is None):
            return None
        fit = refit(y_true, align(y_true, y_pred, self.indices))
        count, hits = len(y_pred), self._hits
        if hits(y_true if fit is None else fit(y_true), y_pred, kind).numel() != count:
            return None
        if fit is None:
            return lambda y_true, y_pred: self.add(torch.count_nonzero(hits(y_true, y_pred, kind)), count)
        return lambda y_true, y_pred: self.add(torch.count_nonzero(hits(fit(y_true), y_pred, kind)), count)


class BinaryAccuracy(_Counted):
    """The share of values on the right side of `threshold`.

    >>> float(BinaryAccuracy()(torch.tensor([1.0, 0.0]), torch.tensor([[0.7], [0.6]])))
    0.5
    """

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        super().__init__(binary_accuracy, name, dtype)
        self.threshold = number(threshold, "threshold")

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return 1 or 0 for each value."""
        return _right_side(y_true, y_pred, self.threshold)

    def _hits(self, y_true: torch.Tensor, y_pred: torch.Tensor, kind: str | None) -> torch.Tensor:
        return (y_pred > (self.threshold if kind is None else 0.0)) == y_true

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return the same metric on logits: a sigmoid is above 1/2 where its argument is positive."""
        if kind != "sigmoid" or self.threshold != 0.5 or not self.is_plain:
            return None
        return lambda y_true, y_pred, weight: self._gather(_right_side(y_true, y_pred, 0.0), weight)


class _Ranking(MeanMetricWrapper):
    """An accuracy that goes by the order of the scores alone."""

    direction = "up"

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return the same metric: a softmax leaves the order as it is."""
        return self.update_state if kind == "softmax" and self.is_plain else None


class CategoricalAccuracy(_Ranking, _Counted):
    """The share of samples whose largest prediction is at the largest target.

    >>> float(CategoricalAccuracy()(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.4, 0.6]])))
    1.0
    """

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None):
        super().__init__(categorical_accuracy, name, dtype)

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return 1 or 0 for each sample."""
        return self._hits(align(y_true, y_pred), y_pred, None)

    def _hits(self, y_true: torch.Tensor, y_pred: torch.Tensor, kind: str | None) -> torch.Tensor:
        return y_true.argmax(-1) == y_pred.argmax(-1)


class SparseCategoricalAccuracy(_Ranking, _Counted):
    """The share of samples whose largest prediction is at the target class.

    >>> float(SparseCategoricalAccuracy()(torch.tensor([1]), torch.tensor([[0.4, 0.6]])))
    1.0
    """

    indices = True

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_categorical_accuracy, name, dtype)

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return 1 or 0 for each sample."""
        return self._hits(align(y_true, y_pred, indices=True), y_pred, None)

    def _hits(self, y_true: torch.Tensor, y_pred: torch.Tensor, kind: str | None) -> torch.Tensor:
        return y_pred.argmax(-1) == y_true



class _AlongAxis1(_Counted):
    """An accuracy of predictions whose classes lie along axis 1, as torch's crossentropies take them."""

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return 1 or 0 for each sample, pixel or step."""
        y_true = y_true.movedim(1, -1) if y_true.shape == y_pred.shape else y_true
        return super().compare(y_true, y_pred.movedim(1, -1))

    def recipe(self, y_true: torch.Tensor, y_pred: torch.Tensor, kind: str | None = None) -> None:
        """Return `None`: there is no shorter way."""


class CategoricalAccuracyAlongAxis1(_AlongAxis1, CategoricalAccuracy):
    """The share of pixels or steps whose largest prediction along axis 1 is at the largest target.

    >>> float(CategoricalAccuracyAlongAxis1()(torch.eye(2).expand(1, 2, 2), torch.eye(2).expand(1, 2, 2)))
    1.0
    """


class SparseCategoricalAccuracyAlongAxis1(_AlongAxis1, SparseCategoricalAccuracy):
    """The share of pixels or steps whose largest prediction along axis 1 is at the target class.

    >>> float(SparseCategoricalAccuracyAlongAxis1()(torch.tensor([[0, 0]]), torch.tensor([[[0.9, 0.2], [0.1, 0.8]]])))
    0.5
    """


class TopKCategoricalAccuracy(_Ranking):
    """The share of samples whose largest target is at one of the `k` largest predictions.

    >>> float(TopKCategoricalAccuracy(k=2)([[0.0, 0.0, 1.0]], [[0.5, 0.2, 0.3]]))
    1.0
    """

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None):
        super().__init__(top_k_categorical_accuracy, name, dtype)
        self.k = positive_integer(k, "k")

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return 1 or 0 for each sample."""
        return top_k_categorical_accuracy(y_true, y_pred, self.k)


class SparseTopKCategoricalAccuracy(_Ranking):
    """The share of samples whose target class is at one of the `k` largest predictions.

    With `from_sorted_ids` the predictions are no scores but the classes themselves, the likeliest first.

    >>> float(SparseTopKCategoricalAccuracy(k=2)([2], [[0.5, 0.2, 0.3]]))
    1.0
    """

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ):
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype)
        self.k, self.from_sorted_ids = positive_integer(k, "k"), from_sorted_ids

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return 1 or 0 for each sample."""
        return sparse_top_k_categorical_accuracy(y_true, y_pred, self.k, self.from_sorted_ids)
