"""The hinge family: values, and how labels of 0 and 1 are read."""

import pytest
import torch

from torchkeras_fn import losses

SIGNS = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
SCORES = torch.tensor([[2.0, 0.5], [-0.5, -1.0]])


@pytest.mark.parametrize(
    ("kind", "values"),
    [(losses.Hinge, [0.75, 1.25]), (losses.SquaredHinge, [1.125, 2.125])],
)
@pytest.mark.parametrize("y_true", [SIGNS, (SIGNS + 1) / 2, SIGNS > 0], ids=["signs", "zeros and ones", "booleans"])
def test_values_and_labels(kind, values, y_true):
    torch.testing.assert_close(kind(reduction="none")(y_true, SCORES), torch.tensor(values))
    torch.testing.assert_close(kind()(y_true, SCORES), torch.tensor(values).mean())


def test_targets_that_are_not_all_labels_stay_as_they_are():
    y_true = torch.tensor([[0.0, 0.5]])
    torch.testing.assert_close(losses.Hinge()(y_true, torch.tensor([[3.0, 1.0]])), torch.tensor(0.75))


def test_the_best_wrong_class_comes_within_1():
    loss = losses.CategoricalHinge(reduction="none")
    y_true = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(loss(y_true, torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.5, 0.2]])), torch.tensor([0.0, 1.5]))
