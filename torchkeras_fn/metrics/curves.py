"""Figures over evenly spaced thresholds: the area under a curve, and the best of one share where another is good enough."""

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn import config
from torchkeras_fn.arguments import number, one_of, positive_integer
from torchkeras_fn.metrics.confusion import ThresholdMetric, threshold_list
from torchkeras_fn.metrics.state import divide


class _BestUnderConstraint(ThresholdMetric):
    """The largest value of a share, over the thresholds at which another share is at least some value."""

    direction = "up"

    def _constrain(self, value: float, argument: str, num_thresholds: int, class_id: int | None) -> float:
        """Prepare for counting at evenly spaced thresholds; return the value that the constrained share must reach."""
        if not 0 <= number(value, argument) <= 1:
            raise ValueError(f"{argument!r} must be between 0 and 1, got {value!r}.")
        self.num_thresholds = positive_integer(num_thresholds, "num_thresholds")
        self.class_id = None if class_id is None else positive_integer(class_id, "class_id", minimum=0)
        self._gather_at(evenly_spaced(num_thresholds) if num_thresholds > 1 else [0.5], many=num_thresholds > 1)
        return value

    def _prepare(self, y_true: torch.Tensor, y_pred: torch.Tensor, weight: Any) -> tuple[Any, Any, Any]:
        return super()._prepare(y_true, y_pred.clamp(0, 1), weight)

    def _best(self, share: torch.Tensor, constrained: torch.Tensor, value: float) -> torch.Tensor:
        return self._finish(torch.where(constrained >= value, share, 0.0).amax())

    def _share(self, hits: str, misses: str) -> torch.Tensor:
        found: torch.Tensor = getattr(self, hits)
        return divide(found, found + getattr(self, misses))

    @property
    def _sensitivity(self) -> torch.Tensor:
        return self._share("true_positives", "false_negatives")

    @property
    def _specificity(self) -> torch.Tensor:
        return self._share("true_negatives", "false_positives")

    @property
    def _precision(self) -> torch.Tensor:
        return self._share("true_positives", "false_positives")


def evenly_spaced(number_of: int) -> list[float]:
    """Return thresholds from 0 to 1, both included.

    >>> evenly_spaced(3)
    [0.0, 0.5, 1.0]
    """
    return [step / (number_of - 1) for step in range(number_of)]


class SensitivityAtSpecificity(_BestUnderConstraint):
    """The best sensitivity (true positives over positives) among the thresholds with at least the given specificity.

    >>> metric = SensitivityAtSpecificity(0.5)
    >>> float(metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]))
    0.5
    """

    def __init__(
        self, specificity: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ):
        super().__init__(dtype, name)
        self.specificity = self._constrain(specificity, "specificity", num_thresholds, class_id)

    def result(self) -> torch.Tensor:
        """Return the sensitivity, 0 where no threshold will do."""
        return self._best(self._sensitivity, self._specificity, self.specificity)


class SpecificityAtSensitivity(_BestUnderConstraint):
    """The best specificity (true negatives over negatives) among the thresholds with at least the given sensitivity.

    >>> metric = SpecificityAtSensitivity(0.5)
    >>> float(metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]))
    0.6666666865348816
    """

    def __init__(
        self, sensitivity: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ):
        super().__init__(dtype, name)
        self.sensitivity = self._constrain(sensitivity, "sensitivity", num_thresholds, class_id)

    def result(self) -> torch.Tensor:
        """Return the specificity, 0 where no threshold will do."""
        return self._best(self._specificity, self._sensitivity, self.sensitivity)


class PrecisionAtRecall(_BestUnderConstraint):
    """The best precision among the thresholds with at least the given recall.

    >>> metric = PrecisionAtRecall(0.5)
    >>> float(metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]))
    0.5
    """

    def __init__(self, recall: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None):
        super().__init__(dtype, name)
        self.recall = self._constrain(recall, "recall", num_thresholds, class_id)

    def result(self) -> torch.Tensor:
        """Return the precision, 0 where no threshold will do."""
        return self._best(self._precision, self._sensitivity, self.recall)


class RecallAtPrecision(_BestUnderConstraint):
    """The best recall among the thresholds with at least the given precision.

    >>> metric = RecallAtPrecision(0.8)
    >>> float(metric([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]))
    0.5
    """

    def __init__(
        self, precision: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ):
        super().__init__(dtype, name)
        self.precision = self._constrain(precision, "precision", num_thresholds, class_id)

    def result(self) -> torch.Tensor:
        """Return the recall, 0 where no threshold will do."""
        return self._best(self._sensitivity, self._precision, self.precision)


