"""`written`: a call of a torch function as the operation of Keras that does the same."""

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from torchkeras_fn.engine.symbolic import KerasTensor, symbolic_leaves
from torchkeras_fn.saving.keras_files.twin_names import (
    ALIKE,
    CASTS,
    DROPPED,
    HOMES,
    KEYWORDS,
    KEYWORDS_OF,
    NAMED,
    ONLY,
    RESHAPED,
    TAKE_MANY,
)


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


_C: Any = torch._C
_PLACES: tuple[Any, ...] = (torch, torch.Tensor, F, operator, _C._VariableFunctions, _C._nn, _C._linalg, _C._special)


def written(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Sequence[KerasTensor]) -> Written:
    """Return the operation of Keras that a call of a torch function is. Raises `ValueError` for one that has no twin there."""
    full_name = getattr(function, "__name__", str(function))
    name = full_name.strip("_") if full_name.startswith("_") else full_name
    kwargs = {key: value for key, value in kwargs.items() if key not in DROPPED and not (key == "dtype" and value is None)}
    if name == "view" and outputs[0].dtype != args[0].dtype:
        return _operation("View", {"dtype": str(outputs[0].dtype).removeprefix("torch.")}, [args[0]])
    if name in RESHAPED:
        return _reshape(args, outputs[0])
    if name in CASTS:
        return _operation("Cast", {"dtype": str(outputs[0].dtype).removeprefix("torch.")}, [args[0]])
    is_of_torch = str(getattr(function, "__module__", None)).partition(".")[0] == "torch"
    if is_of_torch or any(getattr(place, full_name, None) is function for place in _PLACES):
        if name in _SHAPED:
            return _SHAPED[name](outputs, *args, **kwargs)
        if name in ("max", "min") and (kwargs or len(args) > 1 and not _is_tensor(args[1])):
            return _configured(f"a{name}", args, kwargs)._replace(outputs=1)
        if name in ("max", "min"):
            return _operation(f"{name.title()}imum" if len(args) > 1 else name.title(), {}, args)
        if name in ALIKE and not kwargs:
            return _operation(ALIKE[name], {}, args)
        if name in NAMED:
            return _configured(name, args, kwargs)
    raise _no_twin(full_name)


def _operation(name: str, config: dict[str, Any], args: Sequence[Any], outputs: int | None = None) -> Written:
    home = next((home for home, names in HOMES.items() if name in names), "numpy")
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


def _windows(outputs: Any, x: Any, dim: int, size: int, step: int) -> Written:
    if dim % x.ndim != x.ndim - 1:
        raise _no_twin("unfold of another axis than the last one")
    return _operation("ExtractSequences", {"sequence_length": size, "sequence_stride": step}, [x])


def _distances(outputs: Any, x: Any, y: Any, p: float = 2.0, compute_mode: Any = None) -> Written:
    if p != 2:
        raise _no_twin(f"cdist with p={p}")
    return _operation("CDist", {}, [x, y])


def _nanquantile(*args: Any, **kwargs: Any) -> Written:
    return _quantile(*args, **kwargs)._replace(name="Nanquantile")


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


def _convolution(
    outputs: Any, input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Written:
    """A convolution over a kernel that is no weight: of all channels together, or of each alone. Kernels of Keras have the filters last."""
    if bias is not None or not isinstance(weight, torch.Tensor) or input.ndim != weight.ndim:
        raise _no_twin("conv with a bias, without a batch, or with a kernel that is known only when the model runs")
    steps, rates, is_padded = _sizes(stride, input.ndim - 2), _sizes(dilation, input.ndim - 2), _pads(padding)
    if groups not in (1, input.shape[1]) or is_padded and (padding != "same" or set(steps) != {1}):
        raise _no_twin(f"conv with groups={groups} and padding={padding!r}")
    config = {"strides": steps, "padding": "same" if is_padded else "valid", "dilation_rate": rates, "data_format": "channels_first"}
    kernel = weight.detach().permute(*range(2, weight.ndim), 1, 0)
    if groups == 1:
        return _operation("Conv", config, [input, kernel])
    return _operation("DepthwiseConv", config, [input, kernel.reshape(*kernel.shape[:-2], groups, -1)])


def _maxima(
    rank: int,
    outputs: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Written:
    is_plain = not ceil_mode and set(_sizes(dilation, rank)) == {1}
    return _pooling("MaxPool", rank, input, kernel_size, stride, padding, is_plain)._replace(outputs=1)


def _means(
    rank: int,
    outputs: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Written:
    return _pooling("AveragePool", rank, input, kernel_size, stride, padding, not ceil_mode and divisor_override is None)


def _pooling(name: str, rank: int, x: Any, size: Any, stride: Any, padding: Any, is_plain: bool) -> Written:
    if _pads(padding) or not is_plain or x.ndim != rank + 2:
        raise _no_twin("pooling with a padding, a dilation, a divisor or ceil_mode, or without a batch")
    config = {"pool_size": _sizes(size, rank), "strides": _sizes(stride or size, rank), "padding": "valid"}
    return _operation(name, {**config, "data_format": "channels_first"}, [x])


def _sizes(given: Any, rank: int) -> list[int]:
    """A size for each axis, of which torch takes one for all. Raises `ValueError` for one that is known only when the model runs."""
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    if symbolic_leaves(listed):
        raise _no_twin("a window of a size that is known only when the model runs")
    return listed * rank if len(listed) == 1 else listed


def _pads(padding: Any) -> bool:
    return padding != "valid" and (padding == "same" or any(_sizes(padding, 1)))


_SHAPED: dict[str, Callable[..., Written]] = {
    **{f"conv{rank}d": _convolution for rank in (1, 2, 3)},
    **{f"max_pool{rank}d": partial(_maxima, rank) for rank in (1, 2, 3)},
    **{f"avg_pool{rank}d": partial(_means, rank) for rank in (1, 2, 3)},
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
    "nanquantile": _nanquantile,
    "cdist": _distances,
    "unfold": _windows,
    "trapezoid": lambda outputs, y, dx=1.0, dim=-1: _operation("Trapezoid", {"dx": dx, "axis": dim}, [y]),
    "isin": lambda outputs, x, y, assume_unique=False, invert=False: _operation(
        "IsIn", {"assume_unique": assume_unique, "invert": invert}, [x, y]
    ),
    "linalg_solve_triangular": lambda outputs, a, b, upper: _operation("SolveTriangular", {"lower": not upper}, [a, b]),
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
    found, names, defaults = NAMED[name]
    first, *rest = args
    if found in TAKE_MANY and len(rest) != 1 or found in TAKE_MANY and isinstance(rest[0], int):
        rest = [list(rest)]
    known = {**KEYWORDS, **KEYWORDS_OF.get(found, {})}
    given = dict(zip(names, rest, strict=False))
    given |= {key if key in names or key in defaults else known.get(key, key): value for key, value in kwargs.items()}
    if "unbiased" in given:
        given["correction"] = int(given.pop("unbiased"))
    config = {**defaults, **given}
    if len(rest) > len(names) or config.keys() - {*names, *defaults} or symbolic_leaves(list(config.values())):
        raise _no_twin(f"{name} with {sorted(kwargs)}" if kwargs else name)
    for (operation, key), value in ONLY.items():
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
