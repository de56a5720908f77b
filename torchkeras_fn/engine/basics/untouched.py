"""`Untouched`: tensors that exist outside a trace keep their numbers while it is made, and none of these is read into it.

And modules that are run on no data, to see what they return, keep their state.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from torchkeras_fn.shards import is_sharded


class Untouched(TorchDispatchMode):
    """Leaves tensors from outside a trace as they are. torch computes with them for real where no traced tensor takes part.

    Those that an operation wrote to are restored at the end. Reading a number that depends on one raises what torch raises
    for numbers that a trace does not know.

    >>> from torch._subclasses import FakeTensorMode
    >>> count = torch.zeros(())
    >>> with FakeTensorMode(allow_non_fake_inputs=True), Untouched():
    ...     _ = count.add_(1)
    >>> count
    tensor(0.)
    """

    def __init__(self) -> None:
        super().__init__()
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._dependent: dict[int, torch.Tensor] = {}

    @classmethod
    def during(cls, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same under such a mode, above those that are on when it is called."""

        def run(*args: Any) -> Any:
            with cls():
                return function(*args)

        return run

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(map(self._depends, tree_leaves((args, kwargs)))) or "lift_fresh" in func.name():
            return func(*args, **kwargs)
        if torch.Tag.data_dependent_output in func.tags:
            raise DataDependentOutputException(func)
        written = [tensor for tensor in tree_leaves(written_by(func, args, kwargs)) if isinstance(tensor, torch.Tensor)]
        with _disable_current_modes():
            self._before += [(tensor, tensor.clone()) for tensor in written if not isinstance(tensor, FakeTensor)]
        result = func(*args, **kwargs)
        self._dependent.update((id(tensor), tensor) for tensor in [*written, *tree_leaves(result)] if isinstance(tensor, FakeTensor))
        return result

    def _depends(self, leaf: Any) -> bool:
        return isinstance(leaf, torch.Tensor) and (not isinstance(leaf, FakeTensor) or id(leaf) in self._dependent)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        with _disable_current_modes(), torch.no_grad():
            for tensor, values in reversed(self._before):
                tensor.copy_(values)
        self._before.clear()
        self._dependent.clear()


class Unwritten(TorchFunctionMode):
    """Puts back what functions write to the parameters of a module, also past what counts such changes, as `weight.data.mul_(2)` does.

    >>> layer = nn.Linear(1, 1)
    >>> before = layer.weight.item()
    >>> with Unwritten(layer):
    ...     _ = layer.weight.data.add_(1)
    >>> layer.weight.item() == before
    True
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        kept = (part for part in module.parameters() if not nn.parameter.is_lazy(part) and not is_sharded(part) and part.numel())
        self._memory = {part.untyped_storage().data_ptr() for part in kept}
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _ASSIGNMENTS or name[-1:] == "_" != name[-2:-1]:
            written = args[0] if args else None
            if isinstance(written, torch.Tensor) and self._is_weight(written):
                self._before.append((written.detach(), written.detach().clone()))
        return func(*args, **(kwargs or {}))

    def _is_weight(self, tensor: torch.Tensor) -> bool:
        has_memory = not tensor.is_meta and not is_sharded(tensor)
        return has_memory and tensor.untyped_storage().data_ptr() in self._memory

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        with torch.no_grad():
            for tensor, values in reversed(self._before):
                tensor.copy_(values)


_ASSIGNMENTS = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__")


def written_by(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of an operation that it writes to.

    >>> written_by(torch.ops.aten.add_.Tensor, ["total", "value"], {})
    ['total']
    """
    given = {**{argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)}, **kwargs}
    return [given.get(argument.name) for argument in func._schema.arguments if argument.is_write]


@contextmanager
def state_as_before(module: nn.Module) -> Iterator[None]:
    """Leave buffers and attributes, and what lists and dicts there hold, as they were: what a module notes of no data is no news.

    A module that makes parts of itself meanwhile, as lazy ones do, has to know that it did, and keeps all.

    >>> with state_as_before(layer := nn.ReLU()):
    ...     layer.mean = torch.ones(0).mean()
    >>> hasattr(layer, "mean")
    False
    """
    structure = _structure(module)
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers() if not nn.parameter.is_lazy(buffer)]
    kept = [(holder, entries_of(holder)) for part in module.modules() for holder in holders_of(part)]
    try:
        yield
    finally:
        if _structure(module) == structure:
            for holder, before in kept:
                after = entries_of(holder)
                if after.keys() != before.keys() or any(after[name] is not value for name, value in before.items()):
                    put_back(holder, before)
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)


def _structure(module: nn.Module) -> list[Any]:
    """What changes where a module makes parts of itself."""
    return [(part, type(part), *part._parameters.values(), *part._buffers.keys(), *part._modules.values()) for part in module.modules()]


def holders_of(module: nn.Module) -> list[Any]:
    """Return what holds a module's attributes: its dict, and the dicts and lists in it, among them those of parameters and buffers.

    >>> layer = nn.Linear(1, 1)
    >>> any(holder is layer._parameters for holder in holders_of(layer))
    True
    """
    return [vars(module), *(value for value in vars(module).values() if type(value) in (dict, list))]


def entries_of(holder: Any) -> dict[Any, Any]:
    """Return what a dict or a list holds, by key or position.

    >>> entries_of(["a"])
    {0: 'a'}
    """
    return dict(holder) if isinstance(holder, dict) else dict(enumerate(holder))


def put_back(holder: Any, entries: Mapping[Any, Any]) -> None:
    """Let a dict or a list hold what `entries_of` returned.

    >>> put_back(holder := [1, 2], {0: "a"})
    >>> holder
    ['a']
    """
    holder.clear()
    holder.update(entries) if isinstance(holder, dict) else holder.extend(entries.values())
