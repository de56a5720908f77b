"""The graph of a model as TensorBoard draws it: a box for each call of a layer or function."""

from typing import Any

from torchkeras_fn.engine.graphs.graph import graph_of
from torchkeras_fn.engine.symbolic import describe_operation


def graph_definition(model: Any) -> Any:
    """Return a `GraphDef` of TensorBoard's for a drawn model; `None` for one with a `forward` of its own. Nothing is run.

    >>> graph_definition(object()) is None
    True
    """
    graph = graph_of(model)
    if graph is None:
        return None
    from tensorboard.compat.proto.graph_pb2 import GraphDef  # type: ignore[import]

    definition = GraphDef()
    names: dict[int, str] = {}
    for node in graph.nodes:
        operation = node.operation
        is_layer = operation in graph.names
        name = _unique(graph.names[operation] if is_layer else describe_operation(operation), set(names.values()))
        names[id(node)] = name
        box = definition.node.add(name=name, op=type(operation).__name__ if is_layer else describe_operation(operation))
        box.input.extend(names[id(graph.maker(parent))] for parent in node.parents)
        for tensor in node.tensors:
            shape = box.attr["_output_shapes"].list.shape.add()
            for size in tensor.shape:
                shape.dim.add(size=-1 if size is None else size)
    return definition


def _unique(name: str, taken: set[str]) -> str:
    """A name of its own for a layer that is called more than once."""
    number, unique = 0, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique
