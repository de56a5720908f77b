"""How far from the layers that take masks the tensors are of which the masks are made. In Keras it decides the order of layers.

A mask is drawn there by operations, `not_equal` and `any` for that of `Masking`, each a step of the way from a layer to an
output. So what stands before a `Masking` is further from the output than what stands beside it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils._pytree import tree_leaves

from torchkeras_fn.engine.drawing.incoming import cast_inside
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.symbolic import KerasTensor, Node, map_symbolic
from torchkeras_fn.origin import is_ours


class MaskWay:
    """A mask that is not computed: by the `id` of a node, how many operations make the mask of the node's tensors.

    >>> import torch
    >>> torch.any(torch.ne(MaskWay({7: 0}), 0), -1).steps
    {7: 2}
    """

    def __init__(self, steps: dict[int, int]):
        self.steps = steps

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.after((self, args, kwargs))

    def __and__(self, other: Any) -> "MaskWay":
        return self.after((self, other))

    @classmethod
    def __torch_function__(cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> "MaskWay":
        return cls.after((args, kwargs))

    @classmethod
    def after(cls, arguments: Any) -> "MaskWay":
        """Return the way of what one more operation makes of the arguments."""
        steps: dict[int, int] = {}
        for way in tree_leaves(arguments):
            for node, count in way.steps.items() if isinstance(way, MaskWay) else ():
                steps[node] = max(steps.get(node, 0), count + 1)
        return cls(steps)


def mask_ways(nodes: Sequence[Node], entries: set[int]) -> dict[int, dict[int, int]]:
    """Return, by the `id` of each node that Keras hands a mask, the operations between it and those that the mask is made of.

    `nodes` are listed each after those it reads; nothing is known of a mask of `entries`, where the graph begins.

    >>> from torchkeras_fn.layers import GlobalAveragePooling1D, Input, Masking
    >>> x = Input(shape=(4, 3))
    >>> nodes = [x.node, (h := Masking()(x)).node, GlobalAveragePooling1D()(h).node]
    >>> mask_ways(nodes, {id(x.node)}) == {id(nodes[2]): {id(x.node): 2}}
    True
    """
    masks: dict[int, Any] = {}
    found: dict[int, dict[int, int]] = {}
    for node in nodes:
        layer = node.operation
        if layer is cast_inside:
            masks[id(node.tensors[0])] = masks.get(id(node.args[0]))
        if id(node) in entries or not isinstance(layer, Layer) or not node.args:
            continue
        first = node.args[0]
        mask = map_symbolic(lambda tensor: masks.get(id(tensor)), first)
        if any(part is not None for part in tree_leaves(mask)) and _is_handed_masks(node):
            found[id(node)] = MaskWay.after(mask).steps
        if node.kwargs.get("mask") is not None:
            mask = map_symbolic(_way_of, node.kwargs["mask"])
        made = _mask_of(layer, map_symbolic(_way_of, first), mask)
        for tensor, way in zip(node.tensors, made if isinstance(made, (list, tuple)) else [made], strict=False):
            masks[id(tensor)] = way if isinstance(way, MaskWay) else None
    return {node: {source: count - 1 for source, count in steps.items()} for node, steps in found.items()}


def _way_of(tensor: KerasTensor) -> MaskWay:
    return MaskWay({id(tensor.node): 0})


def _mask_of(layer: Layer, inputs: Any, mask: Any) -> Any:
    """The way of the mask of the outputs; one that a user's function makes is taken for that of the inputs."""
    if _is_a(layer, "Lambda"):
        return None if getattr(layer, "mask", None) is None else mask
    if type(layer).compute_mask is Layer.compute_mask or not is_ours(type(layer).compute_mask):
        return mask if layer.supports_masking else None
    made = layer.compute_mask(inputs, mask)
    return MaskWay.after(made) if made is not None and _is_a(layer, "Attention") else made  # it makes a tensor of it once more


def _is_handed_masks(node: Node) -> bool:
    """Keras 3 draws the mask that comes with the only argument of a layer, if it is one tensor, and all that come with those of a model."""
    layer = node.operation
    if _is_a(layer, "Model") and not _is_a(layer, "Sequential") and getattr(layer, "graph", None) is not None:
        return True
    takes_mask = layer.call_takes("mask") or _is_a(layer, "Lambda", "TimeDistributed", "Sequential")
    return takes_mask and len(node.args) == 1 and not node.kwargs and isinstance(node.args[0], KerasTensor)


def _is_a(layer: Layer, *names: str) -> bool:
    return any(cls.__name__ in names and is_ours(cls) for cls in type(layer).__mro__)
