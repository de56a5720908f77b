"""Layers that a call uses though nothing holds them, such as a `Dropout` in a global or a closure: they infer where the call does."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from torchkeras_fn.engine.basics.modes import mode_of
from torchkeras_fn.engine.drawing.copying import called_on_copies

_now = threading.local()


def called_with_care(holder: Any, call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what a function gives that is the `call` of a holder, as long as it is not known to do nothing beside that.

    What it writes to its first argument is not seen, and where it infers, so do the layers that it uses and does not hold. Whether there
    is need to go on so is noted in the holder, for its mode.

    >>> from torchkeras_fn.layers import Dropout
    >>> dropout, holder = Dropout(0.5), nn.Identity().eval()
    >>> holder._writes_to_inputs = {}
    >>> called_with_care(holder, lambda x: dropout(x), [torch.ones(2)], {})
    tensor([1., 1.])
    >>> holder._writes_to_inputs, dropout.training
    ({False: True}, True)
    """
    writes, mode = holder._writes_to_inputs, holder.training
    if mode or torch.compiler.is_compiling():
        return called_on_copies(call, args, kwargs, writes, mode)
    with _inferring_outsiders(holder) as met:
        outputs = called_on_copies(call, args, kwargs, writes, mode)
    writes[mode] = writes.get(mode, False) or bool(met)
    return outputs


@contextmanager
def _inferring_outsiders(holder: nn.Module) -> Iterator[list[nn.Module]]:
    """Let layers in training mode that are no part of the holder infer when they are called, and give the list of them.

    A part that is in training mode was put into it by somebody. Modules of torch follow those that hold them, and nobody else.
    """
    thread, met = threading.get_ident(), list[nn.Module]()
    outer, _now.holder = getattr(_now, "holder", None), holder

    def switch(module: Any, args: Any) -> None:
        is_layer_here = module.training and hasattr(module, "call_takes") and threading.get_ident() == thread
        if is_layer_here and _now.holder is holder and all(module is not part for part in holder.modules()):
            met.append(module)
            switched.enter_context(mode_of(*module._roots(), training=False))

    hook = register_module_forward_pre_hook(switch)
    try:
        with ExitStack() as switched:
            yield met
    finally:
        hook.remove()
        _now.holder = outer
