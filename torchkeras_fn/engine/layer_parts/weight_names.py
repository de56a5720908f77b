"""What a weight is called where a program reads it: `weight.name` is `dense_1/kernel:0`, as Keras 2 has it."""

import weakref
from typing import Any

import torch
from torch import nn


def give_name(tensor: Any, name: str) -> None:
    """Give a tensor its name, unless it has one, or is in use: is part of a graph, or has hooks.

    It stays the object and the plain `Parameter` that it was, with the same memory: torch keeps a name for each tensor, which
    is given with its creation and read by `Tensor.name`; so one is created there, and the two swap what they hold.

    >>> weight = nn.Parameter(torch.ones(2))
    >>> give_name(weight, "dense_1/kernel:0")
    >>> give_name(weight, "kernel:0")
    >>> weight.name, type(weight) is nn.Parameter
    ('dense_1/kernel:0', True)
    """
    if tensor.name is not None or type(tensor) not in (nn.Parameter, torch.Tensor) or not _is_free(tensor):
        return
    with torch.inference_mode(tensor.is_inference()):
        create: Any = torch.autograd.Variable  # of which torch's types leave the name out
        twin = create(tensor.detach(), requires_grad=tensor.requires_grad, name=name)
    twin.__class__ = type(tensor)
    twin.grad = tensor.grad
    torch.utils.swap_tensors(tensor, twin)


def _is_free(tensor: Any) -> bool:
    """Whether nothing refers to what a tensor holds, such as a graph that waits for its gradient, a hook or compiled code."""
    is_plain = tensor.is_leaf and not tensor._is_view() and not torch.compiler.is_compiling()
    is_hooked = tensor._backward_hooks or tensor._post_accumulate_grad_hooks
    return is_plain and not is_hooked and tensor._use_count() == 1 and not weakref.getweakrefs(tensor)
