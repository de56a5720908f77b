"""What comes out of a function, told by runs on `meta` tensors of two sizes: what differs between these is unknown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from torchkeras_fn.engine.basics.nested import leaves_of, map_only
from torchkeras_fn.engine.drawing.inferring import now
from torchkeras_fn.engine.drawing.spec import Spec, pair_of


def on_meta(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return a `Spec` for each tensor that the function gives. Raises where it depends on the data.

    >>> on_meta(torch.flatten, [Spec.of((None, 3), torch.float32)], {}).number is None
    True
    """
    def run(index: int) -> Any:
        def value(spec: Spec) -> Any:
            if spec.number:
                return spec.number[index]
            return torch.empty((spec.small, spec.large)[index], dtype=spec.dtype, device="meta")

        real_args, real_kwargs = map_only(Spec, value, (args, kwargs))
        with _StorageFreeArguments(), _StorageFree():
            return function(*real_args, **real_kwargs)

    of_numbers = any(isinstance(leaf, Spec) and leaf.number is not None for leaf in leaves_of((args, kwargs)))
    return pair_of(run(0), run(1), lambda tensor, index: tuple(tensor.shape), of_numbers)


class _StorageFreeArguments(TorchFunctionMode):
    """Gives every torch function its weights and constants on the `meta` device, for those that compare devices themselves."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if now.creating_weights or getattr(func, "__name__", "") in ("__get__", "__set__"):
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(torch.Tensor, to_meta, (args, kwargs))
        return func(*args, **kwargs)


def to_meta(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same shape and type without data.

    >>> to_meta(torch.ones(2)).device
    device(type='meta')
    """
    return tensor if tensor.is_meta else tensor.to("meta")


class _StorageFree(TorchDispatchMode):
    """Runs every operation on the `meta` device: weights and constants are seen through their shapes only."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: torch would import its compiler, a second and more, to keep it out of a mode that it never sees."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if now.creating_weights:
            return func(*args, **kwargs)
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("meta")
        args, kwargs = tree_map_only(torch.Tensor, to_meta, (args, kwargs))
        return func(*args, **kwargs)
