"""`Bidirectional`, which takes a recurrent layer through a sequence from both ends."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.arguments import one_of
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.layers.recurrent.inner import core_of, sublayers_of
from torchkeras_fn.layers.recurrent.rnn import OverSteps
from torchkeras_fn.registry import custom_object_scope

_ALIKE = ("stateful", "return_sequences", "return_state")


class Bidirectional(OverSteps):
    """Runs a recurrent layer and its twin, which goes backwards, and merges what they return.

    `merge_mode` is `'concat'` (along the features), `'sum'`, `'mul'`, `'ave'`, or `None` for a list of both. The layer given
    is a pattern: both are made anew from its configuration, unless a `backward_layer` is given. `return_state` adds the
    states of the first and then those of the second; `initial_state` takes them in this order. Weights: those of the
    forward layer, then those of the backward layer.

    >>> from torchkeras_fn.layers import LSTM
    >>> Bidirectional(LSTM(4, return_sequences=True))(torch.ones(2, 10, 3)).shape
    torch.Size([2, 10, 8])
    """

    def __init__(
        self, layer: Any, merge_mode: str | None = "concat", weights: Sequence[Any] | None = None, backward_layer: Any = None, **kwargs: Any
    ):
        for argument, value in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(value, Layer) and not (value is None and argument == "backward_layer"):
                raise TypeError(f"{argument!r} must be a recurrent layer, got {value!r} of type {type(value).__name__}.")
        missing = [name for name in ("go_backwards", *_ALIKE) if not hasattr(layer, name)]
        if missing:
            raise ValueError(f"'layer' must be a recurrent layer, but {type(layer).__name__} has no {missing[0]!r}.")
        super().__init__(weights=weights, **_like(layer, kwargs))
        self.merge_mode = None if merge_mode is None else one_of(merge_mode, "merge_mode", "concat", "sum", "mul", "ave")
        forward = twin(layer, "forward")
        backward = twin(layer, "backward", go_backwards=not layer.go_backwards) if backward_layer is None else backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                f"One of the two layers must go backwards and the other not, got go_backwards={forward.go_backwards} for both."
            )
        for name in _ALIKE:
            if getattr(forward, name) != getattr(backward, name):
                raise ValueError(f"Both layers must have the same {name!r}, got {getattr(forward, name)} and {getattr(backward, name)}.")
            setattr(self, name, getattr(forward, name))
        for part in (forward, backward):
            if hasattr(part, "zero_output_for_mask"):
                part.zero_output_for_mask = self.return_sequences
        object.__setattr__(self, "forward_layer", forward)
        object.__setattr__(self, "backward_layer", backward)
        self.sequence_outputs = 2 if merge_mode is None else 1
        self.needs_floats = layer.needs_floats  # type: ignore[misc]

    def inner_layers(self) -> dict[str, Any]:
        """Return the two layers."""
        return {"forward": self.forward_layer, "backward": self.backward_layer}

    def is_told_by_one_step(self) -> bool:
        """Return whether one step tells all shapes, for both layers."""
        parts = (self.forward_layer, self.backward_layer)
        return super().is_told_by_one_step() and all(isinstance(part, OverSteps) and part.is_told_by_one_step() for part in parts)

    @property
    def layer(self) -> Any:
        """The layer that was wrapped: `forward_layer`."""
        return self.forward_layer

    def build(self, input_shape: Any) -> nn.Module:
        """Build both layers; return what runs them."""
        for layer in (self.forward_layer, self.backward_layer):
            layer._constant_shapes = self._constant_shapes
            layer._build(input_shape)
        return BothWays(
            core_of(self.forward_layer), core_of(self.backward_layer), self.merge_mode, self.return_sequences, self.return_state
        )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the sequence for sequences of outputs, and none for states."""
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        masks = [mask if self.return_sequences else None] * self.sequence_outputs
        states = self.forward_layer.compute_mask(inputs, None)[1:] if self.return_state else []
        return [*masks, *states, *states] if len(masks) > 1 or self.return_state else masks[0]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, with the configurations of both layers."""
        pairs = (("layer", self.forward_layer), ("backward_layer", self.backward_layer))
        described = {name: {"class_name": type(layer).__name__, "config": layer.get_config()} for name, layer in pairs}
        return {**super().get_config(), **described}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new layer with the layers inside that `get_config` described."""
        made = {name: registry.deserialize(config[name]) for name in ("layer", "backward_layer") if isinstance(config.get(name), Mapping)}
        return super().from_config({**config, **made})


