"""The table that `model.summary()` prints."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.graphs.graph import graph_of
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.symbolic import describe_operation

Row = tuple[str, ...]

_SHARES = {
    (False, False): (0.46, 0.86, 1.0),
    (True, False): (0.33, 0.55, 0.67, 1.0),
    (False, True): (0.40, 0.74, 0.87, 1.0),
    (True, True): (0.30, 0.50, 0.61, 0.91, 1.0),
}
"""Where the columns end: of a chain and of a graph with branches, without and with the column of what is trained."""


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
) -> None:
    """Print the calls of a model's layers and functions, and the totals of its parameters, each counted once.

    A model with its own `forward`, or one around a torch module, has a row for each layer and torch module in its attributes.
    Connections are shown where the graph is not a plain chain, the parts of nested models and modules where `expand_nested`, and
    whether a layer is trained (Y or N; - where there is nothing to train) where `show_trainable`. `positions` says where
    each column ends, in shares of the line or in characters. Raises `ValueError` for a model that is not built, and for
    fewer positions than columns.

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
    if not (hasattr(model, "outputs") or model._is_built()):
        raise ValueError(f"{model.name} is not built yet: its shapes are unknown. Give an input shape, or fit it on data first.")
    show = print_fn or print
    branching = model.graph is not None and _branches(model.graph)
    table = _Table(branching, expand_nested, show_trainable, {id(weight) for weight in model.trainable_weights})
    header: Row = ("Layer (type)", "Output Shape", "Param #", *table.further("Connected to", "Trainable"))
    rows = table.rows(model)
    shares = list(positions or _SHARES[branching, show_trainable])[: len(header)]
    if len(shares) < len(header):
        raise ValueError(f"positions says where each of the {len(header)} columns {list(header)} ends, got {list(shares)}.")
    length = line_length or (100 if branching else 66) + 10 * show_trainable
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


class _Table:
    """The rows of a summary, with the columns and the depth that were asked for."""

    def __init__(self, branching: bool, expands: bool, shows_trainable: bool, trained: set[int]):
        self._branching, self._expands, self._shows_trainable, self._trained = branching, expands, shows_trainable, trained

    def further(self, connections: str, trainable: str) -> Row:
        """Return the cells behind the first three."""
        return ((connections,) if self._branching else ()) + ((trainable,) if self._shows_trainable else ())

    def rows(self, model: Any, indent: str = "") -> list[Row]:
        """Return a row for each call of a drawn model, and for each part of another, those of nested models below their own."""
        graph, seen, rows = graph_of(model), set[int](), list[Row]()
        calls = _parts_of(model) if graph is None else [(node.operation, node, graph.names.get(node.operation)) for node in graph.nodes]
        hidden = {id(layer) for layer in graph.layers if layer not in model.layers} if graph is not None else set()
        for operation, node, name in calls:
            if id(operation) in hidden:
                continue
            rows.append(self._row(graph, operation, node, name, indent, id(operation) in seen))
            if self._expands and id(operation) not in seen and (isinstance(operation, Drawn) or _is_foreign(operation)):
                rows += self.rows(operation, indent + "  ")
            seen.add(id(operation))
        return rows

    def _row(self, graph: Any, operation: Any, node: Any, name: str | None, indent: str, is_seen: bool) -> Row:
        is_layer = isinstance(operation, Layer)
        shapes = [tensor.shape for tensor in node.tensors] if node is not None else ["?"]
        weights = operation.weights if is_layer else _weights_of(operation) if _is_foreign(operation) else []
        count = "shared" if is_seen and is_layer else f"{sum(weight.numel() for weight in weights):,}"
        parents = ", ".join(graph.name_of(parent) for parent in node.parents) if node is not None else ""
        trainable = "-" if not weights else "Y" if any(id(weight) in self._trained for weight in weights) else "N"
        kind = type(operation).__name__ if is_layer or _is_foreign(operation) else "function"
        title = f"{indent}{name or describe_operation(operation)} ({kind})"
        return (title, str(shapes[0] if len(shapes) == 1 else shapes), count, *self.further(parents, trainable))


def _parts_of(model: Any) -> list[tuple[Any, None, str]]:
    """The layers and torch modules that a model without a graph has, or a torch module, each with its name; a stack has its layers."""
    named = list(model.named_children())
    parts = {id(part) for _, part in named}
    if any(id(layer) not in parts for layer in getattr(model, "layers", ())):
        return [(layer, None, layer.name) for layer in model.layers]
    return [(part, None, part.name if isinstance(part, Layer) else name) for name, part in named]


def _weights_of(module: nn.Module) -> list[torch.Tensor]:
    """What a torch module keeps in files, each tensor once."""
    kept = {id(tensor): tensor for tensor in module.state_dict(keep_vars=True).values() if isinstance(tensor, torch.Tensor)}
    return list(kept.values())


def _is_foreign(operation: Any) -> bool:
    return isinstance(operation, nn.Module) and not isinstance(operation, Layer)


def _format(row: Row, shares: Sequence[float], length: int) -> str:
    ends = [int(share * length) if share <= 1 else int(share) for share in shares]
    line = ""
    for cell, end in zip(row, ends, strict=True):
        line = line[: max(end, 0)] + cell
        line = line[: end - 1].ljust(end) if end < length else line
    return line.rstrip()
