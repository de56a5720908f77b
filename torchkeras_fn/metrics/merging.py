"""Figures of several processes put together: what each has gathered in a metric, as one metric would have gathered it."""

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map_only

from torchkeras_fn.metrics.gathered import gathered, take_up
from torchkeras_fn.metrics.reduction import Mean
from torchkeras_fn.metrics.torch_metric import TorchMetric
from torchkeras_fn.origin import is_ours


def check_mergeable(metric: Any) -> None:
    """Raise `ValueError` for a metric of which nobody can tell how the figures of several processes make one.

    >>> check_mergeable(Mean())
    """
    if isinstance(metric, TorchMetric):
        able = all(hasattr(part, "_reductions") or hasattr(part, "merge_state") for part in torch_parts(metric))
    else:
        able = is_ours(type(metric)) or hasattr(metric, "merge_state") or bool(getattr(metric, "variables", ()))
    if not able:
        raise ValueError(
            f"The metric {getattr(metric, 'name', None) or type(metric).__name__!r} gathers in attributes of its own, so its figures "
            "cannot be put together over several processes. Gather in variables of add_variable(), which are summed, or define "
            "merge_state(metrics), which takes in what other metrics of its kind have gathered."
        )


def merge(metrics: Sequence[Any], exchange: Callable[[Any], list[Any]]) -> None:
    """Give each metric what those of all processes have gathered. `exchange` returns what each process gave; it is called once."""
    told = exchange([_state_of(metric) for metric in metrics])
    for metric, *states in zip(metrics, *told, strict=True):
        _merge(metric, states)


def _state_of(metric: Any) -> Any:
    if isinstance(metric, TorchMetric):
        return [_state_of_torchs(part) for part in torch_parts(metric)]
    if hasattr(metric, "merge_state"):
        return _attributes(metric)
    for part in _all(metric):
        if isinstance(part, Mean):
            part._settle()
    return tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu().as_subclass(torch.Tensor), gathered(metric))


def _merge(metric: Any, states: list[Any]) -> None:
    if isinstance(metric, TorchMetric):
        metric._is_updated = True
        for part, *own in zip(torch_parts(metric), *states, strict=True):
            _merge_torchs(part, own)
    elif hasattr(metric, "merge_state"):
        _merge_by_itself(metric, states)
    else:
        take_up(metric, _sum(metric, states))


# ------------------------------------------------------------------ metrics with variables


def _all(metric: Any) -> Iterator[Any]:
    yield metric
    for part in metric._inner():
        yield from _all(part)


def _sum(metric: Any, states: list[Any]) -> Any:
    """The state of one metric out of those of several processes; one that has seen nothing may have fewer variables yet."""
    most = max(len(state["variables"]) for state in states)
    known = [state for state in states if len(state["variables"]) == most]
    first: Mapping[str, Any] = known[0]
    if not is_ours(type(metric)):
        _check_attributes(metric, states)
    variables = [
        {**variable, "values": _aggregate(values, metric.aggregation_of(index))}
        for index, (variable, *values) in enumerate(
            zip(first["variables"], *([variable["values"] for variable in state["variables"]] for state in known), strict=True)
        )
    ]
    parts = dict(_named_parts(metric))
    inner = {name: _sum(parts[name], [state["inner"][name] for state in states]) for name in first["inner"]}
    return {**first, "variables": variables, "inner": inner}


def _named_parts(metric: Any) -> Iterator[tuple[str, Any]]:
    for name, value in vars(metric).items():
        within = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
        yield from ((path, part) for path, part in ((name, value), *((f"{name}/{key}", part) for key, part in within)))


def _aggregate(values: list[torch.Tensor], aggregation: str) -> torch.Tensor:
    if aggregation == "only_first_replica":
        return values[0]
    total = torch.stack(values).sum(0).to(values[0].dtype)
    return total / len(values) if aggregation == "mean" else total


def _check_attributes(metric: Any, states: list[Any]) -> None:
    first = states[0]["plain"]
    for name in first:
        if any(not _same(first[name], state["plain"].get(name)) for state in states[1:]):
            raise ValueError(
                f"The metric {metric.name!r} has gathered in its attribute {name!r}, which differs from process to process, so that "
                "nobody can tell what it is for all. Gather in variables of add_variable(), which are summed, or define "
                "merge_state(metrics)."
            )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (torch.Tensor, np.ndarray)):
        return type(one) is type(other) and np.array_equal(np.asarray(one), np.asarray(other))
    return bool(one == other)


# ------------------------------------------------------------------ metrics that know themselves how to merge


def _attributes(metric: Any) -> dict[str, Any]:
    try:
        own: dict[str, Any] = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu(), dict(vars(metric)))
        pickle.dumps(own)
    except Exception as error:
        raise ValueError(f"What the metric {metric.name!r} has gathered cannot be sent to other processes: {error}") from error
    return own


def _merge_by_itself(metric: Any, states: list[Any]) -> None:
    twins = []
    for state in states:
        twin = copy.copy(metric)
        vars(twin).update(state)
        twins.append(twin)
    metric.reset_state()
    metric.merge_state(twins)


# ------------------------------------------------------------------ torchmetrics


def torch_parts(metric: TorchMetric) -> list[Any]:
    """Return the metrics of torchmetrics behind one: those of a collection, or itself."""
    return list(metric.parts.values()) or [metric.metric]


def _state_of_torchs(part: Any) -> Any:
    if not hasattr(part, "_reductions"):
        return _attributes(part)
    states = {name: getattr(part, name) for name in part._reductions}
    return part._update_count, tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu(), states)


def _merge_torchs(part: Any, told: list[Any]) -> None:
    """Do as torchmetrics' own `sync` does, but for processes without a batch, of which it knows nothing."""
    if not hasattr(part, "_reductions"):
        twins = [copy.copy(part) for _ in told]
        for twin, state in zip(twins, told, strict=True):
            vars(twin).update(state)
        part.reset()
        part.merge_state(twins)
        return
    known = [states for count, states in told if count] or [told[0][1]]
    for name, reduction in part._reductions.items():
        values = [states[name] for states in known]
        if isinstance(values[0], list):
            merged: Any = [value.to(part.device) for own in values for value in own]
        else:
            stacked = torch.stack(values).to(part.device)
            merged = reduction(stacked) if reduction is not None else stacked
        setattr(part, name, merged)
    part._update_count, part._computed = max(1, sum(count for count, _ in told)), None