class BothWays(nn.Module):
    """Runs two recurrent modules, of which one goes backwards, and merges their outputs.

    >>> from torchkeras_fn.layers.recurrent.recurrence import Recurrence
    >>> from torchkeras_fn.layers.recurrent.steps import SimpleStep
    >>> there, back = (Recurrence(SimpleStep(3, 2), go_backwards=backwards) for backwards in (False, True))
    >>> BothWays(there, back, "concat")(torch.ones(1, 5, 3)).shape
    torch.Size([1, 4])
    """

    def __init__(
        self, forward_layer: Any, backward_layer: Any, merge_mode: str | None, return_sequences: bool = False, return_state: bool = False
    ):
        super().__init__()
        self.forward_layer = forward_layer
        self.backward_layer = backward_layer
        self.merge_mode = merge_mode
        self.return_sequences = return_sequences
        self.return_state = return_state

    def extra_repr(self) -> str:
        """Return the mode, for printing."""
        return f"merge_mode={self.merge_mode!r}"

    def forward(self, inputs: Any, initial_state: Any = None, mask: Any = None, constants: Any = None) -> Any:
        """Run both; states may follow the sequence in a list of inputs, those of the forward module first."""
        if isinstance(inputs, (list, tuple)):
            inputs, initial_state = inputs[0], list(inputs[1:]) or initial_state
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        given = {"mask": mask, "constants": constants}
        shared = {name: value for name, value in given.items() if value is not None}
        parts = []
        for layer, states in zip((self.forward_layer, self.backward_layer), _halves(initial_state), strict=True):
            parts.append(layer(inputs, **shared) if states is None else layer(inputs, initial_state=states, **shared))
        (there, *states_there), (back, *states_back) = parts if self.return_state else ([part] for part in parts)
        if self.return_sequences:
            back = back.flip(1)
        merged = self.merged(there, back)
        if not self.return_state:
            return merged
        return [*(merged if self.merge_mode is None else [merged]), *states_there, *states_back]

    def merged(self, there: torch.Tensor, back: torch.Tensor) -> Any:
        """Return both outputs as one, or as a list without a mode."""
        if self.merge_mode == "concat":
            return torch.cat([there, back], -1)
        if self.merge_mode == "mul":
            return there * back
        if self.merge_mode is None:
            return [there, back]
        return there + back if self.merge_mode == "sum" else (there + back) / 2


def twin(layer: Layer, prefix: str, **changes: Any) -> Any:
    """Return a new layer of the same configuration but for the changes, named after the direction.

    >>> from torchkeras_fn.layers import LSTM
    >>> twin(LSTM(4), "backward", go_backwards=True).name
    'backward_lstm'
    """
    name = (layer.given_name or layer.name_prefix).removeprefix(f"{prefix}_")
    classes = {type(part).__name__: type(part) for part in sublayers_of(layer)}
    with custom_object_scope(classes):
        return type(layer).from_config({**layer.get_config(), **changes, "name": f"{prefix}_{name}"})


def _like(layer: Layer, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords, with the type of the layer inside, and with its input's shape where only that has one."""
    kwargs = {**kwargs, "dtype": layer.dtype if kwargs.get("dtype") is None else kwargs["dtype"]}
    if layer.batch_input_shape is None or {"input_shape", "batch_input_shape", "input_dim"} & kwargs.keys():
        return kwargs
    return {**kwargs, "batch_input_shape": layer.batch_input_shape}


def _halves(states: Any) -> Iterator[Any]:
    if states is None:
        return iter((None, None))
    half = len(states) // 2
    if 2 * half != len(states) or not half:
        raise ValueError(f"'initial_state' must hold as many states for the backward layer as for the forward layer, got {len(states)}")
    return iter((list(states[:half]), list(states[half:])))
