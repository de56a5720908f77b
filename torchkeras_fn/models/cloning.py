"""Copies of a model with new weights."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from torchkeras_fn.engine.basics.structure import nested
from torchkeras_fn.engine.graphs.records import describe_layer, draw, make_layer, shared_layers, write_records
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.symbolic import KerasTensor
from torchkeras_fn.layers.input import InputLayer
from torchkeras_fn.layers.time_distributed import Wrapper
from torchkeras_fn.models.sequential import Sequential, describe_input, make_input
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import custom_object_scope, get_registered_name


def clone_model(model: Any, input_tensors: Any = None, clone_function: Callable[[Layer], Layer] | None = None) -> Any:
    """Return a model of the same layers with new weights, which is not compiled.

    `input_tensors`, one for each input, take the place of new inputs. `clone_function` makes each new layer out of the old
    one (inputs aside); a nested model is one layer to it. Wrapped torch modules are copied, and their parameters
    drawn anew where they know how. Raises `ValueError` for arguments that do not fit, and for `clone_function` or
    `input_tensors` on a model with a `call` of its own, whose layers its constructor makes.

    >>> from torchkeras_fn.layers import Dense
    >>> clone_model(Sequential([Dense(2, input_shape=(3,))])).output_shape
    (None, 2)
    """
    if not isinstance(model, Drawn):
        raise ValueError(f"clone_model needs a Model, got {model!r} of type {type(model).__name__}.")
    if clone_function is not None and not callable(clone_function):
        raise ValueError(f"clone_function is a function from a layer to a layer, got {clone_function!r}.")
    if model.graph is None and not isinstance(model, Sequential) or not is_ours(type(model).__init__):
        if input_tensors is not None or clone_function is not None:
            raise ValueError(f"The layers of {type(model).__name__} are made by its constructor: clone it without further arguments.")
        return type(model).from_config(model.get_config())
    return _Cloner(clone_function).model(model, _listed(input_tensors, model))


def _listed(tensors: Any, model: Drawn) -> list[KerasTensor] | None:
    if tensors is None:
        return None
    given = list(tensors.values()) if isinstance(tensors, Mapping) else list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
    if isinstance(tensors, Mapping) and model.graph is not None and set(tensors) == set(model.input_names):
        given = [tensors[name] for name in model.input_names]
    if model._input_structure is not None and model._input_structure.fits(tensors):
        given = model._input_structure.flat(tensors)
    strange = [tensor for tensor in given if not isinstance(tensor, KerasTensor)]
    if strange:
        raise ValueError(f"input_tensors are symbolic tensors, such as those of Input(...); got {strange[0]!r}.")
    count = len(model.inputs) if model.graph is not None else 1
    if len(given) != count:
        raise ValueError(f"input_tensors has {len(given)} entries, but the model has {count} inputs.")
    return given


class _Cloner:
    """Makes the copy of each layer once, however often and in how many nested models it stands."""

    def __init__(self, clone_function: Callable[[Layer], Layer] | None):
        self.clone_function = clone_function
        self.copies: dict[Layer, Layer] = {}

    def model(self, model: Drawn, inputs: Sequence[KerasTensor] | None = None) -> Any:
        """Return the copy of a model, on new inputs or on those given."""
        if isinstance(model, Sequential):
            return self.stack(model, inputs)
        graph = model._drawn()
        records = write_records(graph)
        calls = [
            call._replace(operation=self.layer(call.operation, graph.names[call.operation])) if isinstance(call.operation, Layer) else call
            for call in records.calls
        ]
        entries = {} if inputs is None else {reference.call: tensor for reference, tensor in zip(records.inputs, inputs, strict=True)}
        drawn = draw(dataclasses.replace(records, calls=calls), entries)
        twin = type(model)(inputs=nested(model._input_structure, drawn.inputs), outputs=nested(model._output_structure, drawn.outputs))
        twin.take_terms(drawn.terms, [label for label, _ in model._symbolic_metrics])
        twin.take_own_config(model.own_config())
        return twin

    def stack(self, model: Sequential, inputs: Sequence[KerasTensor] | None) -> Any:
        entry = list(inputs or [])
        if not entry and model._tensors:
            entry = [make_input(describe_input(model._tensors[0].node.operation)).open()]
        twin = type(model)([*entry, *(self.layer(layer, model.layer_name(layer)) for layer in model.layers)])
        twin.take_own_config(model.own_config())
        return twin

    def layer(self, layer: Layer, name: str) -> Layer:
        """Return the copy of a layer, under its name in the model."""
        if layer not in self.copies:
            self.copies[layer] = self._copy(layer, name)
        return self.copies[layer]

    def _copy(self, layer: Layer, name: str) -> Layer:
        if self.clone_function is not None and not isinstance(layer, InputLayer):
            made = self.clone_function(layer)
            if not isinstance(made, Layer):
                raise ValueError(f"clone_function returned {made!r} for the layer {name!r}, which is no layer.")
            return made
        if isinstance(layer, Wrapper):
            inner = self.layer(layer.layer, layer.layer.name)
            with shared_layers():
                entry = {**describe_layer(layer, name), "key": None}
                return make_layer(entry, lambda entry: type(layer).from_config({**entry["config"], "layer": inner}))  # type: ignore[no-any-return]
        if isinstance(layer, Drawn) and (layer.graph is not None or isinstance(layer, Sequential)) and is_ours(type(layer).__init__):
            twin: Layer = self.model(layer)
            return twin
        with shared_layers():
            return make_layer({**describe_layer(layer, name), "key": None}, lambda entry: _remade(layer, entry["config"]))


def _remade(layer: Layer, config: Mapping[str, Any]) -> Layer:
    """A new layer of a configuration, in which classes of the user's own may be named: those of the parts of the layer."""
    unshared = {name: _fresh(value) if isinstance(value, nn.Module) else value for name, value in config.items()}
    with custom_object_scope({get_registered_name(kind): kind for kind in _kinds_in(layer)}):
        made: Layer = type(layer).from_config(unshared)
    return made


def _kinds_in(layer: Layer) -> Iterator[type]:
    """The classes of a layer, of the layers inside it, and of the initializers and such that they were given."""
    for part in layer.sublayers():
        arguments, named = part._arguments
        yield from (type(value) for value in (part, *arguments, *named.values()) if hasattr(value, "get_config"))


def _fresh(module: nn.Module) -> nn.Module:
    """A copy of a torch module, with parameters drawn anew by those of its parts that know how."""
    twin = copy.deepcopy(module)
    for part in twin.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    return twin
