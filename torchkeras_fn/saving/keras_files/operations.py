"""Operations of `keras.ops` that stand in a graph, as functions of torch, and the functions of torch that have such a twin.

An operation has arguments that its configuration holds, such as an axis, and those of the call, which may be tensors. Read
are all that `ops` has a function for, by its name and the names of its arguments; written is what the tables here list.
"""

import inspect
import itertools
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from torchkeras_fn.engine.symbolic import KerasTensor, symbolic_leaves
from torchkeras_fn.registry import get_custom_objects, snake_case

Function = Callable[..., Any]

# ---------------------------------------------------------------------- from Keras

_SPELLED = {
    "Abs": "absolute",
    "BatchNorm": "batch_normalization",
    "FFT2": "fft2",
    "IFFT2": "ifft2",
    "LayerNorm": "layer_normalization",
    "RMSNorm": "rms_normalization",
    "SearchSorted": "searchsorted",
}
"""Operations that are called otherwise than the function that makes them."""
_NOT_DRAWN = frozenset(
    ("arange", "cond", "convert_to_numpy", "dtype", "empty", "eye", "fori_loop", "full", "identity", "is_tensor", "linspace", "logspace")
    + ("map", "ndim", "ones", "scan", "shape", "size", "switch", "tri", "vectorized_map", "while_loop", "zeros")
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


# ---------------------------------------------------------------------- to Keras


class Written(NamedTuple):
    """An operation of Keras for a call of a torch function: its class, its module, its configuration, and the call's arguments.

    `outputs` says how many of the tensors that torch's function makes the operation makes too, where it makes fewer.

    >>> Written("Relu", "nn", {}, []).name
    'Relu'
    """

    name: str
    module: str
    config: dict[str, Any]
    args: list[Any]
    outputs: int | None = None


_HOMES: dict[str, frozenset[str]] = {
    "nn": frozenset(
        ("Celu", "Elu", "Gelu", "Glu", "HardShrink", "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu", "LogSigmoid", "LogSoftmax")
        + ("Normalize", "Relu", "Relu6", "Selu", "Sigmoid", "Silu", "SoftShrink", "Softmax", "Softplus", "Softsign", "TanhShrink")
        + ("Threshold",)
    ),
    "math": frozenset(("Erf", "Erfc", "Erfinv", "Logdet", "Logsumexp", "Rsqrt", "TopK")),
    "linalg": frozenset(("Cholesky", "Det", "Eigh", "Inv", "Norm", "Pinv", "Qr", "SVD", "Solve")),
    "core": frozenset(("Cast", "StopGradient", "Unstack")),
}
"""The module of an operation in Keras; all others are in `numpy`."""

_ALIKE = {
    ours: theirs
    for theirs, names in {
        "Absolute": "abs absolute",
        "Add": "add",
        "Angle": "angle",
        "Arccos": "acos arccos",
        "Arccosh": "acosh arccosh",
        "Arcsin": "asin arcsin",
        "Arcsinh": "asinh arcsinh",
        "Arctan": "atan arctan",
        "Arctan2": "atan2 arctan2",
        "Arctanh": "atanh arctanh",
        "BitwiseAnd": "and_ and bitwise_and",
        "BitwiseInvert": "invert bitwise_not",
        "BitwiseOr": "or_ or bitwise_or",
        "BitwiseXor": "xor bitwise_xor",
        "Ceil": "ceil",
        "Conjugate": "conj",
        "Copy": "clone contiguous",
        "Cos": "cos",
        "Cosh": "cosh",
        "Deg2rad": "deg2rad",
        "Det": "linalg_det det",
        "Eigh": "linalg_eigh",
        "Equal": "eq",
        "Erf": "erf special_erf",
        "Erfc": "erfc special_erfc",
        "Erfinv": "erfinv special_erfinv",
        "Exp": "exp",
        "Exp2": "exp2 special_exp2",
        "Expm1": "expm1 special_expm1",
        "Floor": "floor",
        "FloorDivide": "floordiv floor_divide",
        "Fmax": "fmax",
        "Fmin": "fmin",
        "Fmod": "fmod",
        "Gcd": "gcd",
        "Greater": "gt greater",
        "GreaterEqual": "ge greater_equal",
        "HardSigmoid": "hardsigmoid",
        "HardSilu": "hardswish",
        "Heaviside": "heaviside",
        "Hstack": "hstack",
        "Hypot": "hypot",
        "I0": "i0 special_i0",
        "Imag": "imag",
        "Inner": "inner",
        "Inv": "linalg_inv inverse",
        "Isfinite": "isfinite",
        "Isinf": "isinf",
        "Isnan": "isnan",
        "Isneginf": "isneginf",
        "Isposinf": "isposinf",
        "Isreal": "isreal",
        "Kron": "kron",
        "Lcm": "lcm",
        "Ldexp": "ldexp",
        "LeftShift": "lshift bitwise_left_shift",
        "Less": "lt less",
        "LessEqual": "le less_equal",
        "Log": "log",
        "Log10": "log10",
        "Log1p": "log1p special_log1p",
        "Log2": "log2",
        "LogSigmoid": "logsigmoid log_sigmoid",
        "Logdet": "logdet",
        "Logaddexp": "logaddexp",
        "Logaddexp2": "logaddexp2",
        "LogicalAnd": "logical_and",
        "LogicalNot": "logical_not",
        "LogicalOr": "logical_or",
        "LogicalXor": "logical_xor",
        "Matmul": "matmul",
        "Maximum": "maximum clamp_min",
        "Minimum": "minimum clamp_max",
        "Mod": "mod remainder",
        "Multiply": "mul multiply",
        "Negative": "neg negative",
        "Nextafter": "nextafter",
        "NotEqual": "ne not_equal",
        "Outer": "outer",
        "Power": "pow",
        "Rad2deg": "rad2deg",
        "Real": "real",
        "Reciprocal": "reciprocal",
        "Relu": "relu",
        "Relu6": "relu6",
        "RightShift": "rshift bitwise_right_shift",
        "Rsqrt": "rsqrt",
        "Selu": "selu",
        "Sigmoid": "sigmoid special_expit",
        "Sign": "sign",
        "Signbit": "signbit",
        "Silu": "silu",
        "Sin": "sin",
        "Sinc": "sinc special_sinc",
        "Sinh": "sinh",
        "Slogdet": "linalg_slogdet slogdet",
        "Softsign": "softsign",
        "Solve": "linalg_solve",
        "Sqrt": "sqrt",
        "Square": "square",
        "StopGradient": "detach",
        "Subtract": "sub subtract",
        "Tan": "tan",
        "Tanh": "tanh",
        "TanhShrink": "tanhshrink",
        "TrueDivide": "div divide true_divide truediv",
        "Trunc": "trunc fix",
        "Vdot": "vdot",
        "Vstack": "vstack",
        "Where": "where",
    }.items()
    for ours in names.split()
}
"""Functions of torch, and the operations of Keras whose arguments are all in the call, in the same order."""

_REDUCTIONS = {
    **{"mean": "Mean", "sum": "Sum", "amax": "Max", "amin": "Min", "logsumexp": "Logsumexp", "any": "Any", "all": "All", "prod": "Prod"},
    **{"argmax": "Argmax", "argmin": "Argmin", "nansum": "Nansum", "nanmean": "Nanmean"},
}
_NAMED: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    **{ours: (name, ("axis", "keepdims"), {"axis": None, "keepdims": False}) for ours, name in _REDUCTIONS.items()},
    **{ours: (name, ("axis",), {"axis": 0}) for name, ours in (("Concatenate", "cat"), ("Concatenate", "concat"), ("Stack", "stack"))},
    "argsort": ("Argsort", ("axis", "descending"), {"axis": -1, "descending": False, "stable": False}),
    "celu": ("Celu", ("alpha",), {"alpha": 1.0}),
    "clamp": ("Clip", ("x_min", "x_max"), {"x_min": None, "x_max": None}),
    "clip": ("Clip", ("x_min", "x_max"), {"x_min": None, "x_max": None}),
    "concatenate": ("Concatenate", ("axis",), {"axis": 0}),
    "count_nonzero": ("CountNonzero", ("axis",), {"axis": None}),
    "cumprod": ("Cumprod", ("axis",), {}),
    "cumsum": ("Cumsum", ("axis",), {}),
    "diag": ("Diag", ("k",), {"k": 0}),
    "diagonal": ("Diagonal", ("offset", "axis1", "axis2"), {"offset": 0, "axis1": 0, "axis2": 1}),
    "diff": ("Diff", ("n", "axis"), {"n": 1, "axis": -1}),
    "elu": ("Elu", ("alpha",), {"alpha": 1.0}),
    "flip": ("Flip", ("axis",), {}),
    "gelu": ("Gelu", (), {"approximate": "none"}),
    "glu": ("Glu", ("axis",), {"axis": -1}),
    "hardshrink": ("HardShrink", ("threshold",), {"threshold": 0.5}),
    "hardtanh": ("HardTanh", ("min_val", "max_val"), {"min_val": -1.0, "max_val": 1.0}),
    "leaky_relu": ("LeakyRelu", ("negative_slope",), {"negative_slope": 0.01}),
    "linalg_cholesky": ("Cholesky", (), {"upper": False}),
    "linalg_norm": ("Norm", ("ord", "axis", "keepdims"), {"ord": None, "axis": None, "keepdims": False}),
    "linalg_pinv": ("Pinv", (), {}),
    "linalg_qr": ("Qr", ("mode",), {"mode": "reduced"}),
    "linalg_svd": ("SVD", ("full_matrices",), {"full_matrices": True}),
    "log_softmax": ("LogSoftmax", ("axis",), {"axis": -1}),
    "movedim": ("Moveaxis", ("source", "destination"), {}),
    "moveaxis": ("Moveaxis", ("source", "destination"), {}),
    "nan_to_num": ("NanToNum", ("nan", "posinf", "neginf"), {"nan": 0.0, "posinf": None, "neginf": None}),
    "normalize": ("Normalize", ("order", "axis", "epsilon"), {"order": 2.0, "axis": 1, "epsilon": 1e-12}),
    "ones_like": ("OnesLike", (), {"dtype": None}),
    "permute": ("Transpose", ("axes",), {}),
    "repeat_interleave": ("Repeat", ("repeats", "axis"), {"axis": None}),
    "roll": ("Roll", ("shift", "axis"), {"axis": None}),
    "rot90": ("Rot90", ("k", "axes"), {"k": 1, "axes": (0, 1)}),
    "round": ("Round", (), {"decimals": 0}),
    "softmax": ("Softmax", ("axis",), {"axis": -1}),
    "softplus": ("Softplus", ("beta", "threshold"), {"beta": 1.0, "threshold": 20.0}),
    "softshrink": ("SoftShrink", ("threshold",), {"threshold": 0.5}),
    "squeeze": ("Squeeze", ("axis",), {"axis": None}),
    "std": ("Std", ("axis", "keepdims"), {"axis": None, "keepdims": False, "correction": 1}),
    "swapaxes": ("Swapaxes", ("axis1", "axis2"), {}),
    "threshold": ("Threshold", ("threshold", "default_value"), {}),
    "tile": ("Tile", ("repeats",), {}),
    "topk": ("TopK", ("k", "axis", "largest", "sorted"), {"axis": -1, "largest": True, "sorted": True}),
    "transpose": ("Swapaxes", ("axis1", "axis2"), {}),
    "tril": ("Tril", ("k",), {"k": 0}),
    "triu": ("Triu", ("k",), {"k": 0}),
    "unsqueeze": ("ExpandDims", ("axis",), {}),
    "var": ("Var", ("axis", "keepdims"), {"axis": None, "keepdims": False, "correction": 1}),
    "zeros_like": ("ZerosLike", (), {"dtype": None}),
}
"""torch's function, Keras' operation, the names of torch's further arguments in Keras, and their defaults in torch."""
_KEYWORDS = {
    **{"dim": "axis", "dims": "axis", "keepdim": "keepdims", "min": "x_min", "max": "x_max", "dim0": "axis1", "dim1": "axis2"},
    **{"axis0": "axis1", "lambd": "threshold", "p": "order", "eps": "epsilon", "shifts": "shift", "value": "default_value"},
}
_KEYWORDS_OF = {
    "Diagonal": {"dim1": "axis1", "dim2": "axis2"},
    "Swapaxes": {"axis1": "axis2"},
    **dict.fromkeys(("Diag", "Tril", "Triu"), {"diagonal": "k"}),
    **dict.fromkeys(("Rot90", "Transpose"), {"dims": "axes"}),
}
_ONLY = {
    **{("Argsort", "descending"): False, ("Cholesky", "upper"): False, ("HardTanh", "min_val"): -1, ("HardTanh", "max_val"): 1},
    **{("Softplus", "beta"): 1, ("Softplus", "threshold"): 20, ("TopK", "axis"): -1, ("TopK", "largest"): True},
    **{("Std", "correction"): 0, ("Var", "correction"): 0, ("Argsort", "stable"): None},
}
"""What Keras has no argument for, and the value of torch's argument that is Keras' way; `None` where it does not matter."""
_DROPPED = frozenset(("inplace", "_stacklevel", "out", "output_size"))
_CASTS = frozenset(("to", "cast_inside", "float", "double", "half", "long", "int", "bool"))
_RESHAPED = frozenset(("reshape", "view", "flatten", "unflatten", "ravel"))
_TAKE_MANY = frozenset(("Flip", "Tile", "Transpose"))
_C: Any = torch._C
_PLACES: tuple[Any, ...] = (torch, torch.Tensor, F, operator, _C._VariableFunctions, _C._nn, _C._linalg, _C._special)


