"""A graph as a flat list of calls: what copies, pickles and configurations of a model are made of."""

import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.overrides import get_overridable_functions, resolve_name

from torchkeras_fn.engine.graph import Graph
from torchkeras_fn.engine.inference import map_only
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.symbolic import KerasTensor, map_symbolic, record, symbolic_leaves


class Reference(NamedTuple):
    """A tensor of a graph: the position of the call that makes it, and which of that call's tensors it is."""

    call: int
    tensor: int


class Call(NamedTuple):
    """One call: a layer or function, and its arguments with a `Reference` for each symbolic tensor."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass
class Records:
    """The calls of a graph in order, and its ends."""

    calls: list[Call]
    inputs: list[Reference]
    outputs: list[Reference]
    terms: list[Reference] = field(default_factory=list)


def write_records(graph: Graph) -> Records:
    """Return the graph as a flat list."""
    positions: dict[int, Reference] = {}
    calls = []
    for index, node in enumerate(graph.nodes):
        positions.update((id(tensor), Reference(index, position)) for position, tensor in enumerate(node.tensors))
        is_entry = not node.parents or any(node is tensor.node for tensor in graph.inputs)
        args, kwargs = ((), {}) if is_entry else map_symbolic(lambda tensor: positions[id(tensor)], (node.args, node.kwargs))
        calls.append(Call(node.operation, args, kwargs))
    ends = [[positions[id(tensor)] for tensor in tensors] for tensors in (graph.inputs, graph.outputs, graph.terms)]
    return Records(calls, *ends)


def draw(records: Records) -> Graph:
    """Draw a graph anew from its records, calling their layers and functions."""
    made: list[list[KerasTensor]] = []

    def tensor(reference: Reference) -> KerasTensor:
        return made[reference.call][reference.tensor]

    for call in records.calls:
        args, kwargs = map_only(Reference, tensor, (call.args, call.kwargs))
        open_input = getattr(call.operation, "open", None)
        if open_input is not None:
            outputs = open_input()
        elif isinstance(call.operation, Layer):
            outputs = call.operation(*args, **kwargs)
        else:
            outputs = record(call.operation, args, kwargs)
        made.append(symbolic_leaves(outputs))
    inputs, outputs, terms = ([tensor(reference) for reference in ends] for ends in (records.inputs, records.outputs, records.terms))
    return Graph(inputs, outputs, terms)


# ---------------------------------------------------------------------- plain data


_known_layers: dict[Any, Any] | None = None


@contextmanager
def shared_layers() -> Iterator[dict[Any, Any]]:
    """Within the outermost block a layer is described, or made, once, however many nested models hold it.

    >>> with shared_layers() as outer, shared_layers() as inner:
    ...     outer is inner
    True
    """
    global _known_layers
    outer, _known_layers = _known_layers, {} if _known_layers is None else _known_layers
    try:
        yield _known_layers
    finally:
        _known_layers = outer


def describe_layer(layer: Layer, name: str) -> dict[str, Any]:
    """Return the entry of a layer in a model's configuration; `key` is the same wherever the same layer stands."""
    with shared_layers() as known:
        key = known.setdefault(id(layer), len(known))
        entry = {"class_name": type(layer).__name__, "name": name, "config": layer.get_config()}
        return {**entry, "named": layer.given_name is not None, "key": key}


def make_layer(entry: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Layer]) -> Layer:
    """Return the layer of an entry: a new one from `make`, or the one made for another entry with the same key."""
    with shared_layers() as known:
        key = entry.get("key")
        if key is not None and key in known:
            found: Layer = known[key]
            return found
        layer = make(entry)
        name = entry["name"]
        layer.given_name, layer.automatic_name = (name, None) if entry.get("named", True) else (None, name)
        if key is not None:
            known[key] = layer
        return layer


