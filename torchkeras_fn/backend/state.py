"""What has a value: variables and constants, reading and setting them; and the symbolic tensors that have none yet."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn import config, ops
from torchkeras_fn.engine.drawing.inferring import is_inferring
from torchkeras_fn.engine.symbolic import KerasTensor, is_symbolic, record
from torchkeras_fn.layers.input import Input
from torchkeras_fn.numpy_arrays import taken
from torchkeras_fn.ops.conversion import as_tensor, is_tensor


def variable(value: Any, dtype: Any = None, name: str | None = None, constraint: Any = None) -> nn.Parameter:
    """Return a tensor of its own whose value `set_value` changes: an `nn.Parameter` that is not trained.

    Drawn into a model, or kept by a layer of your own, it moves with it. A weight to be trained is made by `add_weight`.
    Raises `ValueError` for a constraint.

    >>> variable([1.0, 2.0])
    Parameter containing:
    tensor([1., 2.])
    """
    if constraint is not None:
        raise ValueError("A variable takes no constraint: a weight with one is made by a layer's add_weight(..., constraint=...).")
    value = value if isinstance(value, torch.Tensor) else np.asarray(value)
    made = nn.Parameter(as_tensor(value, config.dtype(dtype)).detach().clone(), requires_grad=False)
    return made


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> torch.Tensor:
    """Return a tensor of an array, or of a number, of `dtype` or else `floatx()`; spread over a shape where one is given.

    >>> constant(3, shape=(2,))
    tensor([3., 3.])
    """
    made: torch.Tensor = as_tensor(value.copy() if isinstance(value, np.ndarray) else value, config.dtype(dtype))
    if shape is None:
        return made
    return made.expand(shape).clone() if made.ndim == 0 else made.reshape(shape)


def placeholder(
    shape: Sequence[int | None] | None = None, ndim: int | None = None, dtype: Any = None, sparse: bool = False, name: str | None = None
) -> KerasTensor:
    """Return what `Input(batch_shape=shape)` does; `ndim` stands for a shape that is all unknown.

    >>> placeholder(shape=(None, 3)).shape
    (None, 3)
    """
    if shape is None and ndim is None:
        raise ValueError("A placeholder needs a shape, the batch included, or the number of dimensions in 'ndim'.")
    return Input(batch_shape=tuple(shape) if shape is not None else (None,) * (ndim or 0), dtype=dtype, sparse=sparse, name=name)


def is_variable(x: Any) -> bool:
    """Return whether `x` has a value that can be set: a variable, or a weight.

    >>> is_variable(variable(1.0)), is_variable(constant(1.0))
    (True, False)
    """
    return isinstance(x, nn.Parameter)


def is_placeholder(x: Any) -> bool:
    """Return whether `x` was made by `placeholder` or `Input`.

    >>> is_placeholder(placeholder(ndim=2))
    True
    """
    return isinstance(x, KerasTensor) and hasattr(x.node.operation, "open")


def is_keras_tensor(x: Any) -> bool:
    """Return whether `x` is symbolic: what `Input` and layers called on it return.

    >>> is_keras_tensor(torch.ones(2))
    False
    """
    return isinstance(x, KerasTensor)


def is_sparse(tensor: Any) -> bool:
    """Return whether a tensor keeps nothing but what is not 0.

    >>> is_sparse(torch.ones(2))
    False
    """
    return isinstance(tensor, torch.Tensor) and tensor.layout != torch.strided


def to_dense(tensor: Any) -> Any:
    """Return a tensor that also keeps zeros.

    >>> to_dense(torch.ones(2).to_sparse())
    tensor([1., 1.])
    """
    return tensor.to_dense() if is_sparse(tensor) else tensor


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Return the sizes as a tuple, `None` where they are unknown.

    >>> int_shape(placeholder(shape=(None, 3)))
    (None, 3)
    """
    return tuple(x.shape) if is_tensor(x) else np.shape(x)


def get_variable_shape(x: Any) -> tuple[int | None, ...]:
    """Return the sizes of a variable or weight, as `int_shape` does.

    >>> get_variable_shape(variable([1.0, 2.0]))
    (2,)
    """
    return int_shape(x)


def count_params(x: Any) -> int:
    """Return the number of elements of a variable or weight.

    >>> count_params(torch.ones(2, 3))
    6
    """
    return math.prod(x.shape)


# ---------------------------------------------------------------------- values


def get_value(x: Any) -> Any:
    """Return the value of a variable, weight or tensor, as it is now, in a numpy array; of a number, as `optimizer.lr`, the number.

    >>> get_value(variable([1.0, 2.0]))
    array([1., 2.], dtype=float32)
    """
    if isinstance(x, (int, float)):
        return float(x) if isinstance(x, float) else x
    return np.array(ops.convert_to_numpy(to_dense(x)))  # which may share its memory


def eval(x: Any) -> Any:
    """Return the value, as it is now, in a numpy array. Raises `ValueError` for a symbolic tensor, which has none.

    >>> eval(torch.ones(2) + 1)
    array([2., 2.], dtype=float32)
    """
    return np.array(ops.convert_to_numpy(to_dense(x)))


