"""`Portion`: what one of several processes has of a step that all of them take together, and what that means for sums and means.

The mean of the processes' losses, each by its share of the rows, is the loss of all rows together where every term of a loss
is a mean over rows. Sums, and means over what a mask shows, are made such terms here. A single process pays for a look.
"""

from typing import Any

import torch


class Portion:
    """`rows` of the `total` that a step works on are this process's. One of 0 rows takes part with others' rows, which count nothing.

    `processes` are those that take the step together, `count` of them.

    >>> portion = Portion(1, 4, count=2)
    >>> portion.weight, portion.spread
    (0.5, 4.0)
    """

    def __init__(self, rows: int, total: int, count: int, processes: Any = None, sync_batchnorm: bool = False):
        self.rows, self.total, self.processes = rows, total, processes
        self.sync_batchnorm = sync_batchnorm
        self.share = rows / total if total else 0.0
        self.weight = count * self.share
        """What a loss counts, if the mean of the gradients of all processes is taken."""
        self.spread = total / rows if rows else 1.0
        """How many times this process's rows go into all."""


_current: Portion | None = None


def current() -> Portion | None:
    """Return the portion of the step that is under way; `None` for a process that takes its steps alone."""
    return _current


def take(portion: Portion | None) -> Portion | None:
    """Begin a step with this portion, and return that of the step before.

    >>> before = take(Portion(1, 2, count=2))
    >>> take(before).rows
    1
    """
    global _current
    before, _current = _current, portion
    return before


def of_sum(value: Any) -> Any:
    """Return a sum over the rows of a batch as a term of the loss, of which the mean over the processes, by their rows, is taken.

    >>> of_sum(torch.ones(()))
    tensor(1.)
    """
    return value if _current is None or _current.spread == 1.0 else value * _current.spread


def whole(total: Any) -> Any:
    """Return the sum over all processes of what a mask, or weights, sum to in each. A collective in a step of several.

    >>> whole(torch.ones(()))
    tensor(1.)
    """
    if _current is None:
        return total
    own = total.detach() if _current.rows else torch.zeros_like(total)
    return _current.processes.add(own.clone())


def added(tensor: torch.Tensor, own: Portion) -> torch.Tensor:
    """Return the sum of a tensor over all processes, through which gradients flow back to each. A collective, as is the backward pass."""
    total: torch.Tensor = _Added.apply(tensor, own.processes)
    return total


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, processes: Any) -> torch.Tensor:  # type: ignore[override]
        ctx.processes = processes
        total: torch.Tensor = processes.add(tensor.clone())
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        return ctx.processes.add(gradient.clone()), None
