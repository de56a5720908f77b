"""`StackedRNNCells`: several cells that act as one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.layers.recurrent.inner import (
    build_cell,
    check_cell,
    core_of,
    output_size_of,
    shape_of_sequence,
    sizes_of,
    sublayers_of,
    weights_of,
)
from torchkeras_fn.layers.recurrent.recurrence import PlainCell, Stack


class StackedRNNCells(Layer):
    """Cells one after the other, as one cell for `RNN`. Raises `ValueError` for one that has no `call` or no `state_size`.

    The states are a list with those of each cell: a list for a cell whose `state_size` is one, else a tensor.

    >>> from torchkeras_fn.layers import GRUCell, LSTMCell
    >>> cell = StackedRNNCells([LSTMCell(4), GRUCell(5)])
    >>> cell(torch.ones(2, 3), cell.get_initial_state(2))[0].shape
    torch.Size([2, 5])
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any):
        if not isinstance(cells, (list, tuple)) or not cells:
            raise ValueError(f"'cells' must be a list of cells, got {cells!r}.")
        for cell in cells:
            check_cell(cell)
        own = kwargs.pop("dtype", None)
        super().__init__(dtype=getattr(cells[0], "dtype", None) if own is None else own, **kwargs)
        self.needs_floats = getattr(cells[0], "needs_floats", False)  # type: ignore[misc]
        object.__setattr__(self, "cells", list(cells))

    @property
    def state_size(self) -> list[Any]:
        """The state sizes of the cells."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The number of outputs of the last cell."""
        return output_size_of(self.cells[-1])

    def get_initial_state(self, batch_size: int | None = None, **others: Any) -> list[Any]:
        """Return the initial states of the cells, zeros for a cell that does not say."""
        states = []
        for cell in self.cells:
            if hasattr(cell, "get_initial_state"):
                own = cell.get_initial_state(batch_size=batch_size)
            else:
                own = [torch.zeros(batch_size or 1, size, dtype=self.dtype) for size in sizes_of(cell.state_size)]
            listed = list(own) if isinstance(own, (list, tuple)) else [own]
            states.append(listed if isinstance(cell.state_size, (list, tuple)) else listed[0])
        return states

    def build(self, input_shape: Any) -> nn.Module:
        """Build the cells, each for the outputs of the one before, and return them as a stack."""
        shape = tuple(shape_of_sequence(input_shape))
        constants = input_shape[1:] if isinstance(input_shape, list) else []
        for cell in self.cells:
            build_cell(cell, shape, constants)
            shape = (shape[0], output_size_of(cell))
        cores = [core_of(cell) if isinstance(cell, nn.Module) else PlainCell(cell) for cell in self.cells]
        return Stack(cores, [isinstance(cell.state_size, (list, tuple)) for cell in self.cells])

    def named_weights(self) -> list[NamedWeight]:
        """Return the weights of the cells, one after the other."""
        return weights_of({str(index): cell for index, cell in enumerate(self.cells)})

    def sublayers(self) -> Iterator[Any]:
        """Yield the stack and the cells."""
        yield self
        for cell in self.cells:
            yield from sublayers_of(cell)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new stack of the cells that `get_config` described."""
        return super().from_config({**config, "cells": [registry.deserialize(cell) for cell in config["cells"]]})
