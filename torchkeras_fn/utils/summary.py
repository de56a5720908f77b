"""The table that `model.summary()` prints."""

from collections.abc import Callable, Sequence
from typing import Any

from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.symbolic import describe_operation

Row = tuple[str, ...]


def print_summary(
    model: Any, line_length: int | None = None, positions: Sequence[float] | None = None, print_fn: Callable[[str], Any] | None = None
) -> None:
    """Print the calls of a model's layers and functions, and the totals of its parameters, each counted once.

    Connections are shown where the graph is not a plain chain. Raises `ValueError` for a model that is not built.

    >>> from torchkeras_fn import Input, Model, layers
    >>> x = Input(shape=(3,))
    >>> print_summary(Model(x, layers.Dense(2)(x), name="net"), line_length=60)
    Model: "net"
    ____________________________________________________________
    Layer (type)                Output Shape            Param #
    ============================================================
    input_1 (InputLayer)        (None, 3)               0
    dense_1 (Dense)             (None, 2)               8
    ============================================================
    Total params: 8
    Trainable params: 8
    Non-trainable params: 0
    """
    if not model._is_built():
        raise ValueError(f"{model.name} is not built yet: its shapes are unknown. Give an input shape, or fit it on data first.")
    show = print_fn or print
    branching = model.graph is not None and _branches(model.graph)
    header: Row = ("Layer (type)", "Output Shape", "Param #") + (("Connected to",) if branching else ())
    rows = _graph_rows(model, branching) if model.graph is not None else [_layer_row(layer) for layer in model.layers]
    shares = positions or ((0.33, 0.55, 0.67, 1.0) if branching else (0.46, 0.86, 1.0))
    length = line_length or (100 if branching else 66)
    show(f'Model: "{model.name}"')
    show("_" * length)
    show(_format(header, shares, length))
    show("=" * length)
    for row in rows:
        show(_format(row, shares, length))
    show("=" * length)
    total = sum(weight.numel() for weight in model.weights)
    trainable = sum(weight.numel() for weight in model.trainable_weights)
    show(f"Total params: {total:,}")
    show(f"Trainable params: {trainable:,}")
    show(f"Non-trainable params: {total - trainable:,}")


def _branches(graph: Any) -> bool:
    readers = [id(parent) for node in graph.nodes for parent in node.parents]
    several = any(len(node.parents) > 1 for node in graph.nodes)
    return several or len(readers) != len(set(readers)) or len(graph.inputs) > 1 or len(graph.outputs) > 1


def _graph_rows(model: Any, branching: bool) -> list[Row]:
    graph, seen = model.graph, set()
    hidden = {id(layer) for layer in graph.layers if layer not in model.layers}
    rows = []
    for node in graph.nodes:
        operation = node.operation
        if id(operation) in hidden:
            continue
        is_layer = isinstance(operation, Layer)
        name = graph.names[operation] if is_layer else describe_operation(operation)
        kind = type(operation).__name__ if is_layer else "function"
        shapes = [tensor.shape for tensor in node.tensors]
        count = sum(weight.numel() for weight in operation.weights) if is_layer else 0
        shown = f"{count:,}" if id(operation) not in seen or not is_layer else "shared"
        seen.add(id(operation))
        parents = ", ".join(graph.name_of(parent) for parent in node.parents)
        rows.append((f"{name} ({kind})", str(shapes[0] if len(shapes) == 1 else shapes), shown) + ((parents,) if branching else ()))
    return rows


def _layer_row(layer: Layer) -> Row:
    count = sum(weight.numel() for weight in layer.weights)
    return (f"{layer.name} ({type(layer).__name__})", "?", f"{count:,}")


def _format(row: Row, shares: Sequence[float], length: int) -> str:
    ends = [int(share * length) if share <= 1 else int(share) for share in shares]
    line = ""
    for cell, end in zip(row, ends, strict=True):
        line = line[: max(end, 0)] + cell
        line = line[: end - 1].ljust(end) if end < length else line
    return line.rstrip()
