"""Losses between numbers: their values, and the values at which a formula would break."""

import math

import pytest
import torch

from torchkeras_fn import losses

TRUE = [[1.0, -2.0], [0.0, 4.0]]
PRED = [[2.0, -2.0], [3.0, 0.0]]


@pytest.mark.parametrize(
    ("loss", "values"),
    [
        (losses.MeanSquaredError, [0.5, 12.5]),
        (losses.MeanAbsoluteError, [0.5, 3.5]),
        (losses.MeanAbsolutePercentageError, [50.0, 100 * (3e7 + 1) / 2]),
        (losses.MeanSquaredLogarithmicError, [(math.log(2) - math.log(3)) ** 2 / 2, (math.log(4) ** 2 + math.log(5) ** 2) / 2]),
        (losses.Huber, [0.25, (2.5 + 3.5) / 2]),
        (losses.LogCosh, [math.log(math.cosh(1)) / 2, (math.log(math.cosh(3)) + math.log(math.cosh(4))) / 2]),
        (losses.CosineSimilarity, [-6 / math.sqrt(5 * 8), 0.0]),
    ],
)
def test_the_value_of_each_sample(loss, values):
    torch.testing.assert_close(loss(reduction="none")(TRUE, PRED), torch.tensor(values), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss()(TRUE, PRED), torch.tensor(values).mean(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("delta", "value"), [(1.0, 2.5), (3.0, 4.5), (0.5, 0.5 * 2.75)])
def test_huber_is_linear_beyond_delta(delta, value):
    assert losses.Huber(delta)([[0.0]], [[3.0]]).item() == pytest.approx(value)


def test_cosine_similarity_is_minus_1_for_one_direction():
    loss = losses.CosineSimilarity(reduction="none")
    torch.testing.assert_close(loss([[1.0, 1.0]] * 3, [[2.0, 2.0], [-3.0, -3.0], [1.0, -1.0]]), torch.tensor([-1.0, 1.0, 0.0]))


def test_cosine_similarity_along_another_axis():
    y_true, y_pred = torch.rand(2, 3, 4), torch.rand(2, 3, 4)
    along = losses.CosineSimilarity(axis=1, reduction="none")(y_true, y_pred)
    torch.testing.assert_close(along, losses.CosineSimilarity(reduction="none")(y_true.mT, y_pred.mT))


@pytest.mark.parametrize(
    ("loss", "true", "pred"),
    [
        (losses.MeanAbsolutePercentageError(), 0.0, 1.0),
        (losses.MeanSquaredLogarithmicError(), 0.0, -1.0),
        (losses.LogCosh(), 0.0, 1e4),
        (losses.LogCosh(), 0.0, -1e4),
        (losses.CosineSimilarity(), 1.0, 0.0),
        (losses.CosineSimilarity(), 0.0, 0.0),
    ],
)
def test_limits_give_finite_losses_and_gradients(loss, true, pred):
    y_pred = torch.full((2, 3), pred, requires_grad=True)
    value = loss(torch.full((2, 3), true), y_pred)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(y_pred.grad).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.Huber(0), "'delta' must be positive, got 0"),
        (lambda: losses.Huber(-1), "'delta' must be a finite number of at least 0, got -1"),
        (lambda: losses.CosineSimilarity(True), "'axis' must be an integer, got True"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
