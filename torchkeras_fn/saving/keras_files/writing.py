"""From models here to configurations that Keras reads. What Keras has no word for is refused, by its name."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from torchkeras_fn.engine.basics.structure import nested
from torchkeras_fn.engine.drawing.incoming import cast_inside
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.layer_parts.weights import ACTIVATIONS
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.symbolic import KerasTensor, Node, describe_operation, is_symbolic
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import get_registered_name
from torchkeras_fn.saving.keras_files.state import class_name_of, is_functional, keras_layers, past_casts, path_name
from torchkeras_fn.saving.keras_files.twins import written
from torchkeras_fn.saving.keras_files.values import SHARED, to_keras

_UNKNOWN = frozenset(("LocallyConnected1D", "LocallyConnected2D", "TorchModuleWrapper"))
_EXPORTED = {"GroupedQueryAttention": "GroupQueryAttention"}
_OF_OURS = frozenset(("activity_regularizer", "input_shape", "batch_input_shape", "input_dim", "input_length", "batch_size", "weights"))
_LEFT_OUT = frozenset(("implementation", "use_cudnn", "time_major", "batch_size"))
_LATER = {"flash_attention": None, "sliding_window": None, "use_gate": False}
"""Arguments that came after the first versions of Keras 3, which refuse them, and what says nothing more than leaving them out."""


class Writer:
    """Describes models as Keras does. A layer that stands in several models is marked as one, which Keras reads as several.

    >>> Writer().model(registry.find("Sequential")())["class_name"]
    'Sequential'
    """

    def __init__(self) -> None:
        self._places: Counter[int] = Counter()

    def model(self, model: Any) -> dict[str, Any]:
        """Return the entry of a model. Raises `ValueError`, naming the layer or the function, for what Keras does not know."""
        self._count(model)
        return self.layer(model, model.name)

    def _count(self, model: Any) -> None:
        """Note in how many models each layer stands."""
        for layer in model.layers if isinstance(model, Drawn) else ():
            self._places[id(layer)] += 1
            if self._places[id(layer)] == 1:
                self._count(layer)

    def layer(self, layer: Layer, name: str) -> dict[str, Any]:
        """Return the entry of a layer or a model inside, under its name."""
        entry = self._described(layer, name)
        if self._places[id(layer)] > 1:
            entry[SHARED] = list(self._places).index(id(layer)) + 1
        return entry

    def _described(self, layer: Any, name: str) -> dict[str, Any]:
        if isinstance(layer, Drawn) and is_ours(type(layer)) and not hasattr(layer, "layer"):
            if isinstance(layer, registry.find("Sequential")):
                return _entry("keras", "Sequential", self._stack(layer, name))
            if layer.graph is None:
                raise ValueError(f"{name}: the model has no graph, and its class is not yours, so there is nothing to write down.")
            return {**_entry("keras.src.models.functional", "Functional", self._graph(layer, name)), "registered_name": "Functional"}
        if type(layer).__name__ in _UNKNOWN and is_ours(type(layer)):
            raise ValueError(f"{name}: there is no {type(layer).__name__} in Keras 3, so the model cannot be written to a Keras file.")
        if not is_ours(type(layer)):
            known_as = get_registered_name(type(layer))
            config = self._drawn(layer, name) or to_keras(self._of_own(layer), self._inner, name)
            entry = {**_entry(type(layer).__module__, type(layer).__name__, {**config, "name": name}), "registered_name": known_as}
            return entry | (_built(layer) if isinstance(layer, Drawn) else {})
        kind = class_name_of(layer)
        return _entry("keras.layers", _EXPORTED.get(kind, kind), self._arguments(layer, name))

    def _of_own(self, layer: Any) -> dict[str, Any]:
        """The configuration of a layer of a user's class; the layer that it wraps, of which this library's `get_config` tells, as it is."""
        config = _without_ours(layer.get_config())
        wraps = is_ours(type(layer).get_config) and "layer" in config and isinstance(getattr(layer, "layer", None), Layer)
        return {**config, "layer": layer.layer} if wraps else config

    def _inner(self, layer: Layer) -> dict[str, Any]:
        return self.layer(layer, layer.name)

    def _arguments(self, layer: Any, name: str) -> dict[str, Any]:
        """The configuration of a layer of this library, in the words of Keras 3."""
        kind = type(layer).__name__
        if kind == "InputLayer":
            return _input(layer, name, layer.declared_dtype)
        config = _without_ours(layer.get_config())
        for held in ("layer", "forward_layer", "backward_layer", "cell", *ACTIVATIONS):
            if held in config and isinstance(getattr(layer, held, None), Layer):
                config[held] = getattr(layer, held)
        if kind == "Bidirectional":
            config["layer"] = layer.forward_layer
        if "cells" in config:
            config["cells"] = list(layer.cells)
        if kind == "Discretization":
            del config["trainable"]
        if kind == "ThresholdedReLU":
            config = {"threshold": config.pop("theta"), **config}
        if kind in ("LeakyReLU", "CuDNNLSTM", "CuDNNGRU") or kind.startswith("SpatialDropout"):
            config = {key: value for key, value in config.items() if key not in ("alpha", "trainable")} | _renamed(layer, config)
        found = to_keras({**config, "name": name, "dtype": str(layer.dtype).removeprefix("torch.")}, self._inner, name)
        for held in ACTIVATIONS:
            if isinstance(getattr(layer, held, None), Layer) and isinstance(found.get(held), dict):
                found[held] |= _built(getattr(layer, held))
        return {key: value for key, value in found.items() if key not in _LEFT_OUT and not (key in _LATER and value == _LATER[key])}

    # ------------------------------------------------------------------ stacks and graphs

    def _drawn(self, model: Any, name: str) -> dict[str, Any] | None:
        """The layers of a model of a user's class that was made of them, as its `get_config`, which is this library's, says."""
        if not (isinstance(model, Drawn) and is_ours(type(model).get_config) and {"layers", "named"} <= model.get_config().keys()):
            return None
        return self._stack(model, name) if isinstance(model, registry.find("Sequential")) else self._graph(model, name)

    def _stack(self, model: Any, name: str) -> dict[str, Any]:
        layers = [self.layer(layer, model.layer_name(layer)) for layer in model.layers]
        config: dict[str, Any] = {"name": name, "trainable": model.trainable, "layers": layers}
        if model.graph is not None:
            entry, shape = model.graph.maker(model.inputs[0]).operation, list(model.inputs[0].shape)
            first = _entry("keras.layers", "InputLayer", _input(entry, model.layer_name(entry), model.graph.input_dtype(0)))
            config |= {"layers": [first, *layers], "build_input_shape": shape}
        return config

    def _graph(self, model: Any, name: str) -> dict[str, Any]:
        _check_graph(model)
        written_graph = _WrittenGraph(model.graph, self)
        entries = {layer: self.layer(layer, model.graph.names[layer]) for layer in keras_layers(model)}
        for index, tensor in enumerate(model.inputs):
            layer = model.graph.maker(tensor).operation
            entries[layer]["config"] = _input(layer, model.graph.name_of(tensor), model.graph.input_dtype(index))
        listed = [
            {**entry, "name": model.graph.names[layer], "inbound_nodes": written_graph.calls[model.graph.names[layer]]}
            for layer, entry in entries.items()
        ]
        return {
            "name": name,
            "trainable": model.trainable,
            "layers": [*listed, *written_graph.operations],
            "input_layers": nested(model._input_structure, [written_graph.end(tensor) for tensor in model.inputs]),
            "output_layers": nested(model._output_structure, [written_graph.end(tensor) for tensor in model.outputs]),
        }


def _entry(module: str, class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def _built(layer: Layer) -> dict[str, Any]:
    """What an activation, or a model of a class of one's own, is built by before its weights are read: nothing else builds it."""
    shape = layer.built_for
    is_plain = isinstance(shape, tuple) and all(size is None or isinstance(size, int) for size in shape)
    return {"build_config": {"input_shape": list(shape)}} if is_plain and layer.weights else {}


