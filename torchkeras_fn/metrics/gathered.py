"""What a metric has gathered, as plain values, and back: for a training that is taken up again in the middle of an epoch."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn.metrics.base import Metric
from torchkeras_fn.metrics.state import State, new_state

_NOT_GATHERED = {"_states", *vars(nn.Module())}


def gathered(metric: Any) -> dict[str, Any]:
    """Return the variables of a metric and its plain attributes, and those of metrics inside it. torchmetrics' will do too.

    >>> first, second = Metric(), Metric()
    >>> first.seen = [1]
    >>> take_up(second, gathered(first))
    >>> second.seen
    [1]
    """
    attributes = vars(metric)
    states = list(getattr(metric, "_states", ()))
    places = {name: index for name, value in attributes.items() for index, state in enumerate(states) if value is state}
    plain = {name: value for name, value in attributes.items() if name not in _NOT_GATHERED and _is_plain(value)}
    inner = {name: gathered(part) for name, part in _parts(metric)}
    variables = [{"name": state.name, "values": state.as_subclass(torch.Tensor)} for state in states]
    return {"class": type(metric).__name__, "variables": variables, "places": places, "plain": plain, "inner": inner}


def take_up(metric: Any, state: Mapping[str, Any]) -> None:
    """Give a metric back what `gathered` returned. Raises `ValueError` for the state of another metric."""
    parts = dict(_parts(metric))
    if state["class"] != type(metric).__name__ or parts.keys() != state["inner"].keys():
        raise ValueError(f"A {type(metric).__name__} was expected to go on from a state of its own, got one of a {state['class']}.")
    for name, value in state["plain"].items():
        own = getattr(metric, name, None)
        setattr(metric, name, value.to(own.device) if isinstance(value, torch.Tensor) and isinstance(own, torch.Tensor) else value)
    own_states, saved = list(getattr(metric, "_states", ())), state["variables"]
    if [state.shape for state in own_states] == [variable["values"].shape for variable in saved]:
        for variable, own_state in zip(saved, own_states, strict=True):
            own_state.assign(variable["values"])
    else:  # some are made when the first batch tells their shape
        metric._states = [new_state(variable["values"], variable["name"]) for variable in saved]
        for name, index in state["places"].items():
            setattr(metric, name, metric._states[index])
    for name, inner in state["inner"].items():
        take_up(parts[name], inner)


def _parts(metric: Any) -> Iterator[tuple[str, Any]]:
    """The metrics in attributes, and in lists and dicts there, by the path to them."""
    for name, value in vars(metric).items():
        within = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
        for path, part in ((name, value), *((f"{name}/{key}", part) for key, part in within)):
            if isinstance(part, Metric) or (isinstance(part, nn.Module) and hasattr(part, "update")):
                yield path, part


def _is_plain(value: Any) -> bool:
    if isinstance(value, State):
        return False
    if value is None or isinstance(value, (torch.Tensor, np.ndarray)) or type(value) in (bool, int, float, str):
        return True
    if type(value) is dict:
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    return type(value) in (list, tuple) and all(map(_is_plain, value))
