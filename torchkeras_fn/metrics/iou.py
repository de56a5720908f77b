"""Intersection over union: how well predicted regions cover the true ones, from a confusion matrix of classes."""

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.metrics.base import Metric
from torchkeras_fn.metrics.state import divide, spread_weights


class IoU(Metric):
    """The mean over `target_class_ids` of `true positives / (true positives + false positives + false negatives)`.

    Targets and predictions are class indices of one shape (or `(..., 1)`); one-hot targets with `sparse_y_true=False`,
    scores along `axis` with `sparse_y_pred=False`. `ignore_class` and classes that do not exist are left out, and so are
    classes that appear neither in the targets nor in the predictions. Weights count samples or elements, whole numbers or not.

    >>> float(IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1]))
    0.3333333432674408
    """

    direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(dtype or "int32", name)
        self.num_classes = positive_integer(num_classes, "num_classes")
        self.target_class_ids = [positive_integer(index, "target_class_ids", minimum=0) for index in target_class_ids]
        if max(self.target_class_ids, default=0) >= num_classes:
            raise ValueError(f"'target_class_ids' must be below num_classes={num_classes}, got {self.target_class_ids}.")
        self.ignore_class, self.axis = ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self._targets = torch.tensor(self.target_class_ids, dtype=torch.int64)
        self.total_cm = self._counter((num_classes, num_classes), "total_confusion_matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        y_true, y_pred = self._classes(torch.as_tensor(y_true), torch.as_tensor(y_pred))
        counts = (y_true >= 0) & (y_true < self.num_classes) & (y_pred >= 0) & (y_pred < self.num_classes)
        if self.ignore_class is not None:
            counts &= y_true != self.ignore_class
        cells = torch.where(counts, y_true * self.num_classes + y_pred, 0)
        weight = counts if sample_weight is None else spread_weights(sample_weight, y_true) * counts
        matrix = torch.zeros_like(self.total_cm).reshape(-1)
        matrix.scatter_add_(0, cells.flatten(), weight.flatten().to(matrix.dtype))
        self.total_cm.add_(matrix.reshape(self.total_cm.shape))

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for targets that do not fit."""
        self._classes(y_true, y_pred)

    def _classes(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Class indices of one shape."""
        y_true = y_true.long() if self.sparse_y_true else _largest(y_true, self.axis)
        y_pred = self._predicted(y_pred)
        if y_true.ndim > y_pred.ndim and y_true.shape == (*y_pred.shape, 1):
            y_true = y_true.squeeze(-1)
        elif y_pred.ndim > y_true.ndim and y_pred.shape == (*y_true.shape, 1):
            y_pred = y_pred.squeeze(-1)
        if y_true.shape != y_pred.shape:
            raise ValueError(
                f"{type(self).__name__} compares class indices of one shape, got {tuple(y_true.shape)} and {tuple(y_pred.shape)}. "
                "Use sparse_y_pred=False for scores of each class, sparse_y_true=False for one-hot targets."
            )
        return y_true, y_pred

    def _predicted(self, y_pred: torch.Tensor) -> torch.Tensor:
        return y_pred.long() if self.sparse_y_pred else _largest(y_pred, self.axis)

    def result(self) -> torch.Tensor:
        """Return the mean over the classes that there are, 0 where there are none."""
        both = self.total_cm.diagonal()
        either = self.total_cm.sum(0) + self.total_cm.sum(1) - both
        if self._targets.device != either.device:  # once: a list of numbers would be copied there each time, and waited for
            self._targets = torch.tensor(self.target_class_ids, dtype=torch.int64, device=either.device)
        both, either = both[self._targets], either[self._targets]
        return self._finish(divide(divide(both, either).sum(), (either > 0).sum()))

    def _finish(self, value: torch.Tensor) -> torch.Tensor:
        return value.float() if self._dtype.startswith("int") else super()._finish(value)  # the default dtype is Keras' int32


def _largest(scores: torch.Tensor, axis: int) -> torch.Tensor:
    """The class of the largest score; torch finds none among booleans."""
    return (scores.byte() if scores.dtype == torch.bool else scores).argmax(axis)


class BinaryIoU(IoU):
    """`IoU` of two classes, the predictions being above or below `threshold`.

    >>> float(BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]))
    0.3333333432674408
    """

    def __init__(self, target_class_ids: Sequence[int] = (0, 1), threshold: float = 0.5, name: str | None = None, dtype: Any = None):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = number(threshold, "threshold")

    def _predicted(self, y_pred: torch.Tensor) -> torch.Tensor:
        return (y_pred >= self.threshold).long()


class MeanIoU(IoU):
    """`IoU` averaged over all classes.

    >>> float(MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1]))
    0.3333333432674408
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        classes = range(positive_integer(num_classes, "num_classes"))
        super().__init__(num_classes, classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


class OneHotIoU(IoU):
    """`IoU` for one-hot targets, and scores of each class as predictions.

    >>> metric = OneHotIoU(num_classes=2, target_class_ids=[0])
    >>> float(metric([[1, 0], [0, 1]], [[0.2, 0.8], [0.4, 0.6]]))
    0.0
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` for one-hot targets, and scores of each class as predictions.

    >>> float(OneHotMeanIoU(num_classes=2)([[1, 0], [0, 1]], [[0.2, 0.8], [0.4, 0.6]]))
    0.25
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
