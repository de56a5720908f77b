"""Figures of regression that are no mean of a loss: root of the mean square, similarity, correlation, explained variance."""

from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import config
from torchkeras_fn.alignment import align, as_tensor
from torchkeras_fn.arguments import one_of, positive_integer
from torchkeras_fn.metrics.base import Metric
from torchkeras_fn.metrics.reduction import Mean, MeanMetricWrapper
from torchkeras_fn.metrics.state import spread_weights


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return the cosine of the angle between targets and predictions along an axis: 1 for one direction, -1 for opposite ones.

    As a *loss*, the function of this name returns the negative.

    >>> cosine_similarity([[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]])
    tensor([0.0000, 1.0000])
    """
    return F.cosine_similarity(*_as_floats(y_true, y_pred), axis)


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return Pearson's correlation of targets and predictions along an axis, 0 where one of them does not vary.

    >>> pearson_correlation([[0.0, 1.0, 0.5]], [[0.1, 0.9, 0.5]])
    tensor([1.])
    """
    y_true, y_pred = _as_floats(y_true, y_pred)
    return F.cosine_similarity(y_true - y_true.mean(axis, keepdim=True), y_pred - y_pred.mean(axis, keepdim=True), axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return Lin's concordance correlation (1989) along an axis: how near the points lie to the line `y_true = y_pred`.

    >>> concordance_correlation([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]])
    tensor([1.0000])
    """
    y_true, y_pred = _as_floats(y_true, y_pred)
    means = [values.mean(axis, keepdim=True) for values in (y_true, y_pred)]
    off_true, off_pred = y_true - means[0], y_pred - means[1]
    spread = off_true.square().mean(axis) + off_pred.square().mean(axis) + (means[0] - means[1]).square().squeeze(axis)
    correlation: torch.Tensor = 2 * (off_true * off_pred).mean(axis) / (spread + config.epsilon())
    return correlation


def _as_floats(y_true: Any, y_pred: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets and predictions of one shape, in float32 or finer: in half precision large targets would be infinite."""
    y_pred = as_tensor(y_pred)
    wanted = torch.promote_types(y_pred.dtype, torch.float32)
    y_pred = y_pred if y_pred.dtype == wanted else y_pred.to(wanted)
    return align(as_tensor(y_true, like=y_pred), y_pred), y_pred


class _AlongAxis(MeanMetricWrapper):
    direction = "up"

    def _along(self, axis: int) -> None:
        self.axis = axis
        self.options = {"axis": axis}

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the value of each sample."""
        value: torch.Tensor = self.fn(y_true, y_pred, axis=self.axis)
        return value


class CosineSimilarity(_AlongAxis):
    """The mean cosine of the angle between targets and predictions along `axis`.

    >>> float(CosineSimilarity()([[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]))
    0.5
    """

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1):
        super().__init__(cosine_similarity, name, dtype)
        self._along(axis)


class PearsonCorrelation(_AlongAxis):
    """The mean of Pearson's correlations of targets and predictions along `axis`.

    >>> round(float(PearsonCorrelation()([[0.0, 1.0, 0.5]], [[1.0, 0.0, 0.5]])), 4)
    -1.0
    """

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(pearson_correlation, name, dtype)
        self._along(axis)


class ConcordanceCorrelation(_AlongAxis):
    """The mean of Lin's concordance correlations (1989) of targets and predictions along `axis`.

    >>> round(float(ConcordanceCorrelation()([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]])), 6)
    1.0
    """

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(concordance_correlation, name, dtype)
        self._along(axis)


class RootMeanSquaredError(Mean):
    """The square root of the mean of all squared errors.

    >>> float(RootMeanSquaredError()([[0.0], [0.0]], [[4.0], [4.0]]))
    4.0
    """

    direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for targets that do not fit."""
        align(y_true, y_pred)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in a batch."""
        y_true, y_pred = _as_floats(y_true, y_pred)
        self._gather((y_true - y_pred).square(), sample_weight)

    def result(self) -> torch.Tensor:
        """Return the root of the mean."""
        return super().result().sqrt()


class R2Score(Metric):
    """The share of the targets' variance that the predictions explain, for arrays of shape `(samples, outputs)`.

    `class_aggregation` is `'uniform_average'` over the outputs, `'variance_weighted_average'`, or `None` for a value
    per output. With `num_regressors` the score is adjusted for that many explaining variables, once there are
    more values than that. An output whose targets do not vary scores 0.

    >>> float(R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]]))
    0.5714285969734192
    """

    direction = "up"
    squared_sum: Any = None
    sum: Any = None
    total_mse: Any = None
    count: Any = None

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ):
        super().__init__(dtype, name)
        if class_aggregation is not None:
            one_of(class_aggregation, "class_aggregation", "uniform_average", "variance_weighted_average")
        self.class_aggregation = class_aggregation
        self.num_regressors = positive_integer(num_regressors, "num_regressors", minimum=0)
        self.num_samples = self._counter((), "num_samples")

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for arrays that are not both of shape `(samples, outputs)`, or `(samples,)` for one output."""
        align(y_true, y_pred)
        if y_pred.ndim not in (1, 2):
            raise ValueError(f"R2Score takes predictions of shape (samples, outputs), got {tuple(y_pred.shape)}.")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        y_true, y_pred = torch.as_tensor(y_true), torch.as_tensor(y_pred)
        self.check(y_true, y_pred)
        y_pred = y_pred.to(self.num_samples.dtype)
        y_true = align(y_true, y_pred).reshape(len(y_pred), -1)
        y_pred = y_pred.reshape(y_true.shape)
        weight = torch.ones_like(y_true) if sample_weight is None else spread_weights(sample_weight, y_true)
        if self.squared_sum is None:
            for name, called in (("squared_sum", "squared_sum"), ("sum", "sum"), ("total_mse", "residual"), ("count", "count")):
                setattr(self, name, self._counter((y_true.shape[1],), called))
            self._follow(y_pred.device)
        self.sum.add_((y_true * weight).sum(0))
        self.squared_sum.add_((y_true.square() * weight).sum(0))
        self.total_mse.add_(((y_true - y_pred).square() * weight).sum(0))
        self.count.add_(weight.sum(0))
        self.num_samples.add_(y_true.numel())

    def result(self) -> torch.Tensor:
        """Return the score, one for each output with `class_aggregation=None`; 0 for no batches."""
        if self.squared_sum is None:
            return self._finish(torch.zeros(()))
        total = self.squared_sum - self.sum.square() / self.count
        score = torch.where(total > 0, 1 - self.total_mse / total, 0.0)
        if self.class_aggregation == "uniform_average":
            score = score.mean()
        elif self.class_aggregation == "variance_weighted_average":
            score = (total * score).sum() / total.sum()
        if self.num_regressors:
            freedom = self.num_samples - self.num_regressors - 1
            score = torch.where(freedom > 0, 1 - (1 - score) * (self.num_samples - 1) / freedom, score)
        return self._finish(score)
