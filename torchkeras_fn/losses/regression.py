"""Losses between numbers: squared, absolute, relative and logarithmic errors, and the angle between vectors."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import config
from torchkeras_fn.arguments import integer, number
from torchkeras_fn.losses.base import Elementwise, Kernel, Loss, kernel_named


class MeanSquaredError(Elementwise):
    """The mean of `(y_true - y_pred)²` over the last axis.

    >>> MeanSquaredError()([[0.0, 1.0]], [[1.0, 1.0]])
    tensor(0.5000)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_squared_error", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(y_pred, y_true, reduction="none")

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the error over all samples."""
        return F.mse_loss(y_pred, y_true)

    def kernel(self) -> Kernel | None:
        """Return torch's function for the mean."""
        return kernel_named("mse_loss")


class MeanAbsoluteError(Elementwise):
    """The mean of `|y_true - y_pred|` over the last axis.

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[2.0, 1.0]])
    tensor(1.)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_absolute_error", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return F.l1_loss(y_pred, y_true, reduction="none")

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the error over all samples."""
        return F.l1_loss(y_pred, y_true)

    def kernel(self) -> Kernel | None:
        """Return torch's function for the mean."""
        return kernel_named("l1_loss")


class MeanAbsolutePercentageError(Elementwise):
    """The mean of `100 |y_true - y_pred| / |y_true|` over the last axis; targets nearer to 0 than `epsilon()` count as that.

    >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 4.0]])
    tensor(25.)
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_absolute_percentage_error", dtype: Any = None
    ):
        super().__init__(name, reduction, dtype)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return 100 * ((y_true - y_pred) / y_true.abs().clamp(min=config.epsilon())).abs()


class MeanSquaredLogarithmicError(Elementwise):
    """The mean of `(log(1 + y_true) - log(1 + y_pred))²` over the last axis; values below `epsilon()` count as that.

    >>> MeanSquaredLogarithmicError()([[0.0]], [[math.e - 1]])
    tensor(1.0000)
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_squared_logarithmic_error", dtype: Any = None
    ):
        super().__init__(name, reduction, dtype)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        true, pred = (values.clamp(min=config.epsilon()).log1p() for values in (y_true, y_pred))
        return F.mse_loss(pred, true, reduction="none")


class Huber(Elementwise):
    """`d² / 2` for errors `d` up to `delta`, and `delta (|d| - delta / 2)` beyond; the mean over the last axis.

    Raises `ValueError` for a `delta` that is not positive. Formula: https://en.wikipedia.org/wiki/Huber_loss

    >>> Huber()([[0.0, 0.0]], [[1.0, 2.0]])
    tensor(1.)
    """

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.delta = number(delta, "delta", minimum=0)
        if self.delta == 0:
            raise ValueError(f"'delta' must be positive, got {delta!r}.")

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return F.huber_loss(y_pred, y_true, reduction="none", delta=self.delta)

    def mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss over all samples."""
        return F.huber_loss(y_pred, y_true, delta=self.delta)

    def kernel(self) -> Kernel | None:
        """Return torch's function for the mean."""
        return kernel_named("huber_loss", delta=self.delta)


class LogCosh(Elementwise):
    """The mean of `log cosh(y_pred - y_true)` over the last axis, in a form that does not overflow.

    >>> LogCosh()([[0.0]], [[1000.0]])
    tensor(999.3068)
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "log_cosh", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def _elements(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        error = y_pred - y_true
        return error + F.softplus(-2 * error) - math.log(2)


class CosineSimilarity(Loss):
    """Minus the cosine of the angle between targets and predictions along `axis`: -1 for one direction, 1 for opposite ones.

    Vectors shorter than `epsilon()` are divided by that, not by their length.

    >>> CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]])
    tensor(-1.)
    """

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.axis = integer(axis, "axis")

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return minus the cosine of each sample."""
        return -F.cosine_similarity(y_true, y_pred, dim=self.axis, eps=config.epsilon())
