"""Operations of `keras.ops` that stand in a graph, as functions of torch, and the functions of torch that have such a twin.

An operation has arguments that its configuration holds, such as an axis, and those of the call, which may be tensors.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from torchkeras_fn.engine.symbolic import KerasTensor, symbolic_leaves
from torchkeras_fn.saving.trees import dtype_named

Function = Callable[..., Any]

# ---------------------------------------------------------------------- from Keras

_PLAIN: dict[str, Function] = {
    "Absolute": torch.abs,
    "Abs": torch.abs,
    "Add": operator.add,
    "Arccos": torch.acos,
    "Arccosh": torch.acosh,
    "Arcsin": torch.asin,
    "Arcsinh": torch.asinh,
    "Arctan": torch.atan,
    "Arctan2": torch.atan2,
    "Arctanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Divide": operator.truediv,
    "Equal": operator.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Expm1": torch.expm1,
    "Floor": torch.floor,
    "FloorDivide": operator.floordiv,
    "Greater": operator.gt,
    "GreaterEqual": operator.ge,
    "HardSigmoid": F.hardsigmoid,
    "HardSilu": F.hardswish,
    "Isfinite": torch.isfinite,
    "Isinf": torch.isinf,
    "Isnan": torch.isnan,
    "Less": operator.lt,
    "LessEqual": operator.le,
    "Log": torch.log,
    "Log10": torch.log10,
    "Log1p": torch.log1p,
    "Log2": torch.log2,
    "LogSigmoid": F.logsigmoid,
    "LogicalAnd": torch.logical_and,
    "LogicalNot": torch.logical_not,
    "LogicalOr": torch.logical_or,
    "LogicalXor": torch.logical_xor,
    "Matmul": operator.matmul,
    "Mod": operator.mod,
    "Multiply": operator.mul,
    "Negative": operator.neg,
    "NotEqual": operator.ne,
    "Power": operator.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Relu6": F.relu6,
    "Round": torch.round,
    "Rsqrt": torch.rsqrt,
    "Selu": torch.selu,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Silu": F.silu,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Square": torch.square,
    "Subtract": operator.sub,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "TrueDivide": operator.truediv,
    "Where": torch.where,
}
"""Operations whose arguments are all in the call, in torch's order."""


def _getitem(config: Mapping[str, Any], x: Any, key: Any) -> Any:
    return operator.getitem(x, tuple(key) if isinstance(key, list) else key)


def _extreme(plain: Function, bound: str) -> Function:
    def draw(config: Mapping[str, Any], a: Any, b: Any) -> Any:
        if _is_tensor(a) and _is_tensor(b):
            return plain(a, b)
        return torch.clamp(a, **{bound: b}) if _is_tensor(a) else torch.clamp(b, **{bound: a})

    return draw


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (KerasTensor, torch.Tensor))


def _over_axes(name: str, **options: Any) -> Function:
    """A reduction over one axis, several, or all."""

    def draw(config: Mapping[str, Any], x: Any) -> Any:
        axis, keep = config.get("axis"), bool(config.get("keepdims", False))
        axes = list(range(x.ndim)) if axis is None else [axis] if isinstance(axis, int) else list(axis)
        return getattr(torch, name)(x, dim=axes, keepdim=keep, **options)

    return draw


def _over_axis(name: str) -> Function:
    """A reduction that torch does over one axis at a time."""

    def draw(config: Mapping[str, Any], x: Any) -> Any:
        axis, keep = config.get("axis"), bool(config.get("keepdims", False))
        axes = list(range(x.ndim)) if axis is None else [axis] if isinstance(axis, int) else list(axis)
        for part in sorted((part % x.ndim for part in axes), reverse=True):
            x = getattr(torch, name)(x, dim=part, keepdim=keep)
        return x

    return draw


def _place(name: str) -> Function:
    def draw(config: Mapping[str, Any], x: Any) -> Any:
        return getattr(torch, name)(x, dim=config.get("axis"), keepdim=bool(config.get("keepdims", False))).to(torch.int32)

    return draw


def _split(config: Mapping[str, Any], x: Any) -> Any:
    parts, axis = config["indices_or_sections"], config.get("axis", 0)
    return torch.tensor_split(x, parts if isinstance(parts, int) else tuple(parts), dim=axis)


def _transpose(config: Mapping[str, Any], x: Any) -> Any:
    axes = config.get("axes")
    return torch.permute(x, tuple(reversed(range(x.ndim))) if axes is None else tuple(axes))


