"""Which masks a layer of the user's carries on in a drawn model: it is asked by running it on no data, as when it was drawn."""

from typing import Any

import torch

from torchkeras_fn.engine.basics.nested import leaves_of
from torchkeras_fn.engine.drawing.incoming import carried_mask, carry_mask
from torchkeras_fn.engine.drawing.inference import InferenceError, infer
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.symbolic import Node, map_symbolic
from torchkeras_fn.origin import is_ours


def carries_masks(operation: Any) -> bool:
    """Whether a user's layer takes masks from its inputs, and lets its outputs carry them: as it computes some, or calls other layers.

    >>> carries_masks(torch.cat)
    False
    """
    if not isinstance(operation, Layer) or not operation._is_users or not operation._is_called_in_models():
        return False
    if type(operation).compute_mask is Layer.compute_mask:
        return any(layer is not operation for layer in operation.sublayers())
    return not is_ours(type(operation).compute_mask)


def outputs_with_masks(node: Node, masked: set[int]) -> set[int]:
    """Those tensors of a node, by `id`, that carry masks when its layer is called on inputs of which the `masked` carry some.

    The layer is run on no data, as when it was drawn.
    """
    layer = node.operation
    if not (masked or any(part.makes_mask for part in layer.sublayers())):
        return set()
    found: set[int] = set()

    def run(*args: Any, **kwargs: Any) -> Any:
        for drawn, tensor in zip(leaves_of((node.args, node.kwargs)), leaves_of((args, kwargs)), strict=True):
            if id(drawn) in masked:
                carry_mask(tensor, torch.ones(tensor.shape[:2], dtype=torch.bool, device=tensor.device))
        outputs = layer._inferred(*args, **kwargs)
        found.clear()
        found.update(id(drawn) for drawn in node.tensors if carried_mask(drawn.pick(outputs)) is not None)
        return outputs

    args, kwargs = map_symbolic(lambda tensor: tensor.spec, (node.args, node.kwargs))
    try:
        infer(run, args, kwargs, device=layer._weight_device())
    except InferenceError:  # it takes other masks than these: what it makes of them is seen when it runs
        return {id(drawn) for drawn in node.tensors} if masked else set()
    return found
