"""`TrainingOutputs`: what the training view of a model returns, drawn or not."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple


class TrainingOutputs(NamedTuple):
    """What the training view returns: an entry of `predictions` and `masks` for each output, loss terms, and named figures.

    `back` carries the gradients of the predictions on to the weights, where the view left that to be done after the backward pass.

    >>> import torch
    >>> TrainingOutputs([torch.ones(1)], [None]).losses
    ()
    """

    predictions: Any
    masks: Any
    losses: Any = ()
    metrics: Any = ()
    back: Callable[[], None] | None = None


as_outputs: Callable[[Any], TrainingOutputs] = functools.partial(tuple.__new__, TrainingOutputs)
"""Gives the names of `TrainingOutputs` to the five things that a training view returned, without a frame for each step."""
