"""Casts in a graph: they lead to the type of the weights behind them, which may have been cast since it was drawn."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.drawing.incoming import cast_inside
from torchkeras_fn.engine.graphs.records import Records, Reference
from torchkeras_fn.engine.lowering import GraphModule

_DRAWN = "drawn_type"


def cast_like_weights(module: GraphModule, drawn: Collection[torch.dtype]) -> None:
    """Let casts to a type of floats, as of integers before a layer of floats, go to that of the weights that they lead to.

    Weights of the types in which the model was `drawn` were not cast: before them, everything is as it was drawn.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> from torchkeras_fn.models import Model
    >>> x = Input(shape=(3,), dtype="int64", name="x")
    >>> print(Model(x, Dense(2)(x)).double().code.strip())
    def forward(self, x):
        to = x.to(torch.float64);  x = None
        dense_1 = self.dense_1(to);  to = None
        return dense_1
    """
    changed = False
    for node in module.graph.nodes:
        if _is_cast(node):
            value, kind = node.args
            as_drawn = node.meta.setdefault(_DRAWN, kind)
            behind = next(_types_behind(module, node), as_drawn)
            node.args = (value, as_drawn if behind in drawn else behind)
            changed = changed or node.args[1] != kind
    if changed:
        module.recompile()


def _is_cast(node: Any) -> bool:
    kind = node.args[1] if node.op == "call_method" and node.target == "to" and len(node.args) == 2 else None
    return isinstance(kind, torch.dtype) and kind.is_floating_point


def _types_behind(module: nn.Module, cast: Any) -> Iterator[torch.dtype]:
    """The types of the floats in the modules that read a value, or what functions make of it; those nearest come first."""
    found, seen = [cast], {cast}
    for node in found:
        for user in node.users:
            if user.op == "call_module":
                part = module.get_submodule(user.target)
                floats = [tensor.dtype for tensor in (*part.parameters(), *part.buffers()) if tensor.is_floating_point()]
                yield from floats[:1]
                if floats:
                    continue
            if user not in seen and not _is_cast(user):
                seen.add(user)
                found.append(user)


def cast_records(records: Records, types: Sequence[torch.dtype]) -> None:
    """Let a graph that is drawn anew be of the types of the weights: its inputs of the `types` given, and casts before layers of floats.

    >>> import copy
    >>> from torchkeras_fn.layers import Dense, Input
    >>> from torchkeras_fn.models import Model
    >>> x = Input(shape=(3,))
    >>> copy.deepcopy(Model(x, Dense(2)(x)).double()).output.dtype
    torch.float64
    """
    cast_inputs([records.calls[reference.call].operation for reference in records.inputs], types)
    for call in records.calls:
        if not getattr(call.operation, "needs_floats", False):
            continue
        for argument in (*call.args, *call.kwargs.values()):
            before = records.calls[argument.call] if isinstance(argument, Reference) else None
            if before is not None and before.operation in (torch.Tensor.to, cast_inside) and _leads_to_type(before.args):
                note_type(call.operation)
                records.calls[argument.call] = before._replace(args=(before.args[0], call.operation.dtype))


def _leads_to_type(args: Sequence[Any]) -> bool:
    return len(args) == 2 and isinstance(args[1], torch.dtype)


def note_type(layer: Any) -> None:
    """Let a layer of floats know the type of its weights, which may have been cast without the model that it is in.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> output = (layer := Dense(2))(Input(shape=(3,)))
    >>> note_type(layer.double())
    >>> layer.dtype
    torch.float64
    """
    if getattr(layer, "needs_floats", False) and layer.weight_map:
        layer.dtype = next((weight.dtype for weight in layer.parameters()), layer.dtype)


def cast_inputs(entries: Sequence[Any], types: Sequence[torch.dtype]) -> None:
    """Let inputs that are opened anew take floats of these types; what they take as integers they go on to declare as they did.

    >>> from torchkeras_fn.layers import InputLayer
    >>> cast_inputs([entry := InputLayer((3,))], [torch.float64])
    >>> entry.open().dtype
    torch.float64
    """
    for entry, kind in zip(entries, types, strict=False):  # of a model without layers nothing is known yet
        if kind.is_floating_point and hasattr(entry, "open"):
            entry.dtype = kind
