"""What is asked of torch's own optimizers."""

import functools

import pytest
import torch

from torchkeras_fn.optimizers import takes_closure


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (torch.optim.LBFGS, True),
        (functools.partial(torch.optim.LBFGS, lr=0.1), True),
        (torch.optim.LBFGS([torch.ones(1)]), True),
        (torch.optim.Adam, False),
        (torch.optim.Adam([torch.ones(1)]), False),
        (lambda parameters: None, False),
    ],
)
def test_who_takes_a_closure(optimizer, expected):
    assert takes_closure(optimizer) is expected
