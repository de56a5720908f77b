"""The mode of modules, training or inference: switched for a while, or kept whatever happens around them."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.basics import threads


class InMode(threads.Turn):
    """What `mode_of` returns. Within another turn of the same thread it waits for nobody, as those who have theirs wait for that."""

    def __init__(self, modules: tuple[nn.Module, ...], training: bool):
        self._given, self._training = modules, training
        self._is_traced = torch.compiler.is_compiling()  # by a compiler that knows no threads
        if not self._is_traced:
            super().__init__(None, training)

    def __enter__(self) -> None:
        if self._is_traced:
            self._go_on()
            return
        with threads.guard:
            if (threads.under_way or threads.waiting) and not self.is_nested():
                self.wait()
            self._go_on()
            threads.under_way.append(self)

    def __exit__(self, *error: Any) -> None:
        if self._is_traced:
            self._put_back()()
            return
        with threads.guard:
            self.end()

    def _roots(self) -> tuple[nn.Module, ...]:
        return self._given

    def _go_on(self) -> None:
        training, is_among_others = self._training, not self._is_traced and threads.is_among_others()
        known = self._known = {part: part.training for root in self._given for part in root.modules()}
        self._own = known if not is_among_others else {part: mode for part, mode in known.items() if mode is not training}
        for part in known:
            part.training = training

    def _put_back(self) -> Callable[[], None]:
        known, own = self._known, self._own  # what is not its own is another thread's to put back

        def put_back() -> None:
            for part, mode in own.items():
                part.training = mode
            for parent in [part for root in self._given for part in root.modules()]:
                for child in parent._modules.values():
                    if child is not None and child not in known:
                        child.training = parent.training

        return put_back


def mode_of(*modules: nn.Module, training: bool) -> InMode:
    """Run with every module in training or inference mode, and leave each as it was.

    A module that appears meanwhile gets its parent's mode. Other threads that run the modules wait, unless they do so in the same mode.

    >>> with mode_of(dropout := nn.Dropout(), training=False):
    ...     dropout.training
    False
    """
    return InMode(modules, training)


def is_in_mode(module: nn.Module, training: bool) -> bool:
    """Return whether all of a module is in training or inference mode, and none of it does anything of its own when it is told so.

    >>> is_in_mode(nn.Dropout().eval(), training=False)
    True
    """
    parts = [module]
    while parts:
        part = parts.pop()
        if part.training is not training or type(part).train is not nn.Module.train or "train" in part.__dict__:
            return False
        for child in part._modules.values():
            if child is not None:
                parts.append(child)
    return True


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
