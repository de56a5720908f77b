"""`Growing`: the list of a layer's weights that a `build` of Keras 1 or 2 appends to, `self.trainable_weights.append(self.kernel)`."""

from collections.abc import Callable, Iterable

import torch


class Growing(list[torch.Tensor]):
    """A list in which `keep` puts what it makes of each tensor that is added at the end: the weight of a layer that is built.

    >>> weights = Growing([torch.ones(1)], torch.nn.Parameter)
    >>> weights.append(torch.zeros(2))
    >>> weights += [torch.zeros(3)]
    >>> [type(weight).__name__ for weight in weights]
    ['Tensor', 'Parameter', 'Parameter']
    """

    def __init__(self, weights: Iterable[torch.Tensor], keep: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__(weights)
        self._keep = keep

    def append(self, weight: torch.Tensor) -> None:
        """Add a weight."""
        super().append(self._keep(weight))

    def extend(self, weights: Iterable[torch.Tensor]) -> None:
        """Add several."""
        for weight in weights:
            self.append(weight)

    def __iadd__(self, weights: Iterable[torch.Tensor]) -> "Growing":  # type: ignore[override,misc]
        self.extend(weights)
        return self
