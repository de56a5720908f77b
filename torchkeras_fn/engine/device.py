"""Where things live: choosing a device, and moving batches to it."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def choose(device: Any, module: nn.Module, placed: torch.device | None = None) -> torch.device:
    """Return the device a model should train on.

    `device` where given; where the model is, if its user put it there (`placed`) or it is not on the CPU; else the
    accelerator that torch reports (CUDA, XPU, MPS, ...), or the CPU. Raises `RuntimeError` for a device that is not there, and
    `TypeError` for what names none.

    >>> choose("cpu", nn.Linear(1, 1))
    device(type='cpu')
    """
    if device is None:
        current = device_of(module, placed)
        if placed is None and current.type == "cpu":
            return accelerator() or current
        device = current
    if not isinstance(device, (str, int, torch.device)):
        raise TypeError(f"device is a name like 'cuda:1', a number or a torch.device, got {device!r:.80} of type {type(device).__name__}.")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RuntimeError(f"The device {str(device)!r} is not available here; there are: {', '.join(available())}. ({error})") from error


def accelerator() -> torch.device | None:
    """Return the accelerator on which torch works now, `None` where there is none."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return None if found is None else torch.device(found.type, torch.accelerator.current_device_index())


def available() -> list[str]:
    """Return the names of the devices that torch sees.

    >>> "cpu" in available()
    True
    """
    found = accelerator()
    if found is None:
        return ["cpu"]  # without a driver torch may refuse to count
    return ["cpu", *(f"{found.type}:{index}" for index in range(torch.accelerator.device_count()))]


def is_here(device: str) -> bool:
    """Return whether torch sees a device of this type, or this device.

    >>> is_here("cpu:0"), is_here("warp")
    (True, False)
    """
    found, kind = accelerator(), device.partition(":")[0]
    return kind == "cpu" or (found is not None and found.type == kind)


def device_of(module: nn.Module, otherwise: torch.device | None = None) -> torch.device:
    """Return the device of a module's first parameter or buffer; where it has none, that which is named, or the CPU.

    >>> device_of(nn.ReLU())
    device(type='cpu')
    """
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        return tensor.device
    return otherwise or torch.device("cpu")


def first_parameter(module: nn.Module) -> nn.Parameter | None:
    """Return the first of a module's parameters, if it has any, without the walk that `parameters()` begins.

    >>> first_parameter(nn.Sequential(nn.ReLU(), nn.Linear(2, 1))).shape
    torch.Size([1, 2])
    """
    parts = [module]
    while parts:
        part = parts.pop()
        for parameter in part._parameters.values():
            if parameter is not None:
                return parameter
        for child in reversed(part._modules.values()):
            if child is not None:
                parts.append(child)
    return None


def device_is(module: nn.Module, device: torch.device) -> bool:
    """Return whether all of a module is on the device.

    >>> device_is(nn.Linear(1, 1), torch.device("cpu"))
    True
    """
    return all(tensor.device == device for tensor in [*module.parameters(), *module.buffers()])


_COPIES_ALONE = ("cuda", "xpu")
"""The types of devices that copy from pinned memory while the program goes on."""


def pinned(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor ready to be copied to the device: in pinned memory, where the device gains by that."""
    return tensor.pin_memory() if device.type in _COPIES_ALONE and tensor.device.type == "cpu" else tensor


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device; from the CPU through pinned memory, without waiting for the copy, where that pays."""
    if tensor.device == device:
        return tensor
    if device.type in _COPIES_ALONE and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in the CPU's memory, without history; NaN where it is on the `meta` device and holds no data."""
    if tensor.is_meta:
        return torch.full(tensor.shape, float("nan"), device="cpu")
    tensor = tensor.detach().cpu()
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def sent(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Send a tensor to the CPU's memory, and return the function that waits for it: for it alone, not for what was begun since.

    What it returns is as of `to_host`, in memory that may be pinned.

    >>> sent(torch.ones(2))()
    tensor([1., 1.])
    """
    if tensor.device.type not in _COPIES_ALONE:
        here = to_host(tensor)
        return lambda: here
    arriving = tensor.detach().to("cpu", non_blocking=True)
    event = torch.Event(tensor.device)
    event.record(torch.accelerator.current_stream(tensor.device))  # by itself it would ask the current device, which may be another

    def arrived() -> torch.Tensor:
        event.synchronize()
        return to_host(arriving)

    return arrived
