"""Where things live: choosing a device, and moving batches to it."""

import itertools
from typing import Any

import torch
from torch import nn


def choose(device: Any, module: nn.Module, placed: bool) -> torch.device:
    """Return the device a model should train on.

    `device` where given; where the model is, if its user put it there (`placed`) or it is not on the CPU; else CUDA,
    another accelerator that torch reports, or the CPU. Raises `RuntimeError` for a device that is not there.

    >>> choose("cpu", nn.Linear(1, 1), placed=False)
    device(type='cpu')
    """
    if device is not None:
        try:
            chosen = torch.device(device)
            torch.empty(0, device=chosen)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise RuntimeError(
                f"The device {str(device)!r} is not available here; there are: {', '.join(available())}. ({error})"
            ) from error
        return chosen
    current = device_of(module)
    if placed or current.type != "cpu":
        return current
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator if accelerator is not None else torch.device("cpu")


def available() -> list[str]:
    """Return the names of the devices that torch sees.

    >>> "cpu" in available()
    True
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if accelerator is not None else 0
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(count) if accelerator is not None)]


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's first parameter or buffer; the CPU where it has none.

    >>> device_of(nn.ReLU())
    device(type='cpu')
    """
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        return tensor.device
    return torch.device("cpu")


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
        parts += [child for child in reversed(part._modules.values()) if child is not None]
    return None


def device_is(module: nn.Module, device: torch.device) -> bool:
    """Return whether all of a module is on the device.

    >>> device_is(nn.Linear(1, 1), torch.device("cpu"))
    True
    """
    return all(tensor.device == device for tensor in [*module.parameters(), *module.buffers()])


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device; from the CPU to CUDA through pinned memory, without waiting for the copy."""
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in the CPU's memory, without history; NaN where it is on the `meta` device and holds no data."""
    if tensor.is_meta:
        return torch.full(tensor.shape, float("nan"))
    tensor = tensor.detach().cpu()
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
