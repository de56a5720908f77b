"""`FunctionModule`: a Python function as a torch module."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from torchkeras_fn.engine.drawing.unheld_layers import called_with_care


class FunctionModule(nn.Module):
    """Calls a Python function: the torch module of a `Lambda`, and of an activation that is not torch's own.

    >>> import torch
    >>> FunctionModule(torch.sum, {"dim": 1})(torch.ones(2, 3))
    tensor([3., 3.])
    """

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any] | None = None):
        super().__init__()
        self.function = function
        self.arguments = dict(arguments or {})
        self._writes_to_inputs: dict[bool, bool] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function makes of the arguments and those given at construction. What it writes to the first is not seen."""
        if self._writes_to_inputs.get(self.training, True):
            return called_with_care(self, self.function, args, {**self.arguments, **kwargs})
        return self.function(*args, **self.arguments, **kwargs)
