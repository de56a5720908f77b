"""Parameters, optimizers that are bound to them, and steps with a gradient that is the same for all."""

import torch
from torch import nn


def parameter(*values):
    return nn.Parameter(torch.tensor(values or (1.0, -2.0, 3.0)))


def bound(optimizer, *parameters):
    optimizer.bind(parameters or [parameter()])
    return optimizer


def step(optimizer, gradient):
    """Take a step with a gradient that is the same for all parameters."""
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.full_like(p, gradient)
    optimizer.step()