def written(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Sequence[KerasTensor]) -> Written:
    """Return the operation of Keras that a call of a torch function is. Raises `ValueError` for one that has no twin there."""
    full_name = getattr(function, "__name__", str(function))
    name = full_name.strip("_") if full_name.startswith("_") else full_name
    kwargs = {key: value for key, value in kwargs.items() if key not in _DROPPED and not (key == "dtype" and value is None)}
    if name in _RESHAPED:
        return _reshape(args, outputs[0])
    if name in _CASTS:
        return _operation("Cast", {"dtype": str(outputs[0].dtype).removeprefix("torch.")}, [args[0]])
    is_of_torch = str(getattr(function, "__module__", None)).partition(".")[0] == "torch"
    if is_of_torch or any(getattr(place, full_name, None) is function for place in _PLACES):
        if name in _SHAPED:
            return _SHAPED[name](outputs, *args, **kwargs)
        if name in ("max", "min") and (kwargs or len(args) > 1 and not _is_tensor(args[1])):
            return _configured(f"a{name}", args, kwargs)._replace(outputs=1)
        if name in ("max", "min"):
            return _operation(f"{name.title()}imum" if len(args) > 1 else name.title(), {}, args)
        if name in _ALIKE and not kwargs:
            return _operation(_ALIKE[name], {}, args)
        if name in _NAMED:
            return _configured(name, args, kwargs)
    raise _no_twin(full_name)


