"""Which state an optimizer keeps for each weight: found out by steps of another one of its class, with weights of one number."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torchkeras_fn.engine.basics.random_state import device_states, random_state, set_device_states, set_random_state

Kept = dict[int, dict[str, Any]]


def state_after_a_step(optimizer: torch.optim.Optimizer, groups: Sequence[Mapping[str, Any]]) -> Kept:
    """Return for each weight, by its number, the state that steps make with the options of these groups: as if it were one number.

    A weight is missing where nothing can be told, as of an optimizer that takes a closure. Neither the optimizer nor a
    random generator changes. Raises `ValueError` for options with which the optimizer cannot take a step.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> adam = torch.optim.Adam([weight])
    >>> sorted(state_after_a_step(adam, adam.state_dict()["param_groups"])[0])
    ['exp_avg', 'exp_avg_sq', 'step']
    """
    states, devices = random_state(), device_states()
    try:
        if not _try(optimizer, optimizer.param_groups, lenient=True):
            return {}
        return _try(optimizer, groups, lenient=False)
    finally:
        set_random_state(states)
        set_device_states(devices)


def _try(optimizer: Any, groups: Sequence[Mapping[str, Any]], lenient: bool) -> Kept:
    """Take two steps with the options of `groups`, each for the weights that the optimizer has in the group at that place."""
    kind: Any = type(optimizer)
    twin, found = kind.__new__(kind), Kept()
    places: list[dict[int, torch.Tensor]] = []
    try:
        for group in optimizer.param_groups:  # a weight for each number of axes: on that may depend what is kept
            places.append({weight.ndim: _small(weight) for weight in group["params"]})
        small = [{**group, "params": list(weights.values())} for group, weights in zip(groups, places, strict=True)]
        twin.__setstate__({"defaults": dict(optimizer.defaults), "state": defaultdict(dict), "param_groups": small})
        for _ in range(2):
            twin.step()
        numbers = iter(range(sum(len(group["params"]) for group in optimizer.param_groups)))
        for group, weights in zip(optimizer.param_groups, places, strict=True):
            for weight in group["params"]:
                kept = twin.state[weights[weight.ndim]]
                found[next(numbers)] = {name: value for name, value in kept.items() if value is not None}
    except Exception as error:
        if lenient:
            return {}
        raise ValueError(f"{kind.__name__} cannot take a step with the options in the file: {error!s:.200}") from error
    return found


def _small(weight: torch.Tensor) -> torch.Tensor:
    made = torch.ones((1,) * weight.ndim, dtype=weight.dtype, device=weight.device, requires_grad=True)
    made.grad = torch.ones_like(made)
    return made
