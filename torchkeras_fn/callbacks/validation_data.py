"""`ValidationData`: the arrays that `fit` validates on, as callbacks see them."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class ValidationData(Sequence[Any]):
    """A sequence of numpy arrays: those of the inputs, the targets and the sample weights, each read when it is looked at.

    Sample weights that were not given are ones. Arrays of the user's are shared, not copied.

    >>> from torchkeras_fn.engine.batches.arrays import Signature, arrays_of
    >>> inputs, targets, weights = ValidationData(arrays_of([[1.0], [2.0]], [3, 4], None, Signature()))
    >>> targets, weights
    (array([3, 4]), array([1., 1.], dtype=float32))
    """

    def __init__(self, arrays: Any):
        targets = [part for part in arrays.y if part is not None]
        weights = [weight for part, weight in zip(arrays.y, arrays.sample_weight, strict=True) if part is not None]
        self._parts = [*arrays.x, *targets, *weights]
        self._samples = arrays.samples

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        part = self._parts[index]
        return np.ones(self._samples, dtype="float32") if part is None else part.take(slice(None)).cpu().numpy()