def _squeeze(config: Mapping[str, Any], x: Any) -> Any:
    axis = config.get("axis")
    axes = [index for index, size in enumerate(x.shape) if size == 1] if axis is None else axis
    return torch.squeeze(x, tuple(axes) if isinstance(axes, (list, tuple)) else axes)


def _softmax(name: str) -> Function:
    def draw(config: Mapping[str, Any], x: Any) -> Any:
        axis = config.get("axis", -1)
        if not isinstance(axis, int):
            raise ValueError(f"an axis of {name} is one number, got {axis!r}.")
        return getattr(torch, name)(x, dim=axis)

    return draw


def _filled_like(name: str) -> Function:
    def draw(config: Mapping[str, Any], x: Any) -> Any:
        return getattr(torch, name)(x, dtype=dtype_named(config["dtype"]) if config.get("dtype") else None)

    return draw


def _call(function: Function, *names: str, **renamed: str) -> Function:
    """A function whose keywords, in torch's words, are in the configuration, in Keras' words."""

    def draw(config: Mapping[str, Any], *args: Any) -> Any:
        keywords = {ours: config[theirs] for ours, theirs in renamed.items() if theirs in config}
        return function(*args, *(config[name] for name in names), **keywords)

    return draw


_CONFIGURED: dict[str, Function] = {
    "All": _over_axis("all"),
    "Any": _over_axis("any"),
    "Argmax": _place("argmax"),
    "Argmin": _place("argmin"),
    "Cast": lambda config, x: x.to(dtype_named(config["dtype"])),
    "Clip": _call(torch.clamp, min="x_min", max="x_max"),
    "Concatenate": lambda config, xs: torch.cat(xs, dim=config.get("axis", -1)),
    "Elu": _call(F.elu, alpha="alpha"),
    "ExpandDims": lambda config, x: torch.unsqueeze(x, config["axis"]) if isinstance(config["axis"], int) else _expand(x, config["axis"]),
    "Flip": lambda config, x: torch.flip(x, _axes(config.get("axis"), x.ndim)),
    "Gelu": lambda config, x: F.gelu(x, approximate="tanh" if config.get("approximate", True) else "none"),
    "GetItem": _getitem,
    "LeakyRelu": _call(F.leaky_relu, negative_slope="negative_slope"),
    "LogSoftmax": _softmax("log_softmax"),
    "Logsumexp": _over_axes("logsumexp"),
    "Max": _over_axes("amax"),
    "Maximum": _extreme(torch.maximum, "min"),
    "Mean": _over_axes("mean"),
    "Min": _over_axes("amin"),
    "Minimum": _extreme(torch.minimum, "max"),
    "OnesLike": _filled_like("ones_like"),
    "Prod": _over_axis("prod"),
    "Reshape": lambda config, x: torch.reshape(x, tuple(config["newshape"])),
    "Softmax": _softmax("softmax"),
    "Split": _split,
    "Squeeze": _squeeze,
    "Stack": lambda config, xs: torch.stack(xs, dim=config.get("axis", 0)),
    "Std": _over_axes("std", correction=0),
    "Sum": _over_axes("sum"),
    "Swapaxes": lambda config, x: torch.transpose(x, config["axis1"], config["axis2"]),
    "Tile": lambda config, x: torch.tile(x, tuple(config["repeats"]) if isinstance(config["repeats"], list) else (config["repeats"],)),
    "Transpose": _transpose,
    "Var": _over_axes("var", correction=0),
    "ZerosLike": _filled_like("zeros_like"),
}


def _axes(axis: Any, ndim: int) -> list[int]:
    return list(range(ndim)) if axis is None else [axis] if isinstance(axis, int) else list(axis)


def _expand(x: Any, axes: Sequence[int]) -> Any:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = torch.unsqueeze(x, axis)
    return x


