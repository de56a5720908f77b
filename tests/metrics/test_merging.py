"""What several processes have gathered in a metric makes the figure of one that has seen everything."""

import copy

import numpy as np
import pytest
import torch
import torchmetrics

from torchkeras_fn import metrics
from torchkeras_fn.metrics import Metric, TorchMetric
from torchkeras_fn.metrics.merging import _state_of, check_mergeable, merge

OURS = {
    "mean": lambda: metrics.Mean(),
    "sum": lambda: metrics.Sum(),
    "accuracy": lambda: metrics.BinaryAccuracy(),
    "auc": lambda: metrics.AUC(),
    "f1": lambda: metrics.F1Score(),
    "precision": lambda: metrics.Precision(thresholds=[0.2, 0.7]),
    "iou": lambda: metrics.BinaryIoU(),
    "r2": lambda: metrics.R2Score(),
    "rmse": lambda: metrics.RootMeanSquaredError(),
    "specificity": lambda: metrics.SpecificityAtSensitivity(0.5),
    "torchmetrics": lambda: TorchMetric(torchmetrics.AUROC("binary")),
    "collection": lambda: TorchMetric(torchmetrics.MetricCollection([torchmetrics.F1Score("binary"), torchmetrics.Accuracy("binary")])),
}


def merged(parts, into):
    """Let `into`, one of the metrics, take in what all have gathered."""
    merge([into], lambda _: [[_state_of(copy.deepcopy(part))] for part in parts])
    return into


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("seen", [(10, 10, 10), (20, 3, 0), (0, 30, 0)])
def test_parts_make_the_whole(name, seen):
    random = np.random.default_rng(0)
    y_true, y_pred = torch.from_numpy(random.integers(0, 2, (30, 1))).float(), torch.from_numpy(random.random((30, 1)))
    whole, parts = OURS[name](), [OURS[name]() for _ in seen]

    def take_in(metric, rows):
        metric.update_state(y_pred[rows]) if name in ("mean", "sum") else metric.update_state(y_true[rows], y_pred[rows])

    take_in(whole, slice(0, sum(seen)))
    for part, stop, count in zip(parts, np.cumsum(seen), seen, strict=True):
        if count:
            take_in(part, slice(stop - count, stop))
    for part in parts:
        torch.testing.assert_close(merged(parts, copy.deepcopy(part)).result(), whole.result())


class Counting(Metric):
    def __init__(self):
        super().__init__(name="counting")
        self.total, self.seen = self.add_variable(name="total"), 0

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(1.0)
        self.seen += len(y_pred)

    def result(self):
        return self.total / self.seen


def test_attributes_that_differ_are_refused_by_name():
    one, other = Counting(), Counting()
    one.update_state(None, [1, 2])
    with pytest.raises(ValueError, match="'counting' has gathered in its attribute 'seen'"):
        merged([one, other], one)
    other.update_state(None, [3, 4])
    assert float(merged([one, other], one).total) == 2


class Plain(Metric):
    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen = True

    def reset_state(self):
        self.seen = False


def test_what_gathers_in_attributes_alone_is_refused():
    with pytest.raises(ValueError, match="'plain' gathers in attributes of its own.*merge_state"):
        check_mergeable(Plain())
    check_mergeable(Counting())
