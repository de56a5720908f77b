"""What a compiled step was made from, noted so that a change is noticed: objects by which they are, and numbers as such."""

import copyreg
from collections.abc import Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn import config
from torchkeras_fn.engine.drawing.function_module import FunctionModule
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight

_NUMBERS = (bool, int, float, complex, str, np.generic, type(None))
_ONES = (torch.Tensor, torch.Generator, np.ndarray, FunctionType, BuiltinFunctionType, MethodType, partial, type)
"""Values of attributes of which it is noticed that another one is there; what a tensor holds is read at each step in any case."""

_KNOWN = (__name__.partition(".")[0], "torch", "numpy", "builtins", "collections")
"""Where the types of objects come from that are no user's."""

_NOT_THE_USERS = {
    *vars(nn.Module()),
    *("_arguments", "_views", "_terms", "_nodes", "_stack", "_tensors", "_collected", "_places", "_borders"),
    *("_writes_to_inputs", "_spares_data", "automatic_name"),
}
"""Attributes in which torch and this library keep what is not read in a step, or is noted by itself."""

_MOST_NOTED = 1000
"""In longer lists and dicts nothing is noted: it would take longer than a step."""


def parts_in(module: nn.Module) -> list[nn.Module]:
    """Return a module and all inside it; faster than `modules()`, which keeps a shared one from coming twice.

    >>> len(parts_in(nn.Sequential(nn.ReLU())))
    2
    """
    parts = [module]
    for part in parts:
        parts += [child for child in part._modules.values() if child is not None]
    return parts


def marks_of(trainer: Any, parts: Sequence[nn.Module]) -> tuple[list[Any], list[Any]]:
    """Return the objects and the values from which a step is compiled, so far as they may change.

    `parts` are those of the trainer's module, as `parts_in` gives them.
    """
    view = getattr(trainer, "_views", {}).get("training")
    objects: list[Any] = [view, trainer.objective, trainer.optimizer, trainer._scale_loss, *parts]
    kind = trainer._device.type if torch._C._is_any_autocast_enabled() else None  # not every device has it
    autocast = kind and torch.is_autocast_enabled(kind), kind and torch.get_autocast_dtype(kind)  # the caller's
    values: list[Any] = [config.epsilon(), *autocast]
    for part in parts:
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None:
                objects.append(tensor)
                values += (tensor.data_ptr(), tensor.requires_grad)
        depth = 0 if part is not parts[0] and _is_known(type(part)) else 2
        for name, value in vars(part).items():
            sort = _sorts[type(value)]
            if sort == "number":
                if name != "stop_training":
                    values.append(value)
            elif sort and (depth or sort in ("one", "object") or type(value) is list) and name not in _NOT_THE_USERS:
                _note(value, objects, values, depth or type(value) is not list)
    for output in trainer.objective.outputs:
        function = getattr(output.loss, "function", None)
        for holder in (output.loss, *(parts_in(function) if isinstance(function, nn.Module) else [_holder_of(function)])):
            _note_attributes(holder, objects, values)
    for term in getattr(trainer, "_terms", ()):
        weight = getattr(term, "__self__", None)
        _note_attributes(weight.options.regularizer if isinstance(weight, NamedWeight) else term, objects, values)
    for part in () if view is None else view.module.children():  # among them the activity regularizers
        if isinstance(part, FunctionModule):
            _note_attributes(_holder_of(part.function), objects, values)
    for metric in trainer.objective.known_metrics():
        objects.append(metric)
        values += [state.data_ptr() for state in getattr(metric, "_states", ())]
        for value in vars(metric).values():
            if not isinstance(value, (int, torch.Tensor)):  # which count what comes
                _note(value, [], values)
    return objects + [output.metrics for output in trainer.objective.outputs], values


def _note(value: Any, objects: list[Any], values: list[Any], depth: int = 2) -> None:
    """Note a value that a step may be compiled from: a number as such; a tensor, an array, a function by which one it is.

    So what is in lists, tuples, sets and dicts, and in the attributes of objects of the user's, as deep as is said; of lists one more.
    """
    sort = _sorts[type(value)]
    if sort == "number":
        values.append(value)
    elif sort == "one":
        objects.append(value)
        if depth and isinstance(value, MethodType):
            _note_attributes(_holder_of(value), objects, values, depth - 1)
    elif sort == "several" and (depth or type(value) is list):
        values.append(len(value))
        if len(value) <= _MOST_NOTED:
            for part in (*value, *value.values()) if isinstance(value, dict) else value:
                _note(part, objects, values, max(depth - 1, 0))
    elif sort == "object" and depth:
        objects.append(value)
        _note_attributes(value, objects, values, depth - 1)


def _is_known(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _KNOWN


class _Sorts(dict[Any, Any]):
    """How values of a type are noted; `None` for those that are not. The user's types are asked anew, and may be gone tomorrow."""

    def __missing__(self, kind: type) -> str | None:
        is_known = _is_known(kind)
        if issubclass(kind, _NUMBERS):
            sort: str | None = "number"
        elif issubclass(kind, _ONES):
            sort = "one"
        elif issubclass(kind, (list, tuple, dict, set, frozenset)):
            sort = "several"
        else:
            sort = None if is_known or issubclass(kind, nn.Module) else "object"
        if is_known:
            self[kind] = sort
        return sort


_sorts = _Sorts()


def _holder_of(function: Any) -> Any:
    """What has the attributes that a function reads: of a method of a user's object, that object."""
    holder = getattr(function, "__self__", None) if isinstance(function, MethodType) else None
    return holder if holder is not None and _sorts[type(holder)] == "object" else function


def _note_attributes(holder: Any, objects: list[Any], values: list[Any], depth: int = 2) -> None:
    """Note what a loss, a regularizer or another object has in its attributes, if it has any."""
    for value in getattr(holder, "__dict__", {}).values():
        _note(value, objects, values, depth)
    for name in () if _is_known(type(holder)) else copyreg._slotnames(type(holder)):  # type: ignore[attr-defined]
        _note(getattr(holder, name, None), objects, values, depth)
