"""Where data enters a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from torchkeras_fn import config
from torchkeras_fn.arguments import sizes
from torchkeras_fn.engine.drawing.spec import Spec
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.symbolic import KerasTensor, Node


class InputLayer(Layer):
    """The entry of a symbolic tensor; made by `Input`, and listed among a model's layers.

    `shape` leaves out the batch, whose size may be given in `batch_size`; `batch_shape` has both. Raises `ValueError` without either.

    >>> InputLayer(batch_shape=(None, 3)).batch_shape, InputLayer((3,), batch_size=8).batch_shape
    ((None, 3), (8, 3))
    """

    default_name = "input"
    inline = True

    def __init__(
        self,
        shape: Sequence[int | None] | int | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool = False,
        batch_shape: Sequence[int | None] | None = None,
        tensor: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        tensor = kwargs.pop("input_tensor", tensor)
        super().__init__(name=name, input_shape=kwargs.pop("input_shape", shape), batch_size=batch_size, dtype=dtype, **kwargs)
        batch_shape = self.batch_input_shape if batch_shape is None else batch_shape
        if batch_shape is None:
            raise ValueError("give a shape (without the batch), or a batch_shape")
        self.batch_shape = sizes(batch_shape, "batch_shape")
        self.declared_dtype = None if dtype is None else config.dtype(dtype)
        self.sparse = sparse
        self.tensor = _data(tensor)
        if isinstance(self.tensor, torch.Tensor):
            self._check_fit(self.tensor)
        self.built = True
        self.open()

    def open(self) -> KerasTensor:
        """Begin a graph: return a new symbolic tensor of this shape."""
        node = Node(self, (), {}, Spec.of(self.batch_shape, self.dtype))
        self._nodes = [node]
        return node.tensors[0]

    def stand_for(self, tensor: KerasTensor) -> Node:
        """Begin a graph at a tensor that another call made: return the call that makes it there."""
        node = Node(self, (), {}, tensor.spec)
        node.outputs = tensor
        self._nodes = [node]
        return node

    def _check_fit(self, tensor: torch.Tensor) -> None:
        fits = len(tensor.shape) == len(self.batch_shape) and all(
            wanted in (None, size) for wanted, size in zip(self.batch_shape, tensor.shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"The input is declared with the shape {self.batch_shape}, and its tensor has the shape {tuple(tensor.shape)}. "
                "Leave the shape out, and it is that of the tensor."
            )

    def feed(self) -> torch.Tensor:
        """Return the tensor of a step, for an input that was given one, or a callable that returns one."""
        fed: torch.Tensor = self.tensor() if callable(self.tensor) else self.tensor
        return fed

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what comes in."""
        return inputs


def Input(
    shape: Sequence[int | None] | int | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    dtype: Any = None,
    sparse: bool = False,
    tensor: Any = None,
    batch_size: int | None = None,
) -> KerasTensor:
    """Return a symbolic tensor for data that will come.

    `shape` leaves out the batch, whose size may be given in `batch_size`; `batch_shape` includes it, and holds where both are given,
    as in Keras 2. Unknown dimensions are `None`. `dtype` is `floatx()` unless given; data for an input that feeds an `Embedding`
    and declares no dtype stays integer. `tensor` (or an array, or a callable that returns a tensor per step) feeds the input
    itself. Raises `ValueError` where no shape can be told or the tensor has another, and `TypeError` for a symbolic tensor, which
    is an input of layers already.

    >>> Input(shape=(28, 28, 1)).shape
    (None, 28, 28, 1)
    >>> Input(batch_shape=(32, None), dtype="int64").shape
    (32, None)
    """
    if batch_shape is None and shape is not None:
        batch_shape = (batch_size, *sizes(shape, "shape"))
    elif batch_shape is not None and batch_size is not None:
        raise ValueError(f"batch_size={batch_size!r} goes with a shape to Input; batch_shape={batch_shape!r} includes the batch already.")
    tensor = _data(tensor)
    if isinstance(tensor, torch.Tensor):
        batch_shape = batch_shape or (None, *tensor.shape[1:])
        dtype = dtype or tensor.dtype
    if batch_shape is None:
        raise ValueError("Input needs a shape (without the batch dimension), a batch_shape, or a tensor.")
    layer = InputLayer(batch_shape=batch_shape, dtype=dtype, sparse=sparse, tensor=tensor, name=name)
    output: KerasTensor = layer.output
    return output


def _data(tensor: Any) -> Any:
    """What feeds an input, as a tensor: floats of an array become `floatx()`, as those in the data of `fit` do."""
    if isinstance(tensor, np.ndarray | np.generic):
        return torch.as_tensor(tensor, dtype=config.dtype(None) if tensor.dtype.kind == "f" else None)
    if isinstance(tensor, KerasTensor):
        raise TypeError(
            f"The tensor of an input holds the data of every step, and {tensor!r} is symbolic. Call the layers on it, in place of an Input."
        )
    if tensor is None or isinstance(tensor, torch.Tensor) or callable(tensor):
        return tensor
    raise TypeError(f"The tensor of an input is a tensor, an array, or a callable that returns a tensor; got a {type(tensor).__name__}.")
