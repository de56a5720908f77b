"""Counts at thresholds, precision and recall: both ways of counting, top-k, classes, weights, arguments."""

import pytest
import torch

from torchkeras_fn import metrics
from torchkeras_fn.metrics.confusion import count, threshold_list

COUNTS = [metrics.TruePositives, metrics.FalsePositives, metrics.TrueNegatives, metrics.FalseNegatives]
Y_TRUE, Y_PRED = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.1, 0.6, 0.4, 0.9])


@pytest.mark.parametrize(("make", "number", "weighed"), zip(COUNTS, (1, 1, 1, 1), (8.0, 2.0, 1.0, 4.0), strict=True))
def test_counts(make, number, weighed):
    assert float(make()(Y_TRUE, Y_PRED)) == number
    assert float(make()(Y_TRUE, Y_PRED, torch.tensor([1.0, 2.0, 4.0, 8.0]))) == weighed


@pytest.mark.parametrize(("make", "numbers"), zip(COUNTS, ([2, 1, 0], [2, 1, 0], [0, 1, 2], [0, 1, 2]), strict=True))
def test_counts_at_several_thresholds(make, numbers):
    metric = make(thresholds=[0.05, 0.5, 0.95])
    assert metric(Y_TRUE, Y_PRED).tolist() == numbers
    assert [part.shape for part in metric.variables] == [(3,)]


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("precision", [10, 1000], ids=["on the thresholds", "between"])
def test_both_ways_of_counting_agree(labels, weighted, precision):
    shape = (50, labels)
    positive, predictions = torch.rand(shape) > 0.5, (torch.rand(shape) * precision).round() / precision
    weights = torch.rand(shape) if weighted else None
    thresholds = torch.linspace(0, 1, 11)
    one, other = (count(positive, predictions, thresholds, weights, ordered) for ordered in (False, True))
    for mine, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(mine, theirs)
        assert mine.shape == (11, labels)
    torch.testing.assert_close(sum(one), (weights if weighted else torch.ones(shape)).sum(0, dtype=torch.float64).expand(11, labels))


def test_counts_stay_exact_over_a_long_epoch():
    metric = metrics.TruePositives()
    metric.true_positives.assign(2.0**25)
    metric.update_state([1.0], [1.0])
    assert metric.true_positives.item() == 2**25 + 1


@pytest.mark.parametrize("make", [metrics.Precision, metrics.Recall, metrics.AUC])
def test_nothing_positive_gives_0(make):
    metric = make()
    assert float(metric.result()) == 0.0
    assert float(metric(torch.zeros(3), torch.zeros(3))) == 0.0


def test_top_k_counts_what_is_among_the_largest():
    y_true, y_pred = torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.tensor([[0.9, 0.2, 0.8, 0.1]])
    assert float(metrics.Precision(top_k=2)(y_true, y_pred)) == 0.5
    assert float(metrics.Recall(top_k=3)(y_true, y_pred)) == 1.0
    assert float(metrics.Recall(top_k=3, thresholds=0.5)(y_true, y_pred)) == 0.5


def test_one_class_of_several_with_weights_a_sample_or_an_element():
    y_true, y_pred = torch.eye(2), torch.tensor([[0.9, 0.8], [0.7, 0.6]])
    for weight in (torch.tensor([1.0, 3.0]), torch.tensor([[5.0, 1.0], [5.0, 3.0]])):
        assert float(metrics.Precision(class_id=1)(y_true, y_pred, weight)) == 0.75


def test_targets_count_where_they_are_not_0():
    assert float(metrics.TruePositives()(torch.tensor([2, 0, -1, 1]), torch.ones(4))) == 3.0


def test_integers_and_booleans_are_predictions():
    assert float(metrics.Recall()([1, 1, 0], [1, 0, 0])) == 0.5
    assert float(metrics.Recall()([True, True, False], [True, False, False])) == 0.5


@pytest.mark.parametrize("make", [*COUNTS, metrics.Precision, metrics.Recall, metrics.AUC])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_state_follows_the_predictions(make, device):
    metric = make()
    for _ in range(2):
        metric.update_state(Y_TRUE.to(device), Y_PRED.to(device))
        assert metric.result().device.type == device and {part.device.type for part in metric.variables} == {device}
        metric.reset_state()


def test_thresholds_as_a_list():
    assert [threshold_list(given) for given in (None, 0.3, (0, 1), torch.tensor([0.25]).numpy())] == [[0.5], [0.3], [0.0, 1.0], [0.25]]


@pytest.mark.parametrize("make", [*COUNTS, metrics.Precision, metrics.Recall])
@pytest.mark.parametrize("thresholds", [-0.1, [0.5, 1.1], [None], "half", True])
def test_thresholds_lie_between_0_and_1(make, thresholds):
    with pytest.raises(ValueError, match="'thresholds' must be numbers between 0 and 1"):
        make(thresholds=thresholds)


@pytest.mark.parametrize(
    ("make", "y_pred", "message"),
    [
        (lambda: metrics.Precision(top_k=0), None, "'top_k' must be an integer of at least 1"),
        (lambda: metrics.Recall(class_id=-1), None, "'class_id' must be an integer of at least 0"),
        (lambda: metrics.Recall(class_id=3), torch.zeros(4, 3), "'class_id' is 3, but the predictions have the shape"),
        (lambda: metrics.Recall(class_id=0), torch.zeros(4), "'class_id' is 0, but the predictions have the shape"),
        (lambda: metrics.Precision(top_k=4), torch.zeros(4, 3), "'top_k' is 4, but the predictions have the shape"),
    ],
)
def test_mistakes_are_named(make, y_pred, message):
    with pytest.raises(ValueError, match=message):
        make().update_state(y_pred, y_pred)


def test_targets_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match="do not fit predictions"):
        metrics.Precision().update_state(torch.zeros(4), torch.zeros(4, 3))