def _operation(name: str, config: dict[str, Any], args: Sequence[Any], outputs: int | None = None) -> Written:
    home = next((home for home, names in _HOMES.items() if name in names), "numpy")
    return Written(name, home, config, [list(part) if isinstance(part, tuple) else part for part in args], outputs)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (KerasTensor, torch.Tensor))


def _no_twin(name: str) -> ValueError:
    return ValueError(f"the function {name!r} of torch has no twin in keras.ops, so the graph cannot be written. Put it into a layer.")


# ---------------------------------------------------------------------- what is not a matter of names


def _item(outputs: Any, x: Any, key: Any) -> Written:
    """A cut, or what stands at the places that one tensor among the parts of the key says."""
    parts = key if isinstance(key, tuple) else (key,)
    places = [place for place, part in enumerate(parts) if _is_tensor(part)]
    if not places:
        return Written("GetItem", "numpy", {}, [x, _spelled_out(x, key)])
    others = [part for place, part in enumerate(parts) if place not in places]
    if len(places) > 1 or any(not isinstance(part, slice) or part != slice(None) for part in others):
        raise _no_twin("getitem with tensors")
    return _take(outputs, x, places[0], parts[places[0]])


def _spelled_out(x: Any, key: Any) -> Any:
    """An index without an ellipsis, which Keras cannot read back from `.h5`."""
    parts = key if isinstance(key, tuple) else (key,)
    if Ellipsis not in parts:
        return key
    place = next(index for index, part in enumerate(parts) if part is Ellipsis)
    taken = sum(part is not None for part in parts) - 1
    return (*parts[:place], *[slice(None)] * (x.ndim - taken), *parts[place + 1 :])


