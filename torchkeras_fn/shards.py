"""Tensors of which each of several processes holds a part, as `compile(distributed='fsdp')` makes them: the parts, and the whole.

torch calls them `DTensor`s. Its module for them takes a second to import, so it is imported when one is made and not before.
Functions that say so are collectives: all processes call them, in the same order, and each waits for the others.
"""

import functools
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.utils._pytree import tree_map_only


def torch_distributed(part: str) -> Any:
    """Return a module of `torch.distributed` that nobody needs who trains in one process, such as `fsdp`.

    >>> torch_distributed("device_mesh").__name__
    'torch.distributed.device_mesh'
    """
    return importlib.import_module(f"torch.distributed.{part}")


def is_sharded(tensor: Any) -> bool:
    """Return whether this process holds but a part of the tensor.

    >>> is_sharded(torch.ones(2))
    False
    """
    return hasattr(tensor, "full_tensor")


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return the whole of a sharded tensor, without gradient; any other tensor as it is. A collective.

    >>> whole(torch.ones(2))
    tensor([1., 1.])
    """
    return tensor.detach().full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined, no-any-return]


def whole_tree(tree: Any, kept: bool = True) -> Any:
    """Return nested dicts and lists with the whole of every sharded tensor, on the CPU; a collective.

    Where they are not to be `kept`, an empty tensor stands for each, so that one process alone holds them all.

    >>> whole_tree({"a": [1, torch.ones(1)]})
    {'a': [1, tensor([1.])]}
    """

    def gather(tensor: torch.Tensor) -> torch.Tensor:
        if not is_sharded(tensor):
            return tensor
        full = whole(tensor)
        return full.cpu() if kept else full.new_empty(0)

    return tree_map_only(torch.Tensor, gather, tree)


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """Return the whole of a sharded tensor; its gradient is the mean of those of all processes. A collective, as is the backward pass.

    >>> gathered(torch.ones(2))
    tensor([1., 1.])
    """
    if not is_sharded(tensor):
        return tensor
    sharded: Any = tensor
    count, summed = sharded.device_mesh.size(), torch_distributed("tensor").Partial()
    share = (sharded / count).full_tensor(grad_placements=[summed] * sharded.device_mesh.ndim)
    return share + (count - 1) * share.detach()  # type: ignore[no-any-return]


@contextmanager
def outside_inference() -> Iterator[None]:
    """Compute as under `no_grad` where it would be in inference mode, in which torch takes no views of sharded tensors.

    >>> with torch.inference_mode(), outside_inference():
    ...     torch.is_inference_mode_enabled()
    False
    """
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield


def parts(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return of each tensor the part that this process holds: all of it where it is not sharded. Changing it changes the tensor.

    >>> parts([torch.ones(2)])
    [tensor([1., 1.])]
    """
    return [tensor.to_local() if is_sharded(tensor) else tensor for tensor in tensors]  # type: ignore[attr-defined]


def norms(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the Euclidean norm of each whole tensor; a collective where any is sharded.

    >>> norms([torch.tensor([3.0, 4.0])])
    [tensor(5.)]
    """
    own = list(torch._foreach_norm(parts(tensors)))
    sharded = [index for index, tensor in enumerate(tensors) if is_sharded(tensor)]
    if sharded:
        first: Any = tensors[sharded[0]]
        kind = functools.reduce(torch.promote_types, (own[index].dtype for index in sharded), torch.float32)
        squares = torch.stack([own[index].to(kind) for index in sharded]).square_()
        dist.all_reduce(squares, group=first.device_mesh.get_group())
        for index, norm in zip(sharded, squares.sqrt_(), strict=True):
            own[index] = norm.to(own[index].dtype)
    return own


def like(pattern: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return a value in parts, as those of `pattern` are, if that is sharded: a sharded value, or one that every process has whole.

    A single number stays whole, and so does what has another length along the first axis, along which weights are parted.

    >>> like(torch.ones(2), torch.zeros(2))
    tensor([0., 0.])
    """
    if not is_sharded(pattern) or value.ndim == 0:
        return value
    sharded: Any = pattern
    tensor = torch_distributed("tensor")
    placements = sharded.placements if len(value) == len(pattern) else [tensor.Replicate()] * sharded.device_mesh.ndim
    value = value.detach().to(pattern.device)
    if is_sharded(value):
        return value.redistribute(placements=placements)  # type: ignore[attr-defined, no-any-return]
    return tensor.distribute_tensor(value, sharded.device_mesh, placements, src_data_rank=None)  # type: ignore[no-any-return]


def state_in_parts(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the `state_dict` of a torch optimizer says, with the state of each sharded parameter in parts as that is.

    >>> state_in_parts(adam := torch.optim.Adam([torch.ones(2)]), adam.state_dict())["state"]
    {}
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries = dict(state.get("state", {}))
    for number, values in entries.items():
        if is_sharded(parameters[number]):
            entries[number] = tree_map_only(torch.Tensor, functools.partial(like, parameters[number]), values)
    return {**state, "state": entries}


def set_whole(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Set a tensor in place from a value that every process has whole.

    >>> weight = torch.ones(2)
    >>> set_whole(weight, torch.zeros(2))
    >>> weight
    tensor([0., 0.])
    """
    with torch.no_grad():
        for own, new in zip(parts([tensor]), parts([like(tensor, value)]), strict=True):
            own.copy_(new)
