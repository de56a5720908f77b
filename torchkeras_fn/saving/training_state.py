"""What training knows besides the weights: the optimizer's state, and how far the layers' own random generators have come."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from torchkeras_fn.engine.device import is_here
from torchkeras_fn.optimizers import Scaling

_LIKE_THE_WEIGHT = frozenset(
    (
        *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "sum", "linear"),
        *("square_avg", "grad_avg", "acc_delta", "ax", "prev"),
    )
)
"""State of which torch's fused kernels read as many values as the weight has, without asking how many there are."""
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
    return {"weights": _trained_names(model), "optimizer": state, **around, "generators": _generators(model)}


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
        _check_optimizer_state(model.optimizer, state["optimizer"])
        if around is not None and "around_steps" in state:
            _check_further_state(around, state["around_steps"], [tuple(parameter.shape) for parameter in _parameters(model.optimizer)])
            around.load_state_dict(state["around_steps"])
        model.optimizer.load_state_dict(state["optimizer"])
    for path, (name, device, values) in state["generators"].items():
        if is_here(device):  # one of a device that is not here begins anew, on another
            generator = torch.Generator(device)
            generator.set_state(values)
            setattr(model.get_submodule(path), name, generator)


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


# ---------------------------------------------------------------------- the optimizer


def _check_optimizer_state(optimizer: Any, state: Any) -> None:
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
    for number, values in (state.get("state") or {}).items():
        if number not in shapes:
            raise ValueError(f"it has a state for weight {number!r:.80}, which the optimizer does not train.")
        for name, value in values.items():
            _check_value(f"{name} of weight {number}", name, value, shapes[number])
    own_shapes = [tuple(parameter.shape) for parameter in getattr(optimizer, "parameters", ())]
    further = own.keys() - {"state", "param_groups"}
    _check_further_state(optimizer, {name: state[name] for name in further}, own_shapes)


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in getattr(optimizer, "param_groups", []) for parameter in group["params"]]


def _check_further_state(holder: Any, state: Any, shapes: list[tuple[int, ...]]) -> None:
    """What is kept beside the state of torch's optimizer: running means, gathered gradients, the scale of the loss."""
    if not isinstance(state, Mapping) or state.keys() - {"state", "param_groups"} != holder.state_dict().keys() - {"state", "param_groups"}:
        raise ValueError(f"it is no state of {type(holder).__name__}.")
    for name, value in state.items():
        _check_lists(name, value, shapes)
    gathered = state.get("gathered")
    if gathered is not None and (not isinstance(gathered, Mapping) or type(gathered.get("batches")) is not int or gathered["batches"] < 0):
        raise ValueError(f"the gradients that were gathered are {gathered!r:.80}.")
    if "scaling" in state:
        Scaling("cpu").load_state_dict(state["scaling"])


def _check_lists(name: str, value: Any, shapes: list[tuple[int, ...]]) -> None:
    """Tensors in a list, such as running means, are those of the weights in their order."""
    for part in value.values() if isinstance(value, Mapping) else ():
        _check_lists(name, part, shapes)
    if isinstance(value, list) and value and [tuple(getattr(part, "shape", ())) for part in value] != shapes:
        raise ValueError(f"{name} has other shapes than the weights.")


def _check_value(what: str, name: str, value: Any, shape: tuple[int, ...]) -> None:
    """A state is as large as its weight; a count is one number; few are neither."""
    if not isinstance(value, torch.Tensor):
        if name == "step" and type(value) not in (int, float) or name in _LIKE_THE_WEIGHT and value is not None:
            raise ValueError(f"{what} is {value!r:.80}, which is no tensor.")
        return
    like, alone = tuple(value.shape) == shape, value.ndim == 0 and name not in _LIKE_THE_WEIGHT
    if name == "step" and value.numel() != 1 or not (like or alone or name in _OF_OTHER_SHAPE):
        raise ValueError(f"{what} has shape {tuple(value.shape)}, but the weight has shape {shape}.")
