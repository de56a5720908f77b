"""`Placement`: a model that is moved or cast stays there, and takes along what belongs to its weights."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn import optimizers
from torchkeras_fn.engine.device import device_of
from torchkeras_fn.engine.distributed.replica import optimizers_of
from torchkeras_fn.engine.layer_parts.weights import weighted_in
from torchkeras_fn.optimizers.moving import substitute

place_of, strides_of = operator.attrgetter("device", "dtype"), torch.Tensor.stride


def places_of(parameters: Sequence[nn.Parameter]) -> list[Any]:
    """Return where parameters are, of which types, and how they lie in memory.

    >>> places_of([nn.Parameter(torch.ones(3, 2).t())])
    [(device(type='cpu'), torch.float32), (1, 2)]
    """
    return [*map(place_of, parameters), *map(strides_of, parameters)]


class Placement:
    """What a `Trainer` does when its module is moved or cast. A mixin for any `nn.Module`."""

    _placed: torch.device | None = None
    """Where the user put the model, if anywhere."""
    _device = torch.device("cpu")
    _collected: Sequence[nn.Parameter] = ()
    _frozen: Sequence[nn.Parameter] = ()
    _places: Sequence[Any] | None = None
    """Devices, types and strides of the trained weights when the views were made; `None` where they have to be made anew."""

    # ------------------------------------------------------------------ what users call

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move or cast the module as torch does, and its optimizer too; a model that was moved stays there when it is compiled."""
        device, *_ = torch._C._nn._parse_to(*args, **kwargs)
        moved = super().to(*args, **kwargs)  # type: ignore[misc]
        if device is not None:
            self._stay(device)
        return moved

    def cpu(self) -> Any:
        """Move the module to the CPU, and keep it there."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Any:
        """Move the module to a CUDA device, and keep it there."""
        return self.to(torch.device("cuda", device) if isinstance(device, int) else device or "cuda")

    def xpu(self, device: Any = None) -> Any:
        """Move the module to an XPU device, and keep it there."""
        return self.to(torch.device("xpu", device) if isinstance(device, int) else device or "xpu")

    # ------------------------------------------------------------------ what follows

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        """Change all tensors, as torch does for `to`, `double` and the like, of this module or one that it is part of."""
        module: Any = self
        before, device = dict(module.named_parameters(remove_duplicate=False)), device_of(module)
        result = super()._apply(fn, recurse)  # type: ignore[misc]
        if device_of(module) != device:
            self._stay(device_of(module))
        after = dict(module.named_parameters(remove_duplicate=False))
        replaced = {id(old): after[name] for name, old in before.items() if after[name] is not old}
        if replaced:  # torch gives some devices new parameters
            self._collected, self._frozen = substitute(self._collected, replaced), substitute(self._frozen, replaced)
            self._places = None
        self._take_optimizers_along(replaced)
        self._take_layers_along(fn)
        return result

    def _take_layers_along(self, fn: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Cast what the layers say of their weights: those to come are made in that type, and what comes in is cast to it."""
        module: Any = self
        layers = {layer: None for part in weighted_in(module) for layer in part.sublayers()}
        types: dict[torch.dtype, torch.dtype] = {}
        for layer in layers:
            if layer.dtype not in types:
                types[layer.dtype] = fn(torch.empty(0, dtype=layer.dtype)).dtype
            layer.dtype = types[layer.dtype]

    def _stay(self, device: torch.device) -> None:
        self._placed = self._device = device

    def _follow_weights(self) -> None:
        """Take along what belongs to the weights, which were moved or cast since the views were made: by way of a layer, perhaps."""
        self._take_optimizers_along({})
        self._device = device_of(self)  # type: ignore[arg-type]
        self._prepare_again()
        self._places = places_of(self._collected)

    def _take_optimizers_along(self, replaced: Mapping[int, Any]) -> None:
        """Take along the optimizer of `compile`, and others in attributes, which a training step of the user's may work with."""
        for optimizer in optimizers_of(self):
            if isinstance(optimizer, optimizers.Optimizer):
                optimizer.follow(replaced)
            else:
                optimizers.follow_parameters(optimizer, replaced)

    def _prepare_again(self) -> None:
        """Make anew what was made of the weights as they were."""
