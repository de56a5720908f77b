"""Types, branches and loops; and the ways in and out of tensors."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map

from torchkeras_fn import config
from torchkeras_fn.engine.device import to_host
from torchkeras_fn.engine.symbolic import is_symbolic
from torchkeras_fn.ops.conversion import as_tensor, is_tensor


def cast(x: Any, dtype: Any) -> Any:
    """Return `x` as another dtype.

    >>> cast([True, False], "float32")
    tensor([1., 0.])
    """
    return as_tensor(x, dtype)


def saturate_cast(x: Any, dtype: Any) -> Any:
    """Return `x` as another dtype; what is outside of its range becomes the nearest number inside.

    >>> saturate_cast([-3.0, 300.0], "uint8")
    tensor([  0, 255], dtype=torch.uint8)
    """
    x, wanted = as_tensor(x), config.dtype(dtype)
    if x.dtype is torch.bool:
        return x.to(wanted)
    low, high = _range_of(wanted)
    if not x.dtype.is_floating_point:  # limits that its type cannot hold would be taken modulo the size of the type
        lowest, highest = _range_of(x.dtype)
        low, high = max(low, lowest), min(high, highest)
    inside = torch.clamp(x, low, high).to(wanted)
    if not x.dtype.is_floating_point or wanted.is_floating_point or wanted is torch.bool:
        return inside
    return torch.where(x >= high, high, inside)  # the largest integer, as a float, is one more than that


def _range_of(dtype: torch.dtype) -> tuple[Any, Any]:
    if dtype is torch.bool:
        return 0, 1
    limits: Any = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    return limits.min, limits.max


def dtype(x: Any) -> str:
    """Return the name of the dtype.

    >>> dtype(torch.ones(2))
    'float32'
    """
    return str(as_tensor(x).dtype).removeprefix("torch.")


def convert_to_tensor(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> Any:
    """Return an array, a number or nested lists as a tensor; doubles of Python and numpy as `floatx()`.

    >>> convert_to_tensor([1.0, 2.0])
    tensor([1., 2.])
    """
    return as_tensor(x, dtype)


array = convert_to_tensor


def convert_to_numpy(x: Any) -> np.ndarray:
    """Return the values as a numpy array. Raises `ValueError` for a symbolic tensor, which has none yet.

    >>> convert_to_numpy(torch.ones(2))
    array([1., 1.], dtype=float32)
    """
    if is_symbolic(x):
        raise ValueError(f"{x!r} has no value yet. Build a Model of it, and call predict().")
    if isinstance(x, (list, tuple)):
        return np.array([convert_to_numpy(part) for part in x])
    return to_host(x).numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def copy(x: Any) -> Any:
    """Return a tensor of its own with the same values.

    >>> copy(torch.ones(2))
    tensor([1., 1.])
    """
    return torch.clone(as_tensor(x))


def stop_gradient(variable: Any) -> Any:
    """Return the same values, through which no gradient flows; of a list, each.

    >>> stop_gradient(torch.ones(1, requires_grad=True)).requires_grad
    False
    """
    return [stop_gradient(part) for part in variable] if isinstance(variable, (list, tuple)) else as_tensor(variable).detach()


def view(x: Any, dtype: Any = None) -> Any:
    """Return the same memory read as another dtype; the last axis is longer by as much as that is smaller.

    >>> view(torch.ones(1), "int32")
    tensor([1065353216], dtype=torch.int32)
    """
    return as_tensor(x).view(config.dtype(dtype))


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that returns what `f` does, with a gradient of its own: `f` returns its result, and what to call for it.

    That is called with the gradients of the results, and returns those of the arguments. Raises `ValueError` on symbolic tensors.

    >>> reverse = custom_gradient(lambda x: (x * 1.0, lambda upstream: -upstream))
    >>> x = torch.ones(2, requires_grad=True)
    >>> reverse(x).sum().backward()
    >>> x.grad
    tensor([-1., -1.])
    """

    class OwnGradient(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *args: Any) -> Any:
            outputs, context.gradient = f(*args)
            return outputs

        @staticmethod
        def backward(context: Any, *upstream: Any) -> Any:
            return context.gradient(*upstream)

    @functools.wraps(f)
    def with_gradient(*args: Any) -> Any:
        if is_symbolic(args):
            raise ValueError("A gradient of one's own is not drawn. Put the function in a Lambda layer, or in the call of a layer.")
        return OwnGradient.apply(*args)

    return with_gradient


