"""The torch module of `ConvLSTMCell`: an LSTM whose products with the kernels are convolutions."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import activations
from torchkeras_fn.engine.lowered.layout import same_padding
from torchkeras_fn.layers.recurrent.steps import NO_PATTERNS, Function, Patterns
from torchkeras_fn.layers.regularization import PatternedDropout

_CONVOLUTIONS: Sequence[Any] = (F.conv1d, F.conv2d, F.conv3d)
_OF_ELEMENTS: Sequence[Any] = (
    *(activations.linear, activations.relu, activations.leaky_relu, activations.gelu),
    *map(activations.as_torch, (activations.elu, activations.hard_sigmoid, activations.selu, activations.sigmoid, activations.silu)),
    *map(activations.as_torch, (activations.softplus, activations.softsign, activations.tanh)),
)
"""Activations for which it does not matter where the channels are."""


class ConvLSTMStep(nn.Module):
    """One step of `(batch, *sizes, channels)`, or with the channels first, and the projection of the inputs of all steps at once.

    The weights are `(4 * filters, channels, *kernel_size)` and `(4 * filters, filters, *kernel_size)`, the gates in the
    order input, forget, cell, output. `dropout` and `recurrent_dropout` are the same at all steps, and another for each gate.

    >>> step = ConvLSTMStep(3, 2, (3, 3))
    >>> step(torch.ones(1, 8, 8, 3), step.initial(torch.ones(1, 1, 8, 8, 3)))[0].shape
    torch.Size([1, 6, 6, 2])
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel_size: Sequence[int],
        strides: Sequence[int] = (1, 1, 1),
        is_same: bool = False,
        dilation: Sequence[int] = (1, 1, 1),
        channels_last: bool = True,
        use_bias: bool = True,
        activation: Function = torch.tanh,
        recurrent_activation: Function = torch.sigmoid,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
    ):
        super().__init__()
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.rank = len(self.kernel_size)
        self.strides = tuple(strides)[: self.rank]
        self.dilation = tuple(dilation)[: self.rank]
        self.is_same = is_same
        self.channels_last = channels_last
        self.activation = activations.as_torch(activation)  # a function less at every step
        self.recurrent_activation = activations.as_torch(recurrent_activation)
        self.dropout = PatternedDropout(dropout, None, seed) if dropout else None
        self.recurrent_dropout = PatternedDropout(recurrent_dropout, None, seed) if recurrent_dropout else None
        self.weight_ih = nn.Parameter(torch.zeros(4 * filters, channels, *kernel_size))
        self.weight_hh = nn.Parameter(torch.zeros(4 * filters, filters, *kernel_size))
        self.register_parameter("bias", nn.Parameter(torch.zeros(4 * filters)) if use_bias else None)

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"{self.weight_ih.shape[1]}, {self.filters}, kernel_size={self.kernel_size}, strides={self.strides}"

    def has_kernel(self) -> bool:
        """Return that torch has no kernel that computes all steps."""
        return False

    def initial(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return zeros of the size of the outputs, for both states."""
        sizes = inputs.shape[2:-1] if self.channels_last else inputs.shape[3:]
        windows = [(size - 1) * rate + 1 for size, rate in zip(self.kernel_size, self.dilation, strict=True)]
        lost = [0 if self.is_same else window - 1 for window in windows]
        left = [-(-(size - less) // stride) for size, less, stride in zip(sizes, lost, self.strides, strict=True)]
        shape = (*left, self.filters) if self.channels_last else (self.filters, *left)
        return [inputs.new_zeros(inputs.shape[0], *shape) for _ in range(2)]

    def forward(self, inputs: torch.Tensor, states: Any, training: bool | None = None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the output and both states after one step."""
        sequence = inputs.unsqueeze(1)
        patterns = self.patterns(sequence, training)
        return self.advance(self.projected(sequence, patterns)[:, 0], states, patterns)

    def patterns(self, inputs: torch.Tensor, training: bool | None = None) -> Patterns:
        """Draw the dropout of a sequence: for each gate as many channels as there are, next to the batch."""
        if not (self.training if training is None else training) or self.dropout is None and self.recurrent_dropout is None:
            return NO_PATTERNS
        drawn = []
        for dropout, step in ((self.dropout, inputs[:, 0]), (self.recurrent_dropout, self.initial(inputs)[0])):
            whole = torch.ones_like(self.channels_next(step))
            drawn.append(None if dropout is None else dropout(torch.cat([whole] * 4, 1)))
        return Patterns(*drawn)

    def channels_next(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor, or a view of it, with the channels next to the batch."""
        return tensor.movedim(-1, 1) if self.channels_last else tensor

    def channels_back(self, tensor: torch.Tensor) -> torch.Tensor:
        """Undo `channels_next`."""
        return tensor.movedim(1, -1) if self.channels_last else tensor

    def projected(self, inputs: torch.Tensor, patterns: Patterns) -> torch.Tensor:
        """Return `(batch, steps, 4 * filters, *sizes)`: what the inputs of all steps contribute to the gates."""
        images, pattern = self.channels_next(inputs.flatten(0, 1)), patterns.inputs
        if pattern is not None:
            images = (torch.cat([images] * 4, 1).unflatten(0, inputs.shape[:2]) * pattern.unsqueeze(1)).flatten(0, 1)
        groups = 1 if pattern is None else 4
        found = self.convolved(images, self.weight_ih, self.bias, self.strides, self.dilation, self.is_same, groups)
        return found.unflatten(0, inputs.shape[:2])  # type: ignore[no-any-return]

    def from_state(self, hidden: torch.Tensor, pattern: torch.Tensor | None) -> torch.Tensor:
        """Return what the hidden state, its channels next to the batch, contributes to the gates."""
        ones = (1,) * self.rank
        if pattern is None:
            return self.convolved(hidden, self.weight_hh, None, ones, ones, True, 1)
        return self.convolved(torch.cat([hidden] * 4, 1) * pattern, self.weight_hh, None, ones, ones, True, 4)

    def convolved(
        self,
        images: torch.Tensor,
        weight: torch.Tensor,
        bias: Any,
        strides: Sequence[int],
        dilation: Sequence[int],
        is_same: bool,
        groups: int,
    ) -> torch.Tensor:
        """Convolve, with Keras' zeros around the images; in `groups`, each gate reads channels of its own."""
        if is_same:
            windows = [(size - 1) * rate + 1 for size, rate in zip(self.kernel_size, dilation, strict=True)]
            pads = [same_padding(*part) for part in zip(images.shape[2:], windows, strides, strict=True)]
            images = F.pad(images, [count for pair in reversed(pads) for count in pair]) if math.prod(windows) > 1 else images
        convolve = _CONVOLUTIONS[self.rank - 1]
        return convolve(images, weight, bias, stride=strides, dilation=dilation, groups=groups)  # type: ignore[no-any-return]

    def advance(self, given: torch.Tensor, states: Sequence[torch.Tensor], patterns: Patterns) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the output, which is the first state too, and the cell state."""
        hidden, cell = (self.channels_next(state) for state in states)
        enter, forget, new, leave = (given + self.from_state(hidden, patterns.state)).chunk(4, 1)
        gate, activated = self._in_layout(self.recurrent_activation), self._in_layout(self.activation)
        cell = gate(forget) * cell + gate(enter) * activated(new)
        hidden = self.channels_back(gate(leave) * activated(cell))
        return hidden, [hidden, self.channels_back(cell)]

    def _in_layout(self, activation: Function) -> Function:
        """The activation for tensors with the channels next to the batch: one that knows axes is given those that the user counts."""
        if not self.channels_last or activation in _OF_ELEMENTS:
            return activation
        return lambda tensor: self.channels_next(activation(self.channels_back(tensor)))
