"""Connectionist temporal classification: likelihoods of short sequences, padding, types, shapes."""

import math

import pytest
import torch

from torchkeras_fn import losses


def test_the_likelihood_of_all_ways_to_lay_a_label():
    # Of the 4 paths of two steps over {blank, 1}, three spell "1".
    assert losses.CTC()([[1]], torch.zeros(1, 2, 2)).item() == pytest.approx(-math.log(3 / 4))


def test_blanks_pad_the_labels():
    logits = torch.randn(2, 6, 4)
    padded = losses.ctc([[1, 2, 0, 0], [3, 3, 1, 0]], logits)
    torch.testing.assert_close(padded[0], losses.ctc([[1, 2]], logits[:1])[0])
    torch.testing.assert_close(padded[1], losses.ctc([[3, 3, 1]], logits[1:])[0])
    weighted = losses.CTC()([[1, 2, 0, 0], [3, 3, 1, 0]], logits, torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(weighted, (2 * padded[0] + padded[1]) / 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_types(dtype):
    logits = torch.randn(1, 5, 3).to(dtype).requires_grad_()
    losses.CTC()(torch.tensor([[1.0, 2.0]]), logits).backward()
    assert logits.grad.dtype == dtype and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("labels", "logits"), [((2,), (2, 5, 3)), ((2, 3), (2, 5)), ((2, 3), (3, 5, 3)), ((2, 3, 1), (2, 5, 3))])
def test_other_shapes_are_an_error(labels, logits):
    with pytest.raises(ValueError, match="CTC takes labels"):
        losses.CTC()(torch.ones(labels), torch.zeros(logits))
