"""What training knows besides the weights: the optimizer's state, and how far the layers' own random generators have come."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from torchkeras_fn.engine.device import is_here
from torchkeras_fn.optimizers import Scaling
from torchkeras_fn.origin import is_ours
from torchkeras_fn.saving.trial import state_after_a_step

_LIKE_THE_WEIGHT = frozenset(
    (
        *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "sum", "linear"),
        *("square_avg", "grad_avg", "acc_delta", "ax", "prev"),
    )
)
"""State of which torch's fused kernels read as many values as the weight has, without asking how many there are."""
_MOST_STEPS = 2**62
_OF_OTHER_SHAPE = frozenset(("row_var", "col_var"))


def training_state(model: Any) -> dict[str, Any]:
    """Return the optimizer's state, the names of the weights it belongs to, and the state of seeded layers.

    The values are nested dicts and lists of tensors and numbers; the tensors are those in use, not copies.

    >>> from torchkeras_fn import Sequential, layers
    >>> model = Sequential([layers.Dense(1, input_shape=(2,), name="a")])
    >>> model.compile("sgd", "mse")
    >>> training_state(model)["weights"]
    ['a.weight', 'a.bias']
    """
    optimizer = model.optimizer
    state = optimizer.state_dict() if hasattr(optimizer, "state_dict") else {}
    around = {} if model._around_steps is None else {"around_steps": model._around_steps.state_dict()}
    rate = constant_rate(optimizer)
    decaying = {} if rate is None else {"learning_rate": rate}
    return {"weights": _trained_names(model), "optimizer": state, **decaying, **around, "generators": _generators(model)}


def load_training_state(model: Any, state: Mapping[str, Any]) -> None:
    """Take over what `training_state` returned, into a model that was compiled likewise.

    Raises `ValueError` where the state does not fit the optimizer or its weights. Where `trainable` was changed after
    `compile`, the optimizer now trains other weights: it begins anew, with a warning.
    """
    _check_generators(model, state["generators"])
    if state["weights"] != _trained_names(model):
        warnings.warn(
            "The optimizer was saved with other weights to train than the model now has: 'trainable' was changed after compile. "
            "It begins anew.",
            UserWarning,
            stacklevel=2,
        )
    elif state["optimizer"]:
        around = model._around_steps
        rate = state.get("learning_rate")
        if rate is not None and (type(rate) is not float or not 0 <= rate < math.inf):
            raise ValueError(f"the learning rate is {rate!r:.80}, which is none.")
        check_optimizer_state(model.optimizer, state["optimizer"])
        if around is not None and "around_steps" in state:
            _check_further_state(around, state["around_steps"], [tuple(parameter.shape) for parameter in _parameters(model.optimizer)])
        _take_over(model.optimizer, state["optimizer"], rate)
        if around is not None and "around_steps" in state:
            around.load_state_dict(state["around_steps"])
    for path, (name, device, values) in state["generators"].items():
        if is_here(device):  # one of a device that is not here begins anew, on another
            generator = torch.Generator(device)
            generator.set_state(values)
            setattr(model.get_submodule(path), name, generator)


def constant_rate(optimizer: Any) -> float | None:
    """Return the learning rate, where it is a number that a `decay` starts from; its state has the rate that comes out.

    >>> from torchkeras_fn.optimizers import SGD
    >>> constant_rate(SGD(0.5, decay=0.1)), constant_rate(SGD(0.5))
    (0.5, None)
    """
    return float(optimizer.learning_rate) if getattr(optimizer, "decay", 0) and isinstance(optimizer._rate_source, float) else None


def _take_over(optimizer: Any, state: Mapping[str, Any], rate: Any) -> None:
    """Load the state, with the `rate` that a decay starts from, or leave the optimizer as it was."""
    before, rate_before = optimizer.state_dict(), constant_rate(optimizer)
    try:
        if rate is not None and rate_before is not None:
            optimizer.learning_rate = rate
        optimizer.load_state_dict(state)
    except BaseException:
        if rate_before is not None:
            optimizer.learning_rate = rate_before
        optimizer.load_state_dict(before)
        raise


def _trained_names(model: Any) -> list[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for parameter in model._collected if id(parameter) in names]


# ---------------------------------------------------------------------- random generators


def _generators(model: Any) -> dict[str, Any]:
    return {
        path: (name, value.device.type, value.get_state())
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.Generator)
    }


def _check_generators(model: Any, saved: Mapping[str, Any]) -> None:
    modules = dict(model.named_modules())
    for path, (name, device, values) in saved.items():
        place = vars(modules[path]) if path in modules else {}
        if name not in place or not isinstance(place[name], (torch.Generator, type(None))) or device not in ("cpu", "cuda", "mps", "xpu"):
            raise ValueError(f"it has a random generator {name!r:.80} for {path!r:.80}, where the model has none.")
        if not isinstance(values, torch.Tensor) or values.dtype != torch.uint8:
            raise ValueError(f"the random generator of {path!r} is none.")
        if is_here(device):
            torch.Generator(device).set_state(values)  # which says whether it can be


# ---------------------------------------------------------------------- the optimizer


