"""`Precision`: forward passes in mixed precision, by torch's autocast. Weights, losses, metrics and what is returned stay float32."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.drawing.incoming import carried_mask, carry_mask

DTYPES = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}
"""The types in which Keras' policies compute."""


class Precision:
    """Runs forward passes on a type of device as one of Keras' policies says, and returns float32.

    Each call is in a `torch.autocast` of its own: autocast keeps copies of weights in the lower precision, which would be
    out of date after a step. Operations that autocast does not know as safe are computed in float32. Where a caller's
    autocast is on already, it is left at that.

    Raises `ValueError` where the device cannot do it.

    >>> precision = Precision("mixed_bfloat16", "cpu")
    >>> linear = nn.Linear(2, 1)
    >>> precision.run(linear, torch.ones(1, 2)).dtype, linear.weight.dtype
    (torch.float32, torch.float32)
    """

    def __init__(self, name: str, device_type: str):
        self.name, self.device_type = name, device_type
        self.dtype = DTYPES[name]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                torch.autocast(device_type, self.dtype)
        except (RuntimeError, UserWarning) as error:
            raise ValueError(f"precision={name!r}: torch has no autocast to {self.dtype} for {device_type!r} here. ({error})") from error

    @classmethod
    def of(cls, name: str | None, device: torch.device) -> "Precision | None":
        """Return what runs the forward passes, `None` for plain float32.

        >>> Precision.of("float32", torch.device("cpu")) is None
        True
        """
        return cls(name, device.type) if name in DTYPES else None

    def check(self, module: nn.Module) -> None:
        """Raise `ValueError` unless the weights are float32, as mixed precision needs them."""
        for name, parameter in module.named_parameters():
            if parameter.is_floating_point() and parameter.dtype != torch.float32:
                raise ValueError(
                    f"precision={self.name!r} computes in {self.dtype} with weights of float32, but {name!r} is of {parameter.dtype}. "
                    "Cast the model with .float(), or leave precision out to train it as it is."
                )

    def run(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Return what a function that runs a forward pass makes of the inputs, as float32."""
        if torch.is_autocast_enabled(self.device_type):
            return in_float32(function(*inputs))
        with torch.autocast(self.device_type, self.dtype):
            outputs = function(*inputs)
        return in_float32(outputs)

    def hooks(self, module: nn.Module) -> list[Any]:
        """Let the calls of a module, and of all inside it, run so until the hooks that are returned are removed.

        This is for a step of the user's, which calls the model, or parts of it, by itself.
        """
        handles = []
        for part in module.modules():
            call = _Calls(self)
            handles.append(nn.Module.register_forward_pre_hook(part, call.begin))  # on this very part, also where it is a layer
            handles.append(nn.Module.register_forward_hook(part, call.end, always_call=True))
        return handles


class InPrecision:
    """A view of a module, which has a `run` and can be asked whether it is watched, in mixed precision."""

    def __init__(self, view: Any, precision: Precision):
        self.module, self.is_watched = view.module, view.is_watched
        self.run: Callable[..., Any] = partial(precision.run, view.run)


class _Calls:
    """The calls of one module that are under way; one from within another such call is a part of it."""

    def __init__(self, precision: Precision):
        self.precision = precision
        self.contexts: list[Any] = []

    def begin(self, *_: Any) -> None:
        precision, context = self.precision, None
        if not torch.is_autocast_enabled(precision.device_type):
            context = torch.autocast(precision.device_type, precision.dtype)
            context.__enter__()
        self.contexts.append(context)

    def end(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        context = self.contexts.pop()
        if context is None:
            return None
        context.__exit__(None, None, None)
        return in_float32(outputs)


def in_float32(outputs: Any) -> Any:
    """Return outputs with the tensors of lower precision as float32; also those in lists, tuples and dicts. Masks stay with them.

    >>> in_float32([torch.ones(1, dtype=torch.bfloat16), torch.tensor([1]), None])
    [tensor([1.]), tensor([1]), None]
    """
    if isinstance(outputs, torch.Tensor):
        if outputs.dtype not in (torch.bfloat16, torch.float16):
            return outputs
        cast = outputs.float()
        carry_mask(cast, carried_mask(outputs))
        return cast
    if type(outputs) is tuple or type(outputs) is list:
        return type(outputs)(map(in_float32, outputs))
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return type(outputs)(*map(in_float32, outputs))
    if isinstance(outputs, dict):
        return {name: in_float32(value) for name, value in outputs.items()}
    return outputs
