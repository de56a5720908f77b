"""What a module keeps in attributes beside its tensors, such as the optimizers, schedules and metrics of a training step of one's own."""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils._pytree import tree_leaves

from torchkeras_fn.callbacks.callback import Callback
from torchkeras_fn.metrics import Metric
from torchkeras_fn.metrics.gathered import gathered, take_up
from torchkeras_fn.optimizers.base import Optimizer
from torchkeras_fn.saving.training_state import check_optimizer_state
from torchkeras_fn.shards import state_in_parts

States = Mapping[str, Mapping[str, Any]]
"""The states of the things in the attributes of modules: by the path to the module, and by their names."""

_HAS_NO_STATE = ("objective", "history")
"""Attributes of models whose state is that of one call of `fit`."""


def own_states(model: nn.Module, without: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the states of the things in the attributes of a model and of the modules inside it, and in lists and dicts there.

    `without` names attributes of the model itself. `load_own_states` takes back what this returns; the tensors in it are
    those in use, not copies.

    >>> module = nn.Linear(2, 1)
    >>> module.descent = torch.optim.SGD(module.parameters())
    >>> own_states(module)[""]["descent"]["state"]
    {}
    """
    found: dict[str, dict[str, Any]] = {}
    for path, name, part, module in _stateful(model, without):
        found.setdefault(path, {})[name] = _state_of(part, module)
    return found


@contextmanager
def own_states_loaded(model: nn.Module, states: States, without: Collection[str] = ()) -> Iterator[None]:
    """Load states that came from a file, and those that were there before again where the block fails.

    Raises `ValueError`, before anything changed, for what does not fit, which torch would take, and fail with it later. An
    optimizer of this library that is new learns what it trains.
    """
    pairs = _paired(model, states, without)
    for name, part, module, state in pairs:
        _check(name, part, module, state)
    before = [(part, module, _state_of(part, module)) for _, part, module, _ in pairs]
    before = [(part, module, state if _is_optimizer(part) else copy.deepcopy(state)) for part, module, state in before]
    try:
        for _, part, module, state in pairs:
            _load(part, module, state)
        yield
    except BaseException:
        for part, module, state in before:
            _load(part, module, state)
        raise


def load_own_states(model: nn.Module, states: States, without: Collection[str] = ()) -> None:
    """Give the things in the attributes of a model the states back that `own_states` returned.

    A thing without a state there stays as it is, and a state without a thing is passed over.
    """
    for _, part, module, state in _paired(model, states, without):
        _load(part, module, state)


def _load(part: Any, module: nn.Module, state: Any) -> None:
    if isinstance(part, Metric):
        take_up(part, state)
    elif _is_optimizer(part):
        prepared = _prepared(part, state, module)
        part.load_state_dict(state_in_parts(part, prepared) if "param_groups" in prepared else prepared)
    else:
        part.load_state_dict(state)


def _is_optimizer(part: Any) -> bool:
    return isinstance(part, (Optimizer, torch.optim.Optimizer))


def _stateful(model: nn.Module, without: Collection[str]) -> Iterator[tuple[str, str, Any, nn.Module]]:
    """Each thing that has a state: the path to its module, its name there, itself, and the module."""
    for place, module in model.named_modules():
        for name, value in vars(module).items():
            if name in _HAS_NO_STATE or (module is model and name in without):
                continue
            several = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
            for path, part in ((name, value), *((f"{name}.{key}", part) for key, part in several)):
                if isinstance(part, (nn.Module, Callback)):
                    continue
                if isinstance(part, Metric) or all(callable(getattr(part, method, None)) for method in ("state_dict", "load_state_dict")):
                    yield place, path, part, module


def _paired(model: nn.Module, states: States, without: Collection[str]) -> list[tuple[str, Any, nn.Module, Any]]:
    """Each thing that has a state to take back: its name, itself, its module, and the state."""
    pairs = [(name, part, module, states.get(place, {}).get(name)) for place, name, part, module in _stateful(model, without)]
    return [(name, part, module, state) for name, part, module, state in pairs if state]


def _state_of(part: Any, module: nn.Module) -> Any:
    if isinstance(part, Metric):
        return gathered(part)
    if isinstance(part, Optimizer) and part.built:
        return {**part.state_dict(), "trains": _trained(part, module)}
    return part.state_dict()


def _trained(optimizer: Optimizer, module: nn.Module) -> list[str | None]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [names.get(id(parameter)) for parameter in optimizer.parameters]


def _prepared(optimizer: Any, state: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
    """The state, ready to be loaded. A new optimizer learns only with its first step what it trains, which is too late: so here."""
    state = dict(state)
    names, parameters = state.pop("trains", []), dict(module.named_parameters())
    if not isinstance(optimizer, Optimizer):
        return state
    if not optimizer.built and None in names:
        raise ValueError("an optimizer trains what is no weight of the model: call its build() with that before.")
    if not optimizer.built and names:
        if len(set(names)) < len(names) or not set(names) <= parameters.keys():
            raise ValueError(f"an optimizer is said to train {names!r:.200}, which the model has not.")
        optimizer.build([parameters[name] for name in names])
    if optimizer.built and "param_groups" not in state:  # it had taken no step
        state = {**optimizer.state_dict(), "state": {}, **state}
    elif optimizer.built and names != _trained(optimizer, module):
        raise ValueError(f"an optimizer trained {names!r:.200}, but trains {_trained(optimizer, module)!r:.200} now.")
    return state


def _check(name: str, part: Any, module: nn.Module, state: Any) -> None:
    if isinstance(part, Metric):
        _check_metric(name, gathered(part), state)
    elif _is_optimizer(part):
        check_optimizer_state(part, _prepared(part, state, module))
    elif isinstance(part, LRScheduler):  # which takes whatever it is given for its attributes
        _check_schedule(name, part.state_dict(), state)


def _check_schedule(name: str, own: Mapping[str, Any], state: Any) -> None:
    if not isinstance(state, Mapping) or not state.keys() <= own.keys():
        raise ValueError(f"it has no state of the {name!r} of the model.")
    for key, value in own.items():
        saved = state.get(key, value)
        if any(map(callable, tree_leaves(saved))) or isinstance(value, (int, float)) and not isinstance(saved, (int, float, torch.Tensor)):
            raise ValueError(f"{key!r} of {name!r} is {saved!r:.80}, which is no number.")


def _check_metric(name: str, own: Mapping[str, Any], state: Any) -> None:
    """A file is not to put something in the place of a method, or of anything else that is no figure."""
    if not isinstance(state, Mapping) or state["class"] != own["class"] or state["inner"].keys() != own["inner"].keys():
        raise ValueError(f"it has no state of the {name!r} of the model.")
    named = [*state["plain"], *state["places"]]
    new = [key for key in named if key not in own["plain"] and key not in own["places"]]
    strange = [key for key in new if key in own["inner"] or hasattr(Metric, key)]
    values = [variable["values"] for variable in state["variables"]]
    strange += [value for value in values if not isinstance(value, torch.Tensor)]
    strange += [value for value in tree_leaves(state["plain"]) if callable(value)]
    strange += [place for place in state["places"].values() if place not in range(len(values))]
    if strange:
        raise ValueError(f"what it has of {name!r} is no state of a {own['class']}: {strange!r:.200}.")
    for key, inner in own["inner"].items():
        _check_metric(f"{name}.{key}", inner, state["inner"][key])