def _take(outputs: Any, x: Any, dim: int, index: Any) -> Written:
    if index.dtype in (torch.bool, torch.uint8):
        raise _no_twin("getitem with a mask")
    return _operation("Take", {"axis": dim}, [x, index])


def _part(outputs: Any, x: Any, dim: int, start: Any, length: Any) -> Written:
    if symbolic_leaves([start, length]):
        raise _no_twin("narrow with a size that is known only when the model runs")
    return Written("GetItem", "numpy", {}, [x, (*[slice(None)] * (dim % x.ndim), slice(start, start + length))])


def _pieces(outputs: Sequence[KerasTensor], x: Any, *args: Any, dim: int = 0, **kwargs: Any) -> Written:
    """A cut into pieces, by the places where they begin."""
    axis = next((part for part in args[1:] if isinstance(part, int)), dim)
    sizes = [tensor.shape[axis] for tensor in outputs]
    if None in sizes:
        raise _no_twin("split of an axis of unknown size")
    ends = list(itertools.accumulate(size or 0 for size in sizes))
    parts = len(sizes) if len(set(sizes)) == 1 else ends[:-1]
    return _operation("Split", {"indices_or_sections": parts, "axis": axis}, [x])


def _padding(outputs: Any, x: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Written:
    """torch names the axes from the last on, and Keras all of them from the first on."""
    if mode not in ("constant", "reflect") or symbolic_leaves(list(pad)) or min(pad) < 0:
        raise _no_twin(f"pad with mode {mode!r}")
    pairs = [[0, 0]] * (x.ndim - len(pad) // 2) + [list(pad[place : place + 2]) for place in range(len(pad) - 2, -1, -2)]
    return _operation("Pad", {"pad_width": pairs, "mode": mode}, [x] if mode == "reflect" or not value else [x, value])


def _reshape(args: Sequence[Any], output: KerasTensor) -> Written:
    shape = [-1 if size is None else size for size in output.shape]
    if shape.count(-1) > 1:
        raise ValueError(f"a reshape to {output.shape} is not written: Keras takes one unknown size.")
    return Written("Reshape", "numpy", {"newshape": shape}, [args[0]])


def _widened(outputs: Sequence[KerasTensor], x: Any, *sizes: Any) -> Written:
    if None in outputs[0].shape:
        raise _no_twin("broadcast_to a size that is known only when the model runs")
    return _operation("BroadcastTo", {"shape": list(outputs[0].shape)}, [x])


def _einsum(outputs: Any, subscripts: str, *operands: Any) -> Written:
    listed = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    return _operation("Einsum", {"subscripts": subscripts}, listed)


def _tensordot(outputs: Any, a: Any, b: Any, dims: Any = 2) -> Written:
    return _operation("Tensordot", {"axes": dims if isinstance(dims, int) else [list(axes) for axes in dims]}, [a, b])


def _sorted(outputs: Any, x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Written:
    if descending:
        raise _no_twin("sort with descending=True")
    return _operation("Sort", {"axis": dim}, [x], 1)


def _quantile(outputs: Any, x: Any, q: Any, dim: Any = None, keepdim: bool = False, interpolation: str = "linear") -> Written:
    return _operation("Quantile", {"axis": dim, "method": interpolation, "keepdims": keepdim}, [x, q])


def _isclose(outputs: Any, x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Written:
    if (rtol, atol) != (1e-5, 1e-8):
        raise _no_twin("isclose with other tolerances than Keras' own")
    return _operation("Isclose", {"equal_nan": equal_nan}, [x, y])


def _digitize(outputs: Any, x: Any, boundaries: Any, right: bool = False) -> Written:
    if not right:
        return _operation("SearchSorted", {"side": "left"}, [boundaries, x])
    return _operation("Digitize", {}, [x, boundaries])


def _full_like(outputs: Sequence[KerasTensor], x: Any, fill_value: Any, dtype: Any = None) -> Written:
    return _operation("FullLike", {"dtype": str(outputs[0].dtype).removeprefix("torch.")}, [x, fill_value])


_SHAPED: dict[str, Callable[..., Written]] = {
    **dict.fromkeys(("split", "chunk", "tensor_split"), _pieces),
    "getitem": _item,
    "select": lambda outputs, x, dim, index: Written("GetItem", "numpy", {}, [x, (*[slice(None)] * (dim % x.ndim), index)]),
    "linalg_cross": lambda outputs, a, b, dim=-1: _operation("Cross", {"axis": dim}, [a, b]),
    "narrow": _part,
    "index_select": _take,
    "pad": _padding,
    "expand": _widened,
    "broadcast_to": _widened,
    "einsum": _einsum,
    "tensordot": _tensordot,
    "quantile": _quantile,
    "isclose": _isclose,
    "bucketize": _digitize,
    "full_like": _full_like,
    "searchsorted": lambda outputs, bounds, x, side="left": _operation("SearchSorted", {"side": side}, [bounds, x]),
    "take_along_dim": lambda outputs, x, indices, dim: _operation("TakeAlongAxis", {"axis": dim}, [x, indices]),
    "masked_fill": lambda outputs, x, mask, value: _operation("Where", {}, [mask, value, x]),
    "unbind": lambda outputs, x, dim=0: _operation("Unstack", {"num": len(outputs), "axis": dim}, [x]),
    "sort": _sorted,
}
"""Functions of which more is asked than the names of their arguments: they get the tensors that were made, then the call's arguments."""


def _configured(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Written:
    found, names, defaults = _NAMED[name]
    first, *rest = args
    if found in _TAKE_MANY and len(rest) != 1 or found in _TAKE_MANY and isinstance(rest[0], int):
        rest = [list(rest)]
    known = {**_KEYWORDS, **_KEYWORDS_OF.get(found, {})}
    given = dict(zip(names, rest, strict=False))
    given |= {key if key in names or key in defaults else known.get(key, key): value for key, value in kwargs.items()}
    if "unbiased" in given:
        given["correction"] = int(given.pop("unbiased"))
    config = {**defaults, **given}
    if len(rest) > len(names) or config.keys() - {*names, *defaults} or symbolic_leaves(list(config.values())):
        raise _no_twin(f"{name} with {sorted(kwargs)}" if kwargs else name)
    for (operation, key), value in _ONLY.items():
        if operation == found and config.pop(key) != value and value is not None:
            raise _no_twin(f"{name} with {key} other than {value}")
    if found == "Gelu":
        config["approximate"] = config["approximate"] == "tanh"
    if "keepdims" in config and config["axis"] == ():  # which is all axes for torch, and none for Keras
        config["axis"] = None
    if "dtype" in config and config["dtype"] is not None:
        config["dtype"] = str(config["dtype"]).removeprefix("torch.")
    config = {key: value.tolist() if isinstance(value, torch.Tensor) else value for key, value in config.items()}
    if found == "Clip" and None in config.values():
        bound, value = ("Maximum", config["x_min"]) if config["x_max"] is None else ("Minimum", config["x_max"])
        return _operation(bound, {}, [first, value])
    return _operation(found, config, [first])
