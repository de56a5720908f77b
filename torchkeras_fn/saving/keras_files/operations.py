"""Operations of `keras.ops` that stand in a graph, as functions of torch: all that `ops` has a function for, by its name.

An operation has arguments that its configuration holds, such as an axis, and those of the call, which may be tensors.
"""

import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchkeras_fn.engine.symbolic import symbolic_leaves
from torchkeras_fn.registry import get_custom_objects, snake_case

Function = Callable[..., Any]

_SPELLED = {
    "Abs": "absolute",
    "AllClose": "allclose",
    "BatchNorm": "batch_normalization",
    "CDist": "cdist",
    "FFT2": "fft2",
    "IFFT2": "ifft2",
    "IsIn": "isin",
    "LayerNorm": "layer_normalization",
    "RMSNorm": "rms_normalization",
    "SearchSorted": "searchsorted",
}
"""Operations that are called otherwise than the function that makes them."""
_NOT_DRAWN = frozenset(
    ("arange", "cond", "convert_to_numpy", "custom_gradient", "dtype", "empty", "eye", "fori_loop", "full", "geomspace", "identity")
    + ("is_tensor", "linspace", "logspace", "map", "ndim", "ones", "scan", "shape", "size", "switch", "tri", "vectorized_map")
    + ("while_loop", "zeros")
)
"""Functions of `ops` that make tensors out of nothing, ask about them, or call what a file cannot hold."""
_MOST_PIECES = 100_000
_CHANGE_NOTHING = {"axisa": -1, "axisb": -1, "axisc": -1, "fill_mode": "constant", "fill_value": 0.0, "rcond": 1e-15}
"""Arguments that functions of `ops` lack, and the values of theirs that change nothing, as `None` and `False` do for any."""


def _ops() -> Any:
    """The table `ops`, which is a floor above this room."""
    return sys.modules[__name__.split(".")[0]].ops


def _getitem(config: Mapping[str, Any], x: Any, key: Any) -> Any:
    return operator.getitem(x, tuple(key) if isinstance(key, list) else key)


def _place(name: str) -> Function:
    return lambda config, x: getattr(_ops(), name)(x, config.get("axis"), bool(config.get("keepdims", False))).to(torch.int32)


def _cross(config: Mapping[str, Any], a: Any, b: Any) -> Any:
    return _ops().cross(a, b, axis=config.get("axisa", -1) if config.get("axis") is None else config["axis"])


_SPECIAL: dict[str, Function] = {
    "Argmax": _place("argmax"),
    "Argmin": _place("argmin"),
    "Cross": _cross,
    "Einsum": lambda config, *operands: _ops().einsum(config["subscripts"], *operands),
    "GetItem": _getitem,
}


def _function_of(name: Any) -> Function | None:
    """The function of `ops` that makes an operation; `None` where there is none."""
    spelled = _SPELLED.get(name) or snake_case(str(name))
    ops = _ops()
    for home in (ops, ops.image):
        found = getattr(home, spelled, None)
        is_of_ops = inspect.isfunction(found) and found.__module__.startswith(ops.__name__) and not found.__module__.endswith("conversion")
        if is_of_ops and spelled not in _NOT_DRAWN:
            return found
    return None


def is_operation(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry among a model's layers is an operation. Layers have names in common with operations.

    >>> is_operation({"class_name": "Add", "config": {"name": "add_1"}})
    True
    >>> is_operation({"class_name": "Add", "config": {"name": "add_1", "trainable": True}})
    False
    """
    home, config, name = entry.get("module"), entry.get("config"), entry.get("class_name")
    if isinstance(home, str):
        return home.startswith(("keras.src.ops", "keras.ops"))
    known = name not in get_custom_objects() and (name in _SPECIAL or _function_of(name) is not None)
    return known and isinstance(config, Mapping) and "trainable" not in config


def drawer_of(entry: Mapping[str, Any]) -> Function:
    """Return the function that draws an operation's calls. Raises `ValueError` for an operation that is not read here."""
    name, config = entry["class_name"], {key: value for key, value in (entry.get("config") or {}).items() if key != "name"}
    special, function = _SPECIAL.get(name), _function_of(name)
    if special is not None:
        return lambda *args, **kwargs: special(config, *_checked(name, [*args, *kwargs.values()]))
    if function is None:
        raise ValueError(f"the operation {name!r:.80} of keras.ops is not read here. Put it into a layer of your own.")
    if isinstance(pieces := config.get("indices_or_sections"), int) and pieces > _MOST_PIECES:
        raise ValueError(f"the operation {name!r:.80} cuts a tensor into {pieces} pieces, more than {_MOST_PIECES}.")
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) for parameter in parameters.values())
    unknown = {key: value for key, value in config.items() if not takes_any and key not in parameters}
    if changing := [key for key, value in unknown.items() if value not in (None, False, _CHANGE_NOTHING.get(key))]:
        raise ValueError(f"{changing[0]}={config[changing[0]]!r:.80} of the operation {name!r:.80} is not known here.")
    settings = {key: value for key, value in config.items() if key not in unknown}
    free = [key for key, parameter in parameters.items() if key not in settings and parameter.kind is parameter.POSITIONAL_OR_KEYWORD]

    def draw(*args: Any, **kwargs: Any) -> Any:
        _checked(name, [*args, *kwargs.values()])
        if takes_any:
            return function(*args, **kwargs, **settings)
        if len(args) > len(free):
            raise ValueError(f"the operation {name!r:.80} takes {len(free)} arguments, got {len(args)}.")
        return function(**dict(zip(free, args, strict=False)), **kwargs, **settings)

    return draw


def _checked(name: str, args: list[Any]) -> list[Any]:
    """Refuse a call that is none of tensors: Python's operators would repeat lists and format strings without end."""
    if not symbolic_leaves(args):
        raise ValueError(f"the operation {name!r} is called without a tensor of the graph.")
    strange = [part for part in args if isinstance(part, (str, dict))]
    if strange:
        raise ValueError(f"the operation {name!r} takes tensors and numbers, got {strange[0]!r:.80}.")
    return args
