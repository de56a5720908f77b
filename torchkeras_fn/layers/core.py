"""The everyday layers: dense connections, activations, functions, wrapped torch modules, lookups."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn import activations
from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.engine.layer import FunctionModule, Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight


class Dense(Layer):
    """`activation(inputs @ kernel + bias)` over the last axis: `(..., inputs)` to `(..., units)`.

    Weights: `kernel` `(inputs, units)`, `bias` `(units,)`. The torch module is `nn.Linear`.

    >>> import torch
    >>> Dense(4, activation="relu")(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    weight_map = {"kernel": Weight("weight", (1, 0)), "bias": Weight("bias")}
    needs_floats = True
    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_integer(units, "units")
        self.use_bias = use_bias
        self.set_activation(activation)
        if self.units == 1 and self.activation is activations.softmax:
            advice = "For two classes told by one unit use activation='sigmoid'."
            warnings.warn(f"The softmax of a single unit is 1 whatever comes in, and learns nothing. {advice}", UserWarning, stacklevel=3)
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint), bias=(bias_initializer, bias_regularizer, bias_constraint)
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the linear map for this many features."""
        features = last_dimension(input_shape, rank=2)
        return nn.Linear(features, self.units, bias=self.use_bias)


class Activation(Layer):
    """Applies an activation function, given by name, as a function or as a torch module.

    >>> import torch
    >>> Activation("relu")(torch.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    inline = True
    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.set_activation(activation)


class Identity(Layer):
    """Returns what it is given.

    >>> import torch
    >>> Identity()(torch.ones(1, 2))
    tensor([[1., 1.]])
    """

    inline = True
    supports_masking = True


class Embedding(Layer):
    """Looks up a vector of `output_dim` numbers for each index from 0 to `input_dim - 1`: `(...)` to `(..., output_dim)`.

    With `mask_zero=True` index 0 means padding, and later layers and the loss skip it. Weight: `embeddings`
    `(input_dim, output_dim)`; `weights` is one to begin with, or a list of it. The torch module is `nn.Embedding`.

    >>> import torch
    >>> Embedding(10, 4)(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 4])
    """

    weight_map = {"embeddings": Weight("weight")}
    takes_integers = True
    makes_mask = True
    assumed_input_shape = (None, None)

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        activity_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        input_length: int | None = None,
        **kwargs: Any,
    ):
        if input_length is not None and not {"input_shape", "batch_input_shape"} & kwargs.keys():
            kwargs["input_shape"] = (input_length,) if isinstance(input_length, int) else tuple(input_length)
        if hasattr(kwargs.get("weights"), "shape"):
            kwargs["weights"] = [kwargs["weights"]]
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.input_dim = positive_integer(input_dim, "input_dim")
        self.output_dim = positive_integer(output_dim, "output_dim")
        self.mask_zero = mask_zero
        self.describe_weights(embeddings=(embeddings_initializer, embeddings_regularizer, embeddings_constraint))

    def build(self, input_shape: Any) -> nn.Module:
        """Return the table."""
        return nn.Embedding(self.input_dim, self.output_dim)

    def prepare(self, inputs: Any) -> Any:
        """Make the inputs indices."""
        return inputs.long()

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where the index is not 0, with `mask_zero`."""
        return _tensor_of(inputs).ne(0) if self.mask_zero else None


class Masking(Layer):
    """Marks the steps at which every feature equals `mask_value` as missing: later layers and the loss skip them.

    `(batch, steps, ...)`; the features of a missing step become 0. Raises `ValueError` for a `mask_value` that is not finite.

    >>> import torch
    >>> Masking(mask_value=-1.0)(torch.tensor([[[-1.0, -1.0], [-1.0, 2.0]]]))
    tensor([[[ 0.,  0.],
             [-1.,  2.]]])
    """

    inline = True
    supports_masking = True
    makes_mask = True

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = number(mask_value, "mask_value")

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check the rank."""
        if isinstance(input_shape, list) or len(input_shape) < 2:
            raise ValueError("expected one input of at least 2 dimensions, the batch included")
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Set the missing steps to 0."""
        return inputs.masked_fill(inputs.eq(self.mask_value).all(-1, keepdim=True), 0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where a step is there."""
        return _tensor_of(inputs).ne(self.mask_value).any(-1)


