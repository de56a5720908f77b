"""The mode of modules, training or inference: kept whatever happens around them."""

import copy
import functools
from typing import Any

from torch import nn


def in_fixed_mode(module: nn.Module, training: bool) -> nn.Module:
    """Return a twin of a module, over the same parameters, that stays in training or inference mode whatever happens around it.

    >>> in_fixed_mode(nn.Dropout(), training=False).train().training
    False
    """
    twin = copy.copy(module)
    twin.training = training
    twin.train = functools.partial(_stay, twin)  # type: ignore[method-assign]
    twin._modules = {name: None if child is None else in_fixed_mode(child, training) for name, child in module._modules.items()}
    return twin


def with_own_mode(module: nn.Module) -> nn.Module:
    """Return a copy of a module, over the same parameters and buffers, in an inference mode that is its own.

    >>> module = nn.Linear(2, 1)
    >>> twin = with_own_mode(module)
    >>> twin.weight is module.weight, twin.training, module.training
    (True, False, True)
    """
    tensors: dict[int, Any] = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
    twin = copy.deepcopy(module, tensors)
    for mine, theirs in zip(twin.modules(), module.modules(), strict=True):
        mine._parameters, mine._buffers = theirs._parameters, theirs._buffers
    return twin.eval()


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module
