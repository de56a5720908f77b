"""The functions that a configuration may name: those of torch that compute tensors out of tensors, and Python's operators.

A configuration may come from a stranger. What reads memory by address, resizes or replaces a storage, hands out the
data, calls Python functions or changes how gradients flow is no step of a model, and cannot be named.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import get_overridable_functions, resolve_name

from torchkeras_fn.engine.drawing.incoming import cast_inside

_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift")
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert", "getitem")

_REFUSED = frozenset(
    (
        *("apply_", "map_", "map2_", "backward", "autograd", "autocast", "module_load", "requires_grad_", "retain_grad"),
        *("register_hook", "register_post_accumulate_grad_hook", "record_stream", "pin_memory", "share_memory_"),
        *("storage", "untyped_storage", "storage_type", "data_ptr", "const_data_ptr", "numpy", "tolist", "bincount"),
        *("set_", "as_strided_", "resize", "resize_", "resize_as", "resize_as_", "resize_as_sparse_"),
        *("sparse_resize_", "sparse_resize_and_clear_"),
    )
)
_REFUSED_BEGINNINGS = ("fbgemm_", "miopen_", "quantized_", "q_", "sym_", "batch_norm_", "fused_moving_")


@functools.cache
def known_functions() -> dict[str, Callable[..., Any]]:
    """Return every function that may be named, by its name.

    >>> "torch.cat" in known_functions(), "torch.Tensor.apply_" in known_functions()
    (True, False)
    """
    found: dict[str, Callable[..., Any]] = {f"operator.{name}": getattr(operator, name) for name in _OPERATORS + _COMPARISONS}
    found["getattr"] = tensor_property
    found.update(_OVERLOOKED)
    for functions in get_overridable_functions().values():
        for function in functions:
            name = resolve_name(function)
            if name is not None and callable(function) and _may_be_named(name):
                found.setdefault(name, function)
    return found


def _may_be_named(name: str) -> bool:
    home, _, own = name.rpartition(".")
    if own.startswith("__"):
        plain = own.strip("_")
        return own.endswith("__") and plain.removeprefix("r").removeprefix("i") in _PLAIN or plain in _PLAIN
    return not own.startswith((*_REFUSED_BEGINNINGS, "_")) and own not in _REFUSED and not home.endswith("__")


_OVERLOOKED = {
    **{f"torch.{name}": getattr(torch, name) for name in ("rand_like", "randn_like")},
    **{f"torch.Tensor.{name}": getattr(torch.Tensor, name) for name in ("new_empty", "new_full", "new_ones", "new_zeros")},
    **{f"torch.nn.functional.{name}": getattr(F, name) for name in ("hardsigmoid", "hardswish")},
    "cast_inside": cast_inside,
}
"""Functions that take symbolic tensors, and that torch does not count among those that may be overridden."""

_PLAIN = frozenset(name.rstrip("_") for name in _OPERATORS + _COMPARISONS)


def tensor_property(tensor: Any, name: str) -> Any:
    """Return a public property of a tensor, such as its `T`. Raises `ValueError` for a private one."""
    if name.startswith("_"):
        raise ValueError(f"{name!r} is not a public property of a tensor.")
    return getattr(tensor, name)


def function_name(function: Callable[..., Any]) -> str:
    """Return the name under which a configuration knows a function. Raises `ValueError` for one that it cannot name.

    >>> function_name(torch.cat), function_name(operator.add)
    ('torch.cat', 'operator.add')
    """
    if function is getattr or function is tensor_property:
        return "getattr"
    for name, known in known_functions().items():
        if known is function:
            return name
    raise ValueError(
        f"{getattr(function, '__name__', function)!r} is not a function of torch that makes tensors out of tensors, "
        "so a configuration cannot name it. Use a layer."
    )


def find_function(name: str) -> Callable[..., Any]:
    """Return the function of that name. Raises `ValueError` for any that a configuration may not name.

    >>> find_function("torch.cat") is torch.cat
    True
    """
    if name not in known_functions():
        raise ValueError(f"{name!r} is not a function of torch that a configuration may name.")
    return known_functions()[name]


def dtype_named(name: Any) -> torch.dtype:
    """Return the dtype of that name. Raises `ValueError` for what is none.

    >>> dtype_named("float32")
    torch.float32
    """
    found = getattr(torch, str(name), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name!r} is not a dtype of torch.")
    return found
