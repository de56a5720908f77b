"""Whatever a user passes to a function of the tables, as tensors, sizes and axes; and where tensors that come from nowhere are put."""

import numbers
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import register_pytree_node

from torchkeras_fn import config
from torchkeras_fn.engine.basics.nested import leaves_of
from torchkeras_fn.engine.basics.threads import device_here
from torchkeras_fn.engine.symbolic import KerasTensor, symbolic_leaves
from torchkeras_fn.numpy_arrays import taken

# ---------------------------------------------------------------------- tensors


def is_tensor(x: Any) -> bool:
    """Return whether `x` is a tensor, real or symbolic.

    >>> is_tensor(torch.ones(2)), is_tensor([1.0, 2.0])
    (True, False)
    """
    return hasattr(type(x), "__torch_function__")


def is_size(x: Any) -> bool:
    """Return whether `x` is the size of an unknown dimension: symbolic, but a number once it runs.

    >>> from torchkeras_fn import Input
    >>> is_size(Input(shape=(3,)).size(0))
    True
    """
    return isinstance(x, KerasTensor) and x.spec.number is not None


def as_tensor(x: Any, dtype: Any = None, like: Any = None) -> Any:
    """Return an array, a number or nested lists of them as a tensor of `dtype`; tensors, also symbolic ones, as they are.

    Doubles from Python and numpy take the type `floatx()`. The tensor is put where `like` is, or else on
    `default_device()`.

    >>> as_tensor(np.ones(2)), as_tensor(2, dtype="float32")
    (tensor([1., 1.]), tensor(2.))
    """
    wanted = None if dtype is None else config.dtype(dtype)
    if is_size(x):
        return source(x).new_full((), x, dtype=wanted or x.dtype)
    if is_tensor(x):
        return x if wanted is None or x.dtype == wanted else x.to(wanted)
    if isinstance(x, (list, tuple)) and any(is_tensor(leaf) for leaf in leaves_of(x)):
        first = next(leaf for leaf in leaves_of(x) if is_tensor(leaf))
        return torch.stack([as_tensor(part, dtype, like=first) for part in x])
    device = torch.device("cpu") if isinstance(like, KerasTensor) else default_device() if like is None else like.device
    tensor = torch.as_tensor(taken(x), device=device)
    if wanted is None and tensor.dtype in (torch.float64, torch.get_default_dtype()) and not _is_chosen(x):
        wanted = config.dtype(None)
    return tensor if wanted is None else tensor.to(wanted)


def _is_chosen(x: Any) -> bool:
    """Whether the float type of an array was chosen: doubles are what numpy makes of any number."""
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype != np.float64


def as_floats(x: Any) -> Any:
    """Return a tensor of floats: integers and booleans as `floatx()`.

    >>> as_floats(torch.tensor([True, False]))
    tensor([1., 0.])
    """
    x = as_tensor(x)
    if not isinstance(x, (torch.Tensor, KerasTensor)):  # an activation while the lowered graph is written
        return x
    return x if x.is_floating_point() or x.dtype.is_complex else x.to(config.dtype(None))


