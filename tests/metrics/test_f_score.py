"""F-scores: averages, thresholds, state, arguments."""

import pytest
import torch

from torchkeras_fn import metrics

Y_TRUE = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
Y_PRED = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8], [0.2, 0.1, 0.7]])
BY_CLASS = [2 / 3, 0.0, 1.0]


@pytest.mark.parametrize(
    ("average", "score"), [(None, BY_CLASS), ("micro", 0.75), ("macro", sum(BY_CLASS) / 3), ("weighted", (BY_CLASS[0] + 2) / 4)]
)
def test_averages(average, score):
    result = metrics.F1Score(average=average)(Y_TRUE, Y_PRED)
    assert result.tolist() == pytest.approx(score, abs=1e-6)


def test_no_batches_give_0_and_a_reset_begins_anew():
    metric = metrics.FBetaScore("macro", 2.0)
    assert float(metric.result()) == 0.0 and metric.variables == []
    metric.reset_state()
    first = float(metric(Y_TRUE, Y_PRED))
    metric.reset_state()
    assert float(metric(Y_TRUE, Y_PRED)) == first and len(metric.variables) == 4


def test_one_output_with_flat_targets():
    assert float(metrics.F1Score(threshold=0.5)(torch.tensor([1.0, 0.0]), torch.tensor([[0.9], [0.8]]))) == pytest.approx(2 / 3)


def test_predictions_may_be_booleans():
    called = torch.tensor([[True, False], [False, False], [False, True]])
    assert metrics.F1Score()([[1, 0], [0, 1], [1, 0]], called).tolist() == pytest.approx([2 / 3, 0.0], abs=1e-6)


def test_a_batch_without_weights_counts_as_one_with_weights_of_1():
    plain, weighted = metrics.F1Score("macro"), metrics.F1Score("macro")
    for metric, weight in ((plain, None), (weighted, torch.ones(2))):
        metric.update_state(Y_TRUE[:2], Y_PRED[:2], weight)
        metric.update_state(Y_TRUE[2:], Y_PRED[2:].flip(1), torch.tensor([1.0, 3.0]))
    assert float(plain.result()) == float(weighted.result()) > 0


def test_the_state_follows_the_predictions():
    metric = metrics.F1Score()
    metric.update_state(Y_TRUE.to("meta"), Y_PRED.to("meta"))
    assert metric.result().is_meta


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"average": "mean"}, "'average' must be one of"),
        ({"beta": 0.0}, "'beta' must be above 0"),
        ({"beta": "1"}, "'beta' must be a finite number"),
        ({"threshold": 0.0}, "'threshold' must be above 0 and at most 1"),
        ({"threshold": 1.5}, "'threshold' must be above 0 and at most 1"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        metrics.FBetaScore(**options)


@pytest.mark.parametrize(("y_true", "y_pred"), [((4,), (4,)), ((4, 2, 2), (4, 2, 2)), ((4,), (4, 3))])
def test_arrays_of_another_shape_are_an_error(y_true, y_pred):
    with pytest.raises(ValueError, match="F1Score takes predictions of shape|do not fit"):
        metrics.F1Score().update_state(torch.zeros(y_true), torch.zeros(y_pred))
