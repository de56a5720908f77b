"""`Recipes`: what depends on the shapes and types of tensors alone is decided at the first batch of its kind, and not again."""

from collections.abc import Callable
from typing import Any

import torch

_MOST = 64
"""So many kinds of batches are remembered: sequences may have any length."""


class Recipes(dict[Any, Any]):
    """What `decide(y_true, y_pred)` returned for the first targets and predictions of each shape and type.

    A dictionary, so that a step may look by itself and calls `of` only where it finds nothing.

    >>> recipes = Recipes(lambda y_true, y_pred: print("deciding"))
    >>> recipes.of(torch.ones(2), torch.ones(2))
    deciding
    >>> recipes.of(torch.zeros(2), torch.zeros(2))
    """

    def __init__(self, decide: Callable[[torch.Tensor, torch.Tensor], Any]):
        super().__init__()
        self._decide = decide

    def of(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> Any:
        """Return what was decided for tensors like these."""
        key = (y_true.shape, y_true.dtype, y_pred.shape, y_pred.dtype)
        try:
            return self[key]
        except KeyError:
            if len(self) >= _MOST:
                self.clear()
            found = self[key] = self._decide(y_true, y_pred)
            return found
