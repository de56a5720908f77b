"""Losses as metrics: the mean of a loss over all samples of an epoch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchkeras_fn import losses
from torchkeras_fn.alignment import as_tensor, combine, weighted
from torchkeras_fn.metrics.reduction import Mean, MeanMetricWrapper


class LossMetric(MeanMetricWrapper):
    """A loss as a metric: the mean of its values over all samples.

    `like_the_loss` says how it is averaged as one of `weighted_metrics`: as losses are, by the number of samples, so that
    the two agree; or, as other metrics are, by the sum of the weights.

    >>> float(LossMetric(losses.MeanSquaredError(), name="mse")(torch.zeros(2, 1), torch.ones(2, 1)))
    1.0
    """

    direction = "down"
    like_the_loss = True

    def __init__(self, loss: losses.Loss, name: str | None = None, dtype: Any = None):
        super().__init__(loss.call, name or loss.name or type(loss).__name__, dtype)
        self.loss = loss

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a metric like the one described, of a loss that may be described too."""
        return cls(**{**config, "loss": losses.as_loss(config["loss"])} if "loss" in config else config)

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for targets that do not fit."""
        self.loss.align(y_true, y_pred)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in a batch."""
        y_pred = torch.as_tensor(y_pred)
        self._gather_loss(self.loss, as_tensor(y_true, like=y_pred), y_pred, sample_weight)

    def _gather_loss(self, loss: losses.Loss, y_true: torch.Tensor, y_pred: torch.Tensor, weight: Any) -> None:
        y_true, y_pred = loss.prepare(y_true, y_pred)
        values, shares = loss.call(y_true, y_pred), loss.shares(y_true, y_pred)
        if shares is not None:  # the mean is that of all samples, each by its share
            self._gather_sums(weighted(values, weight).sum(), weighted(shares, weight).sum())
            return
        if weight is not None:  # without weights, an ignored class counts as a loss of 0, as in Keras
            weight = combine(weight, loss.valid(y_true, values))
        self._gather_for(y_pred, values, weight)

    def _gather_sums(self, total: torch.Tensor, count: torch.Tensor) -> None:
        self.add(total, 0)
        self.count.add_(count)

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return an update with the loss's own form for logits."""
        loss = self.loss.on_logits(kind)
        if loss is None or not self.is_plain:
            return None
        return lambda y_true, y_pred, weight: self._gather_loss(loss, y_true, y_pred, weight)

    def averaged_as_the_loss(self, kind: str | None = None) -> "Callable[[Any, Any, Any], None] | None":
        """Return an update that divides by the number of samples, as losses do, not by the sum of the weights.

        With a `kind` it is one for logits, `None` where the loss has no such form.
        """
        loss = self.loss if kind is None else self.loss.on_logits(kind)
        return None if loss is None else _AverageOfLosses(self, loss)


class _AverageOfLosses:
    """Adds the loss of a batch to a metric, once for each sample."""

    is_like_a_loss = True

    def __init__(self, metric: Mean, loss: losses.Loss):
        self.metric, self.loss = metric, loss

    def __call__(self, y_true: torch.Tensor, y_pred: torch.Tensor, weight: Any, mask: Any = None) -> None:
        value = self.loss.average(*self.loss.prepare(y_true, y_pred), weight, mask)
        self.metric.add(value, len(y_pred), times=len(y_pred))


class _KerasMetric(LossMetric):
    """A class of Keras' own, which is averaged by the sum of the weights wherever it stands."""

    like_the_loss = False


