"""Functions of single elements: maths, comparisons, logic. Numbers and arrays are taken where a tensor is."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras_fn.ops.conversion import as_floats, as_tensor, as_tensors, entry, operands


def _unary(function: Callable[..., Any]) -> Callable[..., Any]:
    name = function.__name__
    return entry(lambda x: function(as_tensor(x)), name, __name__, f"Return `torch.{name}(x)`.")


def _floating(function: Callable[..., Any]) -> Callable[..., Any]:
    name = function.__name__
    return entry(lambda x: function(as_floats(x)), name, __name__, f"Return `torch.{name}(x)`, as floats.")


def _operator(function: Callable[..., Any], name: str, sign: str) -> Callable[..., Any]:
    return entry(lambda x1, x2: function(*operands(x1, x2)), name, __name__, f"Return `x1 {sign} x2`.")


def _binary(function: Callable[..., Any]) -> Callable[..., Any]:
    name = function.__name__
    return entry(lambda x1, x2: function(*as_tensors(x1, x2)), name, __name__, f"Return `torch.{name}(x1, x2)`.")


def _alike(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Two operands in one type, for the functions of torch that take no others."""
    x1, x2 = as_tensors(x1, x2)
    wanted = torch.promote_types(x1.dtype, x2.dtype)
    return x1 if x1.dtype == wanted else x1.to(wanted), x2 if x2.dtype == wanted else x2.to(wanted)


def _binary_floating(function: Callable[..., Any]) -> Callable[..., Any]:
    name = function.__name__
    description = f"Return `torch.{name}(x1, x2)`, as floats."
    return entry(lambda x1, x2: function(*_alike(*map(as_floats, as_tensors(x1, x2)))), name, __name__, description)


# ---------------------------------------------------------------------- of one

angle = _unary(torch.angle)
bitwise_not = bitwise_invert = _unary(torch.bitwise_not)
conj = conjugate = _unary(torch.conj)
isfinite = _unary(torch.isfinite)
isinf = _unary(torch.isinf)
isnan = _unary(torch.isnan)
isneginf = _unary(torch.isneginf)
isposinf = _unary(torch.isposinf)
isreal = _unary(torch.isreal)
logical_not = _unary(torch.logical_not)
negative = _unary(torch.negative)
real = _unary(torch.real)
sign = _unary(torch.sign)
signbit = _unary(torch.signbit)
square = _unary(torch.square)
view_as_real = _unary(torch.view_as_real)

arccos = _floating(torch.arccos)
arccosh = _floating(torch.arccosh)
arcsin = _floating(torch.arcsin)
arcsinh = _floating(torch.arcsinh)
arctan = _floating(torch.arctan)
arctanh = _floating(torch.arctanh)
ceil = _floating(torch.ceil)
cos = _floating(torch.cos)
cosh = _floating(torch.cosh)
fabs = entry(lambda x: torch.abs(as_floats(x)), "fabs", __name__, "Return `torch.abs(x)`, as floats.")
deg2rad = _floating(torch.deg2rad)
erf = _floating(torch.erf)
erfc = _floating(torch.erfc)
erfinv = _floating(torch.erfinv)
exp = _floating(torch.exp)
exp2 = _floating(torch.exp2)
expm1 = _floating(torch.expm1)
floor = _floating(torch.floor)
i0 = _floating(torch.i0)
log = _floating(torch.log)
log10 = _floating(torch.log10)
log1p = _floating(torch.log1p)
log2 = _floating(torch.log2)
rad2deg = _floating(torch.rad2deg)
reciprocal = _floating(torch.reciprocal)
rsqrt = _floating(torch.rsqrt)
sin = _floating(torch.sin)
sinc = _floating(torch.sinc)
sinh = _floating(torch.sinh)
sqrt = _floating(torch.sqrt)
tan = _floating(torch.tan)
tanh = _floating(torch.tanh)
trunc = _unary(torch.trunc)
view_as_complex = _floating(torch.view_as_complex)


def abs(x: Any) -> Any:
    """Return the distance from 0; of truth values, themselves.

    >>> abs([-2.0, 3.0])
    tensor([2., 3.])
    """
    x = as_tensor(x)
    return x if x.dtype is torch.bool else torch.abs(x)


absolute = abs


def imag(x: Any) -> Any:
    """Return the imaginary part, which is 0 for real numbers.

    >>> imag([1.0])
    tensor([0.])
    """
    x = as_tensor(x)
    return torch.imag(x) if x.dtype.is_complex else torch.zeros_like(x)


def cbrt(x: Any) -> Any:
    """Return the cube root of `x`.

    >>> cbrt([-8.0, 27.0])
    tensor([-2.,  3.])
    """
    x = as_floats(x)
    return torch.sign(x) * torch.pow(torch.abs(x), 1 / 3)


def round(x: Any, decimals: int = 0) -> Any:
    """Return `x` rounded to that many digits after the point, halves to the even neighbour.

    >>> round([0.5, 1.26], decimals=1)
    tensor([0.5000, 1.3000])
    """
    x = as_tensor(x)
    if not x.is_floating_point():
        return x if decimals >= 0 else torch.round(x.to(torch.float64), decimals=decimals).to(x.dtype)
    return torch.round(x, decimals=decimals)


