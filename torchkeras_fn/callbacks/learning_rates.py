"""Reading and changing the learning rate of whatever optimizer a model has: one of this library's, or torch's own."""

from collections.abc import Callable
from typing import Any

import torch


def learning_rate(optimizer: Any) -> float:
    """Return the learning rate; that of the first group of parameters where there are several.

    >>> learning_rate(torch.optim.SGD([torch.zeros(1)], lr=0.5))
    0.5
    """
    return float(optimizer.learning_rate if hasattr(optimizer, "learning_rate") else optimizer.param_groups[0]["lr"])


def change_learning_rate(optimizer: Any, change: Callable[[float], float]) -> list[tuple[float, float]]:
    """Put each learning rate, one for each group of a torch optimizer's, through `change`; return those before and after.

    >>> change_learning_rate(torch.optim.SGD([torch.zeros(1)], lr=0.5), lambda rate: rate / 2)
    [(0.5, 0.25)]
    """
    if hasattr(optimizer, "learning_rate"):
        before = float(optimizer.learning_rate)
        after = change(before)
        if after != before:
            optimizer.learning_rate = after
        return [(before, after)]
    changes = []
    for group in optimizer.param_groups:
        before = float(group["lr"])
        after = change(before)
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(after)
        else:
            group["lr"] = after
        changes.append((before, after))
    return changes


def check_changeable(optimizer: Any, who: str) -> None:
    """Raise `TypeError` where the learning rate follows a schedule, so that `who` cannot change it.

    >>> check_changeable(torch.optim.SGD([torch.zeros(1)], lr=0.5), "ReduceLROnPlateau")
    """
    if hasattr(optimizer, "learning_rate"):
        try:
            optimizer.learning_rate = float(optimizer.learning_rate)
        except TypeError:
            raise TypeError(
                f"This optimizer was created with a `LearningRateSchedule`, so {who} cannot change its learning rate. "
                "Compile with a number for the learning rate."
            ) from None