def check_optimizer_state(optimizer: Any, state: Any) -> None:
    """Raise `ValueError` unless the state is one that this optimizer may have: torch's kernels trust it.

    The weights must be numbered, and their groups have the options, as in the optimizer's own state.
    """
    own = optimizer.state_dict()
    if not isinstance(state, Mapping) or state.keys() - {"state"} != own.keys() - {"state"}:
        raise ValueError(f"it is no state of {type(optimizer).__name__}.")
    groups = own.get("param_groups", [])
    saved_groups = state.get("param_groups", [])
    if len(groups) != len(saved_groups):
        raise ValueError(f"it has {len(saved_groups)} groups of weights, but the optimizer has {len(groups)}.")
    for group, saved in zip(groups, saved_groups, strict=True):
        if saved.get("params") != group["params"] or group.keys() - saved.keys():
            raise ValueError(f"a group of weights of {type(optimizer).__name__} is not as this optimizer has it.")
        for option, value in group.items():
            if isinstance(value, (int, float)) and not isinstance(saved[option], (int, float, torch.Tensor)):
                raise ValueError(f"{option!r} is {saved[option]!r:.80}, which is no number.")
    parameters = _parameters(optimizer)
    numbers = [number for group in groups for number in group["params"]]
    shapes = {number: tuple(parameter.shape) for number, parameter in zip(numbers, parameters, strict=True)}
    inner = getattr(optimizer, "torch_optimizer", optimizer)
    is_known = (type(inner).__module__.partition(".")[0] == "torch" or is_ours(type(inner)))
    expected = state_after_a_step(inner, saved_groups) if groups and is_known else {}
    for number, values in (state.get("state") or {}).items():
        if number not in shapes:
            raise ValueError(f"it has a state for weight {number!r:.80}, which the optimizer does not train.")
        for name, value in values.items():
            _check_value(f"{name} of weight {number}", name, value, shapes[number], name in expected.get(number, {}))
        if values:
            _check_complete(type(optimizer).__name__, number, values, expected.get(number, {}))
    own_shapes = [tuple(parameter.shape) for parameter in getattr(optimizer, "parameters", ())]
    if "iterations" in own and not (type(state["iterations"]) is int and 0 <= state["iterations"] < _MOST_STEPS):
        raise ValueError(f"the optimizer is said to have taken {state['iterations']!r:.80} steps.")
    further = own.keys() - {"state", "param_groups"}
    _check_further_state(optimizer, {name: state[name] for name in further}, own_shapes)


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in getattr(optimizer, "param_groups", []) for parameter in group["params"]]


def _check_further_state(holder: Any, state: Any, shapes: list[tuple[int, ...]]) -> None:
    """What is kept beside the state of torch's optimizer: running means, gathered gradients, the scale of the loss."""
    own = {name: value for name, value in holder.state_dict().items() if name not in ("state", "param_groups")}
    if not isinstance(state, Mapping) or state.keys() - {"state", "param_groups"} != own.keys():
        raise ValueError(f"it is no state of {type(holder).__name__}.")
    for name, value in state.items():
        _check_lists(name, value, own.get(name), shapes)
    gathered = state.get("gathered")
    if gathered is not None and (not isinstance(gathered, Mapping) or type(gathered.get("batches")) is not int or gathered["batches"] < 0):
        raise ValueError(f"the gradients that were gathered are {gathered!r:.80}.")
    if "scaling" in state:
        Scaling("cpu").load_state_dict(state["scaling"])


def _check_lists(name: str, value: Any, own: Any, shapes: list[tuple[int, ...]]) -> None:
    """Tensors in a list, such as running means, are those of the weights in their order; there are lists where `own` has them."""
    for key, part in own.items() if isinstance(own, Mapping) else ():
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(f"{name} is {value!r:.80}, without {key!r}.")
        _check_lists(key, value[key], part, shapes)
    if isinstance(own, list) and not isinstance(value, list):
        raise ValueError(f"{name} is {value!r:.80}, which is no list.")
    if isinstance(value, list) and value and [tuple(getattr(part, "shape", ())) for part in value] != shapes:
        raise ValueError(f"{name} has other shapes than the weights.")


def _check_complete(optimizer: str, number: Any, values: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """What a step would make is there: tensors, and where it is one figure perhaps as a number, as earlier versions of torch have it."""
    for name, made in expected.items():
        found = values.get(name)
        if found is None:
            raise ValueError(f"of weight {number} it has {sorted(values)!r:.200}, but {optimizer} needs {name!r} too.")
        is_figure = not isinstance(made, torch.Tensor) or made.ndim == 0
        if not isinstance(found, torch.Tensor) and not (is_figure and type(found) in (int, float)):
            raise ValueError(f"{name} of weight {number} is {found!r:.80}, which is no tensor.")


def _check_value(what: str, name: str, value: Any, shape: tuple[int, ...], is_known: bool) -> None:
    """A state is as large as its weight; a count is one number; few are neither. Of those not known here that is up to the optimizer."""
    if name == "step" and not (torch.is_tensor(value) and value.numel() != 1) and not 0 <= value < _MOST_STEPS:
        raise ValueError(f"{what} is {value!r:.80}, which is no number of steps.")
    if not isinstance(value, torch.Tensor):
        if name == "step" and type(value) not in (int, float) or name in _LIKE_THE_WEIGHT and value is not None:
            raise ValueError(f"{what} is {value!r:.80}, which is no tensor.")
        return
    like, alone = tuple(value.shape) == shape, value.ndim == 0 and name not in _LIKE_THE_WEIGHT
    is_free = name in _OF_OTHER_SHAPE or not (is_known or name in _LIKE_THE_WEIGHT)
    if name == "step" and value.numel() != 1 or name != "step" and not (like or alone or is_free):
        raise ValueError(f"{what} has shape {tuple(value.shape)}, but the weight has shape {shape}.")
