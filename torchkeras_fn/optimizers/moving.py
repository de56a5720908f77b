"""Taking an optimizer along when its parameters were moved to another device, or cast to another type."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

FUSED_ON = ("cpu", "cuda", "xpu", "mps")
"""The types of devices on which torch has fused optimizer kernels."""


def substitute(parameters: Sequence[Any], replaced: Mapping[int, Any]) -> list[Any]:
    """Return the parameters, with those in the place of which others stand now, by the old ones' `id`, replaced by these.

    >>> substitute([1.0], {})
    [1.0]
    """
    return [replaced.get(id(parameter), parameter) for parameter in parameters]


def follow_parameters(optimizer: torch.optim.Optimizer, replaced: Mapping[int, Any]) -> None:
    """Take the state of a torch optimizer to where its parameters are now, in their types: as `load_state_dict` does it.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> adam = torch.optim.Adam([weight])
    >>> weight.grad = torch.ones(2)
    >>> adam.step()
    >>> weight.data = weight.data.double()
    >>> follow_parameters(adam, {})
    >>> adam.state[weight]["exp_avg"].dtype
    torch.float64
    """
    for group in optimizer.param_groups:
        group["params"] = substitute(group["params"], replaced)
        if group.get("fused") and any(parameter.device.type not in FUSED_ON for parameter in group["params"]):
            group["fused"] = None
    for parameter in list(optimizer.state):
        if id(parameter) in replaced:
            optimizer.state[replaced[id(parameter)]] = optimizer.state.pop(parameter)
    if not optimizer.state:
        return
    load_state(optimizer, optimizer.state_dict())


def load_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Let a torch optimizer take over a state, which is made to lie in memory as the weights do: torch's fused kernels rely on it.

    >>> weight = torch.nn.Parameter(torch.ones(3, 2).t())
    >>> adam = torch.optim.Adam([weight])
    >>> kept = {"step": torch.tensor(1.0), "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}
    >>> load_state(adam, {**adam.state_dict(), "state": {0: kept}})
    >>> adam.state[weight]["exp_avg"].stride()
    (1, 2)
    """
    optimizer.load_state_dict(dict(state))
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        held = optimizer.state.get(parameter) or {}
        for name, value in held.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                held[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
        if "mu_product" in held:  # NAdam reads it on the host at each step; torch lets it follow the weights, as if of their kind
            held["mu_product"] = state["state"][number]["mu_product"].to(held["step"].device)
