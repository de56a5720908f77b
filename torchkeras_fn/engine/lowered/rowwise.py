"""How many rows a prediction may take at once, whatever the batch size, where each row of the outputs depends on its own alone."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn.engine.graphs.graph import Graph

_NUMBERS_AT_ONCE = 2**18
"""The largest tensor of a merged batch has so many numbers: more would gain nothing, and a batch size may be what memory allows."""

_MODULES = (
    *(nn.Linear, nn.Embedding, nn.LayerNorm, nn.Dropout, nn.Identity),
    *(nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.LeakyReLU, nn.Softplus),
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
)
_FUNCTIONS = (F.relu, torch.relu, torch.sigmoid, F.sigmoid, torch.tanh, F.tanh, F.gelu, F.silu, F.elu, F.selu, F.leaky_relu, F.softplus)
_SOFTMAX = (torch.softmax, F.softmax, torch.log_softmax, F.log_softmax)
_METHODS = ("to", "long", "float")


def rows_at_once(view: Any, graph: Graph) -> int:
    """Return how many rows of a lowered graph may be computed together, in inference mode; 0 where rows may depend on others.

    Known are layers, activations and joins that keep the samples apart, and none whose randomness goes on in inference.

    >>> from torchkeras_fn.engine.lowering import lower
    >>> from torchkeras_fn.layers import Dense, Input
    >>> graph = Graph([x := Input(shape=(64,))], [Dense(2)(x)])
    >>> rows_at_once(lower(graph), graph)
    4096
    """
    tensors = [*graph.inputs, *(tensor for node in graph.nodes for tensor in node.tensors)]
    sizes = [[size for size in tensor.shape[1:] if size is not None] for tensor in tensors]
    if any(not size or len(size) + 1 < tensor.ndim for size, tensor in zip(sizes, tensors, strict=True)):
        return 0
    if any(getattr(graph.maker(tensor).operation, "tensor", None) is not None for tensor in graph.inputs):
        return 0  # the model feeds itself
    if not all(_keeps_rows_apart(node, view) for node in view.graph.nodes):
        return 0
    return _NUMBERS_AT_ONCE // max(map(math.prod, sizes))


def _keeps_rows_apart(node: Any, view: Any) -> bool:
    if node.op in ("placeholder", "output"):
        return True
    if node.op == "call_module":
        module = view.get_submodule(node.target)
        return type(module) in _MODULES and "train" not in module.__dict__ and len(node.args) == 1 and not node.kwargs
    axis = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if node.op == "call_method":
        return node.target in _METHODS or (node.target, axis) in (("flatten", 1), ("permute", 0))
    if node.target in _SOFTMAX:
        return bool(axis == -1)
    return node.target in _FUNCTIONS or (node.target is torch.cat and axis in (-1, 1, 2, 3))
