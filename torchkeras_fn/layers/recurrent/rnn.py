"""`RNN`, which takes any cell through a sequence, and what it shares with `Bidirectional`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only

from torchkeras_fn.engine.drawing.connections import shapes_of
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.engine.symbolic import KerasTensor, describe_operation
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
from torchkeras_fn.layers.recurrent.recurrence import Recurrence, initial_states
from torchkeras_fn.layers.recurrent.stacked import StackedRNNCells
from torchkeras_fn.origin import is_ours


class OverSteps(Layer):
    """The base of layers that take a cell or a layer inside them through `(batch, steps, ...)`.

    >>> OverSteps().supports_masking
    True
    """

    module_takes = frozenset({"mask", "initial_state", "constants"})
    supports_masking = True
    activates_outputs = False
    stateful: bool = False
    return_sequences: bool = False
    sequence_outputs: int = 1
    """How many of the outputs are sequences with `return_sequences`."""
    _constant_shapes: Sequence[Any] = ()
    _num_constants: int = 0
    """How many constants the layer was last called with; as many are at the end of a list of inputs that comes without any."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Draw or run. As in Keras 2, a layer that had constants takes them in a list as well: `layer([x, *states, *constants])`."""
        is_listed = self._num_constants and args and isinstance(args[0], (list, tuple)) and len(args[0]) > self._num_constants
        if is_listed and kwargs.get("constants") is None and len(args) < 4:  # by position they are the fourth
            inputs, constants = list(args[0][: -self._num_constants]), list(args[0][-self._num_constants :])
            args = (inputs if len(inputs) > 1 else inputs[0], *args[1:])
            kwargs = {**kwargs, "constants": constants}
        return super().__call__(*args, **kwargs)

    def inner_layers(self) -> dict[str, Any]:
        """Return the layers inside, under what stands before the names of their weights."""
        return {}

    def build_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return the shape of the sequence, with the batch where it is drawn; note those of constants, for the cell."""
        constants = shapes_of(kwargs.get("constants"))
        self._constant_shapes = [] if constants is None else constants if isinstance(constants, list) else [constants]
        self._num_constants = len(self._constant_shapes) or self._num_constants
        return shape_of_sequence(super().build_shape(*args, **kwargs))

    def named_weights(self) -> list[NamedWeight]:
        """Return the weights of the layers inside, in Keras' order, and those that a subclass adds; kept states are none."""
        inside = weights_of(self.inner_layers())
        return [*self._own_weights(), *inside, *weights_of(dict(self._added_parts()))] if self._is_users else inside

    def sublayers(self) -> Iterator[Any]:
        """Yield this layer and every layer inside it."""
        yield self
        for layer in (*self.inner_layers().values(), *(part for _, part in self._added_parts() if self._is_users)):
            yield from sublayers_of(layer)

    def _added_parts(self) -> list[tuple[str, Any]]:
        inner = list(self.inner_layers().values())
        return [(name, part) for name, part in self._own_parts() if not any(part is layer for layer in inner)]

    def _draw(self, *args: Any, **kwargs: Any) -> Any:
        shape = self.build_shape(*args, **kwargs)
        if self.stateful and shape[0] is None:
            raise ValueError(
                f"{describe_operation(self)} is stateful, so the size of the batch must be known, but the input has shape {shape}. "
                "Give it, as in Input(batch_shape=(32, 10, 8)), or batch_input_shape=(32, 10, 8) of the first layer."
            )
        return super()._draw(*args, **kwargs)

    def is_told_by_one_step(self) -> bool:
        """Return whether one step tells all shapes: unless a `call` of a user's may do anything to the sequence."""
        return type(self).call is Layer.call

    def _inferred(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Run one step, which tells all shapes."""
        if not self.is_told_by_one_step():
            return super()._inferred(inputs, *args, **kwargs)
        kwargs.update(zip(("initial_state", "mask", "constants"), args, strict=False))
        sequence = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
        first = sequence.narrow(1, 0, 1)
        if kwargs.get("mask") is not None:
            kwargs["mask"] = tree_map_only(torch.Tensor, lambda mask: mask.narrow(1, 0, 1), kwargs["mask"])
        outputs = super()._inferred([first, *inputs[1:]] if isinstance(inputs, (list, tuple)) else first, **kwargs)
        if not self.return_sequences:
            return outputs
        listed = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        steps = sequence.shape[1]
        long = [output.expand(-1, steps, *[-1] * (output.ndim - 2)) for output in listed[: self.sequence_outputs]]
        listed = [*long, *listed[self.sequence_outputs :]]
        return listed if isinstance(outputs, (list, tuple)) else listed[0]

    # ------------------------------------------------------------------ configurations

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, and the number of constants that the layer is called with, if there are any."""
        return {**super().get_config(), **({"num_constants": self._num_constants} if self._num_constants else {})}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new layer of what `get_config` returned."""
        layer = super().from_config({name: value for name, value in config.items() if name != "num_constants"})
        layer._num_constants = config.get("num_constants") or 0
        return layer

    # ------------------------------------------------------------------ states

    def recurrences(self) -> list[Recurrence]:
        """Return the torch modules inside that keep states."""
        return [] if self.module is None else [part for part in self.module.modules() if isinstance(part, Recurrence) and part.stateful]

    @property
    def states(self) -> list[torch.Tensor]:
        """The states that a stateful layer keeps for the next batch; none before the first."""
        return [state for recurrence in self.recurrences() for state in recurrence.state_buffers()]

    def reset_states(self, states: Any = None) -> None:
        """Set the kept states to 0, or to the given arrays. Raises `ValueError`, and changes nothing, where those do not fit."""
        kept = self.states
        given = [torch.zeros_like(state) for state in kept] if states is None else [torch.as_tensor(state) for state in tree_leaves(states)]
        if [tuple(state.shape) for state in given] != [tuple(state.shape) for state in kept]:
            raise ValueError(
                f"{describe_operation(self)} keeps states of shapes {[tuple(state.shape) for state in kept]}, "
                f"but the arrays given have the shapes {[tuple(state.shape) for state in given]}."
            )
        for state, value in zip(kept, given, strict=True):
            state.copy_(value)

    def reset_state(self) -> None:
        """Set the kept states to 0."""
        self.reset_states()


class RNN(OverSteps):
    """Takes a cell, or a list of them as a stack, through a sequence: `(batch, steps, ...)` to `(batch, units)`.

    With `return_sequences` to `(batch, steps, units)`; with `return_state` to a list of that and the last states. A cell
    is a layer with a `state_size` and `call(inputs, states)` that returns the output and the new states; it may have an
    `output_size` and `get_initial_state(batch_size)`. Called with `initial_state=`, or on a list of the sequence and
    the states, it begins with those; with `mask=` of `(batch, steps)` it leaves steps out: there the states stay, and the
    output repeats, or is 0 with `zero_output_for_mask`. `go_backwards` begins at the end, and gives the outputs in that
    order. A `stateful` layer begins where the batch before ended; see `reset_states`. `unroll` changes nothing here.

    >>> from torchkeras_fn.layers import LSTMCell
    >>> RNN([LSTMCell(4), LSTMCell(5)], return_sequences=True)(torch.ones(2, 10, 3)).shape
    torch.Size([2, 10, 5])
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ):
        cell = StackedRNNCells(cell, dtype=kwargs.get("dtype")) if isinstance(cell, (list, tuple)) else cell
        check_cell(cell)
        own = kwargs.pop("dtype", None)
        super().__init__(dtype=getattr(cell, "dtype", None) if own is None else own, **kwargs)
        self.needs_floats = self.needs_floats or getattr(cell, "needs_floats", False)  # type: ignore[misc]
        object.__setattr__(self, "cell", cell)  # no submodule: what the module needs of it, `build` hands over
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.is_fused = True
        self._features: tuple[int, ...] = (1,)

    @property
    def state_size(self) -> Any:
        """The sizes of the cell's states."""
        return self.cell.state_size

    @property
    def output_size(self) -> int:
        """The number of outputs of the cell."""
        return output_size_of(self.cell)

    def inner_layers(self) -> dict[str, Any]:
        """Return the cell."""
        return {"": self.cell}

    def build(self, input_shape: Any) -> nn.Module:
        """Build the cell for the inputs of one step; return what takes it through all of them."""
        if len(input_shape) < 3:
            raise ValueError(f"expected at least 3 dimensions (batch, steps, features), got {len(input_shape)}")
        self._features = tuple(size or 1 for size in input_shape[2:])
        build_cell(self.cell, (input_shape[0], *input_shape[2:]), self._constant_shapes)
        options = (self.return_sequences, self.return_state, self.go_backwards, self.stateful, self.zero_output_for_mask)
        module = Recurrence(core_of(self.cell), *options, is_fused=self.is_fused)
        module.begin = self.get_initial_state if self._begins_its_own_way() else None
        if self.stateful and input_shape[0] is not None and module.begin is None:
            sequence = torch.zeros(input_shape[0], 1, *self._features, dtype=self.dtype)
            module.kept(tree_leaves(initial_states(module.cell, sequence)))
        return module

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the sequence for a sequence of outputs, and none for states."""
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        outputs = mask if self.return_sequences else None
        return [outputs, *[None] * len(tree_leaves(sizes_of(self.state_size)))] if self.return_state else outputs

    def get_initial_state(self, batch_size: Any = None, inputs: Any = None) -> list[Any]:
        """Return the states that a batch of this size begins with, unless it is given others; or the batch of these inputs, as in Keras 2.

        A subclass may return others.
        """
        like: Any = inputs if batch_size is None else batch_size
        known = like.shape[0] if isinstance(like, (KerasTensor, torch.Tensor)) else like
        sequence = torch.zeros(known or 1, 1, *self._features, dtype=self.dtype, device=self._weight_device())
        states = initial_states(core_of(self.cell), sequence)
        if not isinstance(like, KerasTensor):
            return states
        row = torch.zeros_like(like).flatten(1)[:, :1]  # type: ignore[arg-type] # a symbolic tensor; as many rows as there will be
        return tree_map_only(torch.Tensor, lambda state: row.reshape(-1, *[1] * (state.ndim - 1)) + state[:1], states)  # type: ignore[no-any-return]

    @classmethod
    def _begins_its_own_way(cls) -> bool:
        """Whether a user's class says what the states begin with: then models run the layer, and not its torch module alone."""
        return not is_ours(cls.get_initial_state)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a class that begins its own way be called as one with a `call` of its own is."""
        super().__init_subclass__(**kwargs)
        if cls.call is Layer.call and cls._begins_its_own_way():
            cls.call = _call  # type: ignore[method-assign,assignment]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new layer of the cell, or cells, that `get_config` described."""
        if "cell" not in config:
            return super().from_config(config)
        cell = config["cell"]
        made = [registry.deserialize(part) for part in cell] if isinstance(cell, Sequence) else registry.deserialize(cell)
        return super().from_config({**config, "cell": made})


def _call(self: RNN, inputs: Any, mask: Any = None, training: bool | None = None, initial_state: Any = None, constants: Any = None) -> Any:
    """Take the cell through the sequence, as every `RNN` does."""
    given = {"mask": mask, "training": training, "initial_state": initial_state, "constants": constants}
    return Layer.call(self, inputs, **{name: value for name, value in given.items() if value is not None})