def to_plain(graph: Graph) -> dict[str, Any]:
    """Return the graph as lists and dicts of plain values.

    Raises `ValueError` for a call that plain values cannot describe, such as that of a function which is not torch's.
    """
    records = write_records(graph)
    nodes = []
    for call in records.calls:
        is_layer = isinstance(call.operation, Layer)
        name = graph.names[call.operation] if is_layer else function_name(call.operation)
        args, kwargs = [_encode(value) for value in call.args], {key: _encode(value) for key, value in call.kwargs.items()}
        nodes.append({"layer" if is_layer else "function": name, "args": args, "kwargs": kwargs})
    with shared_layers():
        layers = [describe_layer(layer, graph.names[layer]) for layer in graph.layers]
    ends = {"inputs": records.inputs, "outputs": records.outputs, "terms": records.terms}
    return {"layers": layers, "nodes": nodes, **{name: [list(reference) for reference in references] for name, references in ends.items()}}


def from_plain(config: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Layer]) -> Graph:
    """Draw the graph that `to_plain` described, with new layers from `make`."""
    with shared_layers():
        layers = {entry["name"]: make_layer(entry, make) for entry in config["layers"]}
    calls = []
    for node in config["nodes"]:
        operation = layers[node["layer"]] if "layer" in node else find_function(node["function"])
        args = tuple(_decode(value) for value in node["args"])
        calls.append(Call(operation, args, {key: _decode(value) for key, value in node["kwargs"].items()}))
    ends = [[Reference(*reference) for reference in config.get(name, [])] for name in ("inputs", "outputs", "terms")]
    return draw(Records(calls, *ends))


_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift")
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert", "getitem")


@functools.cache
def _functions() -> dict[str, Callable[..., Any]]:
    """The functions that a configuration may name: those of torch that take tensors, and Python's operators."""
    found: dict[str, Callable[..., Any]] = {f"operator.{name}": getattr(operator, name) for name in _OPERATORS + _COMPARISONS}
    found["getattr"] = _tensor_property
    for functions in get_overridable_functions().values():
        for function in functions:
            name = resolve_name(function)
            if name is not None and not name.endswith("__get__"):
                found.setdefault(name, function)
    return found


def _tensor_property(tensor: Any, name: str) -> Any:
    """Read a public property of a tensor."""
    if name.startswith("_"):
        raise ValueError(f"{name!r} is not a public property of a tensor.")
    return getattr(tensor, name)


def function_name(function: Callable[..., Any]) -> str:
    """Return the name under which a configuration knows a function. Raises `ValueError` for one that is not torch's.

    >>> function_name(torch.cat), function_name(operator.add)
    ('torch.cat', 'operator.add')
    """
    if function is getattr or function is _tensor_property:
        return "getattr"
    for name, known in _functions().items():
        if known is function:
            return name
    raise ValueError(
        f"{getattr(function, '__name__', function)!r} is not a function of torch, so a configuration cannot name it. Use a layer."
    )


def find_function(name: str) -> Callable[..., Any]:
    """Return the function of that name. Raises `ValueError` for any that is not torch's.

    >>> find_function("torch.cat") is torch.cat
    True
    """
    if name not in _functions():
        raise ValueError(f"{name!r} is not a function of torch that a configuration may name.")
    return _functions()[name]


def _encode(value: Any) -> Any:
    if isinstance(value, Reference):
        return {"tensor": list(value)}
    if isinstance(value, slice):
        return {"slice": [_encode(part) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.Tensor):
        return {"constant": value.detach().cpu().tolist(), "dtype": str(value.dtype).removeprefix("torch."), "trained": value.requires_grad}
    if isinstance(value, tuple):
        return {"tuple": [_encode(part) for part in value]}
    if isinstance(value, list):
        return [_encode(part) for part in value]
    if isinstance(value, dict):
        return {"dict": {name: _encode(part) for name, part in value.items()}}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"{value!r} of type {type(value).__name__} cannot be written to a configuration.")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    if "tensor" in value:
        return Reference(*value["tensor"])
    if "slice" in value:
        return slice(*(_decode(part) for part in value["slice"]))
    if "ellipsis" in value:
        return Ellipsis
    if "constant" in value:
        constant = torch.tensor(value["constant"], dtype=getattr(torch, value["dtype"]))
        return torch.nn.Parameter(constant) if value.get("trained") else constant
    if "dtype" in value:
        return getattr(torch, value["dtype"])
    if "tuple" in value:
        return tuple(_decode(part) for part in value["tuple"])
    return {name: _decode(part) for name, part in value["dict"].items()}