class MeanSquaredError(_KerasMetric):
    """The mean of `(y_true - y_pred)²`.

    >>> float(MeanSquaredError()([[0.0, 1.0]], [[1.0, 1.0]]))
    0.5
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None):
        super().__init__(losses.MeanSquaredError(), name, dtype)


class MeanAbsoluteError(_KerasMetric):
    """The mean of `|y_true - y_pred|`.

    >>> float(MeanAbsoluteError()([[0.0, 1.0]], [[2.0, 1.0]]))
    1.0
    """

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None):
        super().__init__(losses.MeanAbsoluteError(), name, dtype)


class MeanAbsolutePercentageError(_KerasMetric):
    """The mean of `100 · |y_true - y_pred| / |y_true|`, in per cent.

    >>> float(MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 4.0]]))
    25.0
    """

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None):
        super().__init__(losses.MeanAbsolutePercentageError(), name, dtype)


class MeanSquaredLogarithmicError(_KerasMetric):
    """The mean of `(log(y_true + 1) - log(y_pred + 1))²`.

    >>> float(MeanSquaredLogarithmicError()([[0.0]], [[0.0]]))
    0.0
    """

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None):
        super().__init__(losses.MeanSquaredLogarithmicError(), name, dtype)


class LogCoshError(_KerasMetric):
    """The mean of `log(cosh(y_pred - y_true))`.

    >>> float(LogCoshError()([[0.0]], [[0.0]]))
    0.0
    """

    def __init__(self, name: str | None = "logcosh", dtype: Any = None):
        super().__init__(losses.LogCosh(), name, dtype)


class Hinge(_KerasMetric):
    """The mean of `max(1 - y_true · y_pred, 0)`, for targets of -1 and 1 (or 0 and 1).

    >>> float(Hinge()([[-1.0, 1.0]], [[-1.0, 0.5]]))
    0.25
    """

    def __init__(self, name: str | None = "hinge", dtype: Any = None):
        super().__init__(losses.Hinge(), name, dtype)


class SquaredHinge(_KerasMetric):
    """The mean of `max(1 - y_true · y_pred, 0)²`, for targets of -1 and 1 (or 0 and 1).

    >>> float(SquaredHinge()([[-1.0, 1.0]], [[-1.0, 0.5]]))
    0.125
    """

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None):
        super().__init__(losses.SquaredHinge(), name, dtype)


class CategoricalHinge(_KerasMetric):
    """The mean of `max(1 + the largest prediction of another class - that of the true class, 0)`, for one-hot targets.

    >>> float(CategoricalHinge()([[0.0, 1.0]], [[0.5, 1.0]]))
    0.5
    """

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None):
        super().__init__(losses.CategoricalHinge(), name, dtype)


class KLDivergence(_KerasMetric):
    """The mean of `Σ y_true · log(y_true / y_pred)` over distributions.

    >>> float(KLDivergence()([[0.5, 0.5]], [[0.5, 0.5]]))
    0.0
    """

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None):
        super().__init__(losses.KLDivergence(), name, dtype)


class Poisson(_KerasMetric):
    """The mean of `y_pred - y_true · log(y_pred)`, for counts.

    >>> float(Poisson()([[0.0, 0.0]], [[1.0, 2.0]]))
    1.5
    """

    def __init__(self, name: str | None = "poisson", dtype: Any = None):
        super().__init__(losses.Poisson(), name, dtype)


class BinaryCrossentropy(_KerasMetric):
    """The mean binary crossentropy.

    >>> round(float(BinaryCrossentropy()([[1.0]], [[0.5]])), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ):
        super().__init__(losses.BinaryCrossentropy(from_logits, label_smoothing), name, dtype)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


class CategoricalCrossentropy(_KerasMetric):
    """The mean crossentropy of one-hot or other distributions; the classes lie along `axis`.

    >>> round(float(CategoricalCrossentropy()([[1.0, 0.0]], [[0.5, 0.5]])), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ):
        super().__init__(losses.CategoricalCrossentropy(from_logits, label_smoothing, axis), name, dtype)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


class SparseCategoricalCrossentropy(_KerasMetric):
    """The mean crossentropy of class indices; the classes lie along `axis`.

    A target of `ignore_class` counts as a crossentropy of 0, or not at all where there are weights or a mask, as in Keras.

    >>> round(float(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]])), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(losses.SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis), name, dtype)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis
