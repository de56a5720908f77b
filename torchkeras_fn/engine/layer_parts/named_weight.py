"""`NamedWeight`: a weight by its Keras name, and how its tensor, which lies as torch has it, reads in Keras' layout."""

from typing import Any, NamedTuple

import torch

from torchkeras_fn import regularizers
from torchkeras_fn.shards import gathered, is_sharded, outside_inference, set_whole, whole

_SUMS = (regularizers.L1, regularizers.L2, regularizers.L1L2)
"""The regularizers that are sums over all numbers of a weight: each process adds up its part, without having the whole."""


class Weight(NamedTuple):
    """Where a Keras weight lives in the torch module, and which torch axes are Keras' axes, in Keras' order.

    Along the last of Keras' axes there may be blocks, such as the gates of a GRU, that torch keeps in another order:
    `blocks` says which of torch's blocks are Keras', in Keras' order.

    >>> Weight("weight", (1, 0)).path  # the kernel of Dense, which torch keeps as (out, in)
    'weight'
    """

    path: str
    axes: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None


class WeightOptions(NamedTuple):
    """How a weight begins, what it costs and what it is held to.

    >>> WeightOptions("zeros").constraint is None
    True
    """

    initializer: Any
    regularizer: Any = None
    constraint: Any = None


class NamedWeight(NamedTuple):
    """A weight of a layer: its Keras name, its tensor in torch's layout, the axes and blocks for Keras' layout, and its options.

    >>> weight = NamedWeight("kernel", torch.zeros(4, 1), (1, 0), WeightOptions(None), blocks=(1, 0))
    >>> weight.write(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    >>> weight.tensor.flatten(), weight.view
    (tensor([3., 4., 1., 2.]), tensor([[1., 2., 3., 4.]]))
    """

    name: str
    tensor: torch.Tensor
    axes: tuple[int, ...] | None
    options: WeightOptions
    blocks: tuple[int, ...] | None = None

    @property
    def view(self) -> torch.Tensor:
        """The weight in Keras' layout, without gradient. `write` changes it: where there are blocks, or parts, this is a copy."""
        return self.arranged(whole(self.tensor.detach()))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in Keras' layout."""
        shape = self.tensor.shape
        return tuple(shape if self.axes is None else (shape[axis] for axis in self.axes))

    def penalty(self) -> torch.Tensor:
        """Return what the weight's regularizer asks for it. A collective where each process holds a part of the weight."""
        regularizer: Any = self.options.regularizer
        if not is_sharded(self.tensor):
            penalty: torch.Tensor = regularizer(self.arranged(self.tensor))
            return penalty
        with outside_inference():
            tensor = self.tensor if type(regularizer) in _SUMS else self.arranged(gathered(self.tensor))
            return gathered(regularizer(tensor))

    def arranged(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor of torch's layout in Keras' layout; gradients pass."""
        tensor = tensor if self.axes is None else tensor.permute(self.axes)
        if self.blocks is None:
            return tensor
        parts = tensor.chunk(len(self.blocks), -1)
        return torch.cat([parts[block] for block in self.blocks], -1)

    def write(self, value: torch.Tensor) -> None:
        """Set the weight, in place, from a value in Keras' layout."""
        if is_sharded(self.tensor):
            full = torch.empty(self.tensor.shape, dtype=self.tensor.dtype, device=self.tensor.device)
            self._replace(tensor=full).write(value)
            set_whole(self.tensor, full)
            return
        target = self._replace(blocks=None).view
        if self.blocks is None:
            target.copy_(value)
            return
        parts = target.chunk(len(self.blocks), -1)
        for block, part in zip(self.blocks, value.chunk(len(self.blocks), -1), strict=True):
            parts[block].copy_(part)
