"""What comes out of a function, told by a run on an empty batch: the first try, and a few microseconds."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from torchkeras_fn.engine.basics.nested import leaves_of, map_only
from torchkeras_fn.engine.drawing.inferring import now
from torchkeras_fn.engine.drawing.spec import Size, Spec, device_of, pair_of

_RESHAPING = {"view", "reshape", "flatten", "unflatten", "ravel", "view_as", "reshape_as"}
_ALONG_AN_AXIS = {"cat", "concat", "concatenate", "split", "split_with_sizes", "chunk", "tensor_split"}
_MULTIPLYING = {"repeat", "tile", "repeat_interleave", "vstack", "row_stack", "hstack"}
_BATCH_MOVERS = {"__getitem__", *_RESHAPING, *_ALONG_AN_AXIS, *_MULTIPLYING}
_COUNTING = {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive"}


class _Uncertain(Exception):
    """The empty batch does not tell the output's shape."""


def on_empty_batch(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None) -> Any:
    """Return a `Spec` for each tensor that the function gives. Raises where an empty batch does not tell.

    >>> on_empty_batch(torch.relu, [Spec.of((None, 3), torch.float32)], {}, None).shape
    (None, 3)
    """
    specs = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, Spec)]
    if any(spec.number for spec in specs):
        raise _Uncertain
    device = device_of(args, kwargs, device)
    batch = next((spec.lead for spec in specs if spec.small), None)
    if any(spec.small and spec.lead != batch and spec.small[0] != spec.large[0] for spec in specs):
        raise _Uncertain  # of two sizes that are unknown only one can be 0, and the other would be made as large as it may be

    def run(which: str) -> Any:
        def tensor(spec: Spec) -> torch.Tensor:
            size = getattr(spec, which)
            return torch.zeros((0, *size[1:]) if size and spec.lead == batch else size, dtype=spec.dtype, device=device)

        real_args, real_kwargs = map_only(Spec, tensor, (args, kwargs))
        with _KeptBatch():
            return function(*real_args, **real_kwargs)

    small = run("small")
    same = all(spec.small[1:] == spec.large[1:] for spec in specs)
    large = small if same else run("large")

    if any(isinstance(leaf, int) for leaf in tree_leaves(small)):
        raise _Uncertain

    def size(tensor: torch.Tensor, run: int) -> Size:
        dims = tuple(tensor.shape)
        if not dims:
            return dims
        if batch is None:
            return dims
        if dims.count(0) != 1:
            raise _Uncertain
        return tuple(dim or batch[run] for dim in dims)

    return pair_of(small, large, size)


class _KeptBatch(TorchFunctionMode):
    """Stops an empty run where a function may have made the batch longer or shorter: 0 times 5 is 0 too, and would hide it.

    And where it counts something in the data, as there is none.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _COUNTING or name == "where" and len(args) == 1:
            raise _Uncertain
        if name in _BATCH_MOVERS and not now.creating_weights and not _keeps_batch(name, _first(args[0]), _first(result), *args[1:2]):
            raise _Uncertain
        return result


def _keeps_batch(name: str, before: torch.Tensor, after: torch.Tensor, index: Any = None) -> bool:
    if 0 not in before.shape:
        return True
    per_sample = [prod(size for size in tensor.shape if size) for tensor in (before, after)]
    if name in _RESHAPING:
        return per_sample[0] == per_sample[1]
    if name in _ALONG_AN_AXIS:
        return per_sample[0] != per_sample[1]
    leading = (index[0] if index else None) if isinstance(index, tuple) else index
    return name == "__getitem__" and (leading is None or leading is Ellipsis or isinstance(leading, slice) and leading == slice(None))


def _first(tensors: Any) -> Any:
    return tensors if isinstance(tensors, torch.Tensor) else next(iter(tensors))
