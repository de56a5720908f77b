"""`Sequential`: a stack of layers."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.graphs.has_graph import layer_of
from torchkeras_fn.engine.graphs.records import describe_layer, make_layer, shared_layers
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.lowered.casting import cast_inputs, note_type
from torchkeras_fn.engine.symbolic import KerasTensor, symbolic_leaves
from torchkeras_fn.layers.core import TorchModuleWrapper
from torchkeras_fn.layers.input import Input, InputLayer
from torchkeras_fn.models.model import Model, is_of_keras
from torchkeras_fn.registry import custom_object_scope


class Sequential(Model):
    """Layers one after the other; torch modules in the list are wrapped.

    The input's shape comes from an `Input` in first place, from `input_shape` of the first layer, or from the first
    data. `add` and `pop` change the end of the stack.

    >>> from torchkeras_fn.layers import Dense
    >>> Sequential([Dense(4, activation="relu", input_shape=(3,)), Dense(1)]).output_shape
    (None, 1)
    """

    def __init__(self, layers: Sequence[Any] | None = None, name: str | None = None, **kwargs: Any):
        if isinstance(layers, (nn.Module, KerasTensor)) and not isinstance(layers, (nn.Sequential, nn.ModuleList)):
            raise TypeError(f"The layers of a Sequential model come in a list: Sequential([first, second]). Got {layers!r:.80}.")
        super().__init__(name=name, **kwargs)
        self._stack: list[Layer] = []
        self._tensors: list[KerasTensor] = []
        for layer in layers or []:
            self._put(layer)
        self._changed()
        if not self._trainable:
            self.trainable = False

    def __getstate__(self) -> dict[str, Any]:
        """A copy draws its stack anew from the input's shape."""
        entry = self._tensors[0].node.operation if self._tensors else None
        return {**super().__getstate__(), "_tensors": [], "_records": None, "_entry": entry}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Draw the stack of a copy."""
        entry, types = state.pop("_entry"), state.get("_input_types", ())
        bound = state["_bound"]
        super().__setstate__({**state, "_bound": False})
        if entry is not None:
            cast_inputs([entry], types)
            self._tensors = [entry.open()]
            for layer in self._stack:
                note_type(layer)
                self._tensors.append(_single(layer, layer(self._tensors[-1])))
            if self._stack:
                self._drawn()
        if bound:
            self._bound = True
            self._ready_again()

    def get_config(self) -> dict[str, Any]:
        """Return the layers' configurations, and the input's shape where it is known."""
        if not self._is_made_of("layers"):
            return super().get_config()
        entry = describe_input(self._tensors[0].node.operation) if self._tensors else None
        names = [self.layer_name(layer) for layer in self._stack]
        with shared_layers():
            layers = [describe_layer(layer, name) for layer, name in zip(self._stack, names, strict=True)]
        return {**self.own_config(), "input": entry, "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new stack, with new weights, of the layers that `get_config` described."""
        if "layers" not in config or is_of_keras(config):
            return super().from_config(config, custom_objects)
        with custom_object_scope(custom_objects or {}), shared_layers():
            layers = [make_layer(entry, layer_of) for entry in config["layers"]]
        entry = [make_input(config["input"])] if config.get("input") else []
        model = cls([*entry, *layers])
        model.take_own_config(config)
        return model

    def add(self, layer: Any) -> None:
        """Put a layer on top. Raises `TypeError` for what is no layer, and `ValueError` where it does not fit."""
        before = list(self._stack), list(self._tensors)
        self._put(layer)
        try:
            self._changed()
        except ValueError:
            self._stack, self._tensors = before
            self._changed()
            raise

    def _put(self, layer: Any) -> None:
        if isinstance(layer, KerasTensor):
            layer = layer.node.operation
        if isinstance(layer, nn.Module) and not isinstance(layer, Layer):
            layer = TorchModuleWrapper(layer)
        if not isinstance(layer, Layer):
            made = f" Make an object of it: {layer.__name__}(...)." if isinstance(layer, type) else ""
            raise TypeError(f"A Sequential model is made of layers, got {layer!r} of type {type(layer).__name__}.{made}")
        if isinstance(layer, InputLayer):
            if self._stack or self._tensors:
                raise ValueError("An Input can only come first in a Sequential model.")
            self._tensors = [layer.output]
            return
        if not self._stack and not self._tensors:
            inner = layer.graph if isinstance(layer, Model) else None
            shape = inner.inputs[0].shape if inner is not None else layer.batch_input_shape
            if shape is not None:
                self._tensors = [Input(batch_shape=shape, dtype=getattr(layer, "declared_dtype", None))]
        if self._tensors:
            self._tensors.append(_single(layer, layer(self._tensors[-1])))
        self._stack.append(layer)

    def pop(self) -> None:
        """Take the top layer off. Raises `TypeError` where there is none."""
        if not self._stack:
            raise TypeError("There is no layer to pop: the model is empty.")
        self._stack.pop()
        del self._tensors[len(self._stack) + 1 :]
        self._changed()

    def _changed(self) -> None:
        """Own the layers of the stack as it is now: under their names where it can be drawn."""
        self._graph = None
        self._views = {}
        self._bound = False
        self._own({f"layer_{index}": layer for index, layer in enumerate(self._stack)})
        _ = self.graph

    @property
    def graph(self) -> Graph | None:
        """The drawn graph; `None` as long as the input's shape is not known."""
        if self._graph is None and self._stack and len(self._tensors) == len(self._stack) + 1:
            self._set_graph(Graph([self._tensors[0]], [self._tensors[-1]]))
        return self._graph

    @property
    def layers(self) -> list[Layer]:
        """The layers from bottom to top, without the input."""
        return list(self._stack)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output for real inputs; the first ones fix the input's shape."""
        if self.graph is None:
            self._enter((None, *self._one_input(args).shape[1:]))
        return super().forward(*args, **kwargs)

    def _one_input(self, args: Sequence[Any]) -> Any:
        """The tensor or array that a stack is called on, alone or in a list. Raises `TypeError` for anything else."""
        given = args[0] if len(args) == 1 else args
        parts = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(parts) != 1 or not hasattr(parts[0], "shape"):
            got = f"{given!r:.80} of type {type(given).__name__}"
            raise TypeError(f"{self.name} is a stack that is called on one tensor or array, got {got}. For several inputs make a Model.")
        return parts[0]

    def build(self, input_shape: Any = None) -> None:
        """Create the weights for inputs of this shape, the batch included; without one if the first layer does not say it: `ValueError`."""
        if input_shape is None and not hasattr(self, "outputs"):
            raise ValueError("The shape of the input is not known yet: build(input_shape), or give the first layer an `input_shape`.")
        if self.graph is None and input_shape and not isinstance(input_shape[0], (tuple, list)):
            self._enter(tuple(input_shape))

    def _draw(self, *args: Any, **kwargs: Any) -> Any:
        if self.graph is None:
            self._enter(symbolic_leaves(args)[0].shape)
        return super()._draw(*args, **kwargs)

    def _drawn(self) -> Graph:
        """The graph that somebody asks for. A stack that begins with an `Embedding` has one, as in Keras 2, if it takes any length."""
        if self.graph is None and self._stack and self._stack[0].assumed_input_shape is not None:
            counts = [len(layer._nodes) for layer in self._stack]
            try:
                self._enter(self._stack[0].assumed_input_shape)
            except ValueError:
                for layer, count in zip(self._stack, counts, strict=True):
                    del layer._nodes[count:]
        return super()._drawn()

    def _enter(self, batch_shape: Sequence[int | None]) -> None:
        """Draw the stack from an input of this shape."""
        if not self._stack:
            raise ValueError("This Sequential model has no layers yet. Add some first.")
        entry = InputLayer(batch_shape=batch_shape)
        entry.dtype = self.dtype
        tensors = [entry.open()]
        for layer in self._stack:
            tensors.append(_single(layer, layer(tensors[-1])))
        self._tensors = tensors
        self._graph = None
        _ = self.graph

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """Return the most probable class of each sample; 0 or 1 for an output of one unit."""
        probabilities = self.predict(x, batch_size=batch_size, verbose=verbose)
        return probabilities.argmax(-1) if probabilities.shape[-1] > 1 else (probabilities > 0.5).astype("int32")

    def predict_proba(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """Return what `predict` returns, under the name it has for classifiers."""
        return self.predict(x, batch_size=batch_size, verbose=verbose)


def describe_input(entry: InputLayer) -> dict[str, Any]:
    """Return the configuration of a stack's input, and whether somebody named it: another name may be found for it if nobody did.

    >>> entry = describe_input(InputLayer((3,), name="pixels"))
    >>> entry["name"], entry["named"]
    ('pixels', True)
    """
    return {**entry.get_config(), "named": entry.given_name is not None}


def make_input(config: Mapping[str, Any]) -> InputLayer:
    """Return a new input of the configuration that `describe_input` gave.

    >>> make_input(describe_input(InputLayer((3,), name="pixels"))).name
    'pixels'
    """
    described = dict(config)
    is_named = described.pop("named", True)  # configurations of earlier versions do not tell
    entry: InputLayer = InputLayer.from_config(described)
    if not is_named:
        entry.given_name, entry.automatic_name = None, entry.given_name
    return entry


def _single(layer: Layer, output: Any) -> KerasTensor:
    if not isinstance(output, KerasTensor):
        raise ValueError(f"Every layer of a Sequential model returns one tensor, but {layer.name} returned several.")
    return output


registry.register("Sequential", Sequential)
