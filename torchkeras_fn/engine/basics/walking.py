"""Walks through a module's parts. torch's own go through three generators for each part, which a short `fit` would feel."""

from typing import Any

from torch import nn


def modules_of(*modules: nn.Module) -> list[Any]:
    """Return modules and all modules inside them, each once, in the order of `modules()`.

    >>> [type(part).__name__ for part in modules_of(nn.Sequential(nn.ReLU(), nn.Linear(2, 1)))]
    ['Sequential', 'ReLU', 'Linear']
    """
    found: dict[nn.Module, None] = {}
    ahead = list(reversed(modules))
    while ahead:
        part = ahead.pop()
        if part not in found:
            found[part] = None
            for child in reversed(part._modules.values()):
                if child is not None:
                    ahead.append(child)
    return list(found)


def parameters_of(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module and of all modules inside it, each once, in the order of `parameters()`.

    >>> [tuple(parameter.shape) for parameter in parameters_of(nn.Linear(2, 1))]
    [(1, 2), (1,)]
    """
    found: dict[int, nn.Parameter] = {}
    for part in modules_of(module):
        for parameter in part._parameters.values():
            if parameter is not None and id(parameter) not in found:
                found[id(parameter)] = parameter
    return list(found.values())