def operands(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Return two operands of which at least one is a tensor; of numbers one stays a number, so that it takes the other's dtype.

    >>> operands([1.0, 2.0], 3)
    (tensor([1., 2.]), 3)
    """
    if not is_tensor(x1) and not is_tensor(x2):
        x1 = as_tensor(x1)
    return _operand(x1, x2), _operand(x2, x1)


def _operand(x: Any, other: Any) -> Any:
    if is_tensor(x) or isinstance(x, (numbers.Number, np.generic)):
        return x.item() if isinstance(x, np.generic) else x
    return as_tensor(x, like=other if is_tensor(other) else None)


def as_tensors(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Return two operands as tensors, for the functions of torch that take no numbers.

    >>> as_tensors(torch.ones(2), 3)
    (tensor([1., 1.]), tensor(3))
    """
    x1, x2 = operands(x1, x2)
    return as_tensor(x1, like=None if is_size(x2) else x2), as_tensor(x2, like=None if is_size(x1) else x1)


# ---------------------------------------------------------------------- sizes


class Sizes(tuple[Any, ...]):
    """The sizes of a symbolic tensor. They remember it, so that what is made in this shape is made anew in every run.

    >>> from torchkeras_fn import Input
    >>> Sizes.of(Input(shape=(3,)))[1:]
    (3,)
    """

    tensor: KerasTensor

    @classmethod
    def of(cls, tensor: KerasTensor, sizes: Sequence[Any] | None = None) -> "Sizes":
        """Return the sizes of a tensor, or others that were made of them."""
        self = cls(tensor.size() if sizes is None else sizes)
        self.tensor = tensor
        return self

    def __getitem__(self, index: Any) -> Any:
        picked = super().__getitem__(index)
        return Sizes.of(self.tensor, picked) if isinstance(index, slice) else picked

    def __add__(self, other: Any) -> Any:
        return Sizes.of(self.tensor, (*self, *other))

    def __radd__(self, other: Any) -> Any:
        return Sizes.of(self.tensor, (*other, *self))


# torch's functions, when they are drawn, look for symbolic sizes inside of tuples: this is one.
register_pytree_node(Sizes, lambda sizes: (list(sizes), None), lambda parts, _: tuple(parts))


def sizes_of(shape: Any) -> tuple[Any, ...]:
    """Return a shape as a tuple of integers and symbolic sizes. Raises `ValueError` for `None`, and `TypeError` for no shape.

    >>> sizes_of(3), sizes_of(torch.tensor([2, 3])), sizes_of((np.int64(2), 3))
    ((3,), (2, 3), (2, 3))
    """
    if isinstance(shape, (torch.Tensor, np.ndarray)):
        shape = shape.tolist()
    if is_size(shape) or isinstance(shape, (numbers.Integral, torch.SymInt)):
        shape = (shape,)
    if isinstance(shape, KerasTensor) or not isinstance(shape, Sequence):
        raise TypeError(f"A shape is a tuple of sizes, got {shape!r}. K.shape(x) returns one, of symbolic sizes where they are unknown.")
    return tuple(_size(size, shape) for size in shape)


def _size(size: Any, shape: Any) -> Any:
    if size is None:
        raise ValueError(f"The shape {tuple(shape)} has an unknown size. Take it from K.shape(x), which knows the size once it runs.")
    return size if is_size(size) or isinstance(size, torch.SymInt) else int(size)


def source(size: KerasTensor) -> KerasTensor:
    """Return the tensor of which a symbolic size was taken, maybe by way of other sizes.

    >>> from torchkeras_fn import Input
    >>> source(Input(shape=(3,), name="x").size(0) * 2).name
    'x'
    """
    while is_size(size):
        size = size.node.parents[0]
    return size


def source_of(shape: Any) -> KerasTensor | None:
    """Return the symbolic tensor whose sizes stand in a shape; `None` where all are plain integers.

    >>> source_of((2, 3)) is None
    True
    """
    if isinstance(shape, Sizes):
        return shape.tensor
    symbolic = symbolic_leaves(shape)
    return source(symbolic[0]) if symbolic else None


def empty_tensor(shape: Any, dtype: Any = None) -> Any:
    """Return a tensor to be filled: symbolic where the shape is, so that it is filled anew in every run.

    >>> empty_tensor((2, 3)).shape
    torch.Size([2, 3])
    """
    model, wanted, sizes = source_of(shape), config.dtype(dtype), sizes_of(shape)
    return torch.empty(sizes, dtype=wanted, device=default_device()) if model is None else model.new_empty(sizes, dtype=wanted)


def axes_of(axis: Any) -> Any:
    """Return an axis as an integer, or several as a tuple; `None` for all.

    >>> axes_of([1, 2]), axes_of(np.arange(1, 3)), axes_of(np.int64(-1))
    ((1, 2), (1, 2), -1)
    """
    if isinstance(axis, (np.ndarray, np.integer, torch.Tensor)):
        axis = axis.tolist()
    return tuple(int(one) for one in axis) if isinstance(axis, (list, tuple, range)) else axis


# ---------------------------------------------------------------------- devices


def default_device() -> torch.device:
    """Return where a tensor that comes from no other tensor is put, as Keras does.

    That is torch's default device, if its user set one; else where the running layer's inputs are, or the model whose steps
    are taken; else where models are trained: on the accelerator, if there is one.

    >>> isinstance(default_device(), torch.device)
    True
    """
    chosen = torch.get_default_device()
    if chosen.type != "cpu" or not torch.accelerator.is_available():
        return chosen
    running = None if torch.compiler.is_compiling() else _running_device() or device_here()
    return running or torch.accelerator.current_accelerator() or chosen


def _running_device() -> torch.device | None:
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is nn.Module._call_impl.__code__:
            for leaf in leaves_of((frame.f_locals["args"], frame.f_locals["kwargs"])):
                if isinstance(leaf, torch.Tensor):
                    return leaf.device
    return None


# ---------------------------------------------------------------------- entries of a table


def entry(function: Callable[..., Any], name: str, module: str, description: str) -> Callable[..., Any]:
    """Return a function made by another one as the public thing `module.name`, so that it can be pickled and looked up.

    >>> entry(lambda x: x, "same", "torchkeras_fn.ops", "Return `x`.").__qualname__
    'same'
    """
    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = description
    return function