def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """Return `x` with what lies outside of `x_min` and `x_max` moved to the nearer of them.

    >>> clip([-1.0, 0.5, 2.0], 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    x = as_tensor(x)
    if isinstance(x_min, (int, float)) and isinstance(x_max, (int, float)):
        return torch.clamp(x, x_min, x_max)
    return minimum(maximum(x, x_min), x_max)


def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """Return `x` with numbers in the place of what is none, and of what is infinite.

    >>> nan_to_num([float("nan"), 1.0])
    tensor([0., 1.])
    """
    return torch.nan_to_num(as_tensor(x), nan, posinf, neginf)


# ---------------------------------------------------------------------- of two


def _as_number(x: Any) -> Any:
    """What torch subtracts or looks up: it refuses truth values, which Keras takes as 0 and 1."""
    return int(x) if isinstance(x, bool) else x.to(torch.int32) if getattr(x, "dtype", None) is torch.bool else x


def _is_number(x: Any) -> bool:
    """Whether torch compares tensors of truth values, too, with `x` as it is."""
    return isinstance(x, (int, float)) and not isinstance(x, bool)


add = _operator(operator.add, "add", "+")
subtract = _operator(lambda x1, x2: _as_number(x1) - _as_number(x2), "subtract", "-")
multiply = _operator(operator.mul, "multiply", "*")
divide = true_divide = _operator(operator.truediv, "divide", "/")
floor_divide = _operator(operator.floordiv, "floor_divide", "//")
mod = _operator(operator.mod, "mod", "%")
power = pow = _operator(operator.pow, "power", "**")
equal = _operator(operator.eq, "equal", "==")
not_equal = _operator(operator.ne, "not_equal", "!=")
greater = _operator(operator.gt, "greater", ">")
greater_equal = _operator(operator.ge, "greater_equal", ">=")
less = _operator(operator.lt, "less", "<")
less_equal = _operator(operator.le, "less_equal", "<=")
bitwise_and = _operator(operator.and_, "bitwise_and", "&")
bitwise_or = _operator(operator.or_, "bitwise_or", "|")
bitwise_xor = _operator(operator.xor, "bitwise_xor", "^")
left_shift = bitwise_left_shift = _operator(operator.lshift, "left_shift", "<<")
right_shift = bitwise_right_shift = _operator(operator.rshift, "right_shift", ">>")

arctan2 = _binary(torch.arctan2)
fmax = _binary(torch.fmax)
fmin = _binary(torch.fmin)
fmod = _binary(torch.fmod)
gcd = _binary(torch.gcd)
heaviside = _binary_floating(torch.heaviside)
hypot = _binary_floating(torch.hypot)
lcm = _binary(torch.lcm)
ldexp = _binary(torch.ldexp)
logaddexp = _binary_floating(torch.logaddexp)
logaddexp2 = _binary_floating(torch.logaddexp2)
logical_and = _binary(torch.logical_and)
logical_or = _binary(torch.logical_or)
logical_xor = _binary(torch.logical_xor)
nextafter = _binary_floating(torch.nextafter)
polar = _binary_floating(torch.polar)


def maximum(x1: Any, x2: Any) -> Any:
    """Return the larger of two, element by element.

    >>> maximum([1.0, 4.0], 2)
    tensor([2., 4.])
    """
    x1, x2 = operands(x1, x2)
    if _is_number(x2):
        return torch.clamp(as_tensor(x1), min=x2)
    return torch.clamp(as_tensor(x2), min=x1) if _is_number(x1) else torch.maximum(*as_tensors(x1, x2))


def minimum(x1: Any, x2: Any) -> Any:
    """Return the smaller of two, element by element.

    >>> minimum([1.0, 4.0], 2)
    tensor([1., 2.])
    """
    x1, x2 = operands(x1, x2)
    if _is_number(x2):
        return torch.clamp(as_tensor(x1), max=x2)
    return torch.clamp(as_tensor(x2), max=x1) if _is_number(x1) else torch.minimum(*as_tensors(x1, x2))


def divide_no_nan(x1: Any, x2: Any) -> Any:
    """Return `x1 / x2`, and 0 where `x2` is 0.

    >>> divide_no_nan([1.0, 1.0], [0.0, 2.0])
    tensor([0.0000, 0.5000])
    """
    x1, x2 = as_tensors(x1, x2)
    safe = torch.where(x2 == 0, torch.ones_like(x2), x2)  # also the gradient of the branch not taken has to be finite
    return torch.where(x2 == 0, 0.0, x1 / safe)


def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Return where two differ by no more than `atol + rtol * |x2|`.

    >>> isclose([1.0, 2.0], [1.0, 2.1])
    tensor([ True, False])
    """
    return torch.isclose(*_alike(x1, x2), rtol, atol, equal_nan)


def allclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Return whether `isclose` holds everywhere.

    >>> allclose([1.0, 2.0], [1.0, 2.1])
    tensor(False)
    """
    return torch.all(isclose(x1, x2, rtol, atol, equal_nan))


def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Return for each element of `x1` whether it is among those of `x2`; with `invert`, whether it is not.

    >>> isin([1, 2, 3], [2, 3])
    tensor([False,  True,  True])
    """
    x1, x2 = (_as_number(x) for x in _alike(x1, x2))
    return torch.isin(x1, x2, assume_unique=assume_unique, invert=invert)


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """Return for each place the choice of the first condition that holds there, and `default` where none does.

    >>> select([torch.tensor([True, False])], [[1.0, 2.0]], 9.0)
    tensor([1., 9.])
    """
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        default = where(condition, choice, default)
    return default


def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """Return `x1` where the condition holds and `x2` elsewhere; without the two, the indices at which it holds, axis by axis.

    >>> where(torch.tensor([True, False]), [1.0, 2.0], 0.0)
    tensor([1., 0.])
    """
    condition = as_tensor(condition, like=next((x for x in (x1, x2) if isinstance(x, torch.Tensor)), None)).to(torch.bool)
    if x1 is None or x2 is None:
        return torch.where(condition)
    numbers = isinstance(x1, (int, float)) and isinstance(x2, (int, float))
    x1, x2 = (as_tensor(x1, like=condition), x2) if numbers else operands(x1, x2)
    return torch.where(condition, x1, x2)
