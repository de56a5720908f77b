"""Losses of overlap: values, the axes that are summed over, limits."""

import json

import pytest
import torch

from torchkeras_fn import losses

MASKS = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])
SHARES = torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 0.0], [0.5, 1.0]]])


def test_values():
    assert losses.Dice()(MASKS, SHARES).item() == pytest.approx(1 - 2 * 2.5 / (4 + 3.5))
    assert losses.Tversky(0.2, 0.6)(MASKS, SHARES).item() == pytest.approx(1 - 2.5 / (2.5 + 0.2 * 1.5 + 0.6 * 1.0))


def test_tversky_of_a_half_each_is_dice():
    torch.testing.assert_close(losses.Tversky()(MASKS, SHARES), losses.Dice()(MASKS, SHARES))


@pytest.mark.parametrize("kind", [losses.Dice, losses.Tversky])
def test_the_axes_that_are_summed_over(kind):
    values = kind(axis=(1, 2), reduction="none")(MASKS, SHARES)
    torch.testing.assert_close(values, torch.stack([kind()(true, pred) for true, pred in zip(MASKS, SHARES, strict=True)]))
    torch.testing.assert_close(kind(axis=[1, 2])(MASKS, SHARES, torch.tensor([2.0, 1.0])), (2 * values[0] + values[1]) / 2)
    assert kind(axis=-1, reduction="none")(MASKS, SHARES).shape == (2, 2)
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(kind(axis=(1, 2))))))
    torch.testing.assert_close(again(MASKS, SHARES), values.mean())


@pytest.mark.parametrize("kind", [losses.Dice, losses.Tversky])
def test_a_loss_of_the_whole_batch_is_weighted_as_one(kind):
    torch.testing.assert_close(kind()(MASKS, SHARES, torch.tensor([3.0, 1.0])), 2 * kind()(MASKS, SHARES))


@pytest.mark.parametrize("kind", [losses.Dice, losses.Tversky])
def test_empty_masks_give_finite_losses_and_gradients(kind):
    y_pred = torch.zeros(2, 3, requires_grad=True)
    value = kind()(torch.zeros(2, 3), y_pred)
    value.backward()
    assert value.item() == 1.0 and torch.isfinite(y_pred.grad).all()


@pytest.mark.parametrize("axis", ["all", 1.5, (0, None)])
def test_mistakes_are_named(axis):
    with pytest.raises(ValueError, match="'axis' must be an integer"):
        losses.Dice(axis=axis)