def _without_ours(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what only layers here take, and without a dtype that was not chosen."""
    optional = {key: value for key, value in config.items() if key in _OF_OURS}
    kept = {key: value for key, value in config.items() if key not in _OF_OURS and not (key == "dtype" and value is None)}
    if optional.get("activity_regularizer") is not None:
        kept["activity_regularizer"] = optional["activity_regularizer"]
    if "output_dim" in config and "input_dim" in config:  # the number of indices of an `Embedding`, and not the size of an input
        kept["input_dim"] = config["input_dim"]
    return kept


def _renamed(layer: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    if type(layer).__name__ == "LeakyReLU":
        return {"negative_slope": layer.negative_slope, "trainable": config.get("trainable", True)}
    return {} if type(layer).__name__.startswith("SpatialDropout") else {"trainable": config.get("trainable", True)}


def _input(layer: Any, name: str, dtype: Any) -> dict[str, Any]:
    kind = str(dtype or layer.dtype).removeprefix("torch.")
    return {"batch_shape": list(layer.batch_shape), "dtype": kind, "sparse": bool(layer.sparse), "name": name}


def _check_graph(model: Any) -> None:
    if any(True for _ in model.graph.constants.parameters()):
        raise ValueError(f"{model.name}: the graph holds a parameter of torch that is trained, which Keras does not. Put it into a layer.")
    if model.graph.terms:
        raise ValueError(f"{model.name}: Keras 3 has no add_loss and add_metric for tensors of a graph, so they cannot be written.")
    fed = [tensor.name for tensor in model.inputs if getattr(model.graph.maker(tensor).operation, "tensor", None) is not None]
    if fed:
        raise ValueError(f"{model.name}: the input {fed[0]!r} is fed by a tensor, which Keras 3 does not know.")


class _WrittenGraph:
    """The calls of a graph: those of each layer, and those of functions as operations of Keras."""

    def __init__(self, graph: Graph, writer: Writer):
        self._graph = graph
        self._names = graph.names
        self._places: dict[int, list[Any]] = {}
        self._writer = writer
        self.calls: dict[str, list[Any]] = {name: [] for name in graph.names.values()}
        self.operations: list[dict[str, Any]] = []
        self._taken = set(graph.names.values())
        for node in graph.nodes:
            if isinstance(node.operation, Layer):
                self._write_layer(node)
            elif not any(tensor.spec.number is not None for tensor in node.tensors) and not self._is_cast(node):
                self._write_function(node)

    def _is_cast(self, node: Node) -> bool:
        """Whether a call is a cast that a layer of floats asked for, as Keras' layers do inside, and nothing else reads it."""
        return node.operation is cast_inside and not any(tensor.node is node for tensor in self._graph.outputs)

    def _write_layer(self, node: Node) -> None:
        name = self._names[node.operation]
        calls = self.calls[name]
        self._note(node, name, len(calls))
        if node.parents:
            kwargs = {key: self._encode(value, name) for key, value in node.kwargs.items()}
            args = node.args
            if isinstance(node.operation, Drawn) and isinstance(args[0], list):
                args = (nested(node.operation._input_structure, args[0]), *args[1:])
            calls.append({"args": [self._encode(value, name) for value in args], "kwargs": kwargs})

    def _write_function(self, node: Node) -> None:
        twin = written(node.operation, node.args, node.kwargs, node.tensors)
        number, name = 0, path_name(twin.name)
        while name in self._taken:
            number += 1
            name = f"{path_name(twin.name)}_{number}"
        self._taken.add(name)
        self._note(node, name, 0, twin.outputs)
        entry = {**_entry(f"keras.src.ops.{twin.module}", twin.name, {"name": name, **twin.config}), "registered_name": twin.name}
        call = {"args": [self._encode(value, name) for value in twin.args], "kwargs": {}}
        self.operations.append({**entry, "name": name, "inbound_nodes": [call]})

    def _note(self, node: Node, name: str, number: int, count: int | None = None) -> None:
        made_here = [(index, tensor) for index, tensor in enumerate(node.tensors[:count]) if self._graph.maker(tensor) is node]
        self._places |= {id(tensor): [name, number, index] for index, tensor in made_here}

    def _place(self, tensor: KerasTensor) -> list[Any]:
        if id(tensor) not in self._places:
            tensor = past_casts(tensor)
        if id(tensor) not in self._places and tensor.spec.number is None:
            name = describe_operation(tensor.node.operation)
            raise ValueError(f"what {name} makes beside its first tensor is not written to a Keras file: take argsort, or argmax.")
        if id(tensor) not in self._places:
            raise ValueError(
                f"the size of a tensor that is known only when the model runs, {tensor!r:.80}, cannot be written to a Keras file."
            )
        return self._places[id(tensor)]

    def _encode(self, value: Any, owner: str) -> Any:
        """An argument of a call as Keras writes it."""
        if isinstance(value, KerasTensor):
            config = {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch."), "keras_history": self._place(value)}
            return {"class_name": "__keras_tensor__", "config": config}
        if isinstance(value, (list, tuple)):
            return [self._encode(part, owner) for part in value]
        if isinstance(value, Mapping) and is_symbolic(value):
            return {key: self._encode(part, owner) for key, part in value.items()}
        if isinstance(value, slice):
            return {"class_name": "__slice__", "config": {name: getattr(value, name) for name in ("start", "stop", "step")}}
        if value is Ellipsis:
            return {"class_name": "__ellipsis__", "config": {}}
        if isinstance(value, torch.Tensor):
            kind = str(value.dtype).removeprefix("torch.")
            if value.dim() == 0:
                return value.item()
            return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": kind}}
        return to_keras(value, self._writer._inner, owner)

    def end(self, tensor: KerasTensor) -> list[Any]:
        """Return how an input or output is named: the calls of a nested graph count from 1 there."""
        name, number, index = self._place(tensor)
        return [name, number + is_functional(self._graph.maker(tensor).operation), index]