def is_operation(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry among a model's layers is an operation. Layers have names in common with operations.

    >>> is_operation({"class_name": "Add", "config": {"name": "add_1"}})
    True
    >>> is_operation({"class_name": "Add", "config": {"name": "add_1", "trainable": True}})
    False
    """
    home, config = entry.get("module"), entry.get("config")
    if isinstance(home, str):
        return home.startswith(("keras.src.ops", "keras.ops"))
    known = entry.get("class_name") in _PLAIN or entry.get("class_name") in _CONFIGURED
    return known and isinstance(config, Mapping) and "trainable" not in config


def drawer_of(entry: Mapping[str, Any]) -> Function:
    """Return the function that draws an operation's calls. Raises `ValueError` for an operation that is not read here."""
    name, config = entry["class_name"], dict(entry.get("config") or {})
    if name in _PLAIN:
        plain = _PLAIN[name]
        return lambda *args, **kwargs: _checked(name, plain, [*args, *kwargs.values()])
    if name in _CONFIGURED:
        configured = _CONFIGURED[name]
        return lambda *args, **kwargs: _checked(name, lambda *given: configured(config, *given), [*args, *kwargs.values()])
    raise ValueError(f"the operation {name!r:.80} of keras.ops is not read here. Put it into a layer of your own.")


def _checked(name: str, function: Function, args: list[Any]) -> Any:
    """Refuse a call that is none of tensors: Python's operators would repeat lists and format strings without end."""
    if not symbolic_leaves(args):
        raise ValueError(f"the operation {name!r} is called without a tensor of the graph.")
    strange = [part for part in args if isinstance(part, (str, dict))]
    listed = [part for part in args if isinstance(part, (list, tuple))]
    if strange or listed and name not in ("GetItem", "Concatenate", "Stack"):
        raise ValueError(f"the operation {name!r} takes tensors and numbers, got {(strange or listed)[0]!r:.80}.")
    return function(*args)


# ---------------------------------------------------------------------- to Keras


class Written(NamedTuple):
    """An operation of Keras for a call of a torch function: its class, its module, its configuration, and the call's arguments.

    >>> Written("Relu", "nn", {}, []).name
    'Relu'
    """

    name: str
    module: str
    config: dict[str, Any]
    args: list[Any]


_NN = frozenset(
    ("Elu", "Gelu", "HardSigmoid", "HardSilu", "LeakyRelu", "LogSigmoid", "LogSoftmax", "Relu", "Relu6", "Selu", "Sigmoid", "Silu")
    + ("Softmax", "Softplus", "Softsign")
)
_MATH = frozenset(("Erf", "Logsumexp", "Rsqrt"))
_SAME: dict[Any, str] = {function: name for name, function in reversed(_PLAIN.items())}
_SAME |= {
    getattr(home, ours): name
    for name, ours in [(name, function.__name__) for name, function in _PLAIN.items() if function.__module__ != "_operator"]
    for home in (torch.Tensor, torch, F)
    if hasattr(home, ours)
}
_SAME |= {
    getattr(home, ours): name
    for ours, name in (
        ("add", "Add"), ("sub", "Subtract"), ("mul", "Multiply"), ("div", "TrueDivide"), ("pow", "Power"), ("matmul", "Matmul"),
        ("neg", "Negative"), ("eq", "Equal"), ("ne", "NotEqual"), ("gt", "Greater"), ("ge", "GreaterEqual"), ("lt", "Less"),
        ("le", "LessEqual"), ("maximum", "Maximum"), ("minimum", "Minimum"), ("abs", "Absolute"), ("negative", "Negative"),
        ("multiply", "Multiply"), ("subtract", "Subtract"), ("true_divide", "TrueDivide"), ("divide", "TrueDivide"),
    )
    for home in (torch, torch.Tensor)
}  # fmt: skip
_SAME[operator.abs] = "Absolute"

_REDUCTIONS = {"mean": "Mean", "sum": "Sum", "amax": "Max", "amin": "Min", "logsumexp": "Logsumexp", "any": "Any", "all": "All"}
_NAMED: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    **{ours: (name, ("axis", "keepdims"), {"axis": None, "keepdims": False}) for ours, name in _REDUCTIONS.items()},
    "softmax": ("Softmax", ("axis",), {"axis": -1}),
    "log_softmax": ("LogSoftmax", ("axis",), {"axis": -1}),
    "cat": ("Concatenate", ("axis",), {"axis": 0}),
    "concat": ("Concatenate", ("axis",), {"axis": 0}),
    "concatenate": ("Concatenate", ("axis",), {"axis": 0}),
    "stack": ("Stack", ("axis",), {"axis": 0}),
    "unsqueeze": ("ExpandDims", ("axis",), {}),
    "squeeze": ("Squeeze", ("axis",), {"axis": None}),
    "transpose": ("Swapaxes", ("axis1", "axis2"), {}),
    "clamp": ("Clip", ("x_min", "x_max"), {"x_min": None, "x_max": None}),
    "elu": ("Elu", ("alpha",), {"alpha": 1.0}),
    "leaky_relu": ("LeakyRelu", ("negative_slope",), {"negative_slope": 0.01}),
    "flip": ("Flip", ("axis",), {}),
    "tile": ("Tile", ("repeats",), {}),
    "permute": ("Transpose", ("axes",), {}),
    "ones_like": ("OnesLike", (), {"dtype": None}),
    "zeros_like": ("ZerosLike", (), {"dtype": None}),
    "gelu": ("Gelu", (), {"approximate": "none"}),
}
"""torch's function, Keras' operation, the names of torch's further arguments in Keras, and their defaults in torch."""
_KEYWORDS = {"dim": "axis", "keepdim": "keepdims", "min": "x_min", "max": "x_max", "dim0": "axis1", "dim1": "axis2", "dims": "axes"}
_RESHAPED = frozenset(("reshape", "view", "flatten", "unflatten"))
_TAKE_MANY = frozenset(("Flip", "Tile", "Transpose"))