class AUC(ThresholdMetric):
    """The area under a curve, drawn through the points that `num_thresholds` thresholds give.

    `curve` is `'ROC'`, `'PR'` (precision over recall) or `'PRGAIN'` (Flach & Kull, 2015); between two points the area is
    that of the curve (`summation_method='interpolation'`; for PR as in Davis & Goadrich, 2006) or of the lower
    (`'minoring'`) or higher (`'majoring'`) one. `thresholds` between 0 and 1 may be given in place of evenly spaced ones.
    With `multi_label` each of the labels of `(samples, labels)` has a curve, and their areas are averaged with
    `label_weights`; without, `label_weights` weigh the predictions of a label. With `from_logits`, predictions are
    logits. State: four counts for each threshold (and label).

    >>> float(AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]))
    0.75
    """

    direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ):
        super().__init__(dtype, name)
        self.curve = one_of(str(curve).upper(), "curve", "ROC", "PR", "PRGAIN")
        self.summation_method = one_of(str(summation_method).lower(), "summation_method", "interpolation", "majoring", "minoring")
        if num_labels and not multi_label:
            raise ValueError("'num_labels' goes with multi_label=True, as there is one curve otherwise.")
        if thresholds is not None:
            inner = sorted(threshold_list(thresholds))
        else:
            inner = evenly_spaced(positive_integer(num_thresholds, "num_thresholds", minimum=2))[1:-1]
        self.num_thresholds = len(inner) + 2
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self.label_weights = None if label_weights is None else torch.as_tensor(label_weights, dtype=torch.float32)
        self._weights_there: torch.Tensor | None = None
        self._gather_at([-config.epsilon(), *inner, 1 + config.epsilon()], many=True)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments; the thresholds only where they were given."""
        arguments = super().get_config() | {"num_thresholds": self.num_thresholds}
        if arguments["thresholds"] is None:
            del arguments["thresholds"]
        return arguments if self.label_weights is None else arguments | {"label_weights": self.label_weights.tolist()}

    def _make_counters(self, shape: Any) -> None:
        if not self.multi_label:
            super()._make_counters(shape)
        elif self.num_labels:
            super()._make_counters((self.num_thresholds, self.num_labels))

    def _prepare(self, y_true: torch.Tensor, y_pred: torch.Tensor, weight: Any) -> tuple[Any, Any, Any]:
        if self.multi_label and (y_pred.ndim != 2 or y_pred.shape[1] != (self.num_labels or y_pred.shape[1])):
            labels = self.num_labels or "labels"
            raise ValueError(f"With multi_label=True, AUC takes predictions of shape (samples, {labels}), got {tuple(y_pred.shape)}.")
        y_true, y_pred, weight = super()._prepare(y_true, torch.sigmoid(y_pred) if self.from_logits else y_pred.clamp(0, 1), weight)
        if self.label_weights is not None and not self.multi_label:
            by_label = self._label_weights_on(y_pred.device).expand(y_pred.shape)
            weight = by_label if weight is None else weight * by_label
        return y_true, y_pred, weight

    def _count(self, y_true: torch.Tensor, y_pred: torch.Tensor, weight: torch.Tensor | None, labels: int = 1) -> None:
        if self.true_positives is None:
            self.num_labels = y_pred.shape[1]
            self._make_counters(())
        super()._count(y_true, y_pred, weight, self.num_labels or 1)

    def _label_weights_on(self, device: torch.device) -> torch.Tensor:
        if self._weights_there is None or self._weights_there.device != device:
            self._weights_there = self.label_weights.to(device)  # type: ignore[union-attr]
        return self._weights_there

    def reset_state(self) -> None:
        """Forget all batches."""
        if self.true_positives is not None:
            super().reset_state()

    def result(self) -> torch.Tensor:
        """Return the area, 0 for no batches."""
        if self.true_positives is None:
            return self._finish(torch.zeros(()))
        areas = self._areas().sum(0)
        if not self.multi_label or self.label_weights is None:
            return self._finish(areas.mean())
        weights = self._label_weights_on(areas.device)
        return self._finish(divide((areas * weights).sum(), weights.sum()))

    def _areas(self) -> torch.Tensor:
        """The area between each threshold and the next."""
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._interpolated_precision()
        x, y = self._points()
        if self.summation_method == "interpolation":
            heights = (y[:-1] + y[1:]) / 2
        else:
            heights = (torch.minimum if self.summation_method == "minoring" else torch.maximum)(y[:-1], y[1:])
        return (x[:-1] - x[1:]) * heights

    def _points(self) -> tuple[torch.Tensor, torch.Tensor]:
        hits, false_alarms, misses = self.true_positives, self.false_positives, self.false_negatives
        recall = divide(hits, hits + misses)
        if self.curve == "ROC":
            return divide(false_alarms, false_alarms + self.true_negatives), recall
        if self.curve == "PR":
            return recall, divide(hits, hits + false_alarms)
        odds = divide(hits + misses, self.true_negatives + false_alarms)
        recall_gain = torch.where(hits == 0, 0.0, 1 - odds * divide(misses, hits)).clamp(min=0)
        return recall_gain, torch.where(hits == 0, 1.0, 1 - odds * divide(false_alarms, hits))

    def _interpolated_precision(self) -> torch.Tensor:
        """Between two points, true positives grow in proportion to all positives: the integral of their ratio over recall."""
        hits, called = self.true_positives, self.true_positives + self.false_positives
        gained = hits[:-1] - hits[1:]
        slope = divide(gained, (called[:-1] - called[1:]).clamp(min=0))
        start = hits[1:] - slope * called[1:]
        both = (called[:-1] > 0) & (called[1:] > 0)
        ratio = torch.where(both, divide(called[:-1], called[1:]), 1.0)
        return divide(slope * (gained + start * ratio.log()), (hits[1:] + self.false_negatives[1:]).clamp(min=0))
