"""First values that are not drawn: constants, arrays and the identity."""

from typing import Any

import numpy as np
import torch

from torchkeras_fn.arguments import number
from torchkeras_fn.initializers.base import Initializer
from torchkeras_fn.numpy_arrays import taken


class Zeros(Initializer):
    """All zeros.

    >>> Zeros()((2,))
    tensor([0., 0.])
    """

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return tensor.zero_()


class Ones(Initializer):
    """All ones.

    >>> Ones()((2,), dtype="int64")
    tensor([1, 1])
    """

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return tensor.fill_(1)


class Constant(Initializer):
    """One value everywhere, or the values of an array (such as pretrained embeddings) that broadcasts to the shape.

    >>> Constant(0.5)((1, 2))
    tensor([[0.5000, 0.5000]])
    >>> Constant(np.array([1.0, 2.0]))((2,))
    tensor([1., 2.])
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def get_config(self) -> dict[str, Any]:
        """Return the value; an array as nested lists."""
        value = self.value.cpu() if isinstance(self.value, torch.Tensor) else self.value
        return {"value": np.asarray(value).tolist() if hasattr(value, "shape") else value}

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        values = torch.as_tensor(taken(self.value), dtype=tensor.dtype)
        try:
            return tensor.copy_(values)
        except RuntimeError as error:
            raise ValueError(
                f"A constant of shape {tuple(values.shape)} does not fit a weight of shape {tuple(tensor.shape)}. "
                "Give a number, or an array of the weight's shape."
            ) from error


class Identity(Initializer):
    """The identity matrix times `gain`; two dimensions only.

    >>> Identity()((2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """

    def __init__(self, gain: float = 1.0):
        self.gain = number(gain, "gain")

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        if tensor.ndim != 2:
            raise ValueError(f"Identity makes matrices: expected a shape of two dimensions, got {tuple(tensor.shape)}.")
        return tensor.copy_(self.gain * torch.eye(*tensor.shape))