def written(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: KerasTensor) -> Written:
    """Return the operation of Keras that a call of a torch function is. Raises `ValueError` for one that has no twin there."""
    name = getattr(function, "__name__", str(function))
    if name in _RESHAPED:
        return _reshape(args, output)
    if function is operator.getitem or name == "getitem":
        return Written("GetItem", "numpy", {}, [args[0], _spelled_out(args[0], args[1])])
    if name in ("to", "cast_inside", "float", "long", "int", "bool"):
        return Written("Cast", "core", {"dtype": str(output.dtype).removeprefix("torch.")}, [args[0]])
    if function in _SAME and not kwargs:
        found = _SAME[function]
        return Written(found, "nn" if found in _NN else "math" if found in _MATH else "numpy", {}, list(args))
    if name in _NAMED and not isinstance(function, type):
        return _configured(name, args, kwargs, output)
    raise _no_twin(name)


def _spelled_out(x: Any, key: Any) -> Any:
    """An index without an ellipsis, which Keras cannot read back from `.h5`."""
    if not isinstance(key, tuple) or Ellipsis not in [part for part in key if not _is_tensor(part)]:
        return [slice(None)] * x.ndim if key is Ellipsis else key
    place = next(index for index, part in enumerate(key) if part is Ellipsis)
    taken = sum(part is not None for part in key) - 1
    return (*key[:place], *[slice(None)] * (x.ndim - taken), *key[place + 1 :])


def _no_twin(name: str) -> ValueError:
    return ValueError(f"the function {name!r} of torch has no twin in keras.ops, so the graph cannot be written. Put it into a layer.")


def _reshape(args: Sequence[Any], output: KerasTensor) -> Written:
    shape = [-1 if size is None else size for size in output.shape]
    if shape.count(-1) > 1:
        raise ValueError(f"a reshape to {output.shape} is not written: Keras takes one unknown size.")
    return Written("Reshape", "numpy", {"newshape": shape}, [args[0]])


def _configured(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: KerasTensor) -> Written:
    found, names, defaults = _NAMED[name]
    first, *rest = args
    if found in _TAKE_MANY and len(rest) != 1 or found in _TAKE_MANY and isinstance(rest[0], int):
        rest = [list(rest)]
    given = dict(zip(names, rest, strict=False))
    given |= {_KEYWORDS.get(key, key) if key not in defaults and key not in names else key: value for key, value in kwargs.items()}
    if found == "Flip" and "axes" in given:
        given["axis"] = given.pop("axes")
    config = {**defaults, **given}
    if len(rest) > len(names) or config.keys() - {*names, *defaults} or symbolic_leaves(list(config.values())):
        raise _no_twin(f"{name} with {sorted(kwargs)}" if kwargs else name)
    if found == "Gelu":
        config["approximate"] = config["approximate"] == "tanh"
    if "dtype" in config and config["dtype"] is not None:
        config["dtype"] = str(config["dtype"]).removeprefix("torch.")
    return _as_keras(found, {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}, first)


def _as_keras(found: str, config: dict[str, Any], first: Any) -> Written:
    if found == "Clip" and None in config.values():
        bound, value = ("Maximum", config["x_min"]) if config["x_max"] is None else ("Minimum", config["x_max"])
        return Written(bound, "numpy", {}, [first, value])
    home = "nn" if found in _NN else "math" if found in _MATH else "numpy"
    return Written(found, home, config, [list(first) if isinstance(first, (list, tuple)) else first])
