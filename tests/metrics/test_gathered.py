"""`gathered` and `take_up`: a metric that another one goes on from."""

import pytest
import torch

from torchkeras_fn.metrics import AUC, F1Score, Mean, MeanIoU, Metric, Precision, R2Score, TorchMetric
from torchkeras_fn.metrics.gathered import gathered, take_up

Y = (torch.arange(12).reshape(6, 2) % 3 == 0).float()
P = torch.linspace(0, 1, 12).reshape(6, 2)


class Nested(Metric):
    """Has metrics in attributes and in a list."""

    def __init__(self):
        super().__init__()
        self.first, self.others, self.values = Precision(), [Precision(thresholds=0.2), F1Score()], []

    def update_state(self, y_true, y_pred, sample_weight=None):
        for metric in (self.first, *self.others):
            metric.update_state(y_true, y_pred)
        self.values.append(y_pred)

    def result(self):
        return self.first.result() + self.others[0].result() + self.others[1].result().sum() + torch.cat(self.values).sum()


class Largest(torch.nn.Module):
    """A metric as torchmetrics makes them."""

    def __init__(self):
        super().__init__()
        self.reset()

    def update(self, preds, target):
        self.values.append(preds.max())

    def compute(self):
        return torch.stack(self.values).sum()

    def reset(self):
        self.values = []


KINDS = {
    "AUC": AUC,
    "AUC of labels": lambda: AUC(multi_label=True),
    "F1Score": F1Score,
    "MeanIoU": lambda: MeanIoU(2),
    "R2Score": R2Score,
    "nested": Nested,
    "torchmetrics": lambda: TorchMetric(Largest()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_metric_goes_on(kind):
    one, other = KINDS[kind](), KINDS[kind]()
    one.update_state(Y[:3], P[:3])
    take_up(other, gathered(one))
    for metric in (one, other):
        metric.update_state(Y[3:], P[3:])
    assert torch.equal(one.result(), other.result())


def test_means_go_on():
    one, other = Mean(), Mean()
    one.add(torch.tensor(3.0), 2, times=2)
    take_up(other, gathered(one))
    assert float(other.result()) == 3.0
    other.reset_state()
    assert float(one.result()) == 3.0


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="A Mean was expected to go on from a state of its own, got one of a Precision"):
        take_up(Mean(), gathered(Precision()))