# ---------------------------------------------------------------------- branches


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Return what one of two functions returns. Where `pred` is a tensor both run, and no device is waited for.

    >>> cond(torch.tensor(True), lambda: torch.tensor(1.0), lambda: torch.tensor(0.0))
    tensor(1.)
    """
    if not is_tensor(pred):
        return true_fn() if pred else false_fn()
    condition = as_tensor(pred, torch.bool)
    return tree_map(lambda a, b: torch.where(condition, as_tensor(a), as_tensor(b, like=condition)), true_fn(), false_fn())


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Return what the branch of this number returns for the operands; of numbers out of range the nearest branch.

    >>> switch(1, [lambda x: x, lambda x: 2 * x], 3)
    6
    """
    if is_symbolic(index):
        raise ValueError("The number of the branch is symbolic. Put the switch in a Lambda layer, or use K.switch.")
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


# ---------------------------------------------------------------------- loops


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """Return the results of a function for each part of `xs` along the first axis, stacked. Structures of tensors are taken along.

    >>> map(lambda x: x * 2, torch.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    _refuse_symbolic(xs, "map")
    return _stacked([f(part) for part in _parts(xs)])


def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """Return what `map(function, elements)` does, all at once: the function sees one part, torch runs it on all.

    >>> vectorized_map(lambda x: x * 2, torch.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    _refuse_symbolic(elements, "vectorized_map")
    return torch.vmap(function, randomness="different")(tree_map(as_tensor, elements))


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: Any = 1
) -> tuple[Any, Any]:
    """Return the last state and the stacked outputs of `state, output = f(state, part)` over the first axis of `xs`.

    >>> scan(lambda total, x: (total + x, total + x), torch.tensor(0.0), torch.tensor([1.0, 2.0]))
    (tensor(3.), tensor([1., 3.]))
    """
    _refuse_symbolic(xs, "scan")
    parts = [None] * (length or 0) if xs is None else _parts(xs)
    outputs = []
    for part in reversed(parts) if reverse else parts:
        init, output = f(init, part)
        outputs.append(output)
    return init, _stacked(outputs[::-1] if reverse else outputs)


def fori_loop(lower: int, upper: int, body_fun: Callable[[int, Any], Any], init_val: Any) -> Any:
    """Return the value after `value = body_fun(i, value)` for each number from `lower` to before `upper`.

    >>> fori_loop(0, 3, lambda i, value: value + i, 0)
    3
    """
    for index in range(lower, upper):
        init_val = body_fun(index, init_val)
    return init_val


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: int | None = None) -> Any:
    """Return the variables after `variables = body(*variables)`, as often as `cond(*variables)` holds.

    >>> while_loop(lambda i: i < 5, lambda i: (i + 2,), (0,))
    (6,)
    """
    several = isinstance(loop_vars, (tuple, list))
    variables = tuple(loop_vars) if several else (loop_vars,)
    count = 0
    while (maximum_iterations is None or count < maximum_iterations) and cond(*variables):
        found = body(*variables)
        variables = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        count += 1
    return variables if several else variables[0]


def _refuse_symbolic(xs: Any, name: str) -> None:
    if is_symbolic(xs):
        raise ValueError(f"{name} walks along tensors, and these are symbolic. Put it in a Lambda layer, or in the call of a layer.")


def _parts(xs: Any) -> list[Any]:
    xs = tree_map(as_tensor, xs)
    count = len(tree_leaves(xs)[0])
    return [tree_map(lambda tensor: tensor[index], xs) for index in range(count)]  # noqa: B023 - used at once


def _stacked(results: list[Any]) -> Any:
    first = results[0]
    if isinstance(first, (tuple, list, dict)) or is_tensor(first):
        return tree_map(lambda *parts: torch.stack([as_tensor(part) for part in parts]), first, *results[1:])
    return None if first is None else torch.stack([as_tensor(result) for result in results])
