"""A graph as a flat list of calls: what copies, pickles and configurations of a model are made of."""

import functools
import keyword
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from torchkeras_fn.engine.basics.nested import map_only
from torchkeras_fn.engine.drawing.functions import dtype_named, find_function, function_name
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.symbolic import KerasTensor, map_symbolic, record, symbolic_leaves
from torchkeras_fn.registry import get_registered_name


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
        made_here = [(position, tensor) for position, tensor in enumerate(node.tensors) if graph.maker(tensor) is node]
        positions.update((id(tensor), Reference(index, position)) for position, tensor in made_here)
        args, kwargs = map_symbolic(lambda tensor: positions[id(tensor)], (node.args, node.kwargs))
        calls.append(Call(node.operation, args, kwargs))
    ends = [[positions[id(tensor)] for tensor in tensors] for tensors in (graph.inputs, graph.outputs, graph.terms)]
    return Records(calls, *ends)


def draw(records: Records, entries: Mapping[int, KerasTensor] | None = None) -> Graph:
    """Draw a graph anew from its records, calling their layers and functions; `entries` stand for the calls at their positions."""
    made: list[list[KerasTensor]] = []
    input_layer: Any = registry.find("InputLayer")

    def tensor(reference: Reference) -> KerasTensor:
        return made[reference.call][reference.tensor]

    for index, call in enumerate(records.calls):
        if entries and index in entries:
            made.append([entries[index]])
            continue
        args, kwargs = map_only(Reference, tensor, (call.args, call.kwargs))
        if isinstance(call.operation, input_layer):
            outputs = call.operation.open()
        elif isinstance(call.operation, Layer):
            outputs = call.operation(*args, **kwargs)
        else:
            outputs = _record_function(call.operation, args, kwargs)
        made.append(symbolic_leaves(outputs))
    inputs, outputs, terms = ([tensor(reference) for reference in ends] for ends in (records.inputs, records.outputs, records.terms))
    return Graph(inputs, outputs, terms)


def _record_function(function: Any, args: Any, kwargs: Any) -> Any:
    """Draw a call of a function. Sizes are numbers of Python, which know no bounds: raises `ValueError` past 64 bits."""
    if function in (operator.pow, operator.lshift) and all(_is_number(part) for part in args):
        raise ValueError(f"{function.__name__} of sizes alone is not drawn.")
    outputs = record(function, args, kwargs)
    for tensor in symbolic_leaves(outputs):
        if any(abs(size) >= 2**63 for size in tensor.spec.number or ()):
            raise ValueError(f"{function.__name__} makes a size of more than 64 bits.")
    return outputs


def _is_number(part: Any) -> bool:
    return part.spec.number is not None if isinstance(part, KerasTensor) else not isinstance(part, torch.Tensor)


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
        entry = {"class_name": get_registered_name(type(layer)), "name": name, "config": layer.get_config()}
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
        encode = functools.partial(_encode, keys=graph.constant_keys)
        args, kwargs = [encode(value) for value in call.args], {key: encode(value) for key, value in call.kwargs.items()}
        nodes.append({"layer" if is_layer else "function": name, "args": args, "kwargs": kwargs})
    with shared_layers():
        layers = [describe_layer(layer, graph.names[layer]) for layer in graph.layers]
    ends = {"inputs": records.inputs, "outputs": records.outputs, "terms": records.terms}
    return {"layers": layers, "nodes": nodes, **{name: [list(reference) for reference in references] for name, references in ends.items()}}


def from_plain(config: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Layer]) -> Graph:
    """Draw the graph that `to_plain` described, with new layers from `make`."""
    with shared_layers():
        layers = {entry["name"]: make_layer(entry, make) for entry in config["layers"]}
    calls, decode = [], functools.partial(_decode, constants={})
    for node in config["nodes"]:
        operation = layers[node["layer"]] if "layer" in node else find_function(node["function"])
        args = tuple(decode(value) for value in node["args"])
        kwargs = {_checked_keyword(key): decode(value) for key, value in node["kwargs"].items()}
        if "function" in node:
            _check_function_call(node["function"], args, kwargs)
        calls.append(Call(operation, args, kwargs))
    ends = [[Reference(*reference) for reference in config.get(name, [])] for name in ("inputs", "outputs", "terms")]
    return draw(Records(calls, *ends))


def _checked_keyword(key: str) -> str:
    """The lowered model is Python code, in which the name of an argument stands as it is."""
    if not key.isidentifier() or keyword.iskeyword(key):
        raise ValueError(f"{key!r} is no name of an argument.")
    return key


def _check_function_call(name: str, args: Any, kwargs: Any) -> None:
    """Refuse a call that is none of tensors: Python's operators would repeat lists and format strings without end."""
    references: list[Reference] = []
    map_only(Reference, references.append, (args, kwargs))
    if not references:
        raise ValueError(f"{name!r} is called without a tensor of the graph.")
    strange = [part for part in args if isinstance(part, (str, list, tuple, dict)) and not isinstance(part, Reference)]
    if strange and name.startswith("operator.") and name != "operator.getitem":
        raise ValueError(f"{name!r} takes numbers and tensors, got {strange[0]!r}.")


def _encode(value: Any, keys: Mapping[int, str]) -> Any:
    """A value of a call; `keys` says which constants are the same one."""
    if isinstance(value, Reference):
        return {"tensor": list(value)}
    if isinstance(value, slice):
        return {"slice": [_encode(part, keys) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return {"constant": value.detach().cpu().tolist(), "dtype": kind, "trained": value.requires_grad, "key": keys.get(id(value))}
    if isinstance(value, tuple):
        return {"tuple": [_encode(part, keys) for part in value]}
    if isinstance(value, list):
        return [_encode(part, keys) for part in value]
    if isinstance(value, dict):
        return {"dict": {name: _encode(part, keys) for name, part in value.items()}}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"{value!r} of type {type(value).__name__} cannot be written to a configuration.")


def _decode(value: Any, constants: dict[str, torch.Tensor]) -> Any:
    """What `_encode` was given; of one key there is one constant."""
    if isinstance(value, list):
        return [_decode(part, constants) for part in value]
    if not isinstance(value, Mapping):
        return value
    if "tensor" in value:
        return Reference(*value["tensor"])
    if "slice" in value:
        return slice(*(_decode(part, constants) for part in value["slice"]))
    if "ellipsis" in value:
        return Ellipsis
    if "constant" in value:
        key = value.get("key")
        found = constants[key] if key in constants else _constant(value)
        return found if key is None else constants.setdefault(key, found)
    if "dtype" in value:
        return dtype_named(value["dtype"])
    if "tuple" in value:
        return tuple(_decode(part, constants) for part in value["tuple"])
    return {name: _decode(part, constants) for name, part in value["dict"].items()}


def _constant(value: Mapping[str, Any]) -> torch.Tensor:
    kind = dtype_named(value["dtype"])
    constant = torch.zeros(value["shape"], dtype=kind) if value["constant"] is None else torch.tensor(value["constant"], dtype=kind)
    return torch.nn.Parameter(constant) if value.get("trained") else constant
