"""`RMSNormalization`: brings activations to a common size, and leaves their mean where it is."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from torchkeras_fn.arguments import number
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.layers.core import axes_of
from torchkeras_fn.layers.normalization import positions_of


class RMSNormalization(Layer):
    """Divides each sample by the root of its mean square along `axis` (or several), then multiplies by `scale`.

    Weight: `scale`, of the sizes of those axes. The torch module is `nn.RMSNorm`.
    Source: Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467

    >>> import torch
    >>> RMSNormalization()(torch.tensor([[1.0, 7.0]])).round(decimals=2).tolist()
    [[0.20000000298023224, 1.399999976158142]]
    """

    weight_map = {"scale": Weight("weight")}
    needs_floats = True

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axes_of(axis, "axis")
        self.epsilon = number(epsilon, "epsilon", minimum=0)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the torch module for the sizes of the axes."""
        self._positions, sizes = positions_of(self.axis, input_shape)
        self._last = tuple(range(len(input_shape) - len(sizes), len(input_shape)))
        return nn.RMSNorm(sizes, eps=self.epsilon)

    def prepare(self, inputs: Any) -> Any:
        """Put the axes last, where torch has them."""
        return inputs if self._positions == self._last else inputs.movedim(self._positions, self._last)

    def finish(self, outputs: Any) -> Any:
        """Put the axes back."""
        return outputs if self._positions == self._last else outputs.movedim(self._last, self._positions)
