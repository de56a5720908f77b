"""Figures of regression: edge cases, state, arguments."""

import pytest
import torch

from torchkeras_fn import losses, metrics


def test_the_root_is_taken_of_the_mean_over_all_batches():
    metric = metrics.RootMeanSquaredError()
    metric.update_state(torch.zeros(3), torch.full((3, 1), 2.0))
    metric.update_state(torch.zeros(1), torch.zeros(1, 1))
    assert float(metric.result()) == pytest.approx(3**0.5)


def test_similarity_and_correlation_of_what_does_not_vary_are_0():
    constant = torch.ones(2, 3)
    assert metrics.pearson_correlation(constant, torch.rand(2, 3)).tolist() == [0.0, 0.0]
    assert metrics.cosine_similarity(torch.zeros(2, 3), torch.rand(2, 3)).tolist() == [0.0, 0.0]
    assert metrics.concordance_correlation(constant, torch.rand(2, 3)).tolist() == [0.0, 0.0]


def test_the_similarity_is_the_negative_of_the_loss():
    y_true, y_pred = torch.rand(4, 3), torch.rand(4, 3)
    torch.testing.assert_close(metrics.cosine_similarity(y_true, y_pred), -losses.cosine_similarity(y_true, y_pred))
    assert metrics.cosine_proximity is metrics.cosine_similarity


@pytest.mark.parametrize("name", ["cosine_similarity", "cosine_proximity", "CosineSimilarity", "cosine"])
def test_as_a_metric_similarity_is_positive(name):
    assert float(metrics.get(name)(torch.ones(1, 3), torch.ones(1, 3))) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["CosineSimilarity", "PearsonCorrelation", "ConcordanceCorrelation", "RootMeanSquaredError", "R2Score"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool], ids=str)
def test_predictions_may_be_whole_numbers_or_booleans(name, dtype):
    y_true, y_pred = torch.tensor([[1, 0, 1], [0, 0, 1]], dtype=dtype), torch.tensor([[1, 1, 0], [1, 0, 1]], dtype=dtype)
    metric = getattr(metrics, name)
    torch.testing.assert_close(metric()(y_true, y_pred), metric()(y_true.float(), y_pred.float()))


@pytest.mark.parametrize("name", ["CosineSimilarity", "PearsonCorrelation", "ConcordanceCorrelation", "RootMeanSquaredError", "R2Score"])
def test_targets_keep_their_precision_beside_predictions_in_half(name):
    y_true, y_pred = torch.tensor([[70000.0, 1.0003], [3.0, 2.0]]), torch.tensor([[2.0, 1.0], [3.0, 4.0]])
    metric = getattr(metrics, name)
    torch.testing.assert_close(metric()(y_true, y_pred.half()), metric()(y_true, y_pred))


def test_explained_variance_over_batches_is_that_of_all_samples():
    y_true, y_pred = torch.randn(20, 1), torch.randn(20, 1)
    metric = metrics.R2Score()
    for rows in (slice(0, 3), slice(3, 20)):
        metric.update_state(y_true[rows], y_pred[rows])
    expected = 1 - (y_true - y_pred).square().sum() / (y_true - y_true.mean()).square().sum()
    assert float(metric.result()) == pytest.approx(float(expected), rel=1e-5)


def test_targets_that_vary_little_are_explained_as_well():
    assert float(metrics.R2Score()([[0.1], [0.2], [0.3]], [[0.1], [0.2], [0.25]])) == pytest.approx(1 - 0.05**2 / 0.02, rel=1e-4)


def test_large_targets_do_not_lose_the_variance():
    y_true = 1e4 + torch.randn(50, 1)
    assert float(metrics.R2Score()(y_true, y_true + 0.1)) == pytest.approx(1 - 0.01 / float(y_true.var(correction=0)), rel=1e-2)


def test_targets_that_do_not_vary_score_0():
    assert float(metrics.R2Score()(torch.ones(3, 1), torch.rand(3, 1))) == 0.0
    assert float(metrics.R2Score().result()) == 0.0


def test_the_variables_of_the_score():
    metric = metrics.R2Score()
    metric.update_state(torch.zeros(3), torch.zeros(3, 1))
    assert [state.name for state in metric.variables] == ["num_samples", "squared_sum", "sum", "residual", "count"]
    metric.reset_state()
    assert all(float(state.sum()) == 0 for state in metric.variables)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.R2Score(class_aggregation="mean"), "'class_aggregation' must be one of"),
        (lambda: metrics.R2Score(num_regressors=-1), "'num_regressors' must be an integer of at least 0"),
        (lambda: metrics.R2Score().update_state(torch.zeros(2, 2, 2), torch.zeros(2, 2, 2)), "R2Score takes predictions of shape"),
        (lambda: metrics.R2Score().update_state(torch.zeros(2), torch.zeros(2, 2)), "do not fit predictions"),
        (lambda: metrics.RootMeanSquaredError().update_state(torch.zeros(2), torch.zeros(2, 2)), "do not fit predictions"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
