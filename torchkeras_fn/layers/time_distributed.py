"""Layers around another layer: `Wrapper`, their base, and `TimeDistributed`, which applies a layer to every step."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

from torchkeras_fn.engine.drawing.incoming import as_tensors
from torchkeras_fn.engine.graphs.graph import Graph, graph_of
from torchkeras_fn.engine.graphs.has_graph import layer_of
from torchkeras_fn.engine.graphs.records import describe_layer, make_layer
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.symbolic import describe_operation
from torchkeras_fn.layers.core import TorchModuleWrapper
from torchkeras_fn.layers.input import Input
from torchkeras_fn.registry import custom_object_scope


class Wrapper(Layer):
    """The base of layers that hold another, `layer`: a Keras layer, a model, or a torch module, which becomes a layer.

    >>> from torchkeras_fn.layers import Dense
    >>> class Doubled(Wrapper):
    ...     def call(self, inputs):
    ...         return 2 * self.layer(inputs)
    >>> Doubled(Dense(3, kernel_initializer="ones"))(torch.ones(1, 2))
    tensor([[4., 4., 4.]], grad_fn=<MulBackward0>)
    """

    def __init__(self, layer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(layer, nn.Module) and not isinstance(layer, Layer):
            layer = TorchModuleWrapper(layer)
        if not isinstance(layer, Layer):
            raise ValueError(f"{type(self).__name__} needs a layer to wrap, got {layer!r} of type {type(layer).__name__}.")
        self._modules["layer"] = layer
        object.__setattr__(self, "layer", layer)  # it stays known when the module goes over to a graph

    def build(self, input_shape: Any = None) -> nn.Module | None:
        """Build the layer inside for the same input; without a shape leave that to whoever calls."""
        if input_shape is not None:
            self.layer._build(input_shape)
        return None

    def sublayers(self) -> Iterator[Any]:
        """Yield the wrapper and every layer inside it, those of a model too."""
        has_graph = graph_of(self) is not None  # in which the layer is: to ask it twice would double with each level
        inside = [] if has_graph else self.layer.sublayers()
        return iter({id(layer): layer for layer in [*super().sublayers(), *inside]}.values())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the class and configuration of the layer."""
        return {**Layer.get_config(self), "layer": describe_layer(self.layer, self.layer.name)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new wrapper around a new layer; layers of your own are found in a `custom_object_scope`."""
        with custom_object_scope(custom_objects or {}):
            entry = config["layer"]
            layer = make_layer(entry, layer_of) if isinstance(entry, Mapping) and "key" in entry else registry.get(entry)
            return super().from_config({**config, "layer": layer})


class TimeDistributed(Wrapper, Drawn):
    """Applies a layer, a model or a torch module to every step of its input: `(batch, steps, ...)` to `(batch, steps, ...)`.

    Batch and steps become one axis, `(batch * steps, ...)`, on which the layer runs once; so `BatchNormalization` inside
    takes its statistics over all steps together, where Keras 3 takes those of each step. Several inputs come, and several
    outputs go, as lists. A mask `(batch, steps)` is passed on to later layers; of a mask with more axes, such as
    `Embedding(mask_zero=True)` makes of lists of sentences, each step's part goes to the layer inside. The weights are the
    layer's. The lowered graph holds the layer's torch module between `flatten` and `unflatten`.

    >>> from torchkeras_fn.layers import Dense
    >>> TimeDistributed(Dense(8))(torch.ones(2, 10, 16)).shape
    torch.Size([2, 10, 8])
    """

    supports_masking = True

    def __init__(self, layer: Any, **kwargs: Any):
        super().__init__(layer, **kwargs)
        object.__setattr__(self, "needs_floats", self.layer.needs_floats)
        object.__setattr__(self, "takes_integers", _reads_indices(self.layer))

    def build(self, input_shape: Any = None) -> nn.Module | None:
        """Draw the graph for inputs of this shape."""
        shapes = input_shape if isinstance(input_shape, list) else [input_shape]
        if not all(isinstance(shape, tuple) and len(shape) >= 3 for shape in shapes):
            raise ValueError("expected at least 3 dimensions (batch, steps, ...)")
        inputs = [Input(batch_shape=shape) for shape in shapes]
        slices = [_Slices(self.takes_integers)(x) for x in inputs]
        outputs = self.layer(slices if isinstance(input_shape, list) else slices[0])
        flat = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        self._set_graph(Graph(inputs, [_Steps(self.takes_integers)([part, inputs[0], slices[0]]) for part in flat]))
        return None

    def _build(self, input_shape: Any) -> None:
        if self.built:
            return
        try:
            self.build(input_shape)  # not as in `Layer`, where what is made meanwhile are weights: the drawing makes other tensors
        except (ValueError, TypeError) as error:
            raise type(error)(f"{describe_operation(self)} cannot be built for input of shape {input_shape}: {error}") from error

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the layer's outputs for each step; a `mask` is as in the class, and if none is given, the one that the input carries."""
        args = tuple(as_tensors(argument, self.dtype) for argument in args)
        self._build(self.build_shape(*args, **kwargs))
        return super().forward(*args, **kwargs)


class _Slices(Layer):
    """Makes batch and steps one axis."""

    default_name = "slices"
    inline = True

    def __init__(self, takes_integers: bool, **kwargs: Any):
        super().__init__(**kwargs)
        object.__setattr__(self, "takes_integers", takes_integers)

    def build(self, input_shape: Any) -> nn.Module | None:
        """Note whether the slices have steps of their own."""
        self._have_steps = len(input_shape) > 3
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Flatten."""
        return inputs.flatten(0, 1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the slices' own steps."""
        return None if mask is None or not self._have_steps else mask_of_slices(mask, inputs)


class _Steps(Layer):
    """Takes batch and steps apart again; called on the layer's outputs, the whole input, and the slices of it that went in."""

    default_name = "steps"
    inline = True

    def __init__(self, takes_integers: bool, **kwargs: Any):
        super().__init__(**kwargs)
        object.__setattr__(self, "takes_integers", takes_integers)

    def build(self, input_shape: Any) -> nn.Module | None:
        """Note whether the slices had steps of their own, and whether the layer's outputs have."""
        self._had_steps, self._have_steps = len(input_shape[1]) > 3, len(input_shape[0]) > 2
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Unflatten."""
        outputs, whole = inputs[:2]
        return outputs.unflatten(0, (whole.size(0), whole.size(1)))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the steps of which the input's mask shows something; where the layer gives a mask, what both show."""
        own, given, sliced = mask
        if own is not None and _written_as(own) is _written_as(sliced):  # the layer passes on what it got
            return given
        if given is not None and self._had_steps:
            given = given.unsqueeze(-1).flatten(2).any(-1)
        if own is None:
            return given
        if not self._have_steps:  # what a layer of one's own passes on hides steps that are gone
            own = own.unsqueeze(-1).flatten(1).any(-1)
        if given is not None:  # in front of however many axes `own` has
            own = (own.transpose(0, -1) & given.flatten()).transpose(0, -1)
        return self.call([own, inputs[1]])


def _written_as(mask: Any) -> Any:
    """What stands for a mask in a graph that is being written, where each reading wraps it anew."""
    return getattr(mask, "node", mask)


def mask_of_slices(mask: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the mask `(batch * steps, slice_steps)` for the slices of inputs `(batch, steps, slice_steps, ...)`.

    A mask `(batch, steps)` hides nothing of a slice. This is one function of the lowered graph, since what it does depends
    on the number of the mask's axes, which is known only when it runs.

    >>> mask_of_slices(torch.tensor([[[True, False], [True, True]]]), torch.ones(1, 2, 2, 3))
    tensor([[ True, False],
            [ True,  True]])
    """
    if has_torch_function((mask, inputs)):
        written: torch.Tensor = handle_torch_function(mask_of_slices, (mask, inputs), mask, inputs)
        return written
    return mask.flatten(0, 1) if mask.dim() > 2 else mask.new_ones(mask.numel(), inputs.shape[2])


def _reads_indices(layer: Layer) -> bool:
    graph = graph_of(layer)
    return layer.takes_integers if graph is None else any(graph.takes_integers(tensor) for tensor in graph.inputs)
