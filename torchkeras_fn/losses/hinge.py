"""The hinge family: losses of scores that need to be right by a margin of 1."""

from typing import Any

import torch

from torchkeras_fn.losses.base import Elementwise, Loss


class Hinge(Elementwise):
    """`max(1 - y_true y_pred, 0)`, the mean over the last axis, for targets of -1 and 1. Targets of 0 and 1 alone are read as these.

    >>> Hinge()([[0.0, 1.0]], [[-0.5, 2.0]])
    tensor(0.2500)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "hinge", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return (1 - _signs(y_true) * y_pred).clamp(min=0)


class SquaredHinge(Hinge):
    """`max(1 - y_true y_pred, 0)²`, the mean over the last axis, for targets of -1 and 1. Targets of 0 and 1 alone are read as these.

    >>> SquaredHinge()([[0.0, 1.0]], [[-0.5, 2.0]])
    tensor(0.1250)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "squared_hinge", dtype: Any = None):
        super().__init__(reduction, name, dtype)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return super()._elements(y_true, y_pred).square()


class CategoricalHinge(Loss):
    """How far the best wrong class comes within 1 of the right one, along the last axis, for one-hot targets.

    >>> CategoricalHinge()([[0.0, 1.0]], [[0.5, 2.0]])
    tensor(0.)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "categorical_hinge", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss of each sample."""
        right = (y_true * y_pred).sum(-1)
        wrong = ((1 - y_true) * y_pred).amax(-1)
        return (wrong - right + 1).clamp(min=0)


def _signs(y_true: torch.Tensor) -> torch.Tensor:
    """Targets of 0 and 1 as -1 and 1, told on the device; others as they are."""
    binary = ((y_true == 0) | (y_true == 1)).all()
    return torch.where(binary, 2 * y_true - 1, y_true)