def set_value(x: Any, value: Any) -> None:
    """Set the value of a variable or weight, in place.

    Also of what has an `assign(value)`. Raises `ValueError` for a value of another shape, and `TypeError` for a plain number,
    which is a copy: `optimizer.lr = value` sets a learning rate.

    >>> set_value(weight := variable([1.0, 2.0]), [3.0, 4.0])
    >>> weight.tolist()
    [3.0, 4.0]
    """
    if is_inferring():
        return
    if hasattr(x, "assign"):
        x.assign(value)
        return
    if not isinstance(x, torch.Tensor):
        advice = "For a number of the optimizer's: model.optimizer.learning_rate = value." if isinstance(x, (int, float)) else ""
        raise TypeError(f"Only variables and weights can be set, got {x!r} of type {type(x).__name__}. {advice}".rstrip())
    given = torch.as_tensor(taken(value), dtype=x.dtype, device=x.device)
    if given.shape != x.shape:
        raise ValueError(
            f"A value of shape {tuple(given.shape)} does not fit a variable of shape {tuple(x.shape)}. "
            "Weights of layers are in torch's layout here: layer.set_weights(arrays) takes Keras'."
        )
    with torch.no_grad():
        x.copy_(given)


def batch_get_value(tensors: Iterable[Any]) -> list[Any]:
    """Return the values of several variables.

    >>> batch_get_value([variable(1.0)])
    [array(1., dtype=float32)]
    """
    return [get_value(tensor) for tensor in tensors]


def batch_set_value(tuples: Iterable[tuple[Any, Any]]) -> None:
    """Set several variables, from pairs `(variable, value)`.

    >>> batch_set_value([(variable(1.0), 2.0)])
    """
    for tensor, value in tuples:
        set_value(tensor, value)


def update(x: Any, new_x: Any) -> Any:
    """Set a variable, and return it.

    >>> update(variable(1.0), 2.0).item()
    2.0
    """
    set_value(x, new_x)
    return x


def update_add(x: Any, increment: Any) -> Any:
    """Add to a variable, and return it.

    >>> update_add(variable(1.0), 2.0).item()
    3.0
    """
    return _changed(_add, x, increment)


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtract from a variable, and return it.

    >>> update_sub(variable(1.0), 2.0).item()
    -1.0
    """
    return _changed(_subtract, x, decrement)


def _changed(operation: Any, x: Any, amount: Any) -> Any:
    """Change a variable now; or, by an amount that is symbolic, whenever the result is computed."""
    return record(operation, (x, amount), {}) if is_symbolic(amount) else operation(x, amount)


def _add(x: torch.Tensor, amount: Any) -> torch.Tensor:
    with torch.no_grad():
        return x if is_inferring() else x.add_(amount)


def _subtract(x: torch.Tensor, amount: Any) -> torch.Tensor:
    with torch.no_grad():
        return x if is_inferring() else x.sub_(amount)


def moving_average_update(x: Any, value: Any, momentum: float) -> Any:
    """Set a variable to `momentum * x + (1 - momentum) * value`, and return it.

    >>> moving_average_update(variable(1.0), torch.tensor(2.0), momentum=0.5).item()
    1.5
    """
    with torch.no_grad():
        return x if is_inferring() else x.lerp_(as_tensor(value, x.dtype, like=x), 1 - momentum)


# ---------------------------------------------------------------------- by shape


def zeros(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Return a tensor of zeros.

    >>> zeros((2,))
    tensor([0., 0.])
    """
    return ops.zeros(shape, dtype)


def ones(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Return a tensor of ones.

    >>> ones((2,))
    tensor([1., 1.])
    """
    return ops.ones(shape, dtype)


def zeros_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Return zeros in the shape of `x`.

    >>> zeros_like(torch.ones(2))
    tensor([0., 0.])
    """
    return ops.zeros_like(x, dtype)


def ones_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Return ones in the shape of `x`.

    >>> ones_like(torch.zeros(2))
    tensor([1., 1.])
    """
    return ops.ones_like(x, dtype)


def eye(size: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Return a matrix, square unless `size` is a pair, with ones on the diagonal and zeros elsewhere.

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    rows, columns = size if isinstance(size, (tuple, list)) else (size, size)
    return ops.eye(rows, columns, dtype=dtype)


def identity(x: Any, name: str | None = None) -> Any:
    """Return `x`, as a tensor.

    >>> identity([1.0])
    tensor([1.])
    """
    return as_tensor(x)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Any:
    """Return the numbers from `start` to before `stop`; from 0 to before `start` where that stands alone.

    >>> arange(3)
    tensor([0, 1, 2], dtype=torch.int32)
    """
    return ops.arange(start, stop, step, dtype)


def cast_to_floatx(x: Any) -> Any:
    """Return `x` as `floatx()`: an array as an array, a tensor as a tensor.

    >>> cast_to_floatx(np.ones(2)), cast_to_floatx(torch.tensor([1]))
    (array([1., 1.], dtype=float32), tensor([1.]))
    """
    return as_tensor(x, config.dtype(None)) if is_tensor(x) else np.asarray(x, dtype=config.floatx())
