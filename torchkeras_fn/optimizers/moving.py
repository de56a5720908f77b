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
    # NAdam reads this number on the host at each step; torch would let it follow the weights, as if it were of their kind.
    products = {parameter: state["mu_product"] for parameter, state in optimizer.state.items() if "mu_product" in state}
    optimizer.load_state_dict(optimizer.state_dict())
    for parameter, product in products.items():
        state = optimizer.state[parameter]
        state["mu_product"] = product.to(state["step"].device)
