"""Losses of overlap, for masks of images: Dice and Tversky. They see the whole batch at once unless `axis` says which axes to sum over."""

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn import config
from torchkeras_fn.arguments import integer, number
from torchkeras_fn.losses.base import Loss

Axis = int | Sequence[int] | None


class Dice(Loss):
    """`1 - 2 Σ t p / (Σ t + Σ p)`: 0 for masks that agree, 1 for those that have nothing in common.

    The sums go over `axis`, an integer or several, or over the whole batch. Raises `ValueError` for anything else.
    Formula: https://en.wikipedia.org/wiki/S%C3%B8rensen%E2%80%93Dice_coefficient

    >>> Dice()([[1.0, 0.0]], [[0.5, 0.5]])
    tensor(0.5000)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Axis = None,
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.axis = _axes(axis)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss of each part that `axis` leaves."""
        both = (y_true * y_pred).sum(self.axis)
        return 1 - 2 * both / (y_true.sum(self.axis) + y_pred.sum(self.axis) + config.epsilon())


class Tversky(Loss):
    """`1 - Σ t p / (Σ t p + alpha Σ t (1 - p) + beta Σ (1 - t) p)`: Dice loss with a price for each kind of mistake.

    `alpha` is the price of what was missed, `beta` of what was seen in vain, as in Keras. The sums go over `axis`, an integer
    or several, or over the whole batch. Raises `ValueError` for anything else.
    Formula: Salehi et al., 2017, https://arxiv.org/abs/1706.05721

    >>> Tversky()([[1.0, 0.0]], [[0.5, 0.5]])
    tensor(0.5000)
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Axis = None,
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.alpha = number(alpha, "alpha")
        self.beta = number(beta, "beta")
        self.axis = _axes(axis)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss of each part that `axis` leaves."""
        both = (y_true * y_pred).sum(self.axis)
        missed = (y_true * (1 - y_pred)).sum(self.axis)
        in_vain = ((1 - y_true) * y_pred).sum(self.axis)
        return 1 - both / (both + self.alpha * missed + self.beta * in_vain + config.epsilon())


def _axes(axis: Any) -> Any:
    if isinstance(axis, Sequence) and not isinstance(axis, str):
        return tuple(integer(each, "axis") for each in axis)
    return None if axis is None else integer(axis, "axis")
