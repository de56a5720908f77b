"""F-scores: precision and recall in one figure, class by class or averaged."""

from typing import Any

import torch

from torchkeras_fn import config
from torchkeras_fn.alignment import align
from torchkeras_fn.arguments import number, one_of
from torchkeras_fn.metrics.base import Metric
from torchkeras_fn.metrics.state import spread_weights, supported

_COUNTERS = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")


class FBetaScore(Metric):
    """`(1 + β²) · precision · recall / (β² · precision + recall)` of each class, for arrays of shape `(samples, classes)`.

    `average` is `None` (a value per class), `'micro'` (classes counted together), `'macro'` (the mean over the classes)
    or `'weighted'` (by how often a class is a target). A class is predicted where its score is above `threshold`; with
    `None`, where it is the largest of the sample and not 0.

    >>> FBetaScore(beta=2.0, threshold=0.5)([[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]])
    tensor([0.3846, 0.9091, 0.8333])
    """

    direction = "up"
    true_positives: Any = None
    false_positives: Any = None
    false_negatives: Any = None
    intermediate_weights: Any = None

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ):
        super().__init__(dtype, name)
        if average is not None:
            one_of(average, "average", "micro", "macro", "weighted")
        if number(beta, "beta") <= 0:
            raise ValueError(f"'beta' must be above 0, got {beta!r}.")
        if threshold is not None and not 0 < number(threshold, "threshold") <= 1:
            raise ValueError(f"'threshold' must be above 0 and at most 1, or None; got {threshold!r}.")
        self.average, self.beta, self.threshold = average, float(beta), threshold

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for arrays that are not both of shape `(samples, classes)`."""
        y_true = align(y_true, y_pred)
        if y_pred.ndim != 2:
            raise ValueError(f"{type(self).__name__} takes predictions of shape (samples, classes), got {tuple(y_pred.shape)}.")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        y_true, y_pred = torch.as_tensor(y_true), torch.as_tensor(y_pred)
        self.check(y_true, y_pred)
        self._build(y_pred)
        predicted = self._predicted(y_pred).float()
        y_true = align(y_true, y_pred).float()
        weight = 1.0 if sample_weight is None else spread_weights(sample_weight, predicted)
        both, either = predicted * y_true * weight, (predicted * weight, y_true * weight)
        axes = (0, 1) if self.average == "micro" else 0
        precise = supported(torch.float64, y_pred.device)
        hits, called, targets = (values.sum(axes, dtype=precise) for values in (both, *either))
        for name, amount in zip(_COUNTERS, (hits, called - hits, targets - hits, targets), strict=True):
            getattr(self, name).add_(amount)

    def _build(self, y_pred: torch.Tensor) -> None:
        if self.true_positives is None:
            shape = () if self.average == "micro" else (y_pred.shape[-1],)
            for name in _COUNTERS:
                setattr(self, name, self._counter(shape, name))
            self._follow(y_pred.device)

    def _predicted(self, y_pred: torch.Tensor) -> torch.Tensor:
        if self.threshold is not None:
            return y_pred > self.threshold
        return (y_pred >= y_pred.amax(-1, keepdim=True)) & (y_pred.float().abs() > 1e-9)

    def reset_state(self) -> None:
        """Forget all batches."""
        if self.true_positives is not None:
            super().reset_state()

    def result(self) -> torch.Tensor:
        """Return the score, one for each class with `average=None`; 0 for no batches."""
        if self.true_positives is None:
            return self._finish(torch.zeros(()))
        epsilon = config.epsilon()
        precision = self.true_positives / (self.true_positives + self.false_positives + epsilon)
        recall = self.true_positives / (self.true_positives + self.false_negatives + epsilon)
        score = (1 + self.beta**2) * precision * recall / (self.beta**2 * precision + recall + epsilon)
        if self.average == "weighted":
            score = (score * self.intermediate_weights / (self.intermediate_weights.sum() + epsilon)).sum()
        return self._finish(score if self.average is None else score.mean())


class F1Score(FBetaScore):
    """`2 · precision · recall / (precision + recall)` of each class: `FBetaScore` with `beta=1`.

    >>> round(float(F1Score(average="micro")([[0.0, 1.0], [1.0, 0.0]], [[0.3, 0.7], [0.4, 0.6]])), 4)
    0.5
    """

    def __init__(self, average: str | None = None, threshold: float | None = None, name: str | None = "f1_score", dtype: Any = None):
        super().__init__(average, 1.0, threshold, name, dtype)
