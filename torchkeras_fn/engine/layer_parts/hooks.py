"""`Hooked`: torch's hooks on a layer. A drawn model runs the layer's torch module, so there they have to be the module's."""

import warnings
from typing import Any

from torch import nn


class Hooked(nn.Module):
    """The part of a `Layer` that takes hooks. They run where the layer is called, or its torch module where that is all there is to it.

    >>> import torch
    >>> from torchkeras_fn.layers import Dense, Input
    >>> output = (layer := Dense(2))(Input(shape=(3,)))
    >>> handle = layer.register_forward_hook(lambda module, inputs, outputs: print(module))
    >>> _ = layer.module(torch.ones(1, 3))
    Linear(in_features=3, out_features=2, bias=True)
    """

    def register_forward_hook(self, *args: Any, **kwargs: Any) -> Any:
        """Register a hook `(module, inputs, outputs)` as in torch."""
        return nn.Module.register_forward_hook(self._hooked(), *args, **kwargs)

    def register_forward_pre_hook(self, *args: Any, **kwargs: Any) -> Any:
        """Register a hook `(module, inputs)` as in torch."""
        return nn.Module.register_forward_pre_hook(self._hooked(), *args, **kwargs)

    def register_full_backward_hook(self, *args: Any, **kwargs: Any) -> Any:
        """Register a hook `(module, gradients of inputs, gradients of outputs)` as in torch."""
        return nn.Module.register_full_backward_hook(self._hooked(), *args, **kwargs)

    def register_full_backward_pre_hook(self, *args: Any, **kwargs: Any) -> Any:
        """Register a hook `(module, gradients of outputs)` as in torch."""
        return nn.Module.register_full_backward_pre_hook(self._hooked(), *args, **kwargs)

    def _hooked(self) -> nn.Module:
        """What is called where this layer runs; a drawn one is warned of that no model calls."""
        runs = self._run_in_models()
        if runs is None:
            self._warn_of_hooks()
        return runs or self

    def _run_in_models(self) -> nn.Module | None:
        """Return what the models that the layer is drawn into call for it, if it is one module: another, or this one."""
        return self

    def _has_hooks(self) -> bool:
        return bool(self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks)

    def _warn_of_hooks(self) -> None:
        module = getattr(self, "module", None)
        inner = f"the {type(module).__name__} in its attribute `module`, which comes before the activation"
        where = "a layer of your own" if module is None else inner
        warnings.warn(
            f"Hooks on {self!r} do not run in the models that it is drawn into, which call what it is made of, and not the layer: "
            f"put them on {where}, or let a model give its output: Model(model.inputs, layer.output).",
            UserWarning,
            stacklevel=4,
        )