class Lambda(Layer):
    """Makes a Python function of tensors a layer; `arguments` are passed to it by keyword.

    The output's shape is told by running `function` on tensors without data. Where that is impossible,
    `output_shape` (without the batch, or a function of the input shape) says it.

    >>> import torch
    >>> Lambda(lambda x: x ** 2)(torch.tensor([[3.0]]))
    tensor([[9.]])
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f"Lambda needs a function, got {function!r} of type {type(function).__name__}.")
        self.function = function
        self.arguments = dict(arguments or {})
        self.mask = mask
        self.makes_mask = mask is not None  # type: ignore[misc]
        if output_shape is not None:
            declared = output_shape if callable(output_shape) else functools.partial(_behind_batch, tuple(output_shape))
            object.__setattr__(self, "compute_output_shape", declared)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the function as a module."""
        return FunctionModule(self.function, self.arguments)

    def draw_with_others(self, *args: Any, **kwargs: Any) -> Any:
        """Draw what the function is made of, where it closes over symbolic tensors: in graphs of Keras 2 these are inputs as any other."""
        return self.function(*args, **{**self.arguments, **kwargs})

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask given at construction, or what the function given there makes of inputs and mask."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask


class TorchModuleWrapper(Layer):
    """Makes any `torch.nn.Module` a layer; its parameters keep torch's layout, and are trained and saved with the model.

    It is called with the arguments of the module's `forward`, in their order or by their names.

    >>> import torch
    >>> TorchModuleWrapper(nn.Linear(3, 5))(torch.ones(2, 3)).shape
    torch.Size([2, 5])
    """

    wraps_module = True

    def __init__(self, module: nn.Module, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        if not isinstance(module, nn.Module):
            raise TypeError(f"TorchModuleWrapper needs a torch.nn.Module, got {module!r} of type {type(module).__name__}.")
        self._adopt(module)

    def build(self, input_shape: Any) -> nn.Module | None:
        """Return nothing: the module came with the constructor."""
        return None


def last_dimension(input_shape: Any, rank: int) -> int:
    """Return the size of the last axis. Raises `ValueError` where it is unknown or the rank is below `rank`.

    >>> last_dimension((None, 7, 3), rank=2)
    3
    """
    if isinstance(input_shape, list):
        raise ValueError("expected one input, got a list of them; join them first, for example with Concatenate()")
    if len(input_shape) < rank:
        raise ValueError(f"expected at least {rank} dimensions, the batch included, got {len(input_shape)}")
    if input_shape[-1] is None:
        raise ValueError("the last dimension must be known, got None")
    return int(input_shape[-1])


def axes_of(value: Any, argument: str) -> tuple[int, ...]:
    """Return one axis or several as a tuple. Raises `ValueError` where they are no integers, or none at all.

    >>> axes_of(-1, "axis"), axes_of([1, 2], "axis")
    ((-1,), (1, 2))
    """
    axes = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if not axes or not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes):
        raise ValueError(f"{argument!r} must be an integer or a list of integers, got {value!r}.")
    return axes


def _behind_batch(output_shape: tuple[Any, ...], input_shape: Any) -> tuple[Any, ...]:
    """The shape of an output, with the batch of the input, or of the first of several."""
    are_several = bool(input_shape) and isinstance(input_shape[0], (list, tuple))
    return (input_shape[0][0] if are_several else input_shape[0], *output_shape)


def _tensor_of(inputs: Any) -> Any:
    """An array as a tensor; `compute_mask` is also called by users, who have arrays, and while a graph is drawn or lowered."""
    return torch.as_tensor(inputs) if isinstance(inputs, np.ndarray) else inputs
